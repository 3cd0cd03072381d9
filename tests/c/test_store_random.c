/* Stores put together by chance: prefixes in any number and order, any opcode of any map, with and
 * without REX, VEX and EVEX. Whatever fault_store says it can decode is run on the CPU, too, and
 * must come out the same: no assembler writes most of these, but whoever generates code may.
 *
 *   test_store_random [SEED [ROUNDS]]     PMALLOC_TEST_SEED does for SEED
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>

#if !defined(__x86_64__)
int main(void) {
  puts("test_store_random: skipped, stores are decoded on x86-64 only");
  return 0;
}
#else

#include "store_machine.h"

/* The arithmetic flags, which test_store looks at: what is undefined differs by operation. */
#define ARITHMETIC UINT64_C(0x8d5)

/* No instruction, a division, a trap: the same on both sides, or it is a mistake. */
static void on_other(int signal, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  (void)info;
  if ((uintptr_t)uc->uc_mcontext.gregs[REG_RIP] - (uintptr_t)code_page > 15) {
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(signal, &plain, NULL);
    return;
  }
  trial.honest++;
  trial.honest_at = (uintptr_t)signal;
  get_out(uc);
}

static size_t emit_prefixes(unsigned char *code) {
  static const unsigned char all[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x3e, 0x26, 0x36};
  size_t at = 0;
  while (at < 5 && below(5) < 2)
    code[at++] = all[below(sizeof all)];
  return at;
}

static const unsigned char vector_opcodes[] = {0x11, 0x13, 0x17, 0x29, 0x2b, 0x2e, 0x2f,
                                               0x7e, 0x7f, 0x8e, 0xd6, 0xe7, 0x14, 0x15,
                                               0x16, 0x19, 0x1b, 0x39, 0x3b};

static size_t emit_opcode(unsigned char *code, size_t at) {
  unsigned way = below(10);
  unsigned opcode = below(3) ? vector_opcodes[below(sizeof vector_opcodes)] : below(256);
  if (way < 6 && below(2))
    code[at++] = (unsigned char)(0x40 | below(16));
  if (way < 3) { /* one byte */
    code[at++] = (unsigned char)below(256);
  } else if (way < 6) {
    code[at++] = 0x0f;
    if (below(3) == 0)
      code[at++] = below(2) ? 0x38 : 0x3a;
    code[at++] = (unsigned char)(below(2) ? opcode : below(256));
  } else if (way == 6) {
    code[at++] = 0xc5;
    code[at++] = (unsigned char)(chance() | (below(4) ? 0x78 : 0));
    code[at++] = (unsigned char)opcode;
  } else if (way < 9) {
    code[at++] = 0xc4;
    code[at++] = (unsigned char)((chance() & 0xe0) | (below(8) ? 1 + below(3) : below(32)));
    code[at++] = (unsigned char)(chance() | (below(4) ? 0x78 : 0));
    code[at++] = (unsigned char)opcode;
  } else {
    code[at++] = 0x62;
    code[at++] = (unsigned char)((chance() & 0xf0) | (1 + below(3)));
    code[at++] = (unsigned char)(chance() | 0x7c);
    code[at++] = (unsigned char)((chance() & 0x67) | 8);
    code[at++] = (unsigned char)opcode;
  }
  return at;
}

/* ModRM, SIB and a displacement by which the view can be reached, then whatever. */
static void emit_rest(unsigned char *code, size_t at) {
  unsigned modrm = below(192), sib = below(256);
  uint32_t near = (uint32_t)below(256) - 128, there = (uint32_t)(uintptr_t)view + PAGE + near;
  int absolute = (modrm & 7) == 4 && (sib & 7) == 5 && modrm < 64;
  int relative = (modrm & 7) == 5 && modrm < 64;
  code[at++] = (unsigned char)modrm;
  if ((modrm & 7) == 4)
    code[at++] = (unsigned char)sib;
  uint32_t displacement = absolute   ? there
                          : relative ? there - (uint32_t)(uintptr_t)code_page
                                     : near;
  memcpy(code + at, &displacement, 4);
  if (modrm >= 128 || absolute || relative)
    at += 4;
  else if (modrm >= 64)
    at++;
  uint64_t v = value();
  memcpy(code + at, &v, 8);
}

/* As the kernel would save it. */
static void frame_of(ucontext_t *uc, unsigned char *area) {
  struct _fpx_sw_bytes software = {.magic1 = FP_XSTATE_MAGIC1, .xstate_size = XSAVE_MAX};
  memset(uc, 0, sizeof *uc);
  memcpy(area, machine_in.xsave, XSAVE_MAX);
  memcpy(area + 464, &software, sizeof software);
  for (unsigned i = 0; i < 16; i++)
    pmalloc_x86_set_register(uc, i, machine_in.gpr[i]);
  uc->uc_mcontext.gregs[REG_EFL] = (greg_t)machine_in.flags;
  uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)code_page;
  uc->uc_mcontext.fpregs = (fpregset_t)area;
}

/* 1 where there was something to run. */
static int run_random(void) {
  static unsigned char area[XSAVE_MAX] __attribute__((aligned(64)));
  unsigned char code[48];
  struct pmalloc_store s;
  ucontext_t uc;
  memset(code, 0, sizeof code);
  randomise();
  for (unsigned i = 0; i < 16; i++)
    if (below(3))
      machine_in.gpr[i] = (uintptr_t)view + PAGE / 2 + below(2 * PAGE);
    else if (below(2))
      machine_in.gpr[i] = below(64);
  if (below(4) == 0)
    machine_in.flags |= 0x400; /* strings go downward */
  emit_rest(code, emit_opcode(code, emit_prefixes(code)));
  place(code, 15);
  frame_of(&uc, area);
  if (!pmalloc_store_decode(&uc, (uintptr_t)view + PAGE, &s)) {
    uintptr_t named = s.form == STORE_LANES ? s.operand : s.address;
    if (s.size == 0 || !pmalloc_store_decode(&uc, named, &s))
      return 0;
  }
  if (s.address - (uintptr_t)view >= VIEW || s.size > VIEW - (s.address - (uintptr_t)view))
    return 0; /* not where it can be watched */
  trial.name = NULL;
  trial.size = 0;
  place(code, s.length);
  run_twice(0, 2, ARITHMETIC);
  judge(s.name);
  return 1;
}

int main(int argc, char **argv) {
  unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 60000, ran = 0;
  static const int others[] = {SIGILL, SIGFPE, SIGTRAP, SIGBUS};
  struct sigaction action = {.sa_sigaction = on_other, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  if (EMULATED && argc < 3) {
    puts("test_store_random: skipped, the judge is a CPU, and an emulated one errs too often");
    return 0;
  }
  start_machine(argc, argv);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    sigaction(others[i], &action, NULL);
  for (unsigned i = 0; i < rounds; i++)
    ran += (unsigned)run_random();
  printf("test_store_random: %u of %u could be decoded, seed %#llx\n", ran, rounds,
         (unsigned long long)seed);
  CHECK(ran > rounds / 100);
  return finish_machine("test_store_random");
}
#endif

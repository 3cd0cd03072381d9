/* Integer stores: each form that fault_store decodes, with random operands, against the CPU.
 *
 *   test_store [SEED [ROUNDS]]     ROUNDS a form; PMALLOC_TEST_SEED does for SEED
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>

#if !defined(__x86_64__)
int main(void) {
  puts("test_store: skipped, stores are decoded on x86-64 only");
  return 0;
}
#else

#include "fault_alu_x86.h"
#include "store_machine.h"

/* Which flags the manuals leave undefined. */
enum undefined { DEFINED, LOGIC, BITS, SHIFT, ROTATE, DOUBLE };

enum {
  BYTE = 1,          /* one byte wide, else 2, 4 or 8 */
  LOCK = 2,          /* may be locked */
  IMM8 = 4,          /* a byte follows */
  IMM = 8,           /* as many bytes as wide, at most 4 */
  BY_CL = 16,        /* counts in CL */
  STRING = 32,       /* a register is the index of a bit string */
  WIDE = 64,         /* 4 or 8 only */
  ACCUMULATOR = 128, /* compares with RAX */
  PAIR = 256,        /* and with RDX, twice the width */
};

struct form {
  const char *name;
  unsigned map, opcode; /* map 1: 0F, 2: 0F 38 */
  int extension;        /* -1: the field is a register */
  unsigned traits;
  enum undefined undefined;
};

#define ALU(name, number, undefined)                                                               \
  {name, 0, 8 * number, -1, BYTE | LOCK, undefined},                                               \
      {name, 0, 8 * number + 1, -1, LOCK, undefined},                                              \
      {name, 0, 0x80, number, BYTE | LOCK | IMM8, undefined},                                      \
      {name, 0, 0x81, number, LOCK | IMM, undefined}, {                                            \
    name, 0, 0x83, number, LOCK | IMM8, undefined                                                  \
  }
#define SHIFTS(name, number, undefined)                                                            \
  {name, 0, 0xc0, number, BYTE | IMM8, undefined}, {name, 0, 0xc1, number, IMM8, undefined},       \
      {name, 0, 0xd0, number, BYTE, undefined}, {name, 0, 0xd1, number, 0, undefined},             \
      {name, 0, 0xd2, number, BYTE | BY_CL, undefined}, {                                          \
    name, 0, 0xd3, number, BY_CL, undefined                                                        \
  }
#define SETCC(name, number) {name, 1, 0x90 + number, -1, BYTE, DEFINED}

static const struct form forms[] = {
    ALU("add", 0, DEFINED),
    ALU("or", 1, LOGIC),
    ALU("adc", 2, DEFINED),
    ALU("sbb", 3, DEFINED),
    ALU("and", 4, LOGIC),
    ALU("sub", 5, DEFINED),
    ALU("xor", 6, LOGIC),
    {"xchg", 0, 0x86, -1, BYTE | LOCK, DEFINED},
    {"xchg", 0, 0x87, -1, LOCK, DEFINED},
    {"mov", 0, 0x88, -1, BYTE, DEFINED},
    {"mov", 0, 0x89, -1, 0, DEFINED},
    {"mov", 0, 0xc6, 0, BYTE | IMM8, DEFINED},
    {"mov", 0, 0xc7, 0, IMM, DEFINED},
    {"inc", 0, 0xfe, 0, BYTE | LOCK, DEFINED},
    {"inc", 0, 0xff, 0, LOCK, DEFINED},
    {"dec", 0, 0xfe, 1, BYTE | LOCK, DEFINED},
    {"dec", 0, 0xff, 1, LOCK, DEFINED},
    {"not", 0, 0xf6, 2, BYTE | LOCK, DEFINED},
    {"not", 0, 0xf7, 2, LOCK, DEFINED},
    {"neg", 0, 0xf6, 3, BYTE | LOCK, DEFINED},
    {"neg", 0, 0xf7, 3, LOCK, DEFINED},
    SHIFTS("rol", 0, ROTATE),
    SHIFTS("ror", 1, ROTATE),
    SHIFTS("rcl", 2, ROTATE),
    SHIFTS("rcr", 3, ROTATE),
    SHIFTS("shl", 4, SHIFT),
    SHIFTS("shr", 5, SHIFT),
    SHIFTS("shl", 6, SHIFT),
    SHIFTS("sar", 7, SHIFT),
    {"shld", 1, 0xa4, -1, IMM8, DOUBLE},
    {"shld", 1, 0xa5, -1, BY_CL, DOUBLE},
    {"shrd", 1, 0xac, -1, IMM8, DOUBLE},
    {"shrd", 1, 0xad, -1, BY_CL, DOUBLE},
    SETCC("seto", 0),
    SETCC("setno", 1),
    SETCC("setb", 2),
    SETCC("setae", 3),
    SETCC("sete", 4),
    SETCC("setne", 5),
    SETCC("setbe", 6),
    SETCC("seta", 7),
    SETCC("sets", 8),
    SETCC("setns", 9),
    SETCC("setp", 10),
    SETCC("setnp", 11),
    SETCC("setl", 12),
    SETCC("setge", 13),
    SETCC("setle", 14),
    SETCC("setg", 15),
    {"bts", 1, 0xab, -1, LOCK | STRING, BITS},
    {"btr", 1, 0xb3, -1, LOCK | STRING, BITS},
    {"btc", 1, 0xbb, -1, LOCK | STRING, BITS},
    {"bts", 1, 0xba, 5, LOCK | IMM8, BITS},
    {"btr", 1, 0xba, 6, LOCK | IMM8, BITS},
    {"btc", 1, 0xba, 7, LOCK | IMM8, BITS},
    {"cmpxchg", 1, 0xb0, -1, BYTE | LOCK | ACCUMULATOR, DEFINED},
    {"cmpxchg", 1, 0xb1, -1, LOCK | ACCUMULATOR, DEFINED},
    {"xadd", 1, 0xc0, -1, BYTE | LOCK, DEFINED},
    {"xadd", 1, 0xc1, -1, LOCK, DEFINED},
    {"cmpxchg8b", 1, 0xc7, 1, LOCK | ACCUMULATOR | PAIR, DEFINED},
    {"movnti", 1, 0xc3, -1, WIDE, DEFINED},
    {"movbe", 2, 0xf1, -1, 0, DEFINED},
};

static int has_movbe, has_pair; /* has_pair: cmpxchg16b */
static unsigned missed;

static uint64_t undefined_flags(enum undefined kind, unsigned count, unsigned width, int is_sar) {
  count &= width == 8 ? 63 : 31;
  switch (kind) {
  case LOGIC:
    return X86_AF;
  case BITS:
    return X86_OF | X86_SF | X86_AF | X86_PF;
  case ROTATE:
    return count > 1 ? X86_OF : 0;
  case SHIFT:
  case DOUBLE:
    return (uint64_t)(count ? X86_AF : 0) | (uint64_t)(count > 1 ? X86_OF : 0) |
           (uint64_t)(kind == SHIFT && count >= 8 * width && !is_sar ? X86_CF : 0);
  default:
    return 0;
  }
}

/* Compilers pad with these, and they mean nothing. */
static size_t emit_padding(unsigned char *code, size_t at) {
  static const unsigned char padding[] = {0x26, 0x2e, 0x36, 0x3e};
  for (unsigned n = below(4) ? 0 : below(3); n > 0; n--)
    code[at++] = padding[below(4)];
  return at;
}

static void set_low(uint64_t *reg, uint64_t v, unsigned width) {
  *reg = (*reg & ~x86_mask(width)) | (v & x86_mask(width));
}

static void run_form(const struct form *form) {
  static const unsigned widths[] = {2, 4, 8};
  unsigned char code[32];
  char what[64];
  unsigned width = (form->traits & BYTE) ? 1 : widths[below(3)];
  if (width == 2 && (form->traits & (WIDE | PAIR)))
    width = 8;
  if (width == 8 && (form->traits & PAIR) && !has_pair)
    width = 4;
  unsigned size = (form->traits & PAIR) ? 2 * width : width;
  unsigned reg = form->extension >= 0 ? (unsigned)form->extension | (below(2) << 3) : below(16);
  unsigned keep = (form->traits & ACCUMULATOR) ? 1 : 0, first, last;
  keep |= (form->traits & PAIR) ? 1 << X86_RDX : 0;
  keep |= (form->traits & STRING) ? 1U << reg : 0;
  randomise();
  uintptr_t target = choose_target(size, size == 16 ? 16 : 1, &first, &last), operand = target;
  if (form->traits & STRING) {
    int64_t bit = (int64_t)below(8000) - 4000;
    set_low(&machine_in.gpr[reg], (uint64_t)bit, width);
    operand -= (uintptr_t)(bit >> (width == 8 ? 6 : width == 4 ? 5 : 4)) * width;
  }
  struct operand o = choose_operand(operand, reg, keep, 1);
  if (EMULATED && o.relative && form->undefined == DOUBLE && (form->traits & IMM8)) {
    missed++; /* qemu 7.2 forgets the byte behind the displacement */
    return;
  }
  if ((form->traits & ACCUMULATOR) && below(2)) { /* make them equal, or half of the pair */
    uint64_t now[2] = {0, 0};
    memcpy(now, before + (target - (uintptr_t)view), size);
    set_low(&machine_in.gpr[X86_RAX], now[0], width);
    if ((form->traits & PAIR) && below(4))
      set_low(&machine_in.gpr[X86_RDX], width == 8 ? now[1] : now[0] >> 32, width);
  }

  int locked = (form->traits & LOCK) && below(2);
  size_t at = emit_padding(code, 0);
  if (width == 2)
    code[at++] = 0x66;
  if (o.addr32)
    code[at++] = 0x67;
  if (locked)
    code[at++] = 0xf0;
  unsigned rex = o.rex | (reg >= 8 ? X86_REX_R : 0) | (width == 8 ? X86_REX_W : 0);
  if (rex || below(3) == 0)
    code[at++] = (unsigned char)(0x40 | rex);
  if (form->map)
    code[at++] = 0x0f;
  if (form->map == 2)
    code[at++] = 0x38;
  code[at++] = (unsigned char)form->opcode;
  unsigned immediate = (form->traits & IMM8) ? 1 : 0;
  if (form->traits & IMM)
    immediate = width == 8 ? 4 : width;
  at = emit_operand(code, at, &o, immediate);
  uint64_t v = value();
  if (form->undefined == DOUBLE && width == 2)
    v &= 15; /* beyond the width the result itself is undefined */
  memcpy(code + at, &v, 8);
  at += immediate;
  if (at > 15)
    return; /* too long for the CPU */
  unsigned count = (form->traits & IMM8)    ? (unsigned)v
                   : (form->traits & BY_CL) ? (unsigned)machine_in.gpr[X86_RCX]
                                            : 1;
  if (form->undefined == DOUBLE && (form->traits & BY_CL) && width == 2 && (count & 31) > 16)
    return;

  snprintf(what, sizeof what, "%s%s", locked ? "lock " : "",
           (form->traits & PAIR) && width == 8 ? "cmpxchg16b" : form->name);
  trial.name = what;
  trial.address = target;
  trial.size = size;
  place(code, at);
  run_twice(first, last, undefined_flags(form->undefined, count, width, form->extension == 7));
  if (trial.faults != 1 || trial.refusals)
    wrong("%d faults, %d refusals", trial.faults, trial.refusals);
  judge(what);
}

/* mov [address], al .. rax */
static void run_moffs(void) {
  unsigned char code[32];
  unsigned width = 1U << below(4), addr32 = below(2), first, last;
  size_t at = 0;
  randomise();
  uintptr_t target = choose_target(width, 1, &first, &last);
  if (width == 2)
    code[at++] = 0x66;
  if (addr32)
    code[at++] = 0x67;
  if (width == 8)
    code[at++] = 0x48;
  code[at++] = width == 1 ? 0xa2 : 0xa3;
  memcpy(code + at, &target, 8);
  at += addr32 ? 4 : 8;
  trial.name = "mov";
  trial.address = target;
  trial.size = width;
  place(code, at);
  run_twice(first, last, 0);
  judge("mov moffs");
}

/* A store that leaves the pool, of which `write` wants nothing: all stays as it was. */
static void run_refused(void) {
  trial.limit_high = trial.limit_low;
  for (int i = 0; i < 2; i++) {
    unsigned char code[] = {0xf0, 0x48, 0x0f, 0xc1, 0x03}; /* lock xadd %rax, (%rbx) */
    unsigned first, last;
    randomise();
    machine_in.gpr[X86_RBX] = choose_target(8, 1, &first, &last);
    trial.name = NULL;
    trial.size = 0;
    place(code, sizeof code);
    run_twice(first, last, 0);
    if (trial.refusals != 1)
      wrong("%d refusals", trial.refusals);
    judge("refused");
  }
  trial.limit_high = (uintptr_t)view + VIEW;
}

/* ---- what is not decoded ----------------------------------------------------------------- */

static ucontext_t context_at(const void *pc) {
  ucontext_t uc;
  memset(&uc, 0, sizeof uc);
  for (unsigned i = 0; i < 16; i++)
    pmalloc_x86_set_register(&uc, i, (uintptr_t)view);
  uc.uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)pc;
  return uc;
}

static int decodes(const unsigned char *bytes, size_t n, uintptr_t fault, struct pmalloc_store *s) {
  unsigned char code[15];
  memset(code, 0x90, sizeof code);
  memcpy(code, bytes, n);
  ucontext_t uc = context_at(code), kept = uc;
  int answer = pmalloc_store_decode(&uc, fault, s);
  CHECK(memcmp(&uc, &kept, sizeof uc) == 0);
  return answer;
}

#define DECODES(fault, ...)                                                                        \
  decodes((const unsigned char[]){__VA_ARGS__}, sizeof (const unsigned char[]){__VA_ARGS__},       \
          fault, &s)

static void check_refused(void) {
  struct pmalloc_store s;
  uintptr_t at = (uintptr_t)view;
  CHECK(DECODES(at, 0x48, 0x89, 0x18));                       /* mov %rbx, (%rax) */
  CHECK(DECODES(at + 7, 0x48, 0x89, 0x18));                   /* its last byte */
  CHECK(!DECODES(at + 8, 0x48, 0x89, 0x18));                  /* beyond */
  CHECK(!DECODES(at - 1, 0x48, 0x89, 0x18));                  /* before */
  CHECK(!DECODES(at, 0x48, 0x89, 0xd8));                      /* to a register */
  CHECK(!DECODES(at, 0x48, 0x8b, 0x18));                      /* a load */
  CHECK(!DECODES(at, 0x48, 0x39, 0x18));                      /* cmp */
  CHECK(!DECODES(at, 0x80, 0x38, 1));                         /* cmpb $1 */
  CHECK(!DECODES(at, 0x48, 0x85, 0x18));                      /* test */
  CHECK(!DECODES(at, 0xf6, 0x00, 1));                         /* testb $1 */
  CHECK(!DECODES(at, 0xf7, 0x20));                            /* mul */
  CHECK(!DECODES(at, 0x0f, 0xa3, 0x18));                      /* bt */
  CHECK(!DECODES(at, 0x0f, 0xba, 0x20, 1));                   /* bt $1 */
  CHECK(!DECODES(at, 0xff, 0x10));                            /* call *(%rax) */
  CHECK(!DECODES(at, 0xff, 0x30));                            /* push (%rax) */
  CHECK(!DECODES(at - 8, 0x50));                              /* push %rax */
  CHECK(!DECODES(at, 0x8f, 0x00));                            /* pop (%rax) */
  CHECK(!DECODES(at, 0x8c, 0x18));                            /* mov %ds, (%rax) */
  CHECK(!DECODES(at, 0xc7, 0x08, 0, 0, 0, 0));                /* c7 /1: no instruction */
  CHECK(!DECODES(at, 0x64, 0x48, 0x89, 0x18));                /* %fs: */
  CHECK(!DECODES(at, 0x65, 0x48, 0x89, 0x18));                /* %gs: */
  CHECK(!DECODES(at, 0xf0, 0x48, 0x89, 0x18));                /* lock mov: no instruction */
  CHECK(!DECODES(at, 0xf0, 0xd1, 0x20));                      /* lock shl: neither */
  CHECK(!DECODES(at, 0x48, 0x66, 0x89, 0x18));                /* a REX that does not count */
  CHECK(!DECODES(at, 0x48, 0x40, 0x89, 0x18));                /* likewise */
  CHECK(!DECODES(at, 0xdd, 0x18));                            /* fstpl */
  CHECK(!DECODES(at, 0x0f, 0x7f, 0x00));                      /* movq %mm0, (%rax) */
  CHECK(!DECODES(at, 0x0f, 0xae, 0x00));                      /* fxsave */
  CHECK(!DECODES(at, 0x0f, 0xae, 0x18));                      /* stmxcsr */
  CHECK(!DECODES(at, 0xf3, 0x0f, 0xc7, 0x30));                /* a register form's neighbour */
  CHECK(!DECODES(at, 0xf2, 0x0f, 0x38, 0xf1, 0x00));          /* crc32 */
  CHECK(!DECODES(at, 0x67, 0xf3, 0xaa));                      /* rep stosb (%edi) */
  CHECK(!DECODES(at, 0xf0, 0xaa));                            /* lock stosb: no instruction */
  CHECK(!DECODES(at, 0x66, 0x0f, 0xa5, 0x00) || s.size == 2); /* shldw, count in %cl */
}

/* The last instruction of a mapping: fewer than 15 bytes can be fetched. */
static void check_end_of_page(void) {
  static const unsigned char code[] = {0x48, 0x81, 0x00, 1, 2, 3, 4}; /* addq $imm, (%rax) */
  struct pmalloc_store s;
  unsigned char *end = code_page + PAGE;
  for (size_t cut = 0; cut <= sizeof code; cut++) {
    unsigned char *pc = end - sizeof code + cut;
    memcpy(pc, code, sizeof code - cut);
    ucontext_t uc = context_at(pc);
    int answer = pmalloc_store_decode(&uc, (uintptr_t)view, &s);
    CHECK(answer == (cut == 0));
    CHECK(!answer || s.length == sizeof code);
  }
}

int main(int argc, char **argv) {
  unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : EMULATED ? 12 : 40;
  start_machine(argc, argv);
  size_t n = sizeof forms / sizeof forms[0];
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d))
    has_movbe = c >> 22 & 1, has_pair = c >> 13 & 1;
  if (!has_pair)
    puts("test_store: cmpxchg16b skipped, this CPU has none");
  printf("test_store: seed %#llx, %zu forms, %u rounds each\n", (unsigned long long)seed, n,
         rounds);
  for (size_t i = 0; i < n; i++) {
    if (forms[i].map == 2 && !has_movbe) {
      puts("test_store: movbe skipped, this CPU has none");
      continue;
    }
    for (unsigned round = 0; round < rounds; round++)
      run_form(&forms[i]);
  }
  for (unsigned round = 0; round < rounds; round++)
    run_moffs();
  if (missed)
    printf("test_store: %u trials skipped, shld and shrd miss their address on an emulated CPU\n",
           missed);
  run_refused();
  check_refused();
  check_end_of_page();
  return finish_machine("test_store");
}
#endif

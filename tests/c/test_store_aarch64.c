/* aarch64 stores: each form that fault_store decodes, on writable memory for real, and by decoding
 * and performing on the same memory read-only. Registers and memory must come out the same.
 *
 *   test_store_aarch64 [SEED [ROUNDS]]
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>

#if !defined(__aarch64__)
int main(void) {
  puts("test_store_aarch64: skipped, this is another CPU");
  return 0;
}
#else

#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "check.h"
#include "fault_store.h"

#define VIEW ((size_t)3 * 4096) /* pages may be longer: then it's less than one */

struct machine {
  uint64_t x[5];
  unsigned char v[2][16];
};
typedef void (*form_fn)(struct machine *);

static unsigned char *view, *alias;
static size_t mapped;
static int faults, refused;
static struct pmalloc_store seen;
static uint64_t state = 1;

static uint64_t chance(void) {
  uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static int write_alias(uintptr_t address, const void *bytes, size_t n) {
  memcpy(alias + (address - (uintptr_t)view), bytes, n);
  return 0;
}

static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)signal;
  faults++;
  if (faults < 10 && pmalloc_store_decode(context, (uintptr_t)info->si_addr, &seen) &&
      pmalloc_store_perform(&seen, context, write_alias) == 0)
    return;
  refused++;
  mprotect(view, mapped, PROT_READ | PROT_WRITE);
}

/* x0 is the address, x4 an index; the base comes back in x0. */
#define FORM(function, insn)                                                                       \
  static __attribute__((noinline)) void function(struct machine *m) {                              \
    register uint64_t x0 __asm__("x0") = m->x[0], x1 __asm__("x1") = m->x[1];                      \
    register uint64_t x2 __asm__("x2") = m->x[2], x3 __asm__("x3") = m->x[3];                      \
    register uint64_t x4 __asm__("x4") = m->x[4];                                                  \
    __asm__ volatile(".arch armv8.1-a\n\tldr q0, [%5]\n\tldr q1, [%5, #16]\n\t" insn               \
                     "\n\tadd x3, x3, #1"                                                          \
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4)                            \
                     : "r"(m->v)                                                                   \
                     : "memory", "cc", "v0", "v1", "x9");                                          \
    m->x[0] = x0, m->x[1] = x1, m->x[2] = x2, m->x[3] = x3, m->x[4] = x4;                          \
  }

/* Function, instruction, what it is decoded as, bytes, alignment it needs. */
#define FORMS(X)                                                                                   \
  X(str_x, "str x1, [x0]", "str", 8, 1)                                                            \
  X(str_w, "str w1, [x0]", "str", 4, 1)                                                            \
  X(strh, "strh w1, [x0]", "strh", 2, 1)                                                           \
  X(strb, "strb w1, [x0]", "strb", 1, 1)                                                           \
  X(str_zero, "str xzr, [x0]", "str", 8, 1)                                                        \
  X(str_offset, "sub x9, x0, #4088\n\tstr x1, [x9, #4088]", "str", 8, 1)                           \
  X(strb_offset, "sub x9, x0, #4095\n\tstrb w1, [x9, #4095]", "strb", 1, 1)                        \
  X(str_sp, "mov x9, sp\n\tmov sp, x0\n\tstr x1, [sp]\n\tmov sp, x9", "str", 8, 16)                \
  X(str_q, "str q0, [x0]", "str", 16, 1)                                                           \
  X(str_d, "str d1, [x0]", "str", 8, 1)                                                            \
  X(str_s, "str s0, [x0]", "str", 4, 1)                                                            \
  X(str_h, "str h0, [x0]", "str", 2, 1)                                                            \
  X(str_b, "str b1, [x0]", "str", 1, 1)                                                            \
  X(str_q_offset, "sub x9, x0, #4080\n\tstr q1, [x9, #4080]", "str", 16, 1)                        \
  X(stur, "add x9, x0, #255\n\tstur x1, [x9, #-255]", "stur", 8, 1)                                \
  X(sturh, "sub x9, x0, #255\n\tsturh w1, [x9, #255]", "sturh", 2, 1)                              \
  X(stur_q, "add x9, x0, #3\n\tstur q0, [x9, #-3]", "stur", 16, 1)                                 \
  X(post, "str x1, [x0], #-8", "str", 8, 1)                                                        \
  X(post_q, "str q1, [x0], #16", "str", 16, 1)                                                     \
  X(pre, "sub x0, x0, #24\n\tstr w1, [x0, #24]!", "str", 4, 1)                                     \
  X(pre_b, "add x0, x0, #24\n\tstrb w1, [x0, #-24]!", "strb", 1, 1)                                \
  X(sttr, "sttr x1, [x0]", "sttr", 8, 1)                                                           \
  X(index_lsl, "sub x9, x0, x4, lsl #3\n\tstr x1, [x9, x4, lsl #3]", "str", 8, 1)                  \
  X(index_plain, "sub x9, x0, x4\n\tstr x1, [x9, x4]", "str", 8, 1)                                \
  X(index_sxtw, "sub x9, x0, w4, sxtw #2\n\tstr w1, [x9, w4, sxtw #2]", "str", 4, 1)               \
  X(index_uxtw, "sub x9, x0, w4, uxtw #1\n\tstrh w1, [x9, w4, uxtw #1]", "strh", 2, 1)             \
  X(index_q, "sub x9, x0, x4, lsl #4\n\tstr q0, [x9, x4, lsl #4]", "str", 16, 1)                   \
  X(stp_x, "stp x1, x2, [x0]", "stp", 16, 1)                                                       \
  X(stp_w, "sub x9, x0, #8\n\tstp w1, w2, [x9, #8]", "stp", 8, 1)                                  \
  X(stp_q, "add x9, x0, #64\n\tstp q0, q1, [x9, #-64]", "stp", 32, 1)                              \
  X(stp_d, "stp d0, d1, [x0]", "stp", 16, 1)                                                       \
  X(stp_s, "stp s1, s0, [x0]", "stp", 8, 1)                                                        \
  X(stp_post, "stp x1, xzr, [x0], #32", "stp", 16, 1)                                              \
  X(stp_pre, "sub x0, x0, #16\n\tstp q1, q0, [x0, #16]!", "stp", 32, 1)                            \
  X(stnp, "stnp x1, x2, [x0]", "stnp", 16, 1)                                                      \
  X(stlr, "stlr x1, [x0]", "stlr", 8, 8)                                                           \
  X(stlrb, "stlrb w1, [x0]", "stlr", 1, 1)

#define ATOMICS(X)                                                                                 \
  X(ldadd_x, "ldadd x1, x2, [x0]", "ldadd", 8, 8)                                                  \
  X(ldadd_w, "ldaddal w1, w2, [x0]", "ldadd", 4, 4)                                                \
  X(ldadd_b, "ldaddb w1, w2, [x0]", "ldadd", 1, 1)                                                 \
  X(stadd, "stadd x1, [x0]", "ldadd", 8, 8)                                                        \
  X(ldclr, "ldclr x1, x2, [x0]", "ldclr", 8, 8)                                                    \
  X(ldclr_h, "ldclrh w1, w2, [x0]", "ldclr", 2, 2)                                                 \
  X(ldeor, "ldeor x1, x2, [x0]", "ldeor", 8, 8)                                                    \
  X(ldset, "ldset w1, w2, [x0]", "ldset", 4, 4)                                                    \
  X(ldsmax, "ldsmax x1, x2, [x0]", "ldsmax", 8, 8)                                                 \
  X(ldsmax_h, "ldsmaxh w1, w2, [x0]", "ldsmax", 2, 2)                                              \
  X(ldsmin, "ldsmin w1, w2, [x0]", "ldsmin", 4, 4)                                                 \
  X(ldumax, "ldumax x1, x2, [x0]", "ldumax", 8, 8)                                                 \
  X(ldumin_b, "lduminb w1, w2, [x0]", "ldumin", 1, 1)                                              \
  X(swp_x, "swp x1, x2, [x0]", "swp", 8, 8)                                                        \
  X(swp_b, "swpalb w1, w2, [x0]", "swp", 1, 1)                                                     \
  X(cas_differs, "cas x1, x2, [x0]", "cas", 8, 8)                                                  \
  X(cas_same, "ldr x1, [x0]\n\tcas x1, x2, [x0]", "cas", 8, 8)                                     \
  X(cas_same_h, "ldrh w1, [x0]\n\tcasalh w1, w2, [x0]", "cas", 2, 2)                               \
  X(cas_differs_w, "casa w1, w2, [x0]", "cas", 4, 4)

#define DEFINE(function, insn, name, size, align) FORM(function, insn)
FORMS(DEFINE)
ATOMICS(DEFINE)

static void run(const char *what, form_fn form, const char *name, size_t size, size_t align) {
  static unsigned char before[VIEW], really[VIEW];
  struct machine real, rule;
  for (size_t i = 0; i < VIEW; i++)
    before[i] = (unsigned char)chance();
  for (int i = 0; i < 5; i++)
    rule.x[i] = chance() >> (chance() % 3 * 24);
  memcpy(rule.v, before + 64, sizeof rule.v);
  size_t at = 4096 - 40 + (size_t)(chance() % 80); /* often across the boundary */
  at -= at % align;
  rule.x[0] = (uintptr_t)view + at;
  real = rule;
  memcpy(alias, before, VIEW);
  mprotect(view, mapped, PROT_READ | PROT_WRITE);
  faults = refused = 0;
  form(&real);
  int ok = faults == 0;
  memcpy(really, alias, VIEW);
  memcpy(alias, before, VIEW);
  mprotect(view, mapped, PROT_READ);
  memset(&seen, 0, sizeof seen);
  form(&rule);
  ok = ok && faults == 1 && refused == 0 && seen.name && strcmp(seen.name, name) == 0 &&
       seen.size == size && memcmp(real.x, rule.x, sizeof real.x) == 0 &&
       memcmp(really, alias, VIEW) == 0 && seen.has_bytes &&
       memcmp(seen.bytes, really + (seen.address - (uintptr_t)view), size) == 0;
  if (!ok)
    fprintf(stderr, "%s at %zu: %d faults, %d refused, decoded as %s, %zu bytes at %zu\n", what, at,
            faults, refused, seen.name ? seen.name : "nothing", seen.size,
            (size_t)(seen.address - (uintptr_t)view));
  CHECK(ok);
}

/* Loads, exclusives, and what else shares bits with stores. */
static void check_refused(void) {
  static const uint32_t refused_code[] = {
      0xf9400001, /* ldr x1, [x0] */
      0xa9400801, /* ldp x1, x2, [x0] */
      0x3dc00000, /* ldr q0, [x0] */
      0xf9800000, /* prfm */
      0x39800001, /* ldrsb */
      0xc8037c01, /* stxr w3, x1, [x0] */
      0xf8bfc001, /* ldapr x1, [x0] */
      0xc8dffc01, /* ldar x1, [x0] */
      0x48207c02, /* casp */
      0x4c007000, /* st1 {v0.16b}, [x0] */
      0xd9200800, /* stg */
      0xd50b7420, /* dc zva, x0 */
      0xd503201f, /* nop */
  };
  for (size_t i = 0; i < sizeof refused_code / sizeof refused_code[0]; i++) {
    static ucontext_t uc;
    struct pmalloc_store s;
    memset(&uc, 0, sizeof uc);
    uc.uc_mcontext.pc = (uintptr_t)&refused_code[i];
    for (int r = 0; r < 31; r++)
      uc.uc_mcontext.regs[r] = (uintptr_t)view;
    int answer = pmalloc_store_decode(&uc, (uintptr_t)view, &s);
    if (answer)
      fprintf(stderr, "%#x was decoded as %s\n", refused_code[i], s.name);
    CHECK(!answer);
  }
}

int main(int argc, char **argv) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  stack_t stack = {.ss_size = 256 * 1024};
  int rounds = argc > 2 ? atoi(argv[2]) : 40;
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  state = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)t.tv_nsec ^ (uint64_t)t.tv_sec << 20;
  printf("test_store_aarch64: seed %#llx, %d rounds each\n", (unsigned long long)state, rounds);
  stack.ss_sp = malloc(stack.ss_size);
  sigaltstack(&stack, NULL); /* one form borrows the stack pointer */
  sigaction(SIGSEGV, &action, NULL);
  mapped = VIEW > (size_t)sysconf(_SC_PAGESIZE) ? VIEW : (size_t)sysconf(_SC_PAGESIZE);
  int fd = memfd_create("view", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, (off_t)mapped) != 0)
    abort();
  view = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  alias = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (view == MAP_FAILED || alias == MAP_FAILED)
    abort();
  int has_atomics = getauxval(AT_HWCAP) >> 8 & 1;
  if (!has_atomics)
    puts("test_store_aarch64: atomics skipped, this CPU has none (ARMv8.1)");
  for (int i = 0; i < rounds; i++) {
#define RUN(function, insn, name, size, align) run(#function, function, name, size, align);
    FORMS(RUN)
    if (has_atomics) {
      ATOMICS(RUN)
    }
  }
  check_refused();
  return finish("test_store_aarch64");
}
#endif

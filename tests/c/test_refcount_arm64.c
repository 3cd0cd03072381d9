/* The refcount rule on aarch64, by real execution: every form runs once on writable memory and once
 * on a read-only copy of it. Registers must come out the same, the read-only word must not change.
 * Forms outside the rule must die.
 *
 * test_refcount.c is the same for x86-64. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>

#if !defined(__aarch64__)
int main(void) {
  puts("test_refcount_arm64: skipped, this is another CPU");
  return 0;
}
#else

#include <sys/auxv.h>

#define CONTEXT_PC(uc) (uc)->uc_mcontext.pc
#include "refcounts.h"

#define ATOMICS (1UL << 8)

struct outcome {
  uint64_t base, step, old, status, steps; /* x0, x2, x1, x5, x3 */
};

/* Runs INSN with the object's address in x0 and the step in x2. It leaves what it read in x1 and a
 * status in x5, and may use x4 and v0. Behind it x3 counts: a pc that was moved too far or not far
 * enough shows there. */
#define FORM(name, insn)                                                                           \
  static __attribute__((noinline)) void name(void *object, struct outcome *o) {                    \
    register uint64_t x0 __asm__("x0") = (uint64_t)(uintptr_t)object;                              \
    register uint64_t x1 __asm__("x1") = 0;                                                        \
    register uint64_t x2 __asm__("x2") = o->step;                                                  \
    register uint64_t x3 __asm__("x3") = 0;                                                        \
    register uint64_t x5 __asm__("x5") = 0;                                                        \
    __asm__ volatile(".arch armv8.1-a\n\t" insn "\n\tadd x3, x3, #1\n\tadd x3, x3, #1"             \
                     : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x5)                            \
                     :                                                                             \
                     : "x4", "v0", "memory", "cc");                                                \
    *o = (struct outcome){x0 - (uint64_t)(uintptr_t)object, x2, x1, x5, x3};                       \
  }

/* Let pass, whatever is in x2. */
#define PASSED(X)                                                                                  \
  X(inc8, "ldr x1, [x0]\n\tadd x1, x1, #1\n\tstr x1, [x0]")                                        \
  X(dec8, "ldr x1, [x0]\n\tsub x1, x1, #1\n\tstr x1, [x0]")                                        \
  X(inc4, "ldr w1, [x0]\n\tadd w1, w1, #1\n\tstr w1, [x0]")                                        \
  X(dec4, "ldr w1, [x0]\n\tsub w1, w1, #1\n\tstr w1, [x0]")                                        \
  X(offset8, "sub x4, x0, #16\n\tldr x1, [x4, #16]\n\tadd x1, x1, #1\n\tstr x1, [x4, #16]")        \
  X(offset4, "sub x4, x0, #16\n\tldr w1, [x4, #16]\n\tsub w1, w1, #1\n\tstr w1, [x4, #16]")        \
  X(far8, "sub x4, x0, #4088\n\tsub x4, x4, #28672\n\tldr x1, [x4, #32760]\n\tadd x1, x1, #1\n\t"  \
          "str x1, [x4, #32760]")                                                                  \
  X(stur8, "sub x4, x0, #255\n\tldur x1, [x4, #255]\n\tadd x1, x1, #1\n\tstur x1, [x4, #255]")     \
  X(stur4, "add x4, x0, #256\n\tldur w1, [x4, #-256]\n\tsub w1, w1, #1\n\tstur w1, [x4, #-256]")   \
  X(exclusive8, "1: ldxr x1, [x0]\n\tadd x4, x1, #1\n\tstxr w5, x4, [x0]\n\tcbnz w5, 1b")          \
  X(exclusive4, "1: ldxr w1, [x0]\n\tsub w4, w1, #1\n\tstxr w5, w4, [x0]\n\tcbnz w5, 1b")          \
  X(exclusive_release, "1: ldaxr x1, [x0]\n\tadd x4, x1, #1\n\tstlxr w5, x4, [x0]\n\tcbnz w5, 1b")

/* Let pass when x2 is 1 or -1; the CPU must have them. */
#define PASSED_STEP(X)                                                                             \
  X(ldadd8, "ldadd x2, x1, [x0]")                                                                  \
  X(ldadd4, "ldadd w2, w1, [x0]")                                                                  \
  X(ldaddal8, "ldaddal x2, x1, [x0]")                                                              \
  X(ldadda4, "ldadda w2, w1, [x0]")                                                                \
  X(ldaddl8, "ldaddl x2, x1, [x0]")                                                                \
  X(stadd8, "stadd x2, [x0]")                                                                      \
  X(stadd4, "stadd w2, [x0]")                                                                      \
  X(staddl8, "staddl x2, [x0]")

/* Must die (x2 is 5). */
#define REFUSED(X)                                                                                 \
  X(same, "ldr x1, [x0]\n\tstr x1, [x0]")                                                          \
  X(plus_two, "ldr x1, [x0]\n\tadd x1, x1, #2\n\tstr x1, [x0]")                                    \
  X(other, "str x2, [x0]")                                                                         \
  X(zero, "str xzr, [x0]")                                                                         \
  X(inside, "ldr w1, [x0, #4]\n\tadd w1, w1, #1\n\tstr w1, [x0, #4]")                              \
  X(second_word, "ldr x1, [x0, #8]\n\tadd x1, x1, #1\n\tstr x1, [x0, #8]")                         \
  X(byte, "ldrb w1, [x0]\n\tadd w1, w1, #1\n\tstrb w1, [x0]")                                      \
  X(half, "ldrh w1, [x0]\n\tadd w1, w1, #1\n\tstrh w1, [x0]")                                      \
  X(before, "ldr x1, [x0]\n\tadd x1, x1, #1\n\tsub x4, x0, #8\n\tstr x1, [x4, #8]!")               \
  X(after, "ldr x1, [x0]\n\tadd x1, x1, #1\n\tmov x4, x0\n\tstr x1, [x4], #8")                     \
  X(indexed, "ldr x1, [x0]\n\tadd x1, x1, #1\n\tmov x4, #0\n\tstr x1, [x0, x4]")                   \
  X(pair, "ldr x1, [x0]\n\tadd x1, x1, #1\n\tstp x1, x1, [x0]")                                    \
  X(vector16, "str q0, [x0]")                                                                      \
  X(vector8, "str d0, [x0]")                                                                       \
  X(release, "ldr x1, [x0]\n\tadd x1, x1, #1\n\tstlr x1, [x0]")                                    \
  X(exclusive_two, "1: ldxr x1, [x0]\n\tadd x4, x1, #2\n\tstxr w5, x4, [x0]\n\tcbnz w5, 1b")       \
  X(exclusive_byte, "1: ldxrb w1, [x0]\n\tadd w4, w1, #1\n\tstxrb w5, w4, [x0]\n\tcbnz w5, 1b")    \
  X(exclusive_pair,                                                                                \
    "1: ldxp x1, x4, [x0]\n\tadd x1, x1, #1\n\tstxp w5, x1, x4, [x0]\n\tcbnz w5, 1b")              \
  X(zero_cache, "dc zva, x0")

/* The same, of CPUs that have them. */
#define REFUSED_ATOMICS(X)                                                                         \
  X(ldadd_five, "ldadd x2, x1, [x0]")                                                              \
  X(ldadd_byte, "mov x2, #1\n\tldaddb w2, w1, [x0]")                                               \
  X(swap, "swp x2, x1, [x0]")                                                                      \
  X(set_bits, "mov x2, #1\n\tldset x2, x1, [x0]")                                                  \
  X(clear_bits, "mov x2, #1\n\tldclr x2, x1, [x0]")                                                \
  X(maximum, "mov x2, #-1\n\tldumax x2, x1, [x0]")                                                 \
  X(compare_swap, "ldr x1, [x0]\n\tadd x4, x1, #1\n\tcas x1, x4, [x0]")

PASSED(FORM)
PASSED_STEP(FORM)
REFUSED(FORM)
REFUSED_ATOMICS(FORM)

static const uint64_t values[] = {
    0,          1,          2,           0x3fffffff,         0xc0000000,         0x7fffffff,
    0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX};

static void compare(const char *name, form_fn form, uint64_t step) {
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    struct outcome real = {.step = step}, rule = {.step = step};
    guard(values[i]);
    form(writable, &real);
    skipped = 0;
    form(readonly, &rule);
    int same = memcmp(&real, &rule, sizeof real) == 0 && rule.steps == 2 && skipped == 1 &&
               readonly[0] == values[i] && writable[0] != values[i];
    char detail[256];
    snprintf(detail, sizeof detail,
             "  value %#llx: x1 %#llx, x2 %#llx, x5 %llu; rule: %#llx, %#llx, %llu, skipped %d",
             (unsigned long long)values[i], (unsigned long long)real.old,
             (unsigned long long)real.step, (unsigned long long)real.status,
             (unsigned long long)rule.old, (unsigned long long)rule.step,
             (unsigned long long)rule.status, skipped);
    expect_(same, name, detail, __LINE__);
  }
}

static void run_refused(void) {
  struct outcome o = {.step = 5};
  guard(0xc0000000);
  refused(readonly, &o);
}

static void warn_twice(void) {
  struct outcome o = {.step = 0};
  guard(0xc0000000);
  for (int i = 0; i < 1000; i++)
    inc8(readonly, &o);
}

int main(void) {
  int atomics = (getauxval(AT_HWCAP) & ATOMICS) != 0;
  struct witness w;
  expect_one_warning(warn_twice);
  REFUSED(RUN_REFUSED)
  if (atomics) {
    REFUSED_ATOMICS(RUN_REFUSED)
  }

  /* The one warning of this process is not part of the result. */
  FILE *null = fopen("/dev/null", "w");
  dup2(fileno(null), 2);
#define RUN(name, insn) compare(#name, name, 77);
  PASSED(RUN)
#define RUN_STEP(name, insn)                                                                       \
  compare(#name " +1", name, 1);                                                                   \
  compare(#name " -1", name, UINT64_MAX);
  if (atomics) {
    PASSED_STEP(RUN_STEP)
  } else {
    printf("  this CPU has no atomic instructions: those are not tested\n");
  }
  return witness_done();
}
#endif

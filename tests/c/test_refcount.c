/* The refcount rule, by real execution: every form runs once on writable memory
 * and once on a read-only copy of it. Registers and flags must come out the
 * same, the read-only word must not change. Forms outside the rule must die. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>

#if !defined(__x86_64__)
int main(void) {
  puts("test_refcount: skipped, this is another CPU");
  return 0;
}
#else

#define CONTEXT_PC(uc) (uc)->uc_mcontext.gregs[REG_RIP]
#include "refcounts.h"

struct outcome {
  uint64_t flags, rax, steps;
};

/* Runs INSN with the object's address in rdi and rax and the flags as given. It
 * may use rsi, r8, r12 and r13. Behind it rdx counts: a RIP that was moved too
 * far or not far enough shows there. */
#define FORM(name, insn)                                                                           \
  static __attribute__((noinline)) void name(void *object, struct outcome *o) {                    \
    uint64_t flags = o->flags, rax = o->rax, steps = 0;                                            \
    __asm__ volatile("lea -256(%%rsp), %%rsp\n\tpush %[f]\n\tpopfq\n\t" insn "\n\t"                \
                     "lea 1(%%rdx), %%rdx\n\tlea 1(%%rdx), %%rdx\n\t"                              \
                     "pushfq\n\tpop %[f]\n\tlea 256(%%rsp), %%rsp"                                 \
                     : [f] "+&r"(flags), "+a"(rax), "+d"(steps)                                    \
                     : "D"(object)                                                                 \
                     : "rsi", "r8", "r12", "r13", "memory", "cc");                                 \
    o->flags = flags, o->rax = rax, o->steps = steps;                                              \
  }

/* Let pass, whatever is in rax. */
#define PASSED(X)                                                                                  \
  X(add8, "addq $1, (%%rdi)")                                                                      \
  X(add8_minus, "addq $-1, (%%rdi)")                                                               \
  X(sub8, "subq $1, (%%rdi)")                                                                      \
  X(sub8_minus, "subq $-1, (%%rdi)")                                                               \
  X(add4, "addl $1, (%%rdi)")                                                                      \
  X(sub4, "subl $1, (%%rdi)")                                                                      \
  X(add8_imm32, ".byte 0x48, 0x81, 0x07\n\t.long 1")                                               \
  X(sub8_imm32, ".byte 0x48, 0x81, 0x2f\n\t.long 1")                                               \
  X(add4_imm32, ".byte 0x81, 0x07\n\t.long -1")                                                    \
  X(inc8, "incq (%%rdi)")                                                                          \
  X(dec8, "decq (%%rdi)")                                                                          \
  X(inc4, "incl (%%rdi)")                                                                          \
  X(dec4, "decl (%%rdi)")                                                                          \
  X(lock_inc8, "lock incq (%%rdi)")                                                                \
  X(lock_dec4, "lock decl (%%rdi)")                                                                \
  X(lock_add8, "lock addq $1, (%%rdi)")                                                            \
  X(lock_sub8, "lock subq $1, (%%rdi)")                                                            \
  X(disp8, "lea -16(%%rdi), %%r8\n\tincq 16(%%r8)")                                                \
  X(disp32, "lea -4096(%%rdi), %%r8\n\tincq 4096(%%r8)")                                           \
  X(disp8_negative, "lea 16(%%rdi), %%r8\n\tdecq -16(%%r8)")                                       \
  X(sib, "lea -16(%%rdi), %%r8\n\tmov $2, %%esi\n\tincq (%%r8,%%rsi,8)")                           \
  X(sib_disp8, "lea -24(%%rdi), %%r8\n\tmov $1, %%esi\n\taddq $1, 16(%%r8,%%rsi,8)")               \
  X(sib_disp32, "lea -4104(%%rdi), %%r8\n\tmov $1, %%esi\n\taddl $1, 4096(%%r8,%%rsi,8)")          \
  X(sib_index_r12, "lea -8(%%rdi), %%r8\n\tmov $2, %%r12d\n\tincq (%%r8,%%r12,4)")                 \
  X(sib_no_base, "mov %%rdi, %%rsi\n\tincq (,%%rsi,1)")                                            \
  X(sib_no_base_disp, "lea -64(%%rdi), %%rsi\n\tdecq 64(,%%rsi,1)")                                \
  X(base_r12, "mov %%rdi, %%r12\n\tincq (%%r12)")                                                  \
  X(base_r12_disp, "lea -8(%%rdi), %%r12\n\tdecl 8(%%r12)")                                        \
  X(base_r13, "mov %%rdi, %%r13\n\tdecq (%%r13)")                                                  \
  X(xadd_r12,                                                                                      \
    "mov %%rax, %%r12\n\tmov $1, %%r12d\n\tlock xaddq %%r12, (%%rdi)\n\tmov %%r12, %%rax")         \
  X(split8_inc, "mov (%%rdi), %%rax\n\tlea 1(%%rax), %%rax\n\tmovq %%rax, (%%rdi)")                \
  X(split8_dec, "mov (%%rdi), %%r13\n\tlea -1(%%r13), %%r13\n\tmovq %%r13, (%%rdi)")               \
  X(split4_inc, "mov (%%rdi), %%eax\n\tlea 1(%%rax), %%eax\n\tmovl %%eax, (%%rdi)")                \
  X(split4_dec, "mov (%%rdi), %%eax\n\tlea -1(%%rax), %%eax\n\tmovl %%eax, (%%rdi)")

/* Let pass when rax is 1 or -1. */
#define PASSED_STEP(X)                                                                             \
  X(add8_reg, "addq %%rax, (%%rdi)")                                                               \
  X(sub8_reg, "subq %%rax, (%%rdi)")                                                               \
  X(add4_reg, "addl %%eax, (%%rdi)")                                                               \
  X(sub4_reg, "subl %%eax, (%%rdi)")                                                               \
  X(lock_add8_reg, "lock addq %%rax, (%%rdi)")                                                     \
  X(xadd8, "xaddq %%rax, (%%rdi)")                                                                 \
  X(lock_xadd8, "lock xaddq %%rax, (%%rdi)")                                                       \
  X(lock_xadd4, "lock xaddl %%eax, (%%rdi)")

/* Its address is the lower half of ours: nothing lies there, but for ASan's shadow. */
#ifdef __SANITIZE_ADDRESS__
#define LOW_ADDRESS(X)
#else
#define LOW_ADDRESS(X) X(address_prefix, ".byte 0x67, 0x48, 0xff, 0x07")
#endif

/* Must die (rax is 5). */
#define REFUSED(X)                                                                                 \
  X(add_two, "addq $2, (%%rdi)")                                                                   \
  X(add_reg_five, "addq %%rax, (%%rdi)")                                                           \
  X(xadd_five, "lock xaddq %%rax, (%%rdi)")                                                        \
  X(mov_other, "movq %%rax, (%%rdi)")                                                              \
  X(mov_immediate, "movq $0, (%%rdi)")                                                             \
  X(mov_same, "mov (%%rdi), %%rax\n\tmovq %%rax, (%%rdi)")                                         \
  X(mov_plus_two, "mov (%%rdi), %%rax\n\tlea 2(%%rax), %%rax\n\tmovq %%rax, (%%rdi)")              \
  X(inc2, "incw (%%rdi)")                                                                          \
  X(inc1, "incb (%%rdi)")                                                                          \
  X(add2, "addw $1, (%%rdi)")                                                                      \
  X(second_word, "incq 8(%%rdi)")                                                                  \
  X(inside, "incl 4(%%rdi)")                                                                       \
  X(or_one, "orq $1, (%%rdi)")                                                                     \
  X(and_minus_one, "andq $-1, (%%rdi)")                                                            \
  X(adc_one, "adcq $1, (%%rdi)")                                                                   \
  X(xor_one, "xorq $1, (%%rdi)")                                                                   \
  X(not_it, "notq (%%rdi)")                                                                        \
  X(neg_it, "negq (%%rdi)")                                                                        \
  X(exchange, "xchgq %%rax, (%%rdi)")                                                              \
  X(compare_exchange, "mov (%%rdi), %%rax\n\tlea 1(%%rax), %%rsi\n\tlock cmpxchgq %%rsi, (%%rdi)") \
  X(movups, "movups %%xmm0, (%%rdi)")                                                              \
  X(movsd, "movsd %%xmm0, (%%rdi)")                                                                \
  X(rep_stos, "mov %%rdi, %%r8\n\tmov $1, %%ecx\n\trep stosq")                                     \
  X(string_move, "lea -8(%%rdi), %%rsi\n\tmovsq")                                                  \
  X(segment, ".byte 0x3e, 0x48, 0xff, 0x07")                                                       \
  X(size_prefix_rex, ".byte 0x66, 0x48, 0xff, 0x07")                                               \
  LOW_ADDRESS(X)

#define DEFINE(name, insn) FORM(name, insn)
PASSED(DEFINE)
PASSED_STEP(DEFINE)
REFUSED(DEFINE)
FORM(rip_readonly, "incq readonly(%%rip)")
FORM(rip_writable, "incq writable(%%rip)")
FORM(rip_imm_readonly, ".byte 0x48, 0x81, 0x05\n\t.long readonly - . - 8\n\t.long 1")
FORM(rip_imm_writable, ".byte 0x48, 0x81, 0x05\n\t.long writable - . - 8\n\t.long 1")

#define CHANGING 0x8d5 /* CF PF AF ZF SF OF */

static const uint64_t values[] = {0,
                                  1,
                                  2,
                                  15,
                                  16,
                                  255,
                                  0x3fffffff,
                                  0xc0000000,
                                  0x7fffffff,
                                  0x80000000,
                                  0xffffffff,
                                  0x100000000,
                                  0x7fffffffffffffff,
                                  0x8000000000000000,
                                  UINT64_MAX};

static void compare(const char *name, form_fn on_readonly, form_fn on_writable, uint64_t rax) {
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    for (int set = 0; set < 2; set++) {
      uint64_t before = set ? 0x202 | CHANGING : 0x202;
      struct outcome real = {before, rax, 0}, rule = {before, rax, 0};
      guard(values[i]);
      on_writable(writable, &real);
      skipped = 0;
      on_readonly(readonly, &rule);
      int same = ((real.flags ^ rule.flags) & CHANGING) == 0 && real.rax == rule.rax &&
                 rule.steps == 2 && real.steps == 2 && skipped == 1 && readonly[0] == values[i];
      char detail[256];
      snprintf(detail, sizeof detail,
               "  value %#llx: flags %#llx, rax %#llx; rule: flags %#llx, rax %#llx, skipped %d",
               (unsigned long long)values[i], (unsigned long long)real.flags,
               (unsigned long long)real.rax, (unsigned long long)rule.flags,
               (unsigned long long)rule.rax, skipped);
      expect_(same, name, detail, __LINE__);
    }
  }
}

static void run_refused(void) {
  struct outcome o = {0x202, 5, 0};
  guard(0xc0000000);
  refused(readonly, &o);
}

static void warn_twice(void) {
  struct outcome o = {0x202, 0, 0};
  guard(0xc0000000);
  for (int i = 0; i < 1000; i++)
    inc8(readonly, &o);
}

/* The last instruction of a mapping: fewer than 15 bytes can be fetched. */
static void end_of_page(void) {
  static const unsigned char code[] = {0x48, 0xff, 0x07, 0xc3}; /* incq (%rdi); ret */
  char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  guard(7);
  memcpy(two + 4096 - sizeof code, code, sizeof code);
  mprotect(two, 4096, PROT_READ | PROT_EXEC);
  mprotect(two + 4096, 4096, PROT_NONE);
  void (*run)(void *);
  char *at = two + 4096 - sizeof code;
  memcpy(&run, &at, sizeof run);
  run(readonly);
  _exit(skipped == 1 && readonly[0] == 7 ? 0 : 1);
}

int main(void) {
  struct witness w;
  expect_one_warning(warn_twice);
  w = witness(end_of_page); /* warns, too: in a child */
  EXPECT_EXIT(w, 0);
  REFUSED(RUN_REFUSED)

  /* The one warning of this process is not part of the result. */
  int kept = dup(2);
  FILE *null = fopen("/dev/null", "w");
  dup2(fileno(null), 2);
  compare("rip-relative", rip_readonly, rip_writable, 0);
  dup2(kept, 2);
  compare("rip-relative, imm32", rip_imm_readonly, rip_imm_writable, 0);
#define RUN(name, insn) compare(#name, name, name, 77);
  PASSED(RUN)
#define RUN_STEP(name, insn)                                                                       \
  compare(#name " +1", name, name, 1);                                                             \
  compare(#name " -1", name, name, UINT64_MAX);                                                    \
  compare(#name " -1, 4 bytes", name, name,                                                        \
          strchr(#name, '4') ? UINT64_C(0x1234ffffffff) : UINT64_MAX);
  PASSED_STEP(RUN_STEP)
  return witness_done();
}
#endif

/* store_machine: runs one instruction twice, and says whether the outcomes differ.
 *
 * Once for real, on writable memory; once on the same memory at the same address, read-only, where
 * each fault is decoded and performed by fault_store, which writes through a second mapping.
 * Registers (general, flags, vectors), the memory and the pc must come out the same. Instructions
 * are put together at run time, bit by bit: the CPU is the judge of what they mean.
 *
 *     low 2 GB    | code | guard | page 0 | page 1 | page 2 | guard |      32-bit addresses and
 *                             view: read-write, or read-only from          RIP-relative ones reach
 *     anywhere                alias: always read-write                     all of it
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_TESTS_STORE_MACHINE_H
#define PMALLOC_TESTS_STORE_MACHINE_H

#include <cpuid.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "check.h"
#include "fault_store.h"
#include "fault_store_internal.h"

#define PAGE ((size_t)4096)
#define VIEW (3 * PAGE)
#define FLAGS UINT64_C(0x8d5) /* of arithmetic */
#define XSAVE_MAX ((size_t)8192)

/* ---- registers, and the way in and out --------------------------------------------------- */

struct machine {
  uint64_t gpr[16]; /* as instructions number them */
  uint64_t flags;
  uint64_t padding[7];
  unsigned char xsave[XSAVE_MAX]; /* at 192 */
} __attribute__((aligned(64)));

__attribute__((used, visibility("hidden"))) struct machine machine_in, machine_out;
__attribute__((used, visibility("hidden"))) void *machine_code;
__attribute__((used, visibility("hidden"))) uint64_t machine_rsp, machine_vectors;
void machine_go(void);
extern char machine_back[];

#define GPR_LOAD(n, reg) "mov machine_in+8*" #n "(%rip), %" #reg "\n\t"
#define GPR_KEEP(n, reg) "mov %" #reg ", machine_out+8*" #n "(%rip)\n\t"
/* rcx and rax first: XSAVE wants them. rsp may be anything: signals have a stack of their own. */
#define EACH_GPR(X)                                                                                \
  X(1, rcx)                                                                                        \
  X(0, rax)                                                                                        \
  X(2, rdx)                                                                                        \
  X(3, rbx)                                                                                        \
  X(4, rsp)                                                                                        \
  X(5, rbp)                                                                                        \
  X(6, rsi)                                                                                        \
  X(7, rdi)                                                                                        \
  X(8, r8)                                                                                         \
  X(9, r9)                                                                                         \
  X(10, r10)                                                                                       \
  X(11, r11)                                                                                       \
  X(12, r12)                                                                                       \
  X(13, r13)                                                                                       \
  X(14, r14)                                                                                       \
  X(15, r15)
#define SAVED(X) X(rbx) X(rbp) X(r12) X(r13) X(r14) X(r15)
#define SAVED_BACK(X) X(r15) X(r14) X(r13) X(r12) X(rbp) X(rbx)
#define PUSH(reg) "push %" #reg "\n\t"
#define POP(reg) "pop %" #reg "\n\t"

__asm__(
    ".text\n"
    ".globl machine_go, machine_back\n"
    ".hidden machine_go, machine_back\n"
    "machine_go:\n\t" SAVED(PUSH) "mov machine_vectors(%rip), %eax\n\t"
                                  "xor %edx, %edx\n\t"
                                  "test %eax, %eax\n\t"
                                  "jz 1f\n\t"
                                  "xrstor64 machine_in+192(%rip)\n"
                                  "1:\n\t"
                                  "push machine_in+128(%rip)\n\t"
                                  "popfq\n\t"
                                  "mov %rsp, machine_rsp(%rip)\n\t" EACH_GPR(
                                      GPR_LOAD) "jmp *machine_code(%rip)\n"
                                                "machine_back:\n\t" EACH_GPR(
                                                    GPR_KEEP) "mov machine_rsp(%rip), %rsp\n\t"
                                                              "pushfq\n\t"
                                                              "pop machine_out+128(%rip)\n\t"
                                                              "cld\n\t"
                                                              "mov machine_vectors(%rip), %eax\n\t"
                                                              "xor %edx, %edx\n\t"
                                                              "test %eax, %eax\n\t"
                                                              "jz 1f\n\t"
                                                              "xsave64 machine_out+192(%rip)\n"
                                                              "1:\n\t" SAVED_BACK(POP) "ret\n");

static uint32_t component_at[8], component_size[8]; /* by CPUID; SSE is in the first 512 bytes */

/* Which vector components can be set: bits 1 SSE, 2 AVX, 5 to 7 AVX-512. */
static void find_vectors(void) {
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1U << 27)))
    return; /* no XSAVE */
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  (void)high;
  machine_vectors = low & 0xe6;
  if ((machine_vectors & 0xe0) != 0xe0)
    machine_vectors &= 6;
  component_at[1] = 160, component_size[1] = 256;
  for (unsigned i = 2; i < 8; i++) {
    __cpuid_count(13, i, a, b, c, d);
    component_size[i] = machine_vectors >> i & 1 ? a : 0;
    component_at[i] = b;
    if (component_size[i] && b + a > XSAVE_MAX)
      abort();
  }
}

/* ---- chance ------------------------------------------------------------------------------ */

static uint64_t seed, state;

static uint64_t chance(void) { /* splitmix64 */
  uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static unsigned below(uint64_t n) { return (unsigned)(chance() % n); }

/* Values at which carries and signs happen as often as any. */
static uint64_t value(void) {
  static const uint64_t edge[] = {0, 1, 0x7f, 0x80, 0x7fff, 0x8000, 0x7fffffff, 0x80000000};
  uint64_t v = edge[below(8)];
  switch (below(4)) {
  case 0:
    return v + below(3) - 1;
  case 1:
    return 0 - v;
  case 2:
    return v << 32 | v;
  default:
    return chance();
  }
}

/* ---- memory ------------------------------------------------------------------------------ */

static unsigned char *code_page, *view, *alias;
static unsigned char before[VIEW], really[VIEW];

static void make_memory(void) {
  stack_t stack = {.ss_size = 256 * 1024};
  stack.ss_sp = malloc(stack.ss_size);
  sigaltstack(&stack, NULL);
  int fd = memfd_create("view", MFD_CLOEXEC);
  unsigned char *low = mmap(NULL, 6 * PAGE, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_32BIT, -1, 0);
  if (fd < 0 || ftruncate(fd, VIEW) != 0 || low == MAP_FAILED)
    abort();
  code_page = low;
  view = low + 2 * PAGE;
  if (mprotect(code_page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC) != 0 ||
      mmap(view, VIEW, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != view)
    abort();
  alias = mmap(NULL, VIEW, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (alias == MAP_FAILED)
    abort();
  close(fd);
  machine_code = code_page;
}

/* ---- the handler ------------------------------------------------------------------------- */

static struct {
  size_t length;        /* of the instruction */
  const char *name;     /* that it must be decoded with; NULL: any */
  uintptr_t address;    /* that it must be decoded with, size too */
  size_t size;          /* 0: not looked at */
  uintptr_t limit_low;  /* `write` refuses what is not within, */
  uintptr_t limit_high; /* these: a pool's edges */
  int faults, refusals; /* what happened */
  int spoilt;           /* the CPU had altered flags when it faulted */
  int honest;           /* a fault elsewhere, as the CPU would have it */
  uintptr_t honest_at;  /* its address */
  struct pmalloc_store first;
  char wrong[256];
} trial;

__attribute__((format(printf, 1, 2))) static void wrong(const char *format, ...) {
  va_list list;
  if (trial.wrong[0])
    return;
  va_start(list, format);
  vsnprintf(trial.wrong, sizeof trial.wrong, format, list);
  va_end(list);
}

static int write_alias(uintptr_t address, const void *bytes, size_t n) {
  if (address < trial.limit_low || address + n > trial.limit_high)
    return -1;
  memcpy(alias + (address - (uintptr_t)view), bytes, n);
  return 0;
}

/* Lets the thread go on behind the instruction as if it had been performed. */
static void get_out(ucontext_t *uc) {
  uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)(code_page + trial.length);
}

/* No instruction alters flags before it faults, not even one with a REP prefix. qemu 7.2 does, or
 * has forgotten them, with a lock prefix for instance: what comes of that is nobody's fault. */
static int flags_are_as_before(const ucontext_t *uc) {
  return (((uint64_t)uc->uc_mcontext.gregs[REG_EFL] ^ machine_in.flags) & FLAGS) == 0;
}

static void on_fault(int signal, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  uintptr_t pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
  uintptr_t address = (uintptr_t)info->si_addr;
  struct pmalloc_store s;
  gregset_t kept;
  if (pc != (uintptr_t)code_page) {
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(signal, &plain, NULL);
    return;
  }
  if (address - (uintptr_t)view >= VIEW || !(uc->uc_mcontext.gregs[REG_ERR] & 2)) {
    trial.honest++;
    trial.honest_at = address;
    get_out(uc);
    return;
  }
  if (++trial.faults > 10000) {
    wrong("faults for ever");
    get_out(uc);
    return;
  }
  trial.spoilt |= trial.faults == 1 && !flags_are_as_before(uc);
  memcpy(&kept, &uc->uc_mcontext.gregs, sizeof kept);
  int decoded = pmalloc_store_decode(uc, address, &s);
  if (memcmp(&kept, &uc->uc_mcontext.gregs, sizeof kept) != 0)
    wrong("decoding altered the context");
  if (!decoded) {
    wrong("not decoded");
  } else {
    if (trial.faults == 1) {
      trial.first = s;
      if (trial.name && strcmp(trial.name, s.name) != 0)
        wrong("decoded as %s", s.name);
      if (trial.size && (s.address != trial.address || s.size != trial.size))
        wrong("stores %zu bytes at %#lx", s.size, (long)s.address);
    }
    if (pmalloc_store_perform(&s, uc, write_alias) == 0) {
      pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
      if (pc != (uintptr_t)code_page && pc != (uintptr_t)code_page + trial.length) {
        wrong("the pc went %ld on", (long)(pc - (uintptr_t)code_page));
        get_out(uc);
      }
      return;
    }
    trial.refusals++;
    if (memcmp(&kept, &uc->uc_mcontext.gregs, sizeof kept) != 0)
      wrong("refused, but altered the context");
  }
  mprotect(view, VIEW, PROT_READ | PROT_WRITE); /* it goes on by itself */
}

/* ---- a trial ----------------------------------------------------------------------------- */

static void start_machine(int argc, char **argv) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  const char *given = argc > 1 ? argv[1] : getenv("PMALLOC_TEST_SEED");
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  seed = given ? strtoull(given, NULL, 0) : (uint64_t)t.tv_nsec ^ (uint64_t)t.tv_sec << 20;
  state = seed;
  find_vectors();
  make_memory();
  sigaction(SIGSEGV, &action, NULL);
  trial.limit_low = (uintptr_t)view;
  trial.limit_high = (uintptr_t)view + VIEW;
}

/* Random registers and memory. Some vector components stay in their initial state. */
static void randomise(void) {
  for (int i = 0; i < 16; i++)
    machine_in.gpr[i] = value();
  machine_in.flags = 0x202 | (chance() & FLAGS);
  uint64_t bv = machine_vectors & (below(4) ? UINT64_MAX : chance());
  memset(machine_in.xsave, 0, sizeof machine_in.xsave);
  for (unsigned c = 1; c < 8; c++)
    for (unsigned i = 0; i < component_size[c] && bv >> c & 1; i += 8) {
      uint64_t v = c == 5 && below(2) ? UINT64_MAX << below(64) : chance();
      memcpy(machine_in.xsave + component_at[c] + i, &v, 8);
    }
  const uint32_t mxcsr = 0x1f80;
  memcpy(machine_in.xsave + 24, &mxcsr, 4);
  memcpy(machine_in.xsave + 512, &bv, 8);
  for (size_t i = 0; i < VIEW; i += 8 * (1 + below(64))) {
    uint64_t v = value();
    memcpy(before + i, &v, 8);
  }
}

/* Puts the instruction where it will run, and behind it the way back. */
static void place(const unsigned char *code, size_t length) {
  static const unsigned char jump[] = {0xff, 0x25, 0, 0, 0, 0}; /* jmp *0(%rip) */
  const char *back = machine_back;
  memcpy(code_page, code, length);
  memcpy(code_page + length, jump, sizeof jump);
  memcpy(code_page + length + sizeof jump, &back, sizeof back);
  trial.length = length;
}

static const unsigned char *vector_part(const struct machine *m, unsigned which) {
  static const unsigned char zeros[XSAVE_MAX];
  uint64_t bv;
  memcpy(&bv, m->xsave + 512, 8);
  return bv >> which & 1 ? m->xsave + component_at[which] : zeros;
}

static void compare_outcomes(const struct machine *real, uint64_t undefined) {
  for (unsigned i = 0; i < 16; i++)
    if (machine_out.gpr[i] != real->gpr[i])
      wrong("register %u: %#lx, really %#lx", i, (long)machine_out.gpr[i], (long)real->gpr[i]);
  if ((machine_out.flags ^ real->flags) & ~undefined)
    wrong("flags %#lx, really %#lx, of them undefined %#lx", (long)machine_out.flags,
          (long)real->flags, (long)undefined);
  for (unsigned c = 1; c < 8; c++)
    if (memcmp(vector_part(&machine_out, c), vector_part(real, c), component_size[c]) != 0)
      wrong("vector registers, component %u", c);
  for (size_t i = 0; i < VIEW; i++)
    if (alias[i] != really[i]) {
      wrong("memory at %zu: %#x, really %#x", i, alias[i], really[i]);
      break;
    }
}

/* Runs what was placed, with machine_in and `before`, twice. Pages first .. last are read-only the
 * second time, others are not. `undefined`: flags that may differ. */
static void run_twice(unsigned first, unsigned last, uint64_t undefined) {
  static struct machine real;
  trial.faults = trial.refusals = trial.honest = trial.spoilt = 0;
  trial.wrong[0] = 0;
  memcpy(alias, before, VIEW);
  mprotect(view, VIEW, PROT_READ | PROT_WRITE);
  machine_go();
  memcpy(&real, &machine_out, sizeof real);
  memcpy(really, alias, VIEW);
  int honest = trial.honest;
  uintptr_t honest_at = trial.honest_at;
  if (trial.faults)
    wrong("faults on writable memory");

  trial.honest = 0;
  memcpy(alias, before, VIEW);
  mprotect(view + first * PAGE, (last - first + 1) * PAGE, PROT_READ);
  machine_go();
  if (trial.honest != honest || (honest && trial.honest_at != honest_at))
    wrong("faulted %d times elsewhere, at %#lx, really %d, at %#lx", trial.honest,
          (long)trial.honest_at, honest, (long)honest_at);
  compare_outcomes(&real, undefined);
  if (trial.faults && trial.first.has_bytes && !honest && !trial.wrong[0] &&
      memcmp(trial.first.bytes, really + (trial.first.address - (uintptr_t)view),
             trial.first.size) != 0)
    wrong("the bytes foretold are not those that were stored");
}

static unsigned spoilt_trials;

static int finish_machine(const char *name) {
  if (spoilt_trials)
    printf("%s: %u trials skipped, this emulated CPU alters flags before it faults\n", name,
           spoilt_trials);
  return finish(name);
}

/* Counts a trial, and describes it where it went wrong. */
static void judge(const char *what) {
  if (trial.spoilt && EMULATED) {
    spoilt_trials++;
    return;
  }
  if (trial.spoilt)
    wrong("faulted with other flags than it began with");
  if (trial.wrong[0]) {
    fprintf(stderr, "%s: %s\n  seed %#llx, code", what, trial.wrong, (unsigned long long)seed);
    for (size_t i = 0; i < trial.length; i++)
      fprintf(stderr, " %02x", code_page[i]);
    fprintf(stderr, ", flags %#lx\n ", (long)machine_in.flags);
    for (unsigned i = 0; i < 16; i++)
      fprintf(stderr, " %#lx", (long)machine_in.gpr[i]);
    fprintf(stderr, "\n");
  }
  CHECK(trial.wrong[0] == 0);
}

/* ---- putting instructions together ------------------------------------------------------- */

/* A memory operand at `target`, in any of the ways in which one can be said. */
struct operand {
  unsigned char modrm, sib, has_sib, displacement_size, relative, addr32;
  unsigned rex; /* X and B */
  int64_t displacement;
};

/* Chooses one for a register (or extension) number `reg`, and sets base and index in machine_in.
 * `keep`: a bit for each register whose value matters. An 8-bit displacement counts `scale`. */
static inline struct operand choose_operand(uintptr_t target, unsigned reg, unsigned keep,
                                            unsigned scale) {
  struct operand o;
  unsigned base, index, way = below(8);
  memset(&o, 0, sizeof o);
  do
    base = below(16);
  while (keep >> base & 1);
  do
    index = below(16);
  while (index == 4 || index == base || (keep >> index & 1));
  o.addr32 = below(8) == 0;
  o.modrm = (unsigned char)((reg & 7) << 3);
  if (way == 0) { /* relative to the pc, which emit() knows */
    o.modrm |= 5;
    o.displacement_size = 4;
    o.relative = 1;
    o.displacement = (int64_t)target;
    return o;
  }
  if (way == 1) { /* an address, or an index and an address */
    int none = below(2);
    unsigned shift = below(4);
    o.modrm |= 4;
    o.has_sib = 1;
    o.sib = (unsigned char)(shift << 6 | (none ? 4 : index & 7) << 3 | 5);
    o.rex = !none && index >= 8 ? X86_REX_X : 0;
    o.displacement_size = 4;
    if (!none)
      machine_in.gpr[index] = below(100000);
    o.displacement = (int64_t)(int32_t)(target - (none ? 0 : machine_in.gpr[index] << shift));
    return o;
  }
  unsigned size = below(3);
  o.displacement_size = size == 2 ? 4 : (unsigned char)size;
  if (size == 0 && (base & 7) == 5)
    o.displacement_size = 1;
  o.displacement = o.displacement_size == 1   ? (int8_t)chance()
                   : o.displacement_size == 4 ? (int32_t)chance() >> below(24)
                                              : 0;
  o.modrm |= o.displacement_size == 4 ? 0x80 : o.displacement_size == 1 ? 0x40 : 0;
  o.rex = base >= 8 ? X86_REX_B : 0;
  uint64_t sum = (uint64_t)(o.displacement * (o.displacement_size == 1 ? (int)scale : 1));
  if ((base & 7) == 4 || way < 5) {
    unsigned shift = below(4), none = below(3) == 0;
    o.modrm |= 4;
    o.has_sib = 1;
    o.sib = (unsigned char)(shift << 6 | (none ? 4 : index & 7) << 3 | (base & 7));
    if (!none) {
      o.rex |= index >= 8 ? X86_REX_X : 0;
      sum += machine_in.gpr[index] << shift;
    }
  } else {
    o.modrm |= base & 7;
  }
  machine_in.gpr[base] = target - sum;
  if (o.addr32)
    machine_in.gpr[base] ^= chance() << 32;
  return o;
}

/* ModRM to displacement at code + at; `immediate` bytes will follow. Returns the place behind. */
static inline size_t emit_operand(unsigned char *code, size_t at, const struct operand *o,
                                  unsigned immediate) {
  int64_t displacement = o->displacement;
  code[at++] = o->modrm;
  if (o->has_sib)
    code[at++] = o->sib;
  if (o->relative)
    displacement -= (int64_t)(uintptr_t)(code_page + at + 4 + immediate);
  memcpy(code + at, &displacement, 8);
  return at + o->displacement_size;
}

/* Where `size` bytes go: anywhere, often across a page boundary. Pages *first to *last, at least
 * one of which it touches, are to be read-only. */
static inline uintptr_t choose_target(size_t size, size_t alignment, unsigned *first,
                                      unsigned *last) {
  size_t at = below(VIEW - size + 1), boundary = PAGE * (1 + below(2));
  if (below(3) == 0 && size > 1) {
    size_t ahead = 1 + below(size - 1 < boundary ? size - 1 : boundary);
    if (boundary - ahead + size <= VIEW)
      at = boundary - ahead;
  }
  at -= at % alignment;
  *first = (unsigned)(below(2) ? at / PAGE : (at + size - 1) / PAGE);
  *last = *first;
  if (below(2))
    *first = 0, *last = 2;
  return (uintptr_t)view + at;
}

#endif

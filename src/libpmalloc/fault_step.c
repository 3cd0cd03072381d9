/* fault_step: runs one instruction with a page open.
 *
 *     SIGSEGV   page open, trap flag on, all other signals blocked; return
 *        |
 *        v      the instruction runs --- needs another page? SIGSEGV: open it, too
 *        |
 *     SIGTRAP   pages shut, trap flag and mask as they were; return
 *
 * The thread keeps its turn in between, so there is one such instruction at a time
 * and no other violation is answered; but a thread that does not fault sees the
 * page open. A fork() waits for the end of it, or a child would be born with an
 * open page; one born by a bare clone() shuts it when it comes to its first turn.
 *
 * Somebody else's trap, a breakpoint say, goes to the handler that was there before.
 *
 * Not under a debugger: it would take the trap for one of its own, and stop. One
 * that looks in for a moment (py-spy) is waited for.
 *
 * ASYNC-SIGNAL-SAFE: pmalloc_step_start(), _is_on(), _abort() and the handler. Raw
 * system calls, sigaction(), sigemptyset(), sigfillset(), sigdelset(), memcpy().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_step.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fault_context.h"
#include "fault_policy.h"
#include "pages.h"

/* A scatter store of sixteen elements may need as many pages, and each may be cut in two. */
#define PAGES 32

/* Of whoever has the turn. */
static struct {
  atomic_uint pages; /* open ones; 0: no step is under way */
  uintptr_t page[PAGES];
  struct pmalloc_log_write *write;
} step;

int pmalloc_step_is_on(void) { return step.pages != 0; }

static void shut(void) {
  while (step.pages > 0)
    (void)pages_protect_again(step.page[--step.pages]);
}

#if defined(__x86_64__)

#define TRAP_FLAG 0x100

/* How this thread was before its step. It may come back late, when the turn was taken from it. */
static _Thread_local __attribute__((tls_model("initial-exec"))) struct {
  int on;
  int had_flag;
  uintptr_t pc;
  uint64_t mask; /* the signals that were blocked, as the kernel has them */
} mine;

static int works; /* a step was tried, and did what it should */
static _Atomic int trying;

/* Who was on top when we went there, newest last. */
#define BELOW 4
static struct sigaction below[BELOW];
static atomic_uint below_used;

/* The kernel's frame has room for its own mask only: 64 signals. */
static void set_mask(ucontext_t *uc, uint64_t mask) { memcpy(&uc->uc_sigmask, &mask, sizeof mask); }

static void finish(ucontext_t *uc) {
  if (!mine.had_flag)
    uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
  set_mask(uc, mine.mask);
  mine.on = 0;
}

void pmalloc_step_abort(ucontext_t *uc) {
  shut();
  if (uc && mine.on)
    finish(uc);
}

enum pmalloc_turn pmalloc_step_take_turn(const ucontext_t *uc) {
  enum pmalloc_turn turn = pmalloc_turn_take();
  if (step.pages == 0 || (turn == PMALLOC_TURN_KEPT && uc && mine.on && mine.pc == context_pc(uc)))
    return turn;
  pmalloc_step_abort(NULL);
  mine.on = 0;
  return turn == PMALLOC_TURN_KEPT ? PMALLOC_TURN_TAKEN : turn;
}

/* ---- others' traps ---- */

/* One of those below may call the one that it found, and that may be us: then it goes to one
 * further down. That call has the same context, and lies deeper in the stack. */
static _Thread_local __attribute__((tls_model("initial-exec"))) struct {
  const void *context;
  uintptr_t frame;
  unsigned level;
} passing;

static void call_below(unsigned level, int number, siginfo_t *info, void *context) {
  unsigned used = atomic_load(&below_used);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  if (level < used)
    action = below[used - 1 - level];
  if (action.sa_flags & SA_SIGINFO) {
    action.sa_sigaction(number, info, context);
  } else if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN) {
    action.sa_handler(number);
  } else if (action.sa_handler == SIG_DFL || info->si_code > 0) {
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    (void)sigaction(SIGTRAP, &action, NULL);
    (void)syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), SIGTRAP);
  }
}

/* AddressSanitizer may keep variables elsewhere: the question is about the stack itself. */
__attribute__((no_sanitize_address, noinline)) static void pass_on(int number, siginfo_t *info,
                                                                   void *context) {
  uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
  int again = passing.context == context && frame < passing.frame;
  unsigned level = again ? passing.level + 1 : 0;
  passing.context = context;
  passing.frame = frame;
  passing.level = level;
  call_below(level, number, info, context);
  passing.context = NULL;
}

static void on_trap(int number, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  int kept = errno;
  int stepped = info->si_code == TRAP_TRACE;
  if (stepped && mine.on) {
    if (pmalloc_turn_is_mine()) {
      shut();
      pmalloc_audit_end(step.write);
      pmalloc_turn_leave();
    }
    finish(uc);
    stepped = !mine.had_flag; /* else somebody wanted it, too */
  } else if (stepped && trying == (int)syscall(SYS_gettid)) {
    uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    works = 1;
  } else {
    stepped = 0;
  }
  if (!stepped)
    pass_on(number, info, context);
  errno = kept;
}

static void remember(const struct sigaction *top) {
  unsigned used = atomic_load(&below_used);
  if (used && below[used - 1].sa_sigaction == top->sa_sigaction &&
      below[used - 1].sa_flags == top->sa_flags)
    return; /* it went on top of us again */
  if (used == BELOW)
    used--; /* the newest matters most */
  below[used] = *top;
  atomic_store(&below_used, used + 1);
}

/* On top of whoever came since. */
static int install(void) {
  struct sigaction top, ours;
  if (sigaction(SIGTRAP, NULL, &top) != 0)
    return -1;
  if ((top.sa_flags & SA_SIGINFO) && top.sa_sigaction == on_trap)
    return 0;
  remember(&top);
  memset(&ours, 0, sizeof ours);
  ours.sa_sigaction = on_trap;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  (void)sigfillset(&ours.sa_mask);
  (void)sigdelset(&ours.sa_mask, SIGSEGV);
  return sigaction(SIGTRAP, &ours, NULL);
}

/* ---- debuggers ---- */

/* Somebody's process id; 0: nobody traces this process. */
static int tracer(void) {
  char text[512];
  static const char key[] = "TracerPid:\t";
  long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC, 0);
  long n = fd >= 0 ? syscall(SYS_read, fd, text, sizeof text) : 0;
  if (fd >= 0)
    (void)syscall(SYS_close, fd);
  for (long i = 0; i + (long)sizeof key <= n; i++) {
    if (memcmp(text + i, key, sizeof key - 1) == 0)
      return text[i + (long)sizeof key - 1] != '0';
  }
  return 0;
}

static int is_traced(void) {
  const struct timespec moment = {0, 10 * 1000 * 1000};
  for (int i = 0; i < 30; i++) {
    if (!tracer())
      return 0;
    (void)syscall(SYS_nanosleep, &moment, NULL);
  }
  return 1;
}

/* ---- the step ---- */

int pmalloc_step_start(uintptr_t address, ucontext_t *uc, struct pmalloc_log_write *write) {
  if (step.pages == PAGES)
    return 0;
  if (step.pages == 0 && (!works || is_traced() || install() != 0))
    return 0;
  if (pages_let_write(address) != 0)
    return 0;
  step.page[step.pages++] = address;
  if (step.pages > 1)
    return 1; /* the flag is on: the kernel keeps it in the frame */
  sigset_t all;
  uint64_t mask;
  (void)sigfillset(&all);
  (void)sigdelset(&all, SIGTRAP);
  (void)sigdelset(&all, SIGSEGV);
  (void)sigdelset(&all, SIGBUS);
  (void)sigdelset(&all, SIGFPE);
  (void)sigdelset(&all, SIGILL);
  memcpy(&mask, &all, sizeof mask);
  memcpy(&mine.mask, &uc->uc_sigmask, sizeof mine.mask);
  set_mask(uc, mask);
  step.write = write;
  mine.on = 1;
  mine.pc = context_pc(uc);
  mine.had_flag = (uc->uc_mcontext.gregs[REG_EFL] & TRAP_FLAG) != 0;
  uc->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
  return 1;
}

/* ---- ahead of time ---- */

int pmalloc_step_ready(void) {
  static int tried;
  sigset_t wanted, before;
  if (tried)
    return works ? install() : -1;
  tried = 1;
  if (tracer() || install() != 0)
    return -1;
  (void)sigemptyset(&wanted);
  (void)sigaddset(&wanted, SIGTRAP);
  (void)pthread_sigmask(SIG_UNBLOCK, &wanted, &before);
  trying = (int)syscall(SYS_gettid);
  /* The trap comes after the instruction that follows the one which sets the flag. The pushes stay
   * out of the red zone below the stack pointer. */
  __asm__ volatile("subq $128, %%rsp\n\t"
                   "pushfq\n\t"
                   "orq $0x100, (%%rsp)\n\t"
                   "popfq\n\t"
                   "nop\n\t"
                   "addq $128, %%rsp"
                   :
                   :
                   : "memory", "cc");
  trying = 0;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return works ? 0 : -1;
}

#else

/* There is no flag for it that a program may set. */
int pmalloc_step_ready(void) { return -1; }

enum pmalloc_turn pmalloc_step_take_turn(const ucontext_t *uc) {
  (void)uc;
  return pmalloc_turn_take();
}

int pmalloc_step_start(uintptr_t address, ucontext_t *uc, struct pmalloc_log_write *write) {
  (void)address;
  (void)uc;
  (void)write;
  return 0;
}

void pmalloc_step_abort(ucontext_t *uc) {
  (void)uc;
  shut();
}

#endif

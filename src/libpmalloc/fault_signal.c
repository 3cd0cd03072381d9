/* fault_signal: the SIGSEGV handler itself.
 *
 *                        SIGSEGV
 *                           |
 *        the kernel's? -----+----- sent by kill(), raise()?
 *              |                          |
 *      address pmalloc's? --no--.    a violation that another handler saw
 *              |yes             |    first and raised again? --no--.
 *      refcount write? --no--.  |         |yes                     |
 *              |yes          |  |    return: the instruction       |
 *      step over it,         |  |    faults again, into us         |
 *      return                |  |                                  |
 *              policy that goes on? --no--.                        |
 *                    |yes       |         +---> pass on <----------+
 *              store, return    |               untouched
 *                            report
 *                            |
 *                       previous handler,
 *                       then SIG_DFL and return:
 *                       the instruction faults again, the process dies of
 *                       SIGSEGV, and the core shows the store itself
 *
 * Other handlers. Several parties want this signal: faulthandler, crash
 * reporters, runtimes that use guard pages. Each that was on top when pmalloc
 * (re-)installed itself is remembered, newest last. A handler may call the one
 * before it, and that may be us once more: `level` counts how often this thread
 * is inside us, and every level passes on to one further down, so that no chain
 * ever closes into a loop.
 *
 *   pmalloc --> history[2] --> pmalloc --> history[1] --> ... --> SIG_DFL
 *   level 0                    level 1
 *
 * faulthandler enabled after us sees the fault first, prints its dump, puts our
 * handler back and raises the signal again. What we get then is SI_TKILL from
 * ourselves. The proof that a real fault lies behind it is in what the kernel
 * saved: see is_raised_again().
 *
 * SIGSEGV stays blocked here, so a fault in the handler kills at once, and a
 * handler we call that raises the signal gets it delivered when we return.
 *
 * ASYNC-SIGNAL-SAFE: raw system calls, sigaction(), pthread_sigmask(),
 * sigemptyset(), sigaddset(); the registry and the other fault_* files.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_signal.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "fault_above.h"
#include "fault_context.h"
#include "fault_policy.h"
#include "fault_refcount.h"
#include "fault_report.h"
#include "fault_room.h"
#include "fault_step.h"
#include "fault_store.h"
#include "fault_turn.h"
#include "pages.h"
#include "registry.h"

/* Lazy thread-local storage may call malloc() at first use; this kind can't. */
#define HANDLER_LOCAL static _Thread_local __attribute__((tls_model("initial-exec")))

/* ---- what the layers above asked for ------------------------------------------ */

static _Atomic(pmalloc_describe_fn) hook_describe;
static _Atomic(pmalloc_preheader_fn) hook_preheader;
static _Atomic(pmalloc_path_fn) hook_path;
static _Atomic(const char *const *) hook_own_modules;

void pmalloc_fault_set_hooks(const struct pmalloc_fault_hooks *hooks) {
  atomic_store(&hook_describe, hooks->describe);
  atomic_store(&hook_preheader, hooks->preheader);
  atomic_store(&hook_path, hooks->path);
  atomic_store(&hook_own_modules, hooks->own_modules);
  pmalloc_above_use(hooks->stack_signal, hooks->stack_fd);
  pmalloc_policy_use(hooks->line, hooks->notify);
}

/* ---- handlers below us ----------------------------------------------------------- */

static struct sigaction history[PMALLOC_HISTORY];
static atomic_size_t history_used;

/* One run of the handler on this thread. The newest that has called somebody
 * else's handler is kept, so that a run inside that call knows its level. */
struct visit {
  unsigned level;
  uintptr_t frame; /* address of a word on the handler's stack that holds the serial */
  uint64_t serial;
  const ucontext_t *context;
};
HANDLER_LOCAL struct visit outer; /* serial 0: none */
HANDLER_LOCAL uint64_t serials;

static int on_alternate_stack(uintptr_t at, const ucontext_t *uc) {
  return at - (uintptr_t)uc->uc_stack.ss_sp < uc->uc_stack.ss_size;
}

/* Is the call that `outer` made still under way? A handler may also have left it
 * by siglongjmp(), and nobody told us. */
static int is_inside_outer(uintptr_t frame, const ucontext_t *uc) {
  uint64_t serial;
  uintptr_t sp = context_sp(uc);
  if (outer.serial == 0)
    return 0;
  /* Called directly, with what the kernel gave to us: further down the stack. A
   * new signal that finds the stack as the old one did has the same frame. */
  if (uc == outer.context)
    return frame < outer.frame;
  /* Entered by the kernel, which interrupted that other handler. */
  return on_alternate_stack(sp, uc) == on_alternate_stack(outer.frame, uc) && sp < outer.frame &&
         pages_peek(&serial, (const void *)outer.frame, sizeof serial) == 0 &&
         serial == outer.serial;
}

void pmalloc_fault_set_previous(const struct sigaction *previous) {
  size_t used = atomic_load(&history_used);
  if (used && history[used - 1].sa_sigaction == previous->sa_sigaction &&
      history[used - 1].sa_flags == previous->sa_flags)
    return; /* it went on top of us again */
  if (used == PMALLOC_HISTORY)
    used--; /* eight different handlers: the newest matters most */
  history[used] = *previous;
  atomic_store(&history_used, used + 1);
}

size_t pmalloc_fault_previous(struct sigaction out[PMALLOC_HISTORY]) {
  size_t used = atomic_load(&history_used);
  for (size_t i = 0; i < used; i++)
    out[i] = history[used - 1 - i];
  return used;
}

static void previous_at(unsigned level, struct sigaction *out) {
  size_t used = atomic_load(&history_used);
  if (level < used) {
    *out = history[used - 1 - level];
    return;
  }
  memset(out, 0, sizeof *out);
  out->sa_handler = SIG_DFL;
}

static int is_function(const struct sigaction *action) {
  return (action->sa_flags & SA_SIGINFO) ||
         (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);
}

static void set_default(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  (void)sigaction(SIGSEGV, &action, NULL);
}

/* Calls a handler as the kernel would: with the signals blocked that were, those that it wanted,
 * and SIGSEGV. */
static void call(const struct sigaction *action, const struct visit *visit, int signal,
                 siginfo_t *info, void *context) {
  const ucontext_t *uc = context;
  sigset_t before, as_it_was;
  struct visit kept = outer;
  (void)sigemptyset(&as_it_was);
  memcpy(&as_it_was, &uc->uc_sigmask, sizeof(uint64_t)); /* as many as the kernel has */
  (void)sigaddset(&as_it_was, SIGSEGV);
  (void)pthread_sigmask(SIG_SETMASK, &as_it_was, &before);
  (void)pthread_sigmask(SIG_BLOCK, &action->sa_mask, NULL);
  outer = *visit;
  if (action->sa_flags & SA_SIGINFO)
    action->sa_sigaction(signal, info, context);
  else
    action->sa_handler(signal);
  outer = kept;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void send_to_self(int signal) {
  (void)syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), signal);
}

/* A signal that is none of our business goes where it would have gone. */
static __attribute__((noinline)) void pass_on(const struct visit *visit, int signal,
                                              siginfo_t *info, void *context) {
  struct sigaction previous;
  int sent = info->si_code <= 0; /* by kill(), raise() or sigqueue() */
  previous_at(visit->level, &previous);
  if (is_function(&previous)) {
    call(&previous, visit, signal, info, context);
    return;
  }
  if (sent && previous.sa_handler == SIG_IGN)
    return;
  /* The instruction faults again; a signal that was sent has to be sent again,
   * and is delivered when this handler returns and the mask opens. */
  set_default();
  if (sent)
    send_to_self(signal);
}

/* ---- violations ---------------------------------------------------------------------- */

struct finding {
  const struct pmalloc_where *where;
  uintptr_t address;
  ucontext_t *uc;
  int answered; /* the thread goes on; else reported, and this is the end */
};

/* Takes more stack than an alternate one may have: called where there is room. Nothing of it is
 * left when the other handlers run. */
static void answer(void *argument) {
  struct finding *finding = argument;
  ucontext_t *uc = finding->uc;
  struct pmalloc_fault_hooks hooks = {.describe = atomic_load(&hook_describe),
                                      .preheader = atomic_load(&hook_preheader),
                                      .path = atomic_load(&hook_path),
                                      .own_modules = atomic_load(&hook_own_modules)};
  struct pmalloc_violation violation = {.where = finding->where,
                                        .address = finding->address,
                                        .pc = context_pc(uc),
                                        .access = context_access(uc),
                                        .policy = PMALLOC_OOPS,
                                        .store = NULL,
                                        .same_value = -1,
                                        .uc = uc,
                                        .hooks = &hooks};
  struct pmalloc_store store;
  struct pmalloc_where now;
  enum pmalloc_turn turn = pmalloc_step_take_turn(uc);
  /* While it was waited for the pool may have been destroyed; no longer, now that it is ours. */
  if (pmalloc_registry_find(finding->address, &now))
    violation.where = &now;
  finding->answered = pmalloc_policy_answer(&violation, uc);
  if (finding->answered) {
    if (turn != PMALLOC_TURN_KEPT && !pmalloc_step_is_on())
      pmalloc_turn_leave();
    return;
  }
  if (turn == PMALLOC_TURN_KEPT)
    pmalloc_step_abort(uc);
  /* Nobody else comes to speak: the turn is kept. */
  if (pmalloc_store_decode(uc, finding->address, &store))
    violation.store = &store;
  pmalloc_report_violation(&violation, NULL);
}

static __attribute__((noinline)) void violation(const struct visit *visit,
                                                const struct pmalloc_where *where, int signal,
                                                siginfo_t *info, void *context) {
  struct sigaction previous;
  /* Further down: a handler that we called after the report called us. */
  if (visit->level == 0) {
    struct finding finding = {where, (uintptr_t)info->si_addr, context, 0};
    pmalloc_fault_with_room(context, answer, &finding);
    if (finding.answered) {
      context_forget_fault(context);
      return;
    }
  }
  previous_at(visit->level, &previous);
  if (is_function(&previous))
    call(&previous, visit, signal, info, context);
  set_default();
}

static int is_refcount_place(uintptr_t address, const struct pmalloc_where *where) {
  return where->place == PMALLOC_DATA && where->kind == PMALLOC_OBJECTS && where->protected_ &&
         pmalloc_registry_is_start(address);
}

/* ---- raised again ------------------------------------------------------------------------ */

#define SCAN_BYTES ((size_t)128 << 10)
#define SCAN_BLOCK ((size_t)512)

/* The last signal of this thread was taken for one that was raised again. If the
 * instruction did not fault after that, it was not. */
HANDLER_LOCAL int expecting_fault;

/* The last fault on pmalloc's memory in this thread that reached us. */
HANDLER_LOCAL uintptr_t last_seen;

/* Are these four words from the frame the kernel made for a fault at `address`?
 * It writes a siginfo_t for handlers with SA_SIGINFO only, which faulthandler's
 * is not; x86-64 has the address among the registers too. */
static int is_fault_frame(const uint64_t word[4], uintptr_t address) {
  if (word[3] != address)
    return 0;
#if defined(__x86_64__)
  return word[0] < 0x10000 && word[1] == 14; /* error code, trap, old mask, CR2 */
#else
  return word[1] == SIGSEGV && (word[2] & 0x7fffffff) - 1 < 16; /* number, code, address */
#endif
}

/* Looks upward from where the thread was interrupted: the handler that called
 * raise() is still running, and the kernel's frame for it lies above. */
static __attribute__((noinline)) int stack_has_fault(const ucontext_t *uc, uintptr_t address) {
  uintptr_t at = (context_sp(uc) + 7) & ~(uintptr_t)7;
  uintptr_t end = at + SCAN_BYTES;
  uintptr_t alternate_end = (uintptr_t)uc->uc_stack.ss_sp + uc->uc_stack.ss_size;
  uint64_t block[SCAN_BLOCK / 8], word[4] = {0, 0, 0, 0};
  if (on_alternate_stack(at, uc) && end > alternate_end)
    end = alternate_end & ~(uintptr_t)7;
  while (at < end) {
    /* Up to the next boundary, so that no block spans a page that is not there. */
    size_t n = SCAN_BLOCK - (at & (SCAN_BLOCK - 1));
    n = n < end - at ? n : end - at;
    if (pages_peek(block, (const void *)at, n) != 0)
      return 0;
    for (size_t i = 0; i < n / 8; i++) {
      memmove(word, word + 1, 3 * sizeof word[0]);
      word[3] = block[i];
      if (is_fault_frame(word, address))
        return 1;
    }
    at += n;
  }
  return 0;
}

/* Raised by this process, and this thread's last fault was on pmalloc's memory:
 * if we never saw that fault, another handler did and now passes it on. If we
 * saw one at that address, it may be over and done with, and the raise() a real
 * one: then only the frame of a handler that is still at it is proof. */
static int is_raised_again(const struct visit *visit, const siginfo_t *info, const ucontext_t *uc) {
  struct pmalloc_where where;
  uintptr_t address = context_last_fault(uc);
  int self = info->si_code == SI_TKILL && info->si_pid == (pid_t)syscall(SYS_getpid);
  if (!self || expecting_fault || visit->level > 0 || !pmalloc_registry_find(address, &where))
    return 0;
  return address != last_seen || stack_has_fault(uc, address);
}

/* ---- the handler --------------------------------------------------------------------------- */

/* AddressSanitizer may keep a function's variables elsewhere than on the stack; the serial has to
 * lie there. */
__attribute__((no_sanitize_address)) void pmalloc_fault_on_signal(int signal, siginfo_t *info,
                                                                  void *context) {
  int saved = errno;
  ucontext_t *uc = context;
  struct pmalloc_where where;
  volatile uint64_t serial = ++serials;
  struct visit visit = {.level = 0, .frame = (uintptr_t)&serial, .serial = serial, .context = uc};
  if (is_inside_outer(visit.frame, uc))
    visit.level = outer.level + 1;
  else
    outer.serial = 0;

  if (info->si_code <= 0) {
    int again = is_raised_again(&visit, info, uc);
    expecting_fault = again;
    if (!again)
      pass_on(&visit, signal, info, context);
  } else {
    uintptr_t address = (uintptr_t)info->si_addr;
    uintptr_t pc = context_pc(uc);
    expecting_fault = 0;
    /* SI_KERNEL has no address: its si_addr is 0, which is nobody's. */
    if (!pmalloc_registry_find(address, &where)) {
      if (pmalloc_step_is_on() && pmalloc_turn_is_mine()) {
        pmalloc_step_abort(uc); /* what is single-stepped fell over something else */
        pmalloc_turn_leave();
      }
      pass_on(&visit, signal, info, context);
      errno = saved;
      return;
    }
    last_seen = address;
    if (is_refcount_place(address, &where) && pmalloc_refcount_skip(address, uc)) {
      context_forget_fault(uc); /* dealt with: no later look at this stack may find it */
      pmalloc_refcount_warn(pc);
    } else {
      violation(&visit, &where, signal, info, context);
    }
  }
  errno = saved;
}

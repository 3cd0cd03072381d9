/* fault: puts the SIGSEGV handler in place, and back in place.
 *
 * Whoever installs a handler last is on top. Libraries do that at any time
 * (faulthandler.enable(), signal.signal(), crash reporters), so the handler's
 * place is checked at every protect: the moment from which a write can be a
 * violation. Somebody else on top is remembered as the one to pass signals on
 * to, then pmalloc goes on top again. It is never remembered as its own
 * predecessor.
 *
 * All that may take locks or memory is done here, ahead of time. What runs in
 * the handler is in fault_signal and the files it uses: those say
 * ASYNC-SIGNAL-SAFE at their top, this one does not.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "fault_json.h"
#include "fault_log.h"
#include "fault_refusal.h"
#include "fault_signal.h"
#include "fault_step.h"
#include "fault_store.h"
#include "fault_symbol.h"
#include "fault_turn.h"
#include "pages.h"
#include "pool.h"

/* Held by a process id: a child of fork() that finds its parent's there knows
 * that the thread which held it does not exist here, and takes it over. */
static _Atomic pid_t lock;

static void take(void) {
  pid_t self = getpid();
  for (;;) {
    pid_t other = 0;
    if (atomic_compare_exchange_strong(&lock, &other, self))
      return;
    if (other != self && atomic_compare_exchange_strong(&lock, &other, self))
      return;
    (void)sched_yield();
  }
}

static int is_ours(const struct sigaction *action) {
  return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == pmalloc_fault_on_signal;
}

static enum pmalloc_status put_on_top(void) {
  struct sigaction top, ours, replaced;
  if (sigaction(SIGSEGV, NULL, &top) != 0)
    return PMALLOC_ERR_SYSTEM;
  if (is_ours(&top))
    return PMALLOC_OK;
  /* First remembered, then replaced: a fault in between must find it. */
  pmalloc_fault_set_previous(&top);
  memset(&ours, 0, sizeof ours);
  ours.sa_sigaction = pmalloc_fault_on_signal;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  /* Nothing comes in between: a handler of the program's that wrote to a pool would find SIGSEGV
   * blocked, and die. What faults itself is not held up. */
  (void)sigfillset(&ours.sa_mask);
  static const int synchronous[] = {SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
  for (size_t i = 0; i < sizeof synchronous / sizeof *synchronous; i++)
    (void)sigdelset(&ours.sa_mask, synchronous[i]);
  if (sigaction(SIGSEGV, &ours, &replaced) != 0)
    return PMALLOC_ERR_SYSTEM;
  if (!is_ours(&replaced))
    pmalloc_fault_set_previous(&replaced); /* somebody came in between */
  return PMALLOC_OK;
}

/* Where PMALLOC_REPORT_DIR says, from where the program is now. */
static void use_report_directory(void) {
  const char *given = pmalloc_environment("PMALLOC_REPORT_DIR");
  char path[PATH_MAX];
  size_t used = 0;
  if (!given || !*given)
    return;
  if (given[0] != '/' && getcwd(path, sizeof path)) {
    used = strlen(path);
    path[used++] = '/';
  }
  if (used + strlen(given) >= sizeof path) {
    static const char text[] =
        "pmalloc: PMALLOC_REPORT_DIR is longer than a path may be: no reports are written there\n";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    return;
  }
  strcpy(path + used, given);
  (void)pmalloc_json_use_directory(path);
}

/* ---- policies ---- */

#define BIT(policy) (1U << (policy))

static int goes_on(void) {
  return (pmalloc_policies_in_use() & (BIT(PMALLOC_WARN) | BIT(PMALLOC_AUDIT))) != 0;
}

static void before_fork(void) {
  if (goes_on())
    (void)pmalloc_step_take_turn(NULL);
}

static void after_fork(void) {
  if (goes_on())
    pmalloc_turn_leave();
}

/* The pages that another thread had open are shut; what is in the log, the parent did. */
static void in_child(void) {
  pmalloc_step_abort(NULL);
  pmalloc_turn_reset();
  pmalloc_log_reset();
}

static int pause_answers(void) { return pmalloc_step_take_turn(NULL) != PMALLOC_TURN_KEPT; }

/* Gets ready what the policies of the pools there are need. Where the kernel refuses one means of
 * `audit`, there is the other; without either pools have become `oops`, and say so. */
static enum pmalloc_status get_ready(unsigned in_use) {
  static int logs;
  if (!(in_use & (BIT(PMALLOC_WARN) | BIT(PMALLOC_AUDIT))))
    return PMALLOC_OK;
  struct pages log;
  if (!logs) {
    enum pmalloc_status status = pages_map(&log, pmalloc_log_bytes(), PAGES_LAZY, "violations");
    if (status != PMALLOC_OK)
      return status;
    pmalloc_log_use(log.base);
    logs = 1;
  }
  if (in_use & BIT(PMALLOC_AUDIT)) {
    (void)pages_poke_ready();
    (void)pmalloc_step_ready();
  }
  return PMALLOC_OK;
}

enum pmalloc_status pmalloc_fault_install(const struct pmalloc_fault_hooks *hooks) {
  static atomic_int prepared;
  unsigned in_use = pmalloc_policies_in_use();
  if (pages_are_off() || in_use == BIT(PMALLOC_OFF))
    return PMALLOC_OK;
  take();
  int saved = errno;
  if (!atomic_load(&prepared)) {
    pmalloc_symbol_use_finder(dlsym(RTLD_DEFAULT, "_dl_find_object"));
    use_report_directory();
    pmalloc_store_prepare();
    static const struct pool_answers ours = {.before_fork = before_fork,
                                             .after_fork = after_fork,
                                             .in_child = in_child,
                                             .pause = pause_answers,
                                             .resume = pmalloc_turn_leave};
    pool_use_answers(&ours);
    pmalloc_rare_on_refusal(pmalloc_refusal_report);
    atomic_store(&prepared, 1);
  }
  if (hooks)
    pmalloc_fault_set_hooks(hooks);
  enum pmalloc_status status = get_ready(in_use);
  if (status == PMALLOC_OK)
    status = put_on_top();
  if (status == PMALLOC_OK)
    errno = saved;
  atomic_store(&lock, 0);
  return status;
}

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
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "fault_signal.h"
#include "fault_symbol.h"

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
  (void)sigemptyset(&ours.sa_mask);
  if (sigaction(SIGSEGV, &ours, &replaced) != 0)
    return PMALLOC_ERR_SYSTEM;
  if (!is_ours(&replaced))
    pmalloc_fault_set_previous(&replaced); /* somebody came in between */
  return PMALLOC_OK;
}

enum pmalloc_status pmalloc_fault_install(const struct pmalloc_fault_hooks *hooks) {
  static atomic_int prepared;
  take();
  int saved = errno;
  if (!atomic_load(&prepared)) {
    pmalloc_symbol_use_finder(dlsym(RTLD_DEFAULT, "_dl_find_object"));
    atomic_store(&prepared, 1);
  }
  if (hooks)
    pmalloc_fault_set_hooks(hooks);
  enum pmalloc_status status = put_on_top();
  if (status == PMALLOC_OK)
    errno = saved;
  atomic_store(&lock, 0);
  return status;
}

/* pages_window: a store into read-only memory for which it is opened. The last resort.
 *
 *     this thread    madvise   mprotect   store   mprotect   madvise
 *                    DONTFORK  RW                 RO         DOFORK
 *     other threads            |<--- may store too --->|
 *     a child made             |<- has no such memory ->|
 *     signals        |<----------------- blocked ---------------->|
 *
 * For as long as it takes, a few microseconds and more where the kernel must tell
 * other cores, the whole mapping can be written by everybody: that is what write-rare
 * memory is meant to prevent. So this is used only where the kernel has no door of
 * its own to offer (see pages_poke.c), and never because it may be faster.
 *
 * fork() waits until it is over, because it takes the locks of pools. A bare clone()
 * does not; its child would have the mapping writable for good, and so it is born
 * without it: a use of it faults.
 *
 * One whole mapping is opened, never a page of it: that would split it, and huge
 * pages with it, and fail where there are no more mappings to be had.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "pages_internal.h"

static int may_fork(const struct pages *p, int may) {
  char *at = p->markers ? p->outer : p->base;
  size_t bytes = p->markers ? p->outer_size : p->size;
  return pages_call_madvise(at, bytes, may ? MADV_DOFORK : MADV_DONTFORK);
}

/* A source that can't be read faults while nothing is open, and while that can be reported. */
static void look_at(const volatile char *from, size_t n) {
  size_t page = pages_page_size();
  for (size_t at = 0; at < n; at += page - ((uintptr_t)from + at) % page)
    (void)from[at];
}

enum pmalloc_status pages_store_through_window(const struct pages *p, void *to, const void *from,
                                               size_t n, int *left_open) {
  sigset_t all, before;
  enum pmalloc_status status = PMALLOC_OK;
  *left_open = 0;
  if (pages_are_off()) {
    memcpy(to, from, n);
    return PMALLOC_OK;
  }
  look_at(from, n);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (may_fork(p, 0) != 0 || pages_set_protection(p, PROT_READ | PROT_WRITE) != 0) {
    status = pages_from_errno();
  } else {
    memcpy(to, from, n);
    if (pages_set_protection(p, PROT_READ) != 0) {
      status = PMALLOC_ERR_SYSTEM;
      *left_open = 1;
    }
  }
  int reason = errno;
  if (!*left_open)
    (void)may_fork(p, 1); /* where it is refused, children do without it */
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = reason;
  return status;
}

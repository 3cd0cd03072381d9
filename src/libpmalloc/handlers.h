/* handlers: who gets SIGSEGV in this process, and whether it could reach us.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_HANDLERS_H
#define PMALLOC_HANDLERS_H

#include <stddef.h>
#include <stdint.h>

#include "fault_signal.h"

struct pmalloc_handlers {
  int on_top;                              /* our handler is the one that the kernel calls */
  struct sigaction top;                    /* that one */
  struct sigaction below[PMALLOC_HISTORY]; /* those we pass on to, newest first */
  size_t below_count;
  int blocked;         /* SIGSEGV, in the calling thread */
  size_t stack;        /* the calling thread's alternate stack in bytes, 0: none */
  size_t stack_needed; /* what such a stack needs for a report */
};

/* Fills *out. Not for signal handlers. */
void pmalloc_handlers_ask(struct pmalloc_handlers *out);

/* Is SIGSEGV blocked in the calling thread? Then a violation kills the process without a report. */
int pmalloc_handlers_blocked(void);

#endif

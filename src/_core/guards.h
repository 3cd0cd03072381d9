/* What the extension installs in the process, at the first protect and again
 * where somebody took it away: the fault handler with what it needs to know of
 * Python objects, and the guard on realloc.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_GUARDS_H
#define PM_GUARDS_H

#include "cpython_layout.h"

/* describe.c: tells libpmalloc's fault handler how to name objects, and which
 * signal makes faulthandler print the Python stack. -1 with an exception. */
int pm_handler_install(int stack_signal);

/* realloc_guard.c. Cheap; called at every protect. */
void pm_realloc_guard_install(void);

#endif

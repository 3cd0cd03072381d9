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
int pm_handler_install(int stack_signal, int stack_fd);

/* describe.c, for tests: the path of a frozen object as a report would show it, a str, else None.
 */
PyObject *pm_path_of(PyObject *module, PyObject *obj);
/* handler_state.c: handler_state() and segv_blocked() for _handler.py. */
PyObject *pm_handler_state(PyObject *module, PyObject *none);
PyObject *pm_segv_blocked(PyObject *module, PyObject *none);

/* realloc_guard.c. Cheap; called at every protect. */
void pm_realloc_guard_install(void);

#endif

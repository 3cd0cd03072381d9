/* violations: what libpmalloc's log of violations says, as Python objects.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_VIOLATIONS_H
#define PM_VIOLATIONS_H

#include "cpython_layout.h"

/* violations(): a tuple of two lists, writers and writes; METH_NOARGS. */
PyObject *pm_violations(PyObject *module, PyObject *unused);

/* set_violation_signal(n): the signal that the main thread is to find pending when there is
 * something new in the log, 0: none; METH_O. */
PyObject *pm_set_violation_signal(PyObject *module, PyObject *number);

/* The handler calls it. Async-signal-safe. */
void pm_violations_notify(void);

#endif

/* SharedPool: another process's immutable pool, as a Python type.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_SHARED_TYPE_H
#define PM_SHARED_TYPE_H

#include "cpython_layout.h"

extern PyTypeObject PmShared_Type;
extern PyTypeObject PmSharedView_Type; /* makes its memoryviews keep it alive */

/* open_shared(fd, *, verify=True, seal=True), a module function. */
PyObject *pm_open_shared(PyObject *module, PyObject *args, PyObject *kwargs);

#endif

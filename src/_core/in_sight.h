/* Arrays and memoryviews that somebody refers to.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_IN_SIGHT_H
#define PM_IN_SIGHT_H

#include "cpython_layout.h"

/* in_sight(type, known, more): instances of the type, and memoryviews, that an object of the
 * garbage collector's refers to, also by way of tuples and dicts that it does not know, or that
 * `more` has; each once, and none of `known`. What gc.freeze() put aside is looked through, too. */
PyObject *pm_in_sight(PyObject *module, PyObject *args);

/* memoryviews(): all memoryviews that the collector knows. */
PyObject *pm_memoryviews(PyObject *module, PyObject *unused);

#endif

/* Arrays and memoryviews that somebody refers to.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_IN_SIGHT_H
#define PM_IN_SIGHT_H

#include "cpython_layout.h"

/* in_sight(objects, type): instances of the type, and memoryviews, that any of the objects refers
 * to, each once; also by way of tuples and dicts that the garbage collector does not know. */
PyObject *pm_in_sight(PyObject *module, PyObject *args);

#endif

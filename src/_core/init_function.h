/* Functions that may run during init only.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_INIT_FUNCTION_H
#define PM_INIT_FUNCTION_H

#include "cpython_layout.h"

/* close_function(function, explain): from now on each call of it raises explain(function). */
PyObject *pm_close_function(PyObject *module, PyObject *args);

#endif

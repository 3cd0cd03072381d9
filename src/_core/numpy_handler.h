/* numpy_handler: NumPy allocates the data of its arrays in a pool.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_NUMPY_HANDLER_H
#define PM_NUMPY_HANDLER_H

#include "pool_type.h"

/* Adds numpy_*() to the module, which _numpy_context.py and _readonly.py call; -1 with an
 * exception. */
int pm_numpy_add_functions(PyObject *module);

/* Where the data of an array or a view is; NULL for others, and until NumPy is known. */
const void *pm_numpy_data(PyObject *op);

#endif

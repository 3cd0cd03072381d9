/* check_object_size: bounds, asked for by Python and by every export of a buffer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_OBJECT_SIZE_H
#define PM_OBJECT_SIZE_H

#include "pool_type.h"

/* 0 where the bytes are one allocation's; else -1 with CorruptionError. */
int pm_export_allowed(const pm_pool *pool, const void *address, Py_ssize_t size);

/* check_object_size(address_or_buffer, size=None), METH_FASTCALL. */
PyObject *pm_check_object_size(PyObject *module, PyObject *const *args, Py_ssize_t count);

#endif

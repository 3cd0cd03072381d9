/* Cell: a protected reference to a frozen graph.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_CELL_TYPE_H
#define PM_CELL_TYPE_H

#include "cpython_layout.h"

extern PyTypeObject PmCell_Type;
extern PyTypeObject PmVersion_Type;

/* freeze_version(pool, obj, number, externals): what a cell's slot is to lead to. */
PyObject *pm_freeze_version(PyObject *module, PyObject *args);

/* own_get(type): the specialised calls want a method of exactly the object's type. */
PyObject *pm_cell_own_get(PyObject *module, PyObject *type);

/* write_unraisable(error, obj): hands an exception to sys.unraisablehook. */
PyObject *pm_write_unraisable(PyObject *module, PyObject *args);

#endif

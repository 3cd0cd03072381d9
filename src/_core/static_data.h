/* static_data: the static data of loaded objects, as Python sees it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_STATIC_DATA_H
#define PMALLOC_STATIC_DATA_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* sections() -> list of (id, path, "ro" or "wr", address, bytes, "open", "protected" or "refused",
 * sequence), in the order in which they were made known. */
PyObject *pm_sections(PyObject *module, PyObject *unused);

/* protect_section(id). ProtectedError where it is protected, PmallocError where its pages are
 * shared, ValueError where there is none; MemoryError, OSError. */
PyObject *pm_protect_section(PyObject *module, PyObject *id);

#endif

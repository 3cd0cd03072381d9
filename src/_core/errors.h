/* The exceptions of the package and how C raises them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_ERRORS_H
#define PM_ERRORS_H

#include "cpython_layout.h"

#include "../libpmalloc/pool.h"

extern PyObject *PmError;          /* PmallocError */
extern PyObject *PmProtectedError; /* and below it: */
extern PyObject *PmSealedError;
extern PyObject *PmDestroyedError;
extern PyObject *PmUnfreezableError;
extern PyObject *PmCorruptionError;

/* Creates them and adds them to the module; -1 with an exception. */
int pm_errors_init(PyObject *module);

/* Raises the exception that fits `status`: "cannot VERB pool 'NAME': ...". Returns NULL. */
void *pm_raise_status(enum pmalloc_status status, const char *verb, const char *pool_name);

/* The same for PMALLOC_ERR_CORRUPT: says what was found, and where; NULL. */
void *pm_raise_corrupt(pmalloc_pool *pool, const char *verb);

/* Raises UnfreezableError for the object at this path (a str, "" for the root). */
void pm_raise_unfreezable(PyObject *culprit, PyObject *path, const char *advice);

#endif

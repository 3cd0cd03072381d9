/* Pool and Allocation as Python types: thin over libpmalloc.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_POOL_TYPE_H
#define PM_POOL_TYPE_H

#include "cpython_layout.h"

#include "../libpmalloc/pool.h"

typedef struct {
  PyObject_HEAD pmalloc_pool *pool;
  PyObject *name;            /* str */
  PyObject *keep;            /* list: what the frozen objects rely on outside the pool */
  int global;                /* the library's own pool, which C code has, too */
  PyObject *weakrefs;        /* list: see freeze.h */
  PyObject *born;            /* list: see born.h; NULL: none that is unsettled */
  Py_ssize_t views;          /* buffers of its allocations that are alive ... */
  Py_ssize_t writable_views; /* ... and of these, the ones that allow writing */
  Py_ssize_t arrays;         /* ArrayData, and blocks of NumPy's, that are alive */
  PyObject *numpy_handler;   /* capsule, borrowed: see numpy_handler.c */
} pm_pool;

typedef struct {
  PyObject_HEAD pm_pool *pool; /* owned */
  char *address;
  Py_ssize_t size;
  Py_ssize_t views;
  int freed;
} pm_allocation;

extern PyTypeObject PmPool_Type;
extern PyTypeObject PmAllocation_Type;
extern PyTypeObject PmArrayData_Type;

/* pool_facts.c: what it tells of itself. */
PyObject *pm_pool_stats(PyObject *op, PyObject *unused);
PyObject *pm_pool_repr(PyObject *op);
extern PyGetSetDef pm_pool_getset[];
extern const char *const pm_backing_names[]; /* by enum pmalloc_backing */

/* A type, or an iterable of types, as a tuple of types; NULL with an exception. */
PyObject *pm_types_of(PyObject *given);

/* Whether bytes of the pool are read-only: it is protected, or their chunk is closed. */
int pm_is_readonly(const void *address);

/* What libpmalloc says it is. */
enum pmalloc_state pm_pool_state(const pm_pool *self);

/* What a NumPy array of `size` bytes at `address` is based on; new reference. */
PyObject *pm_array_data_new(pm_pool *pool, void *address, Py_ssize_t size);

/* Makes it the owner of what NumPy allocated in the pool; `objects`: the bytes are references. */
void pm_array_data_take_over(PyObject *op, void *address, Py_ssize_t size, int objects);

/* memory_lock(pool, objects): makes the memoryviews among them that show the pool's ArrayData
 * read-only, and answers which were not; memory_unlock(views) gives it back. */
PyObject *pm_memory_lock(PyObject *module, PyObject *args);
PyObject *pm_memory_unlock(PyObject *module, PyObject *views);

/* One array more, or less; any thread. */
static inline void pm_pool_count_arrays(pm_pool *pool, Py_ssize_t change) {
  __atomic_fetch_add(&pool->arrays, change, __ATOMIC_RELAXED);
}

/* The exception of destroy(), with how many words a search finds. */
void pm_raise_frozen_objects(pm_pool *pool, size_t objects);

/* _references(limit): the words that lead into the pool; METH_O. */
PyObject *pm_references(PyObject *op, PyObject *arg);

/* _reaches(): (number, name, protected) of the pools that the pool's own words lead into. */
PyObject *pm_reaches(PyObject *op, PyObject *unused);

/* clear_stack(): before a search that should find little. */
PyObject *pm_clear_stack(PyObject *module, PyObject *unused);

/* The Allocation of `size` bytes at `address`; new reference. */
PyObject *pm_allocation_new(pm_pool *pool, void *address, Py_ssize_t size);

#endif

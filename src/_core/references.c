/* references: the scan for pointers into a pool, as Python sees it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"
#include "pool_type.h"

#include "../libpmalloc/registry.h"
#include "../libpmalloc/scan.h"

/* What a word leads to: the type of a frozen object, or "allocation". */
static const char *kind_of(uintptr_t start) {
  struct pmalloc_where where;
  if (!pmalloc_registry_find(start, &where) || where.place != PMALLOC_DATA ||
      where.kind == PMALLOC_RAW)
    return "allocation";
  const char *name = Py_TYPE((PyObject *)start)->tp_name;
  const char *last = strrchr(name, '.');
  return last == NULL ? name : last + 1;
}

void pm_raise_frozen_objects(pm_pool *pool, size_t objects) {
  size_t words = 0;
  PyType_ClearCache();
  if (pmalloc_pool_references(pool->pool, NULL, 0, &words) == PMALLOC_OK)
    PyErr_Format(PmError,
                 "cannot destroy pool '%U': %zu frozen objects live in it, and nothing counts who "
                 "still uses them; a search found %zu words that lead to them, references() names "
                 "them; if surely nobody does, pass force=True",
                 pool->name, objects, words);
  else
    PyErr_Format(PmError,
                 "cannot destroy pool '%U': %zu frozen objects live in it, and nothing counts who "
                 "still uses them; /proc/self/maps cannot be read to search for those; if surely "
                 "nobody does, pass force=True",
                 pool->name, objects);
}

PyObject *pm_references(PyObject *op, PyObject *arg) {
  pm_pool *self = (pm_pool *)op;
  Py_ssize_t limit = PyNumber_AsSsize_t(arg, PyExc_OverflowError);
  if (limit == -1 && PyErr_Occurred())
    return NULL;
  if (limit < 0 || limit > 1 << 20)
    return PyErr_Format(PyExc_ValueError, "limit is 0 to %d, not %zd", 1 << 20, limit);
  PyType_ClearCache(); /* it holds names that were looked up */
  struct pmalloc_reference *found = PyMem_RawCalloc((size_t)limit + 1, sizeof *found);
  if (found == NULL)
    return PyErr_NoMemory();
  size_t count = 0;
  enum pmalloc_status status = pmalloc_pool_references(self->pool, found, (size_t)limit, &count);
  PyObject *list = NULL;
  if (status == PMALLOC_ERR_UNSUPPORTED)
    PyErr_Format(PyExc_OSError,
                 "cannot search for references to pool '%U': /proc/self/maps cannot be read (%s)",
                 self->name, strerror(errno));
  else if (status != PMALLOC_OK)
    pm_raise_status(status, "search for references to", pmalloc_pool_name(self->pool));
  else
    list = PyList_New(0);
  for (size_t i = 0; list != NULL && i < count && i < (size_t)limit; i++) {
    const struct pmalloc_reference *r = &found[i];
    PyObject *entry =
        Py_BuildValue("(KNsKK)", (unsigned long long)r->at, PyUnicode_DecodeFSDefault(r->mapping),
                      kind_of(r->object_start), (unsigned long long)r->object_start,
                      (unsigned long long)(r->to - r->object_start));
    if (entry == NULL || PyList_Append(list, entry) < 0)
      Py_CLEAR(list);
    Py_XDECREF(entry);
  }
  memset(found, 0, (size_t)limit * sizeof *found); /* the next search would find these */
  __asm__ volatile("" : : "r"(found) : "memory");
  PyMem_RawFree(found);
  return list == NULL ? NULL : Py_BuildValue("(nN)", (Py_ssize_t)count, list);
}

PyObject *pm_reaches(PyObject *op, PyObject *unused) {
  (void)unused;
  pm_pool *self = (pm_pool *)op;
  struct pmalloc_reached *reached = NULL;
  size_t room = 16, found = 0;
  enum pmalloc_status status;
  for (;; room = found) {
    PyMem_RawFree(reached);
    reached = PyMem_RawCalloc(room, sizeof *reached);
    if (reached == NULL)
      return PyErr_NoMemory();
    status = pmalloc_pool_reaches(self->pool, reached, room, &found);
    if (status != PMALLOC_OK || found <= room)
      break;
  }
  PyObject *list = NULL;
  if (status != PMALLOC_OK)
    pm_raise_status(status, "look through", pmalloc_pool_name(self->pool));
  else
    list = PyList_New(0);
  for (size_t i = 0; list != NULL && i < found; i++) {
    PyObject *entry =
        Py_BuildValue("(KsO)", (unsigned long long)reached[i].pool_id, reached[i].pool_name,
                      reached[i].protected_ ? Py_True : Py_False);
    if (entry == NULL || PyList_Append(list, entry) < 0)
      Py_CLEAR(list);
    Py_XDECREF(entry);
  }
  PyMem_RawFree(reached);
  return list;
}

/* What returned functions left on this thread's stack would be found again in the frames that the
 * search itself makes there: compilers do not clear what they do not use. */
PyObject *pm_clear_stack(PyObject *module, PyObject *unused) {
  char dead[(size_t)128 << 10];
  (void)module;
  (void)unused;
  memset(dead, 0, sizeof dead);
  __asm__ volatile("" : : "r"(dead) : "memory");
  Py_RETURN_NONE;
}

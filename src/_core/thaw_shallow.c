/* thaw_shallow: plain containers around the very scalars of the pool.
 *
 * This is what pickle gets: it writes the strings and numbers anyway, so only
 * what it would not know must become plain. A container is copied whole, by the
 * interpreter's own fast ways; then the frozen containers in the copy are replaced
 * by copies of theirs, which wait in a queue for the same treatment.
 *
 *     copies  [ {a: *, b: 1} | [ *, 2 ] | ...
 *                    |           |   ^ appended
 *                    +-----------|---+  replaced in place
 *
 * A tuple stays unless such a container is in it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"
#include "frozen_types.h"

typedef struct {
  PyObject **copies; /* owned */
  size_t n, room;
  pm_map seen; /* frozen object -> number of its copy */
} queue;

/* Tuples in tuples are followed so deep; what lies deeper is copied, needed or not. */
#define TUPLE_DEPTH 16

static int stays(PyObject *op, int depth) {
  PyTypeObject *type = Py_TYPE(op);
  if (!PyType_HasFeature(type, Py_TPFLAGS_DICT_SUBCLASS | Py_TPFLAGS_LIST_SUBCLASS |
                                   Py_TPFLAGS_TUPLE_SUBCLASS))
    return type != &PmFrozenSet_Type;
  if (type != &PyTuple_Type || depth > TUPLE_DEPTH)
    return 0;
  for (Py_ssize_t i = 0; i < Py_SIZE(op); i++)
    if (!stays(PyTuple_GET_ITEM(op, i), depth + 1))
      return 0;
  return 1;
}

static PyObject *copy_of(PyObject *op) {
  if (PyDict_Check(op))
    return PyDict_Copy(op);
  if (PyList_Check(op))
    return PyList_GetSlice(op, 0, Py_SIZE(op));
  if (PyAnySet_Check(op))
    return PySet_New(op);
  PyObject *copy = PyTuple_New(Py_SIZE(op));
  for (Py_ssize_t i = 0; copy != NULL && i < Py_SIZE(op); i++)
    PyTuple_SET_ITEM(copy, i, Py_NewRef(PyTuple_GET_ITEM(op, i)));
  return copy;
}

/* Replaces a frozen container in a copy by its own copy: 1, or 0 where it may
 * stay, or -1 with an exception. */
static int replace(queue *q, PyObject **slot) {
  PyObject *op = *slot;
  if (op == NULL || stays(op, 0))
    return 0;
  uint32_t *number;
  int is_new = pm_map_enter(&q->seen, op, &number);
  if (is_new < 0)
    return -1;
  if (is_new) {
    *number = (uint32_t)q->n;
    PyObject *copy = NULL;
    if (q->n >= UINT32_MAX)
      PyErr_SetString(PyExc_OverflowError, "cannot pickle more than 2**32 objects in one call");
    else if (pm_grow((void **)&q->copies, &q->room, q->n, sizeof *q->copies) == 0)
      copy = copy_of(op);
    if (copy == NULL)
      return -1;
    q->copies[q->n++] = copy;
  }
  *slot = Py_NewRef(q->copies[*number]);
  Py_DECREF(op);
  return 1;
}

static int replace_all(queue *q, PyObject **slots, Py_ssize_t n) {
  int replaced = 0;
  for (Py_ssize_t i = 0; i < n; i++) {
    int answer = replace(q, &slots[i]);
    if (answer < 0)
      return -1;
    replaced |= answer;
  }
  return replaced;
}

/* The interpreter does not track the copy of an untracked dict. */
static int replace_in_dict(queue *q, PyObject *dict) {
  int replaced = 0;
  Py_ssize_t n = pm_dict_keys(dict)->nentries;
  for (Py_ssize_t i = 0; i < n; i++) {
    int answer = replace(q, pm_dict_slot(dict, i));
    if (answer < 0)
      return -1;
    replaced |= answer;
  }
  if (replaced && !PyObject_GC_IsTracked(dict))
    PyObject_GC_Track(dict);
  return 0;
}

PyObject *pm_thaw_shallow(PyObject *obj) {
  queue q = {0};
  PyObject *root = Py_NewRef(obj);
  int bad = replace(&q, &root);
  for (size_t i = 0; bad >= 0 && i < q.n; i++) {
    PyObject *copy = q.copies[i];
    if (PyDict_CheckExact(copy))
      bad = replace_in_dict(&q, copy);
    else if (PyList_CheckExact(copy))
      bad = replace_all(&q, ((PyListObject *)copy)->ob_item, Py_SIZE(copy));
    else if (PyTuple_CheckExact(copy))
      bad = replace_all(&q, ((PyTupleObject *)copy)->ob_item, Py_SIZE(copy));
  }
  for (size_t i = 0; i < q.n; i++)
    Py_DECREF(q.copies[i]);
  pm_scratch_free(q.copies, q.room * sizeof *q.copies);
  pm_map_free(&q.seen);
  if (bad < 0)
    Py_CLEAR(root);
  return root;
}

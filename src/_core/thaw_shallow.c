/* thaw_shallow: plain containers and instances around the very scalars of the pool.
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
 * A tuple stays unless such a container is in it. What is hashed, keys and members of sets,
 * cannot be replaced in place: where an instance is among it, all is thawed in full instead.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"
#include "frozen_types.h"

typedef struct {
  PyObject **copies; /* owned */
  size_t n, room;
  pm_map seen; /* frozen object -> number of its copy */
  int whole;   /* there is no other way than to thaw all */
} queue;

/* Tuples in tuples are followed so deep; what lies deeper is copied, needed or not. */
#define TUPLE_DEPTH 16

static int stays(PyObject *op, int depth);

static int members_stay(PyObject *set, int depth) {
  const PySetObject *so = (PySetObject *)set;
  for (Py_ssize_t i = 0; i <= so->mask; i++)
    if (pm_set_entry_live(&so->table[i]) && !stays(so->table[i].key, depth))
      return 0;
  return 1;
}

static int keys_stay(PyObject *dict, int depth) {
  Py_ssize_t pos = 0;
  PyObject *key, *value;
  if (pm_dict_is_split(dict) || pm_dict_keys(dict)->kind != PM_KEYS_GENERAL)
    return 1;
  while (PyDict_Next(dict, &pos, &key, &value))
    if (!stays(key, depth))
      return 0;
  return 1;
}

/* 3.15's own, which takes no other values once it is there. */
static int builtin_stays(PyObject *dict, int depth) {
  Py_ssize_t pos = 0;
  PyObject *key, *value;
  Py_hash_t hash;
  while (pm_dict_next(dict, &pos, &key, &value, &hash))
    if (!stays(key, depth) || !stays(value, depth))
      return 0;
  return 1;
}

static int stays(PyObject *op, int depth) {
  PyTypeObject *type = Py_TYPE(op);
  if (depth > TUPLE_DEPTH)
    return 0;
  if (type == &PyFrozenSet_Type && pm_is_frozen(op))
    return members_stay(op, depth + 1);
  if (pm_is_builtin_frozendict(op) && pm_is_frozen(op))
    return builtin_stays(op, depth + 1);
  if (PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) && pm_class_of_twin(type) != NULL)
    return 0;
  if (!PyType_HasFeature(type, Py_TPFLAGS_DICT_SUBCLASS | Py_TPFLAGS_LIST_SUBCLASS |
                                   Py_TPFLAGS_TUPLE_SUBCLASS))
    return type != &PmFrozenSet_Type && (type != &PyDictProxy_Type || !pm_is_frozen(op));
  if (!PyType_HasFeature(type, Py_TPFLAGS_TUPLE_SUBCLASS))
    return type != &PmFrozenDict_Type && type != &PmFrozenList_Type;
  if (type != &PyTuple_Type && !pm_is_frozen(op))
    return 1;
  for (Py_ssize_t i = 0; i < Py_SIZE(op); i++)
    if (!stays(PyTuple_GET_ITEM(op, i), depth + 1))
      return 0;
  return 1;
}

static PyObject *copy_of(PyObject *op) {
  if (pm_class_of_twin(Py_TYPE(op)) != NULL)
    return pm_thaw_one(op);
  if (PyDict_Check(op))
    return PyDict_Copy(op);
  if (PyList_Check(op))
    return PyList_GetSlice(op, 0, Py_SIZE(op));
  if (PyAnySet_Check(op))
    return PySet_New(op);
  if (Py_IS_TYPE(op, &PyDictProxy_Type))
    return PyDictProxy_New(((pm_proxy *)op)->mapping);
  PyObject *copy = PyTuple_CheckExact(op) ? PyTuple_New(Py_SIZE(op))
                                          : Py_TYPE(op)->tp_alloc(Py_TYPE(op), Py_SIZE(op));
  for (Py_ssize_t i = 0; copy != NULL && i < Py_SIZE(op); i++)
    PyTuple_SET_ITEM(copy, i, Py_NewRef(PyTuple_GET_ITEM(op, i)));
  return copy;
}

PyObject *pm_thaw_one(PyObject *obj) {
  const pm_class *c = pm_instance_class(obj);
  PyObject *copy =
      c == NULL ? PyErr_Format(PyExc_TypeError, "not a frozen instance: %s", Py_TYPE(obj)->tp_name)
                : pm_instance_new(obj);
  if (copy == NULL)
    return NULL;
  Py_ssize_t pos = 0;
  PyObject *key, *value;
  int bad = 0;
  while (c->base == PM_KIND_DICT && !bad && PyDict_Next(obj, &pos, &key, &value))
    bad = PyDict_SetItem(copy, key, value);
  for (Py_ssize_t i = 0; c->base == PM_KIND_LIST && !bad && i < Py_SIZE(obj); i++)
    bad = PyList_Append(copy, PyList_GET_ITEM(obj, i));
  for (Py_ssize_t i = 0; c->base == PM_KIND_TUPLE && i < Py_SIZE(obj); i++)
    PyTuple_SET_ITEM(copy, i, Py_NewRef(PyTuple_GET_ITEM(obj, i)));
  for (size_t i = 0; i < c->n_slots; i++)
    *(PyObject **)(void *)((char *)copy + c->slots[i]) =
        Py_XNewRef(*(PyObject **)(void *)((char *)obj + c->slots[i]));
  pm_attributes a;
  pm_attributes_of(obj, &a);
  if (!bad && a.dict == obj) /* a dict that is its own __dict__ */
    bad = PyObject_GenericSetDict(copy, copy, NULL);
  while (!bad && a.dict != obj && pm_attributes_next(&a, &key, &value))
    bad = pm_instance_set(copy, key, value);
  if (bad)
    Py_CLEAR(copy);
  return copy;
}

/* Gives up: all must be thawed. */
static int need_whole(queue *q) {
  q->whole = 1;
  return -1;
}

/* Replaces a frozen container in a copy by its own copy: 1, or 0 where it may
 * stay, or -1 with an exception, or without where q->whole. */
static int replace(queue *q, PyObject **slot) {
  PyObject *op = *slot;
  if (op == NULL || stays(op, 0))
    return 0;
  if (PyFrozenSet_CheckExact(op) || pm_is_builtin_frozendict(op))
    return need_whole(q);
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
  if (!keys_stay(dict, 0))
    return need_whole(q);
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

static int replace_in_instance(queue *q, PyObject *op) {
  const pm_class *c = pm_class_of(Py_TYPE(op));
  if ((PyDict_Check(op) && replace_in_dict(q, op) < 0) ||
      (PyList_Check(op) && replace_all(q, ((PyListObject *)op)->ob_item, Py_SIZE(op)) < 0) ||
      (PyTuple_Check(op) && replace_all(q, ((PyTupleObject *)op)->ob_item, Py_SIZE(op)) < 0))
    return -1;
  for (size_t i = 0; c != NULL && i < c->n_slots; i++)
    if (replace(q, (PyObject **)(void *)((char *)op + c->slots[i])) < 0)
      return -1;
  pm_attributes a;
  pm_attributes_of(op, &a);
  if (a.dict != NULL)
    return replace_in_dict(q, a.dict);
  PyObject *name, **slot;
  while (pm_attributes_next_slot(&a, &name, &slot))
    if (replace(q, slot) < 0)
      return -1;
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
    else if (Py_IS_TYPE(copy, &PyDictProxy_Type))
      bad = replace(&q, &((pm_proxy *)copy)->mapping);
    else if (!PyAnySet_Check(copy))
      bad = replace_in_instance(&q, copy);
    else if (!members_stay(copy, 0))
      bad = need_whole(&q);
  }
  for (size_t i = 0; i < q.n; i++)
    Py_DECREF(q.copies[i]);
  pm_scratch_free(q.copies, q.room * sizeof *q.copies);
  pm_map_free(&q.seen);
  if (bad < 0)
    Py_CLEAR(root);
  return q.whole ? pm_thaw(obj) : root;
}

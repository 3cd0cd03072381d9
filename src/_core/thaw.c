/* thaw: frozen objects, and plain ones that hold some, as plain mutable copies.
 *
 * As freeze, without recursion, so that a list a million deep thaws:
 *
 *   1 discover  breadth-first; lists, dicts, sets and tuples get their (empty)
 *               copy at once, so that cycles can point to it
 *   2 hashable  tuples are filled and frozensets built, innermost first: they
 *               may be keys, and a key must be whole before it is hashed
 *   3 mutable   lists, sets and dicts are filled, in order
 *
 * Scalars are copied where they lie in a pool.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"
#include "frozen_types.h"

typedef struct {
  PyObject *src;  /* borrowed */
  PyObject *copy; /* owned */
  size_t edges;   /* its first edge */
  uint8_t kind;
  uint8_t state; /* of tuples and frozensets in pass 2 */
} thaw_node;
enum { NEW, OPEN, DONE };

typedef struct {
  thaw_node *nodes;
  size_t n_nodes, room_nodes;
  uintptr_t *edges; /* an object, owned, or number of a node << 1 | 1 */
  size_t n_edges, room_edges;
  size_t finished; /* nodes built by an earlier call with the same memo */
  int busy;        /* in such a call */
  pm_map seen;
} thaw_state;

static void state_free(thaw_state *t) {
  for (size_t i = 0; i < t->n_nodes; i++)
    Py_XDECREF(t->nodes[i].copy);
  for (size_t i = 0; i < t->n_edges; i++)
    if (!(t->edges[i] & 1))
      Py_DECREF((PyObject *)t->edges[i]);
  pm_scratch_free(t->nodes, t->room_nodes * sizeof *t->nodes);
  pm_scratch_free(t->edges, t->room_edges * sizeof *t->edges);
  pm_map_free(&t->seen);
}

static int kind_of(PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  if (type == &PmFrozenDict_Type)
    return PM_KIND_DICT;
  if (type == &PmFrozenList_Type)
    return PM_KIND_LIST;
  if (type == &PmFrozenSet_Type)
    return PM_KIND_SET;
  return pm_kind_of(type);
}

/* ---- copies of scalars -------------------------------------------------- */

static PyObject *copy_str(PyObject *src) {
  Py_ssize_t n = PM_STR(src)->length;
  if (n <= 1) /* the interpreter keeps its own copies of these */
    return PyUnicode_FromKindAndData((int)PM_STR(src)->state.kind, PyUnicode_DATA(src), n);
  static const Py_UCS4 widest[] = {0, 0xff, 0xffff, 0, 0x10ffff};
  PyObject *copy =
      PyUnicode_New(n, PM_STR(src)->state.ascii ? 0x7f : widest[PM_STR(src)->state.kind]);
  if (copy != NULL) {
    memcpy(PyUnicode_DATA(copy), PyUnicode_DATA(src), pm_str_data(src));
    PM_STR(copy)->hash = PM_STR(src)->hash;
  }
  return copy;
}

static PyObject *copy_int(PyObject *src) {
  int overflow;
  long long v = PyLong_AsLongLongAndOverflow(src, &overflow);
  if (!overflow)
    return v == -1 && PyErr_Occurred() ? NULL : PyLong_FromLongLong(v);
  PyObject *inverted = PyNumber_Invert(src);
  PyObject *copy = inverted == NULL ? NULL : PyNumber_Invert(inverted);
  Py_XDECREF(inverted);
  return copy;
}

static PyObject *copy_range(PyObject *src) {
  const pm_range *r = (pm_range *)src;
  PyObject *start = copy_int(r->start), *stop = copy_int(r->stop), *step = copy_int(r->step);
  PyObject *copy = NULL;
  if (start != NULL && stop != NULL && step != NULL)
    copy = PyObject_CallFunctionObjArgs((PyObject *)&PyRange_Type, start, stop, step, NULL);
  Py_XDECREF(start);
  Py_XDECREF(stop);
  Py_XDECREF(step);
  return copy;
}

static PyObject *copy_scalar(PyObject *src, int kind) {
  switch (kind) {
  case PM_KIND_STR:
    return copy_str(src);
  case PM_KIND_INT:
    return copy_int(src);
  case PM_KIND_FLOAT:
    return PyFloat_FromDouble(((PyFloatObject *)src)->ob_fval);
  case PM_KIND_COMPLEX:
    return PyComplex_FromCComplex(((PyComplexObject *)src)->cval);
  case PM_KIND_BYTES:
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(src), Py_SIZE(src));
  default:
    return copy_range(src);
  }
}

/* ---- pass 1 -------------------------------------------------------------- */

static int is_container(int kind) {
  return kind == PM_KIND_LIST || kind == PM_KIND_DICT || kind == PM_KIND_SET ||
         kind == PM_KIND_TUPLE || kind == PM_KIND_FROZENSET;
}

static int edge_of(thaw_state *t, PyObject *op, uintptr_t *edge) {
  int kind = kind_of(op);
  *edge = (uintptr_t)op;
  if (kind < 0 || (!is_container(kind) && !pm_is_frozen(op)))
    return 0;
  uint32_t number;
  if (!pm_map_get(&t->seen, op, &number)) {
    if (t->n_nodes >= UINT32_MAX - 1) {
      PyErr_SetString(PyExc_OverflowError, "cannot thaw more than 2**32 objects in one call");
      return -1;
    }
    if (pm_grow((void **)&t->nodes, &t->room_nodes, t->n_nodes, sizeof *t->nodes) < 0)
      return -1;
    number = (uint32_t)t->n_nodes;
    PyObject *copy = NULL;
    switch (kind) {
    case PM_KIND_LIST:
      copy = PyList_New(Py_SIZE(op));
      break;
    case PM_KIND_DICT:
      copy = PyDict_New();
      break;
    case PM_KIND_SET:
      copy = PySet_New(NULL);
      break;
    case PM_KIND_TUPLE:
      copy = PyTuple_New(Py_SIZE(op));
      break;
    case PM_KIND_FROZENSET:
      break; /* pass 2 */
    default:
      copy = copy_scalar(op, kind);
    }
    if (copy == NULL && kind != PM_KIND_FROZENSET)
      return -1;
    t->nodes[t->n_nodes++] = (thaw_node){.src = op, .copy = copy, .kind = (uint8_t)kind};
    if (pm_map_put(&t->seen, op, number) < 0)
      return -1;
  }
  *edge = (uintptr_t)number << 1 | 1;
  return 0;
}

static int push(thaw_state *t, PyObject *op) {
  uintptr_t edge;
  if (edge_of(t, op, &edge) < 0 ||
      pm_grow((void **)&t->edges, &t->room_edges, t->n_edges, sizeof *t->edges) < 0)
    return -1;
  if (!(edge & 1))
    Py_INCREF(op);
  t->edges[t->n_edges++] = edge;
  return 0;
}

static int discover(thaw_state *t) {
  for (size_t i = t->finished; i < t->n_nodes; i++) {
    PyObject *src = t->nodes[i].src;
    t->nodes[i].edges = t->n_edges;
    switch (t->nodes[i].kind) {
    case PM_KIND_LIST:
      for (Py_ssize_t k = 0; k < PyList_GET_SIZE(src); k++)
        if (push(t, PyList_GET_ITEM(src, k)) < 0)
          return -1;
      break;
    case PM_KIND_TUPLE:
      for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(src); k++)
        if (push(t, PyTuple_GET_ITEM(src, k)) < 0)
          return -1;
      break;
    case PM_KIND_DICT: {
      Py_ssize_t pos = 0;
      PyObject *key, *value;
      while (PyDict_Next(src, &pos, &key, &value))
        if (push(t, key) < 0 || push(t, value) < 0)
          return -1;
      break;
    }
    case PM_KIND_SET:
    case PM_KIND_FROZENSET: {
      PySetObject *so = (PySetObject *)src;
      for (Py_ssize_t k = 0; k <= so->mask; k++)
        if (pm_set_entry_live(&so->table[k]) && push(t, so->table[k].key) < 0)
          return -1;
      break;
    }
    default:
      break;
    }
  }
  return 0;
}

/* ---- passes 2 and 3 ------------------------------------------------------
 *
 * Filling sets and dicts may run __eq__ of foreign keys, and that may change what
 * is being thawed. So from here on the source is not looked at: edges own
 * what they point to, and know where they end.
 */

static const uintptr_t *end_of_edges(const thaw_state *t, const thaw_node *node) {
  const thaw_node *next = node + 1;
  return t->edges + (next < t->nodes + t->n_nodes ? next->edges : t->n_edges);
}

static PyObject *result_of(const thaw_state *t, uintptr_t edge) {
  return edge & 1 ? t->nodes[edge >> 1].copy : (PyObject *)edge;
}

/* Sets a tuple's items, or a list's, that are new references. */
static PyObject *fill(const thaw_state *t, const thaw_node *node, PyObject *sequence) {
  const uintptr_t *edge = &t->edges[node->edges], *end = end_of_edges(t, node);
  for (Py_ssize_t i = 0; sequence != NULL && edge < end; i++, edge++) {
    PyObject *item = Py_NewRef(result_of(t, *edge));
    if (PyTuple_CheckExact(sequence))
      PyTuple_SET_ITEM(sequence, i, item);
    else
      PyList_SET_ITEM(sequence, i, item);
  }
  return sequence;
}

static int is_hashable_kind(const thaw_node *node) {
  return node->kind == PM_KIND_TUPLE || node->kind == PM_KIND_FROZENSET;
}

static int build_hashable(thaw_state *t, thaw_node *node) {
  if (node->kind == PM_KIND_TUPLE) {
    fill(t, node, node->copy);
    return 0;
  }
  PyObject *members = PyList_New(end_of_edges(t, node) - &t->edges[node->edges]);
  PyObject *copy = fill(t, node, members) == NULL ? NULL : PyFrozenSet_New(members);
  Py_XDECREF(members);
  node->copy = copy;
  return copy == NULL ? -1 : 0;
}

static int push_node(uint32_t **stack, size_t *room, size_t *depth, size_t node) {
  if (pm_grow((void **)stack, room, *depth, sizeof **stack) < 0)
    return -1;
  (*stack)[(*depth)++] = (uint32_t)node;
  return 0;
}

static int build_hashables(thaw_state *t) {
  uint32_t *stack = NULL;
  size_t room = 0;
  int bad = 0;
  for (size_t i = t->finished; !bad && i < t->n_nodes; i++) {
    size_t depth = 0;
    if (!is_hashable_kind(&t->nodes[i]) || t->nodes[i].state == DONE)
      continue;
    bad = push_node(&stack, &room, &depth, i);
    while (!bad && depth > 0) {
      thaw_node *node = &t->nodes[stack[depth - 1]];
      if (node->state != NEW) {
        depth--;
        if (node->state == OPEN)
          bad = build_hashable(t, node);
        node->state = DONE;
        continue;
      }
      node->state = OPEN; /* when it comes to the top again its children are done */
      const uintptr_t *end = end_of_edges(t, node);
      for (const uintptr_t *edge = &t->edges[node->edges]; !bad && edge < end; edge++)
        if ((*edge & 1) && is_hashable_kind(&t->nodes[*edge >> 1]) &&
            t->nodes[*edge >> 1].state == NEW)
          bad = push_node(&stack, &room, &depth, *edge >> 1);
    }
  }
  pm_scratch_free(stack, room * sizeof *stack);
  return bad;
}

static int fill_mutables(thaw_state *t) {
  int bad = 0;
  for (size_t i = t->finished; !bad && i < t->n_nodes; i++) {
    const thaw_node *node = &t->nodes[i];
    const uintptr_t *edge = &t->edges[node->edges], *end = end_of_edges(t, node);
    if (node->kind == PM_KIND_LIST)
      fill(t, node, node->copy);
    for (; !bad && node->kind == PM_KIND_DICT && edge < end; edge += 2)
      bad = PyDict_SetItem(node->copy, result_of(t, edge[0]), result_of(t, edge[1]));
    for (; !bad && node->kind == PM_KIND_SET && edge < end; edge++)
      bad = PySet_Add(node->copy, result_of(t, *edge));
  }
  return bad;
}

/* ---- entry points -------------------------------------------------------- */

static PyObject *thaw(thaw_state *t, PyObject *obj) {
  uintptr_t root;
  if (edge_of(t, obj, &root) < 0 || discover(t) < 0 || build_hashables(t) < 0 ||
      fill_mutables(t) < 0)
    return NULL;
  t->finished = t->n_nodes;
  return Py_NewRef(result_of(t, root));
}

PyObject *pm_thaw(PyObject *obj) {
  thaw_state t = {0};
  PyObject *result = thaw(&t, obj);
  state_free(&t);
  return result;
}

static void capsule_free(PyObject *capsule) {
  thaw_state *t = PyCapsule_GetPointer(capsule, "pmalloc.thaw");
  state_free(t);
  PyMem_RawFree(t);
}

/* copy.deepcopy: what is thawed for one root is found again for the next one of
 * the same deepcopy, through a capsule in its memo. */
PyObject *pm_thaw_with_memo(PyObject *obj, PyObject *memo) {
  if (!PyDict_Check(memo))
    return pm_thaw(obj);
  PyObject *capsule = PyDict_GetItemString(memo, "pmalloc.thaw");
  thaw_state *t;
  if (capsule == NULL) {
    t = PyMem_RawCalloc(1, sizeof *t);
    if (t == NULL)
      return PyErr_NoMemory();
    capsule = PyCapsule_New(t, "pmalloc.thaw", capsule_free);
    if (capsule == NULL) {
      PyMem_RawFree(t);
      return NULL;
    }
    int bad = PyDict_SetItemString(memo, "pmalloc.thaw", capsule);
    Py_DECREF(capsule);
    if (bad)
      return NULL;
  }
  t = PyCapsule_GetPointer(capsule, "pmalloc.thaw");
  if (t == NULL)
    return NULL;
  if (t->busy) /* deepcopy in an __eq__ that a deepcopy called: on its own */
    return pm_thaw(obj);
  size_t before = t->n_nodes;
  Py_INCREF(capsule);
  t->busy = 1;
  PyObject *result = thaw(t, obj);
  t->busy = 0;
  if (result == NULL && t->n_nodes > before) { /* half-built copies are not used again */
    PyObject *error = PyErr_GetRaisedException();
    if (PyDict_DelItemString(memo, "pmalloc.thaw") < 0)
      PyErr_Clear();
    PyErr_SetRaisedException(error);
  }
  Py_DECREF(capsule);
  return result;
}

/* thaw: frozen objects, and plain ones that hold some, as plain mutable copies.
 *
 * As freeze, without recursion, so that a list a million deep thaws:
 *
 *   1 discover  breadth-first; lists, dicts, sets and tuples get their (empty)
 *               copy at once, so that cycles can point to it
 *   2 hashable  tuples and instances are filled and frozensets built, innermost
 *               first: they may be keys, and a key must be whole before it is hashed
 *   3 mutable   lists, sets and dicts are filled, in order
 *
 * Scalars are copied where they lie in a pool, and so are instances: an ordinary one
 * is the same one in the copy.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"
#include "frozen_types.h"
#include "record.h"

typedef struct {
  PyObject *src;  /* borrowed */
  PyObject *copy; /* owned */
  size_t edges;   /* its first edge */
  uint8_t kind;
  uint8_t state; /* of hashables in pass 2 */
  uint8_t again; /* of instances: fill once more in pass 3 */
} thaw_node;
enum { NEW, OPEN, DONE };

typedef struct {
  thaw_node *nodes;
  size_t n_nodes, room_nodes;
  uintptr_t *edges; /* an object, owned, or NULL, or number of a node << 1 | 1 */
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
      Py_XDECREF((PyObject *)t->edges[i]);
  pm_scratch_free(t->nodes, t->room_nodes * sizeof *t->nodes);
  pm_scratch_free(t->edges, t->room_edges * sizeof *t->edges);
  pm_map_free(&t->seen);
}

int pm_frozen_kind(PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  if (type == &PmFrozenDict_Type)
    return PM_KIND_DICT;
  if (type == &PmFrozenList_Type)
    return PM_KIND_LIST;
  if (type == &PmFrozenSet_Type)
    return PM_KIND_SET;
  int kind = pm_kind_of(type);
  if (kind >= 0)
    return kind;
  const pm_class *c = pm_is_frozen(op) ? pm_instance_class(op) : pm_class_of_twin(type);
  return c == NULL ? -1 : c->kind >= 0 ? c->kind : PM_KIND_INSTANCE; /* registered anew since */
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
  case PM_KIND_TIME:
  case PM_KIND_DECIMAL:
    return pm_copy_value(src, kind);
  default:
    return copy_range(src);
  }
}

/* ---- pass 1 -------------------------------------------------------------- */

static int is_container(int kind) {
  return kind == PM_KIND_LIST || kind == PM_KIND_DICT || kind == PM_KIND_SET ||
         kind == PM_KIND_TUPLE || kind == PM_KIND_FROZENSET || kind == PM_KIND_PROXY ||
         kind == PM_KIND_INSTANCE;
}

/* What is built in pass 2, of its children. */
static int is_late(int kind, PyObject *op) {
  return kind == PM_KIND_FROZENSET || kind == PM_KIND_PROXY ||
         (kind == PM_KIND_DICT && pm_is_builtin_frozendict(op));
}

/* NumPy arrays stay outside of pools, but their data may not. */
#define KIND_ARRAY PM_KIND_COUNT
#define KIND_RECORD (PM_KIND_COUNT + 1)
static int is_array(PyObject *op) {
  const pm_class *c = pm_class_of(Py_TYPE(op));
  return c != NULL && c->kind == PM_CLASS_ADOPTED;
}

/* A copy to be filled later; NULL with an exception. */
static PyObject *empty_copy(PyObject *op, int kind) {
  switch (kind) {
  case PM_KIND_LIST:
    return PyList_New(Py_SIZE(op));
  case PM_KIND_DICT:
    return PyDict_New();
  case PM_KIND_SET:
    return PySet_New(NULL);
  case PM_KIND_TUPLE:
    return PyTuple_CheckExact(op) ? PyTuple_New(Py_SIZE(op))
                                  : Py_TYPE(op)->tp_alloc(Py_TYPE(op), Py_SIZE(op));
  case PM_KIND_INSTANCE:
    return pm_instance_new(op);
  case KIND_ARRAY:
    return PyObject_CallMethod(op, "__copy__", NULL);
  case KIND_RECORD:
    return pm_record_snapshot(op);
  default:
    return copy_scalar(op, kind);
  }
}

static int edge_of(thaw_state *t, PyObject *op, uintptr_t *edge) {
  int kind = pm_record_check(op) ? KIND_RECORD : pm_frozen_kind(op);
  *edge = (uintptr_t)op;
  if (kind < 0 && is_array(op))
    kind = KIND_ARRAY;
  else if (kind < 0 || (!is_container(kind) && !pm_is_frozen(op)))
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
    PyObject *copy = is_late(kind, op) ? NULL : empty_copy(op, kind);
    if (copy == NULL && !is_late(kind, op))
      return -1;
    t->nodes[t->n_nodes++] = (thaw_node){.src = op, .copy = copy, .kind = (uint8_t)kind};
    if (pm_map_put(&t->seen, op, number) < 0)
      return -1;
  }
  *edge = (uintptr_t)number << 1 | 1;
  return 0;
}

static int push(thaw_state *t, PyObject *op) {
  uintptr_t edge = 0;
  if ((op != NULL && edge_of(t, op, &edge) < 0) ||
      pm_grow((void **)&t->edges, &t->room_edges, t->n_edges, sizeof *t->edges) < 0)
    return -1;
  if (!(edge & 1))
    Py_XINCREF(op);
  t->edges[t->n_edges++] = edge;
  return 0;
}

static int push_items(thaw_state *t, PyObject **items, Py_ssize_t n) {
  for (Py_ssize_t i = 0; i < n; i++)
    if (push(t, items[i]) < 0)
      return -1;
  return 0;
}

static int push_pairs(thaw_state *t, PyObject *dict) {
  Py_ssize_t pos = 0;
  PyObject *key, *value;
  while (PyDict_Next(dict, &pos, &key, &value))
    if (push(t, key) < 0 || push(t, value) < 0)
      return -1;
  return 0;
}

/* The built-in part, slots, names and values of attributes. */
static int push_instance(thaw_state *t, PyObject *src) {
  const pm_class *c = pm_instance_class(src);
  pm_attributes a;
  PyObject *name, *value;
  if ((c->base == PM_KIND_DICT && push_pairs(t, src) < 0) ||
      (c->base == PM_KIND_LIST &&
       push_items(t, ((PyListObject *)src)->ob_item, Py_SIZE(src)) < 0) ||
      (c->base == PM_KIND_TUPLE &&
       push_items(t, ((PyTupleObject *)src)->ob_item, Py_SIZE(src)) < 0))
    return -1;
  for (size_t i = 0; i < c->n_slots; i++)
    if (push(t, *(PyObject **)(void *)((char *)src + c->slots[i])) < 0)
      return -1;
  pm_attributes_of(src, &a);
  while (a.dict != src && pm_attributes_next(&a, &name, &value))
    if (push(t, name) < 0 || push(t, value) < 0)
      return -1;
  return 0;
}

static int discover(thaw_state *t) {
  for (size_t i = t->finished; i < t->n_nodes; i++) {
    PyObject *src = t->nodes[i].src;
    t->nodes[i].edges = t->n_edges;
    int bad = 0;
    switch (t->nodes[i].kind) {
    case PM_KIND_LIST:
      bad = push_items(t, ((PyListObject *)src)->ob_item, Py_SIZE(src));
      break;
    case PM_KIND_TUPLE:
      bad = push_items(t, ((PyTupleObject *)src)->ob_item, Py_SIZE(src));
      break;
    case PM_KIND_DICT:
      bad = push_pairs(t, src);
      break;
    case PM_KIND_PROXY:
      bad = push(t, ((pm_proxy *)src)->mapping);
      break;
    case PM_KIND_INSTANCE:
      bad = push_instance(t, src);
      break;
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
    if (bad < 0)
      return -1;
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
    if (PyTuple_Check(sequence))
      PyTuple_SET_ITEM(sequence, i, item);
    else
      PyList_SET_ITEM(sequence, i, item);
  }
  return sequence;
}

/* Kinds that can be hashed, and what holds such: their children come first. */
static int is_hashable_kind(const thaw_node *node) {
  return node->kind == PM_KIND_TUPLE || node->kind == PM_KIND_INSTANCE ||
         is_late(node->kind, node->src);
}

static PyObject *build_frozendict(const thaw_state *t, const thaw_node *node) {
#if PM_HAS_FROZENDICT
  const uintptr_t *edge = &t->edges[node->edges], *end = end_of_edges(t, node);
  PyObject *dict = PyDict_New(), *copy = NULL;
  int bad = dict == NULL;
  for (; !bad && edge < end; edge += 2)
    bad = PyDict_SetItem(dict, result_of(t, edge[0]), result_of(t, edge[1]));
  if (!bad)
    copy = PyFrozenDict_New(dict);
  Py_XDECREF(dict);
  return copy;
#else
  (void)t;
  (void)node;
  Py_UNREACHABLE();
#endif
}

/* Everything but what only mutables have. A frozenset that the instance itself is in may not be
 * there yet: then the instance is filled again at the end. */
static int fill_instance(const thaw_state *t, thaw_node *node) {
  const pm_class *c = pm_instance_class(node->src);
  const uintptr_t *edge = &t->edges[node->edges], *end = end_of_edges(t, node);
  PyObject *copy = node->copy;
  Py_ssize_t items = c->base == PM_KIND_DICT   ? 2 * PyDict_GET_SIZE(node->src)
                     : c->base == PM_KIND_LIST ? Py_SIZE(node->src)
                                               : 0;
  edge += items;
  if (c->base == PM_KIND_TUPLE)
    for (Py_ssize_t i = 0; i < Py_SIZE(node->src); i++, edge++)
      Py_XSETREF(((PyTupleObject *)copy)->ob_item[i], Py_XNewRef(result_of(t, *edge)));
  for (size_t i = 0; i < c->n_slots; i++, edge++) {
    PyObject **slot = (PyObject **)(void *)((char *)copy + c->slots[i]);
    Py_XSETREF(*slot, Py_XNewRef(result_of(t, *edge)));
  }
  node->again = 0;
  if (pm_attributes_dict(node->src) == node->src && PyObject_GenericSetDict(copy, copy, NULL) < 0)
    return -1;
  for (; edge < end; edge += 2) {
    PyObject *value = result_of(t, edge[1]);
    if (value == NULL) {
      node->again = 1;
      value = Py_None; /* keeps the place in the order */
    }
    if (pm_instance_set(copy, result_of(t, edge[0]), value) < 0)
      return -1;
  }
  if (PyObject_IS_GC(copy) && !PyObject_GC_IsTracked(copy))
    PyObject_GC_Track(copy); /* some types do so only when they meet a container */
  return 0;
}

static int build_hashable(thaw_state *t, thaw_node *node) {
  switch (node->kind) {
  case PM_KIND_TUPLE:
    fill(t, node, node->copy);
    return 0;
  case PM_KIND_INSTANCE:
    return fill_instance(t, node);
  case PM_KIND_PROXY: {
    PyObject *mapping = result_of(t, t->edges[node->edges]);
    node->copy = mapping == NULL ? NULL : PyDictProxy_New(mapping);
    return node->copy == NULL ? -1 : 0;
  }
  case PM_KIND_DICT:
    node->copy = build_frozendict(t, node);
    return node->copy == NULL ? -1 : 0;
  default: {
    PyObject *members = PyList_New(end_of_edges(t, node) - &t->edges[node->edges]);
    PyObject *copy = fill(t, node, members) == NULL ? NULL : PyFrozenSet_New(members);
    Py_XDECREF(members);
    node->copy = copy;
    return copy == NULL ? -1 : 0;
  }
  }
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

static int fill_dict(const thaw_state *t, PyObject *dict, const uintptr_t *edge,
                     const uintptr_t *end) {
  for (; edge < end; edge += 2)
    if (PyDict_SetItem(dict, result_of(t, edge[0]), result_of(t, edge[1])) < 0)
      return -1;
  return 0;
}

/* The part of an instance that is a dict or a list. */
static int fill_built_in(const thaw_state *t, thaw_node *node) {
  const pm_class *c = pm_instance_class(node->src);
  const uintptr_t *edge = &t->edges[node->edges];
  if (node->again && fill_instance(t, node) < 0)
    return -1;
  if (c->base == PM_KIND_DICT)
    return fill_dict(t, node->copy, edge, edge + 2 * PyDict_GET_SIZE(node->src));
  for (Py_ssize_t i = 0; c->base == PM_KIND_LIST && i < Py_SIZE(node->src); i++)
    if (PyList_Append(node->copy, result_of(t, edge[i])) < 0)
      return -1;
  return 0;
}

static int fill_mutables(thaw_state *t) {
  int bad = 0;
  for (size_t i = t->finished; !bad && i < t->n_nodes; i++) {
    thaw_node *node = &t->nodes[i];
    const uintptr_t *edge = &t->edges[node->edges], *end = end_of_edges(t, node);
    if (node->kind == PM_KIND_LIST)
      fill(t, node, node->copy);
    else if (node->kind == PM_KIND_INSTANCE)
      bad = fill_built_in(t, node);
    else if (node->kind == PM_KIND_DICT && !is_late(PM_KIND_DICT, node->src))
      bad = fill_dict(t, node->copy, edge, end);
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
  PyObject *name = PyUnicode_InternFromString("pmalloc.thaw");
  PyObject *capsule = name == NULL ? NULL : PyDict_GetItemWithError(memo, name);
  Py_XDECREF(name);
  thaw_state *t;
  if (capsule == NULL) {
    if (PyErr_Occurred())
      return NULL;
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

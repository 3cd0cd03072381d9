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
 * A deep thaw copies scalars that lie in a pool too. A shallow one, for pickle,
 * copies containers only.
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
  uintptr_t *edges; /* an object, or number of a node << 1 | 1 */
  size_t n_edges, room_edges;
  size_t finished; /* nodes built by an earlier call with the same memo */
  pm_map seen;
  int deep;
} thaw_state;

static void state_free(thaw_state *t) {
  for (size_t i = 0; i < t->n_nodes; i++)
    Py_XDECREF(t->nodes[i].copy);
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

/* Whether a shallow thaw may go on using the object itself. */
static int keeps(PyObject *op, int kind) {
  if (!is_container(kind) || kind == PM_KIND_FROZENSET)
    return 1;
  if (kind != PM_KIND_TUPLE)
    return 0;
  for (Py_ssize_t i = 0; i < Py_SIZE(op); i++)
    if (is_container(kind_of(PyTuple_GET_ITEM(op, i))))
      return 0;
  return 1;
}

static int edge_of(thaw_state *t, PyObject *op, uintptr_t *edge) {
  int kind = kind_of(op);
  *edge = (uintptr_t)op;
  if (kind < 0 || (t->deep ? !is_container(kind) && !pm_is_frozen(op) : keeps(op, kind)))
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
      copy = t->deep ? PyList_New(Py_SIZE(op)) : PyList_GetSlice(op, 0, Py_SIZE(op));
      break;
    case PM_KIND_DICT:
      copy = t->deep ? PyDict_New() : PyDict_Copy(op);
      break;
    case PM_KIND_SET:
      copy = PySet_New(t->deep ? NULL : op);
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
        if ((t->deep && push(t, key) < 0) || push(t, value) < 0)
          return -1;
      break;
    }
    case PM_KIND_SET:
      if (!t->deep)
        break;
      /* fall through */
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

/* ---- passes 2 and 3 ------------------------------------------------------ */

static PyObject *result_of(const thaw_state *t, uintptr_t edge) {
  return edge & 1 ? t->nodes[edge >> 1].copy : (PyObject *)edge;
}

/* A key or member: what was a set must be a frozenset there. New reference. */
static PyObject *hashable(PyObject *op) {
  return PySet_CheckExact(op) ? PyFrozenSet_New(op) : Py_NewRef(op);
}

static int build_hashable(thaw_state *t, thaw_node *node) {
  if (node->kind == PM_KIND_TUPLE) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(node->src); i++)
      PyTuple_SET_ITEM(node->copy, i, Py_NewRef(result_of(t, t->edges[node->edges + (size_t)i])));
    return 0;
  }
  Py_ssize_t n = ((PySetObject *)node->src)->used;
  PyObject *members = PyList_New(n);
  for (Py_ssize_t i = 0; members != NULL && i < n; i++) {
    PyObject *member = hashable(result_of(t, t->edges[node->edges + (size_t)i]));
    if (member == NULL)
      Py_CLEAR(members);
    else
      PyList_SET_ITEM(members, i, member);
  }
  if (members == NULL)
    return -1;
  node->copy = PyFrozenSet_New(members);
  Py_DECREF(members);
  return node->copy == NULL ? -1 : 0;
}

static size_t hashable_children(const thaw_node *node) {
  return node->kind == PM_KIND_TUPLE       ? (size_t)PyTuple_GET_SIZE(node->src)
         : node->kind == PM_KIND_FROZENSET ? (size_t)((PySetObject *)node->src)->used
                                           : 0;
}

static int build_hashables(thaw_state *t) {
  uint32_t *stack = NULL;
  size_t room = 0;
  int bad = 0;
  for (size_t i = t->finished; !bad && i < t->n_nodes; i++) {
    if (hashable_children(&t->nodes[i]) == 0 && t->nodes[i].kind != PM_KIND_FROZENSET)
      continue;
    size_t depth = 0;
    if (t->nodes[i].state == DONE)
      continue;
    bad = pm_grow((void **)&stack, &room, depth, sizeof *stack);
    if (!bad)
      stack[depth++] = (uint32_t)i;
    while (!bad && depth > 0) {
      thaw_node *node = &t->nodes[stack[depth - 1]];
      if (node->state == NEW) {
        node->state = OPEN;
        for (size_t k = 0; !bad && k < hashable_children(node); k++) {
          uintptr_t edge = t->edges[node->edges + k];
          if (!(edge & 1))
            continue;
          const thaw_node *child = &t->nodes[edge >> 1];
          if ((child->kind == PM_KIND_TUPLE || child->kind == PM_KIND_FROZENSET) &&
              child->state == NEW) {
            bad = pm_grow((void **)&stack, &room, depth, sizeof *stack);
            if (!bad)
              stack[depth++] = (uint32_t)(edge >> 1);
          }
        }
        continue;
      }
      depth--;
      if (node->state == OPEN) {
        bad = build_hashable(t, node);
        node->state = DONE;
      }
    }
  }
  pm_scratch_free(stack, room * sizeof *stack);
  return bad;
}

static int fill_dict(thaw_state *t, const thaw_node *node) {
  size_t e = node->edges;
  Py_ssize_t pos = 0;
  PyObject *key, *value;
  while (PyDict_Next(node->src, &pos, &key, &value)) {
    if (!t->deep) {
      uintptr_t edge = t->edges[e++];
      if ((edge & 1) && PyDict_SetItem(node->copy, key, result_of(t, edge)) < 0)
        return -1;
      continue;
    }
    PyObject *new_key = hashable(result_of(t, t->edges[e]));
    int bad =
        new_key == NULL || PyDict_SetItem(node->copy, new_key, result_of(t, t->edges[e + 1])) < 0;
    Py_XDECREF(new_key);
    if (bad)
      return -1;
    e += 2;
  }
  return 0;
}

static int fill_mutables(thaw_state *t) {
  for (size_t i = t->finished; i < t->n_nodes; i++) {
    const thaw_node *node = &t->nodes[i];
    if (node->kind == PM_KIND_LIST) {
      for (Py_ssize_t k = 0; k < PyList_GET_SIZE(node->copy); k++) {
        uintptr_t edge = t->edges[node->edges + (size_t)k];
        if (t->deep)
          PyList_SET_ITEM(node->copy, k, Py_NewRef(result_of(t, edge)));
        else if ((edge & 1) && PyList_SetItem(node->copy, k, Py_NewRef(result_of(t, edge))) < 0)
          return -1;
      }
    } else if (node->kind == PM_KIND_DICT) {
      if (fill_dict(t, node) < 0)
        return -1;
    } else if (node->kind == PM_KIND_SET && t->deep) {
      Py_ssize_t n = ((PySetObject *)node->src)->used;
      for (Py_ssize_t k = 0; k < n; k++) {
        PyObject *member = hashable(result_of(t, t->edges[node->edges + (size_t)k]));
        int bad = member == NULL || PySet_Add(node->copy, member) < 0;
        Py_XDECREF(member);
        if (bad)
          return -1;
      }
    }
  }
  return 0;
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

PyObject *pm_thaw(PyObject *obj, int deep) {
  thaw_state t = {.deep = deep};
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
    return pm_thaw(obj, 1);
  PyObject *capsule = PyDict_GetItemString(memo, "pmalloc.thaw");
  thaw_state *t;
  if (capsule == NULL) {
    t = PyMem_RawCalloc(1, sizeof *t);
    if (t == NULL)
      return PyErr_NoMemory();
    t->deep = 1;
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
  size_t before = t->n_nodes;
  PyObject *result = thaw(t, obj);
  if (result == NULL && t->n_nodes > before) { /* half-built copies are not used again */
    PyObject *error = PyErr_GetRaisedException();
    if (PyDict_DelItemString(memo, "pmalloc.thaw") < 0)
      PyErr_Clear();
    PyErr_SetRaisedException(error);
  }
  return result;
}

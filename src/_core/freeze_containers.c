/* freeze_containers: tuple, list, dict, set, frozenset, range.
 *
 * Each container and what belongs to it lie in one block:
 *
 *   tuple      | gc head 0 | header | items ...                         |
 *   list       | gc head 0 | header | items ... | spare                 |
 *   dict       | gc head 0 | header | key table: index, entries ...     |
 *   dict       | gc head 0 | header | values, order |    (shared table) |
 *   set        | gc head 0 | header with small table | large table ...  |
 *   range      | header, start, stop, step, length                      |
 *
 * A GC head of zeroes means untracked: the collector never looks at these
 * objects. Iteration order is the original's: the entries of a dict are copied
 * in order, the table of a set slot by slot.
 *
 * A list pretends room for one item more than it has, and has it, so that
 * list.append(frozen, x), which goes around FrozenList, writes into memory of
 * this very list, where the write is caught.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"
#include "frozen_types.h"

/* A dict, or a defaultdict, becomes a FrozenDict; the interpreter's own frozendict stays one. */
static PyTypeObject *dict_type(PyObject *src) {
  return pm_is_builtin_frozendict(src) ? Py_TYPE(src) : &PmFrozenDict_Type;
}

int pm_keys_are_strs(const pm_plan *p, const uint32_t *edges, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t edge = edges[2 * i];
    if (!(edge & PM_EDGE_EXTERNAL ? PyUnicode_CheckExact(p->externals[edge & ~PM_EDGE_EXTERNAL])
                                  : pm_node_kind(&p->nodes[edge]) == PM_KIND_STR))
      return 0;
  }
  return 1;
}

size_t pm_container_size(const pm_node *node, const pm_dict *dict, const pm_plan *p) {
  PyObject *src = node->src;
  switch (pm_node_kind(node)) {
  case PM_KIND_TUPLE:
    return offsetof(PyTupleObject, ob_item) + (size_t)Py_SIZE(src) * sizeof(PyObject *);
  case PM_KIND_LIST:
    return sizeof(PyListObject) +
           (Py_SIZE(src) ? ((size_t)Py_SIZE(src) + 1) * sizeof(PyObject *) : 0);
  case PM_KIND_DICT: {
    size_t n = (size_t)((PyDictObject *)src)->ma_used;
    size_t head = (size_t)dict_type(src)->tp_basicsize;
    if (n == 0)
      return head;
#if PM_SHARED_KEYS
    if (dict->shape != PM_NO_SHAPE)
      return head + pm_values_size(n);
#endif
    return head + pm_keys_size(n, pm_keys_are_strs(p, &p->edges[dict->edges], n));
  }
  case PM_KIND_RANGE:
    return sizeof(pm_range);
  case PM_KIND_TIME:
    return pm_value_size(src, PM_KIND_TIME);
  case PM_KIND_PROXY:
    return sizeof(pm_proxy);
  default:
    return sizeof(PySetObject) + pm_set_table_bytes(src);
  }
}

void pm_emit_keys(const pm_plan *p, PyObject *src, const uint32_t *edges, pm_keys *keys) {
  size_t n = (size_t)((PyDictObject *)src)->ma_used;
  int strs = pm_keys_are_strs(p, edges, n);
  pm_keys_init(keys, n, strs ? PM_KEYS_UNICODE : PM_KEYS_GENERAL);
  Py_ssize_t pos = 0;
  PyObject *key, *value;
  Py_hash_t hash;
  for (size_t i = 0; pm_dict_next(src, &pos, &key, &value, &hash); i++) {
    PyObject *new_key = pm_target(p, edges[2 * i]), *new_value = pm_target(p, edges[2 * i + 1]);
    if (strs) {
      ((pm_unicode_entry *)pm_keys_entries(keys))[i] = (pm_unicode_entry){new_key, new_value};
      if (p->merged) { /* the key may stand for another object, and is not written yet */
        uint32_t edge = edges[2 * i];
        hash = PyObject_Hash(edge & PM_EDGE_EXTERNAL ? new_key : p->nodes[edge].src);
      }
    } else
      ((pm_entry *)pm_keys_entries(keys))[i] = (pm_entry){hash, new_key, new_value};
    pm_keys_index(keys, hash, i);
  }
}

static void emit_dict(pm_plan *p, PyObject *src, const pm_dict *dict, const uint32_t *edges,
                      PyObject *to) {
  Py_ssize_t n = ((PyDictObject *)src)->ma_used;
  PyTypeObject *type = dict_type(src);
  char *rest = (char *)to + type->tp_basicsize;
#if PM_HAS_FROZENDICT
  if (type != &PmFrozenDict_Type)
    ((pm_builtin_frozendict *)to)->hash = -1; /* pm_finish_hashes() */
#endif
  if (n == 0) {
    pm_dict_init(to, type, 0, pm_empty_keys(), NULL);
    return;
  }
#if PM_SHARED_KEYS
  if (dict->shape != PM_NO_SHAPE) {
    pm_values *values = (pm_values *)(void *)rest;
    values->capacity = values->size = (uint8_t)n;
    values->embedded = values->valid = 0;
    uint8_t *order = (uint8_t *)&values->values[n];
    for (Py_ssize_t i = 0; i < n; i++) {
      values->values[i] = pm_target(p, edges[2 * i + 1]);
      order[i] = (uint8_t)i;
    }
    pm_dict_init(to, type, n, p->shapes[dict->shape].table, values);
    return;
  }
#else
  (void)dict;
#endif
  pm_keys *keys = (pm_keys *)(void *)rest;
  pm_emit_keys(p, src, edges, keys);
  pm_dict_init(to, type, n, keys, NULL);
}

static int emit_set(pm_plan *p, PyObject *src, int kind, const uint32_t *edges, PyObject *to) {
  PySetObject *from = (PySetObject *)src, *so = (PySetObject *)to;
  memcpy(so, from, sizeof *so);
  pm_immortal_header(to, kind == PM_KIND_SET ? &PmFrozenSet_Type : &PyFrozenSet_Type);
  so->weakreflist = NULL;
  so->finger = 0;
  so->hash = -1;
  if (from->table == from->smalltable) {
    so->table = so->smalltable;
  } else {
    so->table = (setentry *)(void *)((char *)to + sizeof *so);
    memcpy(so->table, from->table, pm_set_table_bytes(src));
  }
  for (Py_ssize_t i = 0; i <= so->mask; i++)
    if (pm_set_entry_live(&so->table[i]))
      so->table[i].key = pm_target(p, *edges++);
  /* From the entries' hashes: no Python code. FrozenSet has no hash, but frozenset.__hash__(x)
   * would cache one in it. */
  if (PyFrozenSet_Type.tp_hash(to) == -1)
    return -1;
  if (kind == PM_KIND_SET)
    return 0; /* FrozenSet refuses weak references */
  /* The first weak reference to a frozenset is written into it. So it gets one
   * now, without a callback; later ones are chained behind it, outside. */
  PyObject *weak = PyWeakref_NewRef(to, NULL);
  if (weak == NULL)
    return -1;
  PyObject_GC_UnTrack(weak);
  int bad = PyList_Append(p->weakrefs, weak);
  Py_DECREF(weak);
  return bad;
}

int pm_emit_container(pm_plan *p, const pm_node *node, const pm_dict *dict, const uint32_t *edges,
                      PyObject *to) {
  PyObject *src = node->src;
  Py_ssize_t n = Py_SIZE(src); /* of those that have one */
  switch (pm_node_kind(node)) {
  case PM_KIND_TUPLE:
    pm_immortal_header(to, Py_TYPE(src)); /* a named tuple stays one */
    ((PyVarObject *)to)->ob_size = n;
#if PM_TUPLE_HASH
    ((PyTupleObject *)to)->ob_hash = -1; /* pm_finish_hashes() */
#endif
    for (Py_ssize_t i = 0; i < n; i++)
      ((PyTupleObject *)to)->ob_item[i] = pm_target(p, edges[i]);
    return 0;
  case PM_KIND_LIST: {
    PyListObject *list = (PyListObject *)to;
    pm_immortal_header(to, &PmFrozenList_Type);
    ((PyVarObject *)to)->ob_size = n;
    list->ob_item = n ? (PyObject **)(void *)(list + 1) : NULL;
    list->allocated = n ? n + 1 : 0;
    for (Py_ssize_t i = 0; i < n; i++)
      list->ob_item[i] = pm_target(p, edges[i]);
    return 0;
  }
  case PM_KIND_DICT:
    emit_dict(p, src, dict, edges, to);
    return 0;
  case PM_KIND_RANGE:
    pm_immortal_header(to, &PyRange_Type);
    for (int i = 0; i < 4; i++)
      (&((pm_range *)to)->start)[i] = pm_target(p, edges[i]);
    return 0;
  case PM_KIND_TIME:
    pm_emit_time(src, pm_time_zone(src) == NULL ? NULL : pm_target(p, edges[0]), to);
    return 0;
  case PM_KIND_PROXY:
    pm_immortal_header(to, &PyDictProxy_Type);
    ((pm_proxy *)to)->mapping = pm_target(p, edges[0]);
    return 0;
  default:
    return emit_set(p, src, pm_node_kind(node), edges, to);
  }
}

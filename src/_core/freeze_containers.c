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
    if (n == 0)
      return sizeof(PyDictObject);
#if PM_SHARED_KEYS
    if (dict->shape != PM_NO_SHAPE)
      return sizeof(PyDictObject) + pm_values_size(n);
#endif
    int unicode = 1;
    for (size_t i = 0; unicode && i < n; i++) {
      uint32_t edge = p->edges[dict->edges + 2 * i];
      unicode = edge & PM_EDGE_EXTERNAL
                    ? PyUnicode_CheckExact(p->externals[edge & ~PM_EDGE_EXTERNAL])
                    : pm_node_kind(&p->nodes[edge]) == PM_KIND_STR;
    }
    return sizeof(PyDictObject) + pm_keys_size(n, unicode);
  }
  case PM_KIND_RANGE:
    return sizeof(pm_range);
  default:
    return sizeof(PySetObject) + pm_set_table_bytes(src);
  }
}

static void emit_dict(pm_plan *p, PyObject *src, const pm_dict *dict, const uint32_t *edges,
                      PyObject *to) {
  Py_ssize_t n = ((PyDictObject *)src)->ma_used;
  char *rest = (char *)to + sizeof(PyDictObject);
  if (n == 0) {
    pm_dict_init(to, &PmFrozenDict_Type, 0, pm_empty_keys(), NULL);
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
    pm_dict_init(to, &PmFrozenDict_Type, n, p->shapes[dict->shape].table, values);
    return;
  }
#else
  (void)dict;
#endif
  int unicode = 1;
  for (Py_ssize_t i = 0; unicode && i < n; i++) {
    uint32_t edge = edges[2 * i];
    unicode = edge & PM_EDGE_EXTERNAL ? PyUnicode_CheckExact(p->externals[edge & ~PM_EDGE_EXTERNAL])
                                      : pm_node_kind(&p->nodes[edge]) == PM_KIND_STR;
  }
  pm_keys *keys = (pm_keys *)(void *)rest;
  pm_keys_init(keys, (size_t)n, unicode ? PM_KEYS_UNICODE : PM_KEYS_GENERAL);
  Py_ssize_t pos = 0, i = 0;
  PyObject *key, *value;
  Py_hash_t hash;
  while (pm_dict_next(src, &pos, &key, &value, &hash)) {
    PyObject *new_key = pm_target(p, edges[2 * i]), *new_value = pm_target(p, edges[2 * i + 1]);
    if (unicode)
      ((pm_unicode_entry *)pm_keys_entries(keys))[i] = (pm_unicode_entry){new_key, new_value};
    else
      ((pm_entry *)pm_keys_entries(keys))[i] = (pm_entry){hash, new_key, new_value};
    pm_keys_index(keys, hash, (size_t)i++);
  }
  pm_dict_init(to, &PmFrozenDict_Type, n, keys, NULL);
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
    pm_immortal_header(to, &PyTuple_Type);
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
  default:
    return emit_set(p, src, pm_node_kind(node), edges, to);
  }
}

/* Since 3.14 a tuple caches its hash in itself. Hash them all now, on our own
 * copies, deepest first: a stack of our own, for tuples may nest a million deep.
 * A tuple with something unhashable in it never gets one, and hash() of it
 * raises before it would write. */
int pm_finish_hashes(pm_plan *p) {
#if PM_TUPLE_HASH
  PyObject **stack = NULL;
  size_t room = 0, depth = 0;
  int bad = 0;
  for (size_t i = 0; !bad && i < p->n_nodes; i++) {
    if (pm_node_kind(&p->nodes[i]) != PM_KIND_TUPLE)
      continue;
    if ((bad = pm_grow((void **)&stack, &room, depth, sizeof *stack)) < 0)
      break;
    stack[depth++] = pm_target(p, (uint32_t)i);
    while (depth > 0) {
      PyTupleObject *t = (PyTupleObject *)stack[depth - 1];
      PyObject *pending = NULL;
      int hashable = t->ob_hash == -1;
      for (Py_ssize_t k = 0; hashable && k < Py_SIZE(t); k++) {
        PyObject *item = t->ob_item[k];
        if (Py_IS_TYPE(item, &PmFrozenDict_Type) || Py_IS_TYPE(item, &PmFrozenList_Type) ||
            Py_IS_TYPE(item, &PmFrozenSet_Type))
          hashable = 0;
        else if (PyTuple_CheckExact(item) && Py_SIZE(item) > 0 &&
                 ((PyTupleObject *)item)->ob_hash == -1) {
          if ((char *)item >= p->base && (char *)item < p->base + p->bytes)
            pending = item;
          else
            hashable = 0; /* frozen earlier, and found unhashable then */
        }
      }
      /* -2 marks, for the time of this pass, a tuple known to be unhashable */
      if (hashable && pending != NULL) {
        if ((bad = pm_grow((void **)&stack, &room, depth, sizeof *stack)) < 0)
          break;
        stack[depth++] = pending;
        continue;
      }
      depth--;
      if (t->ob_hash != -1)
        continue;
      if (hashable)
        for (Py_ssize_t k = 0; hashable && k < Py_SIZE(t); k++)
          hashable = !(PyTuple_CheckExact(t->ob_item[k]) &&
                       ((PyTupleObject *)t->ob_item[k])->ob_hash == -2);
      if (!hashable)
        t->ob_hash = -2;
      else if (PyObject_Hash((PyObject *)t) == -1) {
        PyErr_Clear();
        t->ob_hash = -2;
      }
    }
  }
  pm_scratch_free(stack, room * sizeof *stack);
  for (size_t i = 0; i < p->n_nodes; i++) {
    if (pm_node_kind(&p->nodes[i]) == PM_KIND_TUPLE) {
      PyTupleObject *t = (PyTupleObject *)pm_target(p, (uint32_t)i);
      if (t->ob_hash == -2)
        t->ob_hash = -1;
    }
  }
  return bad;
#else
  (void)p;
  return 0;
#endif
}

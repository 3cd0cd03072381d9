/* freeze_hashes: hashes that are cached in objects, and tables of keys whose hash
 * is not what it was.
 *
 * The hash of a NaN is its address, and its copy has another one; the same goes for
 * an instance whose class does not say otherwise, and for whatever is hashed by way
 * of these, a tuple or a frozenset. Tables are copied with the
 * hashes of the source, so where one was met they are filled once more, from the
 * hashes of the copies. Sets first, and again until none changes, for the hash of a
 * frozenset in a frozenset is cached. Breadth-first order has what is inside mostly
 * behind, so the first pass goes backwards; the next one forwards, and so on.
 *
 * Hashing runs Python code where a class has a __hash__ of its own, or a zone is
 * asked for its offset. It sees frozen objects that are whole, but for the tables
 * that are not filled anew yet.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"

#include "errors.h"
#include "frozen_types.h"

/* As set_insert_clean() of the interpreter: the table has room and no such key. */
static void set_enter(PySetObject *so, PyObject *key, Py_hash_t hash) {
  enum { LINEAR_PROBES = 9, PERTURB_SHIFT = 5 };
  size_t mask = (size_t)so->mask, perturb = (size_t)hash, i = (size_t)hash & mask;
  for (;;) {
    size_t probes = i + LINEAR_PROBES <= mask ? LINEAR_PROBES : 0;
    for (size_t k = i; k <= i + probes; k++) {
      if (so->table[k].key == NULL) {
        so->table[k] = (setentry){.key = key, .hash = hash};
        return;
      }
    }
    perturb >>= PERTURB_SHIFT;
    i = (i * 5 + 1 + perturb) & mask;
  }
}

/* 1: no two of the n members or keys are equal; 0: some are; -1: exception. */
static int all_differ(PyObject *op, Py_ssize_t n) {
  PyObject *set = PySet_New(NULL);
  Py_ssize_t pos = 0;
  PyObject *key, *value;
  int bad = set == NULL ? -1 : 0;
  if (PyAnySet_Check(op)) {
    const PySetObject *so = (PySetObject *)op;
    for (Py_ssize_t i = 0; !bad && i <= so->mask; i++)
      if (pm_set_entry_live(&so->table[i]))
        bad = PySet_Add(set, so->table[i].key);
  } else {
    while (!bad && PyDict_Next(op, &pos, &key, &value))
      bad = PySet_Add(set, key);
  }
  int answer = bad ? -1 : PySet_GET_SIZE(set) == n;
  Py_XDECREF(set);
  return answer;
}

static int keys_differ(PyObject *op) {
  if (PyAnySet_Check(op))
    return all_differ(op, ((PySetObject *)op)->used);
  if (PyDict_Check(op) || pm_is_builtin_frozendict(op))
    return all_differ(op, ((PyDictObject *)op)->ma_used);
  return 1; /* an instance of some other class */
}

/* What stands for two keys may be one: then the table would hold it twice. */
static int check_keys(pm_plan *p) {
  for (size_t i = 0; i < p->n_nodes; i++) {
    const pm_node *node = &p->nodes[i];
    int kind = pm_node_kind(node), set = kind == PM_KIND_SET || kind == PM_KIND_FROZENSET;
    if ((!set && kind != PM_KIND_DICT && kind != PM_KIND_INSTANCE) ||
        !(node->where & PM_NODE_WANTED))
      continue;
    int answer = keys_differ(pm_place_of(p, i));
    if (answer == 0)
      pm_refuse_node(p, (uint32_t)i,
                     set ? "two of its members were replaced by what is equal; what is registered "
                           "for their class must keep them apart"
                         : "two of its keys were replaced by what is equal; what is registered for "
                           "their class must keep them apart");
    if (answer <= 0)
      return -1;
  }
  return 0;
}

/* 1: it changed, 0: not, -1: exception. */
static int rehash_set(PyObject *op) {
  PySetObject *so = (PySetObject *)op;
  int changed = 0;
  for (Py_ssize_t i = 0; i <= so->mask; i++) {
    setentry *entry = &so->table[i];
    if (!pm_set_entry_live(entry))
      continue;
    Py_hash_t hash = PyObject_Hash(entry->key);
    if (hash == -1)
      return -1;
    changed |= hash != entry->hash;
    entry->hash = hash;
  }
  if (!changed)
    return 0;
  size_t bytes = ((size_t)so->mask + 1) * sizeof(setentry);
  setentry *old = PyMem_RawMalloc(bytes);
  if (old == NULL) {
    PyErr_NoMemory();
    return -1;
  }
  memcpy(old, so->table, bytes);
  memset(so->table, 0, bytes);
  for (Py_ssize_t i = 0; i <= so->mask; i++)
    if (pm_set_entry_live(&old[i]))
      set_enter(so, old[i].key, old[i].hash);
  PyMem_RawFree(old);
  so->fill = so->used;
  so->hash = -1;
  return PyFrozenSet_Type.tp_hash(op) == -1 ? -1 : 1;
}

static int rehash_dict(PyObject *op) {
  if (!PyDict_Check(op) && !pm_is_builtin_frozendict(op))
    return 0; /* an instance of some other class */
  pm_keys *keys = pm_dict_keys(op);
  if (pm_dict_is_split(op) || keys->kind != PM_KEYS_GENERAL || keys->nentries == 0)
    return 0; /* strs only, or nothing */
  pm_entry *entries = pm_keys_entries(keys);
  memset(keys->indices, 0xff, (size_t)1 << keys->log2_index_bytes);
  for (Py_ssize_t i = 0; i < keys->nentries; i++) {
    entries[i].hash = PyObject_Hash(entries[i].key);
    if (entries[i].hash == -1)
      return -1;
    pm_keys_index(keys, entries[i].hash, (size_t)i);
  }
  return 0;
}

/* Calls `visit` for the copy of every node of these two kinds; whether one changed, or -1. */
static int each(const pm_plan *p, int kind, int other, int backwards, int (*visit)(PyObject *)) {
  int changed = 0;
  for (size_t n = 0; n < p->n_nodes; n++) {
    size_t i = backwards ? p->n_nodes - 1 - n : n;
    const pm_node *node = &p->nodes[i];
    if ((pm_node_kind(node) != kind && pm_node_kind(node) != other) ||
        !(node->where & PM_NODE_WANTED))
      continue;
    int answer = visit(pm_place_of(p, i));
    if (answer < 0)
      return -1;
    changed |= answer;
  }
  return changed;
}

static int forget_hash(PyObject *tuple) {
#if PM_TUPLE_HASH
  ((PyTupleObject *)tuple)->ob_hash = -1;
#else
  (void)tuple;
#endif
  return 0;
}

int pm_rehash(pm_plan *p) {
  int changed, backwards = 1;
  if (!p->rehash)
    return 0;
  do {
    (void)each(p, PM_KIND_TUPLE, PM_KIND_TUPLE, 0, forget_hash);
    changed = each(p, PM_KIND_SET, PM_KIND_FROZENSET, backwards, rehash_set);
    backwards = !backwards;
  } while (changed > 0);
  if (changed < 0 || each(p, PM_KIND_DICT, PM_KIND_INSTANCE, 0, rehash_dict) < 0)
    return -1;
  return p->merged ? check_keys(p) : 0;
}

/* After a failed hash: 0 where that only means that there is none, else -1. */
static int unhashable(void) {
  if (!PyErr_ExceptionMatches(PyExc_TypeError))
    return -1;
  PyErr_Clear();
  return 0;
}

/* Since 3.14 a tuple caches its hash in itself. Hash them all now, on our own
 * copies, deepest first: a stack of our own, for tuples may nest a million deep.
 * A tuple with something unhashable in it never gets one, and hash() of it
 * raises before it would write. */
static int finish_tuples(pm_plan *p) {
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
        if ((bad = unhashable()) < 0)
          break;
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

/* What caches its hash, and may have to run Python code to know it. */
int pm_finish_hashes(pm_plan *p) {
  for (size_t i = 0; i < p->n_nodes; i++) {
    const pm_node *node = &p->nodes[i];
    int kind = pm_node_kind(node);
    if (!(node->where & PM_NODE_WANTED))
      continue;
    PyObject *op = pm_place_of(p, i);
    if (kind == PM_KIND_TIME && PyObject_Hash(op) == -1)
      return -1;
    if (kind == PM_KIND_DICT && pm_is_builtin_frozendict(op) && PyObject_Hash(op) == -1 &&
        unhashable() < 0)
      return -1;
#if PM_TUPLE_HASH
    /* Its class may hash it differently; this is for tuple.__hash__(x). */
    if (kind == PM_KIND_INSTANCE && PyTuple_Check(op) && PyTuple_Type.tp_hash(op) == -1 &&
        unhashable() < 0)
      return -1;
#endif
  }
  return finish_tuples(p);
}

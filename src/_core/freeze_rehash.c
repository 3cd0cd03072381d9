/* freeze_rehash: tables of keys whose hash is not what it was.
 *
 * The hash of a NaN is its address, and its copy has another one; so has whatever
 * is hashed by way of it, a tuple or a frozenset. Tables are copied with the
 * hashes of the source, so where a NaN was met they are filled once more, from the
 * hashes of the copies. Sets first, and again until none changes, for the hash of a
 * frozenset in a frozenset is cached. Breadth-first order has what is inside mostly
 * behind, so the first pass goes backwards; the next one forwards, and so on.
 *
 * Hashing runs no Python code here: all keys are of built-in kinds, and ours.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"

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
    if (pm_node_kind(node) != kind && pm_node_kind(node) != other)
      continue;
    int answer = visit(pm_target(p, (uint32_t)i));
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

int pm_rehash(const pm_plan *p) {
  int changed, backwards = 1;
  if (!p->nan)
    return 0;
  do {
    (void)each(p, PM_KIND_TUPLE, PM_KIND_TUPLE, 0, forget_hash);
    changed = each(p, PM_KIND_SET, PM_KIND_FROZENSET, backwards, rehash_set);
    backwards = !backwards;
  } while (changed > 0);
  return changed < 0 ? -1 : each(p, PM_KIND_DICT, PM_KIND_DICT, 0, rehash_dict);
}

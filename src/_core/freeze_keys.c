/* freeze_keys: dicts of one shape share one key table.
 *
 *   FrozenDict --> keys  ---------------------+     the pool of shared keys
 *       |                                     v     +----------------------+
 *       +--> values | v0 | v1 | v2 |        table: | "id" | "name" | "pop" |
 *   FrozenDict --> keys ----------------------^     +----------------------+
 *       +--> values | w0 | w1 | w2 |
 *
 * A record then costs its values only. The tables, and the strings they point
 * to, live in process-wide pools that are never destroyed, because a plain copy
 * of such a dict (PyDict_Copy in C) goes on pointing to the same table. They are
 * kept by shape and found again by later freezes, so that freezing the same
 * configuration over and over does not grow them.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"
#include "freeze.h"

#if PM_SHARED_KEYS

static PyObject *tables; /* tuple of key strs -> int, the address of the table */
static size_t shared_bytes;

size_t pm_shared_key_bytes(void) { return shared_bytes; }

static size_t used_of(const pm_plan *p, const pm_dict *d) {
  return (size_t)((PyDictObject *)p->nodes[d->node].src)->ma_used;
}

static int may_share(const pm_plan *p, const pm_dict *d) {
  size_t n = used_of(p, d);
  if (n == 0 || n > PM_SHARED_KEYS_MAX || p->merged ||
      pm_is_builtin_frozendict(p->nodes[d->node].src))
    return 0;
  for (size_t i = 0; i < n; i++) {
    uint32_t edge = p->edges[d->edges + 2 * i];
    if (edge & PM_EDGE_EXTERNAL) {
      if (!PyUnicode_CheckExact(p->externals[edge & ~PM_EDGE_EXTERNAL]))
        return 0;
    } else if (pm_node_kind(&p->nodes[edge]) != PM_KIND_STR) {
      return 0;
    }
  }
  return 1;
}

/* Whether a key lies in a pool, which can end: a new table must not lead there. One that is known
 * has equal keys of its own, and will do. */
static int has_frozen_key(const pm_plan *p, const pm_dict *d) {
  for (size_t i = 0; i < used_of(p, d); i++) {
    uint32_t edge = p->edges[d->edges + 2 * i];
    if ((edge & PM_EDGE_EXTERNAL) && pm_is_frozen(p->externals[edge & ~PM_EDGE_EXTERNAL]))
      return 1;
  }
  return 0;
}

static int same_shape(const pm_plan *p, const pm_dict *a, const pm_dict *b) {
  size_t n = used_of(p, a);
  if (n != used_of(p, b))
    return 0;
  for (size_t i = 0; i < n; i++)
    if (p->edges[a->edges + 2 * i] != p->edges[b->edges + 2 * i])
      return 0;
  return 1;
}

/* The dict's keys as a tuple of the source's strs. */
static PyObject *key_tuple(const pm_plan *p, const pm_dict *d) {
  size_t n = used_of(p, d);
  PyObject *tuple = PyTuple_New((Py_ssize_t)n);
  for (size_t i = 0; tuple != NULL && i < n; i++) {
    uint32_t edge = p->edges[d->edges + 2 * i];
    PyObject *key =
        edge & PM_EDGE_EXTERNAL ? p->externals[edge & ~PM_EDGE_EXTERNAL] : p->nodes[edge].src;
    PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, Py_NewRef(key));
  }
  return tuple;
}

/* A table from an earlier freeze. 1 found, 0 not, -1 exception. */
static int known_table(const pm_plan *p, const pm_dict *d, pm_keys **table) {
  if (tables == NULL)
    return 0;
  PyObject *tuple = key_tuple(p, d);
  if (tuple == NULL)
    return -1;
  PyObject *address = PyDict_GetItemWithError(tables, tuple);
  Py_DECREF(tuple);
  if (address == NULL)
    return PyErr_Occurred() ? -1 : 0;
  *table = PyLong_AsVoidPtr(address);
  return 1;
}

int pm_find_shapes(pm_plan *p) {
  size_t mask = 1023;
  while (mask < p->n_dicts / 4)
    mask = mask * 2 + 1;
  uint32_t *index = pm_scratch_zeroed((mask + 1) * sizeof *index); /* shape + 1 */
  if (index == NULL)
    return -1;
  size_t used = 0;
  for (size_t i = 0; i < p->n_dicts; i++) {
    pm_dict *d = &p->dicts[i];
    if (!may_share(p, d))
      continue;
    uint64_t hash = used_of(p, d);
    for (size_t k = 0; k < used_of(p, d); k++)
      hash = (hash ^ p->edges[d->edges + 2 * k]) * UINT64_C(0x9E3779B97F4A7C15);
    size_t at = (size_t)(hash >> 32) & mask;
    while (index[at] != 0 && !(p->shapes[index[at] - 1].hash == hash &&
                               same_shape(p, d, &p->dicts[p->shapes[index[at] - 1].dict])))
      at = (at + 1) & mask;
    if (index[at] == 0) {
      if (used * 2 > mask) /* hardly two dicts are alike: not worth a larger index */
        continue;
      if (pm_grow((void **)&p->shapes, &p->room_shapes, p->n_shapes, sizeof *p->shapes) < 0)
        goto fail;
      p->shapes[p->n_shapes++] = (pm_shape){.hash = hash, .dict = (uint32_t)i};
      index[at] = (uint32_t)p->n_shapes;
      used++;
    }
    d->shape = index[at] - 1;
    p->shapes[d->shape].count++;
  }
  for (size_t i = 0; i < p->n_shapes; i++) {
    pm_shape *s = &p->shapes[i];
    if (known_table(p, &p->dicts[s->dict], &s->table) < 0)
      goto fail;
    if (s->table == NULL && has_frozen_key(p, &p->dicts[s->dict]))
      s->count = 0; /* no table */
  }
  for (size_t i = 0; i < p->n_dicts; i++) {
    pm_dict *d = &p->dicts[i];
    if (d->shape != PM_NO_SHAPE && p->shapes[d->shape].count < 2 &&
        p->shapes[d->shape].table == NULL)
      d->shape = PM_NO_SHAPE;
  }
  pm_scratch_free(index, (mask + 1) * sizeof *index);
  return 0;
fail:
  pm_scratch_free(index, (mask + 1) * sizeof *index);
  return -1;
}

/* Identifier-like keys are interned for good: their canonical string is held, and
 * the frozen copy carries no mark, so that interning it finds the canonical one
 * and writes nothing. */
static int intern_key(PyObject *src, PyObject *keep) {
  PyObject *canonical = Py_NewRef(src);
  PyUnicode_InternInPlace(&canonical);
  int bad = PyList_Append(keep, canonical);
  Py_DECREF(canonical);
  return bad;
}

size_t pm_plan_shared_keys(pm_plan *p, size_t *objects) {
  size_t bytes = 0;
  *objects = 0;
  for (size_t i = 0; i < p->n_shapes; i++) {
    pm_shape *s = &p->shapes[i];
    if (s->table != NULL || s->count < 2)
      continue;
    const pm_dict *d = &p->dicts[s->dict];
    bytes += pm_align(pm_keys_size(used_of(p, d), 1));
    for (size_t k = 0; k < used_of(p, d); k++) {
      uint32_t edge = p->edges[d->edges + 2 * k];
      if (!(edge & PM_EDGE_EXTERNAL) && !(p->nodes[edge].where & PM_NODE_ELSEWHERE)) {
        bytes += pm_align(pm_str_size(p->nodes[edge].src));
        /* its address follows later */
        p->nodes[edge].where = (p->nodes[edge].where & ~PM_NODE_OFFSET) | PM_NODE_ELSEWHERE;
        (*objects)++;
      }
    }
  }
  return bytes;
}

/* Builds the tables that are still missing in one pool, protects it, and
 * enters them. Key nodes then lie there. */
int pm_make_shared_keys(pm_plan *p) {
  static PyObject *keep; /* canonical strings, for ever */
  size_t objects, bytes = pm_plan_shared_keys(p, &objects);
  if (bytes == 0)
    return 0;
  if ((tables == NULL && (tables = PyDict_New()) == NULL) ||
      (keep == NULL && (keep = PyList_New(0)) == NULL))
    return -1;
  pmalloc_pool *pool;
  struct pmalloc_region region;
  enum pmalloc_status status = pmalloc_pool_create(&pool, "shared keys", 0);
  if (status != PMALLOC_OK) {
    pm_raise_status(status, "create", "shared keys");
    return -1;
  }
  status = pmalloc_pool_region(pool, bytes, &region);
  if (status != PMALLOC_OK) {
    pm_raise_status(status, "freeze into", "shared keys");
    pmalloc_pool_forget(pool);
    return -1;
  }
  char *at = region.base;
  /* strings first: the tables point to them */
  for (size_t i = 0; i < p->n_shapes; i++) {
    pm_shape *s = &p->shapes[i];
    if (s->table != NULL || s->count < 2)
      continue;
    const pm_dict *d = &p->dicts[s->dict];
    for (size_t k = 0; k < used_of(p, d); k++) {
      uint32_t edge = p->edges[d->edges + 2 * k];
      if (edge & PM_EDGE_EXTERNAL)
        continue;
      pm_node *node = &p->nodes[edge];
      if ((node->where & PM_NODE_OFFSET) != 0)
        continue; /* has its place already */
      if (intern_key(node->src, keep) < 0)
        goto fail;
      pm_emit_str(node->src, (PyObject *)(void *)at, 0);
      pmalloc_region_mark(&region, at);
      node->where |= (uint64_t)(uintptr_t)at;
      at += pm_align(pm_str_size(node->src));
    }
  }
  for (size_t i = 0; i < p->n_shapes; i++) {
    pm_shape *s = &p->shapes[i];
    if (s->table != NULL || s->count < 2)
      continue;
    const pm_dict *d = &p->dicts[s->dict];
    size_t n = used_of(p, d);
    pm_keys *table = (pm_keys *)(void *)at;
    pm_keys_init(table, n, PM_KEYS_SPLIT);
    pm_unicode_entry *entries = pm_keys_entries(table);
    for (size_t k = 0; k < n; k++) {
      PyObject *key = pm_target(p, p->edges[d->edges + 2 * k]);
      entries[k].key = key;
      pm_keys_index(table, PM_STR(key)->hash, k);
    }
    at += pm_align(pm_keys_size(n, 1));
    PyObject *tuple = key_tuple(p, d), *address = PyLong_FromVoidPtr(table);
    int bad = tuple == NULL || address == NULL || PyDict_SetItem(tables, tuple, address) < 0;
    Py_XDECREF(tuple);
    Py_XDECREF(address);
    if (bad)
      goto fail;
    s->table = table;
  }
  pmalloc_region_commit(pool, &region, objects);
  status = pmalloc_pool_protect(pool);
  if (status != PMALLOC_OK) {
    pm_raise_status(status, "protect", "shared keys");
    goto fail;
  }
  shared_bytes += bytes;
  return 0;
fail:
  /* Nothing points into the pool yet but `tables`: forget those of this batch,
   * and never hand the memory out again. */
  for (size_t i = 0; i < p->n_shapes; i++) {
    pm_shape *s = &p->shapes[i];
    if (s->count >= 2 && (char *)s->table >= region.base &&
        (char *)s->table < region.base + region.size) {
      PyObject *error = PyErr_GetRaisedException();
      PyObject *tuple = key_tuple(p, &p->dicts[s->dict]);
      if (tuple == NULL || PyDict_DelItem(tables, tuple) < 0)
        Py_CLEAR(tables); /* out of memory here too: forget them all, safely */
      Py_XDECREF(tuple);
      PyErr_SetRaisedException(error);
      s->table = NULL;
    }
  }
  pmalloc_pool_destroy(pool);
  return -1;
}

#else /* 3.12: every dict has a table of its own */

size_t pm_shared_key_bytes(void) { return 0; }

int pm_find_shapes(pm_plan *p) {
  (void)p;
  return 0;
}

size_t pm_plan_shared_keys(pm_plan *p, size_t *objects) {
  (void)p;
  *objects = 0;
  return 0;
}

int pm_make_shared_keys(pm_plan *p) {
  (void)p;
  return 0;
}

#endif

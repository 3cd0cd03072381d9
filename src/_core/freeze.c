/* freeze: the three passes, in order, and what is undone when one fails.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"

#include "born.h"
#include "errors.h"

void pm_plan_free(pm_plan *p) {
  pm_scratch_free(p->nodes, p->room_nodes * sizeof *p->nodes);
  pm_scratch_free(p->edges, p->room_edges * sizeof *p->edges);
  pm_scratch_free(p->externals, p->room_externals * sizeof *p->externals);
  pm_scratch_free(p->dicts, p->room_dicts * sizeof *p->dicts);
  pm_scratch_free(p->insts, p->room_insts * sizeof *p->insts);
  pm_scratch_free(p->shapes, p->room_shapes * sizeof *p->shapes);
  pm_scratch_free(p->findings, p->room_findings * sizeof *p->findings);
  pm_map_free(&p->seen);
  if (p->equal != NULL)
    pm_scratch_free(p->equal, (p->equal_mask + 1) * sizeof *p->equal);
  Py_XDECREF(p->keep);
  Py_XDECREF(p->weakrefs);
}

/* Keys of dicts with a table of their own need a place in the region. */
void pm_want_keys(pm_plan *p) {
  for (size_t i = 0; i < p->n_dicts; i++) {
    const pm_dict *d = &p->dicts[i];
    if (d->shape != PM_NO_SHAPE)
      continue;
    size_t n = pm_edge_count(p, d->node);
    for (size_t k = 0; k < n; k += 2) {
      uint32_t edge = p->edges[d->edges + k];
      if (!(edge & PM_EDGE_EXTERNAL))
        p->nodes[edge].where |= PM_NODE_WANTED;
    }
  }
}

/* Pass 2: offsets. dict.copy() of a plain copy of ours reads a key table as if it were
 * full, so the region reaches at least as far as the furthest such read. */
void pm_place(pm_plan *p) {
  size_t at = 0, reach = 0, dict = 0, inst = 0;
  for (size_t i = 0; i < p->n_nodes; i++) {
    pm_node *node = &p->nodes[i];
    int kind = pm_node_kind(node);
    const pm_dict *d = kind == PM_KIND_DICT ? &p->dicts[dict++] : NULL;
    const pm_inst *in = kind == PM_KIND_INSTANCE ? &p->insts[inst++] : NULL;
    if (!(node->where & PM_NODE_WANTED) || (node->where & PM_NODE_ELSEWHERE))
      continue;
    at += pm_type_preheader(in != NULL ? in->class->twin : Py_TYPE(node->src));
    size_t size = d != NULL ? pm_container_size(node, d, p) : node->where & PM_NODE_OFFSET;
    node->where = (node->where & ~PM_NODE_OFFSET) | at;
    at += size;
    if ((d != NULL && d->shape == PM_NO_SHAPE) || (in != NULL && in->class->base == PM_KIND_DICT)) {
      size_t n = (size_t)((PyDictObject *)node->src)->ma_used;
      size_t end = at + (n ? pm_keys_unused_tail(n, 0) : 0);
      reach = end > reach ? end : reach;
    }
    at = pm_align(at);
    p->objects++;
  }
  p->bytes = pm_align(reach > at ? reach : at);
}

/* Pass 3. */
static int emit(pm_plan *p, const struct pmalloc_region *region) {
  const uint32_t *edges = p->edges;
  size_t dict = 0, inst = 0;
  p->base = region->base;
  p->region = region;
  for (size_t i = 0; i < p->n_nodes; i++) {
    const pm_node *node = &p->nodes[i];
    int kind = pm_node_kind(node);
    const pm_dict *d = kind == PM_KIND_DICT ? &p->dicts[dict++] : NULL;
    const pm_inst *in = kind == PM_KIND_INSTANCE ? &p->insts[inst++] : NULL;
    const uint32_t *own = edges;
    edges += kind < PM_KIND_RANGE ? 0 : in != NULL ? in->n_edges : pm_edge_count(p, i);
    if (!(node->where & PM_NODE_WANTED) || (node->where & PM_NODE_ELSEWHERE))
      continue;
    if (i + 8 < p->n_nodes)
      __builtin_prefetch(p->nodes[i + 8].src);
    PyObject *to = pm_place_of(p, i);
    if (kind < PM_KIND_RANGE) {
      if (pm_emit_scalar(p, node, to) < 0)
        return -1;
    } else if (in != NULL ? pm_emit_instance(p, in, own, to) < 0
                          : pm_emit_container(p, node, d, own, to) < 0) {
      return -1;
    }
    pmalloc_region_mark(region, to);
  }
  p->hashed = p->zoned || (p->rehash && p->n_insts > 0);
  return pm_rehash(p) < 0 ? -1 : pm_finish_hashes(p);
}

static int extend(PyObject *list, PyObject *more) {
  Py_ssize_t end = PyList_GET_SIZE(list);
  return PyList_SetSlice(list, end, end, more);
}

void pm_weakrefs_bury(PyObject *weakrefs) {
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(weakrefs); i++)
    pm_weakrefs_kill(PyList_GET_ITEM(weakrefs, i));
  if (PyList_SetSlice(weakrefs, 0, PyList_GET_SIZE(weakrefs), NULL) < 0)
    PyErr_Clear(); /* they stay, dead */
}

/* After an exception while emitting. Where code of the user's has run it may have kept an object
 * of the region (a __hash__ that stores self): then the memory stays as it is, of no use to
 * anybody but him. */
static void give_up(pm_plan *p, pmalloc_pool *pool, struct pmalloc_region *region, PyObject *keep,
                    PyObject *weakrefs) {
  PyObject *error = PyErr_GetRaisedException();
  if (p->hashed && extend(keep, p->keep) == 0 && extend(weakrefs, p->weakrefs) == 0) {
    pmalloc_region_commit(pool, region, p->objects);
  } else {
    PyErr_Clear();
    Py_CLEAR(p->weakrefs); /* they unlink themselves from the sets, still there */
    pmalloc_region_abandon(pool, region);
  }
  PyErr_SetRaisedException(error);
}

#define ROUNDS_MAX 1000

/* Discovery, again and again until nothing is left to be resolved. */
int pm_discover_all(pm_plan *p, pm_session *session, PyObject *obj, uint32_t *root, int preview) {
  for (session->rounds = 0;; session->rounds++) {
    *p = (pm_plan){.session = session, .preview = preview};
    p->keep = PyList_New(0);
    p->weakrefs = PyList_New(0);
    if (p->keep == NULL || p->weakrefs == NULL || pm_discover(p, obj, root) < 0)
      return -1;
    if (!p->again)
      return 0;
    if (session->rounds == ROUNDS_MAX) {
      PyErr_Format(PyExc_RecursionError,
                   "cannot freeze %s: what stands for an object holds objects that are replaced "
                   "in turn, more than %d deep",
                   Py_TYPE(obj)->tp_name, ROUNDS_MAX);
      return -1;
    }
    pm_plan_free(p);
    *p = (pm_plan){0};
    if (pm_resolve(session) < 0) {
      if (session->culprit != NULL)
        pm_blame(session, obj);
      return -1;
    }
  }
}

PyObject *pm_freeze_in(pm_session *session, pmalloc_pool *pool, PyObject *obj, PyObject *keep,
                       PyObject *weakrefs) {
  pm_plan p = {0};
  PyObject *result = NULL;
  uint32_t root;
  struct pmalloc_region region;
  int have_region = 0;
  if (pm_discover_all(&p, session, obj, &root, 0) < 0 || pm_find_shapes(&p) < 0)
    goto done;
  if (session->settling != NULL && pm_settle_look(&p, obj) <= 0)
    goto done;
  pm_want_keys(&p);
  if (pm_make_shared_keys(&p) < 0)
    goto done;
  pm_place(&p);
  if (p.bytes > 0) {
    enum pmalloc_status status = pmalloc_pool_region(pool, p.bytes, &region);
    if (status != PMALLOC_OK) {
      pm_raise_status(status, "freeze into", pmalloc_pool_name(pool));
      goto done;
    }
    have_region = 1;
    if (emit(&p, &region) < 0 || (session->settling != NULL && pm_settle_check(&p) < 0) ||
        extend(keep, p.keep) < 0)
      goto done;
    if (extend(weakrefs, p.weakrefs) < 0)
      goto done;
    pmalloc_region_commit(pool, &region, p.objects);
    have_region = 0;
    if (session->settling != NULL)
      pm_settle_flip(&p);
  } else if (extend(keep, p.keep) < 0) {
    goto done;
  }
  result = pm_target(&p, root);
done:
  if (have_region)
    give_up(&p, pool, &region, keep, weakrefs);
  pm_plan_free(&p);
  return result;
}

PyObject *pm_freeze(pmalloc_pool *pool, PyObject *face, PyObject *obj, PyObject *keep,
                    PyObject *weakrefs, PyObject *externals) {
  pm_session session = {.pool = face == NULL ? Py_None : face, .externals = externals};
  PyObject *result = pm_freeze_in(&session, pool, obj, keep, weakrefs);
  pm_session_free(&session);
  return result;
}

/* freeze: deep-copies Python objects into a pool as live, immortal objects.
 *
 * Three passes, none of which runs Python code:
 *
 *   1 discover   walk the source breadth-first; every distinct object becomes a
 *                node, every reference an edge. Whatever cannot be frozen is
 *                found here, before a byte of the pool is touched.
 *   2 place      choose key tables, give every node its offset. The order of
 *                discovery is the order in memory: breadth-first, so that a
 *                scan over records walks forward through memory.
 *   3 emit       one contiguous region of the pool is filled, front to back.
 *
 *      nodes   | root | a | b | c | ...        source object, kind, offset
 *      edges   | a b | c d e | ...             children, container by container
 *      region  |root..|a..|b..|c..|            what the interpreter will see
 *
 * An edge is the number of a node or, with the top bit set, the number of an
 * external: None, True, small ints, or an object that is frozen already.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_FREEZE_H
#define PM_FREEZE_H

#include "cpython_layout.h"

#include "../libpmalloc/pool.h"
#include "ptrmap.h"

typedef enum {
  PM_KIND_STR,
  PM_KIND_INT,
  PM_KIND_FLOAT,
  PM_KIND_COMPLEX,
  PM_KIND_BYTES,
  PM_KIND_RANGE, /* from here on: containers, they have edges */
  PM_KIND_TUPLE,
  PM_KIND_LIST,
  PM_KIND_DICT,
  PM_KIND_SET,
  PM_KIND_FROZENSET,
  PM_KIND_COUNT
} pm_kind;

#define PM_EDGE_EXTERNAL ((uint32_t)1 << 31)
/* where:  | elsewhere 63 | wanted 62 | kind 57-60 | size, then offset 0-56 | */
#define PM_NODE_KIND_SHIFT 57
#define PM_NODE_WANTED ((uint64_t)1 << 62)    /* has a place of its own in the region */
#define PM_NODE_ELSEWHERE ((uint64_t)1 << 63) /* offset is an address: a shared key */
/* The block's size until pass 2, its offset from then on. */
#define PM_NODE_OFFSET (((uint64_t)1 << PM_NODE_KIND_SHIFT) - 1)

typedef struct {
  PyObject *src;  /* borrowed: the caller holds the root, nothing runs in between */
  uint64_t where; /* kind, flags, offset */
} pm_node;

typedef struct {
  uint32_t node;
  uint32_t shape; /* index into shapes; PM_NO_SHAPE: a table of its own */
  size_t edges;   /* its first edge */
} pm_dict;
#define PM_NO_SHAPE UINT32_MAX

/* A sequence of keys that several dicts have in common. */
typedef struct {
  uint64_t hash;
  uint32_t dict; /* first dict of that shape */
  uint32_t count;
  pm_keys *table; /* the shared table, once it exists */
} pm_shape;

typedef struct {
  uint64_t saved; /* bytes */
  uint32_t tries, skipped;
} pm_luck;
#define PM_LUCK_KEYS 1024 /* one per key of the parent dict, folded */
#define PM_LUCK_SLOTS (PM_LUCK_KEYS + PM_KIND_COUNT + 1)

typedef struct {
  pm_node *nodes;
  size_t n_nodes, room_nodes;
  uint32_t *edges;
  size_t n_edges, room_edges;
  PyObject **externals;
  size_t n_externals, room_externals;
  pm_dict *dicts;
  size_t n_dicts, room_dicts;
  pm_shape *shapes;
  size_t n_shapes, room_shapes;
  pm_map seen;     /* source address -> edge, for objects with several owners */
  uint64_t *equal; /* (hash, node) of scalars, for deduplication */
  size_t equal_mask, equal_used;
  pm_luck luck[PM_LUCK_SLOTS];
  size_t bytes;       /* of the region */
  size_t objects;     /* that the region will hold */
  char *base;         /* of the region, while emitting */
  int nan;            /* one was met: see freeze_rehash.c */
  PyObject *keep;     /* list: ordinary objects the frozen ones rely on */
  PyObject *weakrefs; /* list: see freeze_containers.c */
} pm_plan;

/* freeze_discover.c */
int pm_discover(pm_plan *p, PyObject *root, uint32_t *root_edge);
int pm_kind_of(PyTypeObject *type); /* -1: not of a kind that freezes */
size_t pm_edge_count(const pm_node *node);

/* freeze_equal.c: deduplication of equal scalars, where it pays */
int pm_equal_find(pm_plan *p, PyObject *op, int kind, size_t luck_slot, uint32_t *node);
void pm_equal_prefetch(const pm_plan *p, PyObject *op);

/* freeze_path.c: UnfreezableError with the path to the culprit */
void pm_refuse(pm_plan *p, uint32_t parent, size_t position, PyObject *culprit);

/* freeze_keys.c: shared key tables */
int pm_find_shapes(pm_plan *p);
int pm_make_shared_keys(pm_plan *p);
size_t pm_shared_key_bytes(void);

/* freeze_scalars.c, freeze_containers.c: size of a node's block and emission */
size_t pm_scalar_size(const pm_node *node);
int pm_emit_scalar(pm_plan *p, const pm_node *node, PyObject *to);
/* Copies a str to `to`; `mark` is its interned mark. */
void pm_emit_str(PyObject *src, PyObject *to, unsigned mark);
size_t pm_str_size(PyObject *src);
size_t pm_container_size(const pm_node *node, const pm_dict *dict, const pm_plan *p);
int pm_emit_container(pm_plan *p, const pm_node *node, const pm_dict *dict, const uint32_t *edges,
                      PyObject *to);
int pm_finish_hashes(pm_plan *p);

/* freeze_rehash.c: tables whose keys hash otherwise than the source's */
int pm_rehash(const pm_plan *p);

/* Blocks begin at multiples of 8: no object has a stricter member, and many are
 * 24 or 40 bytes long. */
static inline size_t pm_align(size_t n) { return (n + 7) & ~(size_t)7; }

static inline int pm_node_kind(const pm_node *n) {
  return (int)(n->where >> PM_NODE_KIND_SHIFT & 15);
}

/* Where the object of an edge lies, or will lie. */
static inline PyObject *pm_target(const pm_plan *p, uint32_t edge) {
  if (edge & PM_EDGE_EXTERNAL)
    return p->externals[edge & ~PM_EDGE_EXTERNAL];
  uint64_t where = p->nodes[edge].where;
  char *at = (where & PM_NODE_ELSEWHERE) ? NULL : p->base;
  return (PyObject *)(void *)(at + (where & PM_NODE_OFFSET));
}

/* Freezes obj into the pool. Returns the frozen object (borrowed for ever: it is
 * immortal) or NULL with an exception and the pool as it was. What must stay
 * alive with it is appended to `keep`. */
PyObject *pm_freeze(pmalloc_pool *pool, PyObject *obj, PyObject *keep);

/* thaw.c: nothing of the result lies in a pool. */
PyObject *pm_thaw(PyObject *obj);
PyObject *pm_thaw_with_memo(PyObject *obj, PyObject *memo);
/* thaw_shallow.c: of a frozen object; containers only are copied. */
PyObject *pm_thaw_shallow(PyObject *obj);

/* Non-zero when the object's memory lies in a pool. */
static inline int pm_is_frozen(PyObject *op) {
  return pm_is_immortal(op) && pmalloc_registry_owns((uintptr_t)op);
}

#endif

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
#include "freeze_classes.h"
#include "ptrmap.h"

typedef enum {
  PM_KIND_STR,
  PM_KIND_INT,
  PM_KIND_FLOAT,
  PM_KIND_COMPLEX,
  PM_KIND_BYTES,
  PM_KIND_BYTEARRAY, /* becomes bytes */
  PM_KIND_DECIMAL,
  PM_KIND_RANGE, /* from here on: containers, they have edges */
  PM_KIND_TIME,  /* date, time, datetime, timedelta */
  PM_KIND_TUPLE, /* of a subclass too that is nothing but a tuple: named tuples */
  PM_KIND_LIST,
  PM_KIND_DICT,
  PM_KIND_SET,
  PM_KIND_FROZENSET,
  PM_KIND_PROXY, /* types.MappingProxyType */
  PM_KIND_INSTANCE,
  PM_KIND_COUNT
} pm_kind;

#define PM_EDGE_EXTERNAL ((uint32_t)1 << 31)
#define PM_EDGE_NONE UINT32_MAX /* a slot or attribute that is not set */
/* where:  | elsewhere 63 | wanted 62 | kind 57-61 | born 56 | size, then offset 0-55 | */
#define PM_NODE_KIND_SHIFT 57
#define PM_NODE_BORN ((uint64_t)1 << 56)   /* what refers to it refers to its source: see born.h */
#define PM_NODE_WANTED ((uint64_t)1 << 62) /* has a place of its own in the region */
#define PM_NODE_ELSEWHERE ((uint64_t)1 << 63) /* offset is an address: a shared key */
/* The block's size until pass 2, its offset from then on. */
#define PM_NODE_OFFSET (((uint64_t)1 << 56) - 1)

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

/* An instance: edges of its built-in part, of its slots, of its attributes in the order of its
 * class's keys; or, where it keeps a dict of its own, of that. */
typedef struct {
  uint32_t node;
  uint32_t n_edges;
  pm_class *class;
  size_t edges;
  int own_dict;
} pm_inst;

struct pm_settling; /* born.h */

/* What outlives one try of discovery; see freeze_classes.h. */
typedef struct {
  PyObject *pool;      /* the Python object, None in a preview; borrowed */
  PyObject *externals; /* tuple of types whose instances stay outside; borrowed */
  PyObject *types;     /* list: types to be resolved */
  pm_class **classes;  /* that want another twin */
  size_t n_classes, room_classes;
  PyObject *replaced; /* list: an object, what stands for it (None: to be asked), and so on */
  pm_map replacement; /* object -> index of what stands for it */
  int rounds;
  PyObject *culprit;            /* for which no stand-in could be had; borrowed */
  struct pm_settling *settling; /* an init phase ends; else NULL */
} pm_session;

/* A position of pm_discover_child(): the i-th attribute of an instance, in the order they were set.
 * Those after it are in the order of edges. */
#define PM_ATTRIBUTE ((size_t)1 << 30)

/* Where a preview met something that would stay outside, or be refused. */
typedef struct {
  PyObject *op;    /* borrowed */
  uint32_t parent; /* UINT32_MAX: it is the root */
  int refused;
  size_t position;
} pm_finding;

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

#define PM_NEAR 4

typedef struct {
  pm_node *nodes;
  size_t n_nodes, room_nodes;
  uint32_t *edges;
  size_t n_edges, room_edges;
  PyObject **externals;
  size_t n_externals, room_externals;
  pm_dict *dicts;
  size_t n_dicts, room_dicts;
  pm_inst *insts;
  size_t n_insts, room_insts;
  pm_shape *shapes;
  size_t n_shapes, room_shapes;
  pm_session *session;
  int again;       /* something must be resolved first */
  pm_map seen;     /* source address -> edge, for objects with several owners */
  uint64_t *equal; /* (hash, node) of scalars, for deduplication */
  size_t equal_mask, equal_used;
  pm_luck luck[PM_LUCK_SLOTS];
  size_t bytes;   /* of the region */
  size_t objects; /* that the region will hold */
  char *base;     /* of the region, while emitting */
  int hashed;     /* everything was written, and code of the user's may have seen it */
  int rehash;     /* a key may hash otherwise than its source: see freeze_hashes.c */
  int zoned;      /* a time has a zone, which is asked when it is hashed */
  int merged;     /* a key was replaced: two may be equal now, or one unhashable */
  const struct pmalloc_region *region;
  PyObject *wanted; /* preview: the one object that is looked for, or NULL */
  int preview;      /* nothing is raised, findings are kept instead */
  struct {
    uintptr_t start, end;
  } near[PM_NEAR]; /* chunks in which frozen objects were met last */
  unsigned nearest;
  pm_finding *findings;
  size_t n_findings, room_findings;
  size_t ordinary_bytes; /* of duplicates that were left out */

  PyObject *keep;     /* list: ordinary objects the frozen ones rely on */
  PyObject *weakrefs; /* list: see freeze_containers.c */
} pm_plan;

/* freeze_discover.c */
int pm_discover(pm_plan *p, PyObject *root, uint32_t *root_edge);
int pm_kind_of(PyTypeObject *type); /* -1: not of a kind that freezes */
size_t pm_edge_count(const pm_plan *p, size_t node);
/* One child of a container; -1 with an exception. */
int pm_discover_child(pm_plan *p, uint32_t parent, size_t position, PyObject *op, size_t luck_slot,
                      int is_key);
int pm_push_edge(pm_plan *p, uint32_t edge);
/* Whether the caller named its type as one whose instances stay outside. */
int pm_is_allowed(const pm_plan *p, PyTypeObject *type);

/* freeze_scout.c: takes notes of what lies around an object, before all begins anew; -1 with an
 * exception */
int pm_scout(pm_plan *p, PyObject *from);

/* freeze_resolve.c: answers for what discovery took note of; -1 with an exception */
int pm_resolve(pm_session *s);
/* The exception that is set came from the replacement of session->culprit: says where that is. */
void pm_blame(pm_session *s, PyObject *root);
void pm_session_free(pm_session *s);

/* freeze_instances.c */
int pm_discover_instance(pm_plan *p, uint32_t node, pm_class *c);
/* Takes note of what the class's twin lacks for this instance; -1 with an exception. */
int pm_note_instance(pm_plan *p, pm_class *c, PyObject *src);
size_t pm_instance_size(const pm_plan *p, const pm_inst *inst);
int pm_emit_instance(pm_plan *p, const pm_inst *inst, const uint32_t *edges, PyObject *to);
/* The instance of a node, by search. */
const pm_inst *pm_inst_of(const pm_plan *p, size_t node);
/* thaw: the class of a frozen instance, twin or not; an ordinary instance without attributes. */
pm_class *pm_instance_class(PyObject *op);
PyObject *pm_instance_new(PyObject *src);
/* The __dict__ of a frozen instance, wherever it is, borrowed; NULL: it has none. */
PyObject *pm_instance_dict(PyObject *op);
/* Sets attribute `name` of an ordinary instance to value, running nobody's code. */
int pm_instance_set(PyObject *op, PyObject *name, PyObject *value);

/* freeze_values.c: dates, times and Decimals */
size_t pm_value_size(PyObject *src, int kind);
int pm_emit_decimal(PyObject *src, PyObject *to);
void pm_emit_time(PyObject *src, PyObject *zone, PyObject *to);
PyObject **pm_time_zone(PyObject *op); /* NULL where there is none */
int pm_is_signalling(PyObject *decimal);
PyObject *pm_copy_value(PyObject *src, int kind);
int pm_time_init(void);
/* Offset of the zone in an object of this type, 0: it has none. Async-signal-safe. */
size_t pm_time_zone_offset(uintptr_t type);

/* freeze_equal.c: deduplication of equal scalars, where it pays */
int pm_equal_find(pm_plan *p, PyObject *op, int kind, size_t luck_slot, uint32_t *node);
void pm_equal_prefetch(const pm_plan *p, PyObject *op);

/* freeze_path.c: UnfreezableError with the path to the culprit */
void pm_refuse(pm_plan *p, uint32_t parent, size_t position, PyObject *culprit);
/* The same for a node, after discovery. */
void pm_refuse_node(pm_plan *p, uint32_t node, const char *advice);
/* Why a refused object is refused. */
const char *pm_advice(PyObject *culprit);
/* How each node was met first: pm_steps() from PyMem_RawMalloc, NULL with MemoryError. */
typedef struct {
  uint32_t parent;
  uint32_t position;
} pm_step;
pm_step *pm_steps(pm_plan *p);
PyObject *pm_path(pm_plan *p, const pm_step *steps, uint32_t parent, size_t position);

/* freeze.c, for freeze_preview.c: discovery until all is resolved; offsets and p->bytes */
int pm_discover_all(pm_plan *p, pm_session *session, PyObject *obj, uint32_t *root, int preview);
void pm_want_keys(pm_plan *p);
void pm_place(pm_plan *p);
void pm_plan_free(pm_plan *p);

/* freeze_preview.c */
PyObject *pm_preview(PyObject *obj, PyObject *externals, Py_ssize_t limit);

/* freeze_keys.c: shared key tables */
int pm_find_shapes(pm_plan *p);
/* Which keys will lie in a shared table's pool: their bytes; *objects of them. */
size_t pm_plan_shared_keys(pm_plan *p, size_t *objects);
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
/* The key table of a dict of its own, built at `keys`; its edges are key, value, key, value ... */
void pm_emit_keys(const pm_plan *p, PyObject *src, const uint32_t *edges, pm_keys *keys);
int pm_keys_are_strs(const pm_plan *p, const uint32_t *edges, size_t n);

/* freeze_hashes.c: tables whose keys hash otherwise than the source's */
int pm_rehash(pm_plan *p);

/* Blocks begin at multiples of 8: no object has a stricter member, and many are
 * 24 or 40 bytes long. */
static inline size_t pm_align(size_t n) { return (n + 7) & ~(size_t)7; }

static inline int pm_node_kind(const pm_node *n) {
  return (int)(n->where >> PM_NODE_KIND_SHIFT & 31);
}

/* Where a node is written. */
static inline PyObject *pm_place_of(const pm_plan *p, size_t node) {
  uint64_t where = p->nodes[node].where;
  char *at = (where & PM_NODE_ELSEWHERE) ? NULL : p->base;
  return (PyObject *)(void *)(at + (where & PM_NODE_OFFSET));
}

/* Where the object of an edge lies, or will lie. */
static inline PyObject *pm_target(const pm_plan *p, uint32_t edge) {
  if (edge == PM_EDGE_NONE)
    return NULL;
  if (edge & PM_EDGE_EXTERNAL)
    return p->externals[edge & ~PM_EDGE_EXTERNAL];
  return p->nodes[edge].where & PM_NODE_BORN ? p->nodes[edge].src : pm_place_of(p, edge);
}

/* Freezes obj into the pool. Returns the frozen object (borrowed for ever: it is
 * immortal) or NULL with an exception and the pool as it was. What must stay
 * alive with it is appended to `keep`, and to `weakrefs` the weak references that keep later ones
 * out of frozen frozensets: they are never let go of but by pm_weakrefs_bury(). Instances of
 * `externals`, a tuple of types or NULL, stay outside. `face` is the Python object of the pool, or
 * NULL: arrays are then refused. */
PyObject *pm_freeze(pmalloc_pool *pool, PyObject *face, PyObject *obj, PyObject *keep,
                    PyObject *weakrefs, PyObject *externals);

/* The same for a session that the caller began and ends. */
PyObject *pm_freeze_in(pm_session *session, pmalloc_pool *pool, PyObject *obj, PyObject *keep,
                       PyObject *weakrefs);

/* The pool is gone, and with it what they refer to: they are dead from now on, and so are all that
 * were made later. Empties the list. */
void pm_weakrefs_bury(PyObject *weakrefs);

/* thaw.c: nothing of the result lies in a pool. */
PyObject *pm_thaw(PyObject *obj);
PyObject *pm_thaw_with_memo(PyObject *obj, PyObject *memo);
/* thaw_shallow.c: of a frozen object; containers only are copied, instances among them. */
PyObject *pm_thaw_shallow(PyObject *obj);
/* An ordinary instance with the attributes of a frozen one. */
PyObject *pm_thaw_one(PyObject *obj);
/* The kind of a frozen object, or of an ordinary built-in one; -1 for all others. */
int pm_frozen_kind(PyObject *op);

/* Non-zero when the object's memory lies in a pool. */
static inline int pm_is_frozen(PyObject *op) {
  return pm_is_immortal(op) && pmalloc_registry_owns((uintptr_t)op);
}

#endif

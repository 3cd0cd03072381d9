/* freeze_discover: pass 1. Every distinct object becomes a node, in
 * breadth-first order, with no recursion: the array of nodes is the queue.
 *
 *     nodes  [ root | a b | c d e | ...
 *              ^done  ^next         ^end: children are appended here
 *
 * An object with a single owner cannot be met twice, so only the others are
 * looked up; in data fresh from a parser that is a small part.
 *
 * SPDX-License-Identifier: MIT
 */
#include "born.h"
#include "freeze.h"
#include "frozen_types.h"

#include <math.h>

int pm_kind_of(PyTypeObject *type) {
  if (type == &PyUnicode_Type)
    return PM_KIND_STR;
  if (type == &PyLong_Type)
    return PM_KIND_INT;
  if (type == &PyList_Type)
    return PM_KIND_LIST;
  if (type == &PyFloat_Type)
    return PM_KIND_FLOAT;
  if (type == &PyDict_Type)
    return PM_KIND_DICT;
  if (type == &PyTuple_Type)
    return PM_KIND_TUPLE;
  if (type == &PyBytes_Type)
    return PM_KIND_BYTES;
  if (type == &PySet_Type)
    return PM_KIND_SET;
  if (type == &PyFrozenSet_Type)
    return PM_KIND_FROZENSET;
  if (type == &PyComplex_Type)
    return PM_KIND_COMPLEX;
  if (type == &PyRange_Type)
    return PM_KIND_RANGE;
  if (type == &PyByteArray_Type)
    return PM_KIND_BYTEARRAY;
  if (type == &PyDictProxy_Type)
    return PM_KIND_PROXY;
#if PM_HAS_FROZENDICT
  if (type == &PyFrozenDict_Type)
    return PM_KIND_DICT;
#endif
  return -1;
}

size_t pm_edge_count(const pm_plan *p, size_t number) {
  const pm_node *node = &p->nodes[number];
  switch (pm_node_kind(node)) {
  case PM_KIND_RANGE:
    return 4;
  case PM_KIND_PROXY:
    return 1;
  case PM_KIND_TIME:
    return pm_time_zone(node->src) != NULL;
  case PM_KIND_INSTANCE:
    return pm_inst_of(p, number)->n_edges;
  case PM_KIND_TUPLE:
  case PM_KIND_LIST:
    return (size_t)Py_SIZE(node->src);
  case PM_KIND_DICT:
    return 2 * (size_t)((PyDictObject *)node->src)->ma_used;
  case PM_KIND_SET:
  case PM_KIND_FROZENSET:
    return (size_t)((PySetObject *)node->src)->used;
  default:
    return 0;
  }
}

/* ---- children ------------------------------------------------------------ */

/* pm_is_frozen(), which mostly is asked about neighbours. */
static int is_frozen(pm_plan *p, PyObject *op) {
  uintptr_t at = (uintptr_t)op;
  struct pmalloc_where where;
  for (size_t i = 0; i < PM_NEAR; i++)
    if (at >= p->near[i].start && at < p->near[i].end)
      return 1;
  if (!pmalloc_registry_owns(at))
    return 0;
  if (pmalloc_registry_find(at, &where) && where.place == PMALLOC_DATA) {
    p->near[p->nearest % PM_NEAR].start = where.chunk_start;
    p->near[p->nearest++ % PM_NEAR].end = where.chunk_end;
  }
  return 1;
}

/* Objects that stay where they are: the interpreter's own static ones, and what
 * is frozen already, which is said in *frozen. */
static int is_external(pm_plan *p, PyObject *op, int kind, int *frozen) {
  *frozen = 0;
  if (!pm_is_immortal(op))
    return 0;
  if (op == Py_None || op == Py_True || op == Py_False)
    return 1;
  if (is_frozen(p, op))
    return *frozen = 1;
  switch (kind) {
  case PM_KIND_INT:
    return 1; /* the small ints */
  case PM_KIND_STR:
    return PM_STR(op)->length == 0;
  case PM_KIND_BYTES:
  case PM_KIND_TUPLE:
    return Py_SIZE(op) == 0;
  default:
    return 0;
  }
}

int pm_push_edge(pm_plan *p, uint32_t edge) {
  if (pm_grow((void **)&p->edges, &p->room_edges, p->n_edges, sizeof *p->edges) < 0)
    return -1;
  p->edges[p->n_edges++] = edge;
  return 0;
}

static int add_external(pm_plan *p, PyObject *op, uint32_t *edge) {
  if (pm_grow((void **)&p->externals, &p->room_externals, p->n_externals, sizeof(PyObject *)) < 0)
    return -1;
  *edge = PM_EDGE_EXTERNAL | (uint32_t)p->n_externals;
  p->externals[p->n_externals++] = op;
  return 0;
}

/* An object that stays outside and is kept alive. */
static int add_kept(pm_plan *p, PyObject *op, uint32_t *edge) {
  return PyList_Append(p->keep, op) < 0 ? -1 : add_external(p, op, edge);
}

/* Takes note of what must be resolved before anything else; the edge only fills the gap. */
static int take_note(pm_plan *p, PyObject **list, PyObject *what, uint32_t *edge) {
  p->again = 1;
  if (*list == NULL && (*list = PyList_New(0)) == NULL)
    return -1;
  return PyList_Append(*list, what) < 0 || add_external(p, Py_None, edge) < 0 ? -1 : 1;
}

int pm_is_allowed(const pm_plan *p, PyTypeObject *type) {
  PyObject *allowed = p->session->externals;
  for (Py_ssize_t i = 0; allowed != NULL && i < PyTuple_GET_SIZE(allowed); i++)
    if (PyType_IsSubtype(type, (PyTypeObject *)PyTuple_GET_ITEM(allowed, i)))
      return 1;
  return 0;
}

/* What stands for an object whose type is replaced: 1, or 0 while that is not known. */
static int stand_in(pm_plan *p, PyObject *op, PyObject **stands, uint32_t *edge) {
  pm_session *s = p->session;
  uint32_t *at;
  int is_new = pm_map_enter(&s->replacement, op, &at);
  if (is_new < 0)
    return -1;
  if (is_new) {
    if (s->replaced == NULL && (s->replaced = PyList_New(0)) == NULL)
      return -1;
    *at = (uint32_t)PyList_GET_SIZE(s->replaced) + 1;
    if (PyList_Append(s->replaced, op) < 0 || PyList_Append(s->replaced, Py_Ellipsis) < 0)
      return -1;
  }
  *stands = PyList_GET_ITEM(s->replaced, (Py_ssize_t)*at);
  if (*stands != Py_Ellipsis)
    return 1;
  p->again = 1;
  return add_external(p, Py_None, edge) < 0 ? -1 : 0;
}

/* A NaN is equal to nothing but itself, so it is not deduplicated either. */
static int holds_nan(PyObject *op, int kind) {
  if (kind == PM_KIND_FLOAT)
    return isnan(((PyFloatObject *)op)->ob_fval);
  if (kind != PM_KIND_COMPLEX)
    return 0;
  Py_complex c = ((PyComplexObject *)op)->cval;
  return isnan(c.real) || isnan(c.imag);
}

static int edge_of(pm_plan *p, PyObject *op, size_t luck_slot, int is_key, uint32_t *edge);

/* An object of a type that is not built in. Returns its kind where it becomes a node, else the
 * answer of edge_of() minus 3. */
enum { CLASS_FAILED = -4, CLASS_REFUSED = -3, CLASS_DONE = -2 };
static int kind_by_class(pm_plan *p, PyObject *op, size_t luck_slot, int is_key, uint32_t *edge) {
  PyTypeObject *type = Py_TYPE(op);
  PyObject *stands;
  if (pm_is_allowed(p, type))
    return add_kept(p, op, edge) < 0 ? CLASS_FAILED : CLASS_DONE;
  const pm_class *c = pm_instance_class(op);
  if (c == NULL)
    return take_note(p, &p->session->types, (PyObject *)type, edge) - 3;
  switch (c->kind) {
  case PM_CLASS_EXTERNAL:
    return add_kept(p, op, edge) < 0 ? CLASS_FAILED : CLASS_DONE;
  case PM_CLASS_REPLACED:
  case PM_CLASS_ADOPTED: {
    int known = stand_in(p, op, &stands, edge);
    if (known <= 0)
      return known < 0 ? CLASS_FAILED : CLASS_DONE;
    if (c->kind == PM_CLASS_ADOPTED)
      return add_kept(p, stands, edge) < 0 ? CLASS_FAILED : CLASS_DONE;
    return edge_of(p, stands, luck_slot, is_key, edge) - 3;
  }
  case PM_CLASS_REFUSED:
    return CLASS_REFUSED;
  case PM_KIND_DECIMAL:
    return pm_is_signalling(op) ? CLASS_REFUSED : c->kind;
  default:
    return c->kind;
  }
}

/* The object as an edge: an old node, a new one, or an external. Returns 1, or 0 when the
 * object cannot be frozen, or -1 with an exception. */
static int edge_of(pm_plan *p, PyObject *op, size_t luck_slot, int is_key, uint32_t *edge) {
  int kind = pm_kind_of(Py_TYPE(op));
  int several_owners = !pm_has_one_owner(op), frozen;
  if (several_owners) {
    if (pm_map_get(&p->seen, op, edge)) {
      if (!is_key && !(*edge & PM_EDGE_EXTERNAL))
        p->nodes[*edge].where |= PM_NODE_WANTED;
      return 1;
    }
    if (is_external(p, op, kind, &frozen)) {
      /* One edge for each is needed only for the keys of records, whose shapes are compared. The
       * parts of an older version, most of a newer one, would be a large map that is asked once. */
      int remembered = (is_key && luck_slot == PM_LUCK_SLOTS) || !frozen;
      if (add_external(p, op, edge) < 0 || (remembered && pm_map_put(&p->seen, op, *edge) < 0))
        return -1;
      return 1;
    }
  }
  enum pm_born born = p->session->settling == NULL ? PM_BORN_NOT : pm_settle_born(p, op);
  if (born == PM_BORN_ELSEWHERE) /* another phase's, which has its own end */
    return add_kept(p, op, edge) < 0 || pm_map_put(&p->seen, op, *edge) < 0 ? -1 : 1;
  if (kind < 0) {
    kind = kind_by_class(p, op, luck_slot, is_key, edge);
    if (kind == CLASS_DONE && several_owners && !p->again)
      return pm_map_put(&p->seen, op, *edge) < 0 ? -1 : 1;
    if (kind < 0)
      return kind + 3;
  }
  int found = 0, nan = holds_nan(op, kind);
  p->rehash |= nan;
  if (kind <= PM_KIND_BYTES && kind != PM_KIND_COMPLEX && !nan) {
    found = pm_equal_find(p, op, kind, luck_slot, edge);
    if (found < 0)
      return -1;
    if (found && p->preview)
      p->ordinary_bytes += pm_ordinary_bytes(op);
  }
  if (!found) {
    if (p->n_nodes >= PM_EDGE_EXTERNAL - 1) {
      PyErr_SetString(PyExc_OverflowError, "cannot freeze more than 2**31 objects in one call");
      return -1;
    }
    if (pm_grow((void **)&p->nodes, &p->room_nodes, p->n_nodes, sizeof *p->nodes) < 0)
      return -1;
    *edge = (uint32_t)p->n_nodes;
    pm_node *node = &p->nodes[p->n_nodes++];
    *node = (pm_node){.src = op, .where = (uint64_t)kind << PM_NODE_KIND_SHIFT};
    if (born == PM_BORN_HERE)
      node->where |= PM_NODE_BORN;
    if (kind < PM_KIND_RANGE) /* containers follow when they are expanded */
      node->where |= pm_align(pm_scalar_size(node));
  }
  if (!is_key)
    p->nodes[*edge].where |= PM_NODE_WANTED;
  if (several_owners && pm_map_put(&p->seen, op, *edge) < 0)
    return -1;
  return 1;
}

/* A preview goes on where freeze would stop, and so does the end of an init phase. */
static int find(pm_plan *p, uint32_t parent, size_t position, PyObject *op, int refused,
                uint32_t *edge) {
  if (pm_grow((void **)&p->findings, &p->room_findings, p->n_findings, sizeof *p->findings) < 0)
    return -1;
  p->findings[p->n_findings++] =
      (pm_finding){.op = op, .parent = parent, .position = position, .refused = refused};
  if (!p->preview) /* an init phase ends: it stays as it is, outside */
    return add_kept(p, op, edge) < 0 ? -1 : 1;
  return refused && add_external(p, Py_None, edge) < 0 ? -1 : 1;
}

/* What stands for an object hashes as it likes. */
static int is_replaced(PyObject *op) {
  const pm_class *c = pm_kind_of(Py_TYPE(op)) >= 0 ? NULL : pm_class_of(Py_TYPE(op));
  return c != NULL && c->kind == PM_CLASS_REPLACED;
}

static int may_be_hashed(const pm_plan *p, uint32_t parent, int is_key) {
  int kind = pm_node_kind(&p->nodes[parent]);
  return is_key || kind == PM_KIND_TUPLE || kind == PM_KIND_SET || kind == PM_KIND_FROZENSET ||
         kind == PM_KIND_INSTANCE;
}

int pm_discover_child(pm_plan *p, uint32_t parent, size_t position, PyObject *op, size_t luck_slot,
                      int is_key) {
  uint32_t edge;
  Py_ssize_t kept = PyList_GET_SIZE(p->keep);
  int known = edge_of(p, op, luck_slot, is_key, &edge);
  if (p->wanted == op)
    known = find(p, parent, position, op, 1, &edge);
  else if (p->preview && (known == 0 || (known > 0 && PyList_GET_SIZE(p->keep) > kept)))
    known = find(p, parent, position, op, known == 0, &edge);
  else if (known == 0 && p->session->settling != NULL)
    known = find(p, parent, position, op, 1, &edge);
  if (known == 0)
    pm_refuse(p, parent, position, op);
  else if (known > 0 && may_be_hashed(p, parent, is_key)) {
    /* Instances may hash by their address, or by whatever their class says. */
    p->merged |= is_replaced(op);
    p->rehash |= p->merged ||
                 (!(edge & PM_EDGE_EXTERNAL) && pm_node_kind(&p->nodes[edge]) == PM_KIND_INSTANCE);
  }
  return known <= 0 ? -1 : pm_push_edge(p, edge);
}

/* Source graphs are scattered over the heap, and waiting for memory is most of
 * what discovery costs. So ask early for what will be looked at: a container's
 * header, then what it points to, then the children's headers. */
static void prefetch_ahead(const pm_plan *p, size_t i) {
  static const size_t header = 24, table = 16, children = 8;
  if (i + header < p->n_nodes && pm_node_kind(&p->nodes[i + header]) >= PM_KIND_RANGE)
    __builtin_prefetch(p->nodes[i + header].src);
  for (int step = 0; step < 2; step++) {
    size_t at = i + (step == 0 ? table : children);
    if (at >= p->n_nodes)
      continue;
    PyObject *src = p->nodes[at].src;
    int kind = pm_node_kind(&p->nodes[at]);
    if (kind == PM_KIND_LIST && Py_SIZE(src) > 0) {
      PyObject **items = ((PyListObject *)src)->ob_item;
      if (step == 0)
        __builtin_prefetch(items);
      else
        for (Py_ssize_t k = 0; k < Py_SIZE(src) && k < 8; k++)
          __builtin_prefetch(items[k]);
    } else if (kind == PM_KIND_DICT && !pm_dict_is_split(src)) {
      pm_keys *keys = pm_dict_keys(src);
      if (step == 0) {
        __builtin_prefetch(keys);
        __builtin_prefetch((char *)keys + 64);
        __builtin_prefetch((char *)keys + 128);
      } else if (keys->kind == PM_KEYS_UNICODE) {
        const pm_unicode_entry *e = pm_keys_entries(keys);
        for (Py_ssize_t k = 0; k < keys->nentries && k < 16; k++)
          __builtin_prefetch(e[k].value);
      }
    }
  }
}

static int discover_items(pm_plan *p, uint32_t node, PyObject **items, size_t n, int kind) {
  for (size_t i = 0; i < n && i < 8; i++)
    __builtin_prefetch(items[i]);
  for (size_t i = 0; i < n && i < 4; i++)
    pm_equal_prefetch(p, items[i]);
  for (size_t i = 0; i < n; i++) {
    if (i + 8 < n)
      __builtin_prefetch(items[i + 8]);
    if (i + 4 < n)
      pm_equal_prefetch(p, items[i + 4]);
    if (pm_discover_child(p, node, i, items[i], (size_t)PM_LUCK_KEYS + (size_t)kind, 0) < 0)
      return -1;
  }
  return 0;
}

static int discover_dict(pm_plan *p, uint32_t node, PyObject *dict) {
  if (pm_grow((void **)&p->dicts, &p->room_dicts, p->n_dicts, sizeof *p->dicts) < 0)
    return -1;
  p->dicts[p->n_dicts++] = (pm_dict){.node = node, .shape = PM_NO_SHAPE, .edges = p->n_edges};
  Py_ssize_t pos = 0;
  PyObject *key, *value;
  Py_hash_t hash;
  /* The keys of records repeat for certain; those of a large table seldom. */
  size_t key_luck = PyDict_GET_SIZE(dict) <= PM_SHARED_KEYS_MAX ? PM_LUCK_SLOTS : PM_LUCK_SLOTS - 1;
  if (!pm_dict_is_split(dict) && pm_dict_keys(dict)->kind == PM_KEYS_UNICODE) {
    const pm_unicode_entry *e = pm_keys_entries(pm_dict_keys(dict));
    for (Py_ssize_t k = 0; k < pm_dict_keys(dict)->nentries && k < PM_SHARED_KEYS_MAX; k++)
      if (e[k].value != NULL)
        pm_equal_prefetch(p, e[k].value);
  }
  for (size_t i = 0; pm_dict_next(dict, &pos, &key, &value, &hash); i += 2) {
    if (pm_discover_child(p, node, i, key, key_luck, 1) < 0)
      return -1;
    size_t value_luck = p->edges[p->n_edges - 1] % PM_LUCK_KEYS;
    if (pm_discover_child(p, node, i + 1, value, value_luck, 0) < 0)
      return -1;
  }
  return 0;
}

static int discover_set(pm_plan *p, uint32_t node, PyObject *set, int kind) {
  PySetObject *so = (PySetObject *)set;
  size_t found = 0;
  for (Py_ssize_t i = 0; i <= so->mask; i++) {
    if (pm_set_entry_live(&so->table[i]) &&
        pm_discover_child(p, node, found++, so->table[i].key, (size_t)PM_LUCK_KEYS + (size_t)kind,
                          0) < 0)
      return -1;
  }
  return 0;
}

/* The container's children; -1 with an exception. */
static int expand(pm_plan *p, uint32_t i) {
  PyObject *src = p->nodes[i].src;
  int kind = pm_node_kind(&p->nodes[i]);
  switch (kind) {
  case PM_KIND_LIST:
    return discover_items(p, i, ((PyListObject *)src)->ob_item, (size_t)Py_SIZE(src), kind);
  case PM_KIND_TUPLE:
    return discover_items(p, i, ((PyTupleObject *)src)->ob_item, (size_t)Py_SIZE(src), kind);
  case PM_KIND_RANGE:
    return discover_items(p, i, &((pm_range *)src)->start, 4, kind);
  case PM_KIND_DICT:
    return discover_dict(p, i, src);
  case PM_KIND_SET:
  case PM_KIND_FROZENSET:
    return discover_set(p, i, src, kind);
  case PM_KIND_PROXY:
    return discover_items(p, i, &((pm_proxy *)src)->mapping, 1, kind);
  case PM_KIND_TIME: {
    PyObject **zone = pm_time_zone(src);
    p->zoned |= zone != NULL;
    return zone == NULL ? 0 : discover_items(p, i, zone, 1, kind);
  }
  case PM_KIND_INSTANCE:
    return pm_discover_instance(p, i, pm_instance_class(src));
  default:
    return 0;
  }
}

/* When something must be resolved there is no use in looking much further. But a little: one
 * round should find more than one class. */
#define LOOK_ON 4096

int pm_discover(pm_plan *p, PyObject *root, uint32_t *root_edge) {
  int known = edge_of(p, root, PM_LUCK_SLOTS, 0, root_edge);
  /* What would stay outside altogether: a class, an Enum member. None and the like may. */
  if (known > 0 && PyList_GET_SIZE(p->keep) > 0)
    known = 0;
  if (known == 0 && p->preview)
    known = find(p, UINT32_MAX, 0, root, 1, root_edge);
  if (known == 0)
    pm_refuse(p, UINT32_MAX, 0, root);
  if (known <= 0)
    return -1;
  PyObject *stopped_at =
      p->again ? root : NULL; /* the first that something is to be resolved for */
  for (size_t i = 0; i < p->n_nodes && !(p->again && i > LOOK_ON && !p->wanted); i++) {
    int kind = pm_node_kind(&p->nodes[i]);
    prefetch_ahead(p, i);
    if (expand(p, (uint32_t)i) < 0)
      return -1;
    if (p->again && stopped_at == NULL)
      stopped_at = p->nodes[i].src;
    if (p->again || kind < PM_KIND_RANGE ||
        kind == PM_KIND_DICT) /* a dict's depends on its shape */
      continue;
    size_t size = kind == PM_KIND_INSTANCE ? pm_instance_size(p, &p->insts[p->n_insts - 1])
                                           : pm_container_size(&p->nodes[i], NULL, p);
    p->nodes[i].where |= pm_align(size);
  }
  return stopped_at != NULL && !p->wanted ? pm_scout(p, stopped_at) : 0;
}

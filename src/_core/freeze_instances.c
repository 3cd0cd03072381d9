/* freeze_instances: objects of Python classes.
 *
 *   | preheader | header, slots ... | values | built-in part | GC head | its __dict__ |
 *                                        ^                                   |
 *                                        +-----------------------------------+
 *
 *   on 3.12:      | header, slots ... | built-in part | values | GC head | its __dict__ |
 *
 * The block has the layout of an ordinary instance of the class (see
 * cpython_instance.h), so that the interpreter's specialised instructions read it
 * as fast; and behind it the __dict__ object, a FrozenDict that shares the class's
 * key table and the values, so that nothing has to be made and written when
 * somebody asks for it. The twin's own descriptor finds it there (get_dict() in
 * frozen_instance.c); the interpreter finds it only where the __dict__ word leads to
 * it. The built-in part is the table or the items of what extends dict or list.
 *
 * An instance with more attributes than a shared key table may have, or with
 * names that are no strs, has a FrozenDict of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"
#include "frozen_types.h"

/* ---- pass 1 -------------------------------------------------------------- */

/* Takes note that the class wants a twin that knows these attributes. */
static int note(pm_plan *p, pm_class *c) {
  pm_session *s = p->session;
  p->again = 1;
  if (c->noted)
    return 0;
  if (pm_grow((void **)&s->classes, &s->room_classes, s->n_classes, sizeof *s->classes) < 0)
    return -1;
  s->classes[s->n_classes++] = c;
  pm_class_note(c);
  return 0;
}

/* The next attribute that is taken along: 1, or 0 at the end. */
static int next_attribute(const pm_class *c, pm_attributes *a, PyObject **name, PyObject **value) {
  while (pm_attributes_next(a, name, value))
    if (c->omit == NULL || !PyUnicode_CheckExact(*name) || !PySet_Contains(c->omit, *name))
      return 1;
  return 0;
}

/* A dict without what is left out, alive as long as the session. */
static PyObject *without_omitted(pm_plan *p, const pm_class *c, PyObject *dict) {
  pm_session *s = p->session;
  uint32_t *at;
  int is_new = c->omit == NULL ? 0 : pm_map_enter(&s->replacement, dict, &at);
  if (c->omit == NULL || is_new < 0)
    return is_new < 0 ? NULL : dict;
  if (!is_new)
    return PyList_GET_ITEM(s->replaced, (Py_ssize_t)*at);
  if (s->replaced == NULL && (s->replaced = PyList_New(0)) == NULL)
    return NULL;
  *at = (uint32_t)PyList_GET_SIZE(s->replaced) + 1;
  PyObject *less = PyDict_New(), *name, *value;
  pm_attributes a = {.dict = dict};
  int bad =
      less == NULL || PyList_Append(s->replaced, dict) < 0 || PyList_Append(s->replaced, less) < 0;
  while (!bad && next_attribute(c, &a, &name, &value))
    bad = PyDict_SetItem(less, name, value);
  Py_XDECREF(less); /* the list has it */
  return bad ? NULL : less;
}

/* Rounds in which instances of one class may bring attributes that no other has. */
#define PATIENCE 4

/* Whether the instance's attributes are, or can be, in values of its own: 1; 0: they need a dict
 * of their own; -1: exception. Where a name is missing, takes note of it. */
static int fits(pm_plan *p, pm_class *c, PyObject *src) {
  pm_attributes a;
  PyObject *name, *value;
  size_t i = 0;
  pm_attributes_of(src, &a);
  /* What else leads to its __dict__ may do so in this graph: then they stay one, and what is in it
   * must not be gone through twice. The same where a dict is its own __dict__. */
  if (a.dict != NULL && !pm_has_one_owner(a.dict))
    return 0;
  if (!c->inlined || (a.dict != NULL && PyDict_GET_SIZE(a.dict) > PM_SHARED_KEYS_MAX))
    return 0;
  while (next_attribute(c, &a, &name, &value))
    if (!PyUnicode_CheckExact(name))
      return 0;
  pm_attributes_of(src, &a);
  for (; next_attribute(c, &a, &name, &value); i++) {
    if (pm_class_name(c, name, i) >= 0)
      continue;
    /* Instances that have a dict may keep one; those that have none come first. */
    if (a.dict != NULL && p->session->rounds > PATIENCE)
      return 0;
    if (note(p, c) < 0)
      return -1;
    if (!pm_class_want(c, name) && a.dict != NULL)
      return 0;
  }
  return 1;
}

int pm_note_instance(pm_plan *p, pm_class *c, PyObject *src) {
  if (c->twin == NULL && note(p, c) < 0)
    return -1;
  return c->has_dict && fits(p, c, src) < 0 ? -1 : 0;
}

static int push_values(pm_plan *p, const pm_inst *inst, PyObject *src) {
  pm_attributes a;
  PyObject *name, *value;
  size_t first = p->n_edges, n = inst->class->n_names;
  for (size_t i = 0; i < n; i++)
    if (pm_push_edge(p, PM_EDGE_NONE) < 0)
      return -1;
  pm_attributes_of(src, &a);
  for (size_t i = 0; next_attribute(inst->class, &a, &name, &value); i++) {
    Py_ssize_t number = pm_class_name(inst->class, name, i);
    if (pm_discover_child(p, inst->node, PM_ATTRIBUTE + i, value,
                          (size_t)PM_LUCK_KEYS + PM_KIND_INSTANCE, 0) < 0)
      return -1;
    if (number >= 0) /* else: it is noted, and all begins anew */
      p->edges[first + (size_t)number] = p->edges[p->n_edges - 1];
    p->n_edges--;
  }
  return 0;
}

static int push_built_in(pm_plan *p, const pm_inst *inst, PyObject *src) {
  const size_t luck = (size_t)PM_LUCK_KEYS + PM_KIND_INSTANCE;
  Py_ssize_t pos = 0;
  PyObject *key, *value;
  Py_hash_t hash;
  size_t position = 0;
  switch (inst->class->base) {
  case PM_KIND_DICT:
    for (; pm_dict_next(src, &pos, &key, &value, &hash); position += 2)
      /* Not as keys of a dict: those wait to learn whether their table is shared. */
      if (pm_discover_child(p, inst->node, position, key, luck, 0) < 0 ||
          pm_discover_child(p, inst->node, position + 1, value, luck, 0) < 0)
        return -1;
    return 0;
  case PM_KIND_LIST:
  case PM_KIND_TUPLE:
    for (Py_ssize_t i = 0; i < Py_SIZE(src); i++)
      if (pm_discover_child(p, inst->node, (size_t)i,
                            inst->class->base == PM_KIND_LIST ? PyList_GET_ITEM(src, i)
                                                              : PyTuple_GET_ITEM(src, i),
                            luck, 0) < 0)
        return -1;
    return 0;
  default:
    return 0;
  }
}

int pm_discover_instance(pm_plan *p, uint32_t node, pm_class *c) {
  PyObject *src = p->nodes[node].src;
  const size_t luck = (size_t)PM_LUCK_KEYS + PM_KIND_INSTANCE;
  if (pm_grow((void **)&p->insts, &p->room_insts, p->n_insts, sizeof *p->insts) < 0)
    return -1;
  pm_inst inst = {.node = node, .class = c, .edges = p->n_edges};
  size_t number = p->n_insts++;
  p->insts[number] = inst;
  if (c->twin == NULL && note(p, c) < 0)
    return -1;
  int inlined = c->has_dict ? fits(p, c, src) : 0;
  if (inlined < 0 || push_built_in(p, &inst, src) < 0)
    return -1;
  inst.own_dict = c->has_dict && !inlined;
  for (size_t i = 0; i < c->n_slots; i++) {
    PyObject *value = *(PyObject **)(void *)((char *)src + c->slots[i]);
    if (value == NULL ? pm_push_edge(p, PM_EDGE_NONE) < 0
                      : pm_discover_child(p, node, p->n_edges - inst.edges, value, luck, 0) < 0)
      return -1;
  }
  if (inst.own_dict) {
    PyObject *dict = pm_attributes_dict(src);
    if (dict != NULL && (dict = without_omitted(p, c, dict)) == NULL)
      return -1;
    if (dict == NULL ? pm_push_edge(p, PM_EDGE_NONE) < 0
                     : pm_discover_child(p, node, p->n_edges - inst.edges, dict, luck, 0) < 0)
      return -1;
  } else if (c->has_dict && push_values(p, &inst, src) < 0) {
    return -1;
  }
  inst.n_edges = (uint32_t)(p->n_edges - inst.edges);
  p->insts[number] = inst;
  return 0;
}

const pm_inst *pm_inst_of(const pm_plan *p, size_t node) {
  size_t low = 0, high = p->n_insts;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (p->insts[middle].node < node)
      low = middle + 1;
    else
      high = middle;
  }
  return &p->insts[low];
}

/* ---- passes 2 and 3 -------------------------------------------------------- */

/* Where the parts of the block are, from the object's start. */
typedef struct {
  size_t values, built_in, dict, end;
} parts;

static size_t built_in_bytes(const pm_plan *p, const pm_inst *inst) {
  PyObject *src = p->nodes[inst->node].src;
  if (inst->class->base == PM_KIND_LIST && Py_SIZE(src) > 0)
    return ((size_t)Py_SIZE(src) + 1) * sizeof(PyObject *);
  if (inst->class->base == PM_KIND_DICT && PyDict_GET_SIZE(src) > 0) {
    size_t n = (size_t)PyDict_GET_SIZE(src);
    return pm_keys_size(n, pm_keys_are_strs(p, &p->edges[inst->edges], n));
  }
  return 0;
}

/* The __dict__ comes last: a report takes what lies behind an object's start for its own. */
static parts lay_out(const pm_class *c, size_t items, size_t n_names, size_t built_in,
                     int with_dict) {
  parts at = {.end = (size_t)c->type->tp_basicsize};
  if (c->base == PM_KIND_TUPLE)
    at.end += items * sizeof(PyObject *);
  size_t values = c->inlined ? pm_attribute_bytes(n_names) : 0;
  at.values = at.end + (PM_SHARED_KEYS ? 0 : built_in);
  at.built_in = at.end + (PM_SHARED_KEYS ? values : 0);
  at.end += values + built_in;
  if (with_dict) {
    at.dict = at.end + PM_GC_HEAD;
    at.end = at.dict + sizeof(PyDictObject);
  }
  return at;
}

static parts parts_of(const pm_plan *p, const pm_inst *inst) {
  const pm_class *c = inst->class;
  PyObject *src = p->nodes[inst->node].src;
  int with_dict =
      c->has_dict && (c->inlined || p->edges[inst->edges + inst->n_edges - 1] == PM_EDGE_NONE);
  size_t items = c->base == PM_KIND_TUPLE ? (size_t)Py_SIZE(src) : 0;
  return lay_out(c, items, c->n_names, built_in_bytes(p, inst), with_dict);
}

size_t pm_instance_size(const pm_plan *p, const pm_inst *inst) { return parts_of(p, inst).end; }

/* The attributes, in values of the instance's own and in the __dict__ that shows them. */
static void emit_values(const pm_plan *p, const pm_inst *inst, const uint32_t *edges, PyObject *to,
                        const parts *at) {
  const pm_class *c = inst->class;
  PyObject *values[PM_SHARED_KEYS_MAX], *name, *value;
  uint8_t order[PM_SHARED_KEYS_MAX];
  size_t used = 0;
  pm_attributes a;
  for (size_t i = 0; i < c->n_names; i++)
    values[i] = pm_target(p, edges[i]);
  pm_attributes_of(p->nodes[inst->node].src, &a);
  while (next_attribute(c, &a, &name, &value)) {
    order[used] = (uint8_t)pm_class_name(c, name, used);
    used++;
  }
  void *block = pm_attributes_init((char *)to + at->values, c->n_names, values, order, used);
  PyObject *dict = (PyObject *)(void *)((char *)to + at->dict);
  pm_dict_init(dict, &PmFrozenDict_Type, (Py_ssize_t)used, c->keys, block);
  pmalloc_region_mark(p->region, dict);
  pm_managed_init(to, dict, block, c->linked);
}

/* A __dict__ of its own: a node like any, or an empty one for an instance that had none. */
static void emit_own_dict(const pm_plan *p, const pm_inst *inst, uint32_t edge, PyObject *to,
                          const parts *at) {
  PyObject *dict = pm_target(p, edge);
  if (dict == NULL) {
    dict = (PyObject *)(void *)((char *)to + at->dict);
    pm_dict_init(dict, &PmFrozenDict_Type, 0, pm_empty_keys(), NULL);
    pmalloc_region_mark(p->region, dict);
  }
  if (PyType_HasFeature(inst->class->type, Py_TPFLAGS_MANAGED_DICT))
    pm_managed_init(to, dict, NULL, 1);
  else
    *(PyObject **)(void *)((char *)to + inst->class->type->tp_dictoffset) = dict;
}

static void emit_built_in(const pm_plan *p, const pm_inst *inst, const uint32_t *edges,
                          PyObject *to, const parts *at) {
  PyObject *src = p->nodes[inst->node].src;
  PyTypeObject *twin = inst->class->twin;
  Py_ssize_t n;
  switch (inst->class->base) {
  case PM_KIND_DICT: {
    pm_keys *keys = pm_empty_keys();
    n = PyDict_GET_SIZE(src);
    if (n > 0) {
      keys = (pm_keys *)(void *)((char *)to + at->built_in);
      pm_emit_keys(p, src, edges, keys);
    }
    pm_dict_init(to, twin, n, keys, NULL);
    return;
  }
  case PM_KIND_LIST: {
    PyListObject *list = (PyListObject *)to;
    n = Py_SIZE(src);
    ((PyVarObject *)to)->ob_size = n;
    list->ob_item = n ? (PyObject **)(void *)((char *)to + at->built_in) : NULL;
    list->allocated = n ? n + 1 : 0;
    for (Py_ssize_t i = 0; i < n; i++)
      list->ob_item[i] = pm_target(p, edges[i]);
    return;
  }
  case PM_KIND_TUPLE:
    n = Py_SIZE(src);
    ((PyVarObject *)to)->ob_size = n;
#if PM_TUPLE_HASH
    ((PyTupleObject *)to)->ob_hash = -1; /* pm_finish_hashes() */
#endif
    for (Py_ssize_t i = 0; i < n; i++)
      ((PyTupleObject *)to)->ob_item[i] = pm_target(p, edges[i]);
    return;
  default:
    return;
  }
}

int pm_emit_instance(pm_plan *p, const pm_inst *inst, const uint32_t *edges, PyObject *to) {
  const pm_class *c = inst->class;
  parts at = parts_of(p, inst);
  pm_immortal_header(to, c->twin);
  emit_built_in(p, inst, edges, to, &at);
  edges += inst->n_edges - c->n_slots - (!c->has_dict ? 0 : inst->own_dict ? 1 : c->n_names);
  for (size_t i = 0; i < c->n_slots; i++)
    *(PyObject **)(void *)((char *)to + c->slots[i]) = pm_target(p, *edges++);
  if (c->has_dict && inst->own_dict)
    emit_own_dict(p, inst, *edges, to, &at);
  else if (c->has_dict)
    emit_values(p, inst, edges, to, &at);
  if (c->twin->tp_weaklistoffset == 0)
    return 0;
  /* A class that keeps its own type takes weak references; see emit_set(). */
  PyObject *weak = PyWeakref_NewRef(to, NULL);
  if (weak == NULL)
    return -1;
  if (PyObject_GC_IsTracked(weak))
    PyObject_GC_UnTrack(weak);
  int bad = PyList_Append(p->weakrefs, weak);
  Py_DECREF(weak);
  return bad;
}

/* ---- back ------------------------------------------------------------------ */

pm_class *pm_instance_class(PyObject *op) {
  pm_class *c = pm_class_of_twin(Py_TYPE(op));
  return c != NULL ? c : pm_class_of(Py_TYPE(op));
}

/* Bytes of the built-in part of a frozen instance. */
static size_t frozen_built_in_bytes(const pm_class *c, PyObject *op) {
  if (c->base == PM_KIND_LIST && Py_SIZE(op) > 0)
    return ((size_t)Py_SIZE(op) + 1) * sizeof(PyObject *);
  if (c->base == PM_KIND_DICT && PyDict_GET_SIZE(op) > 0) {
    const pm_keys *keys = pm_dict_keys(op);
    return pm_keys_size((size_t)keys->nentries, keys->kind == PM_KEYS_UNICODE);
  }
  return 0;
}

PyObject *pm_instance_dict(PyObject *op) {
  PyObject *dict = pm_attributes_dict(op);
  const pm_class *c = dict == NULL ? pm_class_of_twin(Py_TYPE(op)) : NULL;
  if (c == NULL || !c->inlined)
    return dict;
  size_t items = c->base == PM_KIND_TUPLE ? (size_t)Py_SIZE(op) : 0;
  size_t n_names = (size_t)pm_class_keys(Py_TYPE(op))->nentries; /* it may be an older twin */
  return (PyObject *)(void *)((char *)op +
                              lay_out(c, items, n_names, frozen_built_in_bytes(c, op), 1).dict);
}

PyObject *pm_instance_new(PyObject *src) {
  const pm_class *c = pm_instance_class(src);
  PyTypeObject *type = c->type, *solid = c->solid;
  if (solid == &PyTuple_Type)
    return type->tp_alloc(type, Py_SIZE(src));
  /* What the built-in type itself does to make one: a dict without a table would be none. */
  PyObject *nothing = PyTuple_New(0);
  PyObject *op = nothing == NULL ? NULL : solid->tp_new(type, nothing, NULL);
  Py_XDECREF(nothing);
  return op;
}

int pm_instance_set(PyObject *op, PyObject *name, PyObject *value) {
  PyObject *described = _PyType_Lookup(Py_TYPE(op), name);
  /* A data descriptor of that name would be asked to set it, and may be the user's. */
  if (PyUnicode_CheckExact(name) && (described == NULL || Py_TYPE(described)->tp_descr_set == NULL))
    return PyObject_GenericSetAttr(op, name, value);
  PyObject *dict = PyObject_GenericGetDict(op, NULL);
  int bad = dict == NULL ? -1 : PyDict_SetItem(dict, name, value);
  Py_XDECREF(dict);
  return bad;
}

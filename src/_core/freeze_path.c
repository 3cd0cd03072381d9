/* freeze_path: what to say when something cannot be frozen, and where it is.
 *
 * Nothing about paths is recorded while discovering; only when a culprit is found
 * the edges are walked once more to learn by which edge each node was first met.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"
#include "freeze.h"
#include "frozen_types.h"

/* A path longer than this many steps is shown by its two ends. */
#define SHOWN 16

/* Walks the edges in the order of nodes: where a node is met first is how it was found. Attributes
 * are not in the order in which they were found, so that may be by another of the same instance. */
pm_step *pm_steps(pm_plan *p) {
  pm_step *steps = PyMem_RawMalloc((p->n_nodes + 1) * sizeof *steps);
  if (steps == NULL) {
    PyErr_NoMemory();
    return NULL;
  }
  for (size_t i = 0; i < p->n_nodes; i++)
    steps[i] = (pm_step){UINT32_MAX, 0};
  size_t e = 0;
  for (size_t i = 0; i < p->n_nodes && e < p->n_edges; i++) {
    size_t count = pm_edge_count(p, i);
    for (size_t k = 0; k < count && e < p->n_edges; k++, e++) {
      uint32_t target = p->edges[e];
      if (!(target & PM_EDGE_EXTERNAL) && target != 0 && steps[target].parent == UINT32_MAX)
        steps[target] = (pm_step){(uint32_t)i, (uint32_t)k};
    }
  }
  return steps;
}

/* A key as it is written in the path: only what can be shown without running
 * anybody's code. */
static PyObject *key_text(PyObject *key, size_t number) {
  int kind = pm_kind_of(Py_TYPE(key));
  if ((kind >= 0 && kind <= PM_KIND_BYTES) || key == Py_None || PyBool_Check(key)) {
    PyObject *text = PyObject_Repr(key);
    if (text == NULL || PyUnicode_GET_LENGTH(text) <= 80)
      return text;
    Py_DECREF(text);
  }
  return PyUnicode_FromFormat("<key %zu>", number);
}

static PyObject *dict_text(PyObject *dict, size_t position) {
  if (position % 2 == 0)
    return PyUnicode_FromFormat(".keys()[%zu]", position / 2);
  Py_ssize_t pos = 0;
  PyObject *key = NULL, *value;
  Py_hash_t hash;
  for (size_t i = 0; i <= position / 2; i++)
    if (!pm_dict_next(dict, &pos, &key, &value, &hash))
      return PyUnicode_FromString("[?]");
  PyObject *inner = key_text(key, position / 2);
  PyObject *text = inner == NULL ? NULL : PyUnicode_FromFormat("[%U]", inner);
  Py_XDECREF(inner);
  return text;
}

/* The name of an attribute by its number in the class's keys, or (without a class) among those the
 * instance has. Else it is the whole __dict__. */
static PyObject *attribute_text(PyObject *src, const pm_class *c, size_t number) {
  pm_attributes a;
  PyObject *name, *value;
  pm_attributes_of(src, &a);
  for (size_t i = 0; (c == NULL || c->inlined) && pm_attributes_next(&a, &name, &value); i++)
    if (PyUnicode_CheckExact(name) &&
        (c == NULL ? i == number : pm_class_name(c, name, i) == (Py_ssize_t)number))
      return PyUnicode_FromFormat(".%U", name);
  return PyUnicode_FromString(".__dict__");
}

/* The edges of an instance are its built-in part, its slots, its attributes. While it is being
 * discovered it is not known yet how many there will be. */
static PyObject *instance_text(PyObject *src, size_t position) {
  const pm_class *c = pm_class_of(Py_TYPE(src));
  if (position >= PM_ATTRIBUTE)
    return attribute_text(src, NULL, position - PM_ATTRIBUTE);
  size_t built_in = c->base == PM_KIND_DICT ? 2 * (size_t)PyDict_GET_SIZE(src)
                    : c->base >= 0          ? (size_t)Py_SIZE(src)
                                            : 0;
  if (position < built_in)
    return c->base == PM_KIND_DICT ? dict_text(src, position)
                                   : PyUnicode_FromFormat("[%zu]", position);
  position -= built_in;
  if (position < c->n_slots)
    return PyUnicode_FromFormat(".%s", pm_slot_name(Py_TYPE(src), c->slots[position]));
  position -= c->n_slots;
  return attribute_text(src, c, position);
}

static PyObject *step_text(pm_plan *p, uint32_t parent, size_t position) {
  const pm_node *node = &p->nodes[parent];
  switch (pm_node_kind(node)) {
  case PM_KIND_DICT:
    return dict_text(node->src, position);
  case PM_KIND_INSTANCE:
    return instance_text(node->src, position);
  case PM_KIND_PROXY:
    return PyUnicode_FromString(""); /* reads as what it shows */
  case PM_KIND_TIME:
    return PyUnicode_FromString(".tzinfo");
  case PM_KIND_SET:
  case PM_KIND_FROZENSET:
    return PyUnicode_FromFormat("{%zu}", position);
  case PM_KIND_RANGE: {
    static const char *const names[] = {"start", "stop", "step", "length"};
    return PyUnicode_FromFormat(".%s", names[position & 3]);
  }
  default:
    return PyUnicode_FromFormat("[%zu]", position);
  }
}

PyObject *pm_path(pm_plan *p, const pm_step *steps, uint32_t parent, size_t position) {
  if (parent == UINT32_MAX)
    return PyUnicode_FromString("");
  size_t depth = 1;
  for (uint32_t at = parent; steps[at].parent != UINT32_MAX; at = steps[at].parent)
    depth++;
  PyObject *parts = PyList_New(0);
  pm_step at = {parent, (uint32_t)position};
  for (size_t i = 0; parts != NULL && i < depth; i++, at = steps[at.parent]) {
    if (depth > 2 * SHOWN && i >= SHOWN && i < depth - SHOWN) {
      if (i > SHOWN)
        continue;
    }
    PyObject *part = depth > 2 * SHOWN && i == SHOWN
                         ? PyUnicode_FromFormat("...(%zu levels)...", depth - 2 * SHOWN)
                         : step_text(p, at.parent, at.position);
    if (part == NULL || PyList_Append(parts, part) < 0)
      Py_CLEAR(parts);
    Py_XDECREF(part);
  }
  if (parts == NULL || PyList_Reverse(parts) < 0) {
    Py_XDECREF(parts);
    return NULL;
  }
  PyObject *empty = PyUnicode_FromString("");
  PyObject *text = empty == NULL ? NULL : PyUnicode_Join(empty, parts);
  Py_XDECREF(empty);
  Py_DECREF(parts);
  return text;
}

const char *pm_advice(PyObject *op) {
  const pm_class *c = pm_class_of(Py_TYPE(op));
  const char *said = c != NULL && c->detail != NULL && PyUnicode_Check(c->detail)
                         ? PyUnicode_AsUTF8(c->detail)
                         : NULL;
  if (c != NULL && c->kind == PM_KIND_DECIMAL)
    return "it is a signalling NaN, whose hash cannot be asked for without a store; freeze str(x)";
  return said != NULL ? said
                      : "it stays outside of pools wherever it is met; there is nothing to freeze";
}

static void refuse(pm_plan *p, const pm_step *steps, pm_step at, PyObject *culprit,
                   const char *advice) {
  PyObject *path = pm_path(p, steps, at.parent, at.position);
  if (path != NULL)
    pm_raise_unfreezable(culprit, path, advice);
  Py_XDECREF(path);
}

void pm_refuse(pm_plan *p, uint32_t parent, size_t position, PyObject *culprit) {
  pm_step *steps = pm_steps(p);
  if (steps != NULL)
    refuse(p, steps, (pm_step){parent, (uint32_t)position}, culprit, pm_advice(culprit));
  PyMem_RawFree(steps);
}

void pm_refuse_node(pm_plan *p, uint32_t node, const char *advice) {
  pm_step *steps = pm_steps(p);
  if (steps != NULL)
    refuse(p, steps, steps[node], p->nodes[node].src, advice);
  PyMem_RawFree(steps);
}

/* freeze_classes: see the header.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze_classes.h"

#include "errors.h"
#include "freeze.h"
#include "frozen_types.h"

static pm_map by_type, by_twin; /* type -> index into entries */
static pm_class **entries;
static size_t n_entries, room_entries;
static PyObject *resolver, *twin_maker;

void pm_classes_set_resolver(PyObject *resolve, PyObject *make_twin) {
  Py_XSETREF(resolver, Py_NewRef(resolve));
  Py_XSETREF(twin_maker, Py_NewRef(make_twin));
}

#define FORGOTTEN UINT32_MAX

static pm_class *look_up(const pm_map *map, PyTypeObject *type) {
  uint32_t number;
  return pm_map_get(map, (PyObject *)type, &number) && number != FORGOTTEN ? entries[number] : NULL;
}

pm_class *pm_class_of(PyTypeObject *type) { return look_up(&by_type, type); }

pm_class *pm_class_of_twin(PyTypeObject *type) { return look_up(&by_twin, type); }

static int enter(pm_class *c) {
  if (pm_grow((void **)&entries, &room_entries, n_entries, sizeof *entries) < 0)
    return -1;
  entries[n_entries] = c;
  if (pm_map_put(&by_type, (PyObject *)c->type, (uint32_t)n_entries) < 0)
    return -1;
  n_entries++;
  return 0;
}

void pm_class_forget(PyTypeObject *type) {
  for (size_t i = 0; i < n_entries; i++) {
    uint32_t *number;
    /* The entry itself stays: frozen instances may need it. The key is there, so this allocates
     * nothing. */
    if (PyType_IsSubtype(entries[i]->type, type) &&
        pm_map_enter(&by_type, (PyObject *)entries[i]->type, &number) == 0)
      *number = FORGOTTEN;
  }
}

/* ---- the layout of a class ---------------------------------------------------- */

static int refuse(pm_class *c, const char *why) {
  c->kind = PM_CLASS_REFUSED;
  c->detail = PyUnicode_FromString(why);
  return c->detail == NULL ? -1 : 0;
}

static int base_kind(PyTypeObject *solid) {
  if (solid == &PyDict_Type)
    return PM_KIND_DICT;
  if (solid == &PyList_Type)
    return PM_KIND_LIST;
  if (solid == &PyTuple_Type)
    return PM_KIND_TUPLE;
  return -1;
}

/* `known`: laid out as Python classes are although C code made it, says the resolver. */
static int lay_out(pm_class *c, int known) {
  PyTypeObject *type = c->type, *solid = known ? &PyBaseObject_Type : pm_solid_base(type);
  c->solid = solid;
  if (solid == NULL || !(known || pm_is_python_class(type) || type == solid))
    return refuse(c, "it is built by C code that freeze does not know; register() its type, name "
                     "the type in externals=, or turn the object into plain data first");
  if (pm_slots_of(type, solid, known, &c->slots, &c->n_slots) < 0) {
    if (PyErr_Occurred())
      return -1;
    return refuse(c, "its class mixes __slots__ and a __dict__ or __weakref__ of its own in a way "
                     "freeze does not know; register() its type, or name it in externals=");
  }
  c->base = base_kind(solid);
  c->has_dict = type->tp_dictoffset != 0;
  c->inlined = c->has_dict && PyType_HasFeature(type, PM_INLINE_FLAG);
  c->kind = PM_KIND_INSTANCE;
  /* Nothing but a tuple, and refusing to be written by itself: it keeps its very class. */
  if (c->base == PM_KIND_TUPLE && !c->has_dict && type->tp_weaklistoffset == 0 && c->n_slots == 0) {
    c->kind = PM_KIND_TUPLE;
    c->twin = type;
  }
  return 0;
}

static int omit_slots(pm_class *c) {
  size_t kept = 0;
  for (size_t i = 0; i < c->n_slots; i++) {
    PyObject *name = PyUnicode_FromString(pm_slot_name(c->type, c->slots[i]));
    int omitted = name == NULL ? -1 : c->omit == NULL ? 0 : PySet_Contains(c->omit, name);
    Py_XDECREF(name);
    if (omitted < 0)
      return -1;
    if (!omitted)
      c->slots[kept++] = c->slots[i];
  }
  c->n_slots = kept;
  return 0;
}

static int read_verdict(pm_class *c, const char *verdict, PyObject *detail) {
  static const struct {
    const char *name;
    int kind;
  } simple[] = {{"refuse", PM_CLASS_REFUSED},   {"external", PM_CLASS_EXTERNAL},
                {"replace", PM_CLASS_REPLACED}, {"adopt", PM_CLASS_ADOPTED},
                {"time", PM_KIND_TIME},         {"decimal", PM_KIND_DECIMAL},
                {"dict", PM_KIND_DICT}};
  for (size_t i = 0; i < sizeof simple / sizeof *simple; i++) {
    if (strcmp(verdict, simple[i].name) == 0) {
      c->kind = simple[i].kind;
      c->detail = Py_NewRef(detail);
      return c->kind == PM_KIND_TIME ? pm_time_init() : 0;
    }
  }
  if (detail != Py_None)
    c->omit = Py_NewRef(detail);
  if (lay_out(c, strcmp(verdict, "struct") == 0) < 0 || omit_slots(c) < 0)
    return -1;
  if (strcmp(verdict, "exact") == 0 && c->kind == PM_KIND_INSTANCE)
    c->twin = c->type;
  return 0;
}

int pm_class_resolve(PyObject *type) {
  if (pm_class_of((PyTypeObject *)type) != NULL)
    return 0;
  PyObject *answer = PyObject_CallOneArg(resolver, type);
  if (answer == NULL)
    return -1;
  const char *verdict;
  PyObject *detail;
  int bad = -1;
  pm_class *c = PyMem_RawCalloc(1, sizeof *c);
  if (c == NULL)
    PyErr_NoMemory();
  else if (PyArg_ParseTuple(answer, "sOp", &verdict, &detail, &c->linked)) {
    c->type = (PyTypeObject *)Py_NewRef(type);
    c->base = -1;
    bad = read_verdict(c, verdict, detail);
    if (bad == 0)
      bad = enter(c);
  }
  Py_DECREF(answer);
  if (bad < 0 && c != NULL) {
    Py_XDECREF(c->type);
    Py_XDECREF(c->detail);
    Py_XDECREF(c->omit);
    PyMem_RawFree(c->slots);
    PyMem_RawFree(c);
  }
  return bad;
}

/* ---- twins --------------------------------------------------------------------- */

/* The twin must lie in memory as its original does, but for what is none of a frozen
 * instance's business. */
static int same_layout(PyTypeObject *twin, PyTypeObject *type) {
  unsigned long same = Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_PREHEADER | PM_INLINE_FLAG |
                       Py_TPFLAGS_DICT_SUBCLASS | Py_TPFLAGS_LIST_SUBCLASS |
                       Py_TPFLAGS_TUPLE_SUBCLASS;
  return twin->tp_basicsize == type->tp_basicsize && twin->tp_itemsize == type->tp_itemsize &&
         twin->tp_dictoffset == type->tp_dictoffset &&
         twin->tp_weaklistoffset == type->tp_weaklistoffset &&
         (twin->tp_flags & same) == (type->tp_flags & same);
}

int pm_class_make_twin(pm_class *c) {
  PyObject *twin = PyObject_CallOneArg(twin_maker, (PyObject *)c->type);
  if (twin == NULL)
    return -1;
  PyTypeObject *t = (PyTypeObject *)twin;
  if (!PyType_Check(twin) || !PyType_IsSubtype(t, c->type) || !same_layout(t, c->type)) {
    PyErr_Format(PmError,
                 "cannot freeze %s: a subclass of it is laid out differently in memory; register() "
                 "the type, or name it in externals=",
                 c->type->tp_name);
    Py_DECREF(twin);
    return -1;
  }
  size_t n = c->inlined ? c->n_wanted : 0, number = 0;
  while (entries[number] != c)
    number++;
  for (size_t i = 0; i < n; i++)
    PyUnicode_InternInPlace(&c->wanted[i]); /* as all names of attributes; never fails */
  pm_keys *keys = pm_class_finish(t, c->wanted, n);
  if (c->has_dict && PyType_HasFeature(t, Py_TPFLAGS_MANAGED_DICT) && keys == NULL) {
    Py_DECREF(twin);
    return -1;
  }
  /* From here on the interpreter cannot free the twin: the keys are not of its making. */
  if (pm_map_put(&by_twin, twin, (uint32_t)number) < 0)
    return -1;
  c->twin = t; /* owned for ever: frozen instances have no count of it */
  c->keys = keys;
  c->n_names = n;
  return 0;
}

void pm_class_note(pm_class *c) {
  c->noted = 1;
  c->n_wanted = c->n_inherited = c->n_names;
  for (size_t i = 0; i < c->n_names; i++)
    c->wanted[i] = Py_NewRef(((pm_unicode_entry *)pm_keys_entries(c->keys))[i].key);
}

int pm_class_want(pm_class *c, PyObject *name) {
  for (size_t i = 0; i < c->n_wanted; i++)
    if (c->wanted[i] == name || PyUnicode_Compare(c->wanted[i], name) == 0)
      return 1;
  if (c->n_wanted == PM_SHARED_KEYS_MAX) {
    if (c->n_inherited == 0)
      return 0;
    /* The next twin need not take the instances of the one before. */
    for (size_t i = 0; i < c->n_inherited; i++)
      Py_DECREF(c->wanted[i]);
    c->n_wanted -= c->n_inherited;
    memmove(c->wanted, c->wanted + c->n_inherited, c->n_wanted * sizeof *c->wanted);
    c->n_inherited = 0;
  }
  c->wanted[c->n_wanted++] = Py_NewRef(name);
  return 1;
}

void pm_class_unnote(pm_class *c) {
  for (size_t i = 0; i < c->n_wanted; i++)
    Py_DECREF(c->wanted[i]);
  c->n_wanted = c->n_inherited = 0;
  c->noted = 0;
}

Py_ssize_t pm_class_name(const pm_class *c, PyObject *name, size_t guess) {
  if (c->n_names == 0)
    return -1;
  const pm_unicode_entry *e = pm_keys_entries(c->keys);
  if (guess < c->n_names && e[guess].key == name)
    return (Py_ssize_t)guess;
  for (size_t i = 0; i < c->n_names; i++)
    if (e[i].key == name)
      return (Py_ssize_t)i;
  for (size_t i = 0; i < c->n_names; i++)
    if (PM_STR(e[i].key)->hash == PM_STR(name)->hash && PyUnicode_Compare(e[i].key, name) == 0)
      return (Py_ssize_t)i;
  return -1;
}

/* record_type: the classes of Records, and how one gets into a pool.
 *
 *     class statement --> pmalloc._record: annotations --> record_finish: offsets, descriptors
 *
 *     Switches(limit=7)          an ordinary object of the heap
 *     pool.new(Switches, ...)    makes one, copies its bytes into the pool, with a header that
 *                                nobody counts in; its class is kept alive by the pool
 *
 * A class that has its layout is immutable: no other class's instance can become one of its
 * own by assignment to __class__, whose fields would lie elsewhere.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record.h"

#include "cpython_instance.h"
#include "errors.h"
#include "guards.h"
#include "rare_write_type.h"

#include "../libpmalloc/rare_write.h"

#define FIELD_MAX ((Py_ssize_t)1 << 20)   /* bytes of one */
#define RECORD_MAX ((Py_ssize_t)16 << 20) /* and of all */
#define HEAD ((Py_ssize_t)offsetof(pm_record, fields))

/* ---- instances ----------------------------------------------------------------- */

PyObject *pm_record_new(PyTypeObject *type) {
  const pm_record_class *layout = (pm_record_class *)type;
  PyObject *op = type->tp_alloc(type, layout->size);
  if (op != NULL)
    memcpy(((pm_record *)op)->fields, layout->initial, (size_t)layout->size);
  return op;
}

static PyObject *new_(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  (void)args; /* __init__ takes them */
  (void)kwargs;
  if (!PyObject_TypeCheck((PyObject *)type, &PmRecordClass_Type) ||
      ((pm_record_class *)type)->initial == NULL)
    return PyErr_Format(PyExc_TypeError, "%s has no fields; derive a class from pmalloc.Record",
                        type->tp_name);
  return pm_record_new(type);
}

static int init(PyObject *op, PyObject *args, PyObject *kwargs) {
  PyObject *name, *value;
  Py_ssize_t at = 0;
  if (PyTuple_GET_SIZE(args) > 0) {
    PyErr_Format(PyExc_TypeError, "%s() takes its fields by name only", Py_TYPE(op)->tp_name);
    return -1;
  }
  while (kwargs != NULL && PyDict_Next(kwargs, &at, &name, &value)) {
    PyObject *field = PyObject_GetAttr((PyObject *)Py_TYPE(op), name);
    int known = field != NULL && Py_IS_TYPE(field, &PmField_Type);
    Py_XDECREF(field);
    if (!known) {
      PyErr_Format(PyExc_TypeError, "%s has no field '%U'", Py_TYPE(op)->tp_name, name);
      return -1;
    }
    if (PyObject_SetAttr(op, name, value) < 0)
      return -1;
  }
  return 0;
}

PyObject *pm_record_snapshot(PyObject *op) {
  PyObject *copy = pm_record_new(Py_TYPE(op));
  struct pmalloc_refusal refusal;
  char *to = copy == NULL ? NULL : ((pm_record *)copy)->fields;
  const char *from = ((pm_record *)op)->fields;
  size_t n = (size_t)pm_record_size(op);
  if (copy == NULL || n == 0)
    return copy;
  if (!pmalloc_registry_owns((uintptr_t)op)) {
    memcpy(to, from, n);
    return copy;
  }
  enum pmalloc_status status = pmalloc_rare_read(to, from, n, &refusal);
  if (status == PMALLOC_ERR_NOT_RARE) /* nothing writes it, so nothing comes in between */
    memcpy(to, from, n);
  else if (status != PMALLOC_OK) {
    Py_DECREF(copy);
    return pm_raise_refusal(&refusal, "record");
  }
  return copy;
}

static PyObject *snapshot(PyObject *op, PyObject *unused) {
  (void)unused;
  if (!pm_record_check(op))
    return PyErr_Format(PyExc_TypeError, "%s has no fields", Py_TYPE(op)->tp_name);
  return pm_record_snapshot(op);
}

static PyMethodDef methods[] = {
    {"snapshot", snapshot, METH_NOARGS,
     "snapshot($self, /)\n--\n\nAn ordinary copy with all fields of one moment."},
    {NULL, NULL, 0, NULL}};

PyTypeObject PmRecord_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc._core.Record",
    .tp_doc = PyDoc_STR("What pmalloc.Record is derived from."),
    .tp_basicsize = offsetof(pm_record, fields),
    .tp_itemsize = 1,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = new_,
    .tp_init = init,
    .tp_methods = methods,
};

/* ---- classes --------------------------------------------------------------------- */

static void class_dealloc(PyObject *op) {
  PyMem_RawFree(((pm_record_class *)op)->initial);
  PyMem_RawFree(((pm_record_class *)op)->places);
  PyType_Type.tp_dealloc(op);
}

PyTypeObject PmRecordClass_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc._core.RecordClass",
    .tp_doc = PyDoc_STR("What the classes of Records are instances of."),
    .tp_base = &PyType_Type,
    .tp_basicsize = sizeof(pm_record_class),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_dealloc = class_dealloc,
};

/* The class whose fields are the first ones; NULL with an exception where two bases say different
 * things. */
static const pm_record_class *base_of(PyTypeObject *type) {
  const pm_record_class *found = NULL;
  PyObject *mro = type->tp_mro;
  for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(mro); i++) {
    PyObject *base = PyTuple_GET_ITEM(mro, i);
    const pm_record_class *layout = (pm_record_class *)base;
    if (!PyObject_TypeCheck(base, &PmRecordClass_Type))
      continue;
    if (found == NULL || (PyType_IsSubtype((PyTypeObject *)base, (PyTypeObject *)found)))
      found = layout;
    else if (layout->size > 0 && !PyType_IsSubtype((PyTypeObject *)found, (PyTypeObject *)base)) {
      PyErr_Format(PyExc_TypeError,
                   "%s cannot have the fields of both %s and %s: neither is derived from the other",
                   type->tp_name, ((PyTypeObject *)found)->tp_name,
                   ((PyTypeObject *)base)->tp_name);
      return NULL;
    }
  }
  return found == NULL ? (pm_record_class *)type : found; /* pmalloc.Record itself has no base */
}

static int is_plain(PyTypeObject *type) {
  unsigned long more = Py_TPFLAGS_MANAGED_DICT | Py_TPFLAGS_MANAGED_WEAKREF;
  if (PyType_IsSubtype(type, &PmRecord_Type) && !(type->tp_flags & more) &&
      type->tp_basicsize == HEAD && type->tp_dictoffset == 0 && type->tp_weaklistoffset == 0)
    return 1;
  PyErr_Format(PyExc_TypeError,
               "%s cannot be a Record: a base class of it adds storage of its own; give that "
               "__slots__ = ()",
               type->tp_name);
  return 0;
}

/* One field, behind the `size` bytes of those before it: how many it is then; -1. */
static Py_ssize_t add_field(PyTypeObject *type, char **initial, Py_ssize_t size, PyObject *given) {
  PyObject *name, *initially;
  const char *kind_name;
  Py_ssize_t width = 0;
  if (!PyArg_ParseTuple(given, "UsnO", &name, &kind_name, &width, &initially))
    return -1;
  int kind = pm_field_kind_named(kind_name, &width);
  if (kind < 0 || width < 1 || width > FIELD_MAX || size > RECORD_MAX) {
    PyErr_Format(PyExc_ValueError, "%s.%U: '%s' of %zd bytes is no field", type->tp_name, name,
                 kind_name, width);
    return -1;
  }
  Py_ssize_t align = kind >= PM_FIELD_BYTES ? 1 : width;
  Py_ssize_t at = (size + align - 1) & -align, end = at + width;
  char *longer = PyMem_RawRealloc(*initial, (size_t)end + 8);
  if (longer == NULL) {
    PyErr_NoMemory();
    return -1;
  }
  *initial = longer;
  memset(longer + size, 0, (size_t)(end + 8 - size));
  PyObject *field = pm_field_new(type, name, (enum pm_field_kind)kind, HEAD + at, width);
  int bad = field == NULL || PyObject_SetAttr((PyObject *)type, name, field) < 0 ||
            (initially != Py_Ellipsis && pm_field_store((pm_field *)field, longer, initially) < 0);
  Py_XDECREF(field);
  return bad ? -1 : end;
}

/* What fields of base classes are at first. */
static int change_initial(PyTypeObject *type, char *initial, PyObject *changes) {
  PyObject *name, *value;
  Py_ssize_t at = 0;
  while (PyDict_Next(changes, &at, &name, &value)) {
    PyObject *field = PyObject_GetAttr((PyObject *)type, name);
    int bad = field == NULL || !Py_IS_TYPE(field, &PmField_Type) ||
              pm_field_store((pm_field *)field, initial, value) < 0;
    Py_XDECREF(field);
    if (bad)
      return -1;
  }
  return 0;
}

/* The fields of the base class and those that were just added. */
static int list_places(pm_record_class *layout, const pm_record_class *base, PyObject *fields) {
  size_t own = (size_t)PyTuple_GET_SIZE(fields);
  pm_field_place *place = PyMem_RawCalloc(base->n_places + own + 1, sizeof *place);
  if ((layout->places = place) == NULL) {
    PyErr_NoMemory();
    return -1;
  }
  if (base->n_places > 0)
    memcpy(place, base->places, base->n_places * sizeof *place);
  layout->n_places = base->n_places;
  for (size_t i = 0; i < own; i++) {
    PyObject *name = PyTuple_GET_ITEM(PyTuple_GET_ITEM(fields, (Py_ssize_t)i), 0);
    PyObject *found = PyObject_GetAttr((PyObject *)layout, name);
    const char *text = found == NULL ? NULL : PyUnicode_AsUTF8(name);
    Py_XDECREF(found); /* the class has it */
    if (text == NULL)
      return -1;
    const pm_field *f = (pm_field *)found;
    place = &layout->places[layout->n_places++];
    place->offset = (uint32_t)f->offset;
    place->size = (uint32_t)f->size;
    strncpy(place->name, text, sizeof place->name - 1);
  }
  return 0;
}

PyObject *pm_record_finish(PyObject *module, PyObject *args) {
  PyTypeObject *type;
  PyObject *fields, *changes;
  (void)module;
  if (!PyArg_ParseTuple(args, "O!O!O!", &PmRecordClass_Type, &type, &PyTuple_Type, &fields,
                        &PyDict_Type, &changes))
    return NULL;
  pm_record_class *layout = (pm_record_class *)type;
  const pm_record_class *base = base_of(type);
  if (layout->initial != NULL || base == NULL || !is_plain(type))
    return base == NULL || PyErr_Occurred()
               ? NULL
               : PyErr_Format(PyExc_TypeError, "%s has its fields already", type->tp_name);
  Py_ssize_t size = base->size;
  char *initial = PyMem_RawCalloc(1, (size_t)size + 8);
  if (initial == NULL)
    return PyErr_NoMemory();
  if (base->initial != NULL)
    memcpy(initial, base->initial, (size_t)size);
  for (Py_ssize_t i = 0; size >= 0 && i < PyTuple_GET_SIZE(fields); i++)
    size = add_field(type, &initial, size, PyTuple_GET_ITEM(fields, i));
  if (size < 0 || change_initial(type, initial, changes) < 0 ||
      list_places(layout, base, fields) < 0) {
    PyMem_RawFree(initial);
    return NULL;
  }
  layout->size = (size + 7) & ~(Py_ssize_t)7;
  layout->initial = initial;
  type->tp_flags |= Py_TPFLAGS_IMMUTABLETYPE;
  Py_RETURN_NONE;
}

/* ---- into a pool ------------------------------------------------------------------- */

/* Somebody has to: the record's header names its class, and counts for nothing. */
static int keep_class(pm_pool *pool, PyTypeObject *type) {
  Py_ssize_t n = PyList_GET_SIZE(pool->keep);
  if (n > 0 && PyList_GET_ITEM(pool->keep, n - 1) == (PyObject *)type)
    return 0;
  return PyList_Append(pool->keep, (PyObject *)type);
}

/* `image`: what lies in front of the object, `before` bytes of zeroes, and the object. */
static PyObject *place(pm_pool *pool, const char *image, size_t before, size_t bytes) {
  const char *name = PyUnicode_AsUTF8(pool->name);
  struct pmalloc_region region;
  struct pmalloc_refusal refusal;
  enum pmalloc_status status = pmalloc_pool_region_at_rest(pool->pool, bytes, &region);
  if (status != PMALLOC_OK)
    return status == PMALLOC_ERR_CORRUPT ? pm_raise_corrupt(pool->pool, "make a record in")
                                         : pm_raise_status(status, "make a record in", name);
  char *object = region.base + before;
  pmalloc_region_mark(&region, object);
  if (pm_is_readonly(object)) { /* zeroed as it is */
    status = pmalloc_rare_copy(object, image + before, bytes - before, &refusal);
    if (status != PMALLOC_OK) {
      pmalloc_region_abandon(pool->pool, &region);
      return pm_raise_refusal(&refusal, "record");
    }
  } else {
    memcpy(region.base, image, bytes);
  }
  pmalloc_region_commit(pool->pool, &region, 1);
  return (PyObject *)object;
}

PyObject *pm_record_place(PyObject *op, PyObject *arg) {
  pm_pool *pool = (pm_pool *)op;
  if (!pm_record_check(arg))
    return PyErr_Format(PyExc_TypeError,
                        "cannot make a record in pool '%U': a class derived from pmalloc.Record is "
                        "needed, not one that gives %s",
                        pool->name, Py_TYPE(arg)->tp_name);
  size_t before = pm_type_preheader(Py_TYPE(arg)); /* the collector's: zero, it is not tracked */
  size_t own = (size_t)HEAD + (size_t)pm_record_size(arg);
  char *image = PyMem_Calloc(1, before + own);
  if (image == NULL)
    return PyErr_NoMemory();
  memcpy(image + before, arg, own);
  pm_immortal_header((PyObject *)(void *)(image + before), Py_TYPE(arg));
  pm_realloc_guard_install();
  PyObject *placed =
      keep_class(pool, Py_TYPE(arg)) < 0 ? NULL : place(pool, image, before, before + own);
  PyMem_Free(image);
  return placed;
}

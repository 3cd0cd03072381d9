/* record_field: the descriptor by which a Record's field is read and assigned.
 *
 * Whether it may be assigned is a matter of where the object lies: an ordinary one,
 * and one in an open pool, is memory like any other. In protected memory the store
 * would end the process; so it is an exception before.
 *
 * References point to immortal objects only: nobody counts them, neither here nor
 * when rare write changes one.
 *
 * SPDX-License-Identifier: MIT
 */
#include "record.h"

#include "errors.h"

#include <math.h>

static const struct {
  const char *name, *what;
  uint8_t size;
  int64_t low;
  uint64_t high;
} kinds[] = {
    [PM_FIELD_BOOL] = {"bool", "True or False", 1, 0, 1},
    [PM_FIELD_I8] = {"i8", "an int", 1, INT8_MIN, INT8_MAX},
    [PM_FIELD_I16] = {"i16", "an int", 2, INT16_MIN, INT16_MAX},
    [PM_FIELD_I32] = {"i32", "an int", 4, INT32_MIN, INT32_MAX},
    [PM_FIELD_I64] = {"i64", "an int", 8, INT64_MIN, INT64_MAX},
    [PM_FIELD_U8] = {"u8", "an int", 1, 0, UINT8_MAX},
    [PM_FIELD_U16] = {"u16", "an int", 2, 0, UINT16_MAX},
    [PM_FIELD_U32] = {"u32", "an int", 4, 0, UINT32_MAX},
    [PM_FIELD_U64] = {"u64", "an int", 8, 0, UINT64_MAX},
    [PM_FIELD_F32] = {"f32", "a float", 4, 0, 0},
    [PM_FIELD_F64] = {"f64", "a float", 8, 0, 0},
    [PM_FIELD_REF] = {"ref", "a frozen object", 8, 0, 0},
    [PM_FIELD_BYTES] = {"bytes", "bytes", 0, 0, 0},
    [PM_FIELD_STR] = {"str", "a str", 0, 0, 0},
};

int pm_field_kind_named(const char *name, Py_ssize_t *size) {
  for (int kind = 0; kind <= PM_FIELD_STR; kind++) {
    if (strcmp(name, kinds[kind].name) == 0) {
      if (kinds[kind].size > 0)
        *size = kinds[kind].size;
      return kind;
    }
  }
  return -1;
}

/* ---- a value ---------------------------------------------------------------- */

static int64_t load_signed(const char *at, Py_ssize_t size) {
  int8_t i8;
  int16_t i16;
  int32_t i32;
  int64_t i64;
  switch (size) {
  case 1:
    return memcpy(&i8, at, 1), i8;
  case 2:
    return memcpy(&i16, at, 2), i16;
  case 4:
    return memcpy(&i32, at, 4), i32;
  default:
    return memcpy(&i64, at, 8), i64;
  }
}

static uint64_t load_unsigned(const char *at, Py_ssize_t size) {
  uint64_t value = (uint64_t)load_signed(at, size);
  return size == 8 ? value : value & (((uint64_t)1 << (8 * size)) - 1);
}

static PyObject *load(const pm_field *f, const char *at) {
  PyObject *object;
  double wide;
  float narrow;
  switch (f->kind) {
  case PM_FIELD_BOOL:
    return PyBool_FromLong(*at);
  case PM_FIELD_I8:
  case PM_FIELD_I16:
  case PM_FIELD_I32:
  case PM_FIELD_I64:
    return PyLong_FromLongLong(load_signed(at, f->size));
  case PM_FIELD_U8:
  case PM_FIELD_U16:
  case PM_FIELD_U32:
  case PM_FIELD_U64:
    return PyLong_FromUnsignedLongLong(load_unsigned(at, f->size));
  case PM_FIELD_F32:
    memcpy(&narrow, at, sizeof narrow);
    return PyFloat_FromDouble(narrow);
  case PM_FIELD_F64:
    memcpy(&wide, at, sizeof wide);
    return PyFloat_FromDouble(wide);
  case PM_FIELD_BYTES:
    return PyBytes_FromStringAndSize(at, f->size);
  case PM_FIELD_STR: /* C code may have put there what is no text */
    return PyUnicode_DecodeUTF8(at, (Py_ssize_t)strnlen(at, (size_t)f->size), "replace");
  default:
    memcpy(&object, at, sizeof object);
    return Py_NewRef(object == NULL ? Py_None : object);
  }
}

static int wrong_type(const pm_field *f, PyObject *value) {
  PyErr_Format(PyExc_TypeError, "%s.%U takes %s, not %s", f->owner->tp_name, f->name,
               kinds[f->kind].what, Py_TYPE(value)->tp_name);
  return -1;
}

static int out_of_range(const pm_field *f, PyObject *value) {
  PyErr_Format(PyExc_OverflowError, "%s.%U takes %lld to %llu, not %R", f->owner->tp_name, f->name,
               (long long)kinds[f->kind].low, (unsigned long long)kinds[f->kind].high, value);
  return -1;
}

static int store_int(const pm_field *f, char *at, PyObject *value) {
  PyObject *number = PyIndex_Check(value) ? PyNumber_Index(value) : NULL;
  if (number == NULL)
    return PyErr_Occurred() ? -1 : wrong_type(f, value);
  int overflow, bad = 0;
  long long small = PyLong_AsLongLongAndOverflow(number, &overflow);
  uint64_t bits = (uint64_t)small;
  if (overflow > 0 && f->kind == PM_FIELD_U64) {
    bits = PyLong_AsUnsignedLongLong(number);
    bad = bits == UINT64_MAX && PyErr_Occurred();
    if (bad)
      PyErr_Clear();
  } else {
    bad = overflow || small < kinds[f->kind].low ||
          (small > 0 && (uint64_t)small > kinds[f->kind].high);
  }
  Py_DECREF(number);
  if (bad)
    return out_of_range(f, value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  bits <<= 8 * (8 - f->size);
#endif
  memcpy(at, &bits, (size_t)f->size);
  return 0;
}

static int store_float(const pm_field *f, char *at, PyObject *value) {
  double wide = PyFloat_AsDouble(value);
  if (wide == -1.0 && PyErr_Occurred())
    return PyErr_ExceptionMatches(PyExc_TypeError) ? (PyErr_Clear(), wrong_type(f, value)) : -1;
  if (f->kind == PM_FIELD_F64) {
    memcpy(at, &wide, sizeof wide);
    return 0;
  }
  float narrow = (float)wide;
  if (isinf(narrow) && !isinf(wide)) {
    PyErr_Format(PyExc_OverflowError, "%s.%U takes a float of 32 bits, and %R is beyond these",
                 f->owner->tp_name, f->name, value);
    return -1;
  }
  memcpy(at, &narrow, sizeof narrow);
  return 0;
}

static int store_bytes(const pm_field *f, char *at, PyObject *value) {
  Py_buffer view;
  if (!PyObject_CheckBuffer(value))
    return wrong_type(f, value);
  if (PyObject_GetBuffer(value, &view, PyBUF_SIMPLE) < 0)
    return -1;
  int fits = view.len == f->size;
  if (fits)
    memcpy(at, view.buf, (size_t)view.len);
  else
    PyErr_Format(PyExc_ValueError, "%s.%U takes %zd bytes, not %zd", f->owner->tp_name, f->name,
                 f->size, view.len);
  PyBuffer_Release(&view);
  return fits ? 0 : -1;
}

static int store_str(const pm_field *f, char *at, PyObject *value) {
  Py_ssize_t n;
  const char *text = PyUnicode_Check(value) ? PyUnicode_AsUTF8AndSize(value, &n) : NULL;
  if (text == NULL)
    return PyErr_Occurred() ? -1 : wrong_type(f, value);
  if (n > f->size || memchr(text, 0, (size_t)n) != NULL) {
    if (n > f->size)
      PyErr_Format(PyExc_ValueError, "%s.%U takes up to %zd bytes of UTF-8, not %zd",
                   f->owner->tp_name, f->name, f->size, n);
    else
      PyErr_Format(PyExc_ValueError, "%s.%U ends at the first zero: none may be in the text",
                   f->owner->tp_name, f->name);
    return -1;
  }
  memcpy(at, text, (size_t)n);
  memset(at + n, 0, (size_t)(f->size - n));
  return 0;
}

static int store_reference(const pm_field *f, char *at, PyObject *value) {
  if (!pm_is_immortal(value)) {
    PyErr_Format(PyExc_TypeError,
                 "%s.%U refers to frozen objects, and to None and the like: freeze() the %s first",
                 f->owner->tp_name, f->name, Py_TYPE(value)->tp_name);
    return -1;
  }
  if (value == Py_None)
    value = NULL; /* what a field is at first */
  memcpy(at, &value, sizeof value);
  return 0;
}

int pm_field_store(const pm_field *f, char *fields, PyObject *value) {
  char *at = fields + (f->offset - (Py_ssize_t)offsetof(pm_record, fields));
  switch (f->kind) {
  case PM_FIELD_BOOL:
    if (!PyBool_Check(value))
      return wrong_type(f, value);
    *at = value == Py_True;
    return 0;
  case PM_FIELD_F32:
  case PM_FIELD_F64:
    return store_float(f, at, value);
  case PM_FIELD_BYTES:
    return store_bytes(f, at, value);
  case PM_FIELD_STR:
    return store_str(f, at, value);
  case PM_FIELD_REF:
    return store_reference(f, at, value);
  default:
    return store_int(f, at, value);
  }
}

/* ---- the descriptor ----------------------------------------------------------- */

PyObject *pm_field_new(PyTypeObject *owner, PyObject *name, enum pm_field_kind kind,
                       Py_ssize_t offset, Py_ssize_t size) {
  pm_field *f = PyObject_GC_New(pm_field, &PmField_Type);
  if (f == NULL)
    return NULL;
  f->owner = (PyTypeObject *)Py_NewRef(owner);
  f->name = Py_NewRef(name);
  f->kind = kind;
  f->offset = offset;
  f->size = size;
  PyObject_GC_Track(f);
  return (PyObject *)f;
}

static int traverse(PyObject *op, visitproc visit, void *arg) {
  Py_VISIT(((pm_field *)op)->owner);
  return 0;
}

static int clear(PyObject *op) {
  Py_CLEAR(((pm_field *)op)->owner);
  return 0;
}

static void dealloc(PyObject *op) {
  PyObject_GC_UnTrack(op);
  Py_XDECREF(((pm_field *)op)->owner);
  Py_DECREF(((pm_field *)op)->name);
  PyObject_GC_Del(op);
}

/* Whether it is a field of that object. */
static int belongs(const pm_field *f, PyObject *op) {
  if (f->owner != NULL && PyObject_TypeCheck(op, f->owner))
    return 1;
  PyErr_Format(PyExc_TypeError, "%s.%U is no field of %s",
               f->owner == NULL ? "?" : f->owner->tp_name, f->name, Py_TYPE(op)->tp_name);
  return 0;
}

static PyObject *get(PyObject *op, PyObject *instance, PyObject *type) {
  const pm_field *f = (pm_field *)op;
  (void)type;
  if (instance == NULL)
    return Py_NewRef(op);
  return belongs(f, instance) ? load(f, (char *)instance + f->offset) : NULL;
}

static int set(PyObject *op, PyObject *instance, PyObject *value) {
  const pm_field *f = (pm_field *)op;
  struct pmalloc_where where;
  if (!belongs(f, instance))
    return -1;
  const char *type = Py_TYPE(instance)->tp_name;
  if (pmalloc_registry_owns((uintptr_t)instance) &&
      pmalloc_registry_find((uintptr_t)instance, &where) && where.protected_) {
    PyErr_Format(PmProtectedError,
                 pmalloc_mode_is_rare(where.mode)
                     ? "cannot %s %s.%U: pool '%s' is protected; use pmalloc.rare_write()"
                     : "cannot %s %s.%U: pool '%s' is protected, and its mode is '%s'; a pool of "
                       "mode 'wr' lets rare_write() in",
                 value == NULL ? "delete" : "assign to", type, f->name, where.pool_name,
                 pmalloc_mode_name(where.mode));
    return -1;
  }
  if (value == NULL) {
    PyErr_Format(PyExc_TypeError, "cannot delete %s.%U: a Record has all its fields, always", type,
                 f->name);
    return -1;
  }
  return pm_field_store(f, ((pm_record *)instance)->fields, value);
}

static PyObject *repr(PyObject *op) {
  const pm_field *f = (pm_field *)op;
  return PyUnicode_FromFormat("<field %s.%U: %s of %zd bytes at offset %zd>",
                              f->owner == NULL ? "?" : f->owner->tp_name, f->name,
                              kinds[f->kind].name, f->size, f->offset);
}

static PyObject *get_kind(PyObject *op, void *unused) {
  (void)unused;
  return PyUnicode_FromString(kinds[((pm_field *)op)->kind].name);
}

static PyMemberDef members[] = {
    {"__objclass__", Py_T_OBJECT_EX, offsetof(pm_field, owner), Py_READONLY,
     "The class that declared it."},
    {"__name__", Py_T_OBJECT_EX, offsetof(pm_field, name), Py_READONLY, "Its name (str)."},
    {"offset", Py_T_PYSSIZET, offsetof(pm_field, offset), Py_READONLY,
     "Bytes from the start of the object, id(record), to the field (int)."},
    {"size", Py_T_PYSSIZET, offsetof(pm_field, size), Py_READONLY, "Bytes of the field (int)."},
    {NULL, 0, 0, 0, NULL}};

static PyGetSetDef getset[] = {
    {"kind", get_kind, NULL, "'bool', 'i8' to 'u64', 'f32', 'f64', 'bytes', 'str' or 'ref'.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyTypeObject PmField_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.Field",
    .tp_doc = PyDoc_STR("A field of a Record class: where it lies, and how it is read."),
    .tp_basicsize = sizeof(pm_field),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = dealloc,
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_repr = repr,
    .tp_members = members,
    .tp_getset = getset,
    .tp_descr_get = get,
    .tp_descr_set = set,
};

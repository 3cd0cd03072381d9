/* Record: a live object with fields, in a pool.
 *
 *     | count | type | size | enabled . . . | limit     | name                 |
 *       the object's header   fields, each at a multiple of its own width
 *
 * The type's storage has no place in the instance that Python knows of: a Record is of
 * variable size, as a tuple is, and its items are bytes. So a class statement
 * makes a class of it, and the interpreter has nothing to write into an instance.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_RECORD_H
#define PM_RECORD_H

#include "pool_type.h"

typedef struct {
  PyObject_VAR_HEAD char fields[];
} pm_record;

/* What a report needs to know of a field. */
typedef struct {
  uint32_t offset, size; /* in the object */
  char name[56];         /* or the beginning of it */
} pm_field_place;

/* A class of them. */
typedef struct {
  PyHeapTypeObject head;
  Py_ssize_t size;        /* of all fields, a multiple of 8; what ob_size is */
  char *initial;          /* what they are at first; NULL: the class has no layout yet */
  pm_field_place *places; /* of all fields, those of base classes, too */
  size_t n_places;
} pm_record_class;

enum pm_field_kind {
  PM_FIELD_BOOL,
  PM_FIELD_I8,
  PM_FIELD_I16,
  PM_FIELD_I32,
  PM_FIELD_I64,
  PM_FIELD_U8,
  PM_FIELD_U16,
  PM_FIELD_U32,
  PM_FIELD_U64,
  PM_FIELD_F32,
  PM_FIELD_F64,
  PM_FIELD_REF,
  PM_FIELD_BYTES,
  PM_FIELD_STR
};

/* The descriptor of a field. */
typedef struct {
  PyObject_HEAD PyTypeObject *owner; /* the class that declared it */
  PyObject *name;
  Py_ssize_t offset; /* in the object */
  Py_ssize_t size;
  enum pm_field_kind kind;
} pm_field;

extern PyTypeObject PmRecord_Type;
extern PyTypeObject PmRecordClass_Type;
extern PyTypeObject PmField_Type;

static inline int pm_record_check(PyObject *op) {
  return PyObject_TypeCheck((PyObject *)Py_TYPE(op), &PmRecordClass_Type);
}
static inline Py_ssize_t pm_record_size(PyObject *op) {
  return ((pm_record_class *)Py_TYPE(op))->size;
}

/* An ordinary instance of a class that has a layout, its fields as they are at first. */
PyObject *pm_record_new(PyTypeObject *type);
/* An ordinary copy, of one moment. */
PyObject *pm_record_snapshot(PyObject *op);
/* Pool._place(record): a copy of it in the pool, immortal. METH_O. */
PyObject *pm_record_place(PyObject *pool, PyObject *record);
/* record_finish(cls, fields): gives a new class its layout. METH_VARARGS. */
PyObject *pm_record_finish(PyObject *module, PyObject *args);

/* record_field.c: a field's kind by its name ("u32"), with its width where there is one; -1. */
int pm_field_kind_named(const char *name, Py_ssize_t *size);
/* Puts a value into the field of an object whose fields begin at `fields`; -1 with an exception. */
int pm_field_store(const pm_field *f, char *fields, PyObject *value);
/* The descriptor; new reference. */
PyObject *pm_field_new(PyTypeObject *owner, PyObject *name, enum pm_field_kind kind,
                       Py_ssize_t offset, Py_ssize_t size);

#endif

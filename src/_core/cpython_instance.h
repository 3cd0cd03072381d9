/* cpython_instance: how instances of Python classes lie in memory.
 *
 * Part of the room that knows CPython's internals; see cpython_layout.h.
 *
 *   -32        -24        -16       0
 *   +----------+----------+---------+--------+-----------+--------------------+
 *   | weakrefs | __dict__ | GC head | header | slots ... | attributes' values |
 *   +----------+----------+---------+--------+-----------+--------------------+
 *
 * The first two words are there only in front of classes that ask for them
 * ("managed"). Attributes are found by the class's own table of keys; their
 * values lie behind the object on 3.13 and later, where the class allows it
 * ("inline"), and in a block of their own on 3.12, to which the __dict__ word
 * then points, marked by its lowest bit. __dict__ itself comes into being when
 * somebody asks for it, and that is a write: a frozen instance has it from the
 * start. But the word may not point to it on every version:
 *
 *     3.12      it holds the values instead: one or the other
 *     3.13      it may, and does
 *     3.14 on   the interpreter specialises loads of attributes only where the
 *               word is empty; reading is half as fast where it is not
 *
 * So on 3.12 and from 3.14 on the word leads to the __dict__ only where the user
 * asked for that (`linked`).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_CPYTHON_INSTANCE_H
#define PM_CPYTHON_INSTANCE_H

#include "cpython_layout.h"

#if PM_SHARED_KEYS
#define PM_INLINE_FLAG Py_TPFLAGS_INLINE_VALUES
#else
#define PM_INLINE_FLAG Py_TPFLAGS_MANAGED_DICT /* values in a block of their own */
#endif

/* Bytes in front of an object of this type. */
static inline size_t pm_type_preheader(PyTypeObject *type) {
  return pm_preheader(type) +
         (PyType_HasFeature(type, Py_TPFLAGS_PREHEADER) ? 2 * sizeof(PyObject *) : 0);
}

#define PM_MANAGED_DICT_WORDS 3 /* in front of the object */

static inline PyObject **pm_managed_dict(PyObject *op) {
  return (PyObject **)op - PM_MANAGED_DICT_WORDS;
}

/* What lies `before` bytes in front of an object. */
typedef enum { PM_BEFORE_GC_HEAD, PM_BEFORE_DICT, PM_BEFORE_WEAKREFS } pm_before;
static inline pm_before pm_what_is_before(size_t before) {
  return before <= PM_GC_HEAD               ? PM_BEFORE_GC_HEAD
         : before <= 3 * sizeof(PyObject *) ? PM_BEFORE_DICT
                                            : PM_BEFORE_WEAKREFS;
}

/* ---- the values of a frozen instance ------------------------------------- */

/* Bytes of a block for the values of n attributes, and where in it they are. */
#if PM_SHARED_KEYS
static inline size_t pm_attribute_bytes(size_t n) { return pm_values_size(n); }
static inline size_t pm_attribute_start(size_t n) {
  (void)n;
  return offsetof(pm_values, values);
}
#else
/*  3.12:  | order, last one first, in whole words | used | size of this part | values ...  */
static inline size_t pm_attribute_start(size_t n) { return (n + 2 + 7) & ~(size_t)7; }
static inline size_t pm_attribute_bytes(size_t n) {
  return pm_attribute_start(n) + n * sizeof(PyObject *);
}
#endif

/* Writes the values into the block: `ordered` attributes, their numbers in `order` in the order
 * they were set. The block must be zeroed. Returns what a dict's ma_values is for it. */
void *pm_attributes_init(char *block, size_t n, PyObject *const *values, const uint8_t *order,
                         size_t ordered);
/* Writes the __dict__ word of a frozen instance: the prepared dict, where it is to be linked or
 * there are no values of the instance's own; else what else the version has there. */
void pm_managed_init(PyObject *op, PyObject *dict, void *values, int linked);

/* ---- attributes of an ordinary instance ----------------------------------- */

typedef struct {
  PyObject *dict; /* where they are: a dict, */
  pm_keys *keys;  /* or values and the class's keys, */
  void *values;   /* or nowhere: all NULL */
  Py_ssize_t at;
} pm_attributes;

/* Begins at the first attribute; runs no Python code and makes no dict. */
void pm_attributes_of(PyObject *op, pm_attributes *a);
/* The next one, in the order they were set; 0 at the end. A name may be no str. */
int pm_attributes_next(pm_attributes *a, PyObject **name, PyObject **value);
/* The same, and where the value is; only for those that are in no dict. */
int pm_attributes_next_slot(pm_attributes *a, PyObject **name, PyObject ***slot);
/* The __dict__ object, borrowed, NULL where there is none (yet). */
PyObject *pm_attributes_dict(PyObject *op);

/* ---- classes -------------------------------------------------------------- */

/* Made by a class statement (or by calling a metaclass), not by C code. */
int pm_is_python_class(PyTypeObject *type);
/* The built-in type that an instance's layout begins with; NULL: some C type that is not known. */
PyTypeObject *pm_solid_base(PyTypeObject *type);
/* Offsets of the slots that Python classes added to the layout of the solid base, in an array from
 * PyMem_RawMalloc; *n of them. `known`: the classes need not be Python's. -1: there is something
 * else in between; the array is then NULL. */
int pm_slots_of(PyTypeObject *type, PyTypeObject *solid, int known, Py_ssize_t **offsets,
                size_t *n);
/* What the slot at an offset is called; "?" where there is none. */
const char *pm_slot_name(PyTypeObject *type, Py_ssize_t offset);
/* Gives a frozen class, new and without instances, exactly these attributes, and takes away weak
 * references; the tables live as long as the process. NULL with MemoryError. */
pm_keys *pm_class_finish(PyTypeObject *frozen, PyObject *const *names, size_t n);

static inline pm_keys *pm_class_keys(PyTypeObject *type) {
  return (pm_keys *)((PyHeapTypeObject *)type)->ht_cached_keys;
}

/* About the bytes of memory an ordinary object takes, header to tables, without what it points to:
 * what a process copies of its parent's memory when it reads the object. */
size_t pm_ordinary_bytes(PyObject *op);

/* types.MappingProxyType */
typedef struct {
  PyObject_HEAD PyObject *mapping;
} pm_proxy;

#endif

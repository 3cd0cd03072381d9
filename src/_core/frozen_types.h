/* The types of frozen containers that have mutable originals.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_FROZEN_TYPES_H
#define PM_FROZEN_TYPES_H

#include "cpython_layout.h"

extern PyTypeObject PmFrozenDict_Type; /* a dict */
extern PyTypeObject PmFrozenList_Type; /* a list */
extern PyTypeObject PmFrozenSet_Type;  /* a frozenset that was a set */

extern PyTypeObject PmFrozenInstance_Type; /* first base of all twins; frozen_instance.c */
/* The descriptor __dict__ of twins whose instances have one; new reference. */
PyObject *pm_instance_dict_descriptor(void);
/* What FrozenInstance does, as functions of a module. */
PyObject *pm_instance_copy(PyObject *module, PyObject *self);
PyObject *pm_instance_deepcopy(PyObject *module, PyObject *args);
PyObject *pm_instance_reduce(PyObject *module, PyObject *self);
PyObject *pm_instance_dict_of(PyObject *module, PyObject *self);
PyObject *pm_instance_refuse(PyObject *module, PyObject *args);

/* Finishes them; -1 with an exception. */
int pm_frozen_types_ready(void);

/* Sets TypeError "'FrozenDict' object is frozen: update() would change it". */
void *pm_frozen_error(PyObject *self, const char *what);

/* Methods all three have: pickling and copying give plain objects. */
PyObject *pm_frozen_reduce(PyObject *self, PyObject *protocol);
PyObject *pm_frozen_deepcopy(PyObject *self, PyObject *memo);
int pm_frozen_setattro(PyObject *self, PyObject *name, PyObject *value);
int pm_frozen_init(PyObject *self, PyObject *args, PyObject *kwargs);
/* tp_new of all three: what the call would give for the plain type. */
PyObject *pm_plain_new(PyTypeObject *plain, PyObject *args, PyObject *kwargs);

/* Python asks the right operand of a comparison first where its type is a subclass of the left
 * one's and compares in its own way. A subclass of dict is no subclass of FrozenDict, but it is to
 * be asked all the same. Answers what it said; NotImplemented where it is not asked. */
PyObject *pm_ask_subclass(PyObject *self, PyObject *other, int op);

/* Defines a method that refuses. */
#define PM_REFUSE(function, method)                                                                \
  static PyObject *function(PyObject *self, PyObject *args, PyObject *kwargs) {                    \
    (void)args;                                                                                    \
    (void)kwargs;                                                                                  \
    return pm_frozen_error(self, method "()");                                                     \
  }
#define PM_REFUSING(function, method)                                                              \
  {method, (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS,                  \
   "Raises TypeError: the object is frozen."}

#endif

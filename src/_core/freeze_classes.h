/* freeze_classes: what becomes of the instances of a class.
 *
 * Of the built-in types freeze knows everything. About any other type it asks
 * the resolver, Python code in pmalloc._classes, once; the answer is kept for
 * the life of the process. Discovery itself runs no Python code: where it meets
 * a type that has no answer yet it takes a note and goes on, and when it is
 * through the notes are dealt with and discovery begins anew.
 *
 *     discover --- all known ---> place, emit
 *        ^  |
 *        |  v notes: types, objects to be replaced, attributes new to their class
 *      resolve (Python code)
 *
 * A class whose instances freeze has a twin, a subclass without storage of its
 * own that refuses to set attributes. What a frozen instance's attributes are
 * called is in the twin's table of keys, which never changes: where later
 * instances have other attributes, there is another twin.
 *
 *     class Point ---- twin Point (x, y) ------ frozen instances
 *                 \--- twin Point (x, y, label)
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_FREEZE_CLASSES_H
#define PM_FREEZE_CLASSES_H

#include "cpython_instance.h"

/* Besides the kinds of freeze.h: */
enum {
  PM_CLASS_REFUSED = -1,
  PM_CLASS_EXTERNAL = -2,
  PM_CLASS_REPLACED = -3, /* by what `detail` gives for it, which is then frozen */
  PM_CLASS_ADOPTED = -4   /* by what detail(it, pool) gives for it, which stays outside */
};

typedef struct pm_class {
  PyTypeObject *type;  /* owned for ever, as all below */
  PyTypeObject *twin;  /* type of the frozen instances: the newest twin, or `type` itself */
  PyObject *detail;    /* REFUSED: str, the advice; REPLACED, ADOPTED: the callable */
  int kind;            /* pm_kind, or one of the above */
  PyTypeObject *solid; /* INSTANCE: the built-in type its layout begins with; borrowed */
  int base;            /* INSTANCE: pm_kind of the built-in type it extends, or -1 */
  int has_dict;        /* INSTANCE: has a __dict__ ... */
  int inlined;         /* ... whose values are the instance's own (see cpython_instance.h) */
  int linked;          /* ... and which the interpreter itself shall find in the instance */
  PyObject *omit;      /* INSTANCE: frozenset of names that are not taken along, or NULL */
  Py_ssize_t *slots;   /* offsets */
  size_t n_slots;
  pm_keys *keys; /* of the newest twin, where inlined */
  size_t n_names;
  /* What the next twin's attributes will be called, while `noted`: those of the present twin first,
   * as far as there is room. Owned. */
  PyObject *wanted[PM_SHARED_KEYS_MAX];
  size_t n_wanted, n_inherited;
  int noted;
} pm_class;

/* The entry of a source type, NULL where there is none yet. */
pm_class *pm_class_of(PyTypeObject *type);
/* The entry that a frozen instance's type belongs to; NULL: it is no twin. */
pm_class *pm_class_of_twin(PyTypeObject *type);

/* Asks the resolver about a type and makes its entry; -1 with an exception. */
int pm_class_resolve(PyObject *type);
/* Begins a list of wanted attributes. */
void pm_class_note(pm_class *c);
/* Puts a name on it that is not there yet: 1, or 0 where there is no room for it. */
int pm_class_want(pm_class *c, PyObject *name);
/* Ends the list. */
void pm_class_unnote(pm_class *c);
/* Gives the class a twin that has the wanted attributes; -1 with an exception. */
int pm_class_make_twin(pm_class *c);
/* Forgets what is known of a type, or (NULL) of all whose instances were not frozen yet:
 * they were registered anew. */
void pm_class_forget(PyTypeObject *type);

/* Number of the attribute in the class's keys, or -1. `guess` is tried first. */
Py_ssize_t pm_class_name(const pm_class *c, PyObject *name, size_t guess);

/* resolver(type) -> (verdict, detail, linked); make_twin(type) -> class. Both borrowed for ever. */
void pm_classes_set_resolver(PyObject *resolver, PyObject *make_twin);

#endif

/* FrozenInstance: what the twins of all classes have in common; see freeze_classes.h.
 *
 * It comes first among a twin's bases. It refuses to set attributes, answers the
 * original class where it is asked for __class__, and copies and pickles as an ordinary
 * instance. What an instance has by itself, slots, attributes, methods, the interpreter
 * finds as in any subclass.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"
#include "frozen_types.h"

#include "errors.h"

/* twin -> the class whose instances it freezes; borrowed */
static PyObject *original(PyTypeObject *twin) {
  const pm_class *c = pm_class_of_twin(twin);
  if (c != NULL)
    return (PyObject *)c->type;
  PyErr_Format(PyExc_TypeError, "'%s' is no class of frozen instances", twin->tp_name);
  return NULL;
}

static PyObject *get_class(PyObject *self, void *unused) {
  (void)unused;
  PyObject *type = original(Py_TYPE(self));
  return Py_XNewRef(type);
}

/* dataclasses.FrozenInstanceError for dataclasses, as their frozen ones raise; it is an
 * AttributeError too. */
static PyObject *error_type(PyObject *self) {
  PyObject *fields = PyObject_GetAttrString((PyObject *)Py_TYPE(self), "__dataclass_fields__");
  if (fields == NULL) {
    PyErr_Clear();
    return Py_NewRef(PyExc_AttributeError);
  }
  Py_DECREF(fields);
  PyObject *module = PyImport_ImportModule("dataclasses");
  PyObject *type = module == NULL ? NULL : PyObject_GetAttrString(module, "FrozenInstanceError");
  Py_XDECREF(module);
  if (type == NULL) {
    PyErr_Clear();
    return Py_NewRef(PyExc_AttributeError);
  }
  return type;
}

/* A method said object.__new__(type(self)): an ordinary object, although its type is a twin. Its
 * class decides. */
static int setattr_ordinary(PyObject *self, PyObject *name, PyObject *value) {
  PyObject *class = original(Py_TYPE(self));
  if (class == NULL)
    return -1;
  if (((PyTypeObject *)class)->tp_setattro == PyObject_GenericSetAttr)
    return PyObject_GenericSetAttr(self, name, value);
  PyObject *done = value == NULL
                       ? PyObject_CallMethod(class, "__delattr__", "OO", self, name)
                       : PyObject_CallMethod(class, "__setattr__", "OOO", self, name, value);
  Py_XDECREF(done);
  return done == NULL ? -1 : 0;
}

static int setattro(PyObject *self, PyObject *name, PyObject *value) {
  if (!pm_is_frozen(self))
    return setattr_ordinary(self, name, value);
  struct pmalloc_where where;
  const char *pool = pmalloc_registry_find((uintptr_t)self, &where) ? where.pool_name : "?";
  PyObject *type = error_type(self);
  PyErr_Format(type, "cannot %s attribute %R: '%s' object is frozen in pool '%s'",
               value == NULL ? "delete" : "set", name, Py_TYPE(self)->tp_name, pool);
  Py_DECREF(type);
  return -1;
}

/* A class's __init_subclass__ is for its authors' subclasses. */
static PyObject *init_subclass(PyObject *type, PyObject *args, PyObject *kwargs) {
  (void)type;
  (void)args;
  (void)kwargs;
  Py_RETURN_NONE;
}

/* An ordinary instance with the same attributes. */
static PyObject *copy(PyObject *self, PyObject *unused) {
  (void)unused;
  return pm_thaw_one(self);
}

/* Pickles as an ordinary instance, which pickle then asks itself: if the parts of one were given
 * here, what refers back to the instance would refer to another one than is made of them. */
static PyObject *reduce(PyObject *self, PyObject *unused) { return pm_frozen_reduce(self, unused); }

static PyObject *get_dict(PyObject *self, void *unused) {
  (void)unused;
  if (!pm_is_frozen(self))
    return PyObject_GenericGetDict(self, NULL);
  PyObject *dict = pm_instance_dict(self);
  if (dict == NULL)
    PyErr_Format(PyExc_AttributeError, "'%s' object has no attribute '__dict__'",
                 Py_TYPE(self)->tp_name);
  return Py_XNewRef(dict);
}

/* The same as functions, for twins whose metaclass takes no bases but its own. */
PyObject *pm_instance_copy(PyObject *module, PyObject *self) { return copy(self, module); }

PyObject *pm_instance_reduce(PyObject *module, PyObject *self) { return reduce(self, module); }

PyObject *pm_instance_deepcopy(PyObject *module, PyObject *args) {
  PyObject *self, *memo;
  (void)module;
  return PyArg_ParseTuple(args, "OO", &self, &memo) ? pm_frozen_deepcopy(self, memo) : NULL;
}

PyObject *pm_instance_dict_of(PyObject *module, PyObject *self) { return get_dict(self, module); }

PyObject *pm_instance_refuse(PyObject *module, PyObject *args) {
  PyObject *self, *name, *value = NULL;
  (void)module;
  if (!PyArg_ParseTuple(args, "OO|O", &self, &name, &value) || setattro(self, name, value) < 0)
    return NULL;
  Py_RETURN_NONE; /* it was an ordinary one */
}

/* Some call it without a memo: pydantic's models do. */
static PyObject *deepcopy(PyObject *self, PyObject *args) {
  PyObject *memo = Py_None;
  return PyArg_UnpackTuple(args, "__deepcopy__", 0, 1, &memo) ? pm_frozen_deepcopy(self, memo)
                                                              : NULL;
}

static PyGetSetDef dict_getset = {"__dict__", get_dict, NULL, "The attributes, a FrozenDict.",
                                  NULL};

PyObject *pm_instance_dict_descriptor(void) {
  return PyDescr_NewGetSet(&PmFrozenInstance_Type, &dict_getset);
}

static PyMethodDef methods[] = {
    {"__copy__", copy, METH_NOARGS, "An ordinary instance with the same attributes."},
    {"__deepcopy__", deepcopy, METH_VARARGS, "An ordinary, mutable deep copy."},
    {"__reduce_ex__", pm_frozen_reduce, METH_O, "Pickles as an ordinary instance."},
    {"__reduce__", reduce, METH_NOARGS, "Pickles as an ordinary instance."},
    {"__init_subclass__", (PyCFunction)(void (*)(void))init_subclass,
     METH_CLASS | METH_VARARGS | METH_KEYWORDS, "Does nothing."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef getset[] = {
    {"__class__", get_class, NULL, "The class of the object that was frozen.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyTypeObject PmFrozenInstance_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.FrozenInstance",
    .tp_doc =
        PyDoc_STR("What all frozen instances of Python classes are, besides their own class."),
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_setattro = setattro,
    .tp_methods = methods,
    .tp_getset = getset,
};

/* frozen_common: what the three frozen container types have in common.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"
#include "frozen_types.h"

void *pm_frozen_error(PyObject *self, const char *what) {
  PyErr_Format(PyExc_TypeError, "'%s' object is frozen: %s would change it",
               strrchr(Py_TYPE(self)->tp_name, '.') + 1, what);
  return NULL;
}

int pm_frozen_setattro(PyObject *self, PyObject *name, PyObject *value) {
  PyErr_Format(PyExc_TypeError, "'%s' object is frozen: %s attribute %R would change it",
               strrchr(Py_TYPE(self)->tp_name, '.') + 1, value ? "setting" : "deleting", name);
  return -1;
}

int pm_frozen_init(PyObject *self, PyObject *args, PyObject *kwargs) {
  (void)args;
  (void)kwargs;
  pm_frozen_error(self, "__init__()");
  return -1;
}

PyObject *pm_plain_new(PyTypeObject *plain, PyObject *args, PyObject *kwargs) {
  return PyObject_Call((PyObject *)plain, args, kwargs);
}

/* Pickling thaws once, at the outermost frozen object, and lets pickle go on with
 * plain containers. operator.getitem((plain,), 0) is the identity that every
 * Python can unpickle without knowing pmalloc. */
PyObject *pm_frozen_reduce(PyObject *self, PyObject *protocol) {
  (void)protocol;
  static PyObject *getitem;
  if (getitem == NULL) {
    PyObject *operator_module = PyImport_ImportModule("operator");
    if (operator_module == NULL)
      return NULL;
    getitem = PyObject_GetAttrString(operator_module, "getitem");
    Py_DECREF(operator_module);
    if (getitem == NULL)
      return NULL;
  }
  PyObject *plain = pm_thaw_shallow(self);
  return plain == NULL ? NULL : Py_BuildValue("(O((N)i))", getitem, plain, 0);
}

PyObject *pm_frozen_deepcopy(PyObject *self, PyObject *memo) {
  return pm_thaw_with_memo(self, memo);
}

PyObject *pm_ask_subclass(PyObject *self, PyObject *other, int op) {
  static const int swapped[] = {
      [Py_LT] = Py_GT, [Py_LE] = Py_GE, [Py_EQ] = Py_EQ,
      [Py_NE] = Py_NE, [Py_GT] = Py_LT, [Py_GE] = Py_LE,
  };
  PyTypeObject *theirs = Py_TYPE(other), *plain = Py_TYPE(self)->tp_base;
  if (theirs->tp_richcompare == plain->tp_richcompare ||
      theirs->tp_richcompare == Py_TYPE(self)->tp_richcompare || theirs->tp_richcompare == NULL ||
      !PyType_IsSubtype(theirs, plain))
    Py_RETURN_NOTIMPLEMENTED;
  return theirs->tp_richcompare(other, self, swapped[op]);
}

/* The interpreter's specialised calls want a method of exactly the object's type; one that is
 * inherited goes the long way. So a frozen type has the readers of its base as its own. */
static int own_methods(PyTypeObject *type) {
  for (PyMethodDef *m = type->tp_base->tp_methods; m->ml_name != NULL; m++) {
    if (m->ml_flags & (METH_CLASS | METH_STATIC | METH_COEXIST))
      continue;
    PyObject *name = PyUnicode_InternFromString(m->ml_name);
    PyObject *method = name == NULL ? NULL : PyDescr_NewMethod(type, m);
    int bad = method == NULL || PyDict_SetDefault(type->tp_dict, name, method) == NULL;
    Py_XDECREF(method);
    Py_XDECREF(name);
    if (bad)
      return -1;
  }
  PyType_Modified(type);
  return 0;
}

int pm_frozen_types_ready(void) {
  /* Not inherited by a type that has a tp_hash of its own. */
  PmFrozenSet_Type.tp_richcompare = PyFrozenSet_Type.tp_richcompare;
  if (PyType_Ready(&PmFrozenDict_Type) < 0 || PyType_Ready(&PmFrozenList_Type) < 0 ||
      PyType_Ready(&PmFrozenSet_Type) < 0 || PyType_Ready(&PmFrozenInstance_Type) < 0)
    return -1;
  pm_list_like(&PmFrozenList_Type);
  if (own_methods(&PmFrozenDict_Type) < 0 || own_methods(&PmFrozenList_Type) < 0 ||
      own_methods(&PmFrozenSet_Type) < 0)
    return -1;
  /* A frozenset may be weakly referenced, and the reference is written into it. */
  PmFrozenSet_Type.tp_weaklistoffset = 0;
  return 0;
}

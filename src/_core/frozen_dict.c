/* FrozenDict: a dict whose memory is a pool's.
 *
 * Reading is dict's own code, inherited slot by slot; what would write raises
 * TypeError. Whatever gives a new dict (copy, |, calling the type) gives a plain
 * one. C code that writes through PyDict_SetItem() goes around all this and
 * meets the MMU.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frozen_types.h"

static int ass_subscript(PyObject *self, PyObject *key, PyObject *value) {
  (void)key;
  PyErr_Format(PyExc_TypeError, "'%s' object does not support item %s", "FrozenDict",
               value ? "assignment" : "deletion");
  (void)self;
  return -1;
}

static PyObject *plain_copy(PyObject *self, PyObject *unused) {
  (void)unused;
  return PyDict_Copy(self);
}

static PyObject *or_(PyObject *left, PyObject *right) {
  if (!PyDict_Check(left) || !PyDict_Check(right))
    Py_RETURN_NOTIMPLEMENTED;
  PyObject *result = PyDict_Copy(left);
  if (result != NULL && PyDict_Update(result, right) < 0)
    Py_CLEAR(result);
  return result;
}

static PyObject *inplace_or(PyObject *self, PyObject *other) {
  (void)other;
  return pm_frozen_error(self, "|=");
}

static PyObject *new_(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  (void)type;
  return pm_plain_new(&PyDict_Type, args, kwargs);
}

PM_REFUSE(refuse_clear, "clear")
PM_REFUSE(refuse_pop, "pop")
PM_REFUSE(refuse_popitem, "popitem")
PM_REFUSE(refuse_setdefault, "setdefault")
PM_REFUSE(refuse_update, "update")

static PyMethodDef methods[] = {
    PM_REFUSING(refuse_clear, "clear"),
    PM_REFUSING(refuse_pop, "pop"),
    PM_REFUSING(refuse_popitem, "popitem"),
    PM_REFUSING(refuse_setdefault, "setdefault"),
    PM_REFUSING(refuse_update, "update"),
    {"copy", plain_copy, METH_NOARGS, "A plain dict with the same items."},
    {"__copy__", plain_copy, METH_NOARGS, "A plain dict with the same items."},
    {"__deepcopy__", pm_frozen_deepcopy, METH_O, "A plain, mutable deep copy."},
    {"__reduce_ex__", pm_frozen_reduce, METH_O, "Pickles as a plain dict."},
    {"__reduce__", pm_frozen_reduce, METH_NOARGS, "Pickles as a plain dict."},
    {NULL, NULL, 0, NULL}};

static PyMappingMethods mapping = {.mp_ass_subscript = ass_subscript};
static PyNumberMethods number = {.nb_or = or_, .nb_inplace_or = inplace_or};

PyTypeObject PmFrozenDict_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.FrozenDict",
    .tp_doc = PyDoc_STR("A dict in a pool: it is read as any dict, and never changes."),
    .tp_base = &PyDict_Type,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_as_mapping = &mapping,
    .tp_as_number = &number,
    .tp_methods = methods,
    .tp_setattro = pm_frozen_setattro,
    .tp_init = pm_frozen_init,
    .tp_new = new_,
};

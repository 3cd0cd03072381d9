/* FrozenList: a list whose memory is a pool's. See frozen_dict.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frozen_types.h"

static int refuse_item(PyObject *value) {
  PyErr_Format(PyExc_TypeError, "'FrozenList' object does not support item %s",
               value ? "assignment" : "deletion");
  return -1;
}

static int ass_subscript(PyObject *self, PyObject *key, PyObject *value) {
  (void)self;
  (void)key;
  return refuse_item(value);
}

static int ass_item(PyObject *self, Py_ssize_t i, PyObject *value) {
  (void)self;
  (void)i;
  return refuse_item(value);
}

/* list's own subscript, with a shorter way for a small index: the interpreter's specialised
 * instruction wants an exact list, so this is what frozen[i] runs. */
static PyObject *subscript(PyObject *self, PyObject *key) {
  if (PyLong_CheckExact(key)) {
    Py_ssize_t i = pm_long_index(key);
    if (i >= 0 && i < Py_SIZE(self))
      return Py_NewRef(((PyListObject *)self)->ob_item[i]);
  }
  return PyList_Type.tp_as_mapping->mp_subscript(self, key);
}

static PyObject *richcompare(PyObject *self, PyObject *other, int op) {
  PyObject *theirs = pm_ask_subclass(self, other, op);
  return theirs != Py_NotImplemented ? theirs : PyList_Type.tp_richcompare(self, other, op);
}

static PyObject *plain_copy(PyObject *self, PyObject *unused) {
  (void)unused;
  return PyList_GetSlice(self, 0, Py_SIZE(self));
}

static PyObject *inplace_concat(PyObject *self, PyObject *other) {
  (void)other;
  return pm_frozen_error(self, "+=");
}

static PyObject *inplace_repeat(PyObject *self, Py_ssize_t n) {
  (void)n;
  return pm_frozen_error(self, "*=");
}

static PyObject *new_(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  (void)type;
  return pm_plain_new(&PyList_Type, args, kwargs);
}

PM_REFUSE(refuse_append, "append")
PM_REFUSE(refuse_clear, "clear")
PM_REFUSE(refuse_extend, "extend")
PM_REFUSE(refuse_insert, "insert")
PM_REFUSE(refuse_pop, "pop")
PM_REFUSE(refuse_remove, "remove")
PM_REFUSE(refuse_reverse, "reverse")
PM_REFUSE(refuse_sort, "sort")

static PyMethodDef methods[] = {
    PM_REFUSING(refuse_append, "append"),
    PM_REFUSING(refuse_clear, "clear"),
    PM_REFUSING(refuse_extend, "extend"),
    PM_REFUSING(refuse_insert, "insert"),
    PM_REFUSING(refuse_pop, "pop"),
    PM_REFUSING(refuse_remove, "remove"),
    PM_REFUSING(refuse_reverse, "reverse"),
    PM_REFUSING(refuse_sort, "sort"),
    {"copy", plain_copy, METH_NOARGS, "A plain list with the same items."},
    {"__copy__", plain_copy, METH_NOARGS, "A plain list with the same items."},
    {"__deepcopy__", pm_frozen_deepcopy, METH_O, "A plain, mutable deep copy."},
    {"__reduce_ex__", pm_frozen_reduce, METH_O, "Pickles as a plain list."},
    {"__reduce__", pm_frozen_reduce, METH_NOARGS, "Pickles as a plain list."},
    {NULL, NULL, 0, NULL}};

static PyMappingMethods mapping = {.mp_subscript = subscript, .mp_ass_subscript = ass_subscript};
static PySequenceMethods sequence = {
    .sq_ass_item = ass_item,
    .sq_inplace_concat = inplace_concat,
    .sq_inplace_repeat = inplace_repeat,
};

PyTypeObject PmFrozenList_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.FrozenList",
    .tp_doc = PyDoc_STR("A list in a pool: it is read as any list, and never changes."),
    .tp_base = &PyList_Type,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_as_mapping = &mapping,
    .tp_as_sequence = &sequence,
    .tp_methods = methods,
    .tp_richcompare = richcompare,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_setattro = pm_frozen_setattro,
    .tp_init = pm_frozen_init,
    .tp_new = new_,
};

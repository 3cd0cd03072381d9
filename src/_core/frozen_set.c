/* FrozenSet: what a set becomes, a frozenset that remembers having been a set.
 *
 * It thaws to a set, prints as one, and its operators give plain sets, as the
 * original's did. Its mutators are there and refuse by name. It has no hash, as
 * a set has none: as a key it could not be thawed to a set. What was a frozenset
 * stays an exact frozenset.
 *
 * SPDX-License-Identifier: MIT
 */
#include "frozen_types.h"

/* A new plain set of the same items; steals `any`, NULL stays NULL. */
static PyObject *as_set(PyObject *any) {
  if (any == NULL || !PyFrozenSet_Check(any))
    return any;
  PyObject *set = PySet_New(any);
  Py_DECREF(any);
  return set;
}

static PyObject *plain_copy(PyObject *self, PyObject *unused) {
  (void)unused;
  return PySet_New(self);
}

/* frozenset's operator on plain operands: on ours it would build a FrozenSet
 * outside any pool. */
static PyObject *operate(PyObject *left, PyObject *right, binaryfunc op) {
  if (!PyAnySet_Check(left) || !PyAnySet_Check(right))
    Py_RETURN_NOTIMPLEMENTED;
  if (!Py_IS_TYPE(left, &PmFrozenSet_Type))
    return op(left, right); /* the other operand decides the type */
  PyObject *plain = PySet_New(left);
  PyObject *result = plain == NULL ? NULL : op(plain, right);
  Py_XDECREF(plain);
  return result;
}

static PyObject *or_(PyObject *l, PyObject *r) {
  return operate(l, r, PyFrozenSet_Type.tp_as_number->nb_or);
}
static PyObject *and_(PyObject *l, PyObject *r) {
  if (PyAnySet_Check(l) && PyAnySet_Check(r) && Py_IS_TYPE(l, &PmFrozenSet_Type))
    return as_set(PyFrozenSet_Type.tp_as_number->nb_and(l, r)); /* needs no copy */
  return operate(l, r, PyFrozenSet_Type.tp_as_number->nb_and);
}
static PyObject *sub(PyObject *l, PyObject *r) {
  return operate(l, r, PyFrozenSet_Type.tp_as_number->nb_subtract);
}
static PyObject *xor_(PyObject *l, PyObject *r) {
  return operate(l, r, PyFrozenSet_Type.tp_as_number->nb_xor);
}

static PyObject *refuse_ior(PyObject *self, PyObject *o) {
  (void)o;
  return pm_frozen_error(self, "|=");
}
static PyObject *refuse_iand(PyObject *self, PyObject *o) {
  (void)o;
  return pm_frozen_error(self, "&=");
}
static PyObject *refuse_isub(PyObject *self, PyObject *o) {
  (void)o;
  return pm_frozen_error(self, "-=");
}
static PyObject *refuse_ixor(PyObject *self, PyObject *o) {
  (void)o;
  return pm_frozen_error(self, "^=");
}

/* set's method of that name, on a plain copy. */
static PyObject *on_copy(PyObject *self, PyObject *args, const char *name) {
  PyObject *plain = PySet_New(self);
  PyObject *method = plain == NULL ? NULL : PyObject_GetAttrString(plain, name);
  PyObject *result = method == NULL ? NULL : PyObject_CallObject(method, args);
  Py_XDECREF(method);
  Py_XDECREF(plain);
  return result;
}
static PyObject *union_(PyObject *self, PyObject *args) { return on_copy(self, args, "union"); }
static PyObject *intersection(PyObject *self, PyObject *args) {
  return on_copy(self, args, "intersection");
}
static PyObject *difference(PyObject *self, PyObject *args) {
  return on_copy(self, args, "difference");
}
static PyObject *symmetric_difference(PyObject *self, PyObject *args) {
  return on_copy(self, args, "symmetric_difference");
}

/* In its own order: that of a plain copy, whose table may be smaller, is another. */
static PyObject *repr(PyObject *self) {
  if (PySet_GET_SIZE(self) == 0)
    return PyUnicode_FromString("set()");
  PyObject *items = PySequence_List(self);
  PyObject *list = items == NULL ? NULL : PyObject_Repr(items);
  PyObject *inside =
      list == NULL ? NULL : PyUnicode_Substring(list, 1, PyUnicode_GET_LENGTH(list) - 1);
  PyObject *text = inside == NULL ? NULL : PyUnicode_FromFormat("{%U}", inside);
  Py_XDECREF(inside);
  Py_XDECREF(list);
  Py_XDECREF(items);
  return text;
}

static PyObject *new_(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  (void)type;
  return pm_plain_new(&PySet_Type, args, kwargs);
}

PM_REFUSE(refuse_add, "add")
PM_REFUSE(refuse_clear, "clear")
PM_REFUSE(refuse_discard, "discard")
PM_REFUSE(refuse_pop, "pop")
PM_REFUSE(refuse_remove, "remove")
PM_REFUSE(refuse_update, "update")
PM_REFUSE(refuse_difference_update, "difference_update")
PM_REFUSE(refuse_intersection_update, "intersection_update")
PM_REFUSE(refuse_symmetric_difference_update, "symmetric_difference_update")

static PyMethodDef methods[] = {
    PM_REFUSING(refuse_add, "add"),
    PM_REFUSING(refuse_clear, "clear"),
    PM_REFUSING(refuse_discard, "discard"),
    PM_REFUSING(refuse_pop, "pop"),
    PM_REFUSING(refuse_remove, "remove"),
    PM_REFUSING(refuse_update, "update"),
    PM_REFUSING(refuse_difference_update, "difference_update"),
    PM_REFUSING(refuse_intersection_update, "intersection_update"),
    PM_REFUSING(refuse_symmetric_difference_update, "symmetric_difference_update"),
    {"union", union_, METH_VARARGS, "A plain set: the union with others."},
    {"intersection", intersection, METH_VARARGS, "A plain set: what all have."},
    {"difference", difference, METH_VARARGS, "A plain set: what no other has."},
    {"symmetric_difference", symmetric_difference, METH_VARARGS, "A plain set: what one has."},
    {"copy", plain_copy, METH_NOARGS, "A plain set with the same items."},
    {"__copy__", plain_copy, METH_NOARGS, "A plain set with the same items."},
    {"__deepcopy__", pm_frozen_deepcopy, METH_O, "A plain, mutable deep copy."},
    {"__reduce_ex__", pm_frozen_reduce, METH_O, "Pickles as a plain set."},
    {"__reduce__", pm_frozen_reduce, METH_NOARGS, "Pickles as a plain set."},
    {NULL, NULL, 0, NULL}};

static PyNumberMethods number = {
    .nb_or = or_,
    .nb_and = and_,
    .nb_subtract = sub,
    .nb_xor = xor_,
    .nb_inplace_or = refuse_ior,
    .nb_inplace_and = refuse_iand,
    .nb_inplace_subtract = refuse_isub,
    .nb_inplace_xor = refuse_ixor,
};

PyTypeObject PmFrozenSet_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.FrozenSet",
    .tp_doc = PyDoc_STR("A frozenset in a pool that was a set."),
    .tp_base = &PyFrozenSet_Type,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_as_number = &number,
    .tp_methods = methods,
    .tp_repr = repr,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_setattro = pm_frozen_setattro,
    .tp_init = pm_frozen_init,
    .tp_new = new_,
};

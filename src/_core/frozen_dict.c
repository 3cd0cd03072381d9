/* FrozenDict: a dict whose memory is a pool's.
 *
 * Reading is dict's own code, but for the look-up of a str, which is shorter in a
 * table that never changes, and for ==. What would write raises TypeError. Whatever
 * gives a new dict (copy, |, calling the type) gives a plain one. C code that writes
 * through PyDict_SetItem() goes around all this and meets the MMU.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cpython_lookup.h"
#include "frozen_types.h"

static PyObject *subscript(PyObject *self, PyObject *key) {
  PyObject *value = pm_can_find(self, key) ? pm_find(self, key) : NULL;
  /* dict's own raises KeyError, and knows keys that are no strs. */
  return value != NULL ? Py_NewRef(value) : PyDict_Type.tp_as_mapping->mp_subscript(self, key);
}

static int contains(PyObject *self, PyObject *key) {
  return pm_can_find(self, key) ? pm_find(self, key) != NULL : PyDict_Contains(self, key);
}

static PyObject *get(PyObject *self, PyObject *const *args, Py_ssize_t n) {
  if (n < 1 || n > 2)
    return PyErr_Format(PyExc_TypeError,
                        n < 1 ? "get expected at least 1 argument, got %zd"
                              : "get expected at most 2 arguments, got %zd",
                        n);
  PyObject *value;
  if (pm_can_find(self, args[0])) {
    value = pm_find(self, args[0]);
  } else {
    value = PyDict_GetItemWithError(self, args[0]);
    if (value == NULL && PyErr_Occurred())
      return NULL;
  }
  if (value == NULL)
    value = n == 2 ? args[1] : Py_None;
  return Py_NewRef(value);
}

/* As dict's own: the same keys, whose values are equal. But dicts that are compared mostly have
 * their keys in the same order, so before a key is looked up the other's next one is tried. The
 * other may be changed by an __eq__ that is called; it is read anew at each step. */
static int equal(PyObject *self, PyObject *other) {
  if (PyDict_GET_SIZE(self) != PyDict_GET_SIZE(other))
    return 0;
  Py_ssize_t mine = 0, theirs = 0;
  PyObject *key, *value, *their_key, *their_value;
  int in_step = 1;
  while (PyDict_Next(self, &mine, &key, &value)) {
    in_step = in_step && PyDict_Next(other, &theirs, &their_key, &their_value) &&
              (key == their_key ||
               (PyUnicode_CheckExact(key) && PyUnicode_CheckExact(their_key) &&
                PM_STR(key)->hash == PM_STR(their_key)->hash && pm_str_equal(key, their_key)));
    if (!in_step) {
      their_value = PyDict_GetItemWithError(other, key);
      if (their_value == NULL)
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_INCREF(their_value);
    int same = PyObject_RichCompareBool(their_value, value, Py_EQ);
    Py_DECREF(their_value);
    if (same <= 0)
      return same;
  }
  return 1;
}

static PyObject *richcompare(PyObject *self, PyObject *other, int op) {
  if ((op != Py_EQ && op != Py_NE) || !PyDict_Check(other))
    Py_RETURN_NOTIMPLEMENTED;
  PyObject *theirs = pm_ask_subclass(self, other, op);
  if (theirs != Py_NotImplemented)
    return theirs;
  int same = equal(self, other);
  return same < 0 ? NULL : PyBool_FromLong(same == (op == Py_EQ));
}

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
    {"get", (PyCFunction)(void (*)(void))get, METH_FASTCALL,
     "get($self, key, default=None, /)\n--\n\nThe value of key if there is one, else default."},
    {"copy", plain_copy, METH_NOARGS, "A plain dict with the same items."},
    {"__copy__", plain_copy, METH_NOARGS, "A plain dict with the same items."},
    {"__deepcopy__", pm_frozen_deepcopy, METH_O, "A plain, mutable deep copy."},
    {"__reduce_ex__", pm_frozen_reduce, METH_O, "Pickles as a plain dict."},
    {"__reduce__", pm_frozen_reduce, METH_NOARGS, "Pickles as a plain dict."},
    {NULL, NULL, 0, NULL}};

static PyMappingMethods mapping = {.mp_subscript = subscript, .mp_ass_subscript = ass_subscript};
static PySequenceMethods sequence = {.sq_contains = contains};
static PyNumberMethods number = {.nb_or = or_, .nb_inplace_or = inplace_or};

PyTypeObject PmFrozenDict_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.FrozenDict",
    .tp_doc = PyDoc_STR("A dict in a pool: it is read as any dict, and never changes."),
    .tp_base = &PyDict_Type,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_as_mapping = &mapping,
    .tp_as_number = &number,
    .tp_as_sequence = &sequence,
    .tp_methods = methods,
    .tp_richcompare = richcompare,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_setattro = pm_frozen_setattro,
    .tp_init = pm_frozen_init,
    .tp_new = new_,
};

/* in_sight: the objects of some types that other objects refer to.
 *
 * NumPy's arrays are not known to the garbage collector, but whoever refers to one mostly is.
 * Before a pool is protected the views of its arrays are looked for, through everything that the
 * collector knows: a quarter of a million references in a small program. In Python that took 200
 * ms.
 *
 *     gc.get_objects() --> dict --> array                      found
 *                           '-----> tuple (untracked) --> array   found, too
 *
 * Nothing of Python runs meanwhile: what is looked at does not change.
 *
 * SPDX-License-Identifier: MIT
 */
#include "in_sight.h"

#include "ptrmap.h"

typedef struct {
  PyTypeObject *type;
  pm_map seen;
  PyObject *found, *untracked; /* lists */
  int failed;
} search;

static int visit(PyObject *op, void *arg) {
  search *s = arg;
  uint32_t *number;
  int wanted = PyMemoryView_Check(op) || PyType_IsSubtype(Py_TYPE(op), s->type);
  if (!wanted && !((PyTuple_CheckExact(op) || PyDict_CheckExact(op)) && !PyObject_GC_IsTracked(op)))
    return 0;
  int is_new = pm_map_enter(&s->seen, op, &number);
  if (is_new > 0) {
    *number = 0;
    is_new = PyList_Append(wanted ? s->found : s->untracked, op);
  }
  s->failed = is_new < 0;
  return s->failed;
}

static void look_into(search *s, PyObject *objects) {
  for (Py_ssize_t i = 0; !s->failed && i < PyList_GET_SIZE(objects); i++) {
    PyObject *op = PyList_GET_ITEM(objects, i);
    if (PyObject_IS_GC(op) && Py_TYPE(op)->tp_traverse != NULL)
      (void)Py_TYPE(op)->tp_traverse(op, visit, s);
  }
}

PyObject *pm_in_sight(PyObject *module, PyObject *args) {
  search s = {0};
  PyObject *objects;
  (void)module;
  if (!PyArg_ParseTuple(args, "O!O!", &PyList_Type, &objects, &PyType_Type, &s.type))
    return NULL;
  s.found = PyList_New(0);
  s.untracked = PyList_New(0);
  if (s.found != NULL && s.untracked != NULL) {
    look_into(&s, objects);
    look_into(&s, s.untracked); /* grows meanwhile */
  }
  if (s.failed || s.untracked == NULL)
    Py_CLEAR(s.found);
  Py_XDECREF(s.untracked);
  pm_map_free(&s.seen);
  return s.found;
}

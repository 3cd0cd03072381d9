/* freeze_resolve: deals with what discovery took note of. See freeze_classes.h.
 *
 * This is where freeze runs Python code before it has written anything: the
 * resolver, the making of twins, and what users registered to stand for their
 * objects. What is replaced is held until the end of the call, so that no
 * address can be that of another object by then.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"
#include "freeze.h"

static int replace_all(pm_session *s) {
  for (Py_ssize_t i = 0; s->replaced != NULL && i < PyList_GET_SIZE(s->replaced); i += 2) {
    PyObject *op = PyList_GET_ITEM(s->replaced, i);
    const pm_class *c = pm_class_of(Py_TYPE(op));
    if (PyList_GET_ITEM(s->replaced, i + 1) != Py_Ellipsis)
      continue; /* known from an earlier round */
    if (c == NULL || (c->kind != PM_CLASS_REPLACED && c->kind != PM_CLASS_ADOPTED)) {
      PyErr_Format(PyExc_RuntimeError, "cannot freeze %s: its type was registered anew meanwhile",
                   Py_TYPE(op)->tp_name);
      return -1;
    }
    PyObject *stands = PyObject_CallOneArg(c->detail, op);
    if (stands == NULL || PyList_SetItem(s->replaced, i + 1, stands) < 0)
      return -1;
  }
  return 0;
}

int pm_resolve(pm_session *s) {
  int bad = 0;
  s->ran_python = 1;
  for (Py_ssize_t i = 0; !bad && s->types != NULL && i < PyList_GET_SIZE(s->types); i++)
    bad = pm_class_resolve(PyList_GET_ITEM(s->types, i));
  Py_CLEAR(s->types);
  for (size_t i = 0; i < s->n_classes; i++) {
    if (!bad)
      bad = pm_class_make_twin(s->classes[i]);
    pm_class_unnote(s->classes[i]);
  }
  s->n_classes = 0;
  return bad ? -1 : replace_all(s);
}

void pm_session_free(pm_session *s) {
  for (size_t i = 0; i < s->n_classes; i++)
    pm_class_unnote(s->classes[i]);
  pm_scratch_free(s->classes, s->room_classes * sizeof *s->classes);
  Py_XDECREF(s->types);
  Py_XDECREF(s->replaced);
  pm_map_free(&s->replacement);
}

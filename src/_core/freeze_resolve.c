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
    PyObject *stands = c->kind == PM_CLASS_ADOPTED
                           ? PyObject_CallFunctionObjArgs(c->detail, op, s->pool, NULL)
                           : PyObject_CallOneArg(c->detail, op);
    if (stands == NULL)
      s->culprit = op;
    if (stands == NULL || PyList_SetItem(s->replaced, i + 1, stands) < 0)
      return -1;
  }
  return 0;
}

/* Where the culprit is: the graph is walked once more, until it is met. */
static PyObject *path_to_culprit(pm_session *s, PyObject *root) {
  pm_plan p = {.session = s, .preview = 1, .wanted = s->culprit};
  uint32_t edge;
  PyObject *path = NULL;
  p.keep = PyList_New(0);
  if (p.keep != NULL && pm_discover(&p, root, &edge) == 0) {
    pm_step *steps = pm_steps(&p);
    for (size_t i = 0; steps != NULL && path == NULL && i < p.n_findings; i++)
      if (p.findings[i].op == s->culprit)
        path = pm_path(&p, steps, p.findings[i].parent, p.findings[i].position);
    PyMem_RawFree(steps);
  }
  pm_plan_free(&p);
  return path != NULL || PyErr_Occurred() ? path : PyUnicode_FromString("");
}

void pm_blame(pm_session *s, PyObject *root) {
  PyObject *error = PyErr_GetRaisedException();
  PyObject *path = path_to_culprit(s, root);
  if (path == NULL) { /* out of memory; the first exception says more */
    PyErr_SetRaisedException(error);
    return;
  }
  if (PyErr_GivenExceptionMatches(error, PmUnfreezableError) &&
      !PyObject_HasAttrString(error, "path")) {
    PyObject *advice = PyObject_Str(error);
    const char *text = advice == NULL ? NULL : PyUnicode_AsUTF8(advice);
    if (text != NULL)
      pm_raise_unfreezable(s->culprit, path, text);
    Py_XDECREF(advice);
    Py_DECREF(error);
  } else {
    PyObject *note = PyUnicode_FromFormat("pmalloc: raised by what %s was registered with, at %U",
                                          Py_TYPE(s->culprit)->tp_name, path);
    PyObject *nothing = note == NULL ? NULL : PyObject_CallMethod(error, "add_note", "O", note);
    if (nothing == NULL)
      PyErr_Clear();
    Py_XDECREF(nothing);
    Py_XDECREF(note);
    PyErr_SetRaisedException(error);
  }
  Py_DECREF(path);
}

int pm_resolve(pm_session *s) {
  int bad = 0;
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

/* freeze_preview: what freeze would do, without doing it.
 *
 * The same discovery and the same placement, so that the numbers are those of a
 * freeze; but where that would raise, this takes it down and goes on. Twins of
 * classes are made, and users' replacements are called, for without them nobody
 * knows what would be frozen. No pool is touched.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"

/* Counts by name of type: {'builtins.dict': 2, ...} */
static int count_types(const pm_plan *p, PyObject *counts) {
  for (size_t i = 0; i < p->n_nodes; i++) {
    PyObject *type = (PyObject *)Py_TYPE(p->nodes[i].src);
    PyObject *before = PyDict_GetItemWithError(counts, type);
    if (before == NULL && PyErr_Occurred())
      return -1;
    PyObject *now = PyLong_FromSize_t((before == NULL ? 0 : PyLong_AsSize_t(before)) + 1);
    int bad = now == NULL ? -1 : PyDict_SetItem(counts, type, now);
    Py_XDECREF(now);
    if (bad)
      return -1;
  }
  return 0;
}

/* (path, object, advice) of the first ones; *total is how many there are. */
static PyObject *list_findings(pm_plan *p, const pm_step *steps, int refused, Py_ssize_t limit,
                               Py_ssize_t *total) {
  PyObject *list = PyList_New(0);
  *total = 0;
  for (size_t i = 0; list != NULL && i < p->n_findings; i++) {
    const pm_finding *f = &p->findings[i];
    if (f->refused != refused || (*total)++ >= limit)
      continue;
    PyObject *path = pm_path(p, steps, f->parent, f->position);
    PyObject *item = path == NULL ? NULL
                                  : Py_BuildValue("(NOs)", path, (PyObject *)f->op,
                                                  refused ? pm_advice(f->op) : "");
    if (item == NULL || PyList_Append(list, item) < 0)
      Py_CLEAR(list);
    Py_XDECREF(item);
  }
  return list;
}

PyObject *pm_preview(PyObject *obj, PyObject *externals, Py_ssize_t limit) {
  pm_session session = {.pool = Py_None, .externals = externals};
  pm_plan p = {0};
  PyObject *result = NULL, *types = NULL, *outside = NULL, *refused = NULL;
  pm_step *steps = NULL;
  Py_ssize_t n_outside, n_refused;
  uint32_t root;
  size_t shared, shared_objects;
  if (pm_discover_all(&p, &session, obj, &root, 1) < 0 || pm_find_shapes(&p) < 0)
    goto done;
  size_t ordinary = p.ordinary_bytes;
  for (size_t i = 0; i < p.n_nodes; i++)
    ordinary += pm_ordinary_bytes(p.nodes[i].src);
  pm_want_keys(&p);
  shared = pm_plan_shared_keys(&p, &shared_objects);
  pm_place(&p);
  types = PyDict_New();
  steps = pm_steps(&p);
  if (types == NULL || steps == NULL || count_types(&p, types) < 0 ||
      (outside = list_findings(&p, steps, 0, limit, &n_outside)) == NULL ||
      (refused = list_findings(&p, steps, 1, limit, &n_refused)) == NULL)
    goto done;
  result =
      Py_BuildValue("{snsnsnsnsOsOsnsOsn}", "objects", (Py_ssize_t)(p.objects + shared_objects),
                    "pool_bytes", (Py_ssize_t)p.bytes, "shared_key_bytes", (Py_ssize_t)shared,
                    "ordinary_bytes", (Py_ssize_t)ordinary, "types", types, "external", outside,
                    "n_external", n_outside, "refused", refused, "n_refused", n_refused);
done:
  PyMem_RawFree(steps);
  Py_XDECREF(types);
  Py_XDECREF(outside);
  Py_XDECREF(refused);
  pm_plan_free(&p);
  pm_session_free(&session);
  return result;
}

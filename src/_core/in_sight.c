/* in_sight: the objects of some types that other objects refer to.
 *
 * NumPy's arrays are not known to the garbage collector, but whoever refers to one mostly is.
 * Before a pool is protected the views of its arrays are looked for, through everything that the
 * collector knows: a quarter of a million references in a small program. In Python that took 200
 * ms.
 *
 *     all the collector knows --> dict --> array                         found
 *                                  '-----> tuple (untracked) --> array   found, too
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
  PyObject *found, *untracked, *known; /* lists */
  int failed;
} search;

/* What most references lead to, and is asked about by a bit of its type. */
#define COMMON                                                                                     \
  (Py_TPFLAGS_LONG_SUBCLASS | Py_TPFLAGS_UNICODE_SUBCLASS | Py_TPFLAGS_BYTES_SUBCLASS |            \
   Py_TPFLAGS_LIST_SUBCLASS | Py_TPFLAGS_TUPLE_SUBCLASS | Py_TPFLAGS_DICT_SUBCLASS |               \
   Py_TPFLAGS_TYPE_SUBCLASS | Py_TPFLAGS_BASE_EXC_SUBCLASS)

static int is_wanted(const search *s, PyTypeObject *type) {
  return !(type->tp_flags & COMMON) &&
         (type == s->type || type == &PyMemoryView_Type || PyType_IsSubtype(type, s->type));
}

static int visit(PyObject *op, void *arg) {
  search *s = arg;
  uint32_t *number;
  int wanted = is_wanted(s, Py_TYPE(op));
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

static void look_into(search *s, PyObject *op) {
  if (PyObject_IS_GC(op) && Py_TYPE(op)->tp_traverse != NULL)
    (void)Py_TYPE(op)->tp_traverse(op, visit, s);
}

/* For PyUnstable_GC_VisitObjects; 0 ends that. */
static int each(PyObject *op, void *arg) {
  search *s = arg;
  if (op != s->found && op != s->untracked && op != s->known)
    look_into(s, op);
  return !s->failed;
}

PyObject *pm_in_sight(PyObject *module, PyObject *args) {
  search s = {0};
  PyObject *more;
  uint32_t *number;
  (void)module;
  if (!PyArg_ParseTuple(args, "O!O!O!", &PyType_Type, &s.type, &PyList_Type, &s.known, &PyList_Type,
                        &more))
    return NULL;
  s.found = PyList_New(0);
  s.untracked = PyList_New(0);
  s.failed = s.found == NULL || s.untracked == NULL;
  for (Py_ssize_t i = 0; !s.failed && i < PyList_GET_SIZE(s.known); i++)
    if (pm_map_enter(&s.seen, PyList_GET_ITEM(s.known, i), &number) < 0)
      s.failed = 1;
    else
      *number = 0;
  if (!s.failed)
    PyUnstable_GC_VisitObjects(each, &s);
  for (Py_ssize_t i = 0; !s.failed && i < PyList_GET_SIZE(more); i++)
    (void)visit(PyList_GET_ITEM(more, i), &s);
  for (Py_ssize_t i = 0; !s.failed && i < PyList_GET_SIZE(s.untracked); i++) /* it grows */
    look_into(&s, PyList_GET_ITEM(s.untracked, i));
  if (s.failed)
    Py_CLEAR(s.found);
  Py_XDECREF(s.untracked);
  pm_map_free(&s.seen);
  return s.found;
}

/* ---- memoryviews ---- */

typedef struct {
  PyObject *list;
  int failed;
} views;

static int add_view(PyObject *op, void *arg) {
  views *v = arg;
  v->failed = Py_IS_TYPE(op, &PyMemoryView_Type) && PyList_Append(v->list, op) < 0;
  return !v->failed;
}

PyObject *pm_memoryviews(PyObject *module, PyObject *unused) {
  views v = {.list = PyList_New(0)};
  (void)module;
  (void)unused;
  if (v.list != NULL)
    PyUnstable_GC_VisitObjects(add_view, &v);
  if (v.failed)
    Py_CLEAR(v.list);
  return v.list;
}

/* freeze_scout: looks ahead where discovery stops.
 *
 * Discovery stops at a class that is not known, or one that wants another twin, and begins anew
 * when that was dealt with. Where such an object is met late, behind a million records, the walk up
 * to it is dear; and the objects that it holds in turn may be of classes that nobody has seen
 * either, a walk for each. So before it begins anew, somebody runs ahead:
 *
 *     records ... records ... records ... | App | ---> Router ---> Route ---> Rule
 *     `-- walked, a second --------------'  stop       `-- looked at now, in a millisecond --'
 *
 * He goes deep rather than wide, and not far: what he misses costs another walk, no more. He only
 * takes notes, as discovery does.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"

enum { OBJECTS = 4096, CHILDREN = 64 };

typedef struct {
  pm_plan *plan;
  pm_map seen;
  PyObject **stack;
  size_t n, room, looked_at, children;
  int failed;
} scout;

static int push(PyObject *op, void *of) {
  scout *s = of;
  uint32_t *at;
  if (s->children >= CHILDREN || s->looked_at >= OBJECTS || pm_is_immortal(op) ||
      PyType_Check(op) || PyModule_Check(op) || PyFunction_Check(op) ||
      pm_is_allowed(s->plan, Py_TYPE(op)))
    return 0;
  int kind = pm_kind_of(Py_TYPE(op));
  if (kind >= 0 && kind < PM_KIND_TUPLE)
    return 0;
  int is_new = pm_map_enter(&s->seen, op, &at);
  if (is_new > 0) {
    *at = 0;
    s->children++;
    s->looked_at++;
    is_new = pm_grow((void **)&s->stack, &s->room, s->n, sizeof *s->stack);
    if (is_new == 0)
      s->stack[s->n++] = op;
  }
  s->failed = is_new < 0;
  return s->failed;
}

/* Takes note of the object's class; whether its parts are worth a look, or -1. */
static int look_at(pm_plan *p, PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  pm_session *session = p->session;
  if (pm_kind_of(type) >= 0)
    return 1;
  pm_class *c = pm_class_of(type);
  if (c == NULL) {
    if (session->types == NULL && (session->types = PyList_New(0)) == NULL)
      return -1;
    return PyList_Append(session->types, (PyObject *)type) < 0 ? -1 : pm_is_python_class(type);
  }
  if (c->kind != PM_KIND_INSTANCE)
    return c->kind == PM_CLASS_REPLACED;
  return pm_note_instance(p, c, op) < 0 ? -1 : 1;
}

int pm_scout(pm_plan *p, PyObject *from) {
  scout s = {.plan = p};
  s.failed = pm_grow((void **)&s.stack, &s.room, 0, sizeof *s.stack) < 0;
  if (!s.failed)
    s.stack[s.n++] = from;
  while (!s.failed && s.n > 0) {
    PyObject *op = s.stack[--s.n];
    int deeper = look_at(p, op);
    s.children = 0;
    if (deeper > 0 && PyObject_IS_GC(op) && Py_TYPE(op)->tp_traverse != NULL)
      (void)Py_TYPE(op)->tp_traverse(op, push, &s);
    s.failed |= deeper < 0;
  }
  pm_scratch_free(s.stack, s.room * sizeof *s.stack);
  pm_map_free(&s.seen);
  return s.failed ? -1 : 0;
}

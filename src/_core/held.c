/* held: what of a graph is referred to from elsewhere, and would go its own way.
 *
 * When an init phase ends, what lies in its dicts and lists is frozen by copying it. If somebody
 * else holds one of the originals, a list say, there are two from then on: his, which still
 * changes, and the frozen one. He has to be told.
 *
 * As the garbage collector does it: count the references that come from within, by each object's
 * own traversal, and see where the count of all is higher.
 *
 *      SETTINGS --> dict --> list 'admins' (2 references, 1 from within) <-- somebody else
 *                     '----> tuple (1, 1) --> list (1, 1)
 *
 * What is immutable does not go its own way; but what somebody reaches through it may.
 *
 * The graph is what freeze would copy: what stays outside (modules, functions, classes, what is
 * frozen already, what is of a type that is an external) is not looked into. Between
 * an instance and its attributes there may be objects that are no nodes of freeze, its __dict__ for
 * one, or the stand-in of a replaced one: they belong to the graph, too.
 *
 * SPDX-License-Identifier: MIT
 */
#include "born.h"

#define NOBODY UINT32_MAX
#define INSIDE "pmalloc.inside"

typedef struct {
  PyObject *op;
  Py_ssize_t refs; /* that are not accounted for */
  uint32_t parent; /* by whom it was found */
  uint8_t anchor;  /* its references are none of our business: it stays the same object */
  uint8_t seen;    /* in the second walk */
} member;

typedef struct {
  pm_plan *plan;
  pm_map map;
  member *members;
  size_t n, room;
  uint32_t at;        /* the one that is traversed */
  PyObject *own_dict; /* its __dict__, if there is one, */
  int met;            /* and whether the traversal told of it */
  int failed;
} graph;

static int is_mutable(PyObject *op) {
  int kind = pm_kind_of(Py_TYPE(op));
  if (kind < 0) {
    const pm_class *c = pm_class_of(Py_TYPE(op));
    kind = c == NULL ? -1 : c->kind;
  }
  return kind != PM_KIND_TUPLE && kind != PM_KIND_FROZENSET && kind != PM_KIND_PROXY &&
         !pm_is_builtin_frozendict(op);
}

/* Whether freeze looks into it, or replaces it by a copy that differs. */
static int belongs(const graph *g, PyObject *op) {
  if (pm_is_immortal(op))
    return 0;
  PyTypeObject *type = Py_TYPE(op);
  int kind = pm_kind_of(type);
  if (kind < 0) {
    const pm_class *c;
    if (PyType_Check(op) || pm_is_allowed(g->plan, type) || (c = pm_class_of(type)) == NULL)
      return 0;
    if (c->kind == PM_CLASS_REPLACED)
      return 1;
    kind = c->kind;
  }
  if (kind == PM_KIND_BYTEARRAY)
    return 1;
  return kind >= PM_KIND_TUPLE && pm_settle_born(g->plan, op) != PM_BORN_ELSEWHERE;
}

static int add(graph *g, PyObject *op, Py_ssize_t known, uint32_t parent, int anchor) {
  uint32_t *at;
  int is_new = pm_map_enter(&g->map, op, &at);
  if (is_new <= 0)
    return is_new;
  *at = (uint32_t)g->n;
  if (g->n >= NOBODY) {
    PyErr_SetString(PyExc_OverflowError, "more than 2**32 objects");
    return -1;
  }
  if (pm_grow((void **)&g->members, &g->room, g->n, sizeof *g->members) < 0)
    return -1;
  g->members[g->n++] = (member){
      .op = op, .refs = Py_REFCNT(op) - known, .parent = parent, .anchor = (uint8_t)(anchor != 0)};
  return 0;
}

static int count(PyObject *op, void *of) {
  graph *g = of;
  uint32_t number;
  if (op == NULL)
    return 0;
  g->met |= op == g->own_dict;
  if (pm_map_get(&g->map, op, &number)) {
    g->members[number].refs--;
  } else if (belongs(g, op) && add(g, op, 1, g->at, 0) < 0) {
    g->failed = 1;
    return 1;
  }
  return 0;
}

/* From 3.13 on an instance whose values are its own tells of these, and not of a __dict__ that
 * shows them. `data` is what visit() gets. */
static void traverse(graph *g, PyObject *op, visitproc visit, void *data) {
  if (!PyObject_IS_GC(op) || Py_TYPE(op)->tp_traverse == NULL)
    return;
  g->own_dict = pm_attributes_dict(op);
  g->met = 0;
  (void)Py_TYPE(op)->tp_traverse(op, visit, data);
  if (g->own_dict != NULL && !g->met && !g->failed)
    (void)visit(g->own_dict, data);
}

/* Where all begins: what was born, the originals, what replaces others. */
static int add_roots(graph *g, const struct pm_settling *s) {
  const PyObject *replaced = g->plan->session->replaced;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(s->all); i++)
    if (add(g, PyList_GET_ITEM(s->all, i), 0, NOBODY, 1) < 0)
      return -1;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(s->originals); i++) /* one reference is the list's */
    if (add(g, PyList_GET_ITEM(s->originals, i), 1, NOBODY, 0) < 0)
      return -1;
  for (Py_ssize_t i = 0; replaced != NULL && i < PyList_GET_SIZE(replaced); i++) {
    PyObject *op = PyList_GET_ITEM(replaced, i);
    if (belongs(g, op) && add(g, op, 1, NOBODY, i % 2) < 0)
      return -1;
  }
  return 0;
}

/* ---- who is to be told of ------------------------------------------------------ */

typedef struct {
  graph *graph;
  uint32_t *queue;
  size_t n, room;
} walk;

static int enqueue(walk *w, uint32_t number) {
  if (w->graph->members[number].seen || w->graph->members[number].anchor)
    return 0;
  w->graph->members[number].seen = 1;
  if (pm_grow((void **)&w->queue, &w->room, w->n, sizeof *w->queue) < 0)
    return -1;
  w->queue[w->n++] = number;
  return 0;
}

static int reach(PyObject *op, void *of) {
  walk *w = of;
  uint32_t number;
  w->graph->met |= op == w->graph->own_dict;
  if (op != NULL && pm_map_get(&w->graph->map, op, &number) && enqueue(w, number) < 0) {
    w->graph->failed = 1;
    return 1;
  }
  return 0;
}

/* [first of its line, ..., the object] */
static PyObject *line_of(const graph *g, uint32_t number) {
  PyObject *line = PyList_New(0);
  int bad = line == NULL ? -1 : 0;
  for (; !bad && number != NOBODY; number = g->members[number].parent)
    bad = PyList_Append(line, g->members[number].op);
  if (bad || PyList_Reverse(line) < 0)
    Py_CLEAR(line);
  return line;
}

/* From each that is held: itself where it may change, else the first below it that may. */
static int list_held(graph *g, PyObject *held) {
  walk w = {.graph = g};
  int bad = 0;
  for (size_t i = 0; !bad && i < g->n; i++)
    if (g->members[i].refs > 0)
      bad = enqueue(&w, (uint32_t)i);
  for (size_t i = 0; !bad && i < w.n; i++) {
    uint32_t number = w.queue[i];
    PyObject *op = g->members[number].op;
    if (is_mutable(op)) {
      PyObject *line = line_of(g, number);
      bad = line == NULL ? -1 : PyList_Append(held, line);
      Py_XDECREF(line);
    } else {
      traverse(g, op, reach, &w);
      bad = g->failed ? -1 : 0;
    }
  }
  pm_scratch_free(w.queue, w.room * sizeof *w.queue);
  return bad;
}

/* ---- all of it, for those who look for the holders ------------------------------- */

static void free_inside(PyObject *capsule) {
  pm_map *map = PyCapsule_GetPointer(capsule, INSIDE);
  pm_map_free(map);
  PyMem_RawFree(map);
}

static PyObject *keep_inside(graph *g) {
  pm_map *map = PyMem_RawMalloc(sizeof *map);
  if (map == NULL)
    return PyErr_NoMemory();
  *map = g->map;
  PyObject *capsule = PyCapsule_New(map, INSIDE, free_inside);
  if (capsule == NULL)
    PyMem_RawFree(map);
  else
    g->map = (pm_map){0};
  return capsule;
}

PyObject *pm_in_graph(PyObject *module, PyObject *args) {
  PyObject *capsule, *op;
  uint32_t number;
  (void)module;
  if (!PyArg_ParseTuple(args, "OO:in_graph", &capsule, &op))
    return NULL;
  const pm_map *map = PyCapsule_GetPointer(capsule, INSIDE);
  return map == NULL ? NULL : PyBool_FromLong(pm_map_get(map, op, &number));
}

int pm_find_held(pm_plan *p, struct pm_settling *s) {
  graph g = {.plan = p};
  int bad = add_roots(&g, s);
  for (size_t i = 0; !bad && i < g.n; i++) {
    g.at = (uint32_t)i;
    traverse(&g, g.members[i].op, count, &g);
    bad = g.failed ? -1 : 0;
  }
  if (!bad)
    bad = list_held(&g, s->held);
  if (!bad && PyList_GET_SIZE(s->held) > 0)
    bad = (s->inside = keep_inside(&g)) == NULL ? -1 : 0;
  pm_scratch_free(g.members, g.room * sizeof *g.members);
  pm_map_free(&g.map);
  return bad;
}

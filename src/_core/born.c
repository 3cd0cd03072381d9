/* born: see the header.
 *
 * SPDX-License-Identifier: MIT
 */
#include "born.h"

#include "errors.h"
#include "frozen_types.h"
#include "guards.h"

static size_t header_size(PyObject *op) { return (size_t)Py_TYPE(op)->tp_basicsize; }

/* ---- birth ------------------------------------------------------------------- */

/* What the gc head of a body says: the header that was born. */
static PyObject **born_word(PyObject *body) { return (PyObject **)(void *)body - 1; }

/* An ordinary shallow copy becomes the one in the pool: its header moves, and its old place is
 * given back without a word. One reference is never given back: nobody may free what is a pool's.
 */
static PyObject *move_in(pm_pool *pool, PyObject *copy) {
  struct pmalloc_region region;
  size_t size = header_size(copy);
  enum pmalloc_status status = pmalloc_pool_region(pool->pool, PM_GC_HEAD + size, &region);
  if (status != PMALLOC_OK)
    return pm_raise_status(status, "put a dict or list into", PyUnicode_AsUTF8(pool->name));
  PyObject *op = (PyObject *)(void *)(region.base + PM_GC_HEAD);
  if (PyObject_GC_IsTracked(copy))
    PyObject_GC_UnTrack(copy);
  memset(region.base, 0, PM_GC_HEAD);
  memcpy(op, copy, size);
  PyObject_GC_Del(copy);
  Py_INCREF(op);
  pmalloc_region_mark(&region, op);
  pmalloc_region_commit(pool->pool, &region, 1);
  pmalloc_pool_unsettled(pool->pool, 1);
  PyObject_GC_Track(op);
  return op;
}

PyObject *pm_pool_born(PyObject *op, PyObject *value) {
  pm_pool *self = (pm_pool *)op;
  enum pmalloc_mode mode = pmalloc_pool_mode(self->pool);
  if (!PyDict_CheckExact(value) && !PyList_CheckExact(value))
    return PyErr_Format(PyExc_TypeError, "a dict or a list is needed, not %s",
                        Py_TYPE(value)->tp_name);
  if (mode != PMALLOC_MODE_RO && mode != PMALLOC_MODE_WR)
    return PyErr_Format(PmError,
                        "cannot put a dict or list into pool '%U': in mode '%s' its memory is not "
                        "open until the end; use mode 'ro'",
                        self->name, pmalloc_mode_name(mode));
  if (self->born == NULL && (self->born = PyList_New(0)) == NULL)
    return NULL;
  /* Room in the list first: afterwards nothing may fail. */
  if (PyList_Append(self->born, Py_None) < 0)
    return NULL;
  PyObject *copy =
      PyDict_CheckExact(value) ? PyDict_Copy(value) : PyList_GetSlice(value, 0, PY_SSIZE_T_MAX);
  PyObject *born = copy == NULL ? NULL : move_in(self, copy);
  Py_ssize_t last = PyList_GET_SIZE(self->born) - 1;
  if (born == NULL) {
    Py_XDECREF(copy);
    Py_SET_SIZE((PyVarObject *)self->born, last); /* the last is None, which nobody counts */
    return NULL;
  }
  PyList_SET_ITEM(self->born, last, Py_NewRef(born)); /* it was None */
  return born;
}

/* ---- the end ----------------------------------------------------------------- */

enum pm_born pm_settle_born(const pm_plan *p, PyObject *op) {
  uint32_t number;
  if ((!PyDict_CheckExact(op) && !PyList_CheckExact(op)) || !pmalloc_registry_owns((uintptr_t)op))
    return PM_BORN_NOT;
  return pm_map_get(&p->session->settling->born, op, &number) ? PM_BORN_HERE : PM_BORN_ELSEWHERE;
}

static PyObject *shallow(PyObject *op) {
  return PyDict_Check(op) ? PyDict_Copy(op) : PyList_GetSlice(op, 0, PY_SSIZE_T_MAX);
}

/* An empty one of the same kind. */
static PyObject *empty(PyObject *op) { return PyDict_Check(op) ? PyDict_New() : PyList_New(0); }

/* For each of `all` what `make` gives, as a list. */
static PyObject *for_each(PyObject *all, PyObject *(*make)(PyObject *)) {
  PyObject *list = PyList_New(PyList_GET_SIZE(all));
  for (Py_ssize_t i = 0; list != NULL && i < PyList_GET_SIZE(all); i++) {
    PyObject *one = make(PyList_GET_ITEM(all, i));
    if (one == NULL)
      Py_CLEAR(list);
    else
      PyList_SET_ITEM(list, i, one);
  }
  return list;
}

static int list_refused(pm_plan *p, struct pm_settling *s) {
  pm_step *steps = p->n_findings == 0 ? NULL : pm_steps(p);
  int bad = p->n_findings > 0 && steps == NULL ? -1 : 0;
  for (size_t i = 0; !bad && i < p->n_findings; i++) {
    const pm_finding *f = &p->findings[i];
    PyObject *path = pm_path(p, steps, f->parent, f->position);
    PyObject *item = path == NULL ? NULL : Py_BuildValue("(NOs)", path, f->op, pm_advice(f->op));
    bad = item == NULL ? -1 : PyList_Append(s->refused, item);
    Py_XDECREF(item);
  }
  PyMem_RawFree(steps);
  return bad;
}

int pm_settle_look(pm_plan *p, PyObject *names) {
  struct pm_settling *s = p->session->settling;
  (void)names;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(s->all); i++) {
    PyObject *op = PyList_GET_ITEM(s->all, i);
    if (PyList_Check(op) && pm_list_is_sorted(op)) {
      PyErr_SetString(PyExc_RuntimeError,
                      "cannot end the init phase: a list is being sorted, and its items are not in "
                      "it now");
      return -1;
    }
  }
  if (list_refused(p, s) < 0 || pm_find_held(p, s) < 0)
    return -1;
  if (s->strict && (PyList_GET_SIZE(s->held) > 0 || PyList_GET_SIZE(s->refused) > 0))
    return 0;
  if ((s->leftovers = for_each(s->all, empty)) == NULL)
    return -1;
  /* Whoever hashes keys may run Python code, and that may change what was read already. */
  if ((p->rehash || p->zoned) && (s->snapshots = for_each(s->all, shallow)) == NULL)
    return -1;
  return 1;
}

static int same_items(PyObject *a, PyObject *b) {
  if (PyList_Check(a)) {
    Py_ssize_t n = PyList_GET_SIZE(a);
    return n == PyList_GET_SIZE(b) &&
           (n == 0 || memcmp(((PyListObject *)a)->ob_item, ((PyListObject *)b)->ob_item,
                             (size_t)n * sizeof(PyObject *)) == 0);
  }
  Py_ssize_t at = 0, other = 0;
  PyObject *key, *value, *key_b, *value_b;
  Py_hash_t hash;
  if (PyDict_GET_SIZE(a) != PyDict_GET_SIZE(b))
    return 0;
  while (pm_dict_next(a, &at, &key, &value, &hash))
    if (!pm_dict_next(b, &other, &key_b, &value_b, &hash) || key != key_b || value != value_b)
      return 0;
  return 1;
}

int pm_settle_check(pm_plan *p) {
  const struct pm_settling *s = p->session->settling;
  for (Py_ssize_t i = 0; s->snapshots != NULL && i < PyList_GET_SIZE(s->all); i++) {
    PyObject *op = PyList_GET_ITEM(s->all, i);
    if (!same_items(op, PyList_GET_ITEM(s->snapshots, i))) {
      PyErr_Format(PyExc_RuntimeError,
                   "%s changed while its init phase ended: a __hash__ or __eq__ of an object in it "
                   "writes to it",
                   Py_TYPE(op)->tp_name);
      return -1;
    }
  }
  return 0;
}

/* What it had goes to an ordinary one; its header is to be written anew. */
static void take_apart(const struct pm_settling *s, PyObject *op) {
  uint32_t number;
  (void)pm_map_get(&s->born, op, &number);
  if (PyObject_GC_IsTracked(op))
    PyObject_GC_UnTrack(op);
  memset((char *)op - PM_GC_HEAD, 0, PM_GC_HEAD);
  pm_body_move(PyList_GET_ITEM(s->leftovers, (Py_ssize_t)number), op);
}

static int is_settled(PyObject *op, void *of) {
  uint32_t number;
  return pm_map_get(of, op, &number);
}

void pm_settle_flip(pm_plan *p) {
  struct pm_settling *s = p->session->settling;
  for (size_t i = 0; i < p->n_nodes; i++) {
    if (!(p->nodes[i].where & PM_NODE_BORN))
      continue;
    PyObject *op = p->nodes[i].src, *body = pm_place_of(p, i);
    take_apart(s, op);
    memcpy(op, body, header_size(body));
    *born_word(body) = op;
  }
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(s->all); i++) {
    PyObject *op = PyList_GET_ITEM(s->all, i);
    if (!PyDict_CheckExact(op) && !PyList_CheckExact(op))
      continue;
    take_apart(s, op); /* nobody has it */
    if (Py_IS_TYPE(op, &PyDict_Type))
      pm_dict_init(op, &PmFrozenDict_Type, 0, pm_empty_keys(), NULL);
    else
      pm_list_init(op, &PmFrozenList_Type);
  }
  pm_frames_tell(is_settled, &s->born);
  s->settled = 1;
}

/* Whether the values of names are all that were born in the pool. But for those of which nobody
 * heard: there was no memory to tell. */
static int check_names(const pm_pool *self, PyObject *names, pm_map *born) {
  enum { OURS = 2 }; /* references: the pool's, and the one that is never given back */
  Py_ssize_t n = self->born == NULL ? 0 : PyList_GET_SIZE(self->born), at = 0, found = 0;
  PyObject *key, *value;
  uint32_t number;
  for (Py_ssize_t i = 0; i < n; i++) {
    PyObject *op = PyList_GET_ITEM(self->born, i);
    if (pm_map_put(born, op, (uint32_t)i) < 0)
      return -1;
    found += Py_REFCNT(op) <= OURS;
  }
  while (PyDict_Next(names, &at, &key, &value))
    found += pm_map_get(born, value, &number);
  if (found == n)
    return 0;
  PyErr_Format(PyExc_ValueError,
               "cannot settle pool '%U': %zd dicts and lists were born in it, and names has %zd of "
               "them",
               self->name, n, found);
  return -1;
}

PyObject *pm_pool_settle(PyObject *op, PyObject *args) {
  pm_pool *self = (pm_pool *)op;
  PyObject *names, *originals, *result = NULL;
  struct pm_settling s = {0};
  if (!PyArg_ParseTuple(args, "O!O!p:_settle", &PyDict_Type, &names, &PyList_Type, &originals,
                        &s.strict))
    return NULL;
  pm_session session = {.pool = op, .settling = &s};
  pm_realloc_guard_install();
  s.all = self->born == NULL ? PyList_New(0) : Py_NewRef(self->born);
  s.originals = originals;
  s.held = PyList_New(0);
  s.refused = PyList_New(0);
  PyObject *answer = PyTuple_New(5); /* now: when all is done it would be too late to fail */
  if (s.all == NULL || s.held == NULL || s.refused == NULL || answer == NULL ||
      check_names(self, names, &s.born) < 0)
    goto done;
  PyObject *root = pm_freeze_in(&session, self->pool, names, self->keep, self->weakrefs);
  if (s.settled) {
    pmalloc_pool_unsettled(self->pool, -PyList_GET_SIZE(s.all));
    Py_CLEAR(self->born);
  }
  if (root == NULL && PyErr_Occurred())
    goto done;
  if (root != NULL && pmalloc_pool_set_root(self->pool, root) != PMALLOC_OK) {
    pm_raise_status(PMALLOC_ERR_CORRUPT, "set the root of", PyUnicode_AsUTF8(self->name));
    goto done;
  }
  PyObject *parts[] = {root, s.refused, s.held, s.inside, root == NULL ? NULL : s.leftovers};
  for (Py_ssize_t i = 0; i < 5; i++)
    PyTuple_SET_ITEM(answer, i, Py_NewRef(parts[i] == NULL ? Py_None : parts[i]));
  result = Py_NewRef(answer);
done:
  pm_session_free(&session);
  pm_map_free(&s.born);
  Py_XDECREF(answer);
  Py_XDECREF(s.all);
  Py_XDECREF(s.held);
  Py_XDECREF(s.refused);
  Py_XDECREF(s.inside);
  Py_XDECREF(s.leftovers);
  Py_XDECREF(s.snapshots);
  return result;
}

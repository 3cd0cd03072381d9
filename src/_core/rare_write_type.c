/* rare_write_type: `with rare_write(target) as staged`.
 *
 *     enter    whose pool? --> wait for its other editors --> base: a copy of the bytes
 *                                                             staged: another, as an object
 *     block    edits `staged`; nothing of the pool is writable
 *     exit     the bytes in which staged differs from base are stored; after an exception none
 *
 * The pool is judged by libpmalloc, at enter, so that nobody edits for nothing, and at
 * exit, because it may have been destroyed or made read-only meanwhile.
 *
 * The GIL is held while the bytes are stored, some microseconds: so Python code
 * never sees a part of them. What other code stored meanwhile, a C library by its own
 * rare writes, stays where the block did not change it, too.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rare_write_type.h"

#include "errors.h"

#include "../libpmalloc/rare_write.h"

#define RANGES 64 /* at most so many changes are told of, */
#define SHOWN 64  /* each with so many bytes */

static PyObject *log_hook; /* NULL: nobody is told */

PyObject *pm_set_rare_log(PyObject *module, PyObject *log) {
  (void)module;
  Py_XSETREF(log_hook, log == Py_None ? NULL : Py_NewRef(log));
  Py_RETURN_NONE;
}

PyObject *pm_rare_write(PyObject *module, PyObject *target) {
  (void)module;
  pm_rare_write_object *self = PyObject_GC_New(pm_rare_write_object, &PmRareWrite_Type);
  if (self == NULL)
    return NULL;
  self->target = Py_NewRef(target);
  self->what = NULL;
  self->staged = self->holder = NULL;
  self->base = self->inside;
  self->stage = (pm_stage){0};
  self->is_over = 0;
  PyObject_GC_Track(self);
  return (PyObject *)self;
}

/* ---- what is over ---------------------------------------------------------------- */

/* The block's view ends with the block. Who made others of it has an ordinary copy. */
static void release_view(const pm_rare_write_object *self) {
  if (self->staged == NULL || !PyMemoryView_Check(self->staged))
    return;
  PyObject *error = PyErr_GetRaisedException();
  PyObject *none = PyObject_CallMethod(self->staged, "release", NULL);
  Py_XDECREF(none);
  PyErr_Clear();
  PyErr_SetRaisedException(error);
}

static int clear(PyObject *op) {
  pm_rare_write_object *self = (pm_rare_write_object *)op;
  pm_stage_leave(&self->stage);
  self->is_over = 1;
  if (self->base != self->inside)
    PyMem_Free(self->base);
  self->base = self->inside;
  Py_CLEAR(self->staged);
  Py_CLEAR(self->holder);
  Py_CLEAR(self->target);
  return 0;
}

static int traverse(PyObject *op, visitproc visit, void *arg) {
  const pm_rare_write_object *self = (pm_rare_write_object *)op;
  Py_VISIT(self->target);
  Py_VISIT(self->staged);
  Py_VISIT(self->holder);
  return 0;
}

static void dealloc(PyObject *op) {
  PyObject_GC_UnTrack(op);
  clear(op);
  PyObject_GC_Del(op);
}

/* ---- enter ----------------------------------------------------------------------- */

/* The bytes as they are, once it is sure that they may be written. */
static int copy_base(pm_rare_write_object *self) {
  struct pmalloc_refusal refusal;
  if (self->n > PM_RARE_INSIDE && (self->base = PyMem_Malloc(self->n)) == NULL) {
    self->base = self->inside;
    PyErr_NoMemory();
    return -1;
  }
  if (pmalloc_rare_read(self->base, (const void *)self->address, self->n, &refusal) == PMALLOC_OK)
    return 0;
  pm_raise_refusal(&refusal, self->what);
  return -1;
}

/* A pool that nobody can write has no editors to wait for: it says so at once. */
static int refused_outright(const pm_rare_write_object *self, struct pmalloc_where *where) {
  struct pmalloc_refusal refusal;
  if (pmalloc_registry_find(self->address, where) && where->place == PMALLOC_DATA &&
      pmalloc_mode_is_rare(where->mode))
    return 0;
  if (pmalloc_rare_check((const void *)self->address, self->n, &refusal) == PMALLOC_OK)
    return 0;
  pm_raise_refusal(&refusal, self->what);
  return 1;
}

static PyObject *enter(PyObject *op, PyObject *unused) {
  pm_rare_write_object *self = (pm_rare_write_object *)op;
  struct pmalloc_where where;
  (void)unused;
  if (self->what != NULL)
    return PyErr_Format(PmError, "a rare_write() is for one with-statement: call it again");
  int bad = pm_rare_find(self) < 0 || refused_outright(self, &where);
  if (!bad) {
    int state = pm_stage_enter(&self->stage, where.pool_id, where.pool_name, self->address,
                               self->address + self->n);
    if (state > 0)
      PyErr_Format(
          PmError,
          "cannot rare-write this %s of pool '%s': it, or a part of it, is already open in "
          "this thread; what the outer block stages would be lost",
          self->what, where.pool_name);
    bad = state != 0;
  }
  if (bad || copy_base(self) < 0 || pm_rare_stage(self) < 0) {
    self->what = self->what == NULL ? "target" : self->what;
    clear(op);
    return NULL;
  }
  return Py_NewRef(self->staged);
}

/* ---- exit ------------------------------------------------------------------------ */

/* A list of (offset, size, before, after), the first of what changed, each byte range. */
static PyObject *changes_of(const pm_rare_write_object *self, Py_ssize_t *ranges) {
  PyObject *changes = PyList_New(0);
  *ranges = 0;
  for (size_t at = 0; changes != NULL && at < self->n; at++) {
    if (self->base[at] == self->edit[at])
      continue;
    size_t end = at + 1;
    while (end < self->n && self->base[end] != self->edit[end])
      end++;
    if (++*ranges <= RANGES) {
      Py_ssize_t n = (Py_ssize_t)(end - at), shown = n < SHOWN ? n : SHOWN;
      PyObject *change = Py_BuildValue("nny#y#", (Py_ssize_t)at, n, self->base + at, shown,
                                       self->edit + at, shown);
      if (change == NULL || PyList_Append(changes, change) < 0)
        Py_CLEAR(changes);
      Py_XDECREF(change);
    }
    at = end;
  }
  return changes;
}

/* The bytes are stored: that somebody can't write it down must not look as if they were not. */
static void tell(const pm_rare_write_object *self, const char *pool_name, size_t stored) {
  Py_ssize_t ranges;
  PyObject *error = PyErr_GetRaisedException(); /* the kernel may have refused the rest */
  PyObject *hook = Py_NewRef(log_hook), *answer = NULL;
  PyObject *changes = changes_of(self, &ranges);
  if (changes != NULL)
    answer = PyObject_CallFunction(hook, "OsnnnO", self->target, pool_name,
                                   (Py_ssize_t)self->address, (Py_ssize_t)stored, ranges, changes);
  if (answer == NULL)
    PyErr_WriteUnraisable(hook);
  Py_XDECREF(answer);
  Py_XDECREF(changes);
  Py_DECREF(hook);
  PyErr_SetRaisedException(error);
}

static int commit(const pm_rare_write_object *self) {
  struct pmalloc_refusal refusal;
  size_t stored = 0;
  if (self->n == 0)
    return 0;
  enum pmalloc_status status = pmalloc_rare_commit((const void *)self->address, self->base,
                                                   self->edit, self->n, &stored, &refusal);
  if (status != PMALLOC_OK)
    pm_raise_refusal(&refusal, self->what);
  if (log_hook != NULL && stored > 0)
    tell(self, refusal.where.pool_name, stored);
  return status == PMALLOC_OK ? 0 : -1;
}

static PyObject *leave(PyObject *op, PyObject *const *args, Py_ssize_t count) {
  pm_rare_write_object *self = (pm_rare_write_object *)op;
  if (self->staged == NULL)
    return PyErr_Format(PmError, self->is_over ? "this rare_write() is over"
                                               : "this rare_write() was not entered");
  int failed = count > 0 && args[0] != Py_None;
  int orphan = self->stage.pool == NULL;
  if (!failed && orphan)
    PyErr_Format(PmError,
                 "cannot rare-write this %s: another thread opened it, before this process was "
                 "forked; nothing is stored",
                 self->what);
  int bad = !failed && (orphan || commit(self) < 0);
  release_view(self);
  clear(op);
  if (bad)
    return NULL;
  Py_RETURN_FALSE;
}

static PyObject *repr(PyObject *op) {
  const pm_rare_write_object *self = (pm_rare_write_object *)op;
  return PyUnicode_FromFormat("<pmalloc.rare_write of %s, %s>",
                              self->target == NULL ? "nothing" : Py_TYPE(self->target)->tp_name,
                              self->is_over          ? "over"
                              : self->staged != NULL ? "open"
                                                     : "not entered");
}

static PyMethodDef methods[] = {
    {"__enter__", enter, METH_NOARGS, "__enter__($self, /)\n--\n\nThe copy to be edited."},
    {"__exit__", (PyCFunction)(void (*)(void))leave, METH_FASTCALL,
     "__exit__($self, kind, error, trace, /)\n--\n\nStores what changed, unless there was an "
     "exception."},
    {NULL, NULL, 0, NULL}};

PyTypeObject PmRareWrite_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.RareWrite",
    .tp_doc = PyDoc_STR("One rare write under way; rare_write() makes it."),
    .tp_basicsize = sizeof(pm_rare_write_object),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = dealloc,
    .tp_traverse = traverse,
    .tp_clear = clear,
    .tp_repr = repr,
    .tp_methods = methods,
};

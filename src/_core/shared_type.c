/* SharedPool: the allocations of another process's immutable pool, read-only.
 *
 *     SharedPool --owns--> mapping of the memfd
 *        ^
 *        | keeps alive, and is counted
 *     _SharedView (exporter of one allocation) <---- memoryview, array, ...
 *
 * A memoryview keeps only its exporter alive, so each allocation that is asked
 * for gets one of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#include "shared_type.h"

#include <errno.h>

#include "../libpmalloc/fault_origin.h"
#include "../libpmalloc/share.h"
#include "errors.h"

typedef struct {
  PyObject_HEAD pmalloc_shared *shared; /* NULL once closed */
  Py_ssize_t views;                     /* buffers of it that are alive */
} pm_shared;

typedef struct {
  PyObject_HEAD pm_shared *owner; /* owned */
  const void *address;
  Py_ssize_t size;
} pm_shared_view;

static const char *const unsealed =
    "cannot open descriptor %d as a shared pool: the file can still be changed; ask its owner to "
    "protect(immutable=True), or pass verify=False if you trust whoever can write it";

static PyObject *fail(enum pmalloc_status status, int fd) {
  PyObject *error;
  switch (status) {
  case PMALLOC_ERR_MUTABLE:
    return PyErr_Format(PmError, unsealed, fd);
  case PMALLOC_ERR_FORMAT:
    return PyErr_Format(PmError,
                        "cannot open descriptor %d as a shared pool: it is not the memory of an "
                        "immutable pool, or it is damaged",
                        fd);
  case PMALLOC_ERR_NOMEM:
    return PyErr_Format(PyExc_MemoryError,
                        "cannot open descriptor %d as a shared pool: out of memory, address space "
                        "or mappings",
                        fd);
  default:
    error = Py_BuildValue("(iN)", errno,
                          PyUnicode_FromFormat("cannot open descriptor %d as a shared pool: %s", fd,
                                               strerror(errno)));
    if (error != NULL)
      PyErr_SetObject(PyExc_OSError, error);
    Py_XDECREF(error);
    return NULL;
  }
}

PyObject *pm_open_shared(PyObject *module, PyObject *args, PyObject *kwargs) {
  static char *keywords[] = {"fd", "verify", "seal", NULL};
  PyObject *source;
  int verify = 1, seal = 1;
  (void)module;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$pp:open_shared", keywords, &source, &verify,
                                   &seal))
    return NULL;
  int fd = PyObject_AsFileDescriptor(source);
  if (fd < 0)
    return NULL;
  pm_shared *self = PyObject_New(pm_shared, &PmShared_Type);
  if (self == NULL)
    return NULL;
  self->shared = NULL;
  self->views = 0;
  unsigned flags = (verify ? 0 : PMALLOC_SHARED_TRUSTED) | (seal ? PMALLOC_SHARED_SEAL : 0);
  enum pmalloc_status status = pmalloc_shared_open(&self->shared, fd, flags);
  if (status != PMALLOC_OK) {
    fail(status, fd);
    Py_DECREF(self);
    return NULL;
  }
  return (PyObject *)self;
}

/* What is known of where it was opened is kept until its place is needed. */
static enum pmalloc_status end(pm_shared *self) {
  uintptr_t id = pmalloc_shared_id(self->shared);
  enum pmalloc_status status = pmalloc_shared_close(self->shared);
  if (status == PMALLOC_OK)
    pmalloc_origin_expire(id);
  return status;
}

static void dealloc(PyObject *op) {
  pm_shared *self = (pm_shared *)op;
  if (self->shared != NULL)
    (void)end(self); /* a sealed one stays, and is found by reports */
  PyObject_Free(op);
}

static PyObject *decoded(const char *name) {
  return PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "backslashreplace");
}

/* Raises where the pool was closed. */
static pmalloc_shared *opened(const pm_shared *self) {
  if (self->shared == NULL)
    PyErr_SetString(PmDestroyedError, "this shared pool was closed");
  return self->shared;
}

/* ---- allocations ---- */

static Py_ssize_t length(PyObject *op) {
  const pm_shared *self = (pm_shared *)op;
  return self->shared == NULL ? 0 : (Py_ssize_t)pmalloc_shared_count(self->shared);
}

static PyObject *item(PyObject *op, Py_ssize_t n) {
  pm_shared *self = (pm_shared *)op;
  const void *address;
  size_t size;
  if (opened(self) == NULL)
    return NULL;
  enum pmalloc_status status =
      n < 0 ? PMALLOC_ERR_FOREIGN : pmalloc_shared_get(self->shared, (size_t)n, &address, &size);
  if (status == PMALLOC_ERR_FOREIGN)
    return PyErr_Format(PyExc_IndexError, "a shared pool of %zd allocations has none of number %zd",
                        length(op), n);
  if (status != PMALLOC_OK)
    return PyErr_Format(PmCorruptionError,
                        "allocation %zd does not lie in the shared pool: the file was changed", n);
  pm_shared_view *exporter = PyObject_New(pm_shared_view, &PmSharedView_Type);
  if (exporter == NULL)
    return NULL;
  exporter->owner = (pm_shared *)Py_NewRef(op);
  exporter->address = address;
  exporter->size = (Py_ssize_t)size;
  PyObject *view = PyMemoryView_FromObject((PyObject *)exporter);
  Py_DECREF(exporter);
  return view;
}

static PyObject *get_views(PyObject *op, void *unused) {
  (void)unused;
  Py_ssize_t n = length(op);
  if (opened((pm_shared *)op) == NULL)
    return NULL;
  PyObject *tuple = PyTuple_New(n);
  for (Py_ssize_t i = 0; tuple != NULL && i < n; i++) {
    PyObject *view = item(op, i);
    if (view == NULL)
      Py_CLEAR(tuple);
    else
      PyTuple_SET_ITEM(tuple, i, view);
  }
  return tuple;
}

static int view_buffer(PyObject *op, Py_buffer *view, int flags) {
  const pm_shared_view *self = (pm_shared_view *)op;
  if (PyBuffer_FillInfo(view, op, (void *)(uintptr_t)self->address, self->size, 1, flags) < 0)
    return -1;
  self->owner->views++;
  return 0;
}

static void view_release(PyObject *op, Py_buffer *view) {
  (void)view;
  ((pm_shared_view *)op)->owner->views--;
}

static void view_dealloc(PyObject *op) {
  Py_DECREF(((pm_shared_view *)op)->owner);
  PyObject_Free(op);
}

static PyBufferProcs view_procs = {.bf_getbuffer = view_buffer, .bf_releasebuffer = view_release};

PyTypeObject PmSharedView_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc._core._SharedView",
    .tp_basicsize = sizeof(pm_shared_view),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = view_dealloc,
    .tp_as_buffer = &view_procs,
};

/* ---- the whole ---- */

static PyObject *close_(PyObject *op, PyObject *unused) {
  pm_shared *self = (pm_shared *)op;
  (void)unused;
  if (self->shared == NULL)
    Py_RETURN_NONE;
  if (pmalloc_shared_is_sealed(self->shared))
    return PyErr_Format(PmSealedError,
                        "cannot close this shared pool: its mapping is sealed, and stays for the "
                        "life of the process; open it with seal=False to close it later");
  if (self->views > 0)
    return PyErr_Format(PyExc_BufferError,
                        "cannot close this shared pool: %zd view(s) of its allocations are alive; "
                        "release them first",
                        self->views);
  if (end(self) != PMALLOC_OK)
    return PyErr_SetFromErrno(PyExc_OSError);
  self->shared = NULL;
  Py_RETURN_NONE;
}

static PyObject *get_name(PyObject *op, void *unused) {
  (void)unused;
  const pm_shared *self = (pm_shared *)op;
  return opened(self) == NULL ? NULL : decoded(pmalloc_shared_name(self->shared));
}
static PyObject *get_id(PyObject *op, void *unused) {
  (void)unused;
  const pm_shared *self = (pm_shared *)op;
  return opened(self) == NULL ? NULL : PyLong_FromSize_t(pmalloc_shared_id(self->shared));
}
static PyObject *get_nbytes(PyObject *op, void *unused) {
  (void)unused;
  const pm_shared *self = (pm_shared *)op;
  return PyLong_FromSize_t(self->shared == NULL ? 0 : pmalloc_shared_bytes(self->shared));
}
static PyObject *get_sealed(PyObject *op, void *unused) {
  (void)unused;
  const pm_shared *self = (pm_shared *)op;
  return PyBool_FromLong(self->shared != NULL && pmalloc_shared_is_sealed(self->shared));
}
static PyObject *get_closed(PyObject *op, void *unused) {
  (void)unused;
  return PyBool_FromLong(((pm_shared *)op)->shared == NULL);
}

static PyObject *repr(PyObject *op) {
  const pm_shared *self = (pm_shared *)op;
  if (self->shared == NULL)
    return PyUnicode_FromString("<pmalloc.SharedPool, closed>");
  PyObject *name = decoded(pmalloc_shared_name(self->shared));
  PyObject *text = name == NULL ? NULL
                                : PyUnicode_FromFormat("<pmalloc.SharedPool '%U': %zd allocations>",
                                                       name, length(op));
  Py_XDECREF(name);
  return text;
}

static PyMethodDef methods[] = {
    {"close", close_, METH_NOARGS,
     "close($self, /)\n--\n\nGives the memory back; a later use of it faults."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef getset[] = {
    {"name", get_name, NULL, "The pool's name in the process that made it (str).", NULL},
    {"views", get_views, NULL, "A read-only memoryview of each allocation (tuple).", NULL},
    {"nbytes", get_nbytes, NULL, "Bytes that are mapped (int); 0 once closed.", NULL},
    {"sealed", get_sealed, NULL, "Whether the mapping is sealed and stays (bool).", NULL},
    {"_id", get_id, NULL, "Number of the mapping among the pools of this process (int).", NULL},
    {"closed", get_closed, NULL, "Whether it was closed (bool).", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PySequenceMethods sequence = {.sq_length = length, .sq_item = item};

PyTypeObject PmShared_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.SharedPool",
    .tp_doc = PyDoc_STR("Another process's immutable pool; open_shared() makes it."),
    .tp_basicsize = sizeof(pm_shared),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_SEQUENCE,
    .tp_dealloc = dealloc,
    .tp_repr = repr,
    .tp_iter = PySeqIter_New,
    .tp_methods = methods,
    .tp_getset = getset,
    .tp_as_sequence = &sequence,
};

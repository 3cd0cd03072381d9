/* Allocation: bytes of a pool, with the buffer protocol.
 *
 * While its pool is open a view of it is writable, and counted: protect() will
 * not pull the rug from under a view that may write. After protect() views are
 * read-only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../libpmalloc/share.h"
#include "errors.h"
#include "object_size.h"

PyObject *pm_allocation_new(pm_pool *pool, void *address, Py_ssize_t size) {
  pm_allocation *self = PyObject_New(pm_allocation, &PmAllocation_Type);
  if (self == NULL)
    return NULL;
  self->pool = (pm_pool *)Py_NewRef(pool);
  self->address = address;
  self->size = size;
  self->views = 0;
  self->freed = 0;
  return (PyObject *)self;
}

static void dealloc(PyObject *op) {
  Py_DECREF(((pm_allocation *)op)->pool);
  PyObject_Free(op);
}

int pm_is_readonly(const void *address) {
  struct pmalloc_where where;
  return pmalloc_registry_find((uintptr_t)address, &where) && where.protected_;
}

static int get_buffer(PyObject *op, Py_buffer *view, int flags) {
  pm_allocation *self = (pm_allocation *)op;
  enum pmalloc_state state = pm_pool_state(self->pool);
  if (self->freed || state == PMALLOC_DESTROYED_STATE) {
    PyErr_Format(PyExc_BufferError, "no view of this allocation of pool '%U': %s", self->pool->name,
                 self->freed ? "it was freed" : "the pool was destroyed");
    view->obj = NULL;
    return -1;
  }
  int readonly = state == PMALLOC_PROTECTED || pm_is_readonly(self->address);
  if (readonly && (flags & PyBUF_WRITABLE) == PyBUF_WRITABLE) {
    PyErr_Format(PyExc_BufferError,
                 state == PMALLOC_PROTECTED
                     ? "no writable view of this allocation: pool '%U' is protected"
                     : "no writable view of this allocation: its chunk of pool '%U' is protected",
                 self->pool->name);
    view->obj = NULL;
    return -1;
  }
  if (pm_export_allowed(self->pool, self->address, self->size) < 0) {
    view->obj = NULL;
    return -1;
  }
  if (PyBuffer_FillInfo(view, op, self->address, self->size, readonly, flags) < 0)
    return -1;
  view->internal = readonly ? NULL : self; /* marks it as one that may write */
  self->views++;
  self->pool->views++;
  self->pool->writable_views += !readonly;
  return 0;
}

static void release_buffer(PyObject *op, Py_buffer *view) {
  pm_allocation *self = (pm_allocation *)op;
  self->views--;
  self->pool->views--;
  self->pool->writable_views -= view->internal != NULL;
}

static Py_ssize_t length(PyObject *op) { return ((pm_allocation *)op)->size; }

static PyObject *repr(PyObject *op) {
  const pm_allocation *self = (pm_allocation *)op;
  return PyUnicode_FromFormat("<pmalloc.Allocation of %zd bytes at %p in pool '%U'%s>", self->size,
                              self->address, self->pool->name, self->freed ? ", freed" : "");
}

static PyObject *get_address(PyObject *op, void *unused) {
  (void)unused;
  return PyLong_FromVoidPtr(((pm_allocation *)op)->address);
}
static PyObject *get_size(PyObject *op, void *unused) {
  (void)unused;
  return PyLong_FromSsize_t(((pm_allocation *)op)->size);
}
static PyObject *get_pool(PyObject *op, void *unused) {
  (void)unused;
  return Py_NewRef(((pm_allocation *)op)->pool);
}
static PyObject *get_shared_index(PyObject *op, void *unused) {
  (void)unused;
  const pm_allocation *self = (pm_allocation *)op;
  size_t index;
  if (pmalloc_pool_shared_index(self->pool->pool, self->address, &index) != PMALLOC_OK)
    Py_RETURN_NONE;
  return PyLong_FromSize_t(index);
}
static PyObject *get_freed(PyObject *op, void *unused) {
  (void)unused;
  return PyBool_FromLong(((pm_allocation *)op)->freed);
}

static PyGetSetDef getset[] = {
    {"address", get_address, NULL, "Address of the first byte (int).", NULL},
    {"size", get_size, NULL, "Size in bytes (int), as asked for.", NULL},
    {"pool", get_pool, NULL, "The Pool it belongs to.", NULL},
    {"shared_index", get_shared_index, NULL,
     "Its number in open_shared()'s eyes (int); None unless its pool is immutable.", NULL},
    {"freed", get_freed, NULL, "Whether it was freed (bool).", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PySequenceMethods sequence = {.sq_length = length};
static PyBufferProcs buffer = {.bf_getbuffer = get_buffer, .bf_releasebuffer = release_buffer};

PyTypeObject PmAllocation_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.Allocation",
    .tp_doc = PyDoc_STR("Bytes of a pool; take memoryview() of it. Pool.alloc() makes it."),
    .tp_basicsize = sizeof(pm_allocation),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = dealloc,
    .tp_repr = repr,
    .tp_getset = getset,
    .tp_as_sequence = &sequence,
    .tp_as_buffer = &buffer,
};

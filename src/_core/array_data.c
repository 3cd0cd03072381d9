/* ArrayData: the memory behind a NumPy array of a pool.
 *
 *     ndarray view --base--> ndarray --base--> ArrayData ----> Pool
 *     (WRITEABLE)            (WRITEABLE)       counts as one array
 *
 * Other than an Allocation's memoryview it does not keep protect() from happening:
 * NumPy asks its arrays' base for a writable buffer when somebody sets WRITEABLE
 * again, and a protected pool's ArrayData refuses. As long as an array or a view
 * of one lives, so does this, and destroy() refuses. When the last is dropped and
 * the pool is open, the memory can be used again.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"
#include "object_size.h"

typedef struct {
  PyObject_HEAD pm_pool *pool; /* owned */
  void *address;
  Py_ssize_t size;
} array_data;

PyObject *pm_array_data_new(pm_pool *pool, void *address, Py_ssize_t size) {
  array_data *self = PyObject_New(array_data, &PmArrayData_Type);
  if (self == NULL)
    return NULL;
  self->pool = (pm_pool *)Py_NewRef(pool);
  self->address = address;
  self->size = size;
  pool->arrays++;
  return (PyObject *)self;
}

static void dealloc(PyObject *op) {
  array_data *self = (array_data *)op;
  self->pool->arrays--;
  /* Where that is refused the bytes stay handed out; nothing else comes of it. */
  (void)pmalloc_pool_free(self->pool->pool, self->address);
  Py_DECREF(self->pool);
  PyObject_Free(op);
}

static int get_buffer(PyObject *op, Py_buffer *view, int flags) {
  array_data *self = (array_data *)op;
  int readonly = pm_pool_state(self->pool) != PMALLOC_OPEN || pm_is_readonly(self->address);
  view->obj = NULL;
  if (readonly && (flags & PyBUF_WRITABLE) == PyBUF_WRITABLE) {
    PyErr_Format(PyExc_BufferError, "no writable view of this array: pool '%U' is protected",
                 self->pool->name);
    return -1;
  }
  if (pm_export_allowed(self->pool, self->address, self->size) < 0)
    return -1;
  return PyBuffer_FillInfo(view, op, self->address, self->size, readonly, flags);
}

static PyObject *repr(PyObject *op) {
  const array_data *self = (array_data *)op;
  return PyUnicode_FromFormat("<pmalloc.ArrayData of %zd bytes at %p in pool '%U'>", self->size,
                              self->address, self->pool->name);
}

static PyObject *get_pool(PyObject *op, void *unused) {
  (void)unused;
  return Py_NewRef(((array_data *)op)->pool);
}

static PyGetSetDef getset[] = {{"pool", get_pool, NULL, "The Pool it belongs to.", NULL},
                               {NULL, NULL, NULL, NULL, NULL}};

static PyBufferProcs buffer = {.bf_getbuffer = get_buffer};

PyTypeObject PmArrayData_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.ArrayData",
    .tp_doc = PyDoc_STR("The memory of a NumPy array in a pool. Pool.ndarray() makes it."),
    .tp_basicsize = sizeof(array_data),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = dealloc,
    .tp_repr = repr,
    .tp_getset = getset,
    .tp_as_buffer = &buffer,
};

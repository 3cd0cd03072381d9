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
 * The same holds for typed memoryviews and ctypes structures. A memoryview asks nobody a second
 * time, so protect() turns those there are into read-only ones. And NumPy's own arrays that lie in
 * a pool get an ArrayData when it is protected: see numpy_handler.c.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"
#include "object_size.h"

typedef struct {
  PyObject_HEAD pm_pool *pool; /* owned */
  void *address;
  Py_ssize_t size;
  int taken_over; /* from NumPy, which told tracemalloc of it */
  int objects;    /* its words are references that nobody else lets go of */
} array_data;

PyObject *pm_array_data_new(pm_pool *pool, void *address, Py_ssize_t size) {
  array_data *self = PyObject_New(array_data, &PmArrayData_Type);
  if (self == NULL)
    return NULL;
  self->pool = (pm_pool *)Py_NewRef(pool);
  self->address = address;
  self->size = size;
  self->taken_over = self->objects = 0;
  pm_pool_count_arrays(pool, 1);
  return (PyObject *)self;
}

void pm_array_data_take_over(PyObject *op, void *address, Py_ssize_t size, int objects) {
  array_data *self = (array_data *)op;
  self->address = address;
  self->size = size;
  self->taken_over = 1;
  self->objects = objects;
}

#define NUMPY_TRACE_DOMAIN 389047

static void dealloc(PyObject *op) {
  array_data *self = (array_data *)op;
  pm_pool_count_arrays(self->pool, -1);
  if (self->taken_over)
    (void)PyTraceMalloc_Untrack(NUMPY_TRACE_DOMAIN, (uintptr_t)self->address);
  for (Py_ssize_t i = 0; self->objects && i < self->size / (Py_ssize_t)sizeof(PyObject *); i++)
    Py_XDECREF(((PyObject **)self->address)[i]);
  /* Where that is refused the bytes stay handed out; nothing else comes of it. */
  if (self->address != NULL)
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

/* A memoryview of the pool's memory: of an ArrayData, itself or by way of another memoryview. */
static Py_buffer *buffer_of(PyObject *view, const pm_pool *pool) {
  if (!PyMemoryView_Check(view))
    return NULL;
  Py_buffer *buffer = PyMemoryView_GET_BUFFER(view);
  return buffer->obj != NULL && Py_IS_TYPE(buffer->obj, &PmArrayData_Type) &&
                 (pool == NULL || ((array_data *)buffer->obj)->pool == pool)
             ? buffer
             : NULL;
}

PyObject *pm_memory_lock(PyObject *module, PyObject *args) {
  (void)module;
  pm_pool *pool;
  PyObject *views;
  if (!PyArg_ParseTuple(args, "O!O!", &PmPool_Type, &pool, &PyList_Type, &views))
    return NULL;
  PyObject *locked = PyList_New(0);
  for (Py_ssize_t i = 0; locked != NULL && i < PyList_GET_SIZE(views); i++) {
    Py_buffer *of = buffer_of(PyList_GET_ITEM(views, i), pool);
    if (of == NULL || of->readonly)
      continue;
    if (PyList_Append(locked, PyList_GET_ITEM(views, i)) == 0)
      of->readonly = 1;
    else
      Py_CLEAR(locked);
  }
  return locked;
}

PyObject *pm_memory_unlock(PyObject *module, PyObject *views) {
  (void)module;
  for (Py_ssize_t i = 0; PyList_Check(views) && i < PyList_GET_SIZE(views); i++) {
    Py_buffer *of = buffer_of(PyList_GET_ITEM(views, i), NULL);
    if (of != NULL)
      of->readonly = 0;
  }
  Py_RETURN_NONE;
}

static PyGetSetDef getset[] = {{"pool", get_pool, NULL, "The Pool it belongs to.", NULL},
                               {NULL, NULL, NULL, NULL, NULL}};

static PyBufferProcs buffer = {.bf_getbuffer = get_buffer};

PyTypeObject PmArrayData_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc.ArrayData",
    .tp_doc = PyDoc_STR("The memory of an array in a pool: the base of NumPy arrays, of typed "
                        "views and structures."),
    .tp_basicsize = sizeof(array_data),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = dealloc,
    .tp_repr = repr,
    .tp_getset = getset,
    .tp_as_buffer = &buffer,
};

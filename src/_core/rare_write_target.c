/* rare_write_target: which bytes a target is, and what a with-block has in its place.
 *
 *     target                    span in the pool            staged
 *     Allocation                its bytes                   memoryview of a bytearray
 *     memoryview                what it shows, contiguous   the same
 *     ndarray, any strides      lowest to highest byte      ndarray over a bytearray, same strides
 *     Record                    its fields                  an ordinary instance
 *
 * A view of every second row spans the rows in between, too: they are in the copy,
 * and are not written, for the block does not change them.
 *
 * NumPy is asked as any Python code would ask it: pmalloc does not build against it.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"
#include "freeze.h"
#include "rare_write_type.h"
#include "record.h"

#define DIMENSIONS 64 /* NumPy's limit */

static int is_ndarray(PyObject *op) {
  PyObject *name = PyUnicode_FromString("numpy");
  PyObject *numpy = name == NULL ? NULL : PyImport_GetModule(name); /* not loaded: no array */
  PyObject *type = numpy == NULL ? NULL : PyObject_GetAttrString(numpy, "ndarray");
  int is = type != NULL && PyType_Check(type) && PyObject_TypeCheck(op, (PyTypeObject *)type);
  if (is && !Py_IS_TYPE(op, (PyTypeObject *)type)) {
    PyErr_Format(
        PyExc_TypeError,
        "cannot rare-write a %s: a plain numpy.ndarray is needed; x.view(numpy.ndarray) is "
        "one",
        Py_TYPE(op)->tp_name);
    is = -1;
  } else {
    PyErr_Clear();
  }
  Py_XDECREF(type);
  Py_XDECREF(numpy);
  Py_XDECREF(name);
  return is;
}

/* ---- arrays -------------------------------------------------------------------- */

static int numbers_of(PyObject *op, const char *name, Py_ssize_t *out, Py_ssize_t *n) {
  PyObject *tuple = PyObject_GetAttrString(op, name);
  *n = tuple != NULL && PyTuple_Check(tuple) ? PyTuple_GET_SIZE(tuple) : -1;
  for (Py_ssize_t i = 0; i < *n && i < DIMENSIONS; i++)
    out[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(tuple, i));
  Py_XDECREF(tuple);
  return *n < 0 || *n > DIMENSIONS || PyErr_Occurred() ? -1 : 0;
}

/* Where item [0, 0, ...] is. The buffer protocol does not show dates. */
static int first_item(PyObject *array, uintptr_t *first) {
  PyObject *told = PyObject_GetAttrString(array, "__array_interface__");
  PyObject *data = told != NULL && PyDict_Check(told) ? PyDict_GetItemString(told, "data") : NULL;
  PyObject *address = data != NULL && PyTuple_Check(data) && PyTuple_GET_SIZE(data) > 0
                          ? PyTuple_GET_ITEM(data, 0)
                          : NULL;
  *first = address == NULL ? 0 : (uintptr_t)PyLong_AsSize_t(address);
  Py_XDECREF(told);
  return address == NULL || PyErr_Occurred() ? -1 : 0;
}

struct shape {
  uintptr_t first;
  Py_ssize_t below, above; /* bytes in front of the first item, and from its start to the end */
};

static int shape_of(PyObject *array, struct shape *s) {
  Py_ssize_t shape[DIMENSIONS], strides[DIMENSIONS], n, also;
  PyObject *itemsize = PyObject_GetAttrString(array, "itemsize");
  *s = (struct shape){.above = itemsize == NULL ? -1 : PyLong_AsSsize_t(itemsize)};
  Py_XDECREF(itemsize);
  if (s->above < 0 || numbers_of(array, "shape", shape, &n) < 0 ||
      numbers_of(array, "strides", strides, &also) < 0 || n != also ||
      first_item(array, &s->first) < 0) {
    if (!PyErr_Occurred())
      PyErr_SetString(PyExc_TypeError, "cannot rare-write this array: NumPy does not tell its "
                                       "shape, strides and data");
    return -1;
  }
  for (Py_ssize_t i = 0; i < n; i++) {
    if (shape[i] == 0) {
      s->below = s->above = 0;
      return 0;
    }
    Py_ssize_t reach = (shape[i] - 1) * strides[i];
    s->below += reach < 0 ? -reach : 0;
    s->above += reach > 0 ? reach : 0;
  }
  return 0;
}

static PyObject *array_over(const pm_rare_write_object *self) {
  struct shape s;
  if (shape_of(self->target, &s) < 0)
    return NULL;
  PyObject *shape = PyObject_GetAttrString(self->target, "shape");
  PyObject *dtype = PyObject_GetAttrString(self->target, "dtype");
  PyObject *strides = PyObject_GetAttrString(self->target, "strides");
  PyObject *array = NULL;
  if (shape != NULL && dtype != NULL && strides != NULL)
    array = PyObject_CallFunction((PyObject *)Py_TYPE(self->target), "OOOnO", shape, dtype,
                                  self->holder, s.below, strides);
  Py_XDECREF(shape);
  Py_XDECREF(dtype);
  Py_XDECREF(strides);
  return array;
}

static int find_array(pm_rare_write_object *self) {
  struct shape s;
  if (shape_of(self->target, &s) < 0)
    return -1;
  self->what = "array";
  self->address = s.first - (uintptr_t)s.below;
  self->n = (size_t)(s.below + s.above);
  return 0;
}

/* ---- all of them ----------------------------------------------------------------- */

static int find_allocation(pm_rare_write_object *self) {
  const pm_allocation *a = (pm_allocation *)self->target;
  self->what = "allocation";
  self->address = (uintptr_t)a->address;
  self->n = (size_t)a->size;
  if (pm_pool_state(a->pool) == PMALLOC_DESTROYED_STATE)
    PyErr_Format(PmDestroyedError,
                 "cannot rare-write this allocation of pool '%U': the pool was destroyed",
                 a->pool->name);
  else if (a->freed)
    PyErr_Format(PyExc_ValueError, "cannot rare-write this allocation of pool '%U': it was freed",
                 a->pool->name);
  else
    return 0;
  return -1;
}

static int find_memoryview(pm_rare_write_object *self) {
  Py_buffer view;
  if (PyObject_GetBuffer(self->target, &view, PyBUF_FULL_RO) < 0)
    return -1;
  int plain = PyBuffer_IsContiguous(&view, 'C') && view.ndim == 1 && view.itemsize == 1;
  self->what = "memoryview";
  self->address = (uintptr_t)view.buf;
  self->n = (size_t)view.len;
  PyBuffer_Release(&view);
  if (!plain)
    PyErr_SetString(PyExc_TypeError, "cannot rare-write this memoryview: it has to show bytes, one "
                                     "after the other; numpy.asarray() of it does for others");
  return plain ? 0 : -1;
}

int pm_rare_find(pm_rare_write_object *self) {
  PyObject *target = self->target;
  if (pm_record_check(target)) {
    self->what = "record";
    self->address = (uintptr_t)((pm_record *)target)->fields;
    self->n = (size_t)pm_record_size(target);
    return 0;
  }
  if (Py_IS_TYPE(target, &PmAllocation_Type))
    return find_allocation(self);
  if (PyMemoryView_Check(target))
    return find_memoryview(self);
  int array = is_ndarray(target);
  if (array != 0)
    return array < 0 ? -1 : find_array(self);
  if (pm_is_frozen(target))
    PyErr_Format(PyExc_TypeError,
                 "cannot rare-write a %s: frozen objects do not change, but for Records; "
                 "freeze a new version, and publish it in a Cell",
                 Py_TYPE(target)->tp_name);
  else
    PyErr_Format(PyExc_TypeError,
                 "rare_write() takes an Allocation, a NumPy array or a Record of a pool, not %s",
                 Py_TYPE(target)->tp_name);
  return -1;
}

int pm_rare_stage(pm_rare_write_object *self) {
  if (pm_record_check(self->target)) {
    self->staged = pm_record_new(Py_TYPE(self->target));
    if (self->staged == NULL)
      return -1;
    self->edit = ((pm_record *)self->staged)->fields;
    memcpy(self->edit, self->base, self->n);
    return 0;
  }
  self->holder = PyByteArray_FromStringAndSize(self->base, (Py_ssize_t)self->n);
  if (self->holder == NULL)
    return -1;
  self->edit = PyByteArray_AS_STRING(self->holder);
  self->staged =
      strcmp(self->what, "array") == 0 ? array_over(self) : PyMemoryView_FromObject(self->holder);
  return self->staged == NULL ? -1 : 0;
}

/* check_object_size, for Python and for whoever hands out a buffer.
 *
 * SPDX-License-Identifier: MIT
 */
#include "object_size.h"
#include "errors.h"

#include "../libpmalloc/usercopy.h"

static const char *const words[] = {"not ours", "good", "bad"};

int pm_export_allowed(const pm_pool *pool, const void *address, Py_ssize_t size) {
  if (pmalloc_check_object_size(address, (size_t)size) == PMALLOC_BOUNDS_GOOD)
    return 0;
  PyErr_Format(PmCorruptionError,
               "no view of %zd bytes at %p in pool '%U': they are not within one of its "
               "allocations; something in this process forged their bounds",
               size, address, pool->name);
  return -1;
}

static PyObject *answer(const void *address, Py_ssize_t size) {
  return PyUnicode_InternFromString(words[pmalloc_check_object_size(address, (size_t)size)]);
}

PyObject *pm_check_object_size(PyObject *module, PyObject *const *args, Py_ssize_t count) {
  (void)module;
  Py_ssize_t size = -1;
  if (count < 1 || count > 2)
    return PyErr_Format(PyExc_TypeError, "check_object_size() takes 1 or 2 arguments (%zd given)",
                        count);
  if (count == 2 && args[1] != Py_None) {
    size = PyNumber_AsSsize_t(args[1], PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred())
      return NULL;
    if (size < 0)
      return PyErr_Format(PyExc_ValueError, "check_object_size() of a negative size: %zd", size);
  }
  if (PyLong_Check(args[0])) {
    void *address = PyLong_AsVoidPtr(args[0]);
    if (address == NULL && PyErr_Occurred())
      return NULL;
    if (size < 0)
      return PyErr_Format(PyExc_TypeError, "check_object_size() of an address needs a size");
    return answer(address, size);
  }
  Py_buffer view;
  if (!PyObject_CheckBuffer(args[0]))
    return PyErr_Format(PyExc_TypeError,
                        "check_object_size() needs an address (int) or a buffer, not %s",
                        Py_TYPE(args[0])->tp_name);
  if (PyObject_GetBuffer(args[0], &view, PyBUF_SIMPLE) < 0)
    return NULL;
  PyObject *word = answer(view.buf, size < 0 ? view.len : size);
  PyBuffer_Release(&view);
  return word;
}

/* An extension as the headers of Python 3.8 built them: a reference count is a
 * plain word at the start of an object, and Py_INCREF() adds one to it in place.
 * Today's headers would not inline that any more, so it is spelled out here.
 *
 * SPDX-License-Identifier: MIT
 */
#define Py_LIMITED_API 0x03080000
#include <Python.h>

/* The PyObject of Python 3.8. */
struct object_38 {
  Py_ssize_t ob_refcnt;
  PyTypeObject *ob_type;
};

/* The compiler may not fold an increment and a decrement into nothing. */
static void incref(PyObject *op) { ((volatile struct object_38 *)op)->ob_refcnt++; }
static void decref(PyObject *op) { ((volatile struct object_38 *)op)->ob_refcnt--; }

static PyObject *touch(PyObject *module, PyObject *op) {
  (void)module;
  incref(op);
  incref(op);
  decref(op);
  return op;
}

static PyObject *add_two(PyObject *module, PyObject *op) {
  (void)module;
  ((volatile struct object_38 *)op)->ob_refcnt += 2;
  return op;
}

static PyMethodDef methods[] = {
    {"touch", touch, METH_O, NULL}, {"add_two", add_two, METH_O, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "old_extension",
                                        .m_methods = methods};

PyMODINIT_FUNC PyInit_old_extension(void);
PyMODINIT_FUNC PyInit_old_extension(void) { return PyModuleDef_Init(&definition); }

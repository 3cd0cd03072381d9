/* An extension with a bug: overwrites one character of a str it was only lent.
 *
 * SPDX-License-Identifier: MIT
 */
#include <Python.h>

void scribble(char *text, Py_ssize_t at);
__attribute__((noinline)) void scribble(char *text, Py_ssize_t at) { text[at] = '#'; }

static PyObject *normalise(PyObject *module, PyObject *args) {
  PyObject *str;
  Py_ssize_t at;
  (void)module;
  if (!PyArg_ParseTuple(args, "Un", &str, &at))
    return NULL;
  scribble((char *)PyUnicode_DATA(str), at);
  return Py_NewRef(str);
}

static PyMethodDef methods[] = {{"normalise", normalise, METH_VARARGS, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "scribbler",
                                        .m_methods = methods};

PyMODINIT_FUNC PyInit_scribbler(void);
PyMODINIT_FUNC PyInit_scribbler(void) { return PyModule_Create(&definition); }

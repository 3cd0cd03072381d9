/* init_function: a function that may not run any more.
 *
 * Whoever calls a function of Python goes through one pointer in it:
 *
 *     f(x), f(*a), map(f, ...), C     function object
 *     -------------------------->    +------------+
 *                                    | vectorcall | ---> refuse(): raises InitError
 *                                    | code       | ---> a stub that raises it, too
 *                                    +------------+
 *
 * The interpreter skips that pointer where it has inlined a call, and then looks whether the
 * function is still the one it knew: PyFunction_SetVectorcall takes its version away. Two of its
 * short cuts do not look (a class's __init__, since 3.13 a property): for those the Python side
 * has put a stub in the place of the code, src/pmalloc/_init_functions.py. The pointer has the
 * stub's message raised in the caller's own line, before arguments are bound, and at the call of
 * an async function or a generator, whose stub would raise at the first step only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "init_function.h"

/* Makes the exception for a function; set once, by _init_functions.py. */
static PyObject *explain;

static PyObject *refuse(PyObject *function, PyObject *const *args, size_t nargs, PyObject *names) {
  (void)args, (void)nargs, (void)names;
  PyObject *error = PyObject_CallOneArg(explain, function);
  if (error != NULL)
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
  Py_XDECREF(error);
  return NULL;
}

PyObject *pm_close_function(PyObject *module, PyObject *args) {
  PyObject *function, *how;
  (void)module;
  if (!PyArg_ParseTuple(args, "O!O", &PyFunction_Type, &function, &how))
    return NULL;
  if (!PyCallable_Check(how))
    return PyErr_Format(PyExc_TypeError, "a callable is needed, not %s", Py_TYPE(how)->tp_name);
  Py_XSETREF(explain, Py_NewRef(how));
  PyFunction_SetVectorcall((PyFunctionObject *)function, refuse);
  Py_RETURN_NONE;
}

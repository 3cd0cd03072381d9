/* gate_c: a C extension whose static data is protected at the end of init.
 *
 *      hooks   __ro_after_init   which checks there are: registered while the program starts
 *      limit   __wr_after_init   a number that an operator may change later, by rare write only
 *
 * scribble() and its kin are bugs, to see what becomes of them.
 *
 * SPDX-License-Identifier: MIT
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pmalloc_rare_write.h>

static struct {
  size_t n;
  long below[8]; /* a request is refused by the first hook whose number it is not below */
} hooks __ro_after_init;

static unsigned limit __wr_after_init = 100;

/* What pmalloc says of a rare write, as an exception. */
static PyObject *none_or(enum pmalloc_status status) {
  if (status == PMALLOC_OK)
    Py_RETURN_NONE;
  return PyErr_Format(PyExc_PermissionError, "refused: %s", pmalloc_strerror(status));
}

static PyObject *add_hook(PyObject *module, PyObject *below) {
  (void)module;
  long n = PyLong_AsLong(below);
  if (n == -1 && PyErr_Occurred())
    return NULL;
  if (hooks.n == sizeof hooks.below / sizeof *hooks.below)
    return PyErr_Format(PyExc_OverflowError, "there are %zu hooks already", hooks.n);
  hooks.below[hooks.n++] = n; /* init: an ordinary store; later it faults */
  Py_RETURN_NONE;
}

static PyObject *allows(PyObject *module, PyObject *request) {
  (void)module;
  long n = PyLong_AsLong(request);
  if (n == -1 && PyErr_Occurred())
    return NULL;
  for (size_t i = 0; i < hooks.n; i++) {
    if (n >= hooks.below[i])
      Py_RETURN_FALSE;
  }
  return PyBool_FromLong(n < (long)limit);
}

static PyObject *set_limit(PyObject *module, PyObject *to) {
  (void)module;
  unsigned long n = PyLong_AsUnsignedLong(to);
  if (n == (unsigned long)-1 && PyErr_Occurred())
    return NULL;
  return none_or(wr_assign(wr_static(limit), (unsigned)n));
}

static PyObject *get_limit(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return PyLong_FromUnsignedLong(limit);
}

static PyObject *scribble(PyObject *module, PyObject *to) {
  (void)module;
  limit = (unsigned)PyLong_AsUnsignedLong(to); /* not by rare write */
  return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *rewrite_hooks(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return none_or(pmalloc_wr_set(&hooks, 0, sizeof hooks)); /* they are not write-rare */
}

static PyObject *overrun(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return none_or(pmalloc_wr_set(&limit, 0, sizeof limit + 1));
}

static PyMethodDef methods[] = {
    {"add_hook", add_hook, METH_O, "Registers a hook: requests below a number pass it."},
    {"allows", allows, METH_O, "Whether all hooks, and the limit, let a request pass."},
    {"limit", get_limit, METH_NOARGS, "The limit."},
    {"set_limit", set_limit, METH_O, "Changes the limit, at any time."},
    {"scribble", scribble, METH_O, "A bug: changes the limit by an ordinary store."},
    {"rewrite_hooks", rewrite_hooks, METH_NOARGS, "A bug: a rare write to read-only data."},
    {"overrun", overrun, METH_NOARGS, "A bug: a rare write over the end of a variable."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "gate_c",
                                        .m_methods = methods};

PyMODINIT_FUNC PyInit_gate_c(void) { return PyModuleDef_Init(&definition); }

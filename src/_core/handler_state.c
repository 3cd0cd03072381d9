/* handler_state: who gets SIGSEGV, told to Python.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guards.h"

#include "../libpmalloc/fault_symbol.h"
#include "../libpmalloc/handlers.h"

/* "libpython3.13.so.1.0+0x1c2d30 (function)": as the report names an instruction. */
static PyObject *name_of(const struct sigaction *action) {
  struct pmalloc_symbol symbol;
  uintptr_t address;
  if (action->sa_flags & SA_SIGINFO) {
    if (action->sa_sigaction == pmalloc_fault_on_signal)
      return PyUnicode_FromString("pmalloc");
    address = (uintptr_t)action->sa_sigaction;
  } else {
    if (action->sa_handler == SIG_DFL)
      return PyUnicode_FromString("default");
    if (action->sa_handler == SIG_IGN)
      return PyUnicode_FromString("ignored");
    address = (uintptr_t)action->sa_handler;
  }
  if (!pmalloc_symbol_find(address, &symbol) || !symbol.module[0])
    return PyUnicode_FromFormat("%p", (void *)address);
  if (!symbol.name[0])
    return PyUnicode_FromFormat("%s+%p", symbol.module, (void *)symbol.offset);
  return PyUnicode_FromFormat("%s+%p (%s)", symbol.module, (void *)symbol.offset, symbol.name);
}

PyObject *pm_handler_state(PyObject *module, PyObject *none) {
  struct pmalloc_handlers now;
  (void)module;
  (void)none;
  pmalloc_handlers_ask(&now);
  PyObject *below = PyList_New(0);
  for (size_t i = 0; below != NULL && i < now.below_count; i++) {
    PyObject *name = name_of(&now.below[i]);
    if (name == NULL || PyList_Append(below, name) < 0)
      Py_CLEAR(below);
    Py_XDECREF(name);
  }
  PyObject *top = below == NULL ? NULL : name_of(&now.top);
  if (top == NULL) {
    Py_XDECREF(below);
    return NULL;
  }
  return Py_BuildValue("{s:O,s:N,s:N,s:O,s:n,s:n}", "on_top", now.on_top ? Py_True : Py_False,
                       "top", top, "below", below, "blocked", now.blocked ? Py_True : Py_False,
                       "stack", (Py_ssize_t)now.stack, "stack_needed",
                       (Py_ssize_t)now.stack_needed);
}

PyObject *pm_segv_blocked(PyObject *module, PyObject *none) {
  (void)module;
  (void)none;
  return PyBool_FromLong(pmalloc_handlers_blocked());
}

/* violations: what libpmalloc's log of violations says, as Python objects.
 *
 * The log may grow while it is read: writers first, then writes, so that every
 * write has its writer or is of one that came later and is left out.
 *
 * The main thread is told of something new as of a signal that came:
 * PyErr_SetInterruptEx() takes no lock, needs no GIL, and lets the interpreter call
 * the Python handler of that signal, ours, at the next chance. No signal is sent,
 * and SIGINT has nothing to do with it.
 *
 * ASYNC-SIGNAL-SAFE: pm_violations_notify().
 *
 * SPDX-License-Identifier: MIT
 */
#include "violations.h"

#include "../libpmalloc/fault_log.h"
#include "../libpmalloc/pool.h"

static volatile int signal_number;

void pm_violations_notify(void) {
  int number = signal_number;
  if (number != 0)
    (void)PyErr_SetInterruptEx(number);
}

PyObject *pm_set_violation_signal(PyObject *module, PyObject *number) {
  (void)module;
  int n = (int)PyLong_AsLong(number);
  if (n == -1 && PyErr_Occurred())
    return NULL;
  signal_number = n;
  Py_RETURN_NONE;
}

/* What comes from a process that may be broken: never an exception. */
static PyObject *text(const char *bytes) {
  return PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)strlen(bytes), "backslashreplace");
}

static PyObject *writer_as_tuple(const struct pmalloc_log_writer *w) {
  return Py_BuildValue("nO&sKKLKO&KO&KO&O&O&O&", (Py_ssize_t)w->pool_id, text, w->pool_name,
                       pmalloc_policy_name(w->policy), (unsigned long long)atomic_load(&w->count),
                       (unsigned long long)atomic_load(&w->stepped), (long long)w->seconds,
                       (unsigned long long)w->pc, text, w->module, (unsigned long long)w->offset,
                       text, w->name, (unsigned long long)w->name_offset, text, w->object, text,
                       w->thread_name, text, w->stack, text, w->report);
}

static PyObject *write_as_tuple(const struct pmalloc_log_write *w) {
  return Py_BuildValue("IIKziIKKy#y#", w->writer, w->stepped, (unsigned long long)w->pc,
                       w->instruction, (int)w->thread, w->size, (unsigned long long)w->address,
                       (unsigned long long)w->object, (const char *)w->before,
                       (Py_ssize_t)w->kept_before, (const char *)w->after,
                       (Py_ssize_t)w->kept_after);
}

static int append_new(PyObject *list, PyObject *item) {
  int bad = item == NULL ? -1 : PyList_Append(list, item);
  Py_XDECREF(item);
  return bad;
}

PyObject *pm_violations(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  PyObject *writers = PyList_New(0), *writes = PyList_New(0), *both = NULL;
  int bad = writers == NULL || writes == NULL;
  const struct pmalloc_log_writer *writer;
  const struct pmalloc_log_write *write;
  for (size_t n = 0; !bad && (writer = pmalloc_log_nth_writer(n)) != NULL; n++)
    bad = append_new(writers, writer_as_tuple(writer)) < 0;
  for (size_t n = 0; !bad && (write = pmalloc_log_nth_write(n)) != NULL; n++) {
    if (atomic_load(&write->whole) && (Py_ssize_t)write->writer < PyList_GET_SIZE(writers))
      bad = append_new(writes, write_as_tuple(write)) < 0;
  }
  if (!bad)
    both = PyTuple_Pack(2, writers, writes);
  Py_XDECREF(writers);
  Py_XDECREF(writes);
  return both;
}

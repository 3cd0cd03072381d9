/* errors: see the header.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"

#include <errno.h>

PyObject *PmError, *PmProtectedError, *PmSealedError, *PmDestroyedError, *PmUnfreezableError,
    *PmCorruptionError;

static int add(PyObject *module, PyObject **slot, const char *name, const char *doc,
               PyObject *base) {
  *slot = PyErr_NewExceptionWithDoc(name, doc, base, NULL);
  return *slot == NULL ? -1 : PyModule_AddObjectRef(module, strrchr(name, '.') + 1, *slot);
}

int pm_errors_init(PyObject *module) {
  if (add(module, &PmError, "pmalloc.PmallocError", "Base of what pmalloc raises.", NULL) < 0)
    return -1;
  PyObject *bases = PyTuple_Pack(2, PmError, PyExc_TypeError);
  int bad =
      bases == NULL ||
      add(module, &PmProtectedError, "pmalloc.ProtectedError",
          "The pool is protected: nothing can be allocated, frozen or protected again.",
          PmError) < 0 ||
      add(module, &PmSealedError, "pmalloc.SealedError",
          "The pool is sealed: it cannot be destroyed.", PmError) < 0 ||
      add(module, &PmDestroyedError, "pmalloc.DestroyedError", "The pool was destroyed.", PmError) <
          0 ||
      add(module, &PmUnfreezableError, "pmalloc.UnfreezableError",
          "An object cannot be frozen; `path` says where it is, '' is the root.", bases) < 0 ||
      add(module, &PmCorruptionError, "pmalloc.CorruptionError",
          "A pool's metadata is not what pmalloc wrote there.", PmError) < 0;
  Py_XDECREF(bases);
  return bad ? -1 : 0;
}

void *pm_raise_status(enum pmalloc_status status, const char *verb, const char *pool_name) {
  switch (status) {
  case PMALLOC_ERR_PROTECTED:
    PyErr_Format(PmProtectedError,
                 "cannot %s pool '%s': it is protected, and there is no way back; use a new pool",
                 verb, pool_name);
    break;
  case PMALLOC_ERR_DESTROYED:
    PyErr_Format(PmDestroyedError, "cannot %s pool '%s': it was destroyed", verb, pool_name);
    break;
  case PMALLOC_ERR_NOMEM:
    PyErr_Format(PyExc_MemoryError,
                 "cannot %s pool '%s': out of memory, address space or mappings (%s); the pool "
                 "is as it was",
                 verb, pool_name, strerror(errno));
    break;
  case PMALLOC_ERR_FOREIGN:
    PyErr_Format(PyExc_ValueError, "cannot %s pool '%s': the address is not one of its allocations",
                 verb, pool_name);
    break;
  case PMALLOC_ERR_DOUBLE_FREE:
    PyErr_Format(PyExc_ValueError, "cannot %s pool '%s': the allocation was already freed", verb,
                 pool_name);
    break;
  case PMALLOC_ERR_INVALID:
    PyErr_Format(PyExc_ValueError, "cannot %s pool '%s': size or alignment no pool can honour",
                 verb, pool_name);
    break;
  default:
    PyErr_Format(PyExc_OSError, "cannot %s pool '%s': %s", verb, pool_name, strerror(errno));
  }
  return NULL;
}

void pm_raise_unfreezable(PyObject *culprit, PyObject *path, const char *advice) {
  PyObject *where =
      PyUnicode_GET_LENGTH(path) == 0 ? PyUnicode_FromString("the root") : Py_NewRef(path);
  PyObject *message = where == NULL
                          ? NULL
                          : PyUnicode_FromFormat("cannot freeze %s at %U: %s",
                                                 Py_TYPE(culprit)->tp_name, where, advice);
  PyObject *error = message == NULL ? NULL : PyObject_CallOneArg(PmUnfreezableError, message);
  if (error != NULL && PyObject_SetAttrString(error, "path", path) == 0)
    PyErr_SetObject(PmUnfreezableError, error);
  Py_XDECREF(error);
  Py_XDECREF(message);
  Py_XDECREF(where);
}

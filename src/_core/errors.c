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
          "Something wrote where only pmalloc may write: around an allocation, or into metadata.",
          PmError) < 0 ||
      PyObject_SetAttrString(PmCorruptionError, "address", Py_None) < 0 ||
      PyObject_SetAttrString(PmCorruptionError, "size", Py_None) < 0 ||
      PyObject_SetAttrString(PmCorruptionError, "offset", Py_None) < 0;
  Py_XDECREF(bases);
  return bad ? -1 : 0;
}

/* With errno in the exception. */
static void raise_os_error(const char *format, const char *verb, const char *pool_name,
                           const char *reason) {
  int number = errno;
  PyObject *text = PyUnicode_FromFormat(format, verb, pool_name, reason);
  PyObject *args = text == NULL ? NULL : Py_BuildValue("(iN)", number, text);
  if (args != NULL)
    PyErr_SetObject(PyExc_OSError, args);
  Py_XDECREF(args);
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
  case PMALLOC_ERR_SEALED:
    PyErr_Format(PmSealedError,
                 "cannot %s pool '%s': it is sealed, and stays for the life of the process", verb,
                 pool_name);
    break;
  case PMALLOC_ERR_UNSUPPORTED:
    raise_os_error("cannot %s pool '%s': this kernel cannot do it, or a sandbox forbids it (%s): "
                   "sealing takes Linux 6.10; the pool is as it was",
                   verb, pool_name, strerror(errno));
    break;
  case PMALLOC_ERR_BUSY:
    raise_os_error("cannot %s pool '%s': somebody may still write its memory (%s): its pages are "
                   "pinned (io_uring buffers, vmsplice, RDMA), or a process that was forked while "
                   "it was open maps it; the pool is open as before",
                   verb, pool_name, strerror(errno));
    break;
  case PMALLOC_ERR_HALF_SEALED:
    raise_os_error("cannot %s pool '%s' to the end (%s): it is protected, and sealed in part; call "
                   "it again with the same arguments",
                   verb, pool_name, strerror(errno));
    break;
  case PMALLOC_ERR_FORKED:
    PyErr_Format(PmError,
                 "cannot %s pool '%s': it was open when this process was forked, and its memory is "
                 "the parent's too; only the process that made it may fill it",
                 verb, pool_name);
    break;
  case PMALLOC_ERR_NOT_RARE:
    PyErr_Format(PmProtectedError,
                 "cannot %s pool '%s': it is not write-rare; make the pool with mode='wr'", verb,
                 pool_name);
    break;
  case PMALLOC_ERR_BOUNDS:
    PyErr_Format(PyExc_ValueError,
                 "cannot %s pool '%s': it would reach beyond an allocation or an object", verb,
                 pool_name);
    break;
  case PMALLOC_ERR_NESTED:
    PyErr_Format(PmError, "cannot %s pool '%s': an opening was found open", verb, pool_name);
    break;
  case PMALLOC_ERR_UNSETTLED:
    PyErr_Format(PmError,
                 "cannot %s pool '%s': dicts or lists of an init phase lie in it that are ordinary "
                 "until the phase ends; call mark_rodata_ro() instead, or end its late_init()",
                 verb, pool_name);
    break;
  case PMALLOC_ERR_CORRUPT:
    PyErr_Format(PmCorruptionError,
                 "cannot %s pool '%s': its metadata was overwritten by something in this process; "
                 "do not trust the pool",
                 verb, pool_name);
    break;
  default:
    raise_os_error("cannot %s pool '%s': %s", verb, pool_name, strerror(errno));
  }
  return NULL;
}

static int set_number(PyObject *error, const char *name, PyObject *number) {
  int done = number == NULL ? -1 : PyObject_SetAttrString(error, name, number);
  Py_XDECREF(number);
  return done;
}

void *pm_raise_corrupt(pmalloc_pool *pool, const char *verb) {
  struct pmalloc_corruption found;
  const char *name = pmalloc_pool_name(pool);
  if (!pmalloc_pool_corruption(pool, &found))
    return pm_raise_status(PMALLOC_ERR_CORRUPT, verb, name);
  if (found.allocation == NULL) {
    PyErr_Format(PmCorruptionError,
                 "cannot %s pool '%s': %s; something in this process wrote there: do not trust the "
                 "pool",
                 verb, name, found.what);
    return NULL;
  }
  PyObject *message = PyUnicode_FromFormat(
      "cannot %s pool '%s': %s of %zu bytes at %p, the first bad byte is at offset %zd", verb, name,
      found.what, found.size, found.allocation, (Py_ssize_t)found.offset);
  PyObject *error = message == NULL ? NULL : PyObject_CallOneArg(PmCorruptionError, message);
  if (error != NULL && set_number(error, "address", PyLong_FromVoidPtr(found.allocation)) == 0 &&
      set_number(error, "size", PyLong_FromSize_t(found.size)) == 0 &&
      set_number(error, "offset", PyLong_FromSsize_t(found.offset)) == 0)
    PyErr_SetObject(PmCorruptionError, error);
  Py_XDECREF(error);
  Py_XDECREF(message);
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

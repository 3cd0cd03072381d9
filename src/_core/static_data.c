/* static_data: see the header.
 *
 * An object may be loaded or unloaded by another thread at any moment: each section is asked for by
 * the id of the one before, and one that is gone is left out.
 *
 * SPDX-License-Identifier: MIT
 */
#include "static_data.h"

#include <errno.h>
#include <string.h>

#include "errors.h"

static const char *const kinds[] = {"ro", "wr"};
static const char *const attributes[] = {"__ro_after_init", "__wr_after_init"};
static const char *const states[] = {"open", "protected", "refused"};

static PyObject *as_tuple(const struct pmalloc_static_data *data) {
  PyObject *path = PyUnicode_DecodeFSDefault(data->path);
  PyObject *address = path == NULL ? NULL : PyLong_FromVoidPtr((void *)(uintptr_t)data->address);
  if (address == NULL) {
    Py_XDECREF(path);
    return NULL;
  }
  return Py_BuildValue("kNsNnsk", data->id, path, kinds[data->kind], address,
                       (Py_ssize_t)data->bytes, states[data->state], data->sequence);
}

PyObject *pm_sections(PyObject *module, PyObject *unused) {
  struct pmalloc_static_data data = {.size = sizeof data};
  PyObject *list = PyList_New(0);
  int bad = list == NULL;
  (void)module;
  (void)unused;
  for (unsigned long id = 0; !bad && pmalloc_next_static_data(id, &data); id = data.id) {
    PyObject *one = as_tuple(&data);
    bad = one == NULL || PyList_Append(list, one) < 0;
    Py_XDECREF(one);
  }
  if (bad)
    Py_CLEAR(list);
  return list;
}

static void raise(enum pmalloc_status status, unsigned long id,
                  const struct pmalloc_static_data *data) {
  int number = errno;
  const char *what = attributes[data->kind];
  if (status == PMALLOC_ERR_INVALID) {
    PyErr_Format(PyExc_ValueError,
                 "there is no section with the id %lu: the object it belonged to was unloaded", id);
  } else if (data->problem[0]) {
    PyErr_Format(PmError, "cannot protect %s: %s", data->path, data->problem);
  } else if (status == PMALLOC_ERR_PROTECTED) {
    PyErr_Format(PmProtectedError, "cannot protect the %s data of %s: they are protected", what,
                 data->path);
  } else if (status == PMALLOC_ERR_NOMEM || status == PMALLOC_ERR_SYSTEM) {
    PyObject *text =
        PyUnicode_FromFormat("cannot protect the %s data of %s: %s (%s); they are as "
                             "they were",
                             what, data->path, pmalloc_strerror(status), strerror(number));
    PyObject *args = text == NULL ? NULL : Py_BuildValue("(iN)", number, text);
    if (args != NULL)
      PyErr_SetObject(status == PMALLOC_ERR_NOMEM ? PyExc_MemoryError : PyExc_OSError, args);
    Py_XDECREF(args);
  } else {
    PyErr_Format(PmError, "cannot protect the %s data of %s: %s", what, data->path,
                 pmalloc_strerror(status));
  }
}

PyObject *pm_protect_section(PyObject *module, PyObject *number) {
  struct pmalloc_static_data data = {.size = sizeof data};
  unsigned long id = PyLong_AsUnsignedLong(number);
  (void)module;
  if (id == (unsigned long)-1 && PyErr_Occurred())
    return NULL;
  /* Before it, for its words: afterwards it may be gone. */
  int found = id > 0 && pmalloc_next_static_data(id - 1, &data) && data.id == id;
  enum pmalloc_status status = found ? pmalloc_protect_static_data(id) : PMALLOC_ERR_INVALID;
  if (status == PMALLOC_OK)
    Py_RETURN_NONE;
  raise(status, id, &data);
  return NULL;
}

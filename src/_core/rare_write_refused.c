/* rare_write_refused: why a rare write was refused, as exceptions.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"
#include "rare_write_type.h"

#include "../libpmalloc/rare_write.h"

#include <errno.h>

/* It lies in no pool. */
static void raise_ordinary(const char *what) {
  static const struct {
    const char *what, *advice;
  } known[] = {
      {"array", "its data is ordinary memory; store into it, or make it with Pool.ndarray() or "
                "Pool.copy_array()"},
      {"memoryview", "it shows ordinary memory; store into it"},
      {"record", "it lies in ordinary memory; assign to its fields, or make it with Pool.new()"},
  };
  const char *advice = "it is ordinary memory";
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(what, known[i].what) == 0)
      advice = known[i].advice;
  PyErr_Format(PyExc_ValueError, "cannot rare-write this %s: %s", what, advice);
}

static void raise_not_rare(const struct pmalloc_refusal *r, const char *what) {
  const char *pool = r->where.pool_name;
  if (r->where.place == PMALLOC_NOWHERE || pool == NULL)
    raise_ordinary(what);
  else if (r->freed)
    PyErr_Format(PyExc_ValueError, "cannot rare-write this %s of pool '%s': it was freed", what,
                 pool);
  else if (r->where.place != PMALLOC_DATA)
    PyErr_Format(PyExc_ValueError, "cannot rare-write this %s: it is no data of pool '%s'", what,
                 pool);
  else if (pmalloc_mode_is_rare(r->where.mode))
    PyErr_Format(PmCorruptionError,
                 "cannot rare-write this %s of pool '%s': its metadata is not what pmalloc wrote "
                 "there; do not trust the pool",
                 what, pool);
  else if (r->where.protected_)
    PyErr_Format(PmProtectedError,
                 "cannot rare-write this %s of pool '%s': its mode is '%s', and what it protects "
                 "does not change any more; a pool that is to be written takes mode 'wr', "
                 "'auto_wr' or 'start_wr'",
                 what, pool, pmalloc_mode_name(r->where.mode));
  else
    PyErr_Format(PmProtectedError,
                 "cannot rare-write this %s of pool '%s': its mode is '%s', and it is open; store "
                 "into it until it is protected, or make the pool with mode 'wr'",
                 what, pool, pmalloc_mode_name(r->where.mode));
}

void *pm_raise_refusal(const struct pmalloc_refusal *r, const char *what) {
  const char *pool = r->where.pool_name == NULL ? "?" : r->where.pool_name;
  int number = errno;
  switch (r->status) {
  case PMALLOC_ERR_NOT_RARE:
    raise_not_rare(r, what);
    break;
  case PMALLOC_ERR_BOUNDS:
    PyErr_Format(PyExc_ValueError,
                 "cannot rare-write this %s of pool '%s': its %zu bytes at %p are not within one "
                 "allocation or object",
                 what, pool, r->size, (void *)r->address);
    break;
  case PMALLOC_ERR_FORKED:
    PyErr_Format(PmError,
                 "cannot rare-write this %s of pool '%s': the pool is the parent's too, a memfd; "
                 "only the process that made it writes it",
                 what, pool);
    break;
  case PMALLOC_ERR_UNSUPPORTED: {
    PyObject *text = PyUnicode_FromFormat(
        "cannot rare-write this %s of pool '%s': no way to write a sealed pool works here (%s): "
        "neither /proc/self/mem nor its memfd can be written; pmalloc doctor says more",
        what, pool, strerror(number));
    PyObject *args = text == NULL ? NULL : Py_BuildValue("(iN)", number, text);
    if (args != NULL)
      PyErr_SetObject(PyExc_OSError, args);
    Py_XDECREF(args);
    break;
  }
  default:
    errno = number;
    return pm_raise_status(r->status, "rare-write", pool);
  }
  return NULL;
}

/* rare_probe: rare writes that are made to see whether they work here, and what they cost.
 *
 *     pmalloc doctor --fork--> child: makes a pool   rare_probe()     by its own way
 *                                     (and none)     window_probe()   by a window, though there be
 *                                                                     a better way
 *
 * For the doctor alone: loops in C, because a call from Python costs as much as a rare write. They
 * can do no more than anybody can: the target is an allocation, and judged like any.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rare_probe.h"
#include "errors.h"
#include "pool_type.h"

#include <time.h>

#include "../libpmalloc/pages.h"
#include "../libpmalloc/rare_write.h"

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static PyObject *answer(enum pmalloc_status status, double seconds) {
  return status == PMALLOC_OK
             ? PyFloat_FromDouble(seconds)
             : PyErr_Format(PmError, "rare write: %s", pmalloc_status_text(status));
}

PyObject *pm_rare_probe(PyObject *module, PyObject *args) {
  const pm_allocation *to;
  Py_buffer from;
  Py_ssize_t times;
  struct pmalloc_refusal refusal;
  enum pmalloc_status status = PMALLOC_OK;
  (void)module;
  if (!PyArg_ParseTuple(args, "O!y*n", &PmAllocation_Type, &to, &from, &times))
    return NULL;
  double start = now();
  Py_BEGIN_ALLOW_THREADS;
  for (Py_ssize_t i = 0; i < times && status == PMALLOC_OK; i++)
    status = pmalloc_rare_copy(to->address, from.buf, (size_t)from.len, &refusal);
  Py_END_ALLOW_THREADS;
  double seconds = now() - start;
  PyBuffer_Release(&from);
  return answer(status, seconds);
}

PyObject *pm_window_probe(PyObject *module, PyObject *args) {
  struct pages p;
  Py_ssize_t bytes, times;
  int left_open = 0;
  (void)module;
  if (!PyArg_ParseTuple(args, "nn", &bytes, &times))
    return NULL;
  enum pmalloc_status status =
      bytes > 0 ? pages_map(&p, (size_t)bytes, 0, "probe") : PMALLOC_ERR_INVALID;
  if (status != PMALLOC_OK)
    return answer(status, 0);
  status = pages_protect(&p);
  double start = now();
  Py_BEGIN_ALLOW_THREADS;
  for (Py_ssize_t i = 0; i < times && status == PMALLOC_OK; i++)
    status = pages_store_through_window(&p, p.base, &i, sizeof i, &left_open);
  Py_END_ALLOW_THREADS;
  double seconds = now() - start;
  (void)pages_unmap(&p);
  return answer(status, seconds);
}

/* rare_probe: what `pmalloc doctor` tries rare writes with.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_RARE_PROBE_H
#define PM_RARE_PROBE_H

#include "cpython_layout.h"

/* rare_probe(allocation, data, times): writes the bytes to its start, so many times; the seconds
 * it took. PmallocError where it is refused. */
PyObject *pm_rare_probe(PyObject *module, PyObject *args);

/* window_probe(size, times): writes 8 bytes through a window, on a mapping of that many bytes made
 * for it. */
PyObject *pm_window_probe(PyObject *module, PyObject *args);

#endif

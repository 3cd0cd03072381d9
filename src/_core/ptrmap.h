/* ptrmap: from an object's address to a number; and the working memory of
 * freeze and thaw, which is given back to the kernel when they end.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_PTRMAP_H
#define PM_PTRMAP_H

#include "cpython_layout.h"

typedef struct {
  PyObject **keys;
  uint32_t *values;
  size_t mask, used;
} pm_map;

/* 1 and *value when the key is there, else 0. */
int pm_map_get(const pm_map *m, PyObject *key, uint32_t *value);
/* Where the key's value is, until the next call: 1 for a new key, whose value the caller
 * sets, 0 for an old one, -1 with MemoryError. */
int pm_map_enter(pm_map *m, PyObject *key, uint32_t **value);
/* Enters or replaces; -1 with MemoryError. */
int pm_map_put(pm_map *m, PyObject *key, uint32_t value);
void pm_map_free(pm_map *m);

/* Working memory: from the heap while small, then pages of its own. Growing keeps
 * the contents. NULL with MemoryError, the old memory untouched. */
void *pm_scratch(void *old, size_t old_bytes, size_t bytes);
void *pm_scratch_zeroed(size_t bytes);
void pm_scratch_free(void *p, size_t bytes);

/* Grows an array of `size`-byte items to hold one more than `n`; -1 with MemoryError. Free
 * it with pm_scratch_free(array, room * size). */
int pm_grow(void **array, size_t *room, size_t n, size_t size);

#endif

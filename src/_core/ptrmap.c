/* ptrmap: from an object's address to a number; and arrays that grow.
 *
 * Open addressing, linear probing, two thirds full at the most. Raw memory, so
 * that nothing here can start a garbage collection.
 *
 * SPDX-License-Identifier: MIT
 */
#include "ptrmap.h"

#include "../libpmalloc/pages.h"

#define SMALL ((size_t)256 << 10)

void *pm_scratch(void *old, size_t old_bytes, size_t bytes) {
  void *p;
  if (bytes < SMALL) {
    p = PyMem_RawRealloc(old, bytes);
  } else if (old_bytes >= SMALL) {
    p = pages_scratch(old, old_bytes, bytes);
  } else {
    p = pages_scratch(NULL, 0, bytes);
    if (p != NULL && old != NULL) {
      memcpy(p, old, old_bytes);
      PyMem_RawFree(old);
    }
  }
  return p != NULL ? p : PyErr_NoMemory();
}

void *pm_scratch_zeroed(size_t bytes) {
  void *p = bytes < SMALL ? PyMem_RawCalloc(1, bytes) : pages_scratch(NULL, 0, bytes);
  return p != NULL ? p : PyErr_NoMemory();
}

void pm_scratch_free(void *p, size_t bytes) {
  if (bytes < SMALL)
    PyMem_RawFree(p);
  else
    (void)pages_scratch(p, bytes, 0);
}

int pm_grow(void **array, size_t *room, size_t n, size_t size) {
  if (n < *room)
    return 0;
  size_t more = *room < 256 ? 256 : *room + *room / 2;
  void *bigger = pm_scratch(*array, *room * size, more * size);
  if (bigger == NULL)
    return -1;
  *array = bigger;
  *room = more;
  return 0;
}

static size_t slot_of(const pm_map *m, PyObject *key) {
  size_t i = (size_t)(((uintptr_t)key >> 4) * UINT64_C(0x9E3779B97F4A7C15) >> 20) & m->mask;
  while (m->keys[i] != NULL && m->keys[i] != key)
    i = (i + 1) & m->mask;
  return i;
}

static int resize(pm_map *m, size_t size) {
  pm_map bigger = {.mask = size - 1, .used = m->used};
  bigger.keys = pm_scratch_zeroed(size * sizeof(PyObject *));
  if (bigger.keys == NULL)
    return -1;
  bigger.values = pm_scratch_zeroed(size * sizeof(uint32_t));
  if (bigger.values == NULL) {
    pm_scratch_free(bigger.keys, size * sizeof(PyObject *));
    return -1;
  }
  for (size_t i = 0; m->keys != NULL && i <= m->mask; i++) {
    if (m->keys[i] != NULL) {
      size_t j = slot_of(&bigger, m->keys[i]);
      bigger.keys[j] = m->keys[i];
      bigger.values[j] = m->values[i];
    }
  }
  pm_map_free(m);
  *m = bigger;
  return 0;
}

int pm_map_enter(pm_map *m, PyObject *key, uint32_t **value) {
  if (m->keys == NULL || (m->used + 1) * 3 > (m->mask + 1) * 2) {
    if (resize(m, m->keys == NULL ? 1024 : (m->mask + 1) * 2) < 0)
      return -1;
  }
  size_t i = slot_of(m, key);
  int is_new = m->keys[i] == NULL;
  m->used += (size_t)is_new;
  m->keys[i] = key;
  *value = &m->values[i];
  return is_new;
}

int pm_map_put(pm_map *m, PyObject *key, uint32_t value) {
  uint32_t *at;
  if (pm_map_enter(m, key, &at) < 0)
    return -1;
  *at = value;
  return 0;
}

int pm_map_get(const pm_map *m, PyObject *key, uint32_t *value) {
  if (m->keys == NULL)
    return 0;
  size_t i = slot_of(m, key);
  if (m->keys[i] == NULL)
    return 0;
  *value = m->values[i];
  return 1;
}

void pm_map_free(pm_map *m) {
  if (m->keys == NULL)
    return;
  pm_scratch_free(m->keys, (m->mask + 1) * sizeof(PyObject *));
  pm_scratch_free(m->values, (m->mask + 1) * sizeof(uint32_t));
}

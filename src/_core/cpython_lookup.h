/* cpython_lookup: finds a str in a frozen key table.
 *
 * Reading through a dict subclass takes the interpreter's general way, for its
 * specialised instructions want an exact dict. What that costs is won back
 * here: a frozen table never changes, has no dummies and is not watched, so a
 * look-up is a walk along the index and nothing else.
 *
 *   hash -> slot -> index entry -> | key | value |     same object?  found
 *                \-> next slot  <--------- no ---      same hash and text?  found
 *
 * Part of the room that knows CPython's internals; see cpython_layout.h.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_CPYTHON_LOOKUP_H
#define PM_CPYTHON_LOOKUP_H

#include "cpython_layout.h"

/* The number in a slot of the index; negative: empty. */
static inline Py_ssize_t pm_keys_slot(const pm_keys *k, size_t slot) {
  if (k->log2_size < 8)
    return ((const int8_t *)k->indices)[slot];
  if (k->log2_size < 16)
    return ((const int16_t *)(const void *)k->indices)[slot];
  if (k->log2_size < 32)
    return ((const int32_t *)(const void *)k->indices)[slot];
  return (Py_ssize_t)((const int64_t *)(const void *)k->indices)[slot];
}

/* Both are compact, as all strs are since 3.12. */
static inline int pm_str_equal(PyObject *a, PyObject *b) {
  return PM_STR(a)->length == PM_STR(b)->length && PM_STR(a)->state.kind == PM_STR(b)->state.kind &&
         PM_STR(a)->state.ascii == PM_STR(b)->state.ascii &&
         memcmp((char *)a + pm_str_head(a), (char *)b + pm_str_head(b),
                (size_t)PM_STR(a)->length * PM_STR(a)->state.kind) == 0;
}

/* What can be looked up the short way: a str that has its hash, in a table of strs. */
static inline int pm_can_find(PyObject *dict, PyObject *key) {
  return PyUnicode_CheckExact(key) && PM_STR(key)->hash != -1 &&
         pm_dict_keys(dict)->kind != PM_KEYS_GENERAL;
}

/* Where value number i of a table of strs is. */
static inline PyObject **pm_value_at(PyObject *dict, pm_unicode_entry *entries, Py_ssize_t i) {
  if (pm_dict_is_split(dict))
    return &pm_dict_values(dict)[i];
  return &entries[i].value;
}

/* The value, borrowed; NULL when the key is not there. Sets no exception. */
static inline PyObject *pm_find(PyObject *dict, PyObject *key) {
  pm_keys *k = pm_dict_keys(dict);
  pm_unicode_entry *entries = pm_keys_entries(k);
  Py_hash_t hash = PM_STR(key)->hash;
  size_t mask = ((size_t)1 << k->log2_size) - 1;
  size_t perturb = (size_t)hash, slot = (size_t)hash & mask;
  for (;;) {
    Py_ssize_t i = pm_keys_slot(k, slot);
    if (i < 0)
      return NULL;
    PyObject *candidate = entries[i].key, **value = pm_value_at(dict, entries, i);
    if (candidate == key)
      return *value;
    /* The key's text and the value both may be far from any cache: wait for them together. */
    __builtin_prefetch(*value);
    if (PM_STR(candidate)->hash == hash && pm_str_equal(candidate, key))
      return *value;
    perturb >>= 5;
    slot = (slot * 5 + perturb + 1) & mask;
  }
}

#endif

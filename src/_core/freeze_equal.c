/* freeze_equal: equal str, bytes, int and float objects become one, where it pays.
 *
 * In data from a parser a country code is a new string in every record; one copy
 * is enough, they cannot change. But looking every distinct string up in a large
 * table makes freezing several times slower for nothing. So luck is measured
 * where a value was found: under which key of its record, in which kind of
 * container. A trial is long, for the chance to meet an equal grows with what
 * was seen before; while the table is small it costs little. Where a look-up
 * saves less than three bytes on average, the next million values are copied
 * unseen.
 *
 * Equal means: nothing can tell them apart but `is`. 1 and 1.0 differ, so do 0.0 and -0.0.
 * A NaN never comes here.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"

#define TRIAL 65536
#define WORTH 3 /* bytes saved by a look-up, on average */

static int worth_trying(pm_luck *luck) {
  if (luck->tries >= TRIAL && luck->saved / luck->tries < WORTH) {
    if (++luck->skipped < 32 * TRIAL)
      return 0;
    *luck = (pm_luck){0}; /* another trial */
  }
  luck->tries++;
  return 1;
}

static int same(PyObject *a, PyObject *b, int kind) {
  switch (kind) {
  case PM_KIND_STR:
    return PM_STR(a)->length == PM_STR(b)->length &&
           PM_STR(a)->state.kind == PM_STR(b)->state.kind &&
           PM_STR(a)->state.ascii == PM_STR(b)->state.ascii &&
           memcmp((char *)a + pm_str_head(a), (char *)b + pm_str_head(b), pm_str_data(a)) == 0;
  case PM_KIND_BYTES:
    return Py_SIZE(a) == Py_SIZE(b) &&
           memcmp(PyBytes_AS_STRING(a), PyBytes_AS_STRING(b), (size_t)Py_SIZE(a)) == 0;
  case PM_KIND_INT: {
    const PyLongObject *x = (PyLongObject *)a, *y = (PyLongObject *)b;
    return x->long_value.lv_tag == y->long_value.lv_tag &&
           memcmp(x->long_value.ob_digit, y->long_value.ob_digit,
                  pm_long_digits(x) * sizeof(digit)) == 0;
  }
  default:
    return memcmp(&((PyFloatObject *)a)->ob_fval, &((PyFloatObject *)b)->ob_fval, sizeof(double)) ==
           0;
  }
}

static int hash_of(PyObject *op, int kind, uint32_t *out) {
  uint64_t h;
  if (kind == PM_KIND_FLOAT) {
    memcpy(&h, &((PyFloatObject *)op)->ob_fval, sizeof h);
  } else {
    Py_hash_t hash = PyObject_Hash(op); /* exact built-in scalars: no Python code */
    if (hash == -1)
      return -1;
    h = (uint64_t)hash;
  }
  h = (h + (uint64_t)kind) * UINT64_C(0x9E3779B97F4A7C15);
  *out = (uint32_t)(h >> 32);
  return 0;
}

/* An entry is hash << 32 | node + 1; 0 is empty. */
static int grow(pm_plan *p) {
  size_t size = p->equal == NULL ? 4096 : (p->equal_mask + 1) * 2;
  uint64_t *bigger = pm_scratch_zeroed(size * sizeof(uint64_t));
  if (bigger == NULL)
    return -1;
  for (size_t i = 0; p->equal != NULL && i <= p->equal_mask; i++) {
    uint64_t entry = p->equal[i];
    if (entry != 0) {
      size_t j = (size_t)(entry >> 32) & (size - 1);
      while (bigger[j] != 0)
        j = (j + 1) & (size - 1);
      bigger[j] = entry;
    }
  }
  if (p->equal != NULL)
    pm_scratch_free(p->equal, (p->equal_mask + 1) * sizeof(uint64_t));
  p->equal = bigger;
  p->equal_mask = size - 1;
  return 0;
}

/* A scalar will be looked up soon: hash it and ask for its slot. The table is far
 * larger than any cache, and waiting for it is what a look-up costs. */
void pm_equal_prefetch(const pm_plan *p, PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  int kind = type == &PyUnicode_Type ? PM_KIND_STR
             : type == &PyFloat_Type ? PM_KIND_FLOAT
             : type == &PyLong_Type  ? PM_KIND_INT
                                     : -1;
  uint32_t hash;
  if (p->equal != NULL && kind >= 0 && hash_of(op, kind, &hash) == 0)
    __builtin_prefetch(&p->equal[hash & p->equal_mask]);
}

/* 1: an equal node exists, *node says which. 0: none; when the value was worth
 * remembering it is entered as the node that the caller appends next. -1: exception. */
int pm_equal_find(pm_plan *p, PyObject *op, int kind, size_t luck_slot, uint32_t *node) {
  pm_luck *luck = luck_slot < PM_LUCK_SLOTS ? &p->luck[luck_slot] : NULL;
  if (luck != NULL && !worth_trying(luck))
    return 0;
  if ((p->equal == NULL || (p->equal_used + 1) * 3 > (p->equal_mask + 1) * 2) && grow(p) < 0)
    return -1;
  uint32_t hash;
  if (hash_of(op, kind, &hash) < 0)
    return -1;
  size_t i = hash & p->equal_mask;
  for (; p->equal[i] != 0; i = (i + 1) & p->equal_mask) {
    if ((uint32_t)(p->equal[i] >> 32) != hash)
      continue;
    uint32_t candidate = (uint32_t)p->equal[i] - 1;
    if (pm_node_kind(&p->nodes[candidate]) == kind && same(p->nodes[candidate].src, op, kind)) {
      if (luck != NULL)
        luck->saved += p->nodes[candidate].where & PM_NODE_OFFSET;
      *node = candidate;
      return 1;
    }
  }
  p->equal[i] = (uint64_t)hash << 32 | (uint32_t)(p->n_nodes + 1);
  p->equal_used++;
  return 0;
}

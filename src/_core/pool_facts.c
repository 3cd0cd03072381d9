/* pool_facts: what a Pool tells of itself.
 *
 * SPDX-License-Identifier: MIT
 */
#include "errors.h"
#include "freeze.h"
#include "pool_type.h"

#include "../libpmalloc/rare_write.h"

const char *const pm_backing_names[] = {"private", "memfd"};

static const char *const state_names[] = {"open", "protected", "destroyed"};
static const char *const tier_names[] = {"protected", "sealed", "immutable"};

/* One word: a tier is a state to whoever asks. */
static const char *state_name(enum pmalloc_state state, enum pmalloc_tier tier) {
  return state == PMALLOC_PROTECTED ? tier_names[tier] : state_names[state];
}

PyObject *pm_pool_stats(PyObject *op, PyObject *unused) {
  (void)unused;
  const pm_pool *self = (pm_pool *)op;
  struct pmalloc_stats s;
  pmalloc_pool_stats(self->pool, &s);
  return Py_BuildValue(
      "{sOsssssIsnsnsnsnsnsnsnsssssOsKsKsKsssssKsK}", "name", self->name, "state",
      state_name(s.state, s.tier), "backing", pm_backing_names[s.backing], "chunks",
      (unsigned)s.chunks, "reserved_bytes", (Py_ssize_t)s.reserved_bytes, "used_bytes",
      (Py_ssize_t)s.used_bytes, "allocations", (Py_ssize_t)s.allocations, "objects",
      (Py_ssize_t)s.objects, "metadata_bytes", (Py_ssize_t)(s.cold_bytes + s.hot_bytes),
      "shared_key_bytes", (Py_ssize_t)pm_shared_key_bytes(), "views", self->views, "on_violation",
      pmalloc_policy_name(s.chosen), "policy", pmalloc_policy_name(s.policy), "tainted",
      s.tainted ? Py_True : Py_False, "violations", (unsigned long long)s.violations,
      "violations_stepped", (unsigned long long)s.stepped, "violations_dropped",
      (unsigned long long)s.dropped, "mode", pmalloc_mode_name(s.mode), "rare_write",
      pmalloc_mechanism_name(pmalloc_rare_mechanism(self->pool)), "rare_writes",
      (unsigned long long)s.rare_writes, "rare_bytes", (unsigned long long)s.rare_bytes);
}

static PyObject *get_root(PyObject *op, void *unused) {
  (void)unused;
  const pm_pool *self = (pm_pool *)op;
  void *root = NULL;
  if (pm_pool_state(self) == PMALLOC_DESTROYED_STATE)
    Py_RETURN_NONE; /* another pool may have the name now */
  int found = pmalloc_root_lookup(PyUnicode_AsUTF8(self->name), &root);
  if (found < 0)
    return PyErr_Format(PmCorruptionError, "the root of pool '%U' was tampered with", self->name);
  if (found == 0)
    Py_RETURN_NONE;
  return Py_NewRef((PyObject *)root);
}
static PyObject *get_name(PyObject *op, void *unused) {
  (void)unused;
  return Py_NewRef(((pm_pool *)op)->name);
}
static PyObject *get_state(PyObject *op, void *unused) {
  (void)unused;
  const pm_pool *self = (pm_pool *)op;
  return PyUnicode_FromString(state_name(pm_pool_state(self), pmalloc_pool_tier(self->pool)));
}
static PyObject *get_mode(PyObject *op, void *unused) {
  (void)unused;
  return PyUnicode_FromString(pmalloc_mode_name(pmalloc_pool_mode(((pm_pool *)op)->pool)));
}
static PyObject *get_arrays(PyObject *op, void *unused) {
  (void)unused;
  return PyLong_FromSsize_t(((pm_pool *)op)->arrays);
}
static PyObject *get_id(PyObject *op, void *unused) {
  (void)unused;
  return PyLong_FromSize_t(pmalloc_pool_id(((pm_pool *)op)->pool));
}

PyObject *pm_pool_repr(PyObject *op) {
  const pm_pool *self = (pm_pool *)op;
  struct pmalloc_stats s;
  pmalloc_pool_stats(self->pool, &s);
  return PyUnicode_FromFormat("<pmalloc.Pool '%U': %s, %zu of %zu bytes used>", self->name,
                              state_name(s.state, s.tier), s.used_bytes, s.reserved_bytes);
}

PyGetSetDef pm_pool_getset[] = {
    {"name", get_name, NULL, "The pool's name (str).", NULL},
    {"state", get_state, NULL, "'open', 'protected', 'sealed', 'immutable' or 'destroyed'.", NULL},
    {"mode", get_mode, NULL, "'ro', 'wr', 'auto_ro', 'auto_wr' or 'start_wr'.", NULL},
    {"root", get_root, NULL,
     "The object of the last freeze(), read from protected metadata; None after destroy().", NULL},
    {"_id", get_id, NULL, "Number of the pool, never used again in this process.", NULL},
    {"_arrays", get_arrays, NULL, "How many arrays have data in the pool (int).", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

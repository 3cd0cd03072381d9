/* cpython_layout: see the header. This file compares the mirrors with the
 * interpreter's own headers while it is compiled, and holds the few functions
 * that are too long to be inline.
 *
 * SPDX-License-Identifier: MIT
 */
#define Py_BUILD_CORE 1
#include "cpython_layout.h"

#include "internal/pycore_dict.h"
#include "internal/pycore_gc.h"
#include "internal/pycore_runtime.h"

#define SAME(mine, field, theirs, their_field)                                                     \
  _Static_assert(offsetof(mine, field) == offsetof(theirs, their_field), #mine "." #field)

SAME(pm_keys, refcnt, struct _dictkeysobject, dk_refcnt);
SAME(pm_keys, log2_size, struct _dictkeysobject, dk_log2_size);
SAME(pm_keys, log2_index_bytes, struct _dictkeysobject, dk_log2_index_bytes);
SAME(pm_keys, kind, struct _dictkeysobject, dk_kind);
SAME(pm_keys, version, struct _dictkeysobject, dk_version);
SAME(pm_keys, usable, struct _dictkeysobject, dk_usable);
SAME(pm_keys, nentries, struct _dictkeysobject, dk_nentries);
SAME(pm_keys, indices, struct _dictkeysobject, dk_indices);
SAME(pm_entry, hash, PyDictKeyEntry, me_hash);
SAME(pm_entry, key, PyDictKeyEntry, me_key);
SAME(pm_entry, value, PyDictKeyEntry, me_value);
_Static_assert(sizeof(pm_entry) == sizeof(PyDictKeyEntry), "pm_entry");
SAME(pm_unicode_entry, key, PyDictUnicodeEntry, me_key);
SAME(pm_unicode_entry, value, PyDictUnicodeEntry, me_value);
_Static_assert(sizeof(pm_unicode_entry) == sizeof(PyDictUnicodeEntry), "pm_unicode_entry");
_Static_assert(PM_KEYS_GENERAL == (int)DICT_KEYS_GENERAL, "kinds of key tables");
_Static_assert(PM_KEYS_UNICODE == (int)DICT_KEYS_UNICODE, "kinds of key tables");
_Static_assert(PM_KEYS_SPLIT == (int)DICT_KEYS_SPLIT, "kinds of key tables");
_Static_assert(PM_SHARED_KEYS_MAX == SHARED_KEYS_MAX_SIZE, "largest shared key table");
#if PM_SHARED_KEYS
SAME(pm_values, capacity, struct _dictvalues, capacity);
SAME(pm_values, size, struct _dictvalues, size);
SAME(pm_values, embedded, struct _dictvalues, embedded);
SAME(pm_values, valid, struct _dictvalues, valid);
SAME(pm_values, values, struct _dictvalues, values);
#endif
_Static_assert(sizeof(PyGC_Head) == PM_GC_HEAD, "GC header");
_Static_assert(sizeof(PyASCIIObject) % 8 == 0, "str header");

/* ---- dict -------------------------------------------------------------- */

void pm_keys_init(pm_keys *k, size_t n, int kind) {
  uint8_t log2 = pm_keys_log2(n);
  /* A shared table is immortal: a dict that is copied only counts it up where
   * it is not, and the empty table shows what that looks like. A table of one's own is copied by
   * memcpy and its copy must start with one owner. */
  k->refcnt = kind == PM_KEYS_SPLIT ? pm_empty_keys()->refcnt : 1;
  k->log2_size = log2;
  k->log2_index_bytes = pm_keys_log2_index_bytes(log2);
  k->kind = (uint8_t)kind;
  k->version = 0;
  k->usable = 0; /* full: nobody may add */
  k->nentries = (Py_ssize_t)n;
  memset(k->indices, 0xff, (size_t)1 << k->log2_index_bytes);
}

void pm_keys_index(pm_keys *k, Py_hash_t hash, size_t i) {
  size_t mask = ((size_t)1 << k->log2_size) - 1;
  size_t perturb = (size_t)hash;
  size_t slot = (size_t)hash & mask;
  for (;;) {
    if (k->log2_size < 8) {
      int8_t *at = (int8_t *)k->indices + slot;
      if (*at < 0) {
        *at = (int8_t)i;
        return;
      }
    } else if (k->log2_size < 16) {
      int16_t *at = (int16_t *)k->indices + slot;
      if (*at < 0) {
        *at = (int16_t)i;
        return;
      }
    } else if (k->log2_size < 32) {
      int32_t *at = (int32_t *)k->indices + slot;
      if (*at < 0) {
        *at = (int32_t)i;
        return;
      }
    } else {
      int64_t *at = (int64_t *)k->indices + slot;
      if (*at < 0) {
        *at = (int64_t)i;
        return;
      }
    }
    perturb >>= 5;
    slot = (slot * 5 + perturb + 1) & mask;
  }
}

int pm_dict_next(PyObject *dict, Py_ssize_t *pos, PyObject **key, PyObject **value,
                 Py_hash_t *hash) {
  pm_keys *k = pm_dict_keys(dict);
  if (pm_dict_is_split(dict) || k->kind != PM_KEYS_GENERAL) {
    if (!PyDict_Next(dict, pos, key, value))
      return 0;
    *hash = PM_STR(*key)->hash; /* keys of such tables are hashed strs */
    return 1;
  }
  pm_entry *entries = pm_keys_entries(k);
  while (*pos < k->nentries) {
    pm_entry *e = &entries[(*pos)++];
    if (e->value == NULL)
      continue;
    *key = e->key;
    *value = e->value;
    *hash = e->hash;
    return 1;
  }
  return 0;
}

static void forget_watchers(PyDictObject *mp) {
#if PY_VERSION_HEX >= 0x030E0000
  mp->_ma_watcher_tag = 0;
#else
  _Py_COMP_DIAG_PUSH _Py_COMP_DIAG_IGNORE_DEPR_DECLS mp->ma_version_tag = 0;
  _Py_COMP_DIAG_POP
#endif
}

void pm_dict_init(PyObject *op, PyTypeObject *type, Py_ssize_t used, pm_keys *keys, void *values) {
  PyDictObject *mp = (PyDictObject *)op;
  pm_immortal_header(op, type);
  mp->ma_used = used;
  mp->ma_keys = (PyDictKeysObject *)keys;
  mp->ma_values = (PyDictValues *)values;
  forget_watchers(mp);
}

void pm_body_move(PyObject *to, PyObject *from) {
  size_t head = sizeof(PyObject);
  memcpy((char *)to + head, (char *)from + head, (size_t)Py_TYPE(from)->tp_basicsize - head);
  if (PyDict_Check(to)) /* whoever watches `from` need not hear of its end */
    forget_watchers((PyDictObject *)to);
}

pm_keys *pm_empty_keys(void) {
  static pm_keys *empty;
  if (empty == NULL) {
    PyObject *d = PyDict_New();
    if (d == NULL)
      return NULL;
    empty = pm_dict_keys(d);
    Py_DECREF(d);
  }
  return empty;
}

/* ---- weak references ----------------------------------------------------- */

void pm_weakrefs_kill(PyObject *first) {
  PyWeakReference *next;
  for (PyWeakReference *r = (PyWeakReference *)first; r != NULL; r = next) {
    next = r->wr_next;
    r->wr_object = Py_None;
    r->wr_prev = r->wr_next = NULL;
  }
}

/* ---- the interpreter's own strings ------------------------------------- */

#define STATIC_STRING_MAX 256

/* CPython compares names with its static identifiers by address, and takes an
 * interned string with another address for a different one. A frozen string
 * that equals a static identifier must therefore never carry the interned
 * mark. No API lists them; they are found by what they look like, inside the
 * runtime structure. What looks like one may be something else, so it is only
 * read, and copied: not even its reference count is touched. */
static PyObject *static_strings; /* set of str, equal to them */

/* A copy of the str that seems to lie at p, Py_None where none does. */
static PyObject *copy_static_string(const char *p, const char *end) {
  const PyASCIIObject *s = (const PyASCIIObject *)(const void *)p;
  if (((const PyObject *)s)->ob_type != &PyUnicode_Type || !s->state.compact ||
      !s->state.statically_allocated || s->state.kind != PyUnicode_1BYTE_KIND || s->length < 0 ||
      s->length > STATIC_STRING_MAX)
    Py_RETURN_NONE;
  const char *text = p + pm_str_head((PyObject *)(uintptr_t)s);
  if (text + s->length >= end || text[s->length] != '\0')
    Py_RETURN_NONE;
  return PyUnicode_DecodeLatin1(text, s->length, NULL);
}

static int collect_static_strings(void) {
  const char *p = (const char *)&_PyRuntime;
  const char *end = p + sizeof(_PyRuntime);
  PyObject *set = PySet_New(NULL);
  if (set == NULL)
    return -1;
  for (; p + sizeof(PyCompactUnicodeObject) <= end; p += sizeof(void *)) {
    PyObject *copy = copy_static_string(p, end);
    int bad = copy == NULL || (copy != Py_None && PySet_Add(set, copy) < 0);
    Py_XDECREF(copy);
    if (bad) {
      Py_DECREF(set);
      return -1;
    }
  }
  static const char *const known[] = {"__class__", "__init__", "keys", "utf-8"};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    PyObject *name = PyUnicode_FromString(known[i]);
    int found = name == NULL ? -1 : PySet_Contains(set, name);
    Py_XDECREF(name);
    if (found <= 0) {
      Py_DECREF(set);
      if (found == 0)
        PyErr_SetString(PyExc_ImportError,
                        "pmalloc: the interpreter's own strings are not where they were when "
                        "pmalloc was compiled; rebuild pmalloc against this Python");
      return -1;
    }
  }
  static_strings = set;
  return 0;
}

int pm_str_is_static(PyObject *str) {
  if (PM_STR(str)->length > STATIC_STRING_MAX)
    return 0;
  return PySet_Contains(static_strings, str);
}

uint32_t pm_immortal_low = UINT32_MAX;
int pm_debug_build;

/* ---- checks at import -------------------------------------------------- */

int pm_layout_check(void) {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(PyExc_ImportError,
                    "pmalloc works in the main interpreter only: frozen objects are immortal and "
                    "would outlive a subinterpreter; import it in the main one");
    return -1;
  }
  if ((Py_Version >> 16) != (PY_VERSION_HEX >> 16)) {
    PyErr_Format(PyExc_ImportError,
                 "pmalloc was compiled for CPython %d.%d and cannot build objects for %lu.%lu; "
                 "install the wheel of this version",
                 PY_MAJOR_VERSION, PY_MINOR_VERSION, (Py_Version >> 24) & 0xff,
                 (Py_Version >> 16) & 0xff);
    return -1;
  }
  if (PyRange_Type.tp_basicsize != (Py_ssize_t)sizeof(pm_range) ||
      PyDict_Type.tp_basicsize != (Py_ssize_t)sizeof(PyDictObject) ||
      PyList_Type.tp_basicsize != (Py_ssize_t)sizeof(PyListObject) ||
      PySet_Type.tp_basicsize != (Py_ssize_t)sizeof(PySetObject) ||
      PyFloat_Type.tp_basicsize != (Py_ssize_t)sizeof(PyFloatObject) ||
      PyComplex_Type.tp_basicsize != (Py_ssize_t)sizeof(PyComplexObject) ||
      PyTuple_Type.tp_basicsize != (Py_ssize_t)offsetof(PyTupleObject, ob_item)) {
    PyErr_SetString(PyExc_ImportError,
                    "pmalloc does not know the object layouts of this Python build; rebuild "
                    "pmalloc against it");
    return -1;
  }
  pm_debug_build = PySys_GetObject("gettotalrefcount") != NULL;
#if PY_VERSION_HEX >= 0x030E0000
  if (pm_debug_build)
    pm_immortal_low = (uint32_t)_Py_IMMORTAL_INITIAL_REFCNT;
#endif
  if (pm_empty_keys() == NULL)
    return -1;
  return static_strings == NULL ? collect_static_strings() : 0;
}

/* cpython_layout: the only room that knows CPython's internals.
 *
 * Frozen objects are real CPython objects built by hand, so somebody has to
 * know how a list, a dict's key table or a str lies in memory. That knowledge
 * is here and nowhere else: mirrors of the private structures (checked against
 * the interpreter's own headers in cpython_layout.c, at compile time, and by
 * the self-test at import), the immortal reference count, and which pieces
 * exist in which version.
 *
 *   what moved                     3.12      3.13      3.14      3.15
 *   immortal range starts at       2^32-1    2^32-1    3 << 30   3 << 30
 *   ob_flags beside the count      -         -         yes       yes
 *   tuple caches its hash          -         -         yes       yes
 *   dict values know capacity      -         yes       yes       yes
 *   copies of a dict may share     no (*)    yes       yes       yes
 *   its key table
 *
 * (*) On 3.12 a mutated copy of a dict with a shared key table writes
 * dk_version into that table, so frozen dicts get tables of their own there.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_CPYTHON_LAYOUT_H
#define PM_CPYTHON_LAYOUT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if PY_VERSION_HEX < 0x030C0000 || PY_VERSION_HEX >= 0x03100000
#error "pmalloc knows the object layouts of CPython 3.12, 3.13, 3.14 and 3.15 only"
#endif
#ifdef Py_GIL_DISABLED
#error "pmalloc does not support free-threaded builds of CPython"
#endif
#if defined(PYPY_VERSION) || defined(GRAALVM_PYTHON)
#error "pmalloc builds CPython objects and needs CPython"
#endif
#ifdef Py_TRACE_REFS
#error "pmalloc does not support builds with Py_TRACE_REFS"
#endif
#if SIZEOF_VOID_P != 8
#error "pmalloc needs a 64-bit machine"
#endif

#if PY_VERSION_HEX >= 0x030D0000
#define PM_SHARED_KEYS 1 /* frozen dicts of one shape share a key table */
#else
#define PM_SHARED_KEYS 0
#endif
#if PY_VERSION_HEX >= 0x030E0000
#define PM_TUPLE_HASH 1 /* tuples cache their hash in ob_hash */
#else
#define PM_TUPLE_HASH 0
#endif

/* ---- object headers ---------------------------------------------------- */

/* Two words in front of every garbage-collected object. All zero: untracked. */
#define PM_GC_HEAD ((size_t)16)

static inline size_t pm_preheader(PyTypeObject *type) {
  return PyType_HasFeature(type, Py_TPFLAGS_HAVE_GC) ? PM_GC_HEAD : 0;
}

/* The count every frozen object carries. All ones in the low half is immortal
 * for every version, and for extensions built against the headers of any
 * version since 3.12: 3.12 and 3.13 skip INCREF where count + 1 wraps to zero,
 * 3.14 skips it from 3 << 30 up, all skip DECREF where bit 31 is set. A debug
 * build of 3.14 takes so high a count for that of a freed object, and gets 3 << 30. */
extern uint32_t pm_immortal_low;

static inline void pm_immortal_header(PyObject *op, PyTypeObject *type) {
#if PY_VERSION_HEX >= 0x030E0000
  op->ob_refcnt_full = (int64_t)((uint64_t)pm_immortal_low | ((uint64_t)_Py_IMMORTAL_FLAGS << 48));
#else
  op->ob_refcnt = (Py_ssize_t)pm_immortal_low;
#endif
  op->ob_type = type;
}

static inline int pm_is_immortal(PyObject *op) { return _Py_IsImmortal(op); }

/* The plain count; for mortal objects only. One means: a single owner. */
static inline int pm_has_one_owner(PyObject *op) { return Py_REFCNT(op) == 1; }

/* Whether what looks like an object, in a copy of memory that may have been freed, has a count that
 * a live one can have. A block that was freed begins with a link to the next one, or with zeroes:
 * either none of the count's bits are set, or some that a count does not reach (3.14 and later:
 * 16 bits between count and flags, zero too). */
static inline int pm_is_alive(const PyObject *copy) {
  uint64_t word;
  memcpy(&word, copy, sizeof word);
  return (uint32_t)word != 0 && (word >> 32 & 0xFFFF) == 0;
}

/* ---- int --------------------------------------------------------------- */

static inline size_t pm_long_digits(const PyLongObject *v) {
  return (size_t)(v->long_value.lv_tag >> 3);
}
static inline size_t pm_long_size(const PyLongObject *v) {
  size_t n = pm_long_digits(v);
  return offsetof(PyLongObject, long_value.ob_digit) + (n ? n : 1) * sizeof(digit);
}
/* A one-digit int that is not negative: its value, else -1. */
static inline Py_ssize_t pm_long_index(PyObject *op) {
  const PyLongObject *v = (const PyLongObject *)op;
  return v->long_value.lv_tag <= ((1 << 3) | 1) && (v->long_value.lv_tag & 2) == 0
             ? (Py_ssize_t)v->long_value.ob_digit[0]
             : -1;
}

/* ---- str --------------------------------------------------------------- */

#define PM_STR(op) ((PyASCIIObject *)(op))
#define PM_STR_INTERNED_IMMORTAL 2

static inline size_t pm_str_head(PyObject *op) {
  return PM_STR(op)->state.ascii ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject);
}
/* Bytes of the characters with the terminating zero. */
static inline size_t pm_str_data(PyObject *op) {
  return ((size_t)PM_STR(op)->length + 1) * PM_STR(op)->state.kind;
}
/* 1 where an equal string is one of the interpreter's own static identifiers,
 * 0 where not, -1 with an exception. */
int pm_str_is_static(PyObject *str);

/* ---- range ------------------------------------------------------------- */

typedef struct {
  PyObject_HEAD PyObject *start;
  PyObject *stop;
  PyObject *step;
  PyObject *length;
} pm_range;

/* ---- Decimal ----------------------------------------------------------- */

/* decimal.Decimal of the C accelerator: a libmpdec number behind the cached hash. */
enum {
  PM_DECIMAL_SMALL = 4,
  PM_DECIMAL_SNAN = 0x08,
  PM_DECIMAL_INSIDE = 0x30, /* the number is static, and so is its data ... */
  PM_DECIMAL_CONST = 0x90,  /* ... or is constant: nobody frees or grows it */
  PM_DECIMAL_DATA_FLAGS = 0xf0
};
typedef struct {
  PyObject_HEAD Py_hash_t hash;
  uint8_t flags; /* sign and kind below, who owns `data` above */
  Py_ssize_t exponent;
  Py_ssize_t digits;
  Py_ssize_t words; /* of the coefficient in use, and allocated */
  Py_ssize_t allocated;
  uint64_t *data;
  uint64_t small[PM_DECIMAL_SMALL];
} pm_decimal;

/* ---- dict -------------------------------------------------------------- */

enum { PM_KEYS_GENERAL = 0, PM_KEYS_UNICODE = 1, PM_KEYS_SPLIT = 2 };

/*   pm_keys | indices: 2^log2_size of 1, 2, 4 or 8 bytes | entries in order  */
typedef struct {
  Py_ssize_t refcnt;
  uint8_t log2_size;
  uint8_t log2_index_bytes;
  uint8_t kind;
  uint32_t version;
  Py_ssize_t usable;
  Py_ssize_t nentries;
  char indices[];
} pm_keys;

typedef struct {
  Py_hash_t hash;
  PyObject *key;
  PyObject *value;
} pm_entry;

typedef struct {
  PyObject *key;
  PyObject *value;
} pm_unicode_entry;

#if PM_SHARED_KEYS
/*   pm_values | value pointers: capacity of them | order: one byte each  */
typedef struct {
  uint8_t capacity;
  uint8_t size;
  uint8_t embedded;
  uint8_t valid;
  PyObject *values[];
} pm_values;
#endif
#define PM_SHARED_KEYS_MAX 30

static inline pm_keys *pm_dict_keys(PyObject *dict) {
  return (pm_keys *)((PyDictObject *)dict)->ma_keys;
}
static inline int pm_dict_is_split(PyObject *dict) {
  return ((PyDictObject *)dict)->ma_values != NULL;
}
static inline void *pm_keys_entries(pm_keys *k) {
  return k->indices + ((size_t)1 << k->log2_index_bytes);
}

/* The values of a dict with a shared table. */
static inline PyObject **pm_dict_values(PyObject *dict) {
#if PM_SHARED_KEYS
  return ((pm_values *)(void *)((PyDictObject *)dict)->ma_values)->values;
#else
  return (PyObject **)(void *)((PyDictObject *)dict)->ma_values;
#endif
}

/* Where in what ma_values points to the values begin. */
static inline size_t pm_values_start(void) {
#if PM_SHARED_KEYS
  return offsetof(pm_values, values);
#else
  return 0;
#endif
}

/* Where a dict that is a frozen one's copy keeps value number i, which may be none. */
static inline PyObject **pm_dict_slot(PyObject *dict, Py_ssize_t i) {
  pm_keys *k = pm_dict_keys(dict);
  if (pm_dict_is_split(dict))
    return &pm_dict_values(dict)[i];
  return k->kind == PM_KEYS_GENERAL ? &((pm_entry *)pm_keys_entries(k))[i].value
                                    : &((pm_unicode_entry *)pm_keys_entries(k))[i].value;
}

/* The smallest table that holds n entries, never below 8 slots. */
static inline uint8_t pm_keys_log2(size_t n) {
  uint8_t log2 = 3;
  while (((((size_t)1) << log2) << 1) / 3 < n)
    log2++;
  return log2;
}
static inline uint8_t pm_keys_log2_index_bytes(uint8_t log2) {
  return (uint8_t)(log2 < 8 ? log2 : log2 < 16 ? log2 + 1 : log2 < 32 ? log2 + 2 : log2 + 3);
}
/* A frozen table ends with its last used entry ... */
static inline size_t pm_keys_size(size_t n, int unicode) {
  uint8_t log2 = pm_keys_log2(n);
  return sizeof(pm_keys) + ((size_t)1 << pm_keys_log2_index_bytes(log2)) +
         n * (unicode ? sizeof(pm_unicode_entry) : sizeof(pm_entry));
}
/* ... and dict.copy() reads this many bytes on, as if the table were full. */
static inline size_t pm_keys_unused_tail(size_t n, int unicode) {
  size_t usable = ((((size_t)1) << pm_keys_log2(n)) << 1) / 3;
  return (usable - n) * (unicode ? sizeof(pm_unicode_entry) : sizeof(pm_entry));
}
#if PM_SHARED_KEYS
static inline size_t pm_values_size(size_t n) {
  return sizeof(pm_values) + n * sizeof(PyObject *) + ((n + 7) & ~(size_t)7);
}
#endif

/* Writes the header and an empty index; nentries is set to n at once. */
void pm_keys_init(pm_keys *k, size_t n, int kind);
/* Enters entry number i, whose key has this hash, into the index. The caller
 * knows that no equal key is there. */
void pm_keys_index(pm_keys *k, Py_hash_t hash, size_t i);

/* Steps through a dict in order with each key's hash, running no Python code.
 * *pos starts at 0. */
int pm_dict_next(PyObject *dict, Py_ssize_t *pos, PyObject **key, PyObject **value,
                 Py_hash_t *hash);

/* Writes the header of a dict object that has `used` items. */
void pm_dict_init(PyObject *op, PyTypeObject *type, Py_ssize_t used, pm_keys *keys, void *values);
/* All that an ordinary dict or list has becomes another's of the same kind, which is empty; it is
 * to be written anew then. */
void pm_body_move(PyObject *to, PyObject *from);
/* Writes the header of an empty list. */
static inline void pm_list_init(PyObject *op, PyTypeObject *type) {
  pm_immortal_header(op, type);
  Py_SET_SIZE((PyVarObject *)op, 0);
  ((PyListObject *)op)->ob_item = NULL;
  ((PyListObject *)op)->allocated = 0;
}
/* Whether list.sort() has taken the items out, and will put them back. */
static inline int pm_list_is_sorted(PyObject *list) {
  return ((PyListObject *)list)->allocated == -1;
}
/* The interpreter's own table of an empty dict; never freed, never written. */
pm_keys *pm_empty_keys(void);

#if PY_VERSION_HEX >= 0x030F0000
#define PM_HAS_FROZENDICT                                                                          \
  1 /* builtins.frozendict: a dict that caches its hash, and no dict subclass */
typedef struct {
  PyDictObject dict;
  Py_hash_t hash;
} pm_builtin_frozendict;
static inline int pm_is_builtin_frozendict(PyObject *op) { return PyFrozenDict_CheckExact(op); }
#else
#define PM_HAS_FROZENDICT 0
static inline int pm_is_builtin_frozendict(PyObject *op) {
  (void)op;
  return 0;
}
#endif

/* ---- set --------------------------------------------------------------- */

static inline size_t pm_set_table_bytes(PyObject *op) {
  PySetObject *so = (PySetObject *)op;
  return so->table == so->smalltable ? 0 : ((size_t)so->mask + 1) * sizeof(setentry);
}
/* An entry that holds a key: not empty, not the mark of a removed one. */
static inline int pm_set_entry_live(const setentry *e) { return e->key != NULL && e->hash != -1; }

/* ---- weak references ---------------------------------------------------- */

/* Kills a weak reference and all that are chained behind it, of which none may have a callback that
 * counts: their object is gone, and nothing of it is read or written. */
void pm_weakrefs_kill(PyObject *first);

/* ---- the interpreter --------------------------------------------------- */

/* A debug build, which checks what it meets. Known at run time only: it loads what was compiled
 * against release headers, too. */
extern int pm_debug_build;

/* Refuses, with ImportError, an interpreter whose layouts are not known: other
 * version than compiled for, free-threaded, not the main interpreter. */
int pm_layout_check(void);

/* Objects have become immortal, those of which is_one() says so: whatever frames refer to them must
 * know; cpython_layout_frames.c. */
void pm_frames_tell(int (*is_one)(PyObject *op, void *of), void *of);

/* What a subclass of list that is a list in all ways must have of it, and does not inherit: since
 * 3.15 a loop that is under way asks the type for the next item. */
static inline void pm_list_like(PyTypeObject *type) {
#if PY_VERSION_HEX >= 0x030F0000
  type->_tp_iteritem = PyList_Type._tp_iteritem;
#else
  (void)type;
#endif
}

/* A number for the place in a Python program that this thread is at, 0: in none. Async-signal-safe;
 * cpython_layout_line.c. */
uintptr_t pm_current_line(void);

#endif

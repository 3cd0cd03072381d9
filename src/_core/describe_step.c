/* describe_step: what a word in an object means.
 *
 * A word that equals an object's address may be a reference to it, or a number, a hash, the bytes
 * of a string. Which, its place in the object that holds it says:
 *
 *   dict      the key or the value of an entry, or of the values beside a shared key table
 *   list      an item behind the header, tuple: in it
 *   set       the key of an entry
 *   instance  what its built-in part says, a slot, an attribute's value, its __dict__
 *
 *   in front                     the object and what lies behind it
 *   | weakrefs | __dict__ | gc | header | slots | values, entries, items ... | its dict |
 *                   ^ .__dict__            ^ .x     ^ .y   ['k']    [3]
 *
 * What the type is, is asked of its flags. The spelling is freeze_path.c's.
 *
 * ASYNC-SIGNAL-SAFE: reads by pages_peek() only. Nothing that is read is trusted: a wrong pointer,
 * a size or a flag that somebody overwrote gives a wrong answer, never a fault or a long loop.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cpython_instance.h"
#include "describe.h"
#include "freeze.h"
#include "frozen_types.h"

#define WORD sizeof(void *)
/* No type has more bases, or members; a chain that was bent to a ring has. */
#define BASES_MAX 256
#define MEMBERS_MAX 4096

/* What is asked of a type. */
struct facts {
  uintptr_t type;
  unsigned long flags;
  Py_ssize_t basicsize, dictoffset;
};

static int facts_of(struct facts *f, uintptr_t op) {
  if (pm_peek_type(op, &f->type) < 0 || PM_PEEK(&f->flags, f->type, PyTypeObject, tp_flags) < 0 ||
      PM_PEEK(&f->basicsize, f->type, PyTypeObject, tp_basicsize) < 0 ||
      PM_PEEK(&f->dictoffset, f->type, PyTypeObject, tp_dictoffset) < 0)
    return -1;
  return 0;
}

/* Whether the word is one of n that begin at `first`, `every` bytes apart: its number, else -1. */
static Py_ssize_t number_of(uintptr_t word, uintptr_t first, Py_ssize_t n, size_t every) {
  if (word < first || n <= 0 || (word - first) / every >= (size_t)n || (word - first) % every != 0)
    return -1;
  return (Py_ssize_t)((word - first) / every);
}

static int put_number(struct pm_text *t, const char *before, Py_ssize_t n, const char *after) {
  if (n < 0)
    return 0;
  if (t != NULL) {
    pm_text_add(t, before);
    pm_text_dec(t, (uint64_t)n);
    pm_text_add(t, after);
  }
  return 1;
}

/* ---- containers -------------------------------------------------------------- */

/* A key table, and where its entries begin. */
struct table {
  pm_keys head;
  uintptr_t entries;
  size_t entry; /* bytes */
};

static int table_at(struct table *k, uintptr_t keys) {
  if (pm_peek(&k->head, keys, sizeof k->head) < 0 || k->head.log2_index_bytes > 48)
    return -1;
  k->entries = keys + offsetof(pm_keys, indices) + ((uintptr_t)1 << k->head.log2_index_bytes);
  k->entry = k->head.kind == PM_KEYS_GENERAL ? sizeof(pm_entry) : sizeof(pm_unicode_entry);
  return 0;
}

/* Where the i-th key is; its value is the next word. */
static uintptr_t key_word(const struct table *k, Py_ssize_t i) {
  return k->entries + (size_t)i * k->entry +
         (k->head.kind == PM_KEYS_GENERAL ? offsetof(pm_entry, key)
                                          : offsetof(pm_unicode_entry, key));
}

static uintptr_t peek_word(uintptr_t at) {
  uintptr_t word;
  return pm_peek(&word, at, sizeof word) < 0 ? 0 : word;
}

static int dict_step(struct pm_text *t, uintptr_t dict, uintptr_t word) {
  struct table k;
  uintptr_t keys, values;
  Py_ssize_t i;
  if (PM_PEEK(&keys, dict, PyDictObject, ma_keys) < 0 ||
      PM_PEEK(&values, dict, PyDictObject, ma_values) < 0 || table_at(&k, keys) < 0)
    return 0;
  if (values != 0) {
    i = number_of(word, values + pm_values_start(), k.head.nentries, WORD);
  } else {
    if ((i = number_of(word, key_word(&k, 0), k.head.nentries, k.entry)) >= 0)
      return put_number(t, ".keys()[", i, "]");
    i = number_of(word, key_word(&k, 0) + WORD, k.head.nentries, k.entry);
  }
  if (i < 0)
    return 0;
  if (t != NULL) {
    pm_text_char(t, '[');
    pm_key_text(t, peek_word(key_word(&k, i)), (size_t)i);
    pm_text_char(t, ']');
  }
  return 1;
}

static int list_step(struct pm_text *t, uintptr_t list, uintptr_t word) {
  uintptr_t items;
  Py_ssize_t n;
  if (PM_PEEK(&n, list, PyVarObject, ob_size) < 0 ||
      PM_PEEK(&items, list, PyListObject, ob_item) < 0)
    return 0;
  return put_number(t, "[", number_of(word, items, n, WORD), "]");
}

static int tuple_step(struct pm_text *t, uintptr_t tuple, uintptr_t word) {
  Py_ssize_t n;
  if (PM_PEEK(&n, tuple, PyVarObject, ob_size) < 0)
    return 0;
  return put_number(t, "[", number_of(word, tuple + offsetof(PyTupleObject, ob_item), n, WORD),
                    "]");
}

/* A member's number is how many are in front of it. */
static int set_step(struct pm_text *t, uintptr_t set, uintptr_t word) {
  setentry some[16];
  uintptr_t table;
  Py_ssize_t mask, live = 0;
  if (PM_PEEK(&mask, set, PySetObject, mask) < 0 || PM_PEEK(&table, set, PySetObject, table) < 0)
    return 0;
  Py_ssize_t place =
      mask < 0 ? -1 : number_of(word, table + offsetof(setentry, key), mask + 1, sizeof(setentry));
  if (place < 0)
    return 0;
  for (Py_ssize_t i = 0; t != NULL && i < place;) {
    size_t n = place - i < 16 ? (size_t)(place - i) : 16;
    if (pm_peek(some, table + (size_t)i * sizeof *some, n * sizeof *some) < 0)
      break;
    for (size_t k = 0; k < n; k++)
      live += pm_set_entry_live(&some[k]);
    i += (Py_ssize_t)n;
  }
  return put_number(t, "{", live, "}");
}

static int range_step(struct pm_text *t, uintptr_t range, uintptr_t word) {
  static const char *const names[] = {".start", ".stop", ".step", ".length"};
  Py_ssize_t i = number_of(word, range + offsetof(pm_range, start), 4, WORD);
  if (i >= 0 && t != NULL)
    pm_text_add(t, names[i]);
  return i >= 0;
}

/* ---- instances ---------------------------------------------------------------- */

/* The member of a class that is a slot at this offset: the address of its name, or 0. */
static uintptr_t slot_name(uintptr_t type, Py_ssize_t offset) {
  for (int depth = 0; type != 0 && depth < BASES_MAX; depth++) {
    unsigned long flags;
    uintptr_t members;
    if (PM_PEEK(&flags, type, PyTypeObject, tp_flags) < 0 ||
        PM_PEEK(&members, type, PyTypeObject, tp_members) < 0)
      return 0;
    for (int i = 0; (flags & Py_TPFLAGS_HEAPTYPE) && members != 0 && i < MEMBERS_MAX; i++) {
      PyMemberDef m;
      if (pm_peek(&m, members + (size_t)i * sizeof m, sizeof m) < 0 || m.name == NULL)
        break;
      if (m.type == Py_T_OBJECT_EX && m.offset == offset)
        return (uintptr_t)m.name;
    }
    if (PM_PEEK(&type, type, PyTypeObject, tp_base) < 0)
      return 0;
  }
  return 0;
}

static int slot_step(struct pm_text *t, const struct facts *f, uintptr_t op, uintptr_t word) {
  uintptr_t name =
      word - op < (uintptr_t)f->basicsize ? slot_name(f->type, (Py_ssize_t)(word - op)) : 0;
  char text[81];
  size_t n = 0;
  if (name == 0)
    return 0;
  if (t == NULL)
    return 1;
  while (n < sizeof text - 1 && pm_peek(text + n, name + n, 1) == 0 && text[n] != 0)
    n++;
  text[n] = 0;
  pm_text_char(t, '.');
  pm_text_escaped(t, text);
  return 1;
}

size_t pm_dict_word_before(void) { return PM_MANAGED_DICT_WORDS * WORD; }

static uintptr_t dict_word(uintptr_t op) { return op - pm_dict_word_before(); }

/* Where the values of an instance's own begin, 0: it has none. */
static uintptr_t first_value(const struct facts *f, uintptr_t op) {
  if (!(f->flags & PM_INLINE_FLAG) || f->basicsize <= 0)
    return 0;
#if PM_SHARED_KEYS
  return op + (uintptr_t)f->basicsize + pm_values_start();
#else
  uintptr_t word = peek_word(dict_word(op)), values;
  if (word & 1)
    return word + 1;
  if (word == 0 || PM_PEEK(&values, word, PyDictObject, ma_values) < 0)
    return 0;
  return values;
#endif
}

static int value_step(struct pm_text *t, const struct facts *f, uintptr_t op, uintptr_t word) {
  struct table k;
  uintptr_t keys, first = first_value(f, op);
  if (first == 0 || PM_PEEK(&keys, f->type, PyHeapTypeObject, ht_cached_keys) < 0 ||
      table_at(&k, keys) < 0 || k.head.nentries > PM_SHARED_KEYS_MAX)
    return 0;
  Py_ssize_t i = number_of(word, first, k.head.nentries, WORD);
  if (i >= 0 && t != NULL)
    pm_attribute_text(t, peek_word(key_word(&k, i)));
  return i >= 0;
}

static int dict_word_step(struct pm_text *t, const struct facts *f, uintptr_t op, uintptr_t word) {
  if (!((f->flags & Py_TPFLAGS_MANAGED_DICT) && word == dict_word(op)) &&
      !(f->dictoffset > 0 && word == op + (uintptr_t)f->dictoffset))
    return 0;
  if (t != NULL)
    pm_text_add(t, ".__dict__");
  return 1;
}

int pm_has_dict_word(uintptr_t op) {
  struct facts f;
  return facts_of(&f, op) == 0 && (f.flags & Py_TPFLAGS_MANAGED_DICT) != 0;
}

uintptr_t pm_born_of(uintptr_t op) {
  uintptr_t type, born, born_type;
  if (pm_peek_type(op, &type) < 0 ||
      (type != (uintptr_t)&PmFrozenDict_Type && type != (uintptr_t)&PmFrozenList_Type))
    return op;
  born = peek_word(op - WORD);
  return born != 0 && pmalloc_registry_is_start(born) && pm_peek_type(born, &born_type) == 0 &&
                 born_type == type
             ? born
             : op;
}

uintptr_t pm_holder_of_dict(uintptr_t op, uintptr_t before) {
  struct facts f;
  uintptr_t type, values, own;
  if (before == 0 || pm_peek_type(op, &type) < 0 || type != (uintptr_t)&PmFrozenDict_Type ||
      PM_PEEK(&values, op, PyDictObject, ma_values) < 0 || facts_of(&f, before) < 0)
    return 0;
  /* Values in front of their dict: any other has them behind its header. */
  own = first_value(&f, before);
  return own != 0 && own == values + pm_values_start() && own < op ? before : 0;
}

/* ---- all of them --------------------------------------------------------------- */

int pm_step_text(struct pm_text *t, uintptr_t holder, uintptr_t word) {
  struct facts f;
  size_t zone;
  if (word == 0 || facts_of(&f, holder) < 0)
    return 0;
  if (f.type == (uintptr_t)&PyRange_Type)
    return range_step(t, holder, word);
  if (f.type == (uintptr_t)&PmFrozenSet_Type || f.type == (uintptr_t)&PyFrozenSet_Type)
    return set_step(t, holder, word);
  if (f.type == (uintptr_t)&PyDictProxy_Type) /* reads as what it shows */
    return word == holder + offsetof(pm_proxy, mapping);
  if ((zone = pm_time_zone_offset(f.type)) != 0) {
    if (word == holder + zone && t != NULL)
      pm_text_add(t, ".tzinfo");
    return word == holder + zone;
  }
#if PM_HAS_FROZENDICT
  if (f.type == (uintptr_t)&PyFrozenDict_Type)
    return dict_step(t, holder, word);
#endif
  if ((f.flags & Py_TPFLAGS_DICT_SUBCLASS) && dict_step(t, holder, word))
    return 1;
  if ((f.flags & Py_TPFLAGS_LIST_SUBCLASS) && list_step(t, holder, word))
    return 1;
  if ((f.flags & Py_TPFLAGS_TUPLE_SUBCLASS) && tuple_step(t, holder, word))
    return 1;
  return value_step(t, &f, holder, word) || slot_step(t, &f, holder, word) ||
         dict_word_step(t, &f, holder, word);
}

/* describe: what the report says about Python objects; shared by the files of that name.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_DESCRIBE_H
#define PM_DESCRIBE_H

#include "cpython_layout.h"

#include "../libpmalloc/fault.h"
#include "../libpmalloc/pages.h"

/* Copies n bytes from an address that may be anything: 0, or -1. */
static inline int pm_peek(void *to, uintptr_t from, size_t n) {
  return pages_peek(to, (const void *)from, n);
}

/* One field of a structure that seems to lie at an address. */
#define PM_PEEK(to, from, type, field)                                                             \
  pm_peek((to), (uintptr_t)(from) + offsetof(type, field), sizeof *(to))

/* The type of an object: 0, or -1. */
static inline int pm_peek_type(uintptr_t op, uintptr_t *type) {
  return PM_PEEK(type, op, PyObject, ob_type);
}

/* Text on its way to somewhere: collected here, handed on in pieces that end with a zero. */
struct pm_text {
  void (*flush)(void *to, const char *text);
  void *to;
  size_t used;
  char text[96];
};
void pm_text_flush(struct pm_text *t);
void pm_text_char(struct pm_text *t, char c);
void pm_text_add(struct pm_text *t, const char *text);
void pm_text_dec(struct pm_text *t, uint64_t n);
void pm_text_hex(struct pm_text *t, uintptr_t n);
/* Control characters come out as \xNN. */
void pm_text_escaped(struct pm_text *t, const char *text);

/* What the type of an object is called, without its module. */
#define PM_TYPE_NAME 65
void pm_peek_type_name(uintptr_t op, char name[PM_TYPE_NAME]);

/* describe_key.c: a key as UnfreezableError.path shows it, or "<key NUMBER>"; and the name of an
 * attribute, a str, without quotes. */
void pm_key_text(struct pm_text *t, uintptr_t key, size_t number);
void pm_attribute_text(struct pm_text *t, uintptr_t name);

/* describe_step.c: whether the word is where the object `holder` keeps a reference, and how that is
 * written: ['key'], [3], .name, {2}, .keys()[1]. With t NULL nothing is written. */
int pm_step_text(struct pm_text *t, uintptr_t holder, uintptr_t word);
/* The instance whose __dict__ lies behind its attributes' values, and is this object; else 0. */
uintptr_t pm_holder_of_dict(uintptr_t op, uintptr_t before);
/* The header that was born (born.h), where this is its body; else the object itself. */
uintptr_t pm_born_of(uintptr_t op);
/* Whether the object has a word for its __dict__ in front, and how far in front. */
int pm_has_dict_word(uintptr_t op);
size_t pm_dict_word_before(void);

/* describe_record.c: the field that the byte at `address` is part of, where the object is a Record:
 * ".limit". Nothing for others. */
void pm_field_text(struct pm_text *t, uintptr_t op, uintptr_t address);

/* describe_path.c: the way from the pool's root to the object that starts at `start`. */
struct pm_search;
extern const size_t pm_search_bytes;
void pm_path_text(struct pm_text *t, struct pm_search *search, const struct pmalloc_where *where,
                  uintptr_t start);
/* The hook. */
void pm_path_write(struct pmalloc_writer *w, const struct pmalloc_where *where, uintptr_t start);

#endif

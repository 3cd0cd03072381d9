/* describe_record: which field of a Record a byte is.
 *
 * ASYNC-SIGNAL-SAFE: reads by pages_peek() only, and trusts nothing of what it reads.
 *
 * SPDX-License-Identifier: MIT
 */
#include "describe.h"
#include "record.h"

/* Metaclasses of Python are few levels above ours. */
#define BASES_MAX 16
#define FIELDS_MAX 65536

static int is_record_class(uintptr_t type) {
  uintptr_t meta;
  if (pm_peek_type(type, &meta) < 0)
    return 0;
  for (int depth = 0; meta != 0 && depth < BASES_MAX; depth++) {
    if (meta == (uintptr_t)&PmRecordClass_Type)
      return 1;
    if (PM_PEEK(&meta, meta, PyTypeObject, tp_base) < 0)
      return 0;
  }
  return 0;
}

void pm_field_text(struct pm_text *t, uintptr_t op, uintptr_t address) {
  pm_field_place place;
  uintptr_t type, places;
  size_t n;
  if (address < op || pm_peek_type(op, &type) < 0 || !is_record_class(type) ||
      PM_PEEK(&places, type, pm_record_class, places) < 0 ||
      PM_PEEK(&n, type, pm_record_class, n_places) < 0)
    return;
  for (size_t i = 0; i < n && i < FIELDS_MAX; i++) {
    if (pm_peek(&place, places + i * sizeof place, sizeof place) < 0)
      return;
    if (address - op - place.offset < place.size) {
      place.name[sizeof place.name - 1] = 0;
      pm_text_char(t, '.');
      pm_text_escaped(t, place.name);
      return;
    }
  }
}

/* fault_origin: where and when a pool was created and protected.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_ORIGIN_H
#define PMALLOC_FAULT_ORIGIN_H

#include <stddef.h>
#include <stdint.h>

#define PMALLOC_ORIGIN_FILE 228

enum pmalloc_event { PMALLOC_WAS_CREATED, PMALLOC_WAS_PROTECTED };

struct pmalloc_origin {
  int64_t time_ns;                /* since 1970 */
  uint32_t line;                  /* 0: `file` is "LIBRARY+OFFSET (FUNCTION+OFFSET)" */
  char file[PMALLOC_ORIGIN_FILE]; /* a long path keeps its end */
};

/* Remembers an event of a pool. What there is no room for is not remembered: 2048 pools that are
 * alive, or a few less; nor is what another thread has to say of the same pool at the same time. */
void pmalloc_origin_note(uintptr_t pool_id, enum pmalloc_event event, const char *file,
                         uint32_t line, int64_t time_ns);

/* The pool was destroyed: kept until its place is needed. */
void pmalloc_origin_expire(uintptr_t pool_id);

/* 1 and a copy, or 0 where nothing is known. Async-signal-safe. */
int pmalloc_origin_find(uintptr_t pool_id, enum pmalloc_event event, struct pmalloc_origin *out);

#endif

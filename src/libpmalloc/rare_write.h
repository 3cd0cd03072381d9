/* rare_write: the one door to write-rare memory.
 *
 * Each call judges its target by what is written down in metadata that is as protected as the
 * target itself, and either stores all of it or nothing. Beside the public functions of
 * pmalloc_rare_write.h, which report a refusal on stderr, these tell their caller why instead.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_RARE_WRITE_INTERNAL_H
#define PMALLOC_RARE_WRITE_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "pool.h"
#include "registry.h"

#include <pmalloc_rare_write.h>

/* Why a rare write was refused. */
struct pmalloc_refusal {
  enum pmalloc_status status;
  uintptr_t address;
  size_t size;
  struct pmalloc_where where; /* of the first byte; place NOWHERE where it is no pool's */
  int freed;                  /* the allocation was freed */
};

/* How a pool's protected memory is written now, in this process, were it asked for. */
enum pmalloc_mechanism pmalloc_rare_mechanism(const pmalloc_pool *pool);

/* "none", "plain", "proc_mem", "memfd", "mprotect" or "key". */
const char *pmalloc_mechanism_name(enum pmalloc_mechanism mechanism);

/* Whether a write of n bytes from `to` on would be let through. Stores nothing. */
enum pmalloc_status pmalloc_rare_check(const void *to, size_t n, struct pmalloc_refusal *refusal);

/* pmalloc_wr_copy(), without a report. */
enum pmalloc_status pmalloc_rare_copy(const void *to, const void *from, size_t n,
                                      struct pmalloc_refusal *refusal);

/* pmalloc_wr_commit(), without a report; *changed, where it is not NULL, is how many bytes did. */
enum pmalloc_status pmalloc_rare_commit(const void *to, const void *base, const void *edit,
                                        size_t n, size_t *changed, struct pmalloc_refusal *refusal);

/* Copies n bytes out, with no rare write of that pool between the first and the last. */
enum pmalloc_status pmalloc_rare_read(void *to, const void *from, size_t n,
                                      struct pmalloc_refusal *refusal);

/* Whether this thread is in an opening. It must not wait for the lock of a pool then: who has that
 * may be waiting for the opening to end. */
int pmalloc_rare_is_inside(void);

/* What the layer above does with a refusal by a public function; the instruction that asked. */
typedef void (*pmalloc_refused_fn)(const struct pmalloc_refusal *refusal, uintptr_t caller);
void pmalloc_rare_on_refusal(pmalloc_refused_fn fn);

#endif

/* rare_write_internal: what the files of rare_write need of each other.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_RARE_WRITE_PARTS_H
#define PMALLOC_RARE_WRITE_PARTS_H

#include "rare_write.h"
#include "registry_internal.h"

/* A target that was judged, while its pool's lock is held. */
struct rare_target {
  struct registry_record *record;
  const struct cold_chunk *chunk;
  const pmalloc_pool *pool;
  int open;       /* its pages are writable as yet */
  int in_opening; /* the lock is the opening's */
};

/* From PMALLOC_OK here to rare_leave() the lock is held. Else *refusal says why. */
enum pmalloc_status rare_enter(struct rare_target *t, const void *to, size_t n,
                               struct pmalloc_refusal *refusal);
void rare_leave(const struct rare_target *t);

/* Stores n bytes within the target, by the best way there is. */
enum pmalloc_status rare_store(const struct rare_target *t, uintptr_t at, const void *from,
                               size_t n);

/* One more rare write. */
void rare_count(const struct rare_target *t, size_t bytes);

/* Begins and ends an opening: see rare_write_begin() and rare_write_end(). */
enum pmalloc_status rare_open(pmalloc_pool *pool);
enum pmalloc_status rare_shut(const pmalloc_pool *pool);

#endif

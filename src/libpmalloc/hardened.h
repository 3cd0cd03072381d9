/* hardened: pointers of the metadata are checked before they are followed.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_HARDENED_H
#define PMALLOC_HARDENED_H

#include "cold.h"
#include "pool.h"

/* At the start of a call on a pool, under its lock: whether what the call is going to follow is as
 * the last one left it. PMALLOC_ERR_CORRUPT where not; the pool remembers which link. PMALLOC_OK
 * at once for a pool that is not hardened. `leave` at the end, where the call changed anything. */
enum pmalloc_status hardened_enter(pmalloc_pool *pool);
void hardened_leave(pmalloc_pool *pool);

/* The same, and whether something may be put into the pool. */
enum pmalloc_status hardened_enter_open(pmalloc_pool *pool);

/* The same for everything the pool knows, all slabs and chunks: before all of it is protected or
 * given back. */
enum pmalloc_status hardened_walk(pmalloc_pool *pool);

/* Whether a chunk, or its bitmap of what was freed, may be read. Always 1 where the pool is not
 * hardened. */
int hardened_chunk(pmalloc_pool *pool, const struct cold_chunk *chunk);

/* Remembers what is wrong; answers PMALLOC_ERR_CORRUPT. */
enum pmalloc_status hardened_found(pmalloc_pool *pool, const char *what);

#endif

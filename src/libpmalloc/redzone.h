/* redzone: known bytes around every allocation.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_REDZONE_H
#define PMALLOC_REDZONE_H

#include <stddef.h>

#include "cold.h"
#include "pool.h"

/* Granules of redzone on each side of an allocation: 0 or 1. */
size_t redzone_granules(const pmalloc_pool *pool);

/* Fills the redzones of the allocation of granules first..last, and its slack. */
void redzone_paint(const pmalloc_pool *pool, const struct cold_chunk *chunk, size_t first,
                   size_t last, size_t slack);

/* Looks whether they are as they were painted. PMALLOC_ERR_CORRUPT where not; then the pool
 * remembers which, for pmalloc_pool_corruption(). */
enum pmalloc_status redzone_check(pmalloc_pool *pool, const struct cold_chunk *chunk, size_t first,
                                  size_t last);

/* The same for all live allocations of a pool: the first that is damaged. */
enum pmalloc_status redzone_check_all(pmalloc_pool *pool);

#endif

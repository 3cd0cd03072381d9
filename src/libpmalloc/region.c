/* region: contiguous room for a builder that lays out objects itself.
 *
 *   chunk of kind OBJECTS
 *   |###### region 0 ######|### region 1 ###|..... region 2 .....|      |
 *                                           ^ used before        ^ used after
 *
 * The builder marks starts without a lock, a word of the bitmap at a time. So
 * while one region is open, another in the same chunk begins on a bitmap word of
 * its own (64 granules), and two threads never write the same word.
 *
 * Only the newest region can be taken back whole. An older one that is given up
 * after a newer was made leaves a hole of zeroes.
 *
 * A chunk that was preallocated is raw until something lies in it; a region may
 * take it over.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>

#include "bitmap.h"
#include "hardened.h"
#include "pool_internal.h"

#define WORD 64

/* First granule of a region of `count` in the chunk, or BITMAP_NONE. */
static size_t fit(const pmalloc_pool *pool, const struct cold_chunk *chunk, size_t count) {
  size_t first = chunk->used;
  if (pool->open_regions > 0)
    first = (first + WORD - 1) & ~(size_t)(WORD - 1);
  if (first > cold_granules(chunk) || count > cold_granules(chunk) - first)
    return BITMAP_NONE;
  return first;
}

/* Finds or makes the chunk; says in *undo how to take that back. */
static enum pmalloc_status find_chunk(pmalloc_pool *pool, size_t count, struct region_undo *undo) {
  struct cold_chunk *chunk = pool->objects_current;
  undo->current = chunk;
  undo->next_bytes = pool->next_bytes[PMALLOC_OBJECTS];
  undo->mark = cold_mark(pool);
  if (chunk && fit(pool, chunk, count) != BITMAP_NONE) {
    undo->chunk = chunk;
    return PMALLOC_OK;
  }
  chunk = pool->raw_current;
  if (chunk && chunk->used == 0 && count <= chunk->pages.size / PMALLOC_OBJECT_GRANULE) {
    cold_set_kind(chunk, PMALLOC_OBJECTS);
    pool->raw_current = NULL;
    undo->chunk = chunk;
    undo->converted = 1;
    return PMALLOC_OK;
  }
  undo->made_chunk = 1;
  return chunk_new(pool, PMALLOC_OBJECTS, count * PMALLOC_OBJECT_GRANULE, &undo->chunk);
}

enum pmalloc_status pmalloc_pool_region(pmalloc_pool *pool, size_t size,
                                        struct pmalloc_region *out) {
  if (pool->mode == PMALLOC_MODE_START_WR)
    return PMALLOC_ERR_INVALID; /* a builder stores as it goes */
  return pmalloc_pool_region_at_rest(pool, size, out);
}

enum pmalloc_status pmalloc_pool_region_at_rest(pmalloc_pool *pool, size_t size,
                                                struct pmalloc_region *out) {
  struct region_undo undo = {.pending = 1};
  if (size > (size_t)PTRDIFF_MAX / 2) {
    errno = ENOMEM;
    return PMALLOC_ERR_NOMEM;
  }
  size_t count = size == 0 ? 1 : (size + PMALLOC_OBJECT_GRANULE - 1) / PMALLOC_OBJECT_GRANULE;
  pool_lock_to_map(pool);
  enum pmalloc_status status = hardened_enter_open(pool);
  if (status == PMALLOC_OK)
    status = find_chunk(pool, count, &undo);
  if (status == PMALLOC_OK) {
    struct cold_chunk *chunk = undo.chunk;
    size_t first = fit(pool, chunk, count);
    undo.used = chunk->used;
    undo.used_after = first + count;
    cold_set_used(chunk, undo.used_after);
    if (!pool->objects_current || pool_closes_itself(pool) ||
        cold_granules(chunk) - chunk->used >=
            cold_granules(pool->objects_current) - pool->objects_current->used)
      pool->objects_current = chunk;
    pool->undo = undo;
    pool->open_regions++;
    pool->used_bytes += count * PMALLOC_OBJECT_GRANULE;
    *out = (struct pmalloc_region){.base = chunk->pages.base + first * PMALLOC_OBJECT_GRANULE,
                                   .size = count * PMALLOC_OBJECT_GRANULE,
                                   .starts = chunk->starts,
                                   .first_bit = first,
                                   .chunk_index = chunk->index};
  }
  if (status != PMALLOC_ERR_CORRUPT)
    hardened_leave(pool);
  pthread_mutex_unlock(&pool->lock);
  return status;
}

/* Whether the pool's newest region, still open, is this one. */
static int is_newest(const pmalloc_pool *pool, const struct pmalloc_region *r) {
  const struct region_undo *undo = &pool->undo;
  return undo->pending && undo->chunk->index == r->chunk_index &&
         undo->used_after == r->first_bit + r->size / PMALLOC_OBJECT_GRANULE;
}

void pmalloc_region_commit(pmalloc_pool *pool, const struct pmalloc_region *r, size_t objects) {
  pthread_mutex_lock(&pool->lock);
  pool->objects += objects;
  pool->open_regions -= pool->open_regions > 0;
  if (is_newest(pool, r))
    pool->undo.pending = 0;
  if (pool_closes_itself(pool))
    pool_close_full(pool);
  pthread_mutex_unlock(&pool->lock);
}

void pmalloc_pool_unsettled(pmalloc_pool *pool, ptrdiff_t more) {
  pthread_mutex_lock(&pool->lock);
  pool->unsettled += (size_t)more;
  pthread_mutex_unlock(&pool->lock);
}

static void take_back(pmalloc_pool *pool, const struct region_undo *undo) {
  struct cold_chunk *chunk = undo->chunk;
  cold_set_used(chunk, undo->used);
  if (undo->made_chunk) {
    if (chunk->index + 1 != pool->cold->chunks || !chunk_undo(pool, chunk, undo->mark))
      return; /* others came after it: it stays, empty */
    pool->next_bytes[PMALLOC_OBJECTS] = undo->next_bytes;
  } else if (undo->converted) {
    if (pool->raw_current)
      return; /* there is a newer one: it stays a chunk of objects */
    cold_set_kind(chunk, PMALLOC_RAW);
    pool->raw_current = chunk;
  }
  pool->objects_current = undo->current;
}

void pmalloc_region_abandon(pmalloc_pool *pool, struct pmalloc_region *r) {
  pthread_mutex_lock(&pool->lock);
  if (hardened_enter(pool) == PMALLOC_OK && pool->state == PMALLOC_OPEN && r->base) {
    if (pool->mode != PMALLOC_MODE_START_WR) /* where nothing was stored */
      memset(r->base, 0, r->size);
    bitmap_clear_range(r->starts, r->first_bit, r->first_bit + r->size / PMALLOC_OBJECT_GRANULE);
    pool->used_bytes -= r->size;
    pool->open_regions -= pool->open_regions > 0;
    if (is_newest(pool, r)) {
      pool->undo.pending = 0;
      take_back(pool, &pool->undo);
    }
    memset(r, 0, sizeof *r);
    hardened_leave(pool);
  }
  pthread_mutex_unlock(&pool->lock);
}

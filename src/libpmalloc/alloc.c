/* alloc: raw allocations, known by bitmaps alone.
 *
 *   bytes    |aaaaaaaaaaaaaaaa aaaaaaaaa.......|bbbbb...........| free ...
 *   granule  |       0        |       1        |       2        |  3
 *   starts   |       1        |       0        |       1        |  0
 *   ends     |       0        |       1        |       1        |  0
 *   slack    |       -        |       7        |      11        |  -
 *
 * Nothing lies between allocations: no header to corrupt, no link to redirect.
 * A start and the next end give an allocation, the nibble at its end the bytes
 * that were not asked for, so sizes are exact.
 *
 * Where bytes come from, in this order: a free block; the front of the rest of
 * the current chunk; when enough was freed since the last time, a scan of the
 * bitmaps, which finds every gap as one block and so joins neighbours; another
 * chunk. Freed bytes are zeroed when they are freed, and again when they are
 * used again: a dangling pointer may have written in between. Once is enough in
 * a pool that is off, which is to cost what ordinary memory does, and for who
 * says that he fills them himself.
 *
 * What was freed is remembered in a hot bitmap until its bytes are handed out
 * again; that tells a double free from an address that never was an allocation.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>

#include "bitmap.h"
#include "hardened.h"
#include "pool_internal.h"
#include "redzone.h"

#define LARGEST ((size_t)PTRDIFF_MAX / 2)

static char *granule_address(const struct cold_chunk *chunk, size_t granule) {
  return chunk->pages.base + granule * PMALLOC_GRANULE;
}

static void push(pmalloc_pool *pool, const struct cold_chunk *chunk, size_t granule, size_t count) {
  pool->hot_bytes += blocks_push(&pool->blocks, chunk->index, granule, count);
}

/* Enters an allocation into the bitmaps. */
static inline void *place(pmalloc_pool *pool, struct cold_chunk *chunk, size_t granule,
                          size_t size) {
  size_t count = (size + PMALLOC_GRANULE - 1) / PMALLOC_GRANULE;
  size_t last = granule + count - 1, slack = count * PMALLOC_GRANULE - size;
  if (cold_slack(chunk, last) != slack)
    cold_set_slack(chunk, last, slack);
  bitmap_set(chunk->ends, last);
  bitmap_set(chunk->starts, granule);
  if (pool->any_freed)
    bitmap_clear_range(pool_freed(pool, chunk->index), granule, granule + count);
  pool->used_bytes += count * PMALLOC_GRANULE;
  pool->allocations++;
  if (pool->flags)
    redzone_paint(pool, chunk, granule, last, slack);
  return granule_address(chunk, granule);
}

/* ---- where bytes come from ---- */

/* Granules of redzone on each side. */
static inline size_t zone_of(const pmalloc_pool *pool) {
  return pool->flags ? redzone_granules(pool) : 0;
}

/* The block, as the bitmaps see it: hot records alone decide nothing. */
static struct cold_chunk *sound_block(pmalloc_pool *pool, const struct block *block) {
  if (block->chunk >= pool->cold->chunks)
    return NULL;
  int checked = (pool->flags & PMALLOC_HARDENED) != 0;
  struct cold_chunk *chunk =
      checked ? cold_chunk_checked(pool, block->chunk) : cold_chunk_at(pool->cold, block->chunk);
  if (!chunk || !hardened_chunk(pool, chunk))
    return NULL;
  size_t begin = block->granule, end = begin + block->count, zone = zone_of(pool);
  if (chunk->kind != PMALLOC_RAW || end < begin || end > chunk->used)
    return NULL;
  /* With redzones, neither that of the neighbour in front nor that of the one behind. */
  size_t before = begin < zone ? 0 : begin - zone;
  size_t behind = chunk->used - end < zone ? chunk->used : end + zone;
  if (bitmap_next(chunk->starts, begin, behind) != BITMAP_NONE ||
      bitmap_next(chunk->ends, before, end) != BITMAP_NONE)
    return NULL;
  return chunk;
}

/* Where in [begin, end) an allocation of `count` can begin, redzones beside it, or BITMAP_NONE.
 * `align` is in granules, here and below. */
static inline size_t fit(size_t begin, size_t end, size_t count, size_t align, size_t zone) {
  size_t granule = (begin + zone + align - 1) & ~(align - 1);
  return granule > end || end - granule < count + zone ? BITMAP_NONE : granule;
}

static void *from_blocks(pmalloc_pool *pool, size_t size, size_t align, int zeroed) {
  size_t count = (size + PMALLOC_GRANULE - 1) / PMALLOC_GRANULE, zone = zone_of(pool);
  /* The first that is large enough may be aligned by chance: what an equal one left is. */
  size_t need = count + 2 * zone;
  struct block block;
  while (blocks_take(&pool->blocks, need, &block)) {
    struct cold_chunk *chunk = sound_block(pool, &block);
    if (!chunk) {
      pool->blocks.damaged = 1;
      if (pool->flags & PMALLOC_HARDENED)
        return NULL;
      continue;
    }
    size_t begin = block.granule, end = begin + block.count;
    size_t granule = fit(begin, end, count, align, zone);
    if (granule == BITMAP_NONE) {
      push(pool, chunk, begin, block.count);
      need = count + 2 * zone + align - 1; /* surely fits */
      continue;
    }
    push(pool, chunk, begin, granule - zone - begin);
    push(pool, chunk, granule + count + zone, end - (granule + count + zone));
    /* In a closed chunk none was used. */
    if (zeroed && pool->policy != PMALLOC_OFF && !cold_closed(chunk))
      memset(granule_address(chunk, granule), 0, count * PMALLOC_GRANULE);
    return place(pool, chunk, granule, size);
  }
  return NULL;
}

static inline void *from_rest(pmalloc_pool *pool, struct cold_chunk *chunk, size_t size,
                              size_t align) {
  size_t count = (size + PMALLOC_GRANULE - 1) / PMALLOC_GRANULE, zone = zone_of(pool);
  if (!chunk)
    return NULL;
  size_t before = chunk->used;
  size_t granule = fit(before, cold_granules(chunk), count, align, zone);
  if (granule == BITMAP_NONE)
    return NULL;
  cold_set_used(chunk, granule + count + zone);
  if (granule - zone != before)
    push(pool, chunk, before, granule - zone - before);
  return place(pool, chunk, granule, size);
}

static size_t rest(const struct cold_chunk *chunk) { return cold_granules(chunk) - chunk->used; }

/* Of two chunks the one with more left stays current; what the other has left
 * becomes a free block. */
static void choose_current(pmalloc_pool *pool, struct cold_chunk *chunk) {
  struct cold_chunk *other = pool->raw_current;
  if (other && rest(other) >= rest(chunk)) {
    struct cold_chunk *swap = chunk;
    chunk = other;
    other = swap;
  }
  pool->raw_current = chunk;
  if (other) {
    size_t used = other->used;
    cold_set_used(other, cold_granules(other));
    push(pool, other, used, other->used - used);
  }
}

/* One more chunk. Where full ones close themselves, the one before is full now: what it had free is
 * given up, and the new one is current. */
static enum pmalloc_status another_chunk(pmalloc_pool *pool, size_t bytes,
                                         struct cold_chunk **out) {
  struct cold_mark mark = cold_mark(pool);
  enum pmalloc_status status = chunk_new(pool, PMALLOC_RAW, bytes, out);
  struct cold_chunk *before = pool->raw_current;
  if (status != PMALLOC_OK || !pool_closes_itself(pool))
    return status;
  if (before && (status = pool_close_chunk(pool, before)) != PMALLOC_OK) {
    int reason = errno;
    (void)chunk_undo(pool, *out, mark);
    errno = reason;
    return status;
  }
  blocks_clear(&pool->blocks);
  pool->freed_since_scan = 0;
  pool->raw_current = *out;
  pool_close_full(pool);
  return PMALLOC_OK;
}

/* Rebuilds the free blocks of one chunk from its bitmaps. */
static void scan_chunk(pmalloc_pool *pool, struct cold_chunk *chunk) {
  size_t used = chunk->used, at = 0, zone = zone_of(pool);
  while (at < used) {
    size_t start = bitmap_next(chunk->starts, at, used);
    if (start == BITMAP_NONE) {
      if (chunk == pool->raw_current)
        cold_set_used(chunk, at); /* free to the end: part of the rest again */
      else
        push(pool, chunk, at, used - at);
      return;
    }
    push(pool, chunk, at, start - zone - at);
    size_t last = bitmap_next(chunk->ends, start, used);
    if (last == BITMAP_NONE)
      return; /* no end: damaged; use nothing behind it */
    at = last + 1 + zone;
  }
}

/* A scan reads all bitmaps, so it must be paid for by what was freed. */
static int scan(pmalloc_pool *pool, size_t count) {
  size_t worth = pool->reserved_bytes / PMALLOC_GRANULE / 16;
  if (pool->freed_since_scan == 0 || pool->freed_since_scan < count ||
      pool->freed_since_scan < worth)
    return 0;
  blocks_clear(&pool->blocks);
  pool->freed_since_scan = 0;
  for (uint32_t n = 0; n < pool->cold->chunks; n++) {
    struct cold_chunk *chunk = cold_chunk_at(pool->cold, n);
    if (chunk->kind == PMALLOC_RAW && !cold_closed(chunk))
      scan_chunk(pool, chunk);
  }
  return 1;
}

/* What most allocations take: no block is free, and the current chunk has room. */
static inline void *from_front(pmalloc_pool *pool, size_t size, size_t align) {
  return blocks_are_none(&pool->blocks) ? from_rest(pool, pool->raw_current, size, align) : NULL;
}

static __attribute__((noinline)) enum pmalloc_status
allocate(pmalloc_pool *pool, size_t size, size_t align, int zeroed, void **out) {
  *out = from_blocks(pool, size, align, zeroed);
  if (!*out && pool->blocks.damaged && pool->flags & PMALLOC_HARDENED)
    return hardened_enter(pool); /* which says what it is */
  if (!*out)
    *out = from_rest(pool, pool->raw_current, size, align);
  if (!*out && scan(pool, (size + PMALLOC_GRANULE - 1) / PMALLOC_GRANULE)) {
    *out = from_blocks(pool, size, align, zeroed);
    if (!*out)
      *out = from_rest(pool, pool->raw_current, size, align);
  }
  if (*out)
    return PMALLOC_OK;
  struct cold_chunk *chunk;
  size_t zones = zone_of(pool) * (align + 1) * PMALLOC_GRANULE;
  enum pmalloc_status status = another_chunk(pool, size + zones, &chunk);
  if (status != PMALLOC_OK)
    return status;
  *out = from_rest(pool, chunk, size, align); /* a chunk starts on a page: it fits */
  if (!pool_closes_itself(pool))
    choose_current(pool, chunk);
  return PMALLOC_OK;
}

/* ---- the calls ---- */

static inline enum pmalloc_status hand_out(pmalloc_pool *pool, size_t size, size_t align,
                                           int zeroed, void **out) {
  if (align == 0)
    align = PMALLOC_GRANULE;
  if (align & (align - 1) || (align > PMALLOC_GRANULE && align > pages_page_size()))
    return PMALLOC_ERR_INVALID;
  if (size == 0)
    size = 1;
  if (size > LARGEST) {
    errno = ENOMEM;
    return PMALLOC_ERR_NOMEM;
  }
  size_t granules = align < PMALLOC_GRANULE ? 1 : align / PMALLOC_GRANULE;
  int locked = pool_lock_quick(pool);
  enum pmalloc_status status = pool->flags ? hardened_enter_open(pool) : pool_is_open(pool);
  void *taken = status == PMALLOC_OK ? from_front(pool, size, granules) : NULL;
  if (status == PMALLOC_OK && !taken)
    status = allocate(pool, size, granules, zeroed, &taken);
  if (pool->flags && status != PMALLOC_ERR_CORRUPT)
    hardened_leave(pool);
  if (locked)
    pthread_mutex_unlock(&pool->lock);
  if (status == PMALLOC_OK)
    *out = taken;
  return status;
}

enum pmalloc_status pmalloc_pool_alloc(pmalloc_pool *pool, size_t size, size_t align, void **out) {
  return hand_out(pool, size, align, 1, out);
}

enum pmalloc_status pmalloc_pool_alloc_to_fill(pmalloc_pool *pool, size_t size, size_t align,
                                               void **out) {
  return hand_out(pool, size, align, 0, out);
}

enum pmalloc_status pmalloc_pool_prealloc(pmalloc_pool *pool, size_t bytes) {
  if (bytes > LARGEST) {
    errno = ENOMEM;
    return PMALLOC_ERR_NOMEM;
  }
  pool_lock_to_map(pool);
  enum pmalloc_status status = hardened_enter_open(pool);
  size_t left =
      status == PMALLOC_OK && pool->raw_current ? rest(pool->raw_current) * PMALLOC_GRANULE : 0;
  if (status == PMALLOC_OK && left < bytes) {
    struct cold_chunk *chunk;
    status = another_chunk(pool, bytes, &chunk);
    if (status == PMALLOC_OK && !pool_closes_itself(pool))
      choose_current(pool, chunk);
  }
  if (status != PMALLOC_ERR_CORRUPT)
    hardened_leave(pool);
  pthread_mutex_unlock(&pool->lock);
  return status;
}

/* The granule of a live allocation that begins at the address. */
static enum pmalloc_status find_start(pmalloc_pool *pool, const void *address,
                                      struct cold_chunk **chunk, size_t *granule) {
  enum pmalloc_status status = pool->flags ? hardened_enter(pool) : PMALLOC_OK;
  if (status != PMALLOC_OK)
    return status;
  if (pool->state == PMALLOC_DESTROYED_STATE)
    return PMALLOC_ERR_DESTROYED;
  struct cold_chunk *found = chunk_of(pool, address);
  if (found && (!hardened_chunk(pool, found) ||
                (size_t)((const char *)address - found->pages.base) >= found->pages.size))
    return hardened_found(pool, "what describes one of its chunks was overwritten");
  if (!found && pool->flags && (status = hardened_enter(pool)) != PMALLOC_OK)
    return status; /* the look-up ended at a link that leads astray */
  if (!found || found->kind != PMALLOC_RAW)
    return PMALLOC_ERR_FOREIGN;
  size_t offset = (size_t)((const char *)address - found->pages.base);
  if (offset % PMALLOC_GRANULE != 0)
    return PMALLOC_ERR_FOREIGN;
  *chunk = found;
  *granule = offset / PMALLOC_GRANULE;
  if (bitmap_test(pool_freed(pool, found->index), *granule))
    return PMALLOC_ERR_DOUBLE_FREE;
  return bitmap_test(found->starts, *granule) ? PMALLOC_OK : PMALLOC_ERR_FOREIGN;
}

enum pmalloc_status pmalloc_pool_free(pmalloc_pool *pool, void *allocation) {
  struct cold_chunk *chunk;
  size_t granule;
  pthread_mutex_lock(&pool->lock);
  enum pmalloc_status status = find_start(pool, allocation, &chunk, &granule);
  if (status == PMALLOC_OK && pool->state == PMALLOC_OPEN)
    status = pool_is_open(pool);
  if (status == PMALLOC_OK) {
    size_t last = bitmap_next(chunk->ends, granule, chunk->used);
    size_t count = last == BITMAP_NONE ? 1 : last - granule + 1, zone = zone_of(pool);
    if (zone && (status = redzone_check(pool, chunk, granule, granule + count - 1)) != PMALLOC_OK) {
      pthread_mutex_unlock(&pool->lock);
      return status;
    }
    pool->used_bytes -= count * PMALLOC_GRANULE;
    pool->allocations--;
    if (pmalloc_mode_is_rare(pool->mode)) { /* who is about to write there is told of it */
      pool_lock_rare(pool);
      bitmap_set(pool_freed(pool, chunk->index), granule);
      pool_unlock_rare(pool);
    } else {
      bitmap_set(pool_freed(pool, chunk->index), granule);
    }
    pool->any_freed = 1;
    if (pool->state == PMALLOC_OPEN && !cold_closed(chunk)) {
      memset(granule_address(chunk, granule - zone), 0, (count + 2 * zone) * PMALLOC_GRANULE);
      bitmap_clear(chunk->starts, granule);
      bitmap_clear(chunk->ends, granule + count - 1);
      pool->freed_since_scan += count;
      push(pool, chunk, granule - zone, count + 2 * zone);
    }
  }
  if (status == PMALLOC_OK)
    hardened_leave(pool); /* records of free blocks may lie elsewhere now */
  pthread_mutex_unlock(&pool->lock);
  return status;
}

enum pmalloc_status pmalloc_pool_size_of(pmalloc_pool *pool, const void *allocation, size_t *out) {
  struct cold_chunk *chunk;
  size_t granule;
  pthread_mutex_lock(&pool->lock);
  enum pmalloc_status status = find_start(pool, allocation, &chunk, &granule);
  if (status == PMALLOC_OK) {
    size_t last = bitmap_next(chunk->ends, granule, chunk->used);
    if (last == BITMAP_NONE)
      status = PMALLOC_ERR_FOREIGN;
    else
      *out = (last - granule + 1) * PMALLOC_GRANULE - cold_slack(chunk, last);
  } else if (status == PMALLOC_ERR_DOUBLE_FREE) {
    status = PMALLOC_ERR_FOREIGN; /* not live */
  }
  pthread_mutex_unlock(&pool->lock);
  return status;
}

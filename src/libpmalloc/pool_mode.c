/* pool_mode: when the memory of a pool becomes read-only, and what may change it then.
 *
 *     mode       before protect                            after it
 *     ro         open                                      read-only
 *     wr         open                                      write-rare
 *     auto_ro    full chunks read-only, the last open      read-only
 *     auto_wr    full chunks write-rare, the last open     write-rare
 *     start_wr   write-rare                                write-rare
 *
 *     ro <---- make_ro ---- wr          one way, and only once it is protected
 *
 * A chunk is full when another one is begun. What it had left is given up: a pool
 * that grows costs more memory in these modes, and forgets less.
 *
 *     auto_ro    [ closed ][ closed ][ current: open | next allocation -> ]
 *
 * Whether a chunk is closed, and the mode, are in the cold metadata, which is
 * writable until the pool is protected: who can store anywhere may open a chunk's
 * door to rare writes while its pool still grows, not after.
 *
 * Idea: the modes of the protectable memory allocator's later series (Linux 2018).
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>

#include "pool_internal.h"

static const char *const names[] = {[PMALLOC_MODE_RO] = "ro",
                                    [PMALLOC_MODE_WR] = "wr",
                                    [PMALLOC_MODE_AUTO_RO] = "auto_ro",
                                    [PMALLOC_MODE_AUTO_WR] = "auto_wr",
                                    [PMALLOC_MODE_START_WR] = "start_wr"};

const char *pmalloc_mode_name(enum pmalloc_mode mode) {
  return (unsigned)mode <= PMALLOC_MODE_START_WR ? names[mode] : NULL;
}

int pmalloc_mode_named(const char *name, enum pmalloc_mode *mode) {
  for (unsigned n = 0; n <= PMALLOC_MODE_START_WR; n++) {
    if (strcmp(name, names[n]) == 0) {
      *mode = (enum pmalloc_mode)n;
      return 1;
    }
  }
  return 0;
}

/* ---- chunks that close by themselves ---- */

enum pmalloc_status pool_close_chunk(pmalloc_pool *pool, struct cold_chunk *chunk) {
  enum pmalloc_status status = PMALLOC_OK;
  pool_lock_rare(pool);
  if (pool->policy != PMALLOC_OFF)
    status = pages_protect(&chunk->pages);
  if (status == PMALLOC_OK)
    __atomic_store_n(&chunk->closed, 1, __ATOMIC_RELEASE);
  pool_unlock_rare(pool);
  return status;
}

void pool_close_full(pmalloc_pool *pool) {
  uint32_t n = pool->closed_below, chunks = pool->cold->chunks;
  int in_front = 1; /* of the first that stays open */
  for (; n < chunks; n++) {
    struct cold_chunk *chunk = cold_chunk_at(pool->cold, n);
    if (!cold_closed(chunk)) {
      int filled = chunk == pool->raw_current || chunk == pool->objects_current ||
                   (cold_kind(chunk) == PMALLOC_OBJECTS && pool->open_regions > 0);
      if (filled || pool_close_chunk(pool, chunk) != PMALLOC_OK)
        in_front = 0;
    }
    if (in_front)
      pool->closed_below = n + 1;
  }
}

void pool_close_again(pmalloc_pool *pool, uint32_t first) {
  for (uint32_t n = first; pool->cold && n < pool->cold->chunks; n++) {
    struct cold_chunk *chunk = cold_chunk_at(pool->cold, n);
    /* It was read-only a moment ago, so the mapping is there, and no more of them are needed. */
    if (cold_closed(chunk) && pool->policy != PMALLOC_OFF &&
        pages_protect(&chunk->pages) != PMALLOC_OK)
      atomic_store(&pool->record->tally.tainted, 1);
  }
}

/* ---- from write-rare to read-only ---- */

/* The mode is one word of metadata that is read-only already, so it takes a rare write itself. */
static enum pmalloc_status forbid(pmalloc_pool *pool) {
  const uint32_t ro = PMALLOC_MODE_RO;
  if (!pool->cold)
    return PMALLOC_OK;
  uint32_t *word = &pool->cold->mode;
  if (pool->policy == PMALLOC_OFF) {
    __atomic_store_n(word, ro, __ATOMIC_RELAXED);
    return PMALLOC_OK;
  }
  if (pages_poke((uintptr_t)word, &ro, sizeof ro) == 0)
    return PMALLOC_OK;
  if (pool->tier != PMALLOC_PLAIN) {
    errno = EOPNOTSUPP;
    return PMALLOC_ERR_UNSUPPORTED;
  }
  const struct cold_slab *slab = pool->slabs;
  while (slab->older) /* it lies in the first */
    slab = slab->older;
  int left_open = 0;
  enum pmalloc_status status =
      pages_store_through_window(&slab->pages, word, &ro, sizeof ro, &left_open);
  if (left_open)
    atomic_store(&pool->record->tally.tainted, 1);
  return status;
}

enum pmalloc_status pmalloc_pool_make_ro(pmalloc_pool *pool) {
  enum pmalloc_status status = PMALLOC_OK;
  pthread_mutex_lock(&pool->lock);
  pool_lock_rare(pool);
  if (pool->state == PMALLOC_DESTROYED_STATE)
    status = PMALLOC_ERR_DESTROYED;
  else if (!pmalloc_mode_is_rare(pool->mode))
    status = PMALLOC_ERR_NOT_RARE;
  else if (pool->state != PMALLOC_PROTECTED)
    status = PMALLOC_ERR_INVALID;
  else
    status = forbid(pool);
  if (status == PMALLOC_OK)
    pool->mode = PMALLOC_MODE_RO;
  pool_unlock_rare(pool);
  pthread_mutex_unlock(&pool->lock);
  return status;
}

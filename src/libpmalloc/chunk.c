/* chunk: one more mapping for a pool, with everything that belongs to it.
 *
 * Four things must be had: room in the cold metadata, a hot bitmap of what was
 * freed, the pages, and the entry in the registry. Each may fail, and then the
 * earlier ones are given back.
 *
 * Sizes. A pool that grows by itself starts with 16 KiB, so that a small one
 * stays small although chunks are pre-faulted; then 64 KiB, doubling to 2 MiB,
 * and stays there, with huge pages:
 *
 *     16K   64K   128K   256K   512K   1M   2M   2M   2M ...
 *
 * What is larger than the chunk whose turn it is gets a chunk of its own size,
 * rounded to pages; the next one is a step larger all the same.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bitmap.h"
#include "pool_internal.h"

#define FIRST_BYTES ((size_t)16 << 10)
#define SECOND_BYTES ((size_t)64 << 10)

static size_t next_bytes(const pmalloc_pool *pool, enum pmalloc_kind kind) {
  if (pool->chunk_size)
    return pool->chunk_size;
  return pool->next_bytes[kind] ? pool->next_bytes[kind] : pages_round(FIRST_BYTES);
}

static size_t step(size_t bytes) {
  if (bytes < SECOND_BYTES)
    return SECOND_BYTES;
  return bytes < PAGES_HUGE ? bytes * 2 : PAGES_HUGE;
}

/* Room for the hot bitmaps of more chunks. A rare write may be looking at those there are. */
static enum pmalloc_status grow_freed(pmalloc_pool *pool, uint32_t n) {
  uint32_t capacity = n < 4 ? 4 : n * 2;
  struct link *freed = malloc(capacity * sizeof *freed), *before = pool->freed;
  if (!freed)
    return PMALLOC_ERR_NOMEM;
  for (uint32_t i = 0; i < n; i++) /* keyed again for where they are now */
    link_set(&freed[i], before[i].to, (pool->flags & PMALLOC_HARDENED) != 0);
  pool_lock_rare(pool);
  pool->freed = freed;
  pool->hot_bytes += (capacity - pool->freed_capacity) * sizeof *freed;
  pool->freed_capacity = capacity;
  pool_unlock_rare(pool);
  free(before);
  return PMALLOC_OK;
}

/* The hot bitmap of a chunk, and the place for it. */
static enum pmalloc_status add_freed(pmalloc_pool *pool, uint32_t n, size_t bytes) {
  if (n >= pool->freed_capacity) {
    enum pmalloc_status status = grow_freed(pool, n);
    if (status != PMALLOC_OK)
      return status;
  }
  int keyed = (pool->flags & PMALLOC_HARDENED) != 0;
  link_set(&pool->freed[n], NULL, keyed);
  if (bytes == 0)
    return PMALLOC_OK;
  link_set(&pool->freed[n], calloc(1, bytes), keyed);
  if (!pool_freed(pool, n))
    return PMALLOC_ERR_NOMEM;
  pool->hot_bytes += bytes;
  return PMALLOC_OK;
}

static size_t freed_bytes(enum pmalloc_kind kind, size_t bytes) {
  return kind == PMALLOC_RAW ? bitmap_bytes(bytes / PMALLOC_GRANULE) : 0;
}

static void drop_freed(pmalloc_pool *pool, uint32_t n, size_t bytes) {
  free(pool_freed(pool, n));
  link_set(&pool->freed[n], NULL, 0);
  pool->hot_bytes -= bytes;
}

/* The pages themselves: private ones, or more of the pool's memfd. */
static enum pmalloc_status map(pmalloc_pool *pool, struct pages *out, size_t bytes) {
  unsigned flags = (bytes >= PAGES_HUGE ? PAGES_HUGE_OK : 0U) | pool_bare(pool);
  if (pool->backing == PMALLOC_PRIVATE)
    return pages_map(out, bytes, flags, pool->name);
  if (!pool->file.inode) {
    enum pmalloc_status status = pages_file_open(&pool->file, pool->name);
    if (status != PMALLOC_OK)
      return status;
  }
  return pages_map_file(out, bytes, flags, pool->name, &pool->file);
}

/* Gives back the newest pages, of which nobody holds an address. */
static enum pmalloc_status unmap(pmalloc_pool *pool, struct pages *p) {
  enum pmalloc_status status = pages_unmap(p);
  if (status == PMALLOC_OK && p->shared)
    pages_file_cut(&pool->file, p->offset);
  return status;
}

enum pmalloc_status chunk_new(pmalloc_pool *pool, enum pmalloc_kind kind, size_t need,
                              struct cold_chunk **out) {
  size_t usual = next_bytes(pool, kind);
  size_t bytes = need <= usual ? usual : pages_round(need);
  struct cold_mark mark = cold_mark(pool);
  struct cold_chunk *chunk;
  if (bytes == 0 || bytes > (size_t)PTRDIFF_MAX / 2) {
    errno = ENOMEM;
    return PMALLOC_ERR_NOMEM;
  }
  enum pmalloc_status status = cold_chunk_new(pool, kind, bytes, &chunk);
  if (status != PMALLOC_OK)
    return status;
  uint32_t n = chunk->index;
  status = add_freed(pool, n, freed_bytes(kind, bytes));
  if (status != PMALLOC_OK)
    goto no_freed;
  status = map(pool, &chunk->pages, bytes);
  if (status != PMALLOC_OK)
    goto no_pages;
  if (pool->mode == PMALLOC_MODE_START_WR && pool->policy != PMALLOC_OFF) {
    if ((status = pages_protect(&chunk->pages)) != PMALLOC_OK)
      goto no_entry;
  }
  chunk->closed = pool->mode == PMALLOC_MODE_START_WR;
  status = registry_add(&chunk->pages, pool->record, chunk);
  if (status != PMALLOC_OK)
    goto no_entry;
  cold_chunk_publish(pool);
  pool->reserved_bytes += chunk->pages.size;
  if (!pool->chunk_size)
    pool->next_bytes[kind] = step(usual);
  *out = chunk;
  return PMALLOC_OK;

  int reason;
no_entry:
  reason = errno;
  unmap(pool, &chunk->pages);
  errno = reason;
no_pages:
  drop_freed(pool, n, freed_bytes(kind, bytes));
no_freed:
  reason = errno;
  cold_rollback(pool, mark);
  errno = reason;
  return status;
}

enum pmalloc_status chunk_adopt(pmalloc_pool *pool, const struct pages *p,
                                const struct cold_symbols *symbols, size_t symbols_bytes) {
  struct cold_mark mark = cold_mark(pool);
  struct cold_chunk *chunk;
  enum pmalloc_status status = cold_chunk_new(pool, PMALLOC_STATIC, symbols_bytes, &chunk);
  if (status != PMALLOC_OK)
    return status;
  memcpy(chunk->symbols, symbols, symbols_bytes);
  chunk->pages = *p;
  cold_set_used(chunk, p->size / cold_granule(chunk));
  status = add_freed(pool, chunk->index, 0);
  if (status == PMALLOC_OK)
    status = registry_add(&chunk->pages, pool->record, chunk);
  if (status != PMALLOC_OK) {
    int reason = errno;
    memset(chunk->symbols, 0, symbols_bytes);
    cold_rollback(pool, mark);
    errno = reason;
    return status;
  }
  cold_chunk_publish(pool);
  pool->reserved_bytes += p->size;
  return PMALLOC_OK;
}

int chunk_undo(pmalloc_pool *pool, struct cold_chunk *chunk, struct cold_mark mark) {
  struct pages p = chunk->pages;
  registry_remove(&p);
  if (unmap(pool, &p) != PMALLOC_OK) {
    /* Room in the tree and a range are there: this cannot fail. */
    registry_add(&p, pool->record, chunk);
    return 0;
  }
  pool->reserved_bytes -= p.size;
  drop_freed(pool, chunk->index, freed_bytes((enum pmalloc_kind)chunk->kind, p.size));
  pool->cold->chunks--;
  cold_rollback(pool, mark);
  return 1;
}

struct cold_chunk *chunk_of(const pmalloc_pool *pool, const void *address) {
  uintptr_t addr = (uintptr_t)address;
  const struct registry_range *range = registry_at(addr);
  if (!range || !range->chunk || range->record != pool->record || addr < range->start ||
      addr >= range->end)
    return NULL;
  return (struct cold_chunk *)(uintptr_t)range->chunk;
}

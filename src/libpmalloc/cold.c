/* cold: carving descriptors and bitmaps out of slabs.
 *
 *     slab |header|cold|chunk 0..3|starts 0|ends 0|slack 0|starts 1|...|  free |
 *          ^                                                           ^
 *          slab                                              slab + slab->used
 *
 * Only the newest slab is carved. Fresh slab memory is zero, and what a rollback
 * returns is zero again, so bitmaps need not be cleared when they are made; a
 * bitmap of a large chunk costs memory only as far as the chunk is used. That is
 * also why larger slabs are not pre-faulted.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cold.h"

#include <string.h>

#include "bitmap.h"
#include "pool_internal.h"

#define PREFAULT_LIMIT ((size_t)16 << 10)

static size_t aligned(size_t bytes) { return (bytes + 15) & ~(size_t)15; }

/* The segment of the n-th chunk, and the number of its first. */
static unsigned segment_of(uint32_t n, uint32_t *first) {
  unsigned segment = 31 - (unsigned)__builtin_clz(n / COLD_FIRST_SEGMENT + 1);
  *first = COLD_FIRST_SEGMENT * ((1U << segment) - 1);
  return segment;
}

struct cold_chunk *cold_chunk_at(const struct cold *cold, uint32_t n) {
  uint32_t first;
  unsigned segment = segment_of(n, &first);
  return &cold->segment[segment][n - first];
}

struct cold_chunk *cold_chunk_checked(const pmalloc_pool *pool, uint32_t n) {
  uint32_t first;
  unsigned segment = segment_of(n, &first);
  /* As a number: it may be forged, or none. */
  uintptr_t all = (uintptr_t)pool->cold->segment[segment];
  struct cold_chunk *found = (struct cold_chunk *)(all + (n - first) * sizeof(struct cold_chunk));
  return registry_is_metadata(pool->record, found, sizeof *found) ? found : NULL;
}

/* One more slab with room for `need` bytes after its header. */
static enum pmalloc_status add_slab(pmalloc_pool *pool, size_t need) {
  size_t bytes = pages_round(sizeof(struct cold_slab) + need);
  struct pages p;
  if (bytes < pool->cold_bytes)
    bytes = pool->cold_bytes;
  enum pmalloc_status status = pages_map(
      &p, bytes, (bytes > PREFAULT_LIMIT ? PAGES_LAZY : 0U) | pool_bare(pool), pool->name);
  if (status != PMALLOC_OK)
    return status;
  status = registry_add(&p, pool->record, NULL);
  if (status != PMALLOC_OK) {
    pages_unmap(&p);
    return status;
  }
  struct cold_slab *slab = (struct cold_slab *)p.base;
  slab->pages = p;
  slab->older = pool->slabs;
  slab->used = aligned(sizeof *slab);
  pool->slabs = slab;
  pool->cold_bytes += p.size;
  return PMALLOC_OK;
}

static void *carve(pmalloc_pool *pool, size_t bytes) {
  char *taken = (char *)pool->slabs + pool->slabs->used;
  pool->slabs->used += aligned(bytes);
  return taken;
}

enum pmalloc_status cold_open(pmalloc_pool *pool, size_t more) {
  enum pmalloc_status status = PMALLOC_OK;
  if (!pool->record)
    status = registry_record_new(&pool->record, pool->id, pool->name);
  if (status == PMALLOC_OK)
    status = add_slab(pool, aligned(sizeof(struct cold)) + more);
  if (status != PMALLOC_OK)
    return status;
  struct cold *cold = carve(pool, sizeof *cold);
  cold->magic = COLD_MAGIC;
  cold->id = pool->id;
  cold->state = PMALLOC_OPEN;
  /* Of a pool that closes chunks, some of it is protected before it is. */
  cold->policy = pool->mode == PMALLOC_MODE_RO || pool->mode == PMALLOC_MODE_WR
                     ? pool->policy
                     : pool_policy_for(pool, PMALLOC_PLAIN);
  cold->mode = pool->mode;
  strcpy(cold->name, pool->name);
  pool->cold = cold;
  pool->record->cold = cold;
  pool->record->pool = pool;
  return PMALLOC_OK;
}

enum pmalloc_status cold_chunk_new(pmalloc_pool *pool, enum pmalloc_kind kind, size_t bytes,
                                   struct cold_chunk **out) {
  uint32_t n = pool->cold ? pool->cold->chunks : 0, first;
  unsigned segment = segment_of(n, &first);
  size_t granules = bytes / PMALLOC_GRANULE;
  int is_static = kind == PMALLOC_STATIC;
  size_t starts = /* enough for both other kinds */
      aligned(is_static ? bytes : bitmap_bytes(bytes / PMALLOC_OBJECT_GRANULE));
  size_t map = aligned(bitmap_bytes(granules));
  size_t slack = kind == PMALLOC_RAW ? aligned(granules / 2) : 0;
  size_t chunks =
      n == first ? aligned(((size_t)COLD_FIRST_SEGMENT << segment) * sizeof(struct cold_chunk)) : 0;
  size_t need = chunks + starts + (kind == PMALLOC_RAW ? map : 0) + slack;
  enum pmalloc_status status = PMALLOC_OK;
  if (segment >= COLD_SEGMENTS)
    return PMALLOC_ERR_NOMEM;
  if (!pool->cold)
    status = cold_open(pool, need);
  else if (need > pool->slabs->pages.size - pool->slabs->used)
    status = add_slab(pool, need);
  if (status != PMALLOC_OK)
    return status;
  if (chunks)
    pool->cold->segment[segment] = carve(pool, chunks);
  struct cold_chunk *chunk = cold_chunk_at(pool->cold, n);
  chunk->index = n;
  chunk->kind = kind;
  chunk->used = 0;
  if (is_static) {
    chunk->symbols = carve(pool, starts);
    chunk->symbols_bytes = bytes;
  } else {
    chunk->starts = carve(pool, starts);
  }
  if (kind == PMALLOC_RAW) {
    chunk->ends = carve(pool, map);
    chunk->slack = carve(pool, slack);
  }
  *out = chunk;
  return PMALLOC_OK;
}

void cold_chunk_publish(pmalloc_pool *pool) {
  __atomic_store_n(&pool->cold->chunks, pool->cold->chunks + 1, __ATOMIC_RELEASE);
}

struct cold_mark cold_mark(const pmalloc_pool *pool) {
  return (struct cold_mark){pool->slabs, pool->slabs ? pool->slabs->used : 0};
}

void cold_rollback(pmalloc_pool *pool, struct cold_mark mark) {
  if (!pool->cold)
    return;
  uint32_t n = pool->cold->chunks, first;
  unsigned segment = segment_of(n, &first);
  memset(cold_chunk_at(pool->cold, n), 0, sizeof(struct cold_chunk));
  if (n == first)
    pool->cold->segment[segment] = NULL;
  while (pool->slabs != mark.newest) {
    struct cold_slab *slab = pool->slabs, *older = slab->older;
    struct pages p = slab->pages;
    if (!older && pool->cold->root)
      break; /* the first slab holds the root, set in the meantime */
    registry_remove(&p);
    pool->slabs = older;
    pool->cold_bytes -= p.size;
    if (!older)
      pool->cold = NULL;
    pages_unmap(&p);
  }
  if (pool->slabs && pool->slabs == mark.newest)
    pool->slabs->used = mark.used;
}

void cold_discard(pmalloc_pool *pool) {
  for (struct cold_slab *slab = pool->slabs; slab; slab = pool->slabs) {
    struct pages p = slab->pages;
    pool->slabs = slab->older;
    registry_forget(&p);
    (void)pages_unmap(&p); /* what the kernel would not take stays behind, unknown */
  }
  pool->cold = NULL;
  pool->cold_bytes = 0;
}

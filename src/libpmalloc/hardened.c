/* hardened: nobody is led astray by the metadata.
 *
 *   hot, writable for ever            cold, writable until protect()
 *   +--------------------------+      +------------+     +-----------+
 *   | lock, counters           |  +-->| cold       |---->| chunks    |--> bitmaps
 *   | record cold slabs        |--+   +------------+     +-----------+
 *   | currents freed blocks    |      | slab       |---->  older slab
 *   | word = digest of these   |
 *   | newer older: each a link |      registry: any address -> range {bounds, record, chunk}
 *   +--------------------------+
 *
 * The pointers of the hot half change seldom, so one word covers them all: a
 * digest under the process's secret, made when a call leaves, compared when the
 * next enters. Those of the cold half are checked against the registry, which
 * knows each mapping of a pool: a pointer to metadata must lead into metadata of
 * this very pool, a chunk must say of its pages what the registry says. And the
 * registry itself follows only pointers into its own arenas.
 *
 * Records of free blocks hold numbers, not pointers; each is compared with the
 * array's size, and the block with the bitmaps. In the ordinary mode a bad one is
 * forgotten; here it is an error.
 *
 * What is found ends the call, before anything was done. Nothing is repaired.
 *
 * SPDX-License-Identifier: MIT
 */
#include "hardened.h"

#include "links.h"
#include "pool_internal.h"

static int is_on(const pmalloc_pool *pool) { return (pool->flags & PMALLOC_HARDENED) != 0; }

static uint64_t hot_word(const pmalloc_pool *pool) {
  const uintptr_t said[] = {(uintptr_t)pool,
                            (uintptr_t)pool->record,
                            (uintptr_t)pool->cold,
                            (uintptr_t)pool->slabs,
                            (uintptr_t)pool->raw_current,
                            (uintptr_t)pool->objects_current,
                            (uintptr_t)pool->freed,
                            pool->freed_capacity,
                            (uintptr_t)pool->blocks.all,
                            (uintptr_t)pool->blocks.heads,
                            pool->blocks.capacity,
                            (uintptr_t)pool->undo.chunk,
                            (uintptr_t)pool->undo.current,
                            (uintptr_t)pool->undo.mark.newest,
                            pool->chunks,
                            pool->retired};
  return secret_digest(said, sizeof said);
}

enum pmalloc_status hardened_found(pmalloc_pool *pool, const char *what) {
  pool->corruption = (struct pmalloc_corruption){.what = what};
  return PMALLOC_ERR_CORRUPT;
}

void hardened_leave(pmalloc_pool *pool) {
  if (!is_on(pool))
    return;
  pool->chunks = pool->cold ? pool->cold->chunks : 0;
  pool->hot_word = hot_word(pool);
}

int hardened_chunk(pmalloc_pool *pool, const struct cold_chunk *chunk) {
  if (!is_on(pool))
    return 1;
  return registry_vouches(pool->record, chunk) && chunk->index < pool->chunks &&
         chunk->index < pool->freed_capacity && link_is_sound(&pool->freed[chunk->index]);
}

enum pmalloc_status hardened_enter(pmalloc_pool *pool) {
  if (!is_on(pool))
    return PMALLOC_OK;
  if (pool->hot_word != hot_word(pool))
    return hardened_found(pool, "a link of its writable metadata was overwritten");
  if (!pool->cold || pool->state == PMALLOC_DESTROYED_STATE)
    return PMALLOC_OK; /* nothing there, or half of it gone */
  if (pool->blocks.damaged)
    return hardened_found(pool, "a record of its free blocks was overwritten");
  if (registry_is_damaged())
    return hardened_found(pool, "a link of the registry of addresses was overwritten");
  if (!registry_is_metadata(pool->record, pool->cold, sizeof *pool->cold) ||
      pool->cold->magic != COLD_MAGIC || pool->cold->id != pool->id ||
      pool->cold->chunks != pool->chunks ||
      !registry_is_metadata(pool->record, pool->slabs, sizeof *pool->slabs))
    return hardened_found(pool, "what describes it was overwritten");
  if ((pool->raw_current && !hardened_chunk(pool, pool->raw_current)) ||
      (pool->objects_current && !hardened_chunk(pool, pool->objects_current)))
    return hardened_found(pool, "what describes one of its chunks was overwritten");
  return PMALLOC_OK;
}

enum pmalloc_status hardened_enter_open(pmalloc_pool *pool) {
  enum pmalloc_status status = pool->flags ? hardened_enter(pool) : PMALLOC_OK;
  return status == PMALLOC_OK ? pool_is_open(pool) : status;
}

static int chunks_are_sound(pmalloc_pool *pool) {
  for (uint32_t n = pool->retired; n < pool->chunks; n++) {
    const struct cold_chunk *chunk = cold_chunk_checked(pool, n);
    if (!chunk || chunk->index != n || !hardened_chunk(pool, chunk))
      return 0;
  }
  return 1;
}

static int slabs_are_sound(const pmalloc_pool *pool) {
  size_t bytes = 0;
  for (const struct cold_slab *slab = pool->slabs; slab; slab = slab->older) {
    if (!registry_is_metadata(pool->record, slab, sizeof *slab) ||
        !registry_knows(pool->record, &slab->pages, NULL) ||
        (const char *)slab != slab->pages.base || slab->used > slab->pages.size)
      return 0;
    bytes += slab->pages.size;
    if (bytes > pool->cold_bytes)
      return 0; /* a circle */
  }
  return bytes == pool->cold_bytes;
}

enum pmalloc_status hardened_walk(pmalloc_pool *pool) {
  enum pmalloc_status status = hardened_enter(pool);
  if (status != PMALLOC_OK || !is_on(pool) || !pool->cold || pool->state == PMALLOC_DESTROYED_STATE)
    return status;
  if (!slabs_are_sound(pool))
    return hardened_found(pool, "a link between the slabs of its metadata was overwritten");
  if (!chunks_are_sound(pool))
    return hardened_found(pool, "what describes one of its chunks was overwritten");
  return PMALLOC_OK;
}

/* redzone: an overflow leaves traces where nobody may write.
 *
 *     granule  |   0    |   1    |   2      |   3    |   4    |   5    |   6
 *     bytes    |cccccccc|aaaaaaaa|aaa.......|cccccccc|cccccccc|bbbbbbbb|cccccc
 *                in front of a     slack: c    behind   in front of b
 *
 * An allocation of a pool with redzones has a granule of canaries on each side,
 * and canaries for slack. In the bitmaps a redzone looks like free space: bounds
 * stay exact, and a store into one is out of bounds to everybody who asks.
 *
 * The canaries of an allocation are a digest of its address and pool under the
 * process's secret: to write over them and put them back, one has to read them.
 * No byte of them is zero, for a zero is what an off-by-one of a string writes.
 *
 * SPDX-License-Identifier: MIT
 */
#include "redzone.h"

#include <string.h>

#include "bitmap.h"
#include "hardened.h"
#include "pool_internal.h"
#include "secret.h"

size_t redzone_granules(const pmalloc_pool *pool) {
  return (pool->flags & (PMALLOC_REDZONES | PMALLOC_HARDENED)) != 0;
}

static uint64_t canary(const pmalloc_pool *pool, const char *start) {
  struct {
    uintptr_t address, id;
    char use[8];
  } said = {(uintptr_t)start, pool->id, "redzone"};
  return secret_digest(&said, sizeof said) | UINT64_C(0x0101010101010101);
}

/* The bytes of [from, to) are those of the canary, by their address. */
static void paint(char *from, const char *to, uint64_t word) {
  unsigned char bytes[8];
  memcpy(bytes, &word, sizeof bytes);
  for (; from < to; from++)
    *from = (char)bytes[(uintptr_t)from % 8];
}

/* First byte of [from, to) that is another, or NULL. */
static const char *damage(const char *from, const char *to, uint64_t word) {
  unsigned char bytes[8];
  memcpy(bytes, &word, sizeof bytes);
  for (; from < to; from++) {
    if ((unsigned char)*from != bytes[(uintptr_t)from % 8])
      return from;
  }
  return NULL;
}

void redzone_paint(const pmalloc_pool *pool, const struct cold_chunk *chunk, size_t first,
                   size_t last, size_t slack) {
  char *start = chunk->pages.base + first * PMALLOC_GRANULE;
  char *end = chunk->pages.base + (last + 1) * PMALLOC_GRANULE;
  uint64_t word = canary(pool, start);
  paint(start - PMALLOC_GRANULE, start, word);
  paint(end - slack, end + PMALLOC_GRANULE, word);
}

enum pmalloc_status redzone_check(pmalloc_pool *pool, const struct cold_chunk *chunk, size_t first,
                                  size_t last) {
  if (redzone_granules(pool) == 0)
    return PMALLOC_OK;
  if (first == 0 || last + 1 >= cold_granules(chunk))
    return PMALLOC_ERR_FOREIGN; /* no allocation of ours: the bitmaps are damaged */
  char *start = chunk->pages.base + first * PMALLOC_GRANULE;
  char *end = chunk->pages.base + (last + 1) * PMALLOC_GRANULE;
  uint64_t word = canary(pool, start);
  size_t slack = cold_slack(chunk, last);
  /* In front, the byte next to the allocation is where an underflow begins. */
  const char *found = damage(start - PMALLOC_GRANULE, start, word);
  if (!found)
    found = damage(end - slack, end + PMALLOC_GRANULE, word);
  if (!found)
    return PMALLOC_OK;
  pool->corruption = (struct pmalloc_corruption){
      .what = found < start ? "a redzone was hit: something wrote in front of the allocation"
                            : "a redzone was hit: something wrote over the end of the allocation",
      .allocation = start,
      .size = (size_t)(end - slack - start),
      .offset = found - start,
  };
  return PMALLOC_ERR_CORRUPT;
}

enum pmalloc_status redzone_check_all(pmalloc_pool *pool) {
  if (redzone_granules(pool) == 0 || !pool->cold)
    return PMALLOC_OK;
  for (uint32_t n = 0; n < pool->cold->chunks; n++) {
    const struct cold_chunk *chunk = cold_chunk_at(pool->cold, n);
    size_t at = 0, used = chunk->used;
    while (chunk->kind == PMALLOC_RAW && at < used) {
      size_t first = bitmap_next(chunk->starts, at, used);
      size_t last = first == BITMAP_NONE ? first : bitmap_next(chunk->ends, first, used);
      if (last == BITMAP_NONE)
        break;
      enum pmalloc_status status = redzone_check(pool, chunk, first, last);
      if (status != PMALLOC_OK)
        return status;
      at = last + 1;
    }
  }
  return PMALLOC_OK;
}

int pmalloc_pool_corruption(pmalloc_pool *pool, struct pmalloc_corruption *out) {
  pthread_mutex_lock(&pool->lock);
  *out = pool->corruption;
  pthread_mutex_unlock(&pool->lock);
  return out->what != NULL;
}

enum pmalloc_status pmalloc_pool_check(pmalloc_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  enum pmalloc_status status =
      pool->state == PMALLOC_DESTROYED_STATE ? PMALLOC_ERR_DESTROYED : hardened_walk(pool);
  if (status == PMALLOC_OK)
    status = redzone_check_all(pool);
  pthread_mutex_unlock(&pool->lock);
  return status;
}

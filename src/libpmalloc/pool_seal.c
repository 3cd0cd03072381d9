/* pool_seal: protecting a pool, in its three tiers.
 *
 *                   chunks                       cold metadata        memfd
 *     plain         read-only                    read-only
 *     sealed        read-only, mseal             read-only, mseal
 *     immutable     mapped anew, mseal           read-only, mseal     F_SEAL_WRITE, SHRINK,
 *                                                                     GROW, SEAL
 *
 * All or nothing, so what can be refused comes first, and what can't be undone
 * comes last:
 *
 *     step                                                      undone by
 *     can this kernel seal, is there room for split mappings?   nothing done yet
 *     directory behind the last chunk (immutable)               cutting it off again
 *     chunks mapped read-only (immutable)                       mapping them back
 *     metadata read-only, else all of it                        mprotect
 *     the seals of the memfd (immutable)                        refused while anybody may write
 *     ------------------------ no way back from here --------------------------------------
 *     mseal of every mapping
 *
 * The last step has no reason left to fail but a mapping limit that was not
 * there a moment ago. Then the pool is protected and the same call goes on.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>

#include "hardened.h"
#include "pool_internal.h"
#include "redzone.h"

static const struct pages *nth_chunk(void *of, size_t i) {
  const pmalloc_pool *pool = of;
  if (!pool->cold || i >= pool->cold->chunks)
    return NULL;
  return &cold_chunk_at(pool->cold, (uint32_t)i)->pages;
}

/* All or nothing includes what was closed before. */
static enum pmalloc_status closed_again(pmalloc_pool *pool, uint32_t first,
                                        enum pmalloc_status status) {
  int reason = errno;
  if (status != PMALLOC_OK && pool->state == PMALLOC_OPEN)
    pool_close_again(pool, first);
  errno = reason;
  return status;
}

static const struct pages *nth_slab(void *of, size_t i) {
  const pmalloc_pool *pool = of;
  const struct cold_slab *slab = pool->slabs;
  while (slab && i-- > 0)
    slab = slab->older;
  return slab ? &slab->pages : NULL;
}

/* All mappings of a pool, chunks first: the metadata tells of them until the end. */
static const struct pages *nth_mapping(void *of, size_t i) {
  const pmalloc_pool *pool = of;
  size_t chunks = pool->cold ? pool->cold->chunks : 0;
  return i < chunks ? nth_chunk(of, i) : nth_slab(of, i - chunks);
}

/* That many chunks, the first ones, are read-only before the pool is. */
static uint32_t closed_ones(const pmalloc_pool *pool) {
  if (pool->mode != PMALLOC_MODE_START_WR)
    return pool->closed_below;
  return pool->cold ? pool->cold->chunks : 0;
}

/* All mappings but those: a protect that fails makes what it protected writable again, and what is
 * closed is to be closed all the time. */
static const struct pages *nth_open(void *of, size_t i) {
  return nth_mapping(of, i + closed_ones(of));
}

/* ---- what can't be undone ---- */

static enum pmalloc_status seal(pmalloc_pool *pool, int *begun) {
  int sealed = 0;
  enum pmalloc_status status = PMALLOC_OK;
  if (pool->half == PMALLOC_IMMUTABLE)
    status = pages_settle_all(nth_chunk, pool, &pool->file);
  if (status == PMALLOC_OK)
    status = pages_seal_all(nth_mapping, pool, &sealed);
  if (status == PMALLOC_OK) {
    pool->tier = pool->half;
    pool->half = PMALLOC_PLAIN;
  }
  *begun |= sealed;
  return status;
}

/* A pool whose policy is `off` is in its tier by name. Its file is sealed all the same: what was
 * promised to other processes is kept. */
static enum pmalloc_status settle_for_less(pmalloc_pool *pool) {
  enum pmalloc_status status = PMALLOC_OK;
  if (pool->half == PMALLOC_IMMUTABLE)
    status = pages_file_seal(&pool->file);
  if (status != PMALLOC_OK)
    return status;
  pool->file.makeshift = 0;
  pool->tier = pool->half;
  pool->half = PMALLOC_PLAIN;
  return status;
}

/* Called when every page is read-only. Fails only as long as all can be taken back; later failures
 * leave pool->half set. */
static enum pmalloc_status seal_if_wanted(void *of) {
  pmalloc_pool *pool = of;
  int begun = 0;
  enum pmalloc_status status = PMALLOC_OK;
  if (pool->policy == PMALLOC_OFF)
    return settle_for_less(pool);
  if (pool->half == PMALLOC_PLAIN)
    return PMALLOC_OK;
  if (pool->half == PMALLOC_IMMUTABLE) {
    status = pages_file_seal(&pool->file);
    begun = status == PMALLOC_OK;
  }
  if (status == PMALLOC_OK)
    status = seal(pool, &begun);
  return begun ? PMALLOC_OK : status;
}

static enum pmalloc_status go_on(pmalloc_pool *pool) {
  int begun = 1;
  enum pmalloc_status status = seal(pool, &begun);
  return status == PMALLOC_OK ? status : PMALLOC_ERR_HALF_SEALED;
}

/* ---- what can ---- */

/* What differs between modes is when a pool closes: that is over. */
static enum pmalloc_mode mode_when_protected(enum pmalloc_mode mode) {
  return pmalloc_mode_is_rare(mode) ? PMALLOC_MODE_WR : PMALLOC_MODE_RO;
}

static void set_cold_state(pmalloc_pool *pool, enum pmalloc_state state, enum pmalloc_tier tier) {
  if (!pool->cold)
    return;
  pool->cold->policy = pool_policy_for(pool, tier);
  __atomic_store_n(&pool->cold->mode,
                   state == PMALLOC_PROTECTED ? mode_when_protected(pool->mode) : pool->mode,
                   __ATOMIC_RELAXED);
  __atomic_store_n(&pool->cold->state, state, __ATOMIC_RELAXED);
}

/* Of a pool that is off, nothing is to be made read-only. */
static const struct pages *nothing(void *of, size_t i) {
  (void)of;
  (void)i;
  return NULL;
}

static enum pmalloc_status protect(pmalloc_pool *pool, enum pmalloc_tier tier) {
  enum pmalloc_status status = PMALLOC_OK;
  int off = pool->policy == PMALLOC_OFF;
  if (tier == PMALLOC_SEALED && !off)
    status = pages_can_seal(nth_mapping, pool);
  if (status != PMALLOC_OK)
    return status;
  pool->half = tier;
  set_cold_state(pool, PMALLOC_PROTECTED, tier); /* written first, while it can be */
  status = pages_protect_all(off                         ? nothing
                             : tier == PMALLOC_IMMUTABLE ? nth_slab
                                                         : nth_open,
                             pool, seal_if_wanted);
  if (status != PMALLOC_OK) {
    set_cold_state(pool, PMALLOC_OPEN, PMALLOC_PLAIN);
    pool->half = PMALLOC_PLAIN;
    return closed_again(pool, closed_ones(pool), status);
  }
  pool->state = PMALLOC_PROTECTED;
  pool->mode = mode_when_protected(pool->mode);
  return pool->half == PMALLOC_PLAIN ? PMALLOC_OK : PMALLOC_ERR_HALF_SEALED;
}

static enum pmalloc_status protect_rest(void *of) {
  enum pmalloc_status status = protect(of, PMALLOC_IMMUTABLE);
  return status == PMALLOC_ERR_HALF_SEALED ? PMALLOC_OK : status; /* nothing to be taken back */
}

static enum pmalloc_status make_immutable(pmalloc_pool *pool) {
  size_t end = pool->file.inode ? pool->file.end : pages_page_size();
  int off = pool->policy == PMALLOC_OFF;
  enum pmalloc_status status = off ? PMALLOC_OK : pages_can_seal(nth_mapping, pool);
  if (status == PMALLOC_OK)
    status = share_write_directory(pool);
  if (status == PMALLOC_OK)
    status = pages_close_all(nth_chunk, pool, &pool->file, off, protect_rest);
  if (status != PMALLOC_OK && pool->file.inode)
    pages_file_cut(&pool->file, end);
  (void)closed_again(pool, 0, status); /* all were mapped anew */
  return pool->half == PMALLOC_PLAIN ? status : PMALLOC_ERR_HALF_SEALED;
}

/* ---- the calls ---- */

enum pmalloc_status pmalloc_pool_protect_as(pmalloc_pool *pool, enum pmalloc_tier tier) {
  enum pmalloc_status status;
  if ((unsigned)tier > PMALLOC_IMMUTABLE ||
      (tier == PMALLOC_IMMUTABLE &&
       (pool->backing != PMALLOC_MEMFD || pmalloc_mode_is_rare(pool->mode))))
    return PMALLOC_ERR_INVALID;
  if (tier == PMALLOC_IMMUTABLE)
    pool_lock_to_map(pool); /* an empty pool's memfd is made now */
  else
    pthread_mutex_lock(&pool->lock);
  status = pool->state == PMALLOC_OPEN ? hardened_enter(pool) : PMALLOC_OK;
  struct registry_record *record = /* an empty one may be given one */
      status == PMALLOC_OK ? pool->record : NULL;
  if (record)
    pthread_mutex_lock(&record->rare);
  if (status != PMALLOC_OK)
    (void)0; /* what it says it is may not be followed */
  else if (pool->state == PMALLOC_PROTECTED && pool->half != PMALLOC_PLAIN && pool->half == tier)
    status = go_on(pool);
  else if (pool->state != PMALLOC_OPEN)
    status = pool->state == PMALLOC_PROTECTED ? PMALLOC_ERR_PROTECTED : PMALLOC_ERR_DESTROYED;
  else if (pool->unsettled > 0)
    status = PMALLOC_ERR_UNSETTLED;
  else if ((status = hardened_walk(pool)) != PMALLOC_OK ||
           (status = redzone_check_all(pool)) != PMALLOC_OK)
    (void)0; /* open as before */
  else if (tier == PMALLOC_IMMUTABLE)
    status = pool->inherited ? PMALLOC_ERR_FORKED : make_immutable(pool);
  else
    status = protect(pool, tier);
  if (record)
    pthread_mutex_unlock(&record->rare);
  pthread_mutex_unlock(&pool->lock);
  return status;
}

enum pmalloc_status pmalloc_pool_protect(pmalloc_pool *pool) {
  return pmalloc_pool_protect_as(pool, PMALLOC_PLAIN);
}

enum pmalloc_status pmalloc_pool_fileno(pmalloc_pool *pool, int *fd) {
  enum pmalloc_status status = PMALLOC_ERR_INVALID;
  pthread_mutex_lock(&pool->lock);
  if (pool->tier == PMALLOC_IMMUTABLE) {
    *fd = pool->file.fd;
    status = pages_file_check(&pool->file) == 0 ? PMALLOC_OK : PMALLOC_ERR_SYSTEM;
  }
  pthread_mutex_unlock(&pool->lock);
  return status;
}

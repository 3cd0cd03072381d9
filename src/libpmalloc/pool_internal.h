/* pool_internal: the hot half of a pool, and what its rooms offer one another.
 *
 *    pool     life: create, protect, destroy; the list of pools; fork
 *    chunk    mapping one more chunk, or taking that back
 *    cold     the metadata that becomes read-only
 *    alloc    raw allocations      blocks   the free ones among them
 *    region   regions of objects   root     the root and its check word
 *    pool_seal  protect, in its three tiers    pool_policy  what follows a violation
 *    pool_mode  chunks that close by themselves; from write-rare to read-only
 *    redzone  canaries around allocations   hardened  links are checked
 *    share    what another process needs to find allocations in a memfd
 *    section  pools whose memory is a section of a loaded object
 *
 * Nothing here is trusted by whoever answers a fault.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_POOL_INTERNAL_H
#define PMALLOC_POOL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "blocks.h"
#include "cold.h"
#include "links.h"
#include "pool.h"
#include "registry_internal.h"

#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define POOL_KNOWS_THREADS
#endif
#endif

/* How to take the newest region back. */
struct region_undo {
  int pending;
  int made_chunk; /* the chunk was mapped for it */
  int converted;  /* the chunk was an unused raw one */
  struct cold_chunk *chunk;
  struct cold_chunk *current; /* objects_current before */
  size_t used;                /* of the chunk, before and after */
  size_t used_after;
  size_t next_bytes;
  struct cold_mark mark;
};

struct pmalloc_pool {
  const struct pmalloc_pool *self; /* tells a handle from any other pointer */
  pthread_mutex_t lock;
  struct link newer, older; /* in the list of pools; under its lock */
  atomic_int mapped;        /* may have mappings; set under the list lock */
  enum pmalloc_state state;
  uintptr_t id;
  size_t chunk_size; /* 0: growing */
  enum pmalloc_backing backing;
  unsigned flags;             /* enum pmalloc_option_flags */
  enum pmalloc_policy policy; /* as it was chosen; what became of it is in the cold metadata */
  enum pmalloc_mode mode;     /* as it was chosen, too */
  uint32_t closed_below;      /* every chunk before that one is closed */
  struct pages_file file;
  uint64_t life; /* of the process that made it: see pages_life(); 0 where nobody asks */
  enum pmalloc_tier tier;
  enum pmalloc_tier half; /* what a seal that stopped half-way was to become; PLAIN: none did */
  int inherited;          /* it was open when the maker of this process forked, and is shared */

  struct registry_record *record;
  struct cold *cold;
  struct cold_slab *slabs; /* newest */
  size_t cold_bytes;       /* of all slabs, resident or not */
  uint32_t retired;        /* chunks that destroy has already given back */

  struct cold_chunk *raw_current, *objects_current; /* where the next bytes come from */
  size_t next_bytes[2];                             /* size of the next chunk, by kind */
  struct link *freed; /* by chunk, a bitmap: the allocation that began at granule i was freed */
  uint32_t freed_capacity;
  int any_freed; /* a bit was set there, ever */
  struct blocks blocks;
  size_t freed_since_scan; /* granules */

  size_t reserved_bytes, used_bytes, allocations, objects;
  size_t hot_bytes; /* of heap memory behind this struct */
  uint32_t open_regions;
  size_t unsettled; /* objects that are still written by who knows of no pools */
  struct region_undo undo;
  struct pmalloc_corruption corruption; /* the latest */
  uint32_t chunks;                      /* hardened: as many as there were, ... */
  uint64_t hot_word;                    /* ... and the digest of the pointers above */
  char name[];
};

/* Takes the pool's lock, for what may map its first page: fork() must know. */
void pool_lock_first(pmalloc_pool *pool);
static inline void pool_lock_to_map(pmalloc_pool *pool) {
  if (atomic_load_explicit(&pool->mapped, memory_order_acquire))
    pthread_mutex_lock(&pool->lock);
  else
    pool_lock_first(pool);
}

/* The same where it is most of what a call costs: while there is one thread only, which libc
 * says where it can, there is nobody to lock out. Answers whether it took the lock. */
static inline int pool_lock_quick(pmalloc_pool *pool) {
#ifdef POOL_KNOWS_THREADS
  if (__libc_single_threaded && atomic_load_explicit(&pool->mapped, memory_order_relaxed))
    return 0;
#endif
  pool_lock_to_map(pool);
  return 1;
}

/* Why nothing may be put into the pool; PMALLOC_OK where something may. Under its lock. */
static inline enum pmalloc_status pool_is_open(const pmalloc_pool *pool) {
  if (pool->state != PMALLOC_OPEN)
    return pool->state == PMALLOC_PROTECTED ? PMALLOC_ERR_PROTECTED : PMALLOC_ERR_DESTROYED;
  return pool->inherited ? PMALLOC_ERR_FORKED : PMALLOC_OK;
}

/* How its mappings are made: without guards where nothing of it is protected. */
static inline unsigned pool_bare(const pmalloc_pool *pool) {
  return pool->policy == PMALLOC_OFF ? PAGES_BARE : 0U;
}

/* Nobody writes the pool's protected memory, or ends it, from here to the unlock. After the pool's
 * own lock; the pool has metadata. */
static inline void pool_lock_rare(const pmalloc_pool *pool) {
  if (pool->record)
    pthread_mutex_lock(&pool->record->rare);
}
static inline void pool_unlock_rare(const pmalloc_pool *pool) {
  if (pool->record)
    pthread_mutex_unlock(&pool->record->rare);
}

/* pool_mode: whether a chunk that is full becomes read-only at once. */
static inline int pool_closes_itself(const pmalloc_pool *pool) {
  return pool->mode == PMALLOC_MODE_AUTO_RO || pool->mode == PMALLOC_MODE_AUTO_WR;
}

/* Makes a chunk read-only before its pool is. */
enum pmalloc_status pool_close_chunk(pmalloc_pool *pool, struct cold_chunk *chunk);

/* Closes the chunks of a pool that closes itself, as far as nobody fills them any more. One that
 * the kernel refuses stays open until the next time. */
void pool_close_full(pmalloc_pool *pool);

/* Makes the chunks that were closed read-only again, from the n-th on, after they were made
 * writable by a protect that failed. */
void pool_close_again(pmalloc_pool *pool, uint32_t first);

/* What becomes of the pool's policy in a tier: see pool_policy.c. */
enum pmalloc_policy pool_policy_for(const pmalloc_pool *pool, enum pmalloc_tier tier);

/* The policy of a pool that is created with this one: the process's word counts where the pool has
 * none, and where it is `off`. */
enum pmalloc_policy pool_policy_chosen(enum pmalloc_policy wanted);

/* Reads PMALLOC_RODATA; once, from within pool_environment(), which reads all that the environment
 * says. */
void pool_policy_read(int ignored);
void pool_environment(void);

/* Writes the directory of the pool's allocations behind the last chunk of its memfd, for other
 * processes; makes the memfd where there is none yet. */
enum pmalloc_status share_write_directory(pmalloc_pool *pool);

/* The lock of the list of pools. */
void pools_lock(void);
void pools_unlock(void);
pmalloc_pool *pools_newest(void);
pmalloc_pool *pools_older(const pmalloc_pool *pool);

/* Whether a link between pools was found overwritten: then the list ends there. */
int pools_damaged(void);

/* What was freed in a chunk. */
static inline uint64_t *pool_freed(const pmalloc_pool *pool, uint32_t chunk) {
  return pool->freed[chunk].to;
}

/* Where the newest pool is kept, for the beacon. */
extern void *const *const pools_head;

/* A number no pool of this process has or will have. Takes that lock. */
uintptr_t pools_new_id(void);

/* Maps a chunk of at least `need` bytes. On failure the pool is as before. */
enum pmalloc_status chunk_new(pmalloc_pool *pool, enum pmalloc_kind kind, size_t need,
                              struct cold_chunk **out);

/* Makes pages that are somebody else's, a section of a loaded object, the chunk of a pool. On
 * failure the pool is as before. The symbols are copied. */
enum pmalloc_status chunk_adopt(pmalloc_pool *pool, const struct pages *p,
                                const struct cold_symbols *symbols, size_t symbols_bytes);

/* The end of such a pool: nothing of it is known any more, its handle is freed, and its pages are
 * as they were. */
void pool_disown(pmalloc_pool *pool);

/* Takes back the newest chunk, and the metadata made since the mark. 0 where
 * the kernel would not: then the chunk stays. */
int chunk_undo(pmalloc_pool *pool, struct cold_chunk *chunk, struct cold_mark mark);

/* The pool's chunk that holds the address, or NULL. */
struct cold_chunk *chunk_of(const pmalloc_pool *pool, const void *address);

#endif

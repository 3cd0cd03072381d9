/* cold: the metadata of a pool that becomes read-only with it.
 *
 * It lies in slabs, guarded mappings of their own, each as large as all before
 * it together: a pool of thousands of chunks has a dozen slabs, and protecting
 * them costs a dozen calls.
 *
 *   slab 0            slab 1                 slab 2
 *   +------------+    +------------+         +------------------------+
 *   | slab       |<---| slab       |<--------| slab                   |<-- pool
 *   | cold       |    | bitmaps of |         | bitmaps of chunks 9-31 |
 *   | chunks 0-3 |    | chunks 2-8 |         | chunks 12-27 ...       |
 *   | bitmaps    |    | ...        |         |                        |
 *   +------------+    +------------+         +------------------------+
 *
 * Chunk descriptors lie in segments of 4, 8, 16, ...: they never move, so the
 * registry may point at them, and the n-th is found without a search.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_COLD_H
#define PMALLOC_COLD_H

#include <stddef.h>
#include <stdint.h>

#include "pages.h"
#include "pool.h"

#define COLD_MAGIC UINT64_C(0x636f6c64706d616c)
#define COLD_SEGMENTS 30
#define COLD_FIRST_SEGMENT 4

struct registry_record;

/* The variables of a section, sorted by address; none lies within another. */
struct cold_symbols {
  uint32_t count;
  uint32_t complete; /* what lies between them is nobody's; else it is what nobody has a name for */
  struct cold_symbol {
    uint32_t offset, size; /* bytes, from the start of the section */
    uint32_t name;         /* bytes from the start of this table to the NUL-terminated name */
  } of[];                  /* the names follow */
};

struct cold_chunk {
  struct pages pages;
  uint32_t index;
  uint32_t kind;    /* enum pmalloc_kind; may change while nothing is in the chunk */
  uint32_t closed;  /* read-only before the pool is: see pool_mode.c */
  size_t used;      /* granules handed out from the front, holes included */
  uint64_t *starts; /* bit i: granule i begins an allocation or object */
  uint64_t *ends;   /* raw chunks: bit i: granule i is the last of an allocation */
  uint8_t *slack;   /* raw chunks: a nibble per granule, unused bytes in a last granule */
  struct cold_symbols *symbols; /* static data: in place of bitmaps */
  size_t symbols_bytes;
};

struct cold {
  uint64_t magic;
  uintptr_t id;
  uint32_t state;  /* enum pmalloc_state, OPEN or PROTECTED */
  uint32_t policy; /* enum pmalloc_policy: what follows a violation, once it is protected */
  uint32_t mode;   /* enum pmalloc_mode; after protect RO or WR */
  uint32_t chunks;
  uintptr_t root;
  uint64_t root_check; /* keyed digest of this address, id, name and root; 0: no root */
  struct cold_chunk *segment[COLD_SEGMENTS];
  char name[PMALLOC_NAME_MAX + 1];
};

struct cold_slab {
  struct pages pages;
  struct cold_slab *older;
  size_t used; /* bytes, this header included */
};

/* Where the cold metadata stood, to go back to. */
struct cold_mark {
  struct cold_slab *newest;
  size_t used;
};

/* Lookups read these without the pool's lock. */
static inline size_t cold_used(const struct cold_chunk *chunk) {
  return __atomic_load_n(&chunk->used, __ATOMIC_RELAXED);
}

static inline void cold_set_used(struct cold_chunk *chunk, size_t used) {
  __atomic_store_n(&chunk->used, used, __ATOMIC_RELAXED);
}

static inline enum pmalloc_kind cold_kind(const struct cold_chunk *chunk) {
  return (enum pmalloc_kind)__atomic_load_n(&chunk->kind, __ATOMIC_RELAXED);
}

static inline void cold_set_kind(struct cold_chunk *chunk, enum pmalloc_kind kind) {
  __atomic_store_n(&chunk->kind, kind, __ATOMIC_RELAXED);
}

static inline int cold_closed(const struct cold_chunk *chunk) {
  return __atomic_load_n(&chunk->closed, __ATOMIC_RELAXED) != 0;
}

static inline enum pmalloc_mode cold_mode(const struct cold *cold) {
  return (enum pmalloc_mode)__atomic_load_n(&cold->mode, __ATOMIC_RELAXED);
}

static inline size_t cold_slack(const struct cold_chunk *chunk, size_t last) {
  unsigned pair = __atomic_load_n(&chunk->slack[last / 2], __ATOMIC_RELAXED);
  return pair >> (last % 2 * 4) & 15;
}

static inline void cold_set_slack(struct cold_chunk *chunk, size_t last, size_t slack) {
  unsigned shift = last % 2 * 4;
  unsigned pair = chunk->slack[last / 2] & ~(15U << shift);
  __atomic_store_n(&chunk->slack[last / 2], (uint8_t)(pair | (unsigned)slack << shift),
                   __ATOMIC_RELAXED);
}

/* Bytes of a chunk's granule: its kind tells. */
static inline size_t cold_granule(const struct cold_chunk *chunk) {
  return cold_kind(chunk) == PMALLOC_RAW ? PMALLOC_GRANULE : PMALLOC_OBJECT_GRANULE;
}

static inline size_t cold_granules(const struct cold_chunk *chunk) {
  return chunk->pages.size / cold_granule(chunk);
}

/* Makes the first slab of a pool that has none, with room for `more` bytes. */
enum pmalloc_status cold_open(pmalloc_pool *pool, size_t more);

/* Makes the descriptor of one more chunk, with bitmaps for `bytes` of it (static data: with a table
 * of so many bytes); it counts, and its pages must be filled in, only after cold_chunk_publish().
 */
enum pmalloc_status cold_chunk_new(pmalloc_pool *pool, enum pmalloc_kind kind, size_t bytes,
                                   struct cold_chunk **out);
void cold_chunk_publish(pmalloc_pool *pool);

/* The n-th chunk; n must be below cold->chunks. */
struct cold_chunk *cold_chunk_at(const struct cold *cold, uint32_t n);

/* The same of a pool, where the way there leads through its own metadata; else NULL. */
struct cold_chunk *cold_chunk_checked(const pmalloc_pool *pool, uint32_t n);

/* How far the metadata reaches now; for cold_rollback(). */
struct cold_mark cold_mark(const pmalloc_pool *pool);

/* Gives back everything made since the mark. What was carved must be zero
 * again but for the descriptor of the chunk numbered cold->chunks. */
void cold_rollback(pmalloc_pool *pool, struct cold_mark mark);

/* Gives all of it back, for a pool that ends and whose metadata nobody can hold an address of. */
void cold_discard(pmalloc_pool *pool);

#endif

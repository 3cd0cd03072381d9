/* blocks: the free blocks of a pool, by size.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_BLOCKS_H
#define PMALLOC_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#define BLOCKS_EXACT 64 /* bins for 1 .. 64 granules */
#define BLOCKS_BINS 122 /* then one for each power of two */

struct block {
  size_t granule, count;
  uint32_t chunk;
  uint32_t next; /* number of the next block of its bin, plus one; 0: last */
};

struct blocks {
  struct block *all;
  uint32_t *heads; /* by bin: number of its first block, plus one */
  uint32_t made, capacity;
  uint32_t spare; /* block records to use again */
  uint64_t filled[2];
  int damaged; /* a number was found that no record has; the rest of that bin was forgotten */
};

/* Remembers a free block. Without memory for a record it is forgotten: a later
 * scan of the bitmaps finds it. Answers the bytes of heap that were added. */
size_t blocks_push(struct blocks *blocks, uint32_t chunk, size_t granule, size_t count);

/* Whether there is surely no block. */
static inline int blocks_are_none(const struct blocks *blocks) {
  return (blocks->filled[0] | blocks->filled[1]) == 0;
}

/* Takes out some block of at least `count` granules. */
int blocks_take(struct blocks *blocks, size_t count, struct block *out);

/* Forgets all blocks; keeps the memory. */
void blocks_clear(struct blocks *blocks);

/* Gives the memory back, too. */
void blocks_release(struct blocks *blocks);

#endif

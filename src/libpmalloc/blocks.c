/* blocks: segregated bins of free blocks.
 *
 *   bin    0    1   ...  63     64       65         66
 *   holds  1    2   ...  64   65-127   128-255   256-511 ...   granules
 *          |    |         |     |
 *          v    v         v     v
 *        block block    block block      records in an array of their own,
 *          |                    |        linked by number
 *          v                    v
 *        block                block
 *
 * No link lies in the free memory itself: what an overflow can reach must not
 * steer the allocator. Records may still be rewritten by an attacker, so every
 * number is checked before it is followed, and the caller checks a block against
 * the bitmaps before it hands it out.
 *
 * Any block of a higher bin is large enough; only in the bin of the request
 * itself a few must be tried.
 *
 * SPDX-License-Identifier: MIT
 */
#include "blocks.h"

#include <stdlib.h>
#include <string.h>

#define TRIES 32

static unsigned bin_of(size_t count) {
  if (count <= BLOCKS_EXACT)
    return (unsigned)count - 1;
  return BLOCKS_EXACT + 63 - (unsigned)__builtin_clzll(count) - 6;
}

static void mark(struct blocks *blocks, unsigned bin) {
  blocks->filled[bin / 64] |= (uint64_t)1 << (bin % 64);
}

static void unmark(struct blocks *blocks, unsigned bin) {
  blocks->filled[bin / 64] &= ~((uint64_t)1 << (bin % 64));
}

static int grow(struct blocks *blocks) {
  uint32_t capacity = blocks->capacity ? blocks->capacity * 2 : 16;
  if (capacity < blocks->capacity)
    return -1;
  if (!blocks->heads) {
    blocks->heads = calloc(BLOCKS_BINS, sizeof *blocks->heads);
    if (!blocks->heads)
      return -1;
  }
  struct block *all = realloc(blocks->all, capacity * sizeof *all);
  if (!all)
    return -1;
  blocks->all = all;
  blocks->capacity = capacity;
  return 0;
}

size_t blocks_push(struct blocks *blocks, uint32_t chunk, size_t granule, size_t count) {
  size_t added = 0;
  uint32_t number = blocks->spare;
  if (count == 0)
    return 0;
  if (number && number <= blocks->made && number <= blocks->capacity) {
    blocks->spare = blocks->all[number - 1].next;
  } else {
    if (blocks->made >= blocks->capacity) {
      uint32_t before = blocks->capacity;
      if (grow(blocks) != 0)
        return 0;
      added = (blocks->capacity - before) * sizeof(struct block);
      if (before == 0)
        added += BLOCKS_BINS * sizeof *blocks->heads;
    }
    number = ++blocks->made;
  }
  unsigned bin = bin_of(count);
  blocks->all[number - 1] = (struct block){granule, count, chunk, blocks->heads[bin]};
  blocks->heads[bin] = number;
  mark(blocks, bin);
  return added;
}

/* Looks through a bin for a block that is large enough. */
static int take_from(struct blocks *blocks, unsigned bin, size_t count, int tries,
                     struct block *out) {
  uint32_t *link = &blocks->heads[bin];
  while (*link != 0 && tries-- > 0) {
    uint32_t number = *link;
    if (number > blocks->made || number > blocks->capacity) { /* no link of ours: drop the rest */
      *link = 0;
      blocks->damaged = 1;
      break;
    }
    struct block *block = &blocks->all[number - 1];
    if (block->count >= count) {
      *out = *block;
      *link = block->next;
      block->next = blocks->spare;
      blocks->spare = number;
      if (blocks->heads[bin] == 0)
        unmark(blocks, bin);
      return 1;
    }
    link = &block->next;
  }
  if (blocks->heads[bin] == 0)
    unmark(blocks, bin);
  return 0;
}

int blocks_take(struct blocks *blocks, size_t count, struct block *out) {
  if (!blocks->heads)
    return 0;
  unsigned bin = bin_of(count);
  if (blocks->filled[bin / 64] >> (bin % 64) & 1 && take_from(blocks, bin, count, TRIES, out))
    return 1;
  for (bin++; bin < BLOCKS_BINS; bin++) {
    uint64_t rest = blocks->filled[bin / 64] >> (bin % 64);
    if (rest == 0) {
      bin |= 63;
      continue;
    }
    bin += (unsigned)__builtin_ctzll(rest);
    if (bin < BLOCKS_BINS && take_from(blocks, bin, count, 1, out))
      return 1;
  }
  return 0;
}

void blocks_clear(struct blocks *blocks) {
  if (blocks->heads)
    memset(blocks->heads, 0, BLOCKS_BINS * sizeof *blocks->heads);
  blocks->filled[0] = blocks->filled[1] = 0;
  blocks->made = blocks->spare = 0;
}

void blocks_release(struct blocks *blocks) {
  free(blocks->all);
  free(blocks->heads);
  memset(blocks, 0, sizeof *blocks);
}

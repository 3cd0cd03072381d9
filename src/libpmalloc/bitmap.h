/* bitmap: runs of bits in arrays of 64-bit words.
 *
 * Readers may run in a signal handler while another thread sets a bit, so every
 * word is loaded and stored whole; nothing more is promised about order.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_BITMAP_H
#define PMALLOC_BITMAP_H

#include <stddef.h>
#include <stdint.h>

#define BITMAP_NONE SIZE_MAX

static inline size_t bitmap_bytes(size_t bits) { return (bits + 63) / 64 * 8; }

static inline uint64_t bitmap_word(const uint64_t *map, size_t word) {
  return __atomic_load_n(&map[word], __ATOMIC_RELAXED);
}

static inline int bitmap_test(const uint64_t *map, size_t bit) {
  return (int)(bitmap_word(map, bit / 64) >> (bit % 64) & 1);
}

static inline void bitmap_set(uint64_t *map, size_t bit) {
  __atomic_store_n(&map[bit / 64], map[bit / 64] | (uint64_t)1 << (bit % 64), __ATOMIC_RELAXED);
}

static inline void bitmap_clear(uint64_t *map, size_t bit) {
  __atomic_store_n(&map[bit / 64], map[bit / 64] & ~((uint64_t)1 << (bit % 64)), __ATOMIC_RELAXED);
}

/* The bits of `word` that belong to [from, to). */
static inline uint64_t bitmap_mask(size_t word, size_t from, size_t to) {
  uint64_t mask = ~(uint64_t)0;
  if (word == from / 64)
    mask &= ~(uint64_t)0 << (from % 64);
  if (word == to / 64)
    mask &= ((uint64_t)1 << (to % 64)) - 1;
  return mask;
}

/* First set bit of [from, to), or BITMAP_NONE. */
static inline size_t bitmap_next(const uint64_t *map, size_t from, size_t to) {
  if (from >= to)
    return BITMAP_NONE;
  for (size_t word = from / 64; word <= (to - 1) / 64; word++) {
    uint64_t bits = bitmap_word(map, word) & bitmap_mask(word, from, to);
    if (bits)
      return word * 64 + (size_t)__builtin_ctzll(bits);
  }
  return BITMAP_NONE;
}

/* How many bits of [0, to) are set. */
static inline size_t bitmap_count(const uint64_t *map, size_t to) {
  size_t n = 0;
  for (size_t word = 0; word * 64 < to; word++)
    n += (size_t)__builtin_popcountll(bitmap_word(map, word) & bitmap_mask(word, 0, to));
  return n;
}

/* Last set bit of [0, upto], or BITMAP_NONE. */
static inline size_t bitmap_previous(const uint64_t *map, size_t upto) {
  size_t word = upto / 64;
  uint64_t bits = bitmap_word(map, word) & (~(uint64_t)0 >> (63 - upto % 64));
  while (bits == 0) {
    if (word == 0)
      return BITMAP_NONE;
    bits = bitmap_word(map, --word);
  }
  return word * 64 + 63 - (size_t)__builtin_clzll(bits);
}

/* Clears [from, to); words without a set bit are not written, so that pages
 * that were never touched stay so. */
static inline void bitmap_clear_range(uint64_t *map, size_t from, size_t to) {
  if (from >= to)
    return;
  for (size_t word = from / 64; word <= (to - 1) / 64; word++) {
    uint64_t mask = bitmap_mask(word, from, to);
    if (map[word] & mask)
      __atomic_store_n(&map[word], map[word] & ~mask, __ATOMIC_RELAXED);
  }
}

#endif

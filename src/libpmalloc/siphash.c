/* siphash: SipHash-2-4, after the paper by Aumasson and Bernstein (2012).
 *
 *   v0 v1 v2 v3 = key ^ constants
 *   each 8 bytes:  v3 ^= m;  2 rounds;  v0 ^= m
 *   end:           v2 ^= 255;  4 rounds;  v0 ^ v1 ^ v2 ^ v3
 *
 * Short inputs, a secret key, an attacker who sees neither: what it was made for.
 *
 * SPDX-License-Identifier: MIT
 */
#include "siphash.h"

#include <string.h>

static uint64_t little(const unsigned char *bytes, size_t n) {
  uint64_t word = 0;
  for (size_t i = 0; i < n; i++)
    word |= (uint64_t)bytes[i] << (8 * i);
  return word;
}

static uint64_t rotate(uint64_t x, unsigned by) { return x << by | x >> (64 - by); }

static void rounds(uint64_t v[4], int n) {
  while (n-- > 0) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
  }
}

uint64_t siphash24(const unsigned char key[16], const void *data, size_t n) {
  const unsigned char *bytes = data;
  uint64_t k0 = little(key, 8), k1 = little(key + 8, 8);
  uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                   k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
  size_t left = n;
  for (; left >= 8; left -= 8, bytes += 8) {
    uint64_t word = little(bytes, 8);
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
  }
  uint64_t last = little(bytes, left) | (uint64_t)(n & 255) << 56;
  v[3] ^= last;
  rounds(v, 2);
  v[0] ^= last;
  v[2] ^= 255;
  rounds(v, 4);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

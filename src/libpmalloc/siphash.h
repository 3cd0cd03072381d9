/* siphash: a keyed digest of 64 bits.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_SIPHASH_H
#define PMALLOC_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 of n bytes under a key of 16 bytes. */
uint64_t siphash24(const unsigned char key[16], const void *data, size_t n);

#endif

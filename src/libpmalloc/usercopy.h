/* usercopy: may these bytes be copied?
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_USERCOPY_H
#define PMALLOC_USERCOPY_H

#include <stddef.h>

enum pmalloc_bounds {
  PMALLOC_BOUNDS_NOT_OURS, /* no byte of it is known to be a pool's: nothing is said about it */
  PMALLOC_BOUNDS_GOOD,     /* within one live allocation, or within one frozen object */
  PMALLOC_BOUNDS_BAD       /* over an end, or in free space, a guard page, metadata, a dead pool */
};

/* Says of `n` bytes at `p` whether they are one thing of a pool. No bytes at all are good wherever
 * a pool has data. Takes no lock, and no memory; as long for any n. Async-signal-safe.
 * Idea: check_object_size() of Linux' hardened usercopy (2016), after PaX. */
enum pmalloc_bounds pmalloc_check_object_size(const void *p, size_t n);

#endif

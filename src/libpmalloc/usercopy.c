/* usercopy: the bounds of what lies at an address.
 *
 *     guard |  free  |aaaaaaaaaaaaa...|bbbbbbbbb|   free    | guard
 *                     good
 *                        good
 *                             bad: over the end of a
 *                bad                   bad           bad      bad
 *  bad (runs into the pool)
 *
 * An overflow that is found before it copies is a value; after, it is a crash
 * or a leak. The registry knows the chunk of an address, the chunk's bitmaps
 * know where the allocation or the object under it begins and ends: two look-ups
 * and two walks along a bitmap, whose length the chunk bounds, not n.
 *
 * Looked up are the first byte and, where that is nobody's, the last: a span
 * that begins and ends outside, and has a whole pool in between, is taken for not
 * ours. Copying it would run into a guard page.
 *
 * An allocation freed in a protected pool keeps its bytes and its bounds: good.
 *
 * SPDX-License-Identifier: MIT
 */
#include "usercopy.h"

#include <stdint.h>

enum pmalloc_bounds usercopy_judge(const struct pmalloc_where *where, uintptr_t first, size_t n) {
  if (where->place != PMALLOC_DATA)
    return PMALLOC_BOUNDS_BAD;
  if (n == 0)
    return PMALLOC_BOUNDS_GOOD;
  if (where->object_start == 0 || first < where->object_start || first >= where->object_end)
    return PMALLOC_BOUNDS_BAD;
  return n <= where->object_end - first ? PMALLOC_BOUNDS_GOOD : PMALLOC_BOUNDS_BAD;
}

enum pmalloc_bounds pmalloc_check_object_size(const void *address, size_t n) {
  struct pmalloc_where where;
  uintptr_t first = (uintptr_t)address;
  if (n > UINTPTR_MAX - first)
    return PMALLOC_BOUNDS_BAD; /* around the end of memory */
  if (pmalloc_registry_find(first, &where))
    return usercopy_judge(&where, first, n);
  return n > 1 && pmalloc_registry_find(first + n - 1, &where) ? PMALLOC_BOUNDS_BAD
                                                               : PMALLOC_BOUNDS_NOT_OURS;
}

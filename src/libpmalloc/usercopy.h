/* usercopy: may these bytes be copied?
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_USERCOPY_H
#define PMALLOC_USERCOPY_H

#include "registry.h"
#include "status.h"

/* What pmalloc_check_object_size() says of n bytes from `first` on, where that was looked up
 * already and is a pool's. */
enum pmalloc_bounds usercopy_judge(const struct pmalloc_where *where, uintptr_t first, size_t n);

#endif

/* api: what the files of the public functions need of each other.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_API_INTERNAL_H
#define PMALLOC_API_INTERNAL_H

#include <stdint.h>

#include "fault_origin.h"
#include "status.h"

/* Where a call of these functions returns to. */
#define CALLER ((uintptr_t)__builtin_return_address(0))

/* For the report: who did it, as it names an instruction, and when. */
void api_note(uintptr_t pool_id, enum pmalloc_event event, uintptr_t caller);

/* Protects a pool, or seals it, for a caller. */
enum pmalloc_status api_protect_as(struct pmalloc_pool *pool, enum pmalloc_tier tier,
                                   uintptr_t caller);

#endif

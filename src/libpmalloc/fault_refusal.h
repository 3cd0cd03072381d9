/* fault_refusal: the words about a rare write that was refused, written to stderr.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_REFUSAL_H
#define PMALLOC_FAULT_REFUSAL_H

#include "rare_write.h"

/* `caller` is where the call that was refused returns to. */
void pmalloc_refusal_report(const struct pmalloc_refusal *refusal, uintptr_t caller);

#endif

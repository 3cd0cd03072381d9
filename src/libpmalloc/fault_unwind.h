/* fault_unwind: the native stack of an interrupted thread.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_UNWIND_H
#define PMALLOC_FAULT_UNWIND_H

#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#define PMALLOC_FRAMES 48

struct pmalloc_stack {
  size_t depth;
  const char *end;              /* why there are no more: a constant; NULL: the stack ends */
  uintptr_t pc[PMALLOC_FRAMES]; /* innermost first; [0] is the instruction, others are where
                                   calls will return to */
  uint64_t exact;               /* bit n: pc[n] is no return address, but where a signal came */
};

/* Walks the stack that was interrupted. Reads any memory, alters none. Async-signal-safe. */
void pmalloc_unwind(const ucontext_t *uc, struct pmalloc_stack *out);

#endif

/* fault_refcount: lets old extensions count references of frozen objects.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_REFCOUNT_H
#define PMALLOC_FAULT_REFCOUNT_H

#include <stdint.h>
#include <ucontext.h>

/* 1 when the interrupted instruction adds one to or takes one from the word at
 * `address`, which the caller knows to be the start of a frozen object: then the
 * context has been moved past it, and no byte of memory was altered. 0 when it
 * does anything else: then the context is as it was. Async-signal-safe. */
int pmalloc_refcount_skip(uintptr_t address, ucontext_t *uc);

/* Names the library that `pc` lies in on stderr, the first time it is seen. */
void pmalloc_refcount_warn(uintptr_t pc);

#endif

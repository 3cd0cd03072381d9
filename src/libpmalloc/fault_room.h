/* fault_room: room for a report where the alternate signal stack has none.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_ROOM_H
#define PMALLOC_FAULT_ROOM_H

#include <ucontext.h>

/* Runs work(argument), in the handler that got `uc`: here, or, where less than 64 KiB are left of
 * an alternate stack, on the stack that the signal interrupted. Async-signal-safe, if `work` is. */
void pmalloc_fault_with_room(const ucontext_t *uc, void (*work)(void *), void *argument);

#endif

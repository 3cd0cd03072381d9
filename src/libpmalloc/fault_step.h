/* fault_step: runs one instruction with a page open.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_STEP_H
#define PMALLOC_FAULT_STEP_H

#include <stdint.h>
#include <ucontext.h>

#include "fault_log.h"
#include "fault_turn.h"

/* Installs the SIGTRAP handler and tries it. 0, or -1 where this machine cannot: not x86-64, an
 * emulator, a debugger. Not in a handler. */
int pmalloc_step_ready(void);

/* Opens the page of the address and lets the interrupted instruction run once; when it has, the
 * page is shut, the write is whole and the turn is given on. While it runs: one more page. 1, or 0
 * where nothing was done. The caller has the turn. Async-signal-safe. */
int pmalloc_step_start(uintptr_t address, ucontext_t *uc, struct pmalloc_log_write *write);

/* Takes the turn. Where it is found that a step will never end, since its thread was robbed of the
 * turn or left the instruction by a long jump, its pages are shut. `uc`: where this thread was
 * interrupted, NULL where it was not. KEPT: this thread has the turn already, and if a step is on,
 * it is the same instruction that needs another page. Async-signal-safe. */
enum pmalloc_turn pmalloc_step_take_turn(const ucontext_t *uc);

/* Whether whoever has the turn is at an instruction. */
int pmalloc_step_is_on(void);

/* Ends it before its time: pages are shut, and the context is as if it had not begun. NULL: the
 * instruction was another thread's, which is no more. Async-signal-safe. */
void pmalloc_step_abort(ucontext_t *uc);

#endif

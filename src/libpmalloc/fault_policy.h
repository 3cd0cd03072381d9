/* fault_policy: what is done about a violation that need not be the end.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_POLICY_H
#define PMALLOC_FAULT_POLICY_H

#include <ucontext.h>

#include "fault_log.h"
#include "fault_report.h"

/* Does what the pool's policy says. 1: the thread may go on with what is in the context now, and
 * the turn was passed on, or is kept until an instruction is done. 0: there is nothing but `oops`;
 * nothing was altered. The caller has the turn. Async-signal-safe. */
int pmalloc_policy_answer(struct pmalloc_violation *v, ucontext_t *uc);

/* What the layers above want to be asked and told; either may be NULL. */
void pmalloc_policy_use(uintptr_t (*line)(void), void (*notify)(void));

/* `audit`: performs the store, or has it performed. 1, or 0 where nothing was done. */
int pmalloc_audit(const struct pmalloc_violation *v, ucontext_t *uc,
                  struct pmalloc_log_writer *writer);

/* A place in the log for this write, with the bytes that are there before it filled in; or NULL,
 * which is counted. */
struct pmalloc_log_write *pmalloc_audit_begin(const struct pmalloc_violation *v,
                                              const struct pmalloc_log_writer *writer);
/* The write took place: the bytes that are there now are filled in. NULL: nothing. */
void pmalloc_audit_end(struct pmalloc_log_write *write);

#endif

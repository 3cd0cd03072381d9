/* staging: one thread at a time edits copies of a pool's memory.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_STAGING_H
#define PM_STAGING_H

#include "cpython_layout.h"

struct pm_stager;

/* One target that is being edited. All zero: none. */
typedef struct pm_stage {
  struct pm_stager *pool; /* NULL: not entered, or left */
  struct pm_stage *next;  /* of the same pool */
  uintptr_t start, end;
} pm_stage;

/* Waits until no other thread edits anything of that pool; a signal's handler may end that. Returns
 * 0; 1 where this thread edits some of these bytes already; -1 with an exception. */
int pm_stage_enter(pm_stage *s, uintptr_t pool_id, const char *pool_name, uintptr_t start,
                   uintptr_t end);

/* Lets the next one in. Does nothing where it is not entered: so also in a forked child, for what
 * another thread had entered. */
void pm_stage_leave(pm_stage *s);

/* Once: what a forked child does. -1 with an exception. */
int pm_staging_init(void);

#endif

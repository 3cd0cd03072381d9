/* fault_turn: one violation at a time.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_TURN_H
#define PMALLOC_FAULT_TURN_H

/* Waits until no other thread is at a violation, for two seconds at most: then it is taken away
 * from whoever has it. KEPT where this thread has the turn already; STOLEN where it was taken from
 * a thread that is no more, or gives no sign of life. Async-signal-safe; pmalloc_step_take_turn()
 * is what is to be called. */
enum pmalloc_turn { PMALLOC_TURN_TAKEN, PMALLOC_TURN_KEPT, PMALLOC_TURN_STOLEN };
enum pmalloc_turn pmalloc_turn_take(void);

/* Gives it to the next; nothing where it was taken away. */
void pmalloc_turn_leave(void);

/* In the child of a fork(), where whoever has it does not exist. */
void pmalloc_turn_reset(void);

/* Whether it is this thread's. */
int pmalloc_turn_is_mine(void);

/* The kernel's number of this thread, which has taken it. */
int pmalloc_turn_thread(void);

#endif

/* fault_turn: one violation at a time.
 *
 * Threads that write to protected memory at the same moment are dealt with one
 * after the other: reports are not interleaved, an emulated read-modify-write is
 * not torn apart by another one, and a page that is open for one instruction is
 * not shut under it.
 *
 *     word   0 free, else  process id << 32 | thread id
 *
 * The process is part of it because a child of fork() inherits the word but not the
 * thread. Nobody waits for ever: a thread that is better off garbled than stuck
 * takes the turn away after two seconds.
 *
 * ASYNC-SIGNAL-SAFE: raw system calls. Signals are blocked while a thread has the
 * turn, so no handler comes between it and its end.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_turn.h"

#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic uint64_t turn;

static uint64_t self(void) {
  uint64_t pid = (uint64_t)(uint32_t)syscall(SYS_getpid) << 32;
  return pid | (uint32_t)syscall(SYS_gettid);
}

/* Most turns take a few microseconds. */
static void wait(unsigned tries) {
  const struct timespec moment = {0, 50 * 1000};
  if (tries < 400)
    (void)syscall(SYS_sched_yield);
  else
    (void)syscall(SYS_nanosleep, &moment, NULL);
}

static int64_t now_ms(void) {
  struct timespec t = {0, 0};
  (void)syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum pmalloc_turn pmalloc_turn_take(void) {
  uint64_t me = self();
  int64_t end = 0;
  for (unsigned tries = 0;; tries++) {
    uint64_t other = 0;
    if (atomic_compare_exchange_strong(&turn, &other, me))
      return PMALLOC_TURN_TAKEN;
    if (other == me)
      return PMALLOC_TURN_KEPT;
    if ((other >> 32) != (me >> 32) && atomic_compare_exchange_strong(&turn, &other, me))
      return PMALLOC_TURN_STOLEN;
    if (tries >= 400 && end == 0)
      end = now_ms() + 2000;
    if (end && now_ms() > end) {
      atomic_store(&turn, me);
      return PMALLOC_TURN_STOLEN;
    }
    wait(tries);
  }
}

/* Not what was taken away from us, and is somebody else's now. */
void pmalloc_turn_leave(void) {
  uint64_t me = self();
  (void)atomic_compare_exchange_strong(&turn, &me, 0);
}

void pmalloc_turn_reset(void) { atomic_store(&turn, 0); }

int pmalloc_turn_is_mine(void) { return atomic_load(&turn) == self(); }

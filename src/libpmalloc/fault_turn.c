/* fault_turn: one violation at a time.
 *
 * Threads that write to protected memory at the same moment are dealt with one
 * after the other: reports are not interleaved, an emulated read-modify-write is
 * not torn apart by another one, and a page that is open for one instruction is
 * not shut under it.
 *
 *              | process id | thread id | number |      0: free
 *     word     |    22      |    22     |   20   |
 *
 * The process is part of it because a child of fork() inherits the word but not the
 * thread. Nobody waits for ever: a thread that is better off garbled than stuck
 * takes a turn away that has lasted for two seconds. By its number it is told from
 * the next turn of the same thread.
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

static atomic_uint taken;

/* Linux has no ids beyond 22 bits. */
#define PROCESS 42
#define THREAD 20

/* The last turn that this thread took, as it stood in `turn`; 0 when it gave it back. Kept, since
 * asking the kernel who we are is a good part of what an emulated store costs. */
static _Thread_local __attribute__((tls_model("initial-exec"))) uint64_t mine;

static uint64_t self(void) {
  uint64_t pid = (uint64_t)syscall(SYS_getpid) << PROCESS;
  return pid | (uint64_t)syscall(SYS_gettid) << THREAD;
}

static int is_of(uint64_t word, uint64_t thread) { return word >> THREAD == thread >> THREAD; }

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
  const uint64_t number = atomic_fetch_add(&taken, 1) & ((1U << THREAD) - 1);
  uint64_t me = self() | number, watched = 0;
  int64_t end = 0;
  for (unsigned tries = 0;; tries++) {
    uint64_t other = 0;
    if (atomic_compare_exchange_strong(&turn, &other, me)) {
      mine = me;
      return PMALLOC_TURN_TAKEN;
    }
    if (is_of(other, me)) {
      mine = other;
      return PMALLOC_TURN_KEPT;
    }
    if (other >> PROCESS != me >> PROCESS && atomic_compare_exchange_strong(&turn, &other, me)) {
      mine = me;
      return PMALLOC_TURN_STOLEN;
    }
    if (tries >= 400 && other != watched) {
      watched = other;
      end = now_ms() + 2000;
    }
    if (end && now_ms() > end && atomic_compare_exchange_strong(&turn, &other, me)) {
      mine = me;
      return PMALLOC_TURN_STOLEN;
    }
    wait(tries);
  }
}

/* Not what was taken away from us, and is somebody else's now. */
void pmalloc_turn_leave(void) {
  uint64_t word = mine;
  mine = 0;
  if (word)
    (void)atomic_compare_exchange_strong(&turn, &word, 0);
}

void pmalloc_turn_reset(void) {
  mine = 0;
  atomic_store(&turn, 0);
}

int pmalloc_turn_is_mine(void) { return mine && atomic_load(&turn) == mine; }

int pmalloc_turn_thread(void) { return (int)(mine >> THREAD & 0x3fffff); }

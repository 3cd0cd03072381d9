/* The system calls of pool.protect(), noted and then made by a loop in C.
 *
 * This library is loaded with LD_PRELOAD, so that pmalloc's calls of mprotect()
 * and sigaction() come here. While it notes, mprotect() only writes down what it
 * was asked and answers "done"; peer_replay() then makes the very same calls, on
 * the very same mappings, and returns the nanoseconds that took.
 *
 * SPDX-License-Identifier: MIT
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 16 };

static struct {
  void *at;
  size_t bytes;
  int prot;
} noted[ROOM];
static size_t calls, actions, pids;
static int noting;

int mprotect(void *at, size_t bytes, int prot) {
  if (!noting || calls == ROOM)
    return (int)syscall(SYS_mprotect, at, bytes, prot);
  noted[calls].at = at;
  noted[calls].bytes = bytes;
  noted[calls++].prot = prot;
  return 0;
}

/* Made at once: pmalloc looks at the answer. Only counted. */
int sigaction(int number, const struct sigaction *act, struct sigaction *old) {
  static int (*real)(int, const struct sigaction *, struct sigaction *);
  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "sigaction");
  actions += (size_t)noting;
  return real(number, act, old);
}

pid_t getpid(void) {
  pids += (size_t)noting;
  return (pid_t)syscall(SYS_getpid);
}

void peer_note(void) {
  calls = actions = pids = 0;
  noting = 1;
}

size_t peer_calls(void) { return calls; }
size_t peer_others(void) { return actions + pids; }

/* Makes the noted calls; -1 where one failed. */
long long peer_replay(void) {
  struct timespec start, end;
  struct sigaction old;
  int failed = 0;
  noting = 0;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (size_t i = 0; i < pids; i++)
    syscall(SYS_getpid);
  for (size_t i = 0; i < actions; i++)
    failed |= sigaction(SIGSEGV, NULL, &old);
  for (size_t i = 0; i < calls; i++)
    failed |= mprotect(noted[i].at, noted[i].bytes, noted[i].prot);
  clock_gettime(CLOCK_MONOTONIC, &end);
  return failed ? -1 : (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec;
}

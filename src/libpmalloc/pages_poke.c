/* pages_poke: stores into read-only pages without opening them.
 *
 *     thread ---- store ----X  page, read-only           stops at the MMU
 *        |                     ^
 *        +-- pwrite --> /proc/self/mem                    the kernel does not ask the MMU
 *
 * The kernel lets a process write its own memory through this file whatever the
 * protection of the page, as a debugger would; so an audited store takes effect
 * while the page stays shut to everybody else. Private memory only: a shared
 * mapping answers EIO.
 *
 * The descriptor is dangerous, and may not be what it was:
 *
 *   fork()      the child's copy still writes the parent's memory. A word that the
 *               kernel wipes in every child, one of a bare clone() too, tells; the
 *               child then opens its own.
 *   closerange  daemons close numbers they do not know, and the number may be
 *               somebody's file since. Its identity is looked at before each use. Who closes
 *               it and opens another in the microsecond between has found the one gap left.
 *   exec        it is closed then.
 *
 * It is opened when the first audited pool is protected, not before, at a high
 * number, and a write is tried: some kernels are told to refuse
 * (proc_mem.force_override=never).
 *
 * ASYNC-SIGNAL-SAFE: pages_poke(). Raw system calls and fstat().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pages_internal.h"

#define HIGH 500 /* beyond what programs number by hand */

/* In memory that is zero in a child: 0 there, so the descriptor is not this process's. */
struct mine {
  _Atomic int fd; /* plus one */
  dev_t device;
  ino_t inode;
};
static struct mine *mine;

/* The same where fork() does not wipe it: what the child has to close. */
static struct {
  _Atomic int fd;
  dev_t device;
  ino_t inode;
} opened;

static int is_it(int fd, dev_t device, ino_t inode) {
  struct stat s;
  return fstat(fd, &s) == 0 && s.st_dev == device && s.st_ino == inode;
}

static void close_parents(void) {
  int kept = errno;
  int fd = atomic_exchange(&opened.fd, 0) - 1;
  if (fd >= 0 && is_it(fd, opened.device, opened.inode))
    (void)syscall(SYS_close, fd);
  errno = kept;
}

/* Whether somebody is getting it ready: pools are protected by several threads at once. */
static atomic_flag busy = ATOMIC_FLAG_INIT;

void pages_poke_after_fork(void) {
  close_parents();
  atomic_flag_clear(&busy);
}

/* Opens the file of the process that we are in now. Async-signal-safe. */
static int open_own(void) {
  struct stat s;
  close_parents(); /* where nobody told us of the fork */
  long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
  if (fd < 0)
    return -1;
  long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH);
  if (high >= 0) {
    (void)syscall(SYS_close, fd);
    fd = high;
  }
  if (fstat((int)fd, &s) != 0) {
    (void)syscall(SYS_close, fd);
    return -1;
  }
  opened.device = mine->device = s.st_dev;
  opened.inode = mine->inode = s.st_ino;
  atomic_store(&opened.fd, (int)fd + 1);
  atomic_store(&mine->fd, (int)fd + 1);
  return (int)fd;
}

static int own(void) {
  int fd = atomic_load(&mine->fd) - 1;
  return fd >= 0 && is_it(fd, mine->device, mine->inode) ? fd : open_own();
}

int pages_poke(uintptr_t address, const void *from, size_t n) {
  int kept = errno, answer = -1;
  int fd = mine ? own() : -1;
  if (fd >= 0) {
    const char *at = from;
    while (n > 0) {
      long done = syscall(SYS_pwrite64, fd, at, n, (off_t)address);
      if (done <= 0)
        break;
      at += done;
      address += (uintptr_t)done;
      n -= (size_t)done;
    }
    answer = n == 0 ? 0 : -1;
  }
  errno = kept;
  return answer;
}

/* On a page of our own, read-only as the pool's will be. */
static int try_it(void) {
  struct pages p;
  char seven = 7;
  int answer = -1;
  if (pages_map(&p, 1, 0, "probe") != PMALLOC_OK)
    return -1;
  if (pages_protect(&p) == PMALLOC_OK && pages_poke((uintptr_t)p.base, &seven, 1) == 0 &&
      *(volatile char *)p.base == 7)
    answer = 0;
  (void)pages_unmap(&p);
  return answer;
}

int pages_poke_ready(void) {
  static int works; /* 0: not tried */
  struct pages p;
  while (atomic_flag_test_and_set(&busy))
    (void)sched_yield();
  if (works == 0 && pages_map(&p, sizeof *mine, 0, "audit") == PMALLOC_OK) {
    if (pages_wipe_on_fork(&p) == 0) { /* Linux 4.14 */
      mine = (struct mine *)p.base;
      works = try_it() == 0 ? 1 : -1;
    } else {
      (void)pages_unmap(&p);
      works = -1;
    }
  }
  int answer = works > 0 ? 0 : -1;
  atomic_flag_clear(&busy);
  return answer;
}

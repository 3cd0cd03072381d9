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
 *               child then opens its own: at fork() at once, else when it needs it.
 *   closerange  daemons close numbers they do not know, and the number may be
 *               somebody's file since. So it is marked: its position, which pwrite does
 *               not use, is a random number of 62 bits, and is looked at before each use.
 *               That takes half of what fstat() does, and tells one open file from
 *               another of the same name. Who closes it and opens another in the
 *               microsecond between has found the one gap left.
 *   exec        it is closed then.
 *
 * It is opened when the first audited pool is protected, or the first write-rare one
 * made, not before, at a high number, and a write is tried: some kernels are told to
 * refuse (proc_mem.force_override=never). A program that gives up its privileges or
 * shuts itself in makes such a pool before: the open descriptor stays good.
 *
 * ASYNC-SIGNAL-SAFE: pages_poke(). Raw system calls.
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
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pages_internal.h"

#define HIGH 500 /* beyond what programs number by hand */

/* In memory that is zero in a child: 0 there, so the descriptor is not this process's. */
struct mine {
  _Atomic int fd; /* plus one */
  _Atomic int64_t mark;
  _Atomic uint64_t life;
};
static struct mine *_Atomic mine;

/* The same where fork() does not wipe it: what the child has to close. */
static struct {
  _Atomic int fd;
  _Atomic int64_t mark;
} opened;

static int is_it(int fd, int64_t mark) { return syscall(SYS_lseek, fd, 0L, SEEK_CUR) == mark; }

static void close_parents(void) {
  int kept = errno;
  int fd = atomic_exchange(&opened.fd, 0) - 1;
  if (fd >= 0 && is_it(fd, atomic_load(&opened.mark)))
    (void)syscall(SYS_close, fd);
  errno = kept;
}

/* Whether somebody is getting it ready: pools are protected by several threads at once. */
static atomic_flag busy = ATOMIC_FLAG_INIT;

/* A position that no file has by chance; beyond the length that any can have. */
static int64_t new_mark(void) {
  uint64_t random;
  if (syscall(SYS_getrandom, &random, sizeof random, GRND_NONBLOCK) != sizeof random) {
    struct timespec now; /* early at boot: better than none */
    (void)syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    random = (uint64_t)now.tv_nsec * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)&random;
  }
  return (int64_t)(random >> 2 | (uint64_t)1 << 62);
}

/* Opens the file of the process that we are in now. Async-signal-safe. */
static int open_own(struct mine *of) {
  close_parents(); /* where nobody told us of the fork */
  if (pages_refused(PAGES_CALL_POKE))
    return -1;
  long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
  if (fd < 0)
    return -1;
  long high = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH);
  if (high >= 0) {
    (void)syscall(SYS_close, fd);
    fd = high;
  }
  int64_t mark = new_mark();
  if (syscall(SYS_lseek, fd, mark, SEEK_SET) != mark) {
    (void)syscall(SYS_close, fd);
    return -1;
  }
  atomic_store(&opened.mark, mark);
  atomic_store(&of->mark, mark);
  atomic_store(&opened.fd, (int)fd + 1);
  atomic_store(&of->fd, (int)fd + 1);
  return (int)fd;
}

static int own(void) {
  struct mine *of = atomic_load_explicit(&mine, memory_order_acquire);
  if (!of)
    return -1;
  int fd = atomic_load_explicit(&of->fd, memory_order_acquire) - 1;
  return fd >= 0 && is_it(fd, atomic_load_explicit(&of->mark, memory_order_relaxed)) ? fd
                                                                                     : open_own(of);
}

/* At once, not when it is wanted: a child that gives up its privileges could not any more. */
void pages_poke_after_fork(void) {
  int kept = errno, was_open = atomic_load(&opened.fd) > 0;
  close_parents();
  atomic_flag_clear(&busy);
  if (was_open)
    (void)own();
  errno = kept;
}

int pages_poke(uintptr_t address, const void *from, size_t n) {
  int kept = errno, answer = -1;
  int fd = pages_refused(PAGES_CALL_POKE) ? -1 : own();
  if (fd >= 0) {
    const char *at = from;
    size_t page = pages_page_size(), rest = page - (address & (page - 1));
    while (n > 0) {
      /* Up to the next page, then all: the kernel goes on in steps of a page from where it began,
       * and one that lies in two pages costs twice as much. */
      size_t part = n > page && rest < page ? rest : n;
      long done = syscall(SYS_pwrite64, fd, at, part, (off_t)address);
      rest = page;
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

static void lock(void) {
  while (atomic_flag_test_and_set(&busy))
    (void)sched_yield();
}

/* The page that is wiped in a child, made once. Under the lock. */
static struct mine *ready(void) {
  static int tried;
  struct pages p;
  if (!tried && pages_map(&p, sizeof(struct mine), 0, "door") == PMALLOC_OK) {
    if (pages_wipe_on_fork(&p) == 0) /* Linux 4.14 */
      atomic_store_explicit(&mine, (struct mine *)p.base, memory_order_release);
    else
      (void)pages_unmap(&p);
  }
  tried = 1;
  return atomic_load(&mine);
}

int pages_poke_ready(void) {
  static int works; /* 0: not tried */
  lock();
  if (works == 0)
    works = ready() && try_it() == 0 ? 1 : -1;
  int kept = errno;
  int answer = works > 0 && own() >= 0 ? 0 : -1; /* in a child it may not be open yet */
  errno = kept;
  atomic_flag_clear(&busy);
  return answer;
}

int pages_poke_works(void) { return !pages_refused(PAGES_CALL_POKE) && pages_poke_ready() == 0; }

uint64_t pages_life(void) {
  struct mine *of = atomic_load(&mine);
  if (!of) {
    lock();
    of = ready();
    atomic_flag_clear(&busy);
  }
  uint64_t none = 0, life = of ? atomic_load(&of->life) : 0;
  if (!of || life)
    return life;
  life = (uint64_t)new_mark();
  return atomic_compare_exchange_strong(&of->life, &none, life) ? life : none;
}

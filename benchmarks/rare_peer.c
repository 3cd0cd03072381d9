/* What a rare write costs, against the barest way through the same door. See bench_rare.py.
 *
 *   rare_peer ROUNDS    prints one line a measurement, nanoseconds of processor time, medians:
 *                       NAME BARE OURS [OTHER]
 *
 *   word      8 bytes: pwrite() on an open /proc/self/mem; rare_write()
 *   memfd     the same through a pool's memfd: pwrite() on it
 *   window    the same where it takes mprotect(): both calls around a store, one chunk of 16 KiB
 *   commit N  N words scattered over 64 pages, edited in a copy. Bare: the fastest we know without
 *             a window: pages that differ from the copy's origin are found by memcmp(), and each
 * run of them is one pwrite(). OTHER: the same by somebody who knows beforehand which words
 *             changed, and writes page by page
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pmalloc_rare_write.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 31
#define PAGE 4096
#define PAGES 64
#define BYTES (PAGE * PAGES)

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* other programs of the machine do not count */
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *times) {
  qsort(times, ROUNDS, sizeof *times, ascending);
  return times[ROUNDS / 2];
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static struct pmalloc_pool *make(const char *name, enum pmalloc_backing backing, size_t bytes,
                                 void **at) {
  struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
  options.mode = PMALLOC_MODE_WR;
  options.backing = backing;
  struct pmalloc_pool *pool = pmalloc_create_pool(name, &options);
  *at = pool ? pmalloc_aligned(pool, PAGE, bytes) : NULL;
  if (!*at || pmalloc_protect_pool(pool) != PMALLOC_OK)
    fail(name);
  return pool;
}

static int door;

static void bare_write(const void *to, const void *from, size_t n) {
  if (pwrite(door, from, n, (off_t)(uintptr_t)to) != (ssize_t)n)
    fail("/proc/self/mem");
}

/* ---- one word ---- */

static void word(long times) {
  double bare[ROUNDS], ours[ROUNDS];
  void *at;
  make("word", PMALLOC_PRIVATE, PAGE, &at);
  __wr_rare_type uint64_t *target = at;
  for (int round = 0; round < ROUNDS; round++) {
    double begin = now();
    for (uint64_t i = 0; i < (uint64_t)times; i++)
      bare_write(target, &i, sizeof i);
    bare[round] = (now() - begin) / (double)times;
    begin = now();
    for (uint64_t i = 0; i < (uint64_t)times; i++)
      (void)rare_write(*target, i);
    ours[round] = (now() - begin) / (double)times;
  }
  printf("word %.0f %.0f\n", median(bare), median(ours));
}

static void memfd(long times) {
  double bare[ROUNDS], ours[ROUNDS];
  void *at;
  int fd = memfd_create("bare", MFD_CLOEXEC);
  char *shown = fd < 0 || ftruncate(fd, PAGE) != 0
                    ? MAP_FAILED
                    : mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (shown == MAP_FAILED)
    fail("memfd");
  make("file", PMALLOC_MEMFD, PAGE, &at);
  __wr_rare_type uint64_t *target = at;
  for (int round = 0; round < ROUNDS; round++) {
    double begin = now();
    for (uint64_t i = 0; i < (uint64_t)times; i++) {
      if (pwrite(fd, &i, sizeof i, 0) != sizeof i)
        fail("memfd");
    }
    bare[round] = (now() - begin) / (double)times;
    begin = now();
    for (uint64_t i = 0; i < (uint64_t)times; i++)
      (void)rare_write(*target, i);
    ours[round] = (now() - begin) / (double)times;
  }
  printf("memfd %.0f %.0f\n", median(bare), median(ours));
}

/* What the window would cost, and what is paid without it. */
static void window(long times) {
  enum { CHUNK = 16384 };
  double bare[ROUNDS], ours[ROUNDS];
  void *at;
  volatile uint64_t *own =
      mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if ((void *)own == MAP_FAILED)
    fail("mmap");
  make("window", PMALLOC_PRIVATE, PAGE, &at);
  __wr_rare_type uint64_t *target = at;
  for (int round = 0; round < ROUNDS; round++) {
    double begin = now();
    for (uint64_t i = 0; i < (uint64_t)times; i++) {
      if (mprotect((void *)own, CHUNK, PROT_READ | PROT_WRITE) != 0)
        fail("mprotect");
      *own = i;
      if (mprotect((void *)own, CHUNK, PROT_READ) != 0)
        fail("mprotect");
    }
    bare[round] = (now() - begin) / (double)times;
    begin = now();
    for (uint64_t i = 0; i < (uint64_t)times; i++)
      (void)rare_write(*target, i);
    ours[round] = (now() - begin) / (double)times;
  }
  printf("window %.0f %.0f\n", median(bare), median(ours));
}

/* ---- commits ---- */

static char base[BYTES], edit[BYTES];

static void bare_commit(const char *to) {
  size_t run = 0; /* bytes of pages before `at` that differ */
  for (size_t at = 0; at < BYTES; at += PAGE) {
    if (memcmp(base + at, edit + at, PAGE) != 0) {
      run += PAGE;
    } else if (run > 0) {
      bare_write(to + at - run, edit + at - run, run);
      run = 0;
    }
  }
  if (run > 0)
    bare_write(to + BYTES - run, edit + BYTES - run, run);
}

static void known_commit(const char *to, const char *changed) {
  for (size_t page = 0; page < PAGES; page++) {
    if (changed[page])
      bare_write(to + page * PAGE, edit + page * PAGE, PAGE);
  }
}

static void commit(int words, long times) {
  double bare[ROUNDS], ours[ROUNDS], known[ROUNDS];
  void *at;
  make("commit", PMALLOC_PRIVATE, BYTES, &at);
  uint64_t *words_of_edit = (uint64_t *)(void *)edit;
  for (int round = 0; round < ROUNDS; round++) {
    bare[round] = ours[round] = known[round] = 0;
    for (long n = 0; n < 3 * times; n++) {
      char changed[PAGES] = {0};
      memcpy(base, at, BYTES);
      memcpy(edit, at, BYTES);
      for (int i = 0; i < words; i++) {
        size_t where = (size_t)rand() % (BYTES / 8);
        words_of_edit[where] += 0x0101010101010101U;
        changed[where * 8 / PAGE] = 1;
      }
      double begin = now();
      if (n % 3 == 0) {
        bare_commit(at);
        bare[round] += now() - begin;
      } else if (n % 3 == 1) {
        if (pmalloc_wr_commit(at, base, edit, BYTES) != PMALLOC_OK)
          fail("commit");
        ours[round] += now() - begin;
      } else {
        known_commit(at, changed);
        known[round] += now() - begin;
      }
      if (memcmp(at, edit, BYTES) != 0)
        fail("it was not stored");
    }
    bare[round] /= (double)times;
    ours[round] /= (double)times;
    known[round] /= (double)times;
  }
  printf("commit-%d %.0f %.0f %.0f\n", words, median(bare), median(ours), median(known));
}

int main(int argc, char **argv) {
  long times = argc > 1 ? atol(argv[1]) : 20000;
  door = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  if (door < 0)
    fail("/proc/self/mem");
  word(times);
  memfd(times);
  window(times / 10);
  commit(1, times / 200);
  commit(16, times / 200);
  commit(256, times / 400);
  commit(4096, times / 800);
  return 0;
}

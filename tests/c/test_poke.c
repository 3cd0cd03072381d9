/* The descriptor of pages_poke, and everything that may have become of it: another file by the same
 * number, the same file opened by somebody else, the parent's, none at all.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pmalloc_rare_write.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "pages.h"
#include "pool.h"

static volatile uint64_t *word; /* private memory, read-only */

static int store(uint64_t value) { return pages_poke((uintptr_t)word, &value, sizeof value); }

static int is_mem(int fd) {
  struct stat of, mem;
  return fstat(fd, &of) == 0 && stat("/proc/self/mem", &mem) == 0 && of.st_dev == mem.st_dev &&
         of.st_ino == mem.st_ino;
}

/* The descriptors of /proc/self/mem, in `fds`; how many. */
static int mem_fds(int *fds, int room) {
  int n = 0;
  for (int fd = 0; fd < 1024; fd++) {
    if (is_mem(fd) && n < room)
      fds[n++] = fd;
  }
  return n;
}

static int door(void) {
  int fds[2] = {-1, -1};
  CHECK(mem_fds(fds, 2) == 1);
  return fds[0];
}

static void test_as_it_is(void) {
  int fd = door();
  errno = 77;
  CHECK(store(1) == 0 && *word == 1 && errno == 77);
  CHECK(fd >= 500 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
  CHECK(pages_is_readonly((const void *)word) == 1);
  CHECK(pages_poke(8, "x", 1) == -1 && errno == 77); /* nothing is mapped there */
  off_t mark = lseek(fd, 0, SEEK_CUR);
  CHECK(mark >= (off_t)1 << 62 && store(2) == 0 && lseek(fd, 0, SEEK_CUR) == mark);
}

/* Somebody closed it, and the number is a file of his: empty, or with the position anywhere. */
static void test_closed(void) {
  static const off_t positions[] = {0, 1, 4096, (off_t)1 << 40};
  static uint64_t value = 10;
  CHECK(close(door()) == 0);
  value++;
  CHECK(store(value) == 0 && *word == value); /* it opens another */
  for (size_t i = 0; i < sizeof positions / sizeof *positions; i++) {
    int fd = door(), file = memfd_create("somebody's", MFD_CLOEXEC);
    struct stat info;
    CHECK(file >= 0 && lseek(file, positions[i], SEEK_SET) == positions[i]);
    CHECK(dup3(file, fd, O_CLOEXEC) == fd);
    value++;
    CHECK(store(value) == 0 && *word == value);
    CHECK(fstat(fd, &info) == 0 && info.st_size == 0);
    CHECK(lseek(fd, 0, SEEK_CUR) == positions[i] && door() != fd);
    CHECK(close(fd) == 0 && close(file) == 0);
  }
  /* A pipe has no position at all. */
  int fd = door(), ends[2], waiting = -1;
  CHECK(pipe(ends) == 0 && dup2(ends[1], fd) == fd);
  CHECK(store(20) == 0 && *word == 20);
  CHECK(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0 && read(ends[0], &waiting, 1) == -1);
  CHECK(close(fd) == 0 && close(ends[0]) == 0 && close(ends[1]) == 0);
}

/* It is the same file by name, but not ours: that of another process, for all we know. */
static void test_namesake(void) {
  int fds[4], fd = door(), namesake = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
  CHECK(namesake >= 0 && dup3(namesake, fd, O_CLOEXEC) == fd); /* through which no write works */
  CHECK(store(30) == 0 && *word == 30);
  CHECK(lseek(fd, 0, SEEK_CUR) == 0 && lseek(namesake, 0, SEEK_CUR) == 0);
  CHECK(mem_fds(fds, 4) == 3); /* neither was closed either */
  CHECK(close(fd) == 0 && close(namesake) == 0);
  CHECK(store(31) == 0 && *word == 31);
}

/* Where the number is somebody's file, the child leaves it alone, too. */
static void in_child(void *had) {
  const uint64_t *of = had;
  int fds[1];
  CHECK(mem_fds(fds, 1) == 1); /* by now, its own */
  CHECK(store(of[0] + 1) == 0 && *word == of[0] + 1);
  for (int fd = 0; fd < 1024; fd++) /* nothing of the parent's is left */
    CHECK(lseek(fd, 0, SEEK_CUR) != (off_t)of[1]);
}

static void in_child_of_closed(void *file) {
  struct stat info;
  CHECK(store(50) == 0 && *word == 50);
  CHECK(fstat(*(int *)file, &info) == 0 && info.st_size == 0);
  CHECK(lseek(*(int *)file, 0, SEEK_CUR) == 3);
}

static void test_fork(void) {
  CHECK(store(40) == 0);
  uint64_t had[] = {40, (uint64_t)lseek(door(), 0, SEEK_CUR)};
  CHECK(dies(in_child, had) == 0);
  CHECK(*word == 40 && lseek(door(), 0, SEEK_CUR) == (off_t)had[1]);
  CHECK(store(41) == 0 && *word == 41);
  int fd = door(), file = memfd_create("somebody's", MFD_CLOEXEC);
  CHECK(lseek(file, 3, SEEK_SET) == 3 && dup3(file, fd, O_CLOEXEC) == fd);
  CHECK(dies(in_child_of_closed, &fd) == 0);
  CHECK(*word == 41 && store(42) == 0 && *word == 42);
  CHECK(close(fd) == 0 && close(file) == 0);
}

static void test_refused(void) {
  pages_inject(PAGES_CALL_POKE, 0, EIO, 0); /* once */
  CHECK(store(60) == -1 && *word != 60);
  CHECK(store(61) == 0 && *word == 61);
  pages_inject(PAGES_CALL_POKE, 0, EIO, 1);
  CHECK(store(62) == -1 && !pages_poke_works() && *word == 61);
  pages_inject(PAGES_CALL_POKE, -1, 0, 0);
  CHECK(pages_poke_works() && store(63) == 0 && *word == 63);
  CHECK(close(door()) == 0);
  pages_inject(PAGES_CALL_POKE, 1, EACCES, 0); /* the opening itself */
  CHECK(store(64) == -1 && *word == 63);
  pages_inject(PAGES_CALL_POKE, -1, 0, 0);
  CHECK(store(65) == 0 && *word == 65);
}

/* There is no descriptor to be had: the window takes over, and gives back. */
static void test_no_more_descriptors(void) {
  pmalloc_pool *pool = NULL;
  const struct pmalloc_options options = {.mode = PMALLOC_MODE_WR};
  struct rlimit before, few;
  uint64_t *at = NULL, value = 5;
  OK(pmalloc_pool_create_with(&pool, "window", &options));
  OK(pmalloc_pool_alloc(pool, 8, 0, (void **)&at));
  OK(pmalloc_pool_protect(pool));
  CHECK(close(door()) == 0);
  CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
  few = before;
  few.rlim_cur = (rlim_t)dup(0) + 1;
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  errno = 77;
  CHECK(store(70) == -1 && *word == 65 && errno == 77);
  CHECK(!pages_poke_works() && pmalloc_mechanism_of(pool) == PMALLOC_BY_WINDOW);
  OK(pmalloc_wr_copy(at, &value, 8));
  CHECK(*at == 5 && pages_is_readonly(at) == 1);
  /* One number is free, none of the high ones: the door is there all the same. */
  CHECK(close((int)few.rlim_cur - 1) == 0);
  CHECK(store(71) == 0 && *word == 71 && door() == (int)few.rlim_cur - 1);
  CHECK(pmalloc_mechanism_of(pool) == PMALLOC_BY_PROC_MEM);
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
  OK(pmalloc_wr_add(at, 8, 1));
  CHECK(*at == 6 && pages_is_readonly(at) == 1);
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

int main(void) {
  struct pages p;
  OK(pages_map(&p, 4096, 0, "poked"));
  word = (volatile uint64_t *)p.base;
  OK(pages_protect(&p));
  if (pages_poke_ready() != 0) {
    puts("test_poke: skipped, this kernel does not let a process write its /proc/self/mem");
    return 0;
  }
  test_as_it_is();
  test_closed();
  test_namesake();
  test_fork();
  test_refused();
  test_no_more_descriptors();
  return finish("poke");
}

/* Children that are born while another thread writes rarely: none has a writable pool, none writes
 * its parent's memory, each can write its own, or is refused.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/libpmalloc/pages.h"
#include "../../src/libpmalloc/pool.h"
#include "check.h"

#if EMULATED
#define FORKS 20
#elif SANITIZED || defined(__clang__) /* the same system calls: once is enough */
#define FORKS 100
#else
#define FORKS 1000
#endif
#define CHILDS UINT64_C(0xc411dc411d)

struct shown {
  pmalloc_pool *pool;
  uint64_t *busy;  /* written all the time */
  uint64_t *quiet; /* only a child writes it */
};

static atomic_int stop;

static struct shown show(enum pmalloc_backing backing) {
  const struct pmalloc_options options = {.mode = PMALLOC_MODE_WR, .backing = backing};
  struct shown s = {0};
  void *room = NULL;
  OK(pmalloc_pool_create_with(&s.pool, "forked", &options));
  OK(pmalloc_pool_alloc(s.pool, 100000, 0, &room));
  s.busy = room;
  s.quiet = s.busy + 600;
  OK(pmalloc_pool_protect(s.pool));
  return s;
}

static void *writer(void *arg) {
  const struct shown *s = arg;
  for (uint64_t i = 1; !atomic_load(&stop); i++)
    (void)pmalloc_wr_copy(s->busy, &i, sizeof i);
  return NULL;
}

static long fork_plainly(void) { return fork(); }

/* Nobody's handlers run, and no lock is taken. */
static long clone_barely(void) { return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

/* What the child found: 0 is well. No stdio: another thread may have had its lock. */
static int inspect(const struct shown *s, enum pmalloc_status wanted, int may_be_gone) {
  uint64_t mine = CHILDS, there;
  if (may_be_gone && pages_peek(&there, s->quiet, sizeof there) != 0)
    return 0; /* born in a window, and so without it */
  if (pages_is_readonly(s->busy) != 1 || pages_is_readonly(s->quiet) != 1)
    return 2;
  enum pmalloc_status status = pmalloc_wr_copy(s->quiet, &mine, sizeof mine);
  if (status != wanted)
    return 10 + (int)status;
  if (*s->quiet != (status == PMALLOC_OK ? CHILDS : 0))
    return 3;
  return pages_is_readonly(s->quiet) == 1 ? 0 : 4;
}

static void bear(const char *name, enum pmalloc_backing backing, long (*make)(void),
                 enum pmalloc_status wanted) {
  struct shown s = show(backing);
  int window = pmalloc_mechanism_of(s.pool) == PMALLOC_BY_WINDOW, status = -1;
  pthread_t thread;
  atomic_store(&stop, 0);
  CHECK(pthread_create(&thread, NULL, writer, &s) == 0);
  for (int i = 0; i < FORKS; i++) {
    long pid = make();
    if (pid == 0) {
      alarm(20);
      _exit(inspect(&s, wanted, window && make == clone_barely));
    }
    CHECK(pid > 0 && waitpid((pid_t)pid, &status, 0) == pid);
    if (status != 0)
      fprintf(stderr, "%s: child %d: status %#x\n", name, i, status);
    CHECK(status == 0);
    CHECK(*s.quiet == 0);
  }
  atomic_store(&stop, 1);
  pthread_join(thread, NULL);
  OK(pmalloc_pool_destroy(s.pool));
  pmalloc_pool_forget(s.pool);
}

/* In a child of its own, which may do to itself what it likes. */
static void apart(int (*what)(void)) {
  int status = -1;
  pid_t pid = fork();
  if (pid == 0)
    _exit(what());
  CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
  if (status != 0)
    fprintf(stderr, "status %#x\n", status);
  CHECK(status == 0);
}

static int write_and_look(const struct shown *s, enum pmalloc_mechanism by) {
  static uint64_t value = 70;
  value++;
  if (pmalloc_mechanism_of(s->pool) != by)
    return 5;
  if (pmalloc_wr_copy(s->quiet, &value, sizeof value) != PMALLOC_OK || *s->quiet != value)
    return 6;
  return pages_is_readonly(s->quiet) == 1 ? 0 : 7;
}

static int in_child_of(const struct shown *s, enum pmalloc_mechanism by) {
  int status;
  uint64_t before = *s->quiet;
  pid_t pid = fork();
  if (pid == 0)
    _exit(write_and_look(s, by));
  if (waitpid(pid, &status, 0) != pid || status != 0)
    return WEXITSTATUS(status) ? 100 + WEXITSTATUS(status) : 99;
  return *s->quiet == before ? 0 : 8;
}

/* Root gives up what it is: the descriptor stays good, a child can't have one of its own. */
static int after_setuid(void) {
  struct shown s = show(PMALLOC_PRIVATE);
  if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
    return 1;
  int answer = write_and_look(&s, PMALLOC_BY_PROC_MEM);
  return answer ? answer : in_child_of(&s, PMALLOC_BY_WINDOW);
}

static int without_proc(void) {
  char folder[] = "/tmp/pmalloc-chroot-XXXXXX";
  struct shown before = show(PMALLOC_PRIVATE);
  if (!mkdtemp(folder) || chroot(folder) != 0 || chdir("/") != 0)
    return 1;
  int answer = write_and_look(&before, PMALLOC_BY_PROC_MEM);
  if (answer)
    return answer;
  return in_child_of(&before, PMALLOC_BY_WINDOW);
}

/* The descriptors are closed, and their numbers are other files by now: those are not written. */
static int after_closerange(void) {
  struct shown s = show(PMALLOC_PRIVATE), f = show(PMALLOC_MEMFD);
  char name[] = "/tmp/pmalloc-files-XXXXXX";
  struct stat info;
  enum { FILES = 700 };
  int files[FILES];
  struct rlimit many = {4096, 4096};
  (void)setrlimit(RLIMIT_NOFILE, &many);
  uint64_t value = 1;
  if (pmalloc_wr_copy(s.quiet, &value, 8) != PMALLOC_OK ||
      pmalloc_wr_copy(f.quiet, &value, 8) != PMALLOC_OK)
    return 1;
  for (int fd = 3; fd < 65536; fd++)
    (void)close(fd);
  int made = mkstemp(name);
  if (made < 0)
    return 1;
  for (int i = 0; i < FILES; i++) {
    files[i] = dup(made);
    if (files[i] < 0)
      return 1;
  }
  int answer = write_and_look(&s, PMALLOC_BY_PROC_MEM); /* it opens its own again */
  if (answer == 0)
    answer = write_and_look(&f, PMALLOC_BY_WINDOW);
  if (answer == 0 && (fstat(made, &info) != 0 || info.st_size != 0))
    answer = 9;
  (void)unlink(name);
  return answer;
}

int main(void) {
  bear("proc_mem, fork", PMALLOC_PRIVATE, fork_plainly, PMALLOC_OK);
  bear("memfd, fork", PMALLOC_MEMFD, fork_plainly, PMALLOC_ERR_FORKED);
  bear("proc_mem, clone", PMALLOC_PRIVATE, clone_barely, PMALLOC_OK);
  bear("memfd, clone", PMALLOC_MEMFD, clone_barely, PMALLOC_ERR_FORKED);
  if (geteuid() == 0) {
    apart(after_setuid);
    apart(without_proc);
  } else {
    puts("setuid and chroot: skipped, not root");
  }
  apart(after_closerange);
  pages_inject(PAGES_CALL_POKE, 0, EIO, 1);
  bear("mprotect, fork", PMALLOC_PRIVATE, fork_plainly, PMALLOC_OK);
  bear("mprotect, clone", PMALLOC_PRIVATE, clone_barely, PMALLOC_OK);
  return finish("rare_write_fork");
}

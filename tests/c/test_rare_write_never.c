/* Rare writes where the kernel was told that /proc/self/mem goes around no page's protection
 * (proc_mem.force_override=never or =ptrace, Linux 6.12): those of private memory take the window,
 * those of a memfd their memfd; a sealed pool of private memory has neither and refuses, with
 * nothing done; audit opens the page for one instruction.
 *
 * tools/kernels.sh boots such a kernel; that it is one is seen in /proc/cmdline, and tried.
 * Everywhere else a fault is injected instead: the same must follow.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "../../src/libpmalloc/fault.h"
#include "../../src/libpmalloc/pages.h"
#include "../../src/libpmalloc/pool.h"
#include "check.h"

static pmalloc_pool *make(const struct pmalloc_options *options, uint64_t **at) {
  pmalloc_pool *pool = NULL;
  void *room = NULL;
  OK(pmalloc_pool_create_with(&pool, "never", options));
  OK(pmalloc_pool_alloc(pool, 3 * pages_page_size(), 0, &room));
  *at = room;
  return pool;
}

static void end(pmalloc_pool *pool) {
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

/* 1 where the kernel's command line says so. */
static int is_forbidden(void) {
  char line[4096] = "";
  int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && read(fd, line, sizeof line - 1) < 0)
    line[0] = 0;
  if (fd >= 0)
    close(fd);
  return strstr(line, "proc_mem.force_override=never") ||
         strstr(line, "proc_mem.force_override=ptrace");
}

/* What it does to a page of ours: 0, or an errno. */
static int proc_mem_says(void) {
  char *at = mmap(NULL, pages_page_size(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  int reason = fd < 0 || pwrite(fd, "x", 1, (off_t)(uintptr_t)at) != 1 ? errno : 0;
  close(fd);
  munmap(at, pages_page_size());
  return reason;
}

static void stays_shut(const uint64_t *at) {
  for (size_t i = 0; i < 3; i++)
    CHECK(pages_is_readonly(at + i * pages_page_size() / 8) == 1);
}

/* ---- private memory: the window ---- */

static void test_window(enum pmalloc_mode mode) {
  static char base[9000], edit[9000];
  const struct pmalloc_options options = {.mode = mode};
  uint64_t *at, value = 5;
  pmalloc_pool *pool = make(&options, &at);
  OK(pmalloc_pool_protect(pool));
  CHECK(pmalloc_mechanism_of(pool) == PMALLOC_BY_WINDOW);
  for (uint64_t i = 1; i <= 100; i++)
    CHECK(pmalloc_wr_copy(at, &i, 8) == PMALLOC_OK && *at == i);
  OK(rare_write_begin(pool));
  OK(pmalloc_wr_set(at, 0, 8));
  OK(pmalloc_wr_add(at, 8, 5));
  OK(rare_write_end(pool));
  OK(pmalloc_wr_read(base, at, sizeof base));
  memcpy(edit, base, sizeof edit);
  for (size_t i = 0; i < sizeof edit; i += 700)
    edit[i] ^= 1;
  OK(pmalloc_wr_commit(at, base, edit, sizeof edit));
  CHECK(memcmp(at, edit, sizeof edit) == 0);
  stays_shut(at);
  int status;
  pid_t child = fork();
  if (child == 0)
    _exit(!(pmalloc_wr_copy(at, &value, 8) == PMALLOC_OK && *at == 5));
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(memcmp(at, edit, sizeof edit) == 0); /* the child wrote its own */
  if (mode == PMALLOC_MODE_WR) {
    OK(pmalloc_pool_make_ro(pool));
    CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_ERR_NOT_RARE);
    CHECK(memcmp(at, edit, sizeof edit) == 0);
  }
  end(pool);
}

/* ---- a memfd: its own door ---- */

static void test_memfd(enum pmalloc_tier tier) {
  const struct pmalloc_options options = {.mode = PMALLOC_MODE_WR, .backing = PMALLOC_MEMFD};
  uint64_t *at, value = 6;
  pmalloc_pool *pool = make(&options, &at);
  if (pmalloc_pool_protect_as(pool, tier) == PMALLOC_ERR_UNSUPPORTED) {
    puts("sealed memfd: not run, no mseal");
    end(pool);
    return;
  }
  CHECK(pmalloc_mechanism_of(pool) == PMALLOC_BY_MEMFD);
  CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_OK && *at == 6);
  stays_shut(at);
  if (tier == PMALLOC_PLAIN)
    end(pool);
}

/* ---- sealed private memory: no door at all ---- */

static void test_sealed(void) {
  const struct pmalloc_options options = {.mode = PMALLOC_MODE_WR};
  uint64_t *at, value = 7;
  pmalloc_pool *pool = make(&options, &at);
  struct pmalloc_stats s;
  *at = 3;
  if (pmalloc_pool_protect_as(pool, PMALLOC_SEALED) == PMALLOC_ERR_UNSUPPORTED) {
    puts("sealed: not run, no mseal");
    end(pool);
    return;
  }
  CHECK(pmalloc_mechanism_of(pool) == PMALLOC_BY_NONE);
  CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_ERR_UNSUPPORTED && *at == 3);
  CHECK(errno == EOPNOTSUPP);
  OK(rare_write_begin(pool)); /* to know that nobody else writes */
  CHECK(pmalloc_wr_add(at, 8, 1) == PMALLOC_ERR_UNSUPPORTED && *at == 3);
  OK(rare_write_end(pool));
  CHECK(pmalloc_pool_make_ro(pool) == PMALLOC_ERR_UNSUPPORTED);
  CHECK(pmalloc_pool_mode(pool) == PMALLOC_MODE_WR);
  stays_shut(at);
  pmalloc_pool_stats(pool, &s);
  CHECK(s.rare_writes == 0 && s.rare_bytes == 0 && !s.tainted);
}

/* ---- audit ---- */

static void audited(void *arg) {
  const struct pmalloc_options options = {.policy = PMALLOC_AUDIT};
  struct pmalloc_stats s;
  uint64_t *at;
  (void)arg;
  pmalloc_pool *pool = make(&options, &at);
  OK(pmalloc_fault_install(NULL));
  OK(pmalloc_pool_protect(pool));
  for (uint64_t i = 1; i <= 10; i++) {
    *(volatile uint64_t *)at = i;
    CHECK(*at == i);
  }
  stays_shut(at);
  pmalloc_pool_stats(pool, &s);
  CHECK(s.policy == PMALLOC_AUDIT && s.violations == 10 && s.stepped == 10 && !s.tainted);
}

/* Where instructions can't be stepped, a write that can't be made is what it is without audit. */
static void not_audited(void *arg) {
  const struct pmalloc_options options = {.policy = PMALLOC_AUDIT};
  uint64_t *at;
  (void)arg;
  pmalloc_pool *pool = make(&options, &at);
  OK(pmalloc_fault_install(NULL));
  OK(pmalloc_pool_protect(pool));
  *(volatile uint64_t *)at = 1;
}

int main(void) {
  if (is_forbidden()) {
    CHECK(proc_mem_says() == EIO);
    puts("the kernel forbids it: proc_mem.force_override");
  } else {
#ifdef PMALLOC_FAULT_INJECTION
    pages_inject(PAGES_CALL_POKE, 0, EIO, 1);
    puts("the kernel allows it: a fault is injected");
#else
    puts("test_rare_write_never: skipped, the kernel allows it and no fault can be injected");
    return 0;
#endif
  }
  test_window(PMALLOC_MODE_WR);
  test_window(PMALLOC_MODE_AUTO_WR);
  test_memfd(PMALLOC_PLAIN);
  test_memfd(PMALLOC_SEALED);
  test_sealed();
#if defined(__x86_64__)
  CHECK(dies(audited, NULL) == 0);
  (void)not_audited;
#else
  CHECK(dies(not_audited, NULL) == SIGSEGV);
  (void)audited;
#endif
  return finish("rare_write_never");
}

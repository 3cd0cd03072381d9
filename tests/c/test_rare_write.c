/* Rare writes to every kind of target, legal and not, in every mode.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <pmalloc_rare_write.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../../src/libpmalloc/pages.h"
#include "../../src/libpmalloc/pool_internal.h"
#include "check.h"

static const int constant = 5;

static pmalloc_pool *make(enum pmalloc_mode mode, enum pmalloc_backing backing) {
  pmalloc_pool *pool = NULL;
  const struct pmalloc_options options = {.mode = mode, .backing = backing};
  CHECK(pmalloc_pool_create_with(&pool, "rare", &options) == PMALLOC_OK);
  return pool;
}

static uint64_t *word(pmalloc_pool *pool) {
  void *at = NULL;
  CHECK(pmalloc_pool_alloc(pool, 64, 0, &at) == PMALLOC_OK);
  return at;
}

static void test_word(enum pmalloc_backing backing) {
  pmalloc_pool *pool = make(PMALLOC_MODE_WR, backing);
  uint64_t *at = word(pool), value = 7;
  CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_OK); /* open: an ordinary store */
  CHECK(*at == 7);
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_OK);
  CHECK(pages_is_readonly(at) == 1);
  for (uint64_t i = 0; i < 1000; i++) {
    CHECK(pmalloc_wr_copy(at, &i, 8) == PMALLOC_OK);
    CHECK(*at == i);
  }
  CHECK(pages_is_readonly(at) == 1);
  CHECK(pmalloc_wr_add(at, 8, 1) == PMALLOC_OK && *at == 1000);
  CHECK(pmalloc_wr_set(at, 0xff, 64) == PMALLOC_OK && at[7] == UINT64_MAX);
  CHECK(pmalloc_mechanism_of(pool) ==
        (backing == PMALLOC_MEMFD ? PMALLOC_BY_MEMFD : PMALLOC_BY_PROC_MEM));
  CHECK(pmalloc_pool_make_ro(pool) == PMALLOC_OK);
  CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_ERR_NOT_RARE);
  CHECK(*at == UINT64_MAX);
  CHECK(pmalloc_mechanism_of(pool) == PMALLOC_BY_NONE);
  CHECK(pmalloc_pool_make_ro(pool) == PMALLOC_ERR_NOT_RARE);
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_OK);
  CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_ERR_DESTROYED);
  pmalloc_pool_forget(pool);
}

static void test_refused(void) {
  pmalloc_pool *pool = make(PMALLOC_MODE_WR, PMALLOC_PRIVATE), *ro = make(PMALLOC_MODE_RO, 0);
  uint64_t *at = word(pool), *fixed = word(ro), ordinary = 3, value = 9;
  uint64_t *freed = word(pool);
  CHECK(pmalloc_wr_copy(fixed, &value, 8) == PMALLOC_ERR_NOT_RARE);
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_OK);
  CHECK(pmalloc_pool_protect(ro) == PMALLOC_OK);
  CHECK(pmalloc_wr_copy(fixed, &value, 8) == PMALLOC_ERR_NOT_RARE && errno == EACCES);
  CHECK(pmalloc_wr_copy(&ordinary, &value, 8) == PMALLOC_ERR_NOT_RARE && ordinary == 3);
  CHECK(pmalloc_wr_copy(&constant, &value, 4) == PMALLOC_ERR_NOT_RARE && constant == 5);
  CHECK(pmalloc_wr_copy((char *)at + 60, &value, 8) == PMALLOC_ERR_BOUNDS && errno == ERANGE);
  CHECK(pmalloc_wr_copy((char *)at - 8, &value, 8) == PMALLOC_ERR_NOT_RARE);
  CHECK(pmalloc_wr_copy(NULL, &value, 8) == PMALLOC_ERR_NOT_RARE);
  CHECK(pmalloc_pool_free(pool, freed) == PMALLOC_OK);
  CHECK(pmalloc_wr_copy(freed, &value, 8) == PMALLOC_ERR_NOT_RARE && *freed == 0);
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_OK && pmalloc_pool_destroy(ro) == PMALLOC_OK);
  pmalloc_pool_forget(pool);
  pmalloc_pool_forget(ro);
}

static void test_commit(enum pmalloc_backing backing) {
  enum { SIZE = 40000 };
  static char base[SIZE], edit[SIZE], expected[SIZE];
  pmalloc_pool *pool = make(PMALLOC_MODE_WR, backing);
  void *at = NULL;
  CHECK(pmalloc_pool_alloc(pool, SIZE, 0, &at) == PMALLOC_OK);
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_OK);
  srand(1);
  for (int round = 0; round < 300; round++) {
    memcpy(base, at, SIZE);
    memcpy(edit, at, SIZE);
    memcpy(expected, at, SIZE);
    for (int i = rand() % 40; i > 0; i--)
      edit[rand() % SIZE] = (char)rand();
    if (round % 3 == 0) { /* somebody else, in between */
      size_t where = (size_t)rand() % (SIZE - 8);
      uint64_t value = (uint64_t)rand();
      CHECK(pmalloc_wr_copy((char *)at + where, &value, 8) == PMALLOC_OK);
      memcpy(expected + where, &value, 8);
    }
    for (int i = 0; i < SIZE; i++) {
      if (edit[i] != base[i])
        expected[i] = edit[i];
    }
    CHECK(pmalloc_wr_commit(at, base, edit, SIZE) == PMALLOC_OK);
    CHECK(memcmp(at, expected, SIZE) == 0);
  }
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_OK);
  pmalloc_pool_forget(pool);
}

/* Every length, and every single byte or two of it: the copies are read no further than they reach,
 * which a sanitizer sees. */
static void test_commit_ends(void) {
  pmalloc_pool *pool = make(PMALLOC_MODE_WR, PMALLOC_PRIVATE);
  char *at = (char *)word(pool), *whole = at;
  OK(pmalloc_pool_protect(pool));
  for (size_t n = 1; n <= 40; n++) {
    for (size_t first = 0; first < n; first++) {
      for (size_t last = first; last < n; last++) {
        at = whole + (first + last) % 24;
        char *base = malloc(n), *edit = malloc(n);
        memcpy(base, at, n);
        memcpy(edit, at, n);
        edit[first] = (char)(edit[first] + 1);
        edit[last] = (char)(edit[last] + 1);
        OK(pmalloc_wr_commit(at, base, edit, n));
        CHECK(memcmp(at, edit, n) == 0);
        free(base);
        free(edit);
      }
    }
  }
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

static void test_auto(enum pmalloc_mode mode) {
  pmalloc_pool *pool = make(mode, PMALLOC_PRIVATE);
  uint64_t *first = word(pool), value = 4;
  *first = 1;
  void *at = NULL;
  CHECK(pages_is_readonly(first) == 0);
  for (int i = 0; i < 40; i++) {
    CHECK(pmalloc_pool_alloc(pool, 8000, 0, &at) == PMALLOC_OK);
    memset(at, i, 8000);
  }
  CHECK(pages_is_readonly(first) == 1 && pages_is_readonly(at) == 0);
  CHECK(pmalloc_is_protected(first) && !pmalloc_is_protected(at));
  CHECK(pmalloc_wr_copy(first, &value, 8) ==
        (mode == PMALLOC_MODE_AUTO_WR ? PMALLOC_OK : PMALLOC_ERR_NOT_RARE));
  CHECK(*first == (mode == PMALLOC_MODE_AUTO_WR ? 4 : 1));
  CHECK(pmalloc_pool_free(pool, first) == PMALLOC_OK);
  CHECK(*first == (mode == PMALLOC_MODE_AUTO_WR ? 4 : 1)); /* as it was */
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_OK);
  CHECK(pages_is_readonly(at) == 1);
  CHECK(pmalloc_pool_mode(pool) ==
        (mode == PMALLOC_MODE_AUTO_WR ? PMALLOC_MODE_WR : PMALLOC_MODE_RO));
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_OK);
  pmalloc_pool_forget(pool);
}

static void test_start(void) {
  pmalloc_pool *pool = make(PMALLOC_MODE_START_WR, PMALLOC_PRIVATE);
  uint64_t *at = word(pool), value = 4;
  CHECK(pages_is_readonly(at) == 1);
  CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_OK && *at == 4);
  CHECK(pmalloc_pool_free(pool, at) == PMALLOC_OK);
  uint64_t *next = word(pool);
  CHECK(next != at && pages_is_readonly(next) == 1);
  void *big = NULL;
  CHECK(pmalloc_pool_alloc(pool, 100000, 4096, &big) == PMALLOC_OK);
  CHECK(pages_is_readonly(big) == 1);
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_OK);
  CHECK(pmalloc_wr_copy(next, &value, 8) == PMALLOC_OK && *next == 4);
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_OK);
  pmalloc_pool_forget(pool);
}

static void test_openings(void) {
  pmalloc_pool *pool = make(PMALLOC_MODE_WR, PMALLOC_PRIVATE), *other = make(PMALLOC_MODE_WR, 0);
  uint64_t *at = word(pool), *others = word(other), value = 2;
  sigset_t now;
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_OK);
  CHECK(rare_write_end(pool) == PMALLOC_ERR_NESTED);
  CHECK(rare_write_begin(pool) == PMALLOC_OK);
  CHECK(rare_write_begin(pool) == PMALLOC_ERR_NESTED && errno == EDEADLK);
  CHECK(rare_write_begin(other) == PMALLOC_ERR_NESTED);
  CHECK(pmalloc_wr_copy(others, &value, 8) == PMALLOC_ERR_NESTED && *others == 0);
  CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_OK);
  CHECK(pmalloc_wr_add(at, 8, 3) == PMALLOC_OK && *at == 5);
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  CHECK(sigismember(&now, SIGINT) == 1);
  CHECK(rare_write_end(other) == PMALLOC_ERR_NESTED);
  CHECK(rare_write_end(pool) == PMALLOC_OK);
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  CHECK(sigismember(&now, SIGINT) == 0);
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_OK && pmalloc_pool_destroy(other) == PMALLOC_OK);
  CHECK(rare_write_begin(pool) == PMALLOC_ERR_DESTROYED);
  pmalloc_pool_forget(pool);
  pmalloc_pool_forget(other);
}

/* An opening of a pool that has no memory yet is one like any other, and leaves it empty. */
static void test_opening_of_nothing(enum pmalloc_mode mode, enum pmalloc_backing backing,
                                    unsigned flags, int protect_first) {
  const struct pmalloc_options options = {.mode = mode, .backing = backing, .flags = flags};
  const int rare = pmalloc_mode_is_rare(mode);
  pmalloc_pool *pool = NULL;
  struct pmalloc_stats before, after;
  uint64_t value = 3;
  sigset_t now;
  OK(pmalloc_pool_create_with(&pool, "empty", &options));
  if (protect_first)
    OK(pmalloc_pool_protect(pool));
  pmalloc_pool_stats(pool, &before);
  CHECK(rare_write_begin(pool) == (rare ? PMALLOC_OK : PMALLOC_ERR_NOT_RARE));
  if (rare) {
    CHECK(rare_write_begin(pool) == PMALLOC_ERR_NESTED);
    CHECK(pmalloc_wr_copy(&value, &value, 8) == PMALLOC_ERR_NOT_RARE);
    OK(rare_write_end(pool));
  }
  CHECK(rare_write_end(pool) == PMALLOC_ERR_NESTED);
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  CHECK(sigismember(&now, SIGINT) == 0);
  pmalloc_pool_stats(pool, &after);
  CHECK(memcmp(&before, &after, sizeof after) == 0 && after.chunks == 0);
  if (!protect_first) { /* it is filled and opened as if nothing had been */
    uint64_t *at = word(pool);
    OK(pmalloc_pool_protect(pool));
    if (rare) {
      OK(rare_write_begin(pool));
      OK(pmalloc_wr_copy(at, &value, 8));
      OK(rare_write_end(pool));
      CHECK(*at == 3);
    }
  } else if (rare) {
    OK(pmalloc_pool_make_ro(pool));
    CHECK(rare_write_begin(pool) == PMALLOC_ERR_NOT_RARE);
  }
  OK(pmalloc_pool_destroy(pool));
  CHECK(rare_write_begin(pool) == PMALLOC_ERR_DESTROYED);
  pmalloc_pool_forget(pool);
}

#ifdef PMALLOC_FAULT_INJECTION
/* What an opening of an empty pool takes, the kernel may refuse. */
static void test_opening_without_memory(void) {
  enum { MANY = 4096 };
  static pmalloc_pool *pools[MANY];
  enum pmalloc_status status = PMALLOC_OK;
  sigset_t now;
  int n = 0;
  char name[PMALLOC_NAME_MAX + 1] = {0}; /* a long one: what there is, is soon used up */
  memset(name, 'n', PMALLOC_NAME_MAX);
  pages_inject(PAGES_CALL_MMAP, 0, ENOMEM, 1);
  while (n < MANY && status == PMALLOC_OK) {
    const struct pmalloc_options options = {.mode = PMALLOC_MODE_WR};
    CHECK(pmalloc_pool_create_with(&pools[n], name, &options) == PMALLOC_OK);
    status = rare_write_begin(pools[n++]);
    if (status == PMALLOC_OK)
      OK(rare_write_end(pools[n - 1]));
  }
  CHECK(status == PMALLOC_ERR_NOMEM && errno == ENOMEM);
  CHECK(rare_write_end(pools[n - 1]) == PMALLOC_ERR_NESTED);
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  CHECK(sigismember(&now, SIGINT) == 0);
  pages_inject(PAGES_CALL_MMAP, -1, 0, 0);
  OK(rare_write_begin(pools[n - 1]));
  OK(rare_write_end(pools[n - 1]));
  while (n-- > 0) {
    OK(pmalloc_pool_destroy(pools[n]));
    pmalloc_pool_forget(pools[n]);
  }
}
#endif

/* The handle of a hardened pool leads elsewhere: no lock is looked for there. */
static void test_opening_astray(void) {
  const struct pmalloc_options options = {.mode = PMALLOC_MODE_WR, .flags = PMALLOC_HARDENED};
  pmalloc_pool *pool = NULL;
  OK(pmalloc_pool_create_with(&pool, "astray", &options));
  (void)word(pool);
  struct registry_record *record = pool->record;
  pool->record = (struct registry_record *)0x123456789000;
  CHECK(rare_write_begin(pool) == PMALLOC_ERR_CORRUPT);
  pool->record = record;
  OK(rare_write_begin(pool));
  OK(rare_write_end(pool));
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

static sigjmp_buf back;
static void on_fault(int number) { siglongjmp(back, number); }

/* A store beside the door within an opening is answered as any other: its signal is not blocked,
 * and the opening lives on. */
static void test_violation_in_opening(void) {
  pmalloc_pool *pool = make(PMALLOC_MODE_WR, PMALLOC_PRIVATE);
  uint64_t *at = word(pool), value = 2;
  const struct sigaction action = {.sa_handler = on_fault};
  struct sigaction before;
  OK(pmalloc_pool_protect(pool));
  OK(rare_write_begin(pool));
  CHECK(sigaction(SIGSEGV, &action, &before) == 0);
  int signal = sigsetjmp(back, 1);
  if (signal == 0)
    *(volatile uint64_t *)at = 1;
  CHECK(signal == SIGSEGV && *at == 0);
  CHECK(sigaction(SIGSEGV, &before, NULL) == 0);
  OK(pmalloc_wr_copy(at, &value, 8));
  OK(rare_write_end(pool));
  CHECK(*at == 2);
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

#ifdef PMALLOC_FAULT_INJECTION
/* A source that can't be read: no window is opened for it, and the handler is called. */
static void read_nowhere(void *at) {
  struct sigaction action = {.sa_handler = on_fault};
  char *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  sigset_t now;
  sigaction(SIGSEGV, &action, NULL);
  if (sigsetjmp(back, 0) == 0) {
    (void)pmalloc_wr_copy(at, nowhere, 8);
    CHECK(0);
  }
  pthread_sigmask(SIG_SETMASK, NULL, &now);
  CHECK(sigismember(&now, SIGINT) == 0 && pages_is_readonly(at) == 1);
}

static void test_window(void) {
  pmalloc_pool *pool = make(PMALLOC_MODE_WR, PMALLOC_PRIVATE);
  uint64_t *at = word(pool), value = 4;
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_OK);
  pages_inject(PAGES_CALL_POKE, 0, EIO, 1);
  CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_OK && *at == 4);
  CHECK(pages_is_readonly(at) == 1);
  CHECK(dies(read_nowhere, at) == 0);
  pages_inject(PAGES_CALL_MPROTECT, 0, ENOMEM, 0);
  CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_ERR_NOMEM);
  pages_inject(PAGES_CALL_MPROTECT, -1, 0, 0);
  CHECK(pmalloc_pool_make_ro(pool) == PMALLOC_OK);
  CHECK(pmalloc_wr_copy(at, &value, 8) == PMALLOC_ERR_NOT_RARE);
  pages_inject(PAGES_CALL_POKE, -1, 0, 0);
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_OK);
  pmalloc_pool_forget(pool);
}
#endif

int main(void) {
  test_word(PMALLOC_PRIVATE);
  test_word(PMALLOC_MEMFD);
  test_refused();
  test_commit(PMALLOC_PRIVATE);
  test_commit(PMALLOC_MEMFD);
  test_commit_ends();
  test_auto(PMALLOC_MODE_AUTO_RO);
  test_auto(PMALLOC_MODE_AUTO_WR);
  test_start();
  test_openings();
  for (int mode = 0; mode <= PMALLOC_MODE_START_WR; mode++) {
    for (int n = 0; n < 8; n++) {
      const unsigned flags = n & 4 && mode != PMALLOC_MODE_START_WR ? PMALLOC_HARDENED : 0;
      test_opening_of_nothing((enum pmalloc_mode)mode, (enum pmalloc_backing)(n & 1), flags, n & 2);
    }
  }
  test_opening_astray();
#ifdef PMALLOC_FAULT_INJECTION
  test_opening_without_memory();
#endif
  test_violation_in_opening();
#ifdef PMALLOC_FAULT_INJECTION
  test_window();
#endif
  return finish("rare_write");
}

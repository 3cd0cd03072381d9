/* Rare writes by several threads: totals are exact, commits and openings are not mixed up, the pool
 * grows meanwhile, and ends, or becomes read-only, in the midst of it. Under ThreadSanitizer, too.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <errno.h>
#include <pthread.h>

#include "check.h"
#include "pages.h"
#include "pool.h"

#ifdef __SANITIZE_THREAD__
#define SLOW 1
#else
#define SLOW (SANITIZED || EMULATED)
#endif

enum { THREADS = 4, ROUNDS = SLOW ? 500 : 5000, WORDS = 64 };

struct shown {
  pmalloc_pool *pool;
  uint64_t *words;
};

static atomic_int stop;
static atomic_long done;

static struct shown show(enum pmalloc_mode mode, enum pmalloc_backing backing) {
  const struct pmalloc_options options = {.mode = mode, .backing = backing};
  struct shown s = {NULL, NULL};
  OK(pmalloc_pool_create_with(&s.pool, "threads", &options));
  OK(pmalloc_pool_alloc(s.pool, WORDS * sizeof(uint64_t), 0, (void **)&s.words));
  return s;
}

static void run(void *(*what)(void *), const struct shown *s) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_create(&threads[i], NULL, what, (void *)(uintptr_t)s) == 0);
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
}

/* ---- totals ---- */

static void *add(void *arg) {
  const struct shown *s = arg;
  for (int i = 0; i < ROUNDS; i++)
    OK(pmalloc_wr_add(&s->words[0], 8, 1));
  return NULL;
}

/* Three words that belong together, and are read back in the same opening. */
static void *open_and_write(void *arg) {
  const struct shown *s = arg;
  uint64_t read[3];
  for (int i = 0; i < ROUNDS; i++) {
    OK(rare_write_begin(s->pool));
    OK(pmalloc_wr_read(read, &s->words[8], sizeof read));
    CHECK(read[1] == read[0] * 2 && read[2] == read[0] * 3);
    OK(pmalloc_wr_add(&s->words[8], 8, 1));
    OK(pmalloc_wr_add(&s->words[9], 8, 2));
    OK(pmalloc_wr_add(&s->words[10], 8, 3));
    OK(rare_write_end(s->pool));
  }
  return NULL;
}

/* Each thread edits one word of what all copy out: what the others did to theirs stays. */
static void *commit(void *arg) {
  static atomic_uint numbers;
  const struct shown *s = arg;
  unsigned mine = 16 + atomic_fetch_add(&numbers, 1) % THREADS;
  uint64_t base[8], edit[8];
  for (int i = 0; i < ROUNDS; i++) {
    OK(pmalloc_wr_read(base, &s->words[16], sizeof base));
    memcpy(edit, base, sizeof edit);
    edit[mine - 16]++;
    OK(pmalloc_wr_commit(&s->words[16], base, edit, sizeof base));
  }
  return NULL;
}

static void test_totals(enum pmalloc_backing backing) {
  struct shown s = show(PMALLOC_MODE_WR, backing);
  OK(pmalloc_pool_protect(s.pool));
  run(add, &s);
  CHECK(s.words[0] == (uint64_t)THREADS * ROUNDS);
  run(open_and_write, &s);
  CHECK(s.words[8] == (uint64_t)THREADS * ROUNDS && s.words[10] == s.words[8] * 3);
  run(commit, &s);
  for (int i = 0; i < THREADS; i++)
    CHECK(s.words[16 + i] == ROUNDS);
  OK(pmalloc_pool_destroy(s.pool));
  pmalloc_pool_forget(s.pool);
}

/* ---- meanwhile ---- */

/* Until it is refused for good, which may be for `stop` only. */
static void *write_on(void *arg) {
  const struct shown *s = arg;
  uint64_t value[2];
  while (!atomic_load(&stop)) {
    enum pmalloc_status status = pmalloc_wr_add(&s->words[0], 8, 1);
    if (status == PMALLOC_OK) {
      atomic_fetch_add(&done, 1);
      status = pmalloc_wr_read(value, &s->words[0], sizeof value);
    }
    if (status != PMALLOC_OK) {
      CHECK(status == PMALLOC_ERR_NOT_RARE || status == PMALLOC_ERR_DESTROYED);
      return NULL;
    }
    sched_yield();
  }
  return NULL;
}

static void start(pthread_t *threads, const struct shown *s) {
  atomic_store(&stop, 0);
  atomic_store(&done, 0);
  for (int i = 0; i < 2; i++)
    CHECK(pthread_create(&threads[i], NULL, write_on, (void *)(uintptr_t)s) == 0);
  while (atomic_load(&done) < 10)
    sched_yield();
}

static void join(pthread_t *threads) {
  for (int i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
}

static void test_make_ro(void) {
  for (int round = 0; round < ROUNDS / 50; round++) {
    struct shown s = show(PMALLOC_MODE_WR, PMALLOC_PRIVATE);
    pthread_t threads[2];
    OK(pmalloc_pool_protect(s.pool));
    start(threads, &s);
    OK(pmalloc_pool_make_ro(s.pool));
    uint64_t last = s.words[0];
    join(threads); /* by themselves */
    CHECK(s.words[0] == last && last == (uint64_t)atomic_load(&done));
    OK(pmalloc_pool_destroy(s.pool));
    pmalloc_pool_forget(s.pool);
  }
}

static void test_destroy(void) {
  for (int round = 0; round < ROUNDS / 50; round++) {
    struct shown s = show(PMALLOC_MODE_WR, round % 2 ? PMALLOC_PRIVATE : PMALLOC_MEMFD);
    pthread_t threads[2];
    OK(pmalloc_pool_protect(s.pool));
    start(threads, &s);
    OK(pmalloc_pool_destroy(s.pool));
    join(threads);
    pmalloc_pool_forget(s.pool);
  }
}

/* Chunk after chunk, which moves what the pool knows of them; and allocations that are freed. */
static void test_growth(enum pmalloc_mode mode) {
  const struct pmalloc_options options = {.mode = mode, .chunk_size = 4096};
  struct shown s = {NULL, NULL};
  pthread_t threads[2];
  void *more;
  OK(pmalloc_pool_create_with(&s.pool, "growing", &options));
  OK(pmalloc_pool_alloc(s.pool, WORDS * sizeof(uint64_t), 0, (void **)&s.words));
  OK(pmalloc_pool_alloc(s.pool, 4096, 0, &more)); /* the first chunk is closed */
  start(threads, &s);
  for (int i = 0; i < 150; i++) {
    long before = atomic_load(&done);
    while (atomic_load(&done) < before + 3) /* they look at what there is, and then it moves */
      sched_yield();
    OK(pmalloc_pool_alloc(s.pool, 4096, 0, &more));
    if (i % 7 == 0)
      OK(pmalloc_pool_free(s.pool, more));
  }
  OK(pmalloc_pool_protect(s.pool));
  atomic_store(&stop, 1);
  join(threads);
  CHECK(s.words[0] == (uint64_t)atomic_load(&done));
  OK(pmalloc_pool_destroy(s.pool));
  pmalloc_pool_forget(s.pool);
}

/* An opening never waits for who waits for it. */
static void *free_something(void *arg) {
  const struct shown *s = arg;
  OK(pfree(s->pool, s->words)); /* holds the pool's lock, and waits for the opening's end */
  return NULL;
}

static void test_opening_waits_for_nobody(void) {
  struct shown s = show(PMALLOC_MODE_START_WR, PMALLOC_PRIVATE);
  pthread_t thread;
  alarm(60);
  OK(rare_write_begin(s.pool));
  CHECK(pthread_create(&thread, NULL, free_something, &s) == 0);
  nanosleep(&(struct timespec){0, 20000000}, NULL);
  errno = 0;
  CHECK(pmalloc(s.pool, 16) == NULL && errno == EDEADLK);
  CHECK(pmalloc_array(s.pool, 16, 16) == NULL && errno == EDEADLK);
  CHECK(pmalloc_create_pool("another", NULL) == NULL && errno == EDEADLK);
  CHECK(pmalloc_global_pool() == NULL && errno == EDEADLK);
  CHECK(pfree(s.pool, s.words) == PMALLOC_ERR_NESTED);
  CHECK(pmalloc_prealloc(s.pool, 16) == PMALLOC_ERR_NESTED);
  CHECK(pmalloc_protect_pool(s.pool) == PMALLOC_ERR_NESTED);
  CHECK(pmalloc_seal_pool(s.pool, PMALLOC_SEALED) == PMALLOC_ERR_NESTED);
  CHECK(pmalloc_make_pool_ro(s.pool) == PMALLOC_ERR_NESTED);
  CHECK(pmalloc_check_pool(s.pool, NULL) == PMALLOC_ERR_NESTED);
  CHECK(pmalloc_destroy_pool(s.pool) == PMALLOC_ERR_NESTED);
  CHECK(pmalloc_destroy_damaged_pool(s.pool) == PMALLOC_ERR_NESTED);
  OK(rare_write_end(s.pool));
  pthread_join(thread, NULL);
  alarm(0);
  OK(pmalloc_destroy_pool(s.pool));
}

int main(void) {
  test_totals(PMALLOC_PRIVATE);
  test_totals(PMALLOC_MEMFD);
  test_make_ro();
  test_destroy();
  test_growth(PMALLOC_MODE_AUTO_WR);
  test_growth(PMALLOC_MODE_START_WR);
  test_opening_waits_for_nobody();
#ifdef PMALLOC_FAULT_INJECTION
  pages_inject(PAGES_CALL_POKE, 0, EIO, 1); /* through a window */
  test_totals(PMALLOC_PRIVATE);
  test_destroy();
#endif
  return finish("rare_write_threads");
}

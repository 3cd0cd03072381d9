/* Tests of pools under threads and fork().
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include <pthread.h>

#include "pages.h"
#include "pool.h"
#include "share.h"

enum { THREADS = EMULATED ? 4 : 8, ROUNDS = EMULATED ? 100 : 300, KEPT = 64 };

static pmalloc_pool *shared;
static atomic_int stop;

static int all(const char *at, size_t n, char value) {
  for (size_t i = 0; i < n; i++) {
    if (at[i] != value)
      return 0;
  }
  return 1;
}

/* Allocates, fills, checks and frees, in its own pool and in the shared one. */
static void *work(void *arg) {
  char mine = (char)(1 + (intptr_t)arg);
  for (int round = 0; round < ROUNDS / 10; round++) {
    pmalloc_pool *own, *pools[2];
    char *kept[KEPT];
    size_t sizes[KEPT];
    OK(pmalloc_pool_create(&own, "own", 0));
    pools[0] = own;
    pools[1] = shared;
    for (int i = 0; i < KEPT; i++) {
      sizes[i] = (size_t)(i * 37 * (round + 1) % 3000 + 1);
      OK(pmalloc_pool_alloc(pools[i % 2], sizes[i], 0, (void **)&kept[i]));
      CHECK(all(kept[i], sizes[i], 0));
      memset(kept[i], mine, sizes[i]);
    }
    struct pmalloc_region r;
    OK(pmalloc_pool_region(shared, 512, &r));
    for (size_t at = 0; at < r.size; at += 32) {
      CHECK(r.base[at] == 0);
      pmalloc_region_mark(&r, r.base + at);
      r.base[at] = mine;
    }
    for (size_t at = 0; at < r.size; at += 32)
      CHECK(r.base[at] == mine && pmalloc_registry_is_start((uintptr_t)r.base + at));
    if (round % 3)
      pmalloc_region_commit(shared, &r, 16);
    else
      pmalloc_region_abandon(shared, &r);
    struct pmalloc_where where;
    for (int i = 0; i < KEPT; i++) {
      CHECK(all(kept[i], sizes[i], mine));
      CHECK(pmalloc_registry_find((uintptr_t)kept[i], &where) &&
            where.object_start == (uintptr_t)kept[i] &&
            where.object_end == (uintptr_t)kept[i] + sizes[i]);
      if (i % 4 != 2)
        OK(pmalloc_pool_free(pools[i % 2], kept[i]));
    }
    if (round % 2)
      OK(pmalloc_pool_protect(own));
    OK(pmalloc_pool_destroy(own));
    pmalloc_pool_forget(own);
  }
  return NULL;
}

static void run_threads(void) {
  pthread_t threads[THREADS];
  for (intptr_t i = 0; i < THREADS; i++)
    pthread_create(&threads[i], NULL, work, (void *)i);
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
}

/* Creates, maps and ends pools until told to stop. */
static void *churn(void *arg) {
  (void)arg;
  while (!atomic_load(&stop)) {
    pmalloc_pool *pool;
    void *at;
    OK(pmalloc_pool_create(&pool, "churn", 0));
    OK(pmalloc_pool_alloc(pool, 100, 0, &at));
    OK(pmalloc_pool_alloc(shared, 100, 0, &at));
    OK(pmalloc_pool_free(shared, at));
    OK(pmalloc_pool_set_root(pool, at));
    OK(pmalloc_pool_destroy(pool));
    pmalloc_pool_forget(pool);
  }
  return NULL;
}

/* The same with memfds, some of which become immutable and are opened as by another process. */
static void *churn_files(void *arg) {
  const struct pmalloc_options options = {.backing = PMALLOC_MEMFD};
  (void)arg;
  for (int n = 0; !atomic_load(&stop); n++) {
    pmalloc_pool *pool;
    pmalloc_shared *seen;
    void *at;
    const void *there;
    size_t size;
    int fd;
    OK(pmalloc_pool_create_with(&pool, "churned file", &options));
    OK(pmalloc_pool_alloc(pool, 100, 0, &at));
    memset(at, 7, 100);
    enum pmalloc_status status = PMALLOC_ERR_UNSUPPORTED;
    if (n % 16 == 0 && n < 16 * 200) /* they stay */
      status = pmalloc_pool_protect_as(pool, PMALLOC_IMMUTABLE);
    if (status == PMALLOC_OK) {
      OK(pmalloc_pool_fileno(pool, &fd));
      OK(pmalloc_shared_open(&seen, fd, 0));
      OK(pmalloc_shared_get(seen, 0, &there, &size));
      CHECK(size == 100 && memcmp(there, at, 100) == 0);
      OK(pmalloc_shared_close(seen));
      continue;
    }
    /* A child that was forked in the meantime still maps it. */
    CHECK(status == PMALLOC_ERR_BUSY || status == PMALLOC_ERR_UNSUPPORTED);
    static atomic_int told;
    if (n == 0 && status == PMALLOC_ERR_UNSUPPORTED && !atomic_exchange(&told, 1))
      puts("test_pool_threads: immutable pools skipped, this kernel has no mseal");
    OK(pmalloc_pool_alloc(pool, 100000, 0, &at));
    OK(pmalloc_pool_destroy(pool));
    pmalloc_pool_forget(pool);
  }
  return NULL;
}

#ifndef __SANITIZE_THREAD__ /* which does not support fork() with threads about */
static void in_child(void *arg) {
  pmalloc_pool *pool, *sealed = arg;
  char *at;
  void *root;
  alarm(EMULATED ? 200 : 20); /* a lock left behind would hang */
  OK(pmalloc_pool_create(&pool, "child", 0));
  OK(pmalloc_pool_alloc(pool, 100000, 0, (void **)&at));
  memset(at, 1, 100000);
  OK(pmalloc_pool_alloc(shared, 100, 0, (void **)&at));
  OK(pmalloc_pool_free(shared, at));
  CHECK(pmalloc_root_lookup("sealed", &root) == 1 && *(char *)root == 33);
  CHECK(pages_is_readonly(root) == 1);
  CHECK(pmalloc_pool_alloc(sealed, 1, 0, (void **)&at) == PMALLOC_ERR_PROTECTED);
  OK(pmalloc_pool_protect(pool));
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

static void test_fork(void) {
  pthread_t threads[3];
  pmalloc_pool *sealed;
  char *at;
  OK(pmalloc_pool_create(&sealed, "sealed", 0));
  OK(pmalloc_pool_alloc(sealed, 100, 0, (void **)&at));
  *at = 33;
  OK(pmalloc_pool_set_root(sealed, at));
  OK(pmalloc_pool_protect(sealed));
  atomic_store(&stop, 0);
  for (int i = 0; i < 3; i++)
    pthread_create(&threads[i], NULL, i == 2 ? churn_files : churn, NULL);
  for (int i = 0; i < (EMULATED ? 8 : SANITIZED ? 20 : 200); i++)
    CHECK(dies(in_child, sealed) == 0);
  atomic_store(&stop, 1);
  for (int i = 0; i < 3; i++)
    pthread_join(threads[i], NULL);
  OK(pmalloc_pool_destroy(sealed));
  pmalloc_pool_forget(sealed);
}
#endif

/* Lookups in one thread while another destroys what they look at. */
static char *_Atomic target;

static void *look_up(void *arg) {
  (void)arg;
  struct pmalloc_where where;
  while (!atomic_load(&stop)) {
    uintptr_t at = (uintptr_t)atomic_load(&target);
    if (pmalloc_registry_find(at + 20, &where))
      CHECK(strcmp(where.pool_name, "short-lived") == 0);
    pmalloc_registry_is_start(at);
  }
  return NULL;
}

static void test_lookup_and_destroy(void) {
  pthread_t thread;
  atomic_store(&stop, 0);
  pthread_create(&thread, NULL, look_up, NULL);
  for (int i = 0; i < (EMULATED ? 300 : 2000); i++) {
    pmalloc_pool *pool;
    char *at;
    OK(pmalloc_pool_create(&pool, "short-lived", 0));
    OK(pmalloc_pool_alloc(pool, 1000, 0, (void **)&at));
    atomic_store(&target, at);
    OK(pmalloc_pool_destroy(pool));
    pmalloc_pool_forget(pool);
  }
  atomic_store(&stop, 1);
  pthread_join(thread, NULL);
}

/* Two at once, for the sanitizer. */
static void test_files(void) {
  pthread_t threads[2];
  atomic_store(&stop, 0);
  for (int i = 0; i < 2; i++)
    pthread_create(&threads[i], NULL, churn_files, NULL);
  nanosleep(&(struct timespec){1, 0}, NULL);
  atomic_store(&stop, 1);
  for (int i = 0; i < 2; i++)
    pthread_join(threads[i], NULL);
}

int main(void) {
  OK(pmalloc_pool_create(&shared, "shared", 0));
  run_threads();
  test_files();
#ifndef __SANITIZE_THREAD__
  test_fork();
#endif
  test_lookup_and_destroy();
  OK(pmalloc_pool_protect(shared));
  OK(pmalloc_pool_destroy(shared));
  pmalloc_pool_forget(shared);
  return finish("pool_threads");
}

/* Tests of pmalloc.h from several threads; under ThreadSanitizer, too.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc.h>

#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>

enum { THREADS = 4, ROUNDS = 2000 };

static void together(void *(*work)(void *), void *arg, void **answers) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_create(&threads[i], NULL, work, arg) == 0);
  for (int i = 0; i < THREADS; i++)
    CHECK(pthread_join(threads[i], &answers[i]) == 0);
}

/* NULL where all went well. */
static void *allocate(void *arg) {
  struct pmalloc_pool *pool = arg;
  for (size_t i = 0; i < ROUNDS; i++) {
    size_t size = i % 50 + 1;
    char *at = pmalloc(pool, size);
    if (!at || pmalloc_check_object_size(at, size) != PMALLOC_BOUNDS_GOOD)
      return arg;
    memset(at, (int)i, size);
    if (i % 2 && pfree(pool, at) != PMALLOC_OK)
      return arg;
  }
  return NULL;
}

static void *destroy(void *arg) { return pmalloc_destroy_pool(arg) == PMALLOC_OK ? arg : NULL; }

/* Allocates until somebody protects or destroys the pool; answers errno. */
static void *allocate_to_the_end(void *arg) {
  while (pmalloc(arg, 8)) {
  }
  return (void *)(intptr_t)errno;
}

static void *end_it(void *arg) {
  struct timespec moment = {0, 2000000};
  nanosleep(&moment, NULL);
  pmalloc_destroy_pool(arg);
  return NULL;
}

static void test_one_pool(void) {
  struct pmalloc_pool *pool = pmalloc_create_pool("shared", NULL);
  void *answers[THREADS];
  together(allocate, pool, answers);
  for (int i = 0; i < THREADS; i++)
    CHECK(answers[i] == NULL);
  together(destroy, pool, answers);
  int destroyed = 0;
  for (int i = 0; i < THREADS; i++)
    destroyed += answers[i] != NULL;
  CHECK(destroyed == 1);
}

/* A handle that another thread has just destroyed is an error, at any moment. */
static void test_destroyed_meanwhile(void) {
  for (int round = 0; round < 10; round++) {
    struct pmalloc_pool *pool = pmalloc_create_pool("brief", NULL);
    void *answers[THREADS];
    pthread_t end;
    CHECK(pthread_create(&end, NULL, end_it, pool) == 0);
    together(allocate_to_the_end, pool, answers);
    pthread_join(end, NULL);
    for (int i = 0; i < THREADS; i++)
      CHECK((intptr_t)answers[i] == ESTALE);
  }
}

static void *make_and_end(void *arg) {
  for (int i = 0; i < (EMULATED ? 30 : 100); i++) {
    struct pmalloc_pool *pool = pmalloc_create_pool("one of many", NULL);
    char *at = pool ? pstrdup(pool, "text") : NULL;
    if (!at || pmalloc_protect_pool(pool) != PMALLOC_OK || !pmalloc_is_protected(at) ||
        strcmp(at, "text") != 0 || pmalloc_destroy_pool(pool) != PMALLOC_OK ||
        is_pmalloc_object(at) || pmalloc_destroy_pool(pool) != PMALLOC_ERR_DESTROYED)
      return arg;
  }
  return NULL;
}

static void test_many_pools(void) {
  void *answers[THREADS], *failed = answers;
  together(make_and_end, failed, answers);
  for (int i = 0; i < THREADS; i++)
    CHECK(answers[i] == NULL);
}

int main(void) {
  test_one_pool();
  test_destroyed_meanwhile();
  test_many_pools();
  return finish("api_threads");
}

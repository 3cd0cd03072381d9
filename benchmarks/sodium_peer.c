/* Many small objects, allocated and protected: by libsodium, and by pmalloc.
 *
 * Both sides are C, in one process, in turns. libsodium gives each object pages
 * of its own, with guard pages, and is asked once for each to make it read-only;
 * a pool is asked once for all. The clock stands still while memory is given back.
 *
 *   sodium_peer OBJECTS BYTES ROUNDS     prints three medians, in nanoseconds:
 *                                        libsodium, a pool that grows, a pool with prealloc
 *
 * SPDX-License-Identifier: MIT
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pool.h"

enum { MOST = 20000, ROUNDS = 1000 };
static void *objects[MOST];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void give_up(const char *what) {
  fprintf(stderr, "sodium_peer: %s failed\n", what);
  exit(1);
}

static double by_sodium(int count, size_t bytes) {
  double start = now();
  for (int i = 0; i < count; i++) {
    objects[i] = sodium_malloc(bytes);
    if (!objects[i])
      give_up("sodium_malloc");
    memset(objects[i], i & 0xff, bytes);
  }
  for (int i = 0; i < count; i++) {
    if (sodium_mprotect_readonly(objects[i]) != 0)
      give_up("sodium_mprotect_readonly");
  }
  double end = now();
  for (int i = 0; i < count; i++)
    sodium_free(objects[i]);
  return end - start;
}

static double by_pmalloc(int count, size_t bytes, size_t room) {
  pmalloc_pool *pool;
  double start = now();
  if (pmalloc_pool_create(&pool, "objects", 0) != PMALLOC_OK)
    give_up("pmalloc_pool_create");
  if (pmalloc_pool_prealloc(pool, room) != PMALLOC_OK)
    give_up("pmalloc_pool_prealloc");
  for (int i = 0; i < count; i++) {
    if (pmalloc_pool_alloc(pool, bytes, 0, &objects[i]) != PMALLOC_OK)
      give_up("pmalloc_pool_alloc");
    memset(objects[i], i & 0xff, bytes);
  }
  if (pmalloc_pool_protect(pool) != PMALLOC_OK)
    give_up("pmalloc_pool_protect");
  double end = now();
  pmalloc_pool_destroy(pool);
  pmalloc_pool_forget(pool);
  return end - start;
}

static int order(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(double *of, int n) {
  qsort(of, (size_t)n, sizeof *of, order);
  return n % 2 ? of[n / 2] : (of[n / 2 - 1] + of[n / 2]) / 2;
}

int main(int argc, char **argv) {
  static double theirs[ROUNDS], growing[ROUNDS], roomy[ROUNDS];
  int count = argc > 1 ? atoi(argv[1]) : 0, rounds = argc > 3 ? atoi(argv[3]) : 0;
  size_t bytes = argc > 2 ? (size_t)atol(argv[2]) : 0;
  if (count < 1 || count > MOST || bytes < 1 || bytes > 4096 || rounds < 1 || rounds > ROUNDS)
    give_up("sodium_peer OBJECTS BYTES ROUNDS");
  if (sodium_init() < 0)
    give_up("sodium_init");
  size_t room = (size_t)count * ((bytes + PMALLOC_GRANULE - 1) & ~(size_t)(PMALLOC_GRANULE - 1));
  for (int i = 0; i < rounds; i++) {
    for (int twice = 0; twice < 2; twice++) /* the first run finds what the other side left */
      theirs[i] = by_sodium(count, bytes);
    for (int twice = 0; twice < 2; twice++)
      growing[i] = by_pmalloc(count, bytes, 0);
    for (int twice = 0; twice < 2; twice++)
      roomy[i] = by_pmalloc(count, bytes, room);
  }
  printf("%.0f %.0f %.0f\n", median(theirs, rounds), median(growing, rounds),
         median(roomy, rounds));
  return 0;
}

/* Tests of check_object_size: raw allocations, regions of objects, what is neither.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include "pages.h"
#include "pool.h"
#include "usercopy.h"

#define GOOD(at, n) CHECK(pmalloc_check_object_size(at, n) == PMALLOC_BOUNDS_GOOD)
#define BAD(at, n) CHECK(pmalloc_check_object_size(at, n) == PMALLOC_BOUNDS_BAD)
#define NOT_OURS(at, n) CHECK(pmalloc_check_object_size(at, n) == PMALLOC_BOUNDS_NOT_OURS)

static void test_allocations(void) {
  pmalloc_pool *pool;
  char *at[5];
  static const size_t sizes[] = {1, 16, 33, 4096, 3 << 20};
  OK(pmalloc_pool_create(&pool, "bounds", 0));
  for (int i = 0; i < 5; i++) {
    void *taken;
    OK(pmalloc_pool_alloc(pool, sizes[i], 0, &taken));
    at[i] = taken;
  }
  for (int i = 0; i < 5; i++) {
    for (size_t n = 0; n <= sizes[i]; n += 1 + n / 2)
      GOOD(at[i], n);
    GOOD(at[i], sizes[i]);
    BAD(at[i], sizes[i] + 1);
    BAD(at[i], SIZE_MAX);
    if (sizes[i] % 16)
      BAD(at[i] + sizes[i], 1);
  }
  OK(pmalloc_pool_free(pool, at[2]));
  BAD(at[2], 1);
  OK(pmalloc_pool_protect(pool));
  GOOD(at[3], 4096);
  OK(pmalloc_pool_free(pool, at[3]));
  GOOD(at[3], 4096); /* its bytes stay */
  BAD(at[0] - 1, 1);
  BAD(at[0] - 1, 2);
  OK(pmalloc_pool_destroy(pool));
  BAD(at[0], 1);
  pmalloc_pool_forget(pool);
}

/* A copy out of a pool does not run over the end of its source. */
static void test_copy(void) {
  pmalloc_pool *pool;
  void *from, *to = NULL;
  OK(pmalloc_pool_create(&pool, "copies", 0));
  OK(pmalloc_pool_alloc(pool, 10, 0, &from));
  OK(pmalloc_pool_copy(pool, from, 10, &to));
  void *before = to;
  CHECK(pmalloc_pool_copy(pool, from, 11, &to) == PMALLOC_ERR_INVALID);
  CHECK(pmalloc_pool_copy(pool, (char *)from + 5, 6, &to) == PMALLOC_ERR_INVALID);
  CHECK(to == before);
  OK(pmalloc_pool_copy(pool, "text", 5, &to));
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

static void test_objects(void) {
  pmalloc_pool *pool;
  struct pmalloc_region r;
  OK(pmalloc_pool_create(&pool, "objects", 0));
  OK(pmalloc_pool_region(pool, 200, &r));
  BAD(r.base, 8); /* nothing begins there yet */
  pmalloc_region_mark(&r, r.base + 16);
  pmalloc_region_mark(&r, r.base + 80);
  pmalloc_region_commit(pool, &r, 2);
  for (int turn = 0; turn < 2; turn++) {
    BAD(r.base, 8);
    GOOD(r.base + 16, 64);
    BAD(r.base + 16, 65);
    GOOD(r.base + 40, 40);
    GOOD(r.base + 80, 120);
    BAD(r.base + 80, 121);
    BAD(r.base + 200, 1);
    if (turn == 0)
      OK(pmalloc_pool_protect(pool));
  }
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

static void test_others(void) {
  char here[64];
  NOT_OURS(here, sizeof here);
  NOT_OURS(NULL, 0);
  NOT_OURS(NULL, 100);
  NOT_OURS((void *)UINTPTR_MAX, 0);
  BAD((void *)UINTPTR_MAX, 1); /* the end of memory is not a byte */
  BAD(here, SIZE_MAX);
  pmalloc_pool *pool;
  void *at;
  OK(pmalloc_pool_create(&pool, "edge", pages_page_size()));
  OK(pmalloc_pool_alloc(pool, 16, 0, &at));
  BAD((char *)at + pages_page_size(), 1); /* its guard */
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

int main(void) {
  test_allocations();
  test_copy();
  test_objects();
  test_others();
  return finish("usercopy");
}

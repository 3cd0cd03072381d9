/* Tests of redzones: painted around every allocation, checked at free, protect and destroy.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include "pages.h"
#include "pool.h"
#include "registry_internal.h"

static pmalloc_pool *make(unsigned flags) {
  pmalloc_pool *pool = NULL;
  OK(pmalloc_pool_create_with(&pool, "zones", &(struct pmalloc_options){.flags = flags}));
  return pool;
}

static char *take(pmalloc_pool *pool, size_t size, size_t align) {
  void *at = NULL;
  OK(pmalloc_pool_alloc(pool, size, align, &at));
  CHECK((uintptr_t)at % (align ? align : 16) == 0);
  for (size_t i = 0; i < size; i++) {
    if (((char *)at)[i] != 0) {
      CHECK(!"zeroed");
      break;
    }
  }
  memset(at, (int)size, size); /* all of it is the caller's */
  return at;
}

static void end(pmalloc_pool *pool) {
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

/* One byte is damaged, everybody says so, nothing happens, and mending it makes all well. */
static void hit(unsigned flags, size_t size, ptrdiff_t offset) {
  pmalloc_pool *pool = make(flags);
  struct pmalloc_corruption found;
  take(pool, 50, 0);
  char *at = take(pool, size, 0);
  take(pool, 50, 0);
  OK(pmalloc_pool_check(pool));
  CHECK(!pmalloc_pool_corruption(pool, &found));
  struct pmalloc_stats before, after;
  pmalloc_pool_stats(pool, &before);
  char kept = at[offset];
  at[offset] = 0; /* no canary is zero */
  CHECK(kept != 0);
  CHECK(pmalloc_pool_check(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_free(pool, at) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_corruption(pool, &found));
  CHECK(found.allocation == at && found.size == size && found.offset == offset);
  CHECK(strstr(found.what, offset < 0 ? "in front" : "over the end") != NULL);
  pmalloc_pool_stats(pool, &after);
  CHECK(memcmp(&before, &after, sizeof before) == 0);
  at[offset] = kept;
  OK(pmalloc_pool_check(pool));
  OK(pmalloc_pool_free(pool, at));
  OK(pmalloc_pool_protect(pool));
  end(pool);
}

static void test_hits(void) {
  static const size_t sizes[] = {1, 15, 16, 17, 32, 100, 4096, 1 << 20};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    size_t size = sizes[i], behind = (size + 15) / 16 * 16 + 16;
    for (size_t at = size; at < behind; at++)
      hit(PMALLOC_REDZONES, size, (ptrdiff_t)at);
    for (ptrdiff_t at = -16; at < 0; at++)
      hit(PMALLOC_REDZONES, size, at);
  }
  hit(PMALLOC_HARDENED, 100, 100); /* it implies redzones */
  hit(PMALLOC_HARDENED | PMALLOC_REDZONES, 100, -1);
}

static void test_destroy_damaged(void) {
  pmalloc_pool *pool = make(PMALLOC_REDZONES);
  char *at = take(pool, 10, 0);
  at[10] ^= 1;
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_state(pool) == PMALLOC_OPEN && at[0] == 10);
  OK(pmalloc_pool_destroy_damaged(pool));
  CHECK(pmalloc_pool_destroy_damaged(pool) == PMALLOC_ERR_DESTROYED);
  CHECK(pmalloc_pool_check(pool) == PMALLOC_ERR_DESTROYED);
  pmalloc_pool_forget(pool);
}

/* Without the option nothing is painted, and nothing checked. */
static void test_without(void) {
  pmalloc_pool *pool = make(0);
  char *at = take(pool, 10, 0), *next = take(pool, 10, 0);
  CHECK(next == at + 16 && at[10] == 0);
  at[10] = 1;
  OK(pmalloc_pool_check(pool));
  OK(pmalloc_pool_protect(pool));
  end(pool);
}

static void test_bounds(void) {
  pmalloc_pool *pool = make(PMALLOC_REDZONES);
  char *at = take(pool, 20, 64), *page = take(pool, 4096, pages_page_size());
  struct pmalloc_where where;
  size_t size;
  OK(pmalloc_pool_size_of(pool, at, &size));
  CHECK(size == 20);
  CHECK(pmalloc_registry_find((uintptr_t)at + 3, &where) && where.object_end == (uintptr_t)at + 20);
  CHECK(pmalloc_registry_find((uintptr_t)at + 33, &where) && where.object_end == 0);
  CHECK(pmalloc_registry_find((uintptr_t)at - 1, &where) && where.object_end == 0);
  CHECK(pmalloc_pool_free(pool, at - 16) == PMALLOC_ERR_FOREIGN);
  OK(pmalloc_pool_free(pool, page));
  CHECK(pmalloc_pool_free(pool, page) == PMALLOC_ERR_DOUBLE_FREE);
  end(pool);
}

/* Two pools, two allocations: other canaries. */
static void test_canaries_differ(void) {
  pmalloc_pool *pool = make(PMALLOC_REDZONES);
  char *a = take(pool, 16, 0), *b = take(pool, 16, 0);
  CHECK(memcmp(a + 16, b + 16, 8) != 0);
  memcpy(a + 16, b + 16, 16);
  CHECK(pmalloc_pool_check(pool) == PMALLOC_ERR_CORRUPT);
  OK(pmalloc_pool_destroy_damaged(pool));
  pmalloc_pool_forget(pool);
}

/* Allocations of any size and alignment, freed in any order: no two overlap, redzones and all,
 * and what was freed is found again. */
static void test_churn(void) {
  enum { SLOTS = 300, STEPS = 30000 };
  static char *at[SLOTS];
  static size_t size[SLOTS];
  unsigned random = 12345;
  pmalloc_pool *pool = make(PMALLOC_REDZONES);
  for (int step = 0; step < STEPS; step++) {
    random = random * 1103515245 + 12345;
    int slot = (int)(random >> 16) % SLOTS;
    if (at[slot]) {
      CHECK(at[slot][0] == (char)size[slot] && at[slot][size[slot] - 1] == (char)size[slot]);
      OK(pmalloc_pool_free(pool, at[slot]));
      at[slot] = NULL;
    } else {
      random = random * 1103515245 + 12345;
      size[slot] = 1 + (random >> 16) % ((random >> 8) % 16 ? 200 : 20000);
      at[slot] = take(pool, size[slot], (size_t)16 << (random >> 28) % 9);
    }
    if (step % 1000 == 0)
      OK(pmalloc_pool_check(pool));
  }
  struct pmalloc_stats stats;
  pmalloc_pool_stats(pool, &stats);
  CHECK(stats.reserved_bytes < 16 << 20);
  OK(pmalloc_pool_protect(pool));
  OK(pmalloc_pool_check(pool));
  for (int i = 0; i < SLOTS; i++) {
    if (at[i])
      OK(pmalloc_pool_free(pool, at[i]));
  }
  end(pool);
}

int main(void) {
  test_hits();
  test_destroy_damaged();
  test_without();
  test_bounds();
  test_canaries_differ();
  test_churn();
  return finish("redzone");
}

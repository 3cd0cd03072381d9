/* Tests of the registry: what it answers about any address.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include "pages.h"
#include "pool.h"
#include "registry_internal.h"

static struct pmalloc_where find(const void *at) {
  struct pmalloc_where where;
  pmalloc_registry_find((uintptr_t)at, &where);
  return where;
}

static void test_nowhere(void) {
  static const uintptr_t strange[] = {0,
                                      1,
                                      4095,
                                      UINTPTR_MAX,
                                      UINTPTR_MAX / 2,
                                      (uintptr_t)1 << 57,
                                      ((uintptr_t)1 << 57) - 1,
                                      (uintptr_t)1 << 47,
                                      0xdeadbeefdeadbeef};
  struct pmalloc_where where;
  for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
    CHECK(pmalloc_registry_find(strange[i], &where) == 0 && where.place == PMALLOC_NOWHERE);
    CHECK(pmalloc_registry_is_start(strange[i]) == 0);
    CHECK(pmalloc_registry_owns(strange[i]) == 0);
  }
  CHECK(pmalloc_registry_find((uintptr_t)&where, &where) == 0);
  CHECK(pmalloc_registry_find((uintptr_t)test_nowhere, &where) == 0);
}

static void test_raw(size_t chunk_size) {
  size_t page = pages_page_size();
  pmalloc_pool *pool;
  char *a, *b, *c;
  struct pmalloc_where w;
  OK(pmalloc_pool_create(&pool, "numbers", chunk_size));
  OK(pmalloc_pool_alloc(pool, 100, 0, (void **)&a));
  OK(pmalloc_pool_alloc(pool, 16, 0, (void **)&b));
  OK(pmalloc_pool_alloc(pool, 1, 0, (void **)&c));
  CHECK(b == a + 112 && c == b + 16);
  w = find(a + 37);
  CHECK(w.place == PMALLOC_DATA && w.kind == PMALLOC_RAW && !w.protected_);
  CHECK(strcmp(w.pool_name, "numbers") == 0 && w.pool_id == pmalloc_pool_id(pool));
  CHECK(w.chunk_index == 0 && w.chunk_start == (uintptr_t)a && w.offset_in_chunk == 37);
  CHECK(w.object_start == (uintptr_t)a && w.object_end == (uintptr_t)a + 100);
  w = find(a + 105); /* slack: past the exact end */
  CHECK(w.object_start == (uintptr_t)a && w.object_end == (uintptr_t)a + 100);
  w = find(b);
  CHECK(w.object_start == (uintptr_t)b && w.object_end == (uintptr_t)b + 16);
  w = find(c + 8);
  CHECK(w.object_end == (uintptr_t)c + 1);
  w = find(c + 16); /* not handed out */
  CHECK(w.place == PMALLOC_DATA && w.object_start == (uintptr_t)c && w.object_end == 0);
  CHECK(pmalloc_registry_is_start((uintptr_t)a) && pmalloc_registry_is_start((uintptr_t)b));
  CHECK(!pmalloc_registry_is_start((uintptr_t)a + 16) &&
        !pmalloc_registry_is_start((uintptr_t)a + 1));
  CHECK(pmalloc_registry_owns((uintptr_t)a));
  char *end = (char *)w.chunk_end;
  CHECK(find(end - 1).place == PMALLOC_DATA);
  CHECK(find(end).place == PMALLOC_GUARD && find(end + page - 1).place == PMALLOC_GUARD);
  CHECK(find(a - 1).place == PMALLOC_GUARD && find(a - page).place == PMALLOC_GUARD);
  CHECK(find(end).chunk_start == (uintptr_t)a && find(end).chunk_end == (uintptr_t)end);
  CHECK(!pmalloc_registry_owns((uintptr_t)end) && !pmalloc_registry_is_start((uintptr_t)end));
  const struct registry_range *range = registry_at((uintptr_t)a);
  CHECK(find(range->chunk).place == PMALLOC_METADATA);
  CHECK(strcmp(find(range->chunk).pool_name, "numbers") == 0);
  char *slab = (char *)((uintptr_t)range->record->cold & ~(page - 1));
  CHECK(find(slab - 1).place == PMALLOC_GUARD);
  OK(pmalloc_pool_free(pool, b));
  CHECK(find(b).object_end == 0 && find(b).object_start == (uintptr_t)a);
  OK(pmalloc_pool_protect(pool));
  w = find(a);
  CHECK(w.protected_ && w.object_end == (uintptr_t)a + 100);
  WRITE_FAULTS(a);
  WRITE_FAULTS(range->chunk);
  WRITE_FAULTS(range->record->cold);
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
  w = find(a + 5);
  CHECK(w.place == PMALLOC_DESTROYED && strcmp(w.pool_name, "numbers") == 0);
  CHECK(w.chunk_start == (uintptr_t)a && w.chunk_end == (uintptr_t)end);
  CHECK(find(a - 1).place == PMALLOC_DESTROYED && find(end).place == PMALLOC_DESTROYED);
  CHECK(find(slab).place == PMALLOC_DESTROYED);
  CHECK(!pmalloc_registry_owns((uintptr_t)a) && !pmalloc_registry_is_start((uintptr_t)a));
  READ_FAULTS(a);
  READ_FAULTS(slab);
}

static void test_objects(void) {
  pmalloc_pool *pool;
  struct pmalloc_region r;
  struct pmalloc_where w;
  OK(pmalloc_pool_create(&pool, "objects", 0));
  OK(pmalloc_pool_region(pool, 1001, &r));
  CHECK(r.size == 1008);
  w = find(r.base + 10);
  CHECK(w.kind == PMALLOC_OBJECTS && w.object_start == 0);
  pmalloc_region_mark(&r, r.base + 16);
  pmalloc_region_mark(&r, r.base + 64);
  pmalloc_region_commit(pool, &r, 2);
  w = find(r.base + 63);
  CHECK(w.object_start == (uintptr_t)r.base + 16 && w.object_end == (uintptr_t)r.base + 64);
  w = find(r.base + 64);
  CHECK(w.object_start == (uintptr_t)r.base + 64 && w.object_end == (uintptr_t)r.base + 1008);
  w = find(r.base);
  CHECK(w.object_start == 0 && w.object_end == (uintptr_t)r.base + 16);
  CHECK(pmalloc_registry_is_start((uintptr_t)r.base + 16));
  CHECK(!pmalloc_registry_is_start((uintptr_t)r.base));
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

/* Whole 2 MiB slots, and lookups at each of their corners. */
static void test_large(void) {
  pmalloc_pool *pool;
  char *a;
  size_t size = ((size_t)7 << 20) + 12345;
  OK(pmalloc_pool_create(&pool, "large", 0));
  OK(pmalloc_pool_alloc(pool, size, 0, (void **)&a));
  CHECK((uintptr_t)a % PAGES_HUGE == 0);
  for (size_t at = 0; at < size; at += 4096 * 37) {
    struct pmalloc_where w = find(a + at);
    CHECK(w.place == PMALLOC_DATA && w.object_start == (uintptr_t)a &&
          w.object_end == (uintptr_t)a + size);
  }
  CHECK(find(a + pages_round(size) - 1).place == PMALLOC_DATA);
  CHECK(find(a + pages_round(size)).place == PMALLOC_GUARD);
  CHECK(find(a - 1).place == PMALLOC_GUARD);
  CHECK(find(a + pages_round(size) + pages_page_size()).pool_id != pmalloc_pool_id(pool));
  OK(pmalloc_pool_destroy(pool));
  CHECK(find(a + size / 2).place == PMALLOC_DESTROYED);
  pmalloc_pool_forget(pool);
}

/* Garbage where the chunk's descriptor should be: an answer, not a crash. */
static void test_garbage(void) {
  pmalloc_pool *pool;
  char *a;
  OK(pmalloc_pool_create(&pool, "garbage", 0));
  OK(pmalloc_pool_alloc(pool, 64, 0, (void **)&a));
  struct cold_chunk *chunk = (struct cold_chunk *)(uintptr_t)registry_at((uintptr_t)a)->chunk;
  struct cold_chunk kept = *chunk;
  for (unsigned byte = 0; byte < sizeof kept; byte++) {
    for (int fill = 1; fill < 256; fill += 127) {
      ((unsigned char *)chunk)[byte] ^= (unsigned char)fill;
      CHECK(find(a + 3).place == PMALLOC_DATA);
      pmalloc_registry_is_start((uintptr_t)a);
      *chunk = kept;
    }
  }
  memset(chunk, 0xff, sizeof *chunk);
  CHECK(find(a).place == PMALLOC_DATA && find(a).object_end == 0);
  *chunk = kept;
  CHECK(find(a).object_end == (uintptr_t)a + 64);
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

int main(void) {
  test_nowhere();
  test_raw(0);
  test_raw(1 << 20);
  test_raw(PAGES_HUGE);
  test_objects();
  test_large();
  test_garbage();
  return finish("registry");
}

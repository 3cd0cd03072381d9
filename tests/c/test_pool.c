/* Tests of the pool: its life, the raw allocator, regions, the root, its price.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include <errno.h>
#include <sys/mman.h>

#include "pages.h"
#include "pool.h"
#include "registry_internal.h"

static pmalloc_pool *make(const char *name, size_t chunk_size) {
  pmalloc_pool *pool = NULL;
  OK(pmalloc_pool_create(&pool, name, chunk_size));
  return pool;
}

static char *take(pmalloc_pool *pool, size_t size, size_t align) {
  void *at = NULL;
  OK(pmalloc_pool_alloc(pool, size, align, &at));
  return at;
}

static void end(pmalloc_pool *pool) {
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

static struct pmalloc_stats stats(pmalloc_pool *pool) {
  struct pmalloc_stats s;
  pmalloc_pool_stats(pool, &s);
  return s;
}

static int all(const char *at, size_t n, char value) {
  for (size_t i = 0; i < n; i++) {
    if (at[i] != value)
      return 0;
  }
  return 1;
}

static void test_status_texts(void) {
  for (int status = 0; status <= PMALLOC_ERR_FORMAT + 1; status++)
    CHECK(strlen(pmalloc_status_text((enum pmalloc_status)status)) > 5);
}

static void test_create(void) {
  pmalloc_pool *pool;
  char name[PMALLOC_NAME_MAX + 2];
  memset(name, 'n', sizeof name);
  name[PMALLOC_NAME_MAX + 1] = 0;
  CHECK(pmalloc_pool_create(&pool, name, 0) == PMALLOC_ERR_INVALID);
  CHECK(pmalloc_pool_create(&pool, NULL, 0) == PMALLOC_ERR_INVALID);
  CHECK(pmalloc_pool_create(&pool, "x", SIZE_MAX) == PMALLOC_ERR_INVALID);
  name[PMALLOC_NAME_MAX] = 0;
  pool = make(name, 0);
  CHECK(strcmp(pmalloc_pool_name(pool), name) == 0);
  take(pool, 1, 0);
  end(pool);
  pool = make("a", 0);
  pmalloc_pool *other = make("a", 0);
  CHECK(pmalloc_pool_id(pool) != pmalloc_pool_id(other));
  CHECK(stats(pool).chunks == 0 && stats(pool).cold_bytes == 0 &&
        stats(pool).state == PMALLOC_OPEN);
  pmalloc_pool_forget(pool);
  OK(pmalloc_pool_protect(other));
  CHECK(pmalloc_pool_protect(other) == PMALLOC_ERR_PROTECTED);
  end(other);
}

static void test_empty_pools(void) {
  enum { MANY = 10000 };
  static pmalloc_pool *pools[MANY];
  long before = resident();
  double start = now();
  for (int i = 0; i < MANY; i++)
    OK(pmalloc_pool_create(&pools[i], "empty", 0));
  double spent = now() - start;
  long each = (resident() - before) / MANY;
  printf("  empty pool: %ld bytes, %.2f us\n", each, spent / MANY * 1e6);
  if (!SANITIZED)
    CHECK(each < 1024);
  CHECK(EMULATED || spent < 0.5);
  CHECK(dies(look, &before) == 0); /* fork() with all of them */
  for (int i = 0; i < MANY; i++) {
    if (i % 2)
      OK(pmalloc_pool_destroy(pools[i]));
    pmalloc_pool_forget(pools[i]);
  }
}

static void test_exact_sizes(void) {
  pmalloc_pool *pool = make("sizes", 0);
  static char *at[600];
  size_t size;
  for (size_t n = 0; n < 600; n++) {
    at[n] = take(pool, n, 0);
    CHECK(all(at[n], n, 0));
    memset(at[n], (int)(n & 127), n);
  }
  for (size_t n = 0; n < 600; n++) {
    OK(pmalloc_pool_size_of(pool, at[n], &size));
    CHECK(size == (n ? n : 1));
    CHECK(all(at[n], n, (char)(n & 127)));
  }
  CHECK(stats(pool).allocations == 600);
  OK(pmalloc_pool_protect(pool));
  OK(pmalloc_pool_size_of(pool, at[77], &size));
  CHECK(size == 77);
  CHECK(pmalloc_pool_size_of(pool, at[77] + 16, &size) == PMALLOC_ERR_FOREIGN);
  end(pool);
}

static void test_alignment(void) {
  pmalloc_pool *pool = make("aligned", 0);
  void *at;
  for (size_t align = 1; align <= pages_page_size(); align *= 2) {
    for (int i = 0; i < 4; i++)
      CHECK((uintptr_t)take(pool, 24, align) % (align < 16 ? 16 : align) == 0);
  }
  CHECK((uintptr_t)take(pool, 3 << 20, pages_page_size()) % pages_page_size() == 0);
  CHECK(pmalloc_pool_alloc(pool, 8, 3, &at) == PMALLOC_ERR_INVALID);
  CHECK(pmalloc_pool_alloc(pool, 8, 2 * pages_page_size(), &at) == PMALLOC_ERR_INVALID);
  CHECK(pmalloc_pool_alloc(pool, SIZE_MAX, 0, &at) == PMALLOC_ERR_NOMEM);
  CHECK(pmalloc_pool_alloc(pool, SIZE_MAX / 4, 0, &at) == PMALLOC_ERR_NOMEM);
  CHECK(pmalloc_pool_prealloc(pool, SIZE_MAX) == PMALLOC_ERR_NOMEM);
  CHECK(pmalloc_pool_prealloc(pool, SIZE_MAX / 8) == PMALLOC_ERR_NOMEM);
  end(pool);
}

static void test_growth(void) {
  pmalloc_pool *pool = make("growth", 0);
  size_t page = pages_page_size();
  take(pool, 1, 0);
  CHECK(stats(pool).chunks == 1 && stats(pool).reserved_bytes == pages_round(16384));
  CHECK(stats(pool).cold_bytes == page);
  char *large = take(pool, 100 * page + 1, 0);
  struct pmalloc_where w;
  CHECK(pmalloc_registry_find((uintptr_t)large, &w));
  CHECK(w.chunk_end - w.chunk_start == 101 * page && w.chunk_start == (uintptr_t)large);
  while (stats(pool).reserved_bytes < (10 << 20))
    take(pool, 5000, 0);
  char *last = take(pool, (1 << 20) + 1, 0);
  CHECK(pmalloc_registry_find((uintptr_t)last, &w));
  CHECK(w.chunk_end - w.chunk_start == PAGES_HUGE && w.chunk_start % PAGES_HUGE == 0);
  CHECK(stats(pool).chunks < 16);
  end(pool);
  pool = make("fixed", 3 * page - 7);
  for (int i = 0; i < 6; i++)
    take(pool, page, page);
  CHECK(stats(pool).chunks == 2 && stats(pool).reserved_bytes == 6 * page);
  take(pool, 4 * page, 0);
  CHECK(stats(pool).chunks == 3 && stats(pool).reserved_bytes == 10 * page);
  end(pool);
}

static void test_free(void) {
  pmalloc_pool *pool = make("free", 0), *other = make("other", 0);
  char *a = take(pool, 40, 0), *b = take(pool, 40, 0), *c = take(pool, 40, 0);
  int here;
  memset(a, 1, 40), memset(b, 2, 40), memset(c, 3, 40);
  char *foreign = take(other, 8, 0);
  CHECK(pmalloc_pool_free(pool, foreign) == PMALLOC_ERR_FOREIGN);
  CHECK(pmalloc_pool_free(pool, &here) == PMALLOC_ERR_FOREIGN);
  CHECK(pmalloc_pool_free(pool, NULL) == PMALLOC_ERR_FOREIGN);
  CHECK(pmalloc_pool_free(pool, a + 16) == PMALLOC_ERR_FOREIGN);
  CHECK(pmalloc_pool_free(pool, a + 1) == PMALLOC_ERR_FOREIGN);
  CHECK(pmalloc_pool_free(pool, c + 48) == PMALLOC_ERR_FOREIGN);
  CHECK(pmalloc_pool_free(pool, a - 16) == PMALLOC_ERR_FOREIGN);
  OK(pmalloc_pool_free(pool, b));
  CHECK(all(b, 48, 0) && all(a, 40, 1) && all(c, 40, 3));
  CHECK(pmalloc_pool_free(pool, b) == PMALLOC_ERR_DOUBLE_FREE);
  CHECK(pmalloc_pool_free(pool, b + 16) == PMALLOC_ERR_FOREIGN);
  b[3] = 9; /* through a dangling pointer */
  char *d = take(pool, 33, 0);
  CHECK(d == b && all(d, 33, 0));
  OK(pmalloc_pool_free(pool, d));
  OK(pmalloc_pool_free(pool, c));
  CHECK(stats(pool).allocations == 1 && stats(pool).used_bytes == 48);
  OK(pmalloc_pool_protect(pool));
  CHECK(pmalloc_pool_free(pool, c) == PMALLOC_ERR_DOUBLE_FREE);
  OK(pmalloc_pool_free(pool, a));
  CHECK(all(a, 40, 1));
  CHECK(pmalloc_pool_free(pool, a) == PMALLOC_ERR_DOUBLE_FREE);
  CHECK(stats(pool).allocations == 0 && stats(pool).used_bytes == 0);
  void *no;
  CHECK(pmalloc_pool_alloc(pool, 1, 0, &no) == PMALLOC_ERR_PROTECTED);
  CHECK(pmalloc_pool_prealloc(pool, 1) == PMALLOC_ERR_PROTECTED);
  OK(pmalloc_pool_destroy(pool));
  CHECK(pmalloc_pool_free(pool, a) == PMALLOC_ERR_DESTROYED);
  CHECK(pmalloc_pool_alloc(pool, 1, 0, &no) == PMALLOC_ERR_DESTROYED);
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_ERR_DESTROYED);
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_ERR_DESTROYED);
  CHECK(stats(pool).state == PMALLOC_DESTROYED_STATE);
  pmalloc_pool_forget(pool);
  end(other);
}

static void test_coalescing(void) {
  enum { N = 64 };
  pmalloc_pool *pool = make("joined", 1 << 16);
  char *at[N];
  for (int i = 0; i < N; i++)
    memset(at[i] = take(pool, 1024, 0), i + 1, 1024);
  CHECK(stats(pool).chunks == 1);
  for (int i = 8; i < 40; i++) /* in an order that never joins by luck */
    OK(pmalloc_pool_free(pool, at[8 + (i - 8) * 7 % 32]));
  char *joined = take(pool, 32 * 1024, 0);
  CHECK(joined == at[8] && stats(pool).chunks == 1);
  CHECK(all(joined, 32 * 1024, 0) && all(at[7], 1024, 8) && all(at[40], 1024, 41));
  CHECK(pmalloc_pool_free(pool, at[9]) == PMALLOC_ERR_FOREIGN); /* inside now */
  for (int i = 40; i < N; i++)
    OK(pmalloc_pool_free(pool, at[i]));
  char *tail = take(pool, 24 * 1024, 0);
  CHECK(tail == at[40] && stats(pool).chunks == 1);
  end(pool);
}

static void test_prealloc(void) {
  pmalloc_pool *pool = make("ready", 0);
  struct pmalloc_region r;
  OK(pmalloc_pool_prealloc(pool, 300000));
  CHECK(stats(pool).chunks == 1);
  for (int i = 0; i < 300; i++)
    take(pool, 1000 - 8, 0);
  CHECK(stats(pool).chunks == 1);
  OK(pmalloc_pool_prealloc(pool, 500000));
  CHECK(stats(pool).chunks == 2);
  OK(pmalloc_pool_region(pool, 400000, &r)); /* takes the unused chunk over */
  CHECK(stats(pool).chunks == 2 && r.chunk_index == 1);
  pmalloc_region_abandon(pool, &r);
  take(pool, 490000, 0);
  CHECK(stats(pool).chunks == 2);
  end(pool);
}

static void test_regions(void) {
  pmalloc_pool *pool = make("regions", 0);
  struct pmalloc_region a, b, c;
  char *raw = take(pool, 16, 0);
  OK(pmalloc_pool_region(pool, 100, &a));
  CHECK((uintptr_t)a.base % 8 == 0 && a.size == 104 && all(a.base, a.size, 0));
  CHECK((uintptr_t)a.base >> 14 != (uintptr_t)raw >> 14);
  pmalloc_region_mark(&a, a.base);
  pmalloc_region_commit(pool, &a, 1);
  CHECK(stats(pool).objects == 1);
  OK(pmalloc_pool_region(pool, 64, &b));
  CHECK(b.base == a.base + 104 && b.chunk_index == a.chunk_index);
  pmalloc_region_mark(&b, b.base + 16);
  memset(b.base, 5, b.size);
  struct pmalloc_stats before = stats(pool);
  OK(pmalloc_pool_region(pool, 32, &c)); /* while b is open: a word of its own */
  CHECK(c.first_bit % 64 == 0 && c.first_bit / 64 != b.first_bit / 64);
  pmalloc_region_abandon(pool, &c);
  CHECK(c.base == NULL && stats(pool).used_bytes == before.used_bytes);
  char *was = b.base;
  pmalloc_region_abandon(pool, &b);
  CHECK(all(was, 64, 0) && !pmalloc_registry_is_start((uintptr_t)was + 16));
  CHECK(pmalloc_registry_is_start((uintptr_t)a.base));
  /* A chunk that was made for a region goes back with it. */
  for (int i = 0; i < (EMULATED ? 20 : 100); i++) {
    before = stats(pool);
    OK(pmalloc_pool_region(pool, (size_t)5 << 20, &b));
    CHECK(b.chunk_index == before.chunks && (uintptr_t)b.base % PAGES_HUGE == 0);
    for (size_t at = 0; at < b.size; at += 4096 * 100)
      pmalloc_region_mark(&b, b.base + at);
    was = b.base;
    pmalloc_region_abandon(pool, &b);
    struct pmalloc_stats after = stats(pool);
    CHECK(memcmp(&before, &after, sizeof after) == 0);
    CHECK(!pmalloc_registry_owns((uintptr_t)was));
  }
  READ_FAULTS(was);
  OK(pmalloc_pool_region(pool, 1 << 20, &b));
  pmalloc_region_commit(pool, &b, 0);
  CHECK(pmalloc_pool_free(pool, b.base) == PMALLOC_ERR_FOREIGN);
  OK(pmalloc_pool_protect(pool));
  WRITE_FAULTS(b.base + 12345);
  WRITE_FAULTS(a.starts);
  CHECK(pmalloc_pool_region(pool, 1, &c) == PMALLOC_ERR_PROTECTED);
  end(pool);
  /* The first region of a pool, abandoned: nothing is left. */
  pool = make("nothing", 0);
  OK(pmalloc_pool_region(pool, 1000, &a));
  pmalloc_region_abandon(pool, &a);
  CHECK(stats(pool).chunks == 0 && stats(pool).cold_bytes == 0);
  OK(pmalloc_pool_region(pool, 1000, &a));
  OK(pmalloc_pool_set_root(pool, a.base));
  pmalloc_region_abandon(pool, &a);
  void *root;
  CHECK(pmalloc_root_lookup("nothing", &root) == 1);
  CHECK(stats(pool).chunks == 0);
  take(pool, 10, 0);
  OK(pmalloc_pool_region(pool, 1000, &a));
  end(pool);
}

static void test_root(void) {
  pmalloc_pool *old = make("config", 0), *pool = make("config", 0);
  void *root = NULL;
  char *a = take(pool, 64, 0), *b = take(old, 64, 0);
  CHECK(pmalloc_root_lookup("no such pool", &root) == 0);
  CHECK(pmalloc_root_lookup("config", &root) == 0);
  OK(pmalloc_pool_set_root(old, b));
  OK(pmalloc_pool_set_root(pool, b));
  OK(pmalloc_pool_set_root(pool, a));
  CHECK(pmalloc_root_lookup("config", &root) == 1 && root == a);
  struct cold *cold = (struct cold *)(uintptr_t)registry_at((uintptr_t)a)->record->cold;
  cold->root ^= 64;
  CHECK(pmalloc_root_lookup("config", &root) == -1);
  cold->root ^= 64;
  cold->root_check++;
  CHECK(pmalloc_root_lookup("config", &root) == -1);
  cold->root_check--;
  cold->name[0]++;
  CHECK(pmalloc_root_lookup("config", &root) == -1);
  cold->name[0]--;
  cold->state = PMALLOC_PROTECTED; /* says so, but is not read-only */
  CHECK(pmalloc_root_lookup("config", &root) == -1);
  cold->state = PMALLOC_OPEN;
  CHECK(pmalloc_root_lookup("config", &root) == 1);
  OK(pmalloc_pool_protect(pool));
  CHECK(pmalloc_root_lookup("config", &root) == 1 && root == a);
  CHECK(pmalloc_pool_set_root(pool, b) == PMALLOC_ERR_PROTECTED);
  WRITE_FAULTS(&cold->root);
  for (int refused = 0; refused < 2; refused++) {
    pages_inject(PAGES_CALL_PEEK, refused ? 0 : -1, EPERM, 1);
    CHECK(pmalloc_root_lookup("config", &root) == 1 && root == a);
    /* Opened behind our back. */
    char *page = (char *)((uintptr_t)cold & ~(pages_page_size() - 1));
    CHECK(mprotect(page, pages_page_size(), PROT_READ | PROT_WRITE) == 0);
    CHECK(pmalloc_root_lookup("config", &root) == -1);
    CHECK(mprotect(page, pages_page_size(), PROT_READ) == 0);
    CHECK(pmalloc_root_lookup("config", &root) == 1);
  }
  pages_inject(PAGES_CALL_PEEK, -1, 0, 0);
  end(pool);
  CHECK(pmalloc_root_lookup("config", &root) == 1 && root == b);
  end(old);
  CHECK(pmalloc_root_lookup("config", &root) == 0);
}

/* What a destroyed pool leaves behind. */
static void test_tombstones(void) {
  enum { WARM = EMULATED ? 50 : 200, MANY = EMULATED ? 250 : 1000 };
  long before = 0;
  for (int i = 0; i < WARM + MANY; i++) {
    struct pmalloc_region r;
    pmalloc_pool *pool = make("mortal", 0);
    for (int n = 0; n < i % 7; n++)
      memset(take(pool, (size_t)(n * n * 997 + i), 0), 1, 10);
    OK(pmalloc_pool_region(pool, (size_t)(i % 5) * 7000, &r));
    if (i % 10 == 0)
      take(pool, (size_t)(1 + i % 3) << 20, 0);
    if (i % 3)
      OK(pmalloc_pool_protect(pool));
    end(pool);
    if (i == WARM - 1)
      before = resident();
  }
  long each = (resident() - before) / MANY;
  printf("  destroyed pool: %ld bytes\n", each);
  if (!SANITIZED)
    CHECK(each < 1024);
}

/* Protecting: our call against the bare system calls over equal mappings. */
static double bare(uint32_t chunks, size_t chunk_size) {
  struct pages *p = calloc(chunks + 10, sizeof *p);
  uint32_t n = 0;
  for (; n < chunks; n++)
    OK(pages_map(&p[n], chunk_size, 0, "bare"));
  size_t slab = pages_page_size(), all_slabs = 0,
         need = chunks * (size_t)(chunk_size / 64 * 3 + 80);
  while (all_slabs < need && n < chunks + 10) {
    OK(pages_map(&p[n], slab, slab > 16384 ? PAGES_LAZY : 0, "bare"));
    memset(p[n++].base, 1, all_slabs + slab > need ? need - all_slabs : slab);
    all_slabs += slab;
    slab = all_slabs;
  }
  double start = now();
  for (uint32_t i = 0; i < n; i++)
    mprotect(p[i].outer, p[i].outer_size, PROT_READ);
  double spent = now() - start;
  for (uint32_t i = 0; i < n; i++)
    pages_unmap(&p[i]);
  free(p);
  return spent;
}

static double ours(uint32_t chunks, size_t chunk_size) {
  pmalloc_pool *pool = make("price", chunk_size);
  for (uint32_t i = 0; i < chunks; i++)
    take(pool, chunk_size, 0);
  CHECK(stats(pool).chunks == chunks);
  double start = now();
  OK(pmalloc_pool_protect(pool));
  double spent = now() - start;
  end(pool);
  return spent;
}

static void test_price(void) {
  static const uint32_t counts[] = {1, 64, EMULATED ? 512 : 4096};
  for (int i = 0; i < 3; i++) {
    double best_bare = 1e9, best_ours = 1e9;
    size_t page = pages_page_size();
    for (int round = 0; round < (EMULATED ? 1 : i == 2 ? 5 : 40); round++) {
      double b = bare(counts[i], page), o = ours(counts[i], page);
      best_bare = b < best_bare ? b : best_bare;
      best_ours = o < best_ours ? o : best_ours;
    }
    printf("  protect %u chunks: %.1f us, bare calls %.1f us\n", counts[i], best_ours * 1e6,
           best_bare * 1e6);
    if (!SANITIZED && !EMULATED) /* whose calls cost what the emulation does */
      CHECK(best_ours <= best_bare * 1.2 + 3e-6);
  }
}

/* The array, the copy, the string. */
static void test_forms(void) {
  pmalloc_pool *pool;
  struct pmalloc_stats before, after;
  char *text, *none = NULL;
  void *at;
  size_t size;
  OK(pmalloc_pool_create(&pool, "forms", 0));
  OK(pmalloc_pool_array(pool, 100, 12, &at));
  OK(pmalloc_pool_size_of(pool, at, &size));
  CHECK(size == 1200 && ((char *)at)[0] == 0 && ((char *)at)[1199] == 0);
  OK(pmalloc_pool_array(pool, 0, 12, &at));
  OK(pmalloc_pool_strdup(pool, "text", &text));
  OK(pmalloc_pool_size_of(pool, text, &size));
  CHECK(size == 5 && strcmp(text, "text") == 0);
  OK(pmalloc_pool_strdup(pool, "", &text));
  CHECK(text[0] == 0);
  OK(pmalloc_pool_copy(pool, "a\0b", 3, &at));
  CHECK(memcmp(at, "a\0b", 3) == 0);
  OK(pmalloc_pool_copy(pool, NULL, 0, &at));
  pmalloc_pool_stats(pool, &before);
  at = NULL;
  CHECK(pmalloc_pool_array(pool, SIZE_MAX / 2, 3, &at) == PMALLOC_ERR_NOMEM && !at);
  CHECK(pmalloc_pool_array(pool, SIZE_MAX, SIZE_MAX, &at) == PMALLOC_ERR_NOMEM && !at);
  CHECK(pmalloc_pool_array(pool, (size_t)1 << 62, 1, &at) == PMALLOC_ERR_NOMEM && !at);
  pmalloc_pool_stats(pool, &after);
  CHECK(memcmp(&before, &after, sizeof after) == 0);
  OK(pmalloc_pool_protect(pool));
  CHECK(pmalloc_pool_strdup(pool, "late", &none) == PMALLOC_ERR_PROTECTED && !none);
  CHECK(pmalloc_pool_copy(pool, "late", 4, &at) == PMALLOC_ERR_PROTECTED && !at);
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

static void test_global(void) {
  pmalloc_pool *pool, *again;
  void *at;
  OK(pmalloc_pool_global(&pool));
  OK(pmalloc_pool_global(&again));
  CHECK(pool == again && strcmp(pmalloc_pool_name(pool), "global") == 0);
  OK(pmalloc_pool_alloc(pool, 100, 0, &at));
  OK(pmalloc_pool_protect(pool));
  OK(pmalloc_pool_global(&again));
  CHECK(pool == again && pmalloc_pool_alloc(again, 1, 0, &at) == PMALLOC_ERR_PROTECTED);
  OK(pmalloc_pool_destroy(pool));
  OK(pmalloc_pool_global(&again));
  CHECK(pool != again);
  OK(pmalloc_pool_alloc(again, 1, 0, &at));
  OK(pmalloc_pool_destroy(again));
}

/* Who fills it himself gets what was zeroed when it was freed; others get it zeroed again. */
static void test_to_fill(void) {
  pmalloc_pool *pool;
  void *first, *again;
  OK(pmalloc_pool_create(&pool, "to fill", 0));
  OK(pmalloc_pool_alloc_to_fill(pool, 1000, 64, &first));
  CHECK((uintptr_t)first % 64 == 0);
  memset(first, 0xEE, 1000);
  OK(pmalloc_pool_free(pool, first));
  CHECK(((char *)first)[500] == 0);
  ((char *)first)[500] = 1; /* by a dangling pointer */
  OK(pmalloc_pool_alloc_to_fill(pool, 1000, 64, &again));
  CHECK(again == first && ((char *)again)[500] == 1 && ((char *)again)[501] == 0);
  OK(pmalloc_pool_free(pool, again));
  ((char *)first)[500] = 1;
  OK(pmalloc_pool_alloc(pool, 1000, 64, &again));
  CHECK(again == first && ((char *)again)[500] == 0);
  OK(pmalloc_pool_protect(pool));
  CHECK(pmalloc_pool_alloc_to_fill(pool, 10, 0, &again) == PMALLOC_ERR_PROTECTED);
  OK(pmalloc_pool_destroy(pool));
}

int main(void) {
  test_to_fill();
  test_forms();
  test_global();
  test_status_texts();
  test_create();
  test_empty_pools();
  test_exact_sizes();
  test_alignment();
  test_growth();
  test_free();
  test_coalescing();
  test_prealloc();
  test_regions();
  test_root();
  test_tombstones();
  test_price();
  return finish("pool");
}

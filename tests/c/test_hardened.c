/* Tests of the hardened mode: each link of the metadata is overwritten in turn.
 *
 * What is overwritten gets an address where nothing is, one of other memory that is there, and one
 * of the right kind in the wrong place: whoever follows it crashes, or is led astray and seen.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include "hardened.h"
#include "pool_internal.h"

#define WILD ((void *)0x123456789000)

static pmalloc_pool *make(void) {
  pmalloc_pool *pool = NULL;
  OK(pmalloc_pool_create_with(&pool, "hard", &(struct pmalloc_options){.flags = PMALLOC_HARDENED}));
  return pool;
}

/* A pool with several chunks and slabs, free blocks, objects and a root. */
static pmalloc_pool *fill(void **kept, void **large) {
  pmalloc_pool *pool = make();
  void *at;
  struct pmalloc_region region;
  for (int i = 0; i < 2000; i++) {
    OK(pmalloc_pool_alloc(pool, 200, 0, &at));
    if (i % 3 == 0)
      OK(pmalloc_pool_free(pool, at));
    else
      *kept = at;
  }
  OK(pmalloc_pool_alloc(pool, 3 << 20, 0, large));
  OK(pmalloc_pool_region(pool, 1000, &region));
  pmalloc_region_mark(&region, region.base);
  pmalloc_region_commit(pool, &region, 1);
  OK(pmalloc_pool_set_root(pool, region.base));
  OK(pmalloc_pool_check(pool));
  return pool;
}

static void says(pmalloc_pool *pool, const char *about) {
  struct pmalloc_corruption found;
  CHECK(pmalloc_pool_corruption(pool, &found) && found.allocation == NULL);
  if (!found.what || !strstr(found.what, about)) {
    fprintf(stderr, "said: %s, wanted: %s\n", found.what ? found.what : "nothing", about);
    CHECK(!"what was found");
  }
}

/* Every call refuses a pool, and none crashes. */
static void all_refuse(pmalloc_pool *pool, void *kept, const char *about) {
  void *at;
  size_t size;
  struct pmalloc_region region;
  struct pmalloc_stats stats;
  CHECK(pmalloc_pool_alloc(pool, 10, 0, &at) == PMALLOC_ERR_CORRUPT);
  says(pool, about);
  CHECK(pmalloc_pool_prealloc(pool, 1 << 20) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_free(pool, kept) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_size_of(pool, kept, &size) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_region(pool, 100, &region) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_set_root(pool, NULL) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_check(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_destroy_damaged(pool) == PMALLOC_ERR_CORRUPT);
  pmalloc_pool_stats(pool, &stats);
  pmalloc_pool_forget(pool);
  CHECK(pmalloc_pool_state(pool) == PMALLOC_OPEN);
}

static void do_nothing(void *arg) { (void)arg; }

/* Overwrites n bytes in the hot half in turn, and puts each back. */
static void test_hot(void) {
  void *kept = NULL, *large;
  pmalloc_pool *pool = fill(&kept, &large);
  struct cold_chunk other = *pool->raw_current;
  void *values[] = {WILD, &other, pool, NULL, (char *)pool->cold + 8};
  void **links[] = {(void **)&pool->record,          (void **)&pool->cold,
                    (void **)&pool->slabs,           (void **)&pool->raw_current,
                    (void **)&pool->objects_current, (void **)&pool->freed,
                    (void **)&pool->blocks.all,      (void **)&pool->blocks.heads,
                    (void **)&pool->undo.chunk};
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      void *before = *links[i];
      if (before == values[v])
        continue;
      *links[i] = values[v];
      all_refuse(pool, kept, "writable metadata");
      CHECK(dies(do_nothing, NULL) == 0); /* fork() takes the locks of pools */
      *links[i] = before;
      OK(pmalloc_pool_check(pool));
    }
  }
  pool->blocks.capacity *= 2;
  all_refuse(pool, kept, "writable metadata");
  pool->blocks.capacity /= 2;
  OK(pmalloc_pool_free(pool, kept));
  OK(pmalloc_pool_protect(pool));
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

/* The cold half, while it can be written. Not every call follows each of these links. */
static void walk_refuses(pmalloc_pool *pool, const char *about) {
  CHECK(pmalloc_pool_check(pool) == PMALLOC_ERR_CORRUPT);
  says(pool, about);
  CHECK(pmalloc_pool_protect(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_state(pool) == PMALLOC_OPEN);
}

static void test_cold(void) {
  void *kept = NULL, *large;
  pmalloc_pool *pool = fill(&kept, &large), *second = fill(&kept, &large);
  struct cold_chunk *chunk = pool->raw_current, *first = cold_chunk_at(pool->cold, 0);
  void *values[] = {WILD, &chunk, second->raw_current->starts, NULL};
  struct {
    void **link;
    const char *about;
  } links[] = {{(void **)&pool->slabs->older, "between the slabs"},
               {(void **)&pool->cold->segment[0], "one of its chunks"},
               {(void **)&chunk->starts, "one of its chunks"},
               {(void **)&chunk->ends, "one of its chunks"},
               {(void **)&chunk->slack, "one of its chunks"},
               {(void **)&chunk->pages.base, "one of its chunks"},
               {(void **)&first->starts, "one of its chunks"},
               {(void **)&first->pages.outer, "one of its chunks"},
               {(void **)&pool->slabs->pages.base, "between the slabs"}};
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
    for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
      void *before = *links[i].link;
      *links[i].link = values[v];
      walk_refuses(pool, links[i].about);
      *links[i].link = before;
      OK(pmalloc_pool_check(pool));
    }
  }
  /* A circle of slabs. */
  struct cold_slab *older = pool->slabs->older;
  pool->slabs->older = pool->slabs;
  walk_refuses(pool, "between the slabs");
  pool->slabs->older = older;
  /* Fewer pages to protect. */
  size_t size = first->pages.size;
  first->pages.size -= 4096;
  walk_refuses(pool, "one of its chunks");
  first->pages.size = size;
  uint32_t chunks = pool->cold->chunks;
  pool->cold->chunks = chunks - 1;
  all_refuse(pool, kept, "what describes it");
  pool->cold->chunks = chunks + 1000;
  all_refuse(pool, kept, "what describes it");
  pool->cold->chunks = chunks;
  OK(pmalloc_pool_destroy(pool));
  OK(pmalloc_pool_destroy(second));
}

static void test_freed(void) {
  void *kept = NULL, *large;
  pmalloc_pool *pool = fill(&kept, &large);
  struct cold_chunk *chunk = chunk_of(pool, kept);
  struct link before = pool->freed[chunk->index];
  pool->freed[chunk->index].to = WILD;
  CHECK(pmalloc_pool_free(pool, kept) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_check(pool) == PMALLOC_ERR_CORRUPT);
  pool->freed[chunk->index] = pool->freed[chunk->index + 1]; /* sound, but another one's */
  CHECK(pmalloc_pool_free(pool, kept) == PMALLOC_ERR_CORRUPT);
  pool->freed[chunk->index] = before;
  OK(pmalloc_pool_free(pool, kept));
  OK(pmalloc_pool_destroy(pool));
}

/* A record that leads nowhere, one that says too much, one of a chunk that is none. */
static void test_blocks(void) {
  for (int way = 0; way < 5; way++) {
    void *kept = NULL, *large, *at;
    pmalloc_pool *pool = fill(&kept, &large);
    struct blocks *blocks = &pool->blocks;
    for (unsigned bin = 0; bin < BLOCKS_BINS; bin++) {
      uint32_t *head = &blocks->heads[bin];
      if (*head == 0)
        continue;
      struct block *block = &blocks->all[*head - 1];
      if (way == 0)
        *head = UINT32_MAX;
      else if (way == 1)
        block->chunk = UINT32_MAX;
      else if (way == 2)
        block->granule = 0; /* where others are */
      else if (way == 3)
        block->granule = SIZE_MAX - 2;
      else
        block->count += 1;
    }
    enum pmalloc_status status = PMALLOC_OK;
    for (int i = 0; i < 1000 && status == PMALLOC_OK; i++)
      status = pmalloc_pool_alloc(pool, 200, 0, &at);
    CHECK(status == PMALLOC_ERR_CORRUPT);
    says(pool, "free blocks");
    CHECK(pmalloc_pool_alloc(pool, 1, 0, &at) == PMALLOC_ERR_CORRUPT);
    CHECK(pmalloc_pool_protect(pool) == PMALLOC_ERR_CORRUPT);
  }
}

/* The registry: one for the process, so in a child. */
static void registry_work(void *unused) {
  (void)unused;
  void *kept = NULL, *large;
  pmalloc_pool *pool = fill(&kept, &large);
  struct registry_range *range = (struct registry_range *)(uintptr_t)registry_at((uintptr_t)large);
  CHECK(range != NULL);
  const struct cold_chunk *before = range->chunk;
  range->chunk = WILD;
  CHECK(pmalloc_pool_free(pool, large) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_pool_check(pool) == PMALLOC_ERR_CORRUPT);
  range->chunk = pool->raw_current == before ? cold_chunk_at(pool->cold, 0) : pool->raw_current;
  CHECK(pmalloc_pool_free(pool, large) == PMALLOC_ERR_CORRUPT);
  range->chunk = before;
  OK(pmalloc_pool_check(pool));
  struct registry_record *record = range->record;
  struct pmalloc_where where;
  range->record = WILD;
  CHECK(!pmalloc_registry_find((uintptr_t)large, &where));
  CHECK(!pmalloc_registry_is_start((uintptr_t)large));
  CHECK(!pmalloc_registry_owns((uintptr_t)large));
  range->record = record;
  CHECK(pmalloc_pool_free(pool, large) == PMALLOC_ERR_CORRUPT); /* it stays known */
  says(pool, "registry");
}

/* The list of pools. */
static void list_work(void *way) {
  pmalloc_pool *pools[3], *more;
  void *root;
  for (int i = 0; i < 3; i++)
    pools[i] = make();
  struct link *links[] = {&pools[1]->older, &pools[1]->newer, &pools[2]->older};
  links[*(int *)way]->to = WILD;
  if (*(int *)way != 1) {
    CHECK(pmalloc_root_lookup("no such pool", &root) == -1);
    CHECK(pmalloc_pool_create(&more, "more", 0) == PMALLOC_ERR_CORRUPT);
  }
  CHECK(dies(look, &root) == 0); /* fork() */
  pmalloc_pool_forget(pools[1]); /* cannot: it stays */
  pmalloc_pool_forget(pools[0]);
  pmalloc_pool_forget(pools[2]);
}

static void test_list(void) {
  for (int way = 0; way < 3; way++)
    CHECK(dies(list_work, &way) == 0);
}

int main(void) {
  test_hot();
  test_cold();
  test_freed();
  test_blocks();
  CHECK(dies(registry_work, NULL) == 0);
  test_list();
  return finish("hardened");
}

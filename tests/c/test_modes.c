/* Every mode, backing and state of a pool: what a direct store comes to, what a rare write does,
 * and that each call which the kernel refuses leaves the pool as it was.
 *
 *     mode      open: its first chunk, its last      protected    made read-only
 *     ro        stored       stored                  refused      -
 *     wr        stored       stored                  rare         refused
 *     auto_ro   refused      stored                  refused      -
 *     auto_wr   rare         stored                  rare         refused
 *     start_wr  rare         rare                    rare         refused
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <errno.h>

#include "check.h"
#include "pool_internal.h"
#include "rare_write.h"

enum what { STORED, RARE, REFUSED };

static const struct {
  enum pmalloc_mode mode;
  enum what first, last, protected_, made_ro;
} table[] = {
    {PMALLOC_MODE_RO, STORED, STORED, REFUSED, REFUSED},
    {PMALLOC_MODE_WR, STORED, STORED, RARE, REFUSED},
    {PMALLOC_MODE_AUTO_RO, REFUSED, STORED, REFUSED, REFUSED},
    {PMALLOC_MODE_AUTO_WR, RARE, STORED, RARE, REFUSED},
    {PMALLOC_MODE_START_WR, RARE, RARE, RARE, REFUSED},
};
enum { MODES = sizeof table / sizeof *table };

struct scene {
  pmalloc_pool *pool;
  uint64_t *first, *last;
};

static void clear(void) {
  for (int c = 0; c < PAGES_CALL_COUNT; c++)
    pages_inject((enum pages_call)c, -1, 0, 0);
}

/* Two chunks, the first of which is full. */
static struct scene set_up(enum pmalloc_mode mode, enum pmalloc_backing backing, unsigned flags,
                           enum pmalloc_policy policy) {
  const struct pmalloc_options options = {
      .mode = mode, .backing = backing, .chunk_size = 8192, .flags = flags, .policy = policy};
  struct scene s = {NULL, NULL, NULL};
  OK(pmalloc_pool_create_with(&s.pool, "modes", &options));
  OK(pmalloc_pool_alloc(s.pool, 5000, 0, (void **)&s.first));
  OK(pmalloc_pool_alloc(s.pool, 5000, 0, (void **)&s.last));
  return s;
}

static void end(struct scene *s) {
  OK(pmalloc_pool_destroy(s->pool));
  uint64_t value = 1;
  CHECK(pmalloc_wr_copy(s->first, &value, 8) == PMALLOC_ERR_DESTROYED && errno == ESTALE);
  CHECK(pmalloc_mechanism_of(s->pool) == PMALLOC_BY_NONE);
  pmalloc_pool_forget(s->pool);
}

/* One word: a direct store, then a rare write by any mechanism. */
static void expect(const struct scene *s, uint64_t *at, enum what wanted, int rare_mode) {
  static uint64_t value;
  struct pmalloc_stats before, after;
  uint64_t was = *at;
  int off = s->pool->policy == PMALLOC_OFF;
  value++;
  CHECK(pages_is_readonly(at) == (wanted != STORED && !off));
  if (wanted != STORED && !off)
    WRITE_FAULTS(at);
  pmalloc_pool_stats(s->pool, &before);
  /* What is open yet is stored to, but only where a rare write will be right later, too. */
  int allowed = rare_mode && wanted != REFUSED;
  CHECK(pmalloc_wr_copy(at, &value, 8) == (allowed ? PMALLOC_OK : PMALLOC_ERR_NOT_RARE));
  CHECK(*at == (allowed ? value : was));
  CHECK(pmalloc_wr_add(at, 8, 5) == (allowed ? PMALLOC_OK : PMALLOC_ERR_NOT_RARE));
  CHECK(*at == (allowed ? value + 5 : was));
  pmalloc_pool_stats(s->pool, &after);
  CHECK(after.rare_writes - before.rare_writes == (allowed ? 2 : 0));
  CHECK(after.rare_bytes - before.rare_bytes == (allowed ? 16 : 0));
  CHECK(pages_is_readonly(at) == (wanted != STORED && !off) && !after.tainted);
  /* Over the ends, and what was never handed out: never. */
  CHECK(pmalloc_wr_copy((char *)at + 4996, &value, 8) ==
        (rare_mode ? PMALLOC_ERR_BOUNDS : PMALLOC_ERR_NOT_RARE));
  CHECK(pmalloc_wr_copy((char *)at + 5100, &value, 8) ==
        (rare_mode ? PMALLOC_ERR_BOUNDS : PMALLOC_ERR_NOT_RARE));
}

static void test_matrix(enum pmalloc_backing backing, unsigned flags, enum pmalloc_policy policy,
                        enum pmalloc_tier tier) {
  for (int m = 0; m < MODES; m++) {
    enum pmalloc_mode mode = table[m].mode;
    int rare = pmalloc_mode_is_rare(mode);
    if (flags && mode == PMALLOC_MODE_START_WR)
      continue; /* refused: see below */
    struct scene s = set_up(mode, backing, flags, policy);
    CHECK(pmalloc_pool_mode(s.pool) == mode);
    CHECK(pmalloc_pool_make_ro(s.pool) == (rare ? PMALLOC_ERR_INVALID : PMALLOC_ERR_NOT_RARE));
    expect(&s, s.first, table[m].first, rare);
    expect(&s, s.last, table[m].last, rare);
    enum pmalloc_status status = pmalloc_pool_protect_as(s.pool, tier);
    if (tier != PMALLOC_PLAIN && status == PMALLOC_ERR_UNSUPPORTED) {
      end(&s);
      continue;
    }
    CHECK(status == PMALLOC_OK);
    if (tier == PMALLOC_SEALED && backing == PMALLOC_MEMFD && rare)
      CHECK(pmalloc_mechanism_of(s.pool) == PMALLOC_BY_MEMFD);
    expect(&s, s.first, table[m].protected_, rare);
    expect(&s, s.last, table[m].protected_, rare);
    CHECK(pmalloc_pool_make_ro(s.pool) == (rare ? PMALLOC_OK : PMALLOC_ERR_NOT_RARE));
    CHECK(pmalloc_pool_mode(s.pool) == PMALLOC_MODE_RO);
    expect(&s, s.first, table[m].made_ro, 0);
    expect(&s, s.last, table[m].made_ro, 0);
    if (tier == PMALLOC_PLAIN)
      end(&s);
  }
}

/* ---- the kernel refuses ---- */

static int another_chunk(struct scene *s) {
  void *at;
  return (int)pmalloc_pool_alloc(s->pool, 8000, 0, &at);
}
static int large(struct scene *s) {
  void *at;
  return (int)pmalloc_pool_alloc(s->pool, 100000, 0, &at);
}
static int prealloc(struct scene *s) { return (int)pmalloc_pool_prealloc(s->pool, 20000); }
static int protect(struct scene *s) { return (int)pmalloc_pool_protect(s->pool); }
static int region(struct scene *s) {
  struct pmalloc_region r;
  enum pmalloc_status status = pmalloc_pool_region(s->pool, 8000, &r);
  if (status == PMALLOC_OK)
    pmalloc_region_commit(s->pool, &r, 0);
  return (int)status;
}

static int (*const verbs[])(struct scene *) = {another_chunk, large, prealloc, protect, region};
enum { VERBS = sizeof verbs / sizeof *verbs };

static void as_it_was(struct scene *s, int m) {
  void *at;
  CHECK(*s->first == 41 && *s->last == 42);
  CHECK(pages_is_readonly(s->first) == (table[m].first != STORED));
  CHECK(pages_is_readonly(s->last) == (table[m].last != STORED));
  OK(pmalloc_pool_alloc(s->pool, 6000, 0, &at));
  if (s->pool->mode != PMALLOC_MODE_START_WR)
    memset(at, 1, 6000);
  OK(pmalloc_pool_protect(s->pool));
  CHECK(pages_is_readonly(at) == 1 && pages_is_readonly(s->first) == 1);
}

static void test_refusals(enum pmalloc_backing backing) {
  static const enum pages_call calls[] = {PAGES_CALL_MMAP, PAGES_CALL_MPROTECT, PAGES_CALL_MADVISE,
                                          PAGES_CALL_FALLOCATE};
  int failures = 0;
  for (int m = 0; m < MODES; m++) {
    for (int v = 0; v < VERBS; v++) {
      if (verbs[v] == region && table[m].mode == PMALLOC_MODE_START_WR)
        continue;
      for (size_t c = 0; c < sizeof calls / sizeof *calls; c++) {
        for (int n = 0; n < 8; n++) {
          for (int sticky = 0; sticky < 2; sticky++) {
            struct scene s = set_up(table[m].mode, backing, 0, PMALLOC_POLICY_DEFAULT);
            struct pmalloc_stats before, after;
            uint64_t values[] = {41, 42};
            if (table[m].first == STORED)
              *s.first = values[0];
            else
              (void)pages_poke((uintptr_t)s.first, &values[0], backing ? 0 : 8);
            if (table[m].last == STORED)
              *s.last = values[1];
            else
              (void)pages_poke((uintptr_t)s.last, &values[1], backing ? 0 : 8);
            if (backing) { /* shared memory: through the file */
              const struct cold_chunk *chunk = cold_chunk_at(s.pool->cold, 0);
              (void)pages_file_poke(&s.pool->file, &chunk->pages, (uintptr_t)s.first, &values[0],
                                    8);
              chunk = cold_chunk_at(s.pool->cold, 1);
              (void)pages_file_poke(&s.pool->file, &chunk->pages, (uintptr_t)s.last, &values[1], 8);
            }
            pmalloc_pool_stats(s.pool, &before);
            pages_inject(calls[c], n, ENOMEM, sticky);
            int status = verbs[v](&s);
            clear();
            pmalloc_pool_stats(s.pool, &after);
            if (status != PMALLOC_OK) {
              failures++;
              CHECK(status == PMALLOC_ERR_NOMEM || status == PMALLOC_ERR_SYSTEM);
              before.hot_bytes = after.hot_bytes = 0;
              before.cold_bytes = after.cold_bytes = 0; /* resident: it was touched, and is zero */
              CHECK(memcmp(&before, &after, sizeof after) == 0);
              as_it_was(&s, m);
            }
            if (pmalloc_pool_destroy(s.pool) == PMALLOC_OK)
              pmalloc_pool_forget(s.pool);
            else
              CHECK(0);
          }
        }
      }
    }
  }
  CHECK(failures > 100);
}

/* make_ro, by each mechanism and refused by each. */
static void test_make_ro(void) {
  for (int backing = 0; backing < 2; backing++) {
    for (int n = 0; n < 3; n++) {
      struct scene s = set_up(PMALLOC_MODE_WR, (enum pmalloc_backing)backing, 0, 0);
      OK(pmalloc_pool_protect(s.pool));
      pages_inject(PAGES_CALL_POKE, 0, EIO, 1);
      pages_inject(PAGES_CALL_MPROTECT, n, ENOMEM, 1);
      enum pmalloc_status status = pmalloc_pool_make_ro(s.pool);
      struct pmalloc_stats stats;
      pmalloc_pool_stats(s.pool, &stats);
      if (n == 0) {
        CHECK(status == PMALLOC_ERR_NOMEM && stats.mode == PMALLOC_MODE_WR && !stats.tainted);
        clear();
        expect(&s, s.first, RARE, 1);
        OK(pmalloc_pool_make_ro(s.pool));
      } else if (n == 1) { /* it could not be shut: that is known */
        CHECK(status == PMALLOC_ERR_SYSTEM && stats.tainted);
        CHECK(!pmalloc_is_protected(s.first));
      } else {
        CHECK(status == PMALLOC_OK && stats.mode == PMALLOC_MODE_RO);
      }
      clear();
      if (n != 1)
        expect(&s, s.first, REFUSED, 0);
      end(&s);
    }
  }
}

/* ---- what modes do not go with ---- */

static void test_refused_options(void) {
  pmalloc_pool *pool = NULL;
  struct pmalloc_region r;
  struct pmalloc_options options = {.mode = PMALLOC_MODE_START_WR, .flags = PMALLOC_REDZONES};
  CHECK(pmalloc_pool_create_with(&pool, "zones", &options) == PMALLOC_ERR_INVALID && !pool);
  options = (struct pmalloc_options){.mode = (enum pmalloc_mode)5};
  CHECK(pmalloc_pool_create_with(&pool, "sixth", &options) == PMALLOC_ERR_INVALID && !pool);
  options = (struct pmalloc_options){.mode = PMALLOC_MODE_START_WR};
  OK(pmalloc_pool_create_with(&pool, "no objects", &options));
  CHECK(pmalloc_pool_region(pool, 100, &r) == PMALLOC_ERR_INVALID);
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
  for (int m = 0; m < MODES; m++) {
    if (!pmalloc_mode_is_rare(table[m].mode))
      continue;
    struct scene s = set_up(table[m].mode, PMALLOC_MEMFD, 0, 0);
    CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_INVALID);
    end(&s);
  }
}

/* A chunk of objects stays open for as long as a builder is at one. */
static void test_regions(enum pmalloc_mode mode) {
  const struct pmalloc_options options = {.mode = mode, .chunk_size = 8192};
  pmalloc_pool *pool = NULL;
  struct pmalloc_region one, two, three;
  void *at;
  OK(pmalloc_pool_create_with(&pool, "regions", &options));
  OK(pmalloc_pool_region(pool, 5000, &one));
  OK(pmalloc_pool_region(pool, 5000, &two)); /* in another chunk */
  for (int i = 0; i < 4; i++)
    OK(pmalloc_pool_alloc(pool, 5000, 0, &at));
  CHECK(pages_is_readonly(one.base) == 0 && pages_is_readonly(two.base) == 0);
  memset(one.base, 1, 5000);
  memset(two.base, 2, 5000);
  pmalloc_region_mark(&one, one.base);
  pmalloc_region_commit(pool, &one, 1);
  CHECK(pages_is_readonly(two.base) == 0);
  pmalloc_region_abandon(pool, &two);
  OK(pmalloc_pool_region(pool, 5000, &three));
  pmalloc_region_commit(pool, &three, 0);
  CHECK(pages_is_readonly(one.base) == 1);
  const uint64_t value = 3;
  CHECK(pmalloc_wr_copy(one.base, &value, 8) ==
        (mode == PMALLOC_MODE_AUTO_WR ? PMALLOC_OK : PMALLOC_ERR_NOT_RARE));
  OK(pmalloc_pool_protect(pool));
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

int main(void) {
  for (int backing = 0; backing < 2; backing++) {
    enum pmalloc_backing of = (enum pmalloc_backing)backing;
    test_matrix(of, 0, PMALLOC_POLICY_DEFAULT, PMALLOC_PLAIN);
    test_matrix(of, PMALLOC_REDZONES, PMALLOC_POLICY_DEFAULT, PMALLOC_PLAIN);
    test_matrix(of, PMALLOC_REDZONES | PMALLOC_HARDENED, PMALLOC_POLICY_DEFAULT, PMALLOC_PLAIN);
    test_matrix(of, 0, PMALLOC_POLICY_DEFAULT, PMALLOC_SEALED);
    test_matrix(of, 0, PMALLOC_OFF, PMALLOC_PLAIN);
    test_refusals(of);
  }
  test_make_ro();
  pages_inject(PAGES_CALL_POKE, 0, EIO, 1); /* by a window */
  test_matrix(PMALLOC_PRIVATE, 0, PMALLOC_POLICY_DEFAULT, PMALLOC_PLAIN);
  clear();
  test_refused_options();
  test_regions(PMALLOC_MODE_AUTO_RO);
  test_regions(PMALLOC_MODE_AUTO_WR);
  return finish("modes");
}

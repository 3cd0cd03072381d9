/* A randomized test of the pool against a model that could not be simpler: a
 * list of what is live, with its size, and a pattern in every byte.
 *
 *   test_pool_model [seed [steps]]
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include "pages.h"
#include "pool.h"
#include "share.h"

enum { LIVE_MAX = 1500, REGIONS_MAX = 200 };

struct thing {
  unsigned char *at;
  size_t size;
  unsigned char seed;
};

struct model {
  pmalloc_pool *pool;
  enum pmalloc_tier tier; /* how it will end */
  struct thing live[LIVE_MAX];
  size_t n, used;
  struct thing regions[REGIONS_MAX];
  size_t regions_n, objects;
  struct thing freed; /* the last freed, size 0: none, or used again */
};

static uint64_t state;

static uint64_t random64(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static size_t below(size_t n) { return (size_t)(random64() % n); }

static size_t rounded(size_t n) { return (n + 15) & ~(size_t)15; }

/* Mostly small, sometimes large, very rarely more than a huge page. */
static size_t some_size(void) {
  size_t kind = below(1000);
  if (kind < 700)
    return 1 + below(200);
  if (kind < 950)
    return 1 + below(4000);
  if (kind < 997)
    return 1 + below(60000);
  return 1 + below((size_t)3 << 20);
}

static void fill(const struct thing *t) {
  for (size_t i = 0; i < t->size; i++)
    t->at[i] = (unsigned char)(t->seed + i * 7);
}

static int intact(const struct thing *t) {
  for (size_t i = 0; i < t->size; i++) {
    if (t->at[i] != (unsigned char)(t->seed + i * 7))
      return 0;
  }
  return 1;
}

static int zero(const unsigned char *at, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (at[i])
      return 0;
  }
  return 1;
}

static int apart(const struct thing *a, const struct thing *b) {
  return a->at + rounded(a->size) <= b->at || b->at + rounded(b->size) <= a->at;
}

static void step_alloc(struct model *m) {
  if (m->n == LIVE_MAX)
    return;
  struct thing t = {.size = some_size(), .seed = (unsigned char)random64()};
  size_t align = below(8) ? 0 : (size_t)1 << below(13);
  OK(pmalloc_pool_alloc(m->pool, t.size, align, (void **)&t.at));
  CHECK((uintptr_t)t.at % (align > 16 ? align : 16) == 0);
  CHECK(zero(t.at, rounded(t.size)));
  int clear = 1;
  for (size_t i = 0; i < m->n; i++)
    clear &= apart(&t, &m->live[i]);
  for (size_t i = 0; i < m->regions_n; i++)
    clear &= apart(&t, &m->regions[i]);
  CHECK(clear);
  if (m->freed.size && !apart(&t, &m->freed))
    m->freed.size = 0;
  fill(&t);
  m->live[m->n++] = t;
  m->used += rounded(t.size);
}

static void step_free(struct model *m) {
  if (m->n == 0)
    return;
  size_t i = below(m->n);
  struct thing t = m->live[i];
  CHECK(intact(&t));
  OK(pmalloc_pool_free(m->pool, t.at));
  CHECK(zero(t.at, rounded(t.size)));
  m->live[i] = m->live[--m->n];
  m->used -= rounded(t.size);
  m->freed = t;
}

static void step_wrong_free(struct model *m) {
  if (m->freed.size)
    CHECK(pmalloc_pool_free(m->pool, m->freed.at) == PMALLOC_ERR_DOUBLE_FREE);
  if (m->n) {
    struct thing *t = &m->live[below(m->n)];
    size_t inside = 1 + below(rounded(t->size) - 1);
    CHECK(pmalloc_pool_free(m->pool, t->at + inside) == PMALLOC_ERR_FOREIGN);
  }
  if (m->regions_n)
    CHECK(pmalloc_pool_free(m->pool, m->regions[below(m->regions_n)].at) == PMALLOC_ERR_FOREIGN);
}

static void step_find(struct model *m) {
  struct pmalloc_where w;
  size_t size;
  if (m->n == 0)
    return;
  struct thing *t = &m->live[below(m->n)];
  size_t offset = below(t->size);
  CHECK(pmalloc_registry_find((uintptr_t)t->at + offset, &w));
  CHECK(w.place == PMALLOC_DATA && w.kind == PMALLOC_RAW && w.pool_id == pmalloc_pool_id(m->pool));
  CHECK(w.object_start == (uintptr_t)t->at && w.object_end == (uintptr_t)t->at + t->size);
  CHECK(pmalloc_registry_is_start((uintptr_t)t->at));
  OK(pmalloc_pool_size_of(m->pool, t->at, &size));
  CHECK(size == t->size);
}

static void step_region(struct model *m) {
  struct pmalloc_region r, second;
  if (m->regions_n + 2 > REGIONS_MAX)
    return;
  OK(pmalloc_pool_region(m->pool, below(4) ? some_size() / 8 + 1 : some_size(), &r));
  struct thing t = {(unsigned char *)r.base, r.size, (unsigned char)random64()};
  CHECK(zero(t.at, t.size));
  fill(&t);
  size_t marked = 0;
  for (size_t at = 0; at < r.size; at += 16 + rounded(below(300)), marked++)
    pmalloc_region_mark(&r, r.base + at);
  int nested = below(4) == 0;
  if (nested) {
    OK(pmalloc_pool_region(m->pool, 1 + below(2000), &second));
    CHECK(zero((unsigned char *)second.base, second.size));
  }
  if (below(3)) {
    pmalloc_region_commit(m->pool, &r, marked);
    m->regions[m->regions_n++] = t;
    m->objects += marked;
    m->used += r.size;
  } else {
    pmalloc_region_abandon(m->pool, &r);
  }
  if (nested) {
    if (below(2)) {
      struct thing u = {(unsigned char *)second.base, second.size, (unsigned char)random64()};
      fill(&u);
      m->used += second.size;
      m->regions[m->regions_n++] = u;
      pmalloc_region_commit(m->pool, &second, 0);
    } else {
      pmalloc_region_abandon(m->pool, &second);
    }
  }
}

static void check_all(struct model *m) {
  struct pmalloc_stats s;
  int good = 1;
  for (size_t i = 0; i < m->n; i++)
    good &= intact(&m->live[i]);
  for (size_t i = 0; i < m->regions_n; i++)
    good &= intact(&m->regions[i]);
  CHECK(good);
  pmalloc_pool_stats(m->pool, &s);
  CHECK(s.allocations == m->n && s.used_bytes == m->used && s.objects == m->objects);
}

/* Another process would find every allocation, and no other. */
static void check_shared(struct model *m) {
  pmalloc_shared *shared;
  int fd, good = 1;
  OK(pmalloc_pool_fileno(m->pool, &fd));
  OK(pmalloc_shared_open(&shared, fd, 0));
  CHECK(pmalloc_shared_count(shared) == m->n);
  for (size_t i = 0; i < m->n; i++) {
    size_t index = 0, size = 0;
    const void *at = NULL;
    OK(pmalloc_pool_shared_index(m->pool, m->live[i].at, &index));
    OK(pmalloc_shared_get(shared, index, &at, &size));
    good &= size == m->live[i].size && memcmp(at, m->live[i].at, size) == 0;
    good &= pmalloc_pool_shared_index(m->pool, m->live[i].at + 1, &index) == PMALLOC_ERR_FOREIGN;
  }
  CHECK(good);
  OK(pmalloc_shared_close(shared));
}

static void end(struct model *m) {
  check_all(m);
  enum pmalloc_status status = pmalloc_pool_protect_as(m->pool, m->tier);
  if (status == PMALLOC_ERR_UNSUPPORTED && m->tier != PMALLOC_PLAIN) {
    static int told;
    if (!told++)
      puts("test_pool_model: all but the first tier skipped, this kernel has no mseal");
    m->tier = PMALLOC_PLAIN;
    status = pmalloc_pool_protect(m->pool);
  }
  OK(status);
  CHECK(pmalloc_pool_tier(m->pool) == m->tier);
  check_all(m);
  if (m->tier == PMALLOC_IMMUTABLE)
    check_shared(m);
  for (int i = 0; i < 20; i++)
    step_find(m);
  if (m->n > 4)
    WRITE_FAULTS(m->live[below(m->n)].at);
  while (m->n) {
    struct thing t = m->live[--m->n];
    m->used -= rounded(t.size);
    OK(pmalloc_pool_free(m->pool, t.at));
    CHECK(pmalloc_pool_free(m->pool, t.at) == PMALLOC_ERR_DOUBLE_FREE);
    CHECK(intact(&t));
  }
  check_all(m);
  if (m->tier != PMALLOC_PLAIN) {
    CHECK(pmalloc_pool_destroy(m->pool) == PMALLOC_ERR_SEALED);
    return;
  }
  OK(pmalloc_pool_destroy(m->pool));
  pmalloc_pool_forget(m->pool);
}

int main(int argc, char **argv) {
  static struct model m;
  static const size_t chunk_sizes[] = {0, 4096, 100000, PAGES_HUGE};
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  state = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)(t.tv_sec * 1000003 + t.tv_nsec) | 1;
  const long each = EMULATED ? 2000 : 5000;
  long steps = argc > 2 ? atol(argv[2]) : 4 * each;
  printf("  seed %llu\n", (unsigned long long)state);
  fflush(stdout);
  for (long step = 0; step < steps; step++) {
    if (step % each == 0) { /* four pools, each with chunks of another size */
      if (m.pool)
        end(&m);
      memset(&m, 0, sizeof m);
      struct pmalloc_options options = {.chunk_size = chunk_sizes[step / each % 4]};
      options.backing = below(2) ? PMALLOC_MEMFD : PMALLOC_PRIVATE;
      m.tier = (enum pmalloc_tier)below(options.backing == PMALLOC_MEMFD ? 3 : 2);
      OK(pmalloc_pool_create_with(&m.pool, "model", &options));
    }
    size_t kind = below(100);
    if (kind < 45)
      step_alloc(&m);
    else if (kind < 80)
      step_free(&m);
    else if (kind < 88)
      step_find(&m);
    else if (kind < 94)
      step_wrong_free(&m);
    else if (kind < 99)
      step_region(&m);
    else
      OK(pmalloc_pool_prealloc(m.pool, some_size()));
    if (step % 500 == 0)
      check_all(&m);
  }
  end(&m);
  return finish("pool_model");
}

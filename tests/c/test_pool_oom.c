/* Tests of failure: every system call of every verb fails once, at every place,
 * and the pool is as it was before; and a process that runs out of memory.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include <errno.h>

#include "pages.h"
#include "pool.h"
#include "registry_internal.h"

struct scene {
  pmalloc_pool *pool;
  char *live; /* an allocation made before, or NULL */
};

static int alloc_small(struct scene *s) {
  void *at;
  return (int)pmalloc_pool_alloc(s->pool, 100, 0, &at);
}

static int alloc_large(struct scene *s) {
  void *at;
  return (int)pmalloc_pool_alloc(s->pool, EMULATED ? 300000 : (size_t)3 << 20, 0, &at);
}

static int prealloc(struct scene *s) {
  return (int)pmalloc_pool_prealloc(s->pool, EMULATED ? 1 << 17 : 1 << 20);
}

static int region(struct scene *s) {
  struct pmalloc_region r;
  return (int)pmalloc_pool_region(s->pool, 1 << 18, &r);
}

static int set_root(struct scene *s) { return (int)pmalloc_pool_set_root(s->pool, s); }

static int protect(struct scene *s) { return (int)pmalloc_pool_protect(s->pool); }

static int (*const verbs[])(struct scene *) = {alloc_small, alloc_large, prealloc,
                                               region,      set_root,    protect};
enum { VERBS = sizeof verbs / sizeof *verbs };

static struct scene set_up(int prepared, enum pmalloc_backing backing) {
  struct pmalloc_options options = {.chunk_size = prepared == 2 ? 4096 : 0, .backing = backing};
  struct scene s = {NULL, NULL};
  OK(pmalloc_pool_create_with(&s.pool, "scene", &options));
  /* Prepared pools are full to the brim, so that the next verb must map; the
   * fifth chunk also needs a new segment of descriptors. */
  for (int i = 0; i < (prepared == 2 ? 4 : prepared); i++) {
    size_t size = prepared == 2 ? pages_round(4096) : pages_round(16384);
    OK(pmalloc_pool_alloc(s.pool, size, 0, (void **)&s.live));
    memset(s.live, 42, size);
  }
  return s;
}

static void still_works(struct scene *s) {
  char *at;
  if (s->live) {
    CHECK(s->live[0] == 42);
    s->live[0] = 42;
  }
  OK(pmalloc_pool_alloc(s->pool, 5000, 0, (void **)&at));
  memset(at, 1, 5000);
  CHECK(pmalloc_registry_is_start((uintptr_t)at));
}

static void test_every_call(enum pmalloc_backing backing) {
  static const int errors[] = {ENOMEM, EPERM, EINVAL};
  int failures = 0;
  for (int v = 0; v < VERBS; v++) {
    for (int prepared = 0; prepared < 3; prepared++) {
      for (int call = 0; call < PAGES_CALL_COUNT; call++) {
        int of_files = call == PAGES_CALL_MEMFD || call == PAGES_CALL_FALLOCATE;
        if (call >= PAGES_CALL_PEEK && !(of_files && backing == PMALLOC_MEMFD))
          continue;
        for (int n = 0; n < (EMULATED ? 7 : 12); n++) {
          for (int e = 0; e < 6; e += EMULATED ? 6 : 1) {
            struct scene s = set_up(prepared, backing);
            struct pmalloc_stats before, after;
            pmalloc_pool_stats(s.pool, &before);
            pages_inject((enum pages_call)call, n, errors[e / 2], e % 2);
            int status = verbs[v](&s);
            for (int c = 0; c < PAGES_CALL_COUNT; c++)
              pages_inject((enum pages_call)c, -1, 0, 0);
            pmalloc_pool_stats(s.pool, &after);
            if (status != PMALLOC_OK) {
              failures++;
              CHECK(status == PMALLOC_ERR_NOMEM || status == PMALLOC_ERR_SYSTEM ||
                    (status == PMALLOC_ERR_UNSUPPORTED && call == PAGES_CALL_MEMFD));
              /* The heap behind it may have grown; nothing else. */
              before.hot_bytes = after.hot_bytes = 0;
              CHECK(memcmp(&before, &after, sizeof after) == 0);
              still_works(&s);
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
  CHECK(failures > (EMULATED ? 40 : 200));
}

static void clear(void) {
  for (int c = 0; c < PAGES_CALL_COUNT; c++)
    pages_inject((enum pages_call)c, -1, 0, 0);
}

/* The first mapping decides whether a pool lives on. */
static void test_destroy(void) {
  for (int n = 0; n < 6; n++) {
    struct scene s = set_up(2, n % 3 ? PMALLOC_PRIVATE : PMALLOC_MEMFD);
    if (n % 2)
      OK(pmalloc_pool_protect(s.pool));
    pages_inject(PAGES_CALL_MMAP, n, ENOMEM, 1);
    pages_inject(PAGES_CALL_MPROTECT, 0, ENOMEM, 1);
    enum pmalloc_status status = pmalloc_pool_destroy(s.pool);
    clear();
    struct pmalloc_stats now_is;
    struct pmalloc_where where;
    pmalloc_pool_stats(s.pool, &now_is);
    CHECK(pmalloc_registry_find((uintptr_t)s.live, &where));
    if (n == 0) {
      CHECK(status == PMALLOC_ERR_NOMEM && now_is.state == PMALLOC_OPEN && s.live[0] == 42);
      CHECK(where.place == PMALLOC_DATA);
      still_works(&s);
    } else {
      CHECK(status != PMALLOC_OK ? now_is.state == PMALLOC_DESTROYED_STATE : 1);
      CHECK(where.place == PMALLOC_DESTROYED);
    }
    if (status != PMALLOC_OK) {
      pmalloc_pool_forget(s.pool); /* refused: there are mappings */
      OK(pmalloc_pool_destroy(s.pool));
    }
    READ_FAULTS(s.live);
    pmalloc_pool_forget(s.pool);
  }
}

static void run_short(void *arg) {
  const struct pmalloc_options options = {.backing = *(enum pmalloc_backing *)arg};
  /* Over what is mapped and reserved already: retired ranges count. */
  unsigned long pages = 0;
  FILE *statm = fopen("/proc/self/statm", "re");
  if (statm) {
    CHECK(fscanf(statm, "%lu", &pages) == 1);
    fclose(statm);
  }
  rlim_t room = pages * pages_page_size() + ((rlim_t)(EMULATED ? 40 : 128) << 20);
  struct rlimit limit = {room, room};
  setrlimit(RLIMIT_AS, &limit);
  pmalloc_pool *pool;
  OK(pmalloc_pool_create_with(&pool, "short", &options));
  char *at = NULL, *last = NULL;
  size_t n = 0;
  while (pmalloc_pool_alloc(pool, 500000, 0, (void **)&at) == PMALLOC_OK) {
    memset(last = at, 7, 500000);
    n++;
  }
  CHECK(n > 50 && last[499999] == 7);
  struct pmalloc_stats s;
  pmalloc_pool_stats(pool, &s);
  CHECK(s.allocations == n);
  OK(pmalloc_pool_free(pool, last));
  OK(pmalloc_pool_alloc(pool, 400000, 0, (void **)&at));
  CHECK(at[0] == 0 && at[399999] == 0);
  OK(pmalloc_pool_protect(pool));
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

int main(void) {
  test_every_call(PMALLOC_PRIVATE);
  test_every_call(PMALLOC_MEMFD);
  test_destroy();
  for (int backing = 0; backing < 2 && !SANITIZED; backing++) /* its shadow is above any limit */
    CHECK(dies(run_short, &(enum pmalloc_backing){(enum pmalloc_backing)backing}) == 0);
  return finish("pool_oom");
}

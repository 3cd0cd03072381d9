/* Tests of the search for words that lead into a pool.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include <sys/mman.h>

#include "pages.h"
#include "scan.h"

enum { ROOM = 4096 };
static struct pmalloc_reference found[ROOM];
static void *volatile in_data;

static size_t search(pmalloc_pool *pool) {
  size_t n = 0;
  memset(found, 0, sizeof found);
  OK(pmalloc_pool_references(pool, found, ROOM, &n));
  CHECK(n < ROOM);
  return n;
}

static const struct pmalloc_reference *at(const void *where) {
  for (size_t i = 0; i < ROOM; i++) {
    if (found[i].at == (uintptr_t)where)
      return &found[i];
  }
  return NULL;
}

static void test_places(void) {
  pmalloc_pool *pool, *other;
  void *target, *room;
  void *volatile on_stack;
  OK(pmalloc_pool_create(&pool, "target", 0));
  OK(pmalloc_pool_create(&other, "other", 0));
  OK(pmalloc_pool_alloc(pool, 100, 0, &target));
  OK(pmalloc_pool_alloc(other, 64, 0, &room));
  void *volatile *on_heap = malloc(64), *volatile * mapped;
  mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  on_stack = target;
  in_data = on_heap[7] = mapped[511] = ((void **)room)[2] = (char *)target + 99;
  on_heap[6] = (char *)target + 100; /* its slack */
  mapped[3] = (char *)target + 500;  /* free space */
  search(pool);
  CHECK(at((void *)&on_stack) && at((void *)&on_stack)->to == (uintptr_t)target);
  CHECK(strstr(at((void *)&on_stack)->mapping, "stack") != NULL || SANITIZED);
  CHECK(at((void *)&in_data));
  CHECK(at((void *)&on_heap[7]));
  CHECK(at((void *)&mapped[511]));
  CHECK(at((void **)room + 2));
  CHECK(at((void *)&mapped[511])->object_start == (uintptr_t)target &&
        at((void *)&mapped[511])->mapping[0] == 0);
  CHECK(!at((void *)&on_heap[6]) && !at((void *)&mapped[3]));
  OK(pmalloc_pool_protect(other));
  CHECK(search(pool) && at((void **)room + 2)); /* protected ones hold on to it, too */
  OK(pmalloc_pool_destroy(other));
  in_data = NULL;
  mprotect((void *)mapped, 4096, PROT_NONE);
  CHECK(search(pool) && !at((void **)room + 2) && !at((void *)&in_data) &&
        !at((void *)&mapped[511]));
  on_stack = NULL;
  munmap((void *)mapped, 4096);
  free((void *)on_heap);
  size_t n;
  OK(pmalloc_pool_references(pool, NULL, 0, &n));
  OK(pmalloc_pool_destroy(pool));
  CHECK(pmalloc_pool_references(pool, NULL, 0, &n) == PMALLOC_ERR_DESTROYED && n == 0);
}

/* Its own metadata, what was found before and a pool without memory. */
static void test_not_itself(void) {
  pmalloc_pool *pool;
  void *at[100];
  OK(pmalloc_pool_create(&pool, "itself", 0));
  CHECK(search(pool) == 0);
  for (int i = 0; i < 100; i++) {
    OK(pmalloc_pool_alloc(pool, 64, 0, &at[i]));
    *(void **)at[i] = at[0];
  }
  size_t first = search(pool);
  CHECK(first >= 100 && first < 300); /* at[], and little that is left on the stack */
  memset(at, 0, sizeof at);
  CHECK(search(pool) < 100);
  OK(pmalloc_pool_destroy(pool));
}

struct visited {
  const void *where;
  uintptr_t to, start;
  int times;
};

static void visit(void *context, uintptr_t at_, uintptr_t to, uintptr_t start) {
  struct visited *seen = context;
  if (at_ != (uintptr_t)seen->where)
    return;
  seen->to = to;
  seen->start = start;
  seen->times++;
}

/* The same words, one by one. */
static void test_visit(void) {
  pmalloc_pool *pool;
  void *target;
  OK(pmalloc_pool_create(&pool, "visited", 0));
  struct visited seen = {.where = (void *)&in_data};
  OK(pmalloc_pool_visit_references(pool, visit, &seen)); /* no memory: nothing to see */
  OK(pmalloc_pool_alloc(pool, 100, 0, &target));
  in_data = (char *)target + 40;
  OK(pmalloc_pool_visit_references(pool, visit, &seen));
  CHECK(seen.times == 1 && seen.to == (uintptr_t)target + 40 && seen.start == (uintptr_t)target);
  OK(pmalloc_pool_free(pool, target));
  OK(pmalloc_pool_visit_references(pool, visit, &seen));
  CHECK(seen.times == 1);
  in_data = NULL;
  OK(pmalloc_pool_destroy(pool));
  CHECK(pmalloc_pool_visit_references(pool, visit, &seen) == PMALLOC_ERR_DESTROYED);
}

int main(void) {
  test_places();
  test_not_itself();
  test_visit();
  return finish("scan");
}

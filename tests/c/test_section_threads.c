/* test_section_threads: objects come and go in some threads, while others protect all there are,
 * look at them, and fork.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

#include "check.h"
#include "pages.h"
#include "pool.h"

#define ROUNDS 300
#define OBJECTS 3

static char data[OBJECTS][4 * 65536];
static atomic_int running = OBJECTS;

/* Loaded, perhaps protected by somebody else, unloaded: as the loader does, the pages are writable
 * again for the next one. */
static void *comes_and_goes(void *of) {
  size_t page = pages_page_size();
  char *start = of;
  start += page - (uintptr_t)start % page;
  const struct pmalloc_object object = {sizeof object, start, start + page, start + page,
                                        start + 2 * page};
  for (int round = 0; round < ROUNDS; round++) {
    OK(pmalloc_register_object(&object));
    CHECK(is_pmalloc_object(start));
    uint64_t value = (uint64_t)round;
    OK(pmalloc_protect_object(&object));
    CHECK(pmalloc_is_protected(start));
    /* There are no symbols, but for the array's. */
    CHECK(pmalloc_check_object_size(start + page, sizeof value) != PMALLOC_BOUNDS_NOT_OURS);
    pmalloc_unregister_object(&object);
    CHECK(!is_pmalloc_object(start));
    CHECK(mprotect(start, 2 * page, PROT_READ | PROT_WRITE) == 0);
    memcpy(start, &value, sizeof value);
  }
  running--;
  return NULL;
}

static void *looks(void *unused) {
  struct pmalloc_static_data found = {.size = sizeof found};
  while (running > 0) {
    for (unsigned long id = 0; pmalloc_next_static_data(id, &found); id = found.id)
      CHECK(found.bytes == pages_page_size() && !found.problem[0]);
    OK(pmalloc_mark_rodata_ro());
  }
  return unused;
}

static void in_child(void *unused) {
  (void)unused;
  OK(pmalloc_mark_rodata_ro());
}

int main(void) {
  pthread_t threads[OBJECTS + 1];
  for (int i = 0; i < OBJECTS; i++)
    CHECK(pthread_create(&threads[i], NULL, comes_and_goes, data[i]) == 0);
  CHECK(pthread_create(&threads[OBJECTS], NULL, looks, NULL) == 0);
#ifndef __SANITIZE_THREAD__
  for (int i = 0; i < 20; i++)
    CHECK(dies(in_child, NULL) == 0);
#else
  (void)in_child;
#endif
  for (int i = 0; i <= OBJECTS; i++)
    CHECK(pthread_join(threads[i], NULL) == 0);
  return finish("section threads");
}

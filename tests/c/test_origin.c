/* Who created and protected a pool, where that was C: noted by pmalloc.h's functions themselves. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pmalloc.h>

#include <errno.h>
#include <stdint.h>
#include <time.h>

#include "fault_origin.h"
#include "pool.h"
#include "witness.h"

static void test_origins_of_c(void) {
  struct pmalloc_origin created, protected;
  struct pmalloc_pool *pool = pmalloc_create_pool("mine", NULL);
  uintptr_t id = pmalloc_pool_id(pool);
  EXPECT(pmalloc_origin_find(id, PMALLOC_WAS_CREATED, &created) && created.line == 0);
  EXPECT(strstr(created.file, program_invocation_short_name) == created.file &&
         strstr(created.file, "+0x"));
  EXPECT(created.time_ns / 1000000000 - time(NULL) <= 1);
  EXPECT(!pmalloc_origin_find(id, PMALLOC_WAS_PROTECTED, &protected));
  EXPECT(pmalloc_protect_pool(pool) == PMALLOC_OK);
  EXPECT(pmalloc_origin_find(id, PMALLOC_WAS_PROTECTED, &protected));
  EXPECT(strstr(protected.file, program_invocation_short_name) == protected.file);
  EXPECT(strcmp(created.file, protected.file) != 0 && protected.time_ns >= created.time_ns);
  EXPECT(pmalloc_destroy_pool(pool) == PMALLOC_OK);
  EXPECT(pmalloc_origin_find(id, PMALLOC_WAS_CREATED, &created)); /* until its place is needed */

  pool = pmalloc_global_pool();
  EXPECT(pmalloc_origin_find(pmalloc_pool_id(pool), PMALLOC_WAS_CREATED, &created));
  EXPECT(pmalloc_global_pool() == pool);
  EXPECT(pmalloc_origin_find(pmalloc_pool_id(pool), PMALLOC_WAS_CREATED, &protected));
  EXPECT(strcmp(created.file, protected.file) == 0 && created.time_ns == protected.time_ns);
}

int main(void) {
  test_origins_of_c();
  return witness_done();
}

/* survived: what the tests of `audit`, `warn` and `off` begin with: a protected pool, and stores
 * that the program outlives. */
#ifndef PMALLOC_TESTS_SURVIVED_H
#define PMALLOC_TESTS_SURVIVED_H

#include <pmalloc.h>
#include <pthread.h>
#include <stdint.h>

#include "fault.h"
#include "fault_log.h"
#include "fault_turn.h"
#include "pages.h"
#include "pool.h"
#include "witness.h"

static pmalloc_pool *made; /* by protected_bytes() */

static inline void must(int truth) {
  if (!truth)
    _exit(99);
}

static inline void store(void *address, char value) { *(volatile char *)address = value; }

/* A protected pool with one allocation of two pages. */
static inline char *protected_bytes(enum pmalloc_policy policy, enum pmalloc_backing backing,
                                    enum pmalloc_tier tier) {
  const struct pmalloc_options options = {.policy = policy, .backing = backing};
  void *bytes;
  must(pmalloc_pool_create_with(&made, "audited", &options) == PMALLOC_OK);
  must(pmalloc_fault_install(NULL) == PMALLOC_OK);
  must(pmalloc_pool_alloc(made, 2 * pages_page_size(), pages_page_size(), &bytes) == PMALLOC_OK);
  must(pmalloc_pool_protect_as(made, tier) == PMALLOC_OK);
  return bytes;
}

static inline struct pmalloc_stats stats(void) {
  struct pmalloc_stats s;
  pmalloc_pool_stats(made, &s);
  return s;
}

#if defined(__x86_64__)
/* Ten bytes, by an instruction that is not emulated but stepped. */
static inline void x87(void *at) {
  __asm__ volatile("fldpi\n\tfstpt (%0)" : : "r"(at) : "memory", "st");
}
#endif

static inline void start(pthread_t *thread, void *(*run)(void *), void *argument) {
  must(pthread_create(thread, NULL, run, argument) == 0);
}

static inline void end(pthread_t thread) { must(pthread_join(thread, NULL) == 0); }

/* In a child; `w` is what the caller has to keep what it says. */
#define GOES_ON(crime)                                                                             \
  do {                                                                                             \
    w = witness(crime);                                                                            \
    EXPECT_EXIT(w, 0);                                                                             \
  } while (0)
#define DIES(crime, signal)                                                                        \
  do {                                                                                             \
    w = witness(crime);                                                                            \
    EXPECT_SIGNAL(w, signal);                                                                      \
  } while (0)

#endif

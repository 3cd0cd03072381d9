/* While one thread writes rarely, another stores to the same page without a pause, and lives on by
 * siglongjmp() in a handler of its own. Through /proc/self/mem and through a memfd not one of its
 * stores may land: nothing is ever open. Of the window it is known that some do: how many is
 * printed.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include "../../src/libpmalloc/pages.h"
#include "../../src/libpmalloc/pool.h"
#include "check.h"

#if EMULATED
#define OPENINGS 3000
#elif SANITIZED || defined(__clang__) /* the same system calls: once is enough */
#define OPENINGS 50000
#else
#define OPENINGS 1000000
#endif

static _Thread_local sigjmp_buf back;
static atomic_int stop;
static atomic_long tries, landed;

static void on_fault(int number) {
  (void)number;
  siglongjmp(back, 1);
}

static void *intruder(void *arg) {
  volatile uint64_t *word = arg;
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    atomic_fetch_add_explicit(&tries, 1, memory_order_relaxed);
    if (sigsetjmp(back, 1) == 0) {
      *word = UINT64_MAX;
      atomic_fetch_add(&landed, 1);
    }
  }
  return NULL;
}

static void intrude(const char *name, enum pmalloc_backing backing, enum pmalloc_mechanism wanted,
                    uint64_t openings) {
  const struct pmalloc_options options = {.mode = PMALLOC_MODE_WR, .backing = backing};
  pmalloc_pool *pool = NULL;
  pthread_t thread;
  void *room = NULL;
  OK(pmalloc_pool_create_with(&pool, name, &options));
  OK(pmalloc_pool_alloc(pool, 4096, 0, &room));
  uint64_t *ours = room, *others = ours + 8;
  OK(pmalloc_pool_protect(pool));
  CHECK(pmalloc_mechanism_of(pool) == wanted);
  atomic_store(&stop, 0);
  atomic_store(&landed, 0);
  atomic_store(&tries, 0);
  CHECK(pthread_create(&thread, NULL, intruder, others) == 0);
  while (atomic_load(&tries) == 0)
    sched_yield();
  uint64_t i = 0;
  while (i < openings || atomic_load(&tries) <= 100) { /* it may have got no CPU yet */
    i++;
    OK(pmalloc_wr_copy(ours, &i, sizeof i));
    if (*ours != i)
      CHECK(*ours == i);
  }
  atomic_store(&stop, 1);
  pthread_join(thread, NULL);
  printf("%s: %llu openings, %ld foreign stores tried, %ld landed\n", name, (unsigned long long)i,
         atomic_load(&tries), atomic_load(&landed));
  if (wanted != PMALLOC_BY_WINDOW)
    CHECK(atomic_load(&landed) == 0 && *others == 0);
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

int main(void) {
  struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
  CHECK(sigaction(SIGSEGV, &action, NULL) == 0);
  intrude("proc_mem", PMALLOC_PRIVATE, PMALLOC_BY_PROC_MEM, OPENINGS);
  intrude("memfd", PMALLOC_MEMFD, PMALLOC_BY_MEMFD, OPENINGS / 10);
  pages_inject(PAGES_CALL_POKE, 0, EIO, 1);
  intrude("mprotect", PMALLOC_PRIVATE, PMALLOC_BY_WINDOW, OPENINGS / 10);
  return finish("rare_write_intruder");
}

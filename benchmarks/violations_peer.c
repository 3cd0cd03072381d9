/* What an audited store costs, against a bare handler of SIGSEGV. See bench_violations.py.
 *
 *   violations_peer TIMES    prints nanoseconds of processor time a store, medians of 9 rounds:
 *                            bare, skipped, mov, lock inc, stepped (0 where there is none)
 *
 *   bare      the least that lets a store to a read-only page take effect: the handler makes the
 *             page writable, the store runs again, the page is made read-only again
 *   skipped   a handler that only moves the program counter on: the store is lost. What a signal
 *             alone costs
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "fault.h"
#include "pool.h"

#define ROUNDS 9

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* other programs of the machine do not count */
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static long page;

static void open_page(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)context;
  mprotect((void *)((uintptr_t)info->si_addr & ~(uintptr_t)(page - 1)), (size_t)page,
           PROT_READ | PROT_WRITE);
}

static void skip(int number, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  (void)number;
  (void)info;
#if defined(__x86_64__)
  uc->uc_mcontext.gregs[REG_RIP] += 3; /* movq %rax, (%rdi) */
#else
  uc->uc_mcontext.pc += 4;
#endif
}

static __attribute__((noinline)) void store(char *at) {
#if defined(__x86_64__)
  __asm__ volatile("movq %%rax, (%%rdi)" : : "D"(at), "a"(7L) : "memory");
#else
  __asm__ volatile("str xzr, [%0]" : : "r"(at) : "memory");
#endif
}

static __attribute__((noinline)) void count_up(char *at) {
  __atomic_fetch_add((uint64_t *)(void *)at, 1, __ATOMIC_SEQ_CST);
}

static void store_and_shut(char *at) {
  store(at);
  mprotect(at, (size_t)page, PROT_READ);
}

#if defined(__x86_64__)
static void store_x87(char *at) {
  __asm__ volatile("fldpi\n\tfstpt (%0)" : : "r"(at) : "memory", "st");
}
#endif

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median_of(void (*work)(char *), char *at, int times) {
  double rounds[ROUNDS];
  for (int r = 0; r < ROUNDS; r++) {
    double start = now();
    for (int i = 0; i < times; i++)
      work(at);
    rounds[r] = (now() - start) / times;
  }
  qsort(rounds, ROUNDS, sizeof *rounds, ascending);
  return rounds[ROUNDS / 2];
}

static void install(void (*handler)(int, siginfo_t *, void *)) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, NULL);
}

int main(int argc, char **argv) {
  int times = argc > 1 ? atoi(argv[1]) : 1000;
  double stepped = 0;
  void *audited;
  pmalloc_pool *pool;
  const struct pmalloc_options options = {.policy = PMALLOC_AUDIT};
  page = sysconf(_SC_PAGESIZE);
  char *bare = mmap(NULL, (size_t)page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (bare == MAP_FAILED)
    return 1;
  install(open_page);
  double opened = median_of(store_and_shut, bare, times);
  install(skip);
  double skipped = median_of(store, bare, times);
  signal(SIGSEGV, SIG_DFL);

  if (pmalloc_pool_create_with(&pool, "audited", &options) != PMALLOC_OK ||
      pmalloc_pool_alloc(pool, (size_t)page, 0, &audited) != PMALLOC_OK ||
      pmalloc_fault_install(NULL) != PMALLOC_OK || pmalloc_pool_protect(pool) != PMALLOC_OK)
    return 1;
  double moved = median_of(store, audited, times);
  double counted = median_of(count_up, audited, times);
#if defined(__x86_64__)
  stepped = median_of(store_x87, audited, times / 10 + 1);
#endif
  printf("%.0f %.0f %.0f %.0f %.0f\n", opened, skipped, moved, counted, stepped);
  return 0;
}

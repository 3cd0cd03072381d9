/* check: the whole test harness.
 *
 * CHECK counts, and says where it failed; finish() prints the sum and answers
 * the exit status. dies() runs a function in a child and tells by which signal
 * it ended.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_CHECK_H
#define PMALLOC_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static atomic_int check_passed, check_failed;

static inline void check(int condition, const char *file, int line, const char *text) {
  if (condition) {
    check_passed++;
  } else {
    check_failed++;
    fprintf(stderr, "%s:%d: failed: %s\n", file, line, text);
  }
}

#define CHECK(condition) check(!!(condition), __FILE__, __LINE__, #condition)
#define OK(call) CHECK((call) == PMALLOC_OK)

static inline int finish(const char *name) {
  printf("%-16s %d passed, %d failed\n", name, check_passed, check_failed);
  return check_failed != 0;
}

/* The signal that ends a child which runs run(arg); 0 where it ends by itself,
 * minus its exit status where that is not 0. */
static inline int dies(void (*run)(void *), void *arg) {
  int status;
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGSEGV, SIG_DFL);
    signal(SIGBUS, SIG_DFL);
    run(arg);
    _exit(check_failed ? 99 : 0);
  }
  if (waitpid(child, &status, 0) != child)
    return -1000;
  return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static inline void poke(void *at) { *(volatile char *)at = 1; }
static inline void look(void *at) { (void)*(volatile char *)at; }

#define WRITE_FAULTS(at) CHECK(dies(poke, (void *)(at)) == SIGSEGV)
#define READ_FAULTS(at) CHECK(dies(look, (void *)(at)) == SIGSEGV)

/* Resident bytes of this process. */
static inline long resident(void) {
  long pages = 0, skip;
  FILE *statm = fopen("/proc/self/statm", "re");
  if (statm) {
    if (fscanf(statm, "%ld %ld", &skip, &pages) != 2)
      pages = 0;
    fclose(statm);
  }
  return pages * sysconf(_SC_PAGESIZE);
}

static inline double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* On an emulated CPU (tools/kernels.sh): the same tests, fewer rounds. */
#if defined(PMALLOC_EMULATED)
#define EMULATED 1
#else
#define EMULATED 0
#endif

#endif

/* What follows a write to protected memory where the policy is not `oops`, without Python: audit by
 * emulation and by single steps, warn, off; what the environment says; threads and forks.
 *
 * not under: thread (its runtime delays handlers) */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>

#include "survived.h"

/* ---- audit ---- */

static void audit_stores(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  errno = 1234;
  for (int i = 0; i < 100; i++)
    store(bytes + i, (char)i);
  must(errno == 1234);
  for (int i = 0; i < 100; i++)
    must(bytes[i] == i);
  must(pages_is_readonly(bytes) == 1);
  must(stats().violations == 100 && stats().stepped == 0 && !stats().tainted);
  const struct pmalloc_log_writer *writer = pmalloc_log_nth_writer(0);
  must(writer && !pmalloc_log_nth_writer(1) && writer->count == 100);
  for (size_t i = 0; i < 100; i++) {
    const struct pmalloc_log_write *write = pmalloc_log_nth_write(i);
    must(write && write->whole && write->size == 1 && write->address == (uintptr_t)bytes + i);
    must(write->before[0] == 0 && write->after[0] == i);
  }
  must(!pmalloc_log_nth_write(100));
}

static void audit_copies(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  size_t n = 2 * pages_page_size();
  char *from = malloc(n);
  must(from != NULL);
  for (size_t i = 0; i < n; i++)
    from[i] = (char)(i * 7);
  memcpy(bytes, from, n);
  must(memcmp(bytes, from, n) == 0 && pages_is_readonly(bytes + n - 8) == 1);
  free(from);
}

static void audit_over_the_end(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  struct pmalloc_where where;
  must(pmalloc_registry_find((uintptr_t)bytes, &where));
  typedef uint64_t __attribute__((aligned(1))) word; /* it may lie anywhere */
  volatile word *last = (volatile word *)(where.chunk_end - 4);
  *last = 1; /* four bytes in the pool, four in its guard */
}

#if defined(__x86_64__)
static void audit_steps(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  long double pi;
  x87(bytes + pages_page_size() - 3); /* needs both pages at once */
  memcpy(&pi, bytes + pages_page_size() - 3, 10);
  must(pi > 3.14159L && pi < 3.1416L);
  must(pages_is_readonly(bytes) == 1 && pages_is_readonly(bytes + pages_page_size()) == 1);
  must(stats().violations == 1 && stats().stepped == 1);
  must(pmalloc_log_nth_write(0)->stepped && pmalloc_log_nth_write(0)->whole);
}

static void audit_steps_in_a_file(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_MEMFD, PMALLOC_PLAIN);
  store(bytes, 7);
  must(bytes[0] == 7 && stats().stepped == 1 && pages_is_readonly(bytes) == 1);
}

static void audit_sealed_cannot_step(void) {
  x87(protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_SEALED));
}

static volatile sig_atomic_t trapped;
static void on_trap(int number) {
  (void)number;
  trapped++;
}
static void others_traps(void) {
  signal(SIGTRAP, on_trap);
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  __asm__ volatile("int3");
  must(trapped == 1);
  x87(bytes);
  must(trapped == 1 && stats().stepped == 1);
  raise(SIGTRAP);
  must(trapped == 2);
  signal(SIGTRAP, on_trap); /* on top of ours */
  x87(bytes);
  must(trapped == 2 && stats().stepped == 2);
  __asm__ volatile("int3");
  must(trapped == 3);
}
static void nobodys_trap(void) {
  (void)protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  __asm__ volatile("int3");
}

/* Signals that come during a step wait for its end, and their handlers find all as it should be.
 * The next one is ordered by the handler: of one that came by the clock, a slow machine would do
 * nothing else. */
static char *volatile target;
static int timer; /* not alarm(), which ends this process when it hangs */
static volatile sig_atomic_t came;
static void order_signal(long nanoseconds) {
  const struct itimerspec soon = {{0, 0}, {0, nanoseconds}};
  syscall(SYS_timer_settime, timer, 0, &soon, NULL);
}
static void on_signal(int number) {
  (void)number;
  came++;
  x87(target + 64);
  order_signal(300000);
}
static void signals_during_steps(void) {
  enum { STEPS = WITNESS_EMULATED ? 300 : 3000 };
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  target = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  must(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0);
  signal(SIGUSR1, on_signal);
  order_signal(300000);
  for (int i = 0; i < STEPS; i++)
    x87(target);
  signal(SIGUSR1, SIG_IGN);
  must(came > STEPS / 100);
  must(stats().violations == stats().stepped && stats().violations == (uint64_t)(STEPS + came));
  must(pages_is_readonly(target) == 1);
}
#endif

enum { COUNT = WITNESS_EMULATED ? 400 : 2000 };
static void *count_up(void *at) {
  for (int i = 0; i < COUNT; i++)
    __atomic_fetch_add((uint64_t *)at, 1, __ATOMIC_SEQ_CST);
  return NULL;
}
static void audit_threads(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  pthread_t threads[4];
  uint64_t total;
  for (int i = 0; i < 4; i++)
    start(&threads[i], count_up, bytes);
  for (int i = 0; i < 4; i++)
    end(threads[i]);
  memcpy(&total, bytes, 8);
  must(total == 4 * COUNT && stats().violations == 4 * COUNT && stats().stepped == 0);
}

static void audit_in_a_child(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  int status;
  store(bytes, 1);
  /* Nobody is told of this one: no atfork() handler runs. */
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L);
  if (child == 0) {
    store(bytes, 2);
    syscall(SYS_exit_group, bytes[0] == 2 ? 0 : 1);
  }
  must(waitpid(child, &status, 0) == child && status == 0);
  must(bytes[0] == 1); /* the descriptor of this process's memory was not used there */
  store(bytes, 3);
  must(bytes[0] == 3);
}

static void *fork_and_again(void *bytes) {
  for (int i = 0; i < (WITNESS_EMULATED ? 10 : 40); i++) {
    int status;
    pid_t child = fork();
    if (child == 0) {
      must(pages_is_readonly(bytes) == 1); /* another thread was at an instruction */
      must(!pmalloc_log_nth_write(0));
      _exit(0);
    }
    must(waitpid(child, &status, 0) == child && status == 0);
  }
  return NULL;
}
static void forks_during(enum pmalloc_backing backing) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, backing, PMALLOC_PLAIN);
  pthread_t thread;
  start(&thread, fork_and_again, bytes);
  for (int i = 0; i < (WITNESS_EMULATED ? 400 : 3000); i++)
    store(bytes + 64, (char)i);
  end(thread);
}
static void forks_during_writes(void) { forks_during(PMALLOC_PRIVATE); }
#if defined(__x86_64__)
static void forks_during_steps(void) { forks_during(PMALLOC_MEMFD); } /* a file is not emulated */
#endif

/* ---- warn, off ---- */

static void warn(void) {
  char *bytes = protected_bytes(PMALLOC_WARN, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  must(!stats().tainted && pmalloc_is_protected(bytes));
  for (int i = 0; i < 3; i++)
    store(bytes, 7);
  must(bytes[0] == 7 && stats().tainted && stats().violations == 1);
  must(!pmalloc_is_protected(bytes) && pages_is_readonly(bytes) == 0);
  must(pages_is_readonly(bytes + pages_page_size()) == 1);
  store(bytes + pages_page_size(), 7);
  must(stats().violations == 2);
  must(pmalloc_pool_destroy(made) == PMALLOC_OK);
}

static void warn_refused(void) {
  char *bytes = protected_bytes(PMALLOC_WARN, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  pages_inject(PAGES_CALL_MPROTECT, 0, ENOMEM, 1); /* no mapping left to split it into */
  store(bytes, 7);
}

static void off(void) {
  char *bytes = protected_bytes(PMALLOC_OFF, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  void *more;
  struct sigaction action;
  store(bytes, 7);
  store(bytes - 1, 7); /* no guard either */
  must(bytes[0] == 7 && !pmalloc_is_protected(bytes));
  must(sigaction(SIGSEGV, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
  must(pmalloc_pool_alloc(made, 1, 0, &more) == PMALLOC_ERR_PROTECTED);
}

/* ---- who chooses ---- */

static void environment(void) {
  setenv("PMALLOC_RODATA", "audit", 1);
  struct pmalloc_pool_options own = PMALLOC_POOL_OPTIONS_INIT;
  own.on_violation = PMALLOC_WARN;
  struct pmalloc_pool *one = pmalloc_create_pool("one", NULL);
  struct pmalloc_pool *two = pmalloc_create_pool("two", &own);
  must(one && two);
  char *first = pmalloc(one, 8), *second = pmalloc(two, 8);
  must(first && second);
  must(pmalloc_protect_pool(one) == PMALLOC_OK && pmalloc_protect_pool(two) == PMALLOC_OK);
  store(first, 1);
  store(second, 2);
  must(first[0] == 1 && pmalloc_is_protected(first));
  must(second[0] == 2 && !pmalloc_is_protected(second));
  own.on_violation = (enum pmalloc_policy)5;
  must(pmalloc_create_pool("three", &own) == NULL && errno == EINVAL);
}

static void environment_off(void) {
  setenv("PMALLOC_RODATA", "off", 1);
  char *bytes = protected_bytes(PMALLOC_OOPS, PMALLOC_MEMFD, PMALLOC_SEALED);
  pages_inject(PAGES_CALL_MPROTECT, 0, EPERM, 1);
  pages_inject(PAGES_CALL_MSEAL, 0, EPERM, 1);
  store(bytes, 7);
  must(bytes[0] == 7 && pmalloc_pool_tier(made) == PMALLOC_SEALED);
  must(pmalloc_pool_destroy(made) == PMALLOC_ERR_SEALED);
  bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  store(bytes, 7);
  must(bytes[0] == 7 && stats().policy == PMALLOC_OFF);
}

static void environment_nonsense(void) {
  setenv("PMALLOC_RODATA", "permissive", 1);
  store(protected_bytes(PMALLOC_POLICY_DEFAULT, PMALLOC_PRIVATE, PMALLOC_PLAIN), 1);
}

/* ---- turns ---- */

static void *take_and_go(void *unused) {
  (void)unused;
  (void)pmalloc_turn_take();
  return NULL;
}
static void a_turn_that_is_never_given_on(void) {
  pthread_t thread;
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  start(&thread, take_and_go, NULL);
  end(thread);
  store(bytes, 7);
  must(bytes[0] == 7);
}

int main(void) {
  struct witness w;
  unsetenv("PMALLOC_RODATA");
  GOES_ON(audit_stores);
  EXPECT(count_of(w.text, "policy       audit") == 1);
  EXPECT_SAYS(w, "pmalloc: write to protected pool 'audited'\n");
  GOES_ON(audit_copies);
  DIES(audit_over_the_end, SIGSEGV);
  EXPECT_SAYS(w, "policy       oops");
#if defined(__x86_64__)
  /* Elsewhere there is no step after which the guard would be what stops it. */
  EXPECT_SAYS(w, "guard page of pool 'audited' hit (write)");
  GOES_ON(audit_steps);
  GOES_ON(audit_steps_in_a_file);
  GOES_ON(others_traps);
  DIES(nobodys_trap, SIGTRAP);
  GOES_ON(signals_during_steps);
  GOES_ON(forks_during_steps);
  int status;
  pid_t child = fork();
  if (child == 0) { /* whether this kernel seals */
    const struct pmalloc_options none = {0};
    void *bytes;
    must(pmalloc_pool_create_with(&made, "probe", &none) == PMALLOC_OK);
    must(pmalloc_pool_alloc(made, 8, 0, &bytes) == PMALLOC_OK);
    _exit(pmalloc_pool_protect_as(made, PMALLOC_SEALED) != PMALLOC_OK);
  }
  if (waitpid(child, &status, 0) == child && status == 0) {
    DIES(audit_sealed_cannot_step, SIGSEGV);
    EXPECT_SAYS(w, "policy       oops");
  } else {
    puts("test_audit: a sealed pool skipped, this kernel has no mseal");
  }
#else
  puts("test_audit: single steps skipped, they are of x86-64 only");
#endif
  GOES_ON(audit_threads);
  GOES_ON(audit_in_a_child);
  GOES_ON(forks_during_writes);
  GOES_ON(warn);
  EXPECT(count_of(w.text, "policy       warn") == 1);
  DIES(warn_refused, SIGSEGV);
  EXPECT_SAYS(w, "policy       oops");
  GOES_ON(off);
  EXPECT(w.text[0] == 0);
  GOES_ON(environment);
  GOES_ON(environment_off);
  EXPECT(w.text[0] == 0);
  DIES(environment_nonsense, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: PMALLOC_RODATA is none of oops, warn, audit, off: oops it is\n");
  GOES_ON(a_turn_that_is_never_given_on);
  return witness_done();
}

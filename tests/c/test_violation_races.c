/* What happens beside a violation that the program survives: its turn is taken away, its pool is
 * destroyed, others fork, jump out of handlers, call each other's trap handlers, and stderr is
 * closed, full or slow.
 *
 * not under: thread (its runtime delays handlers) */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>

#include "fault_step.h"
#include "survived.h"

/* ---- turns ---- */

static volatile int stage;

static void wait_for(int n) {
  while (stage < n)
    usleep(1000);
}

static void *leave_late(void *unused) {
  (void)unused;
  must(pmalloc_turn_take() == PMALLOC_TURN_TAKEN);
  stage = 1;
  wait_for(2);
  pmalloc_turn_leave();
  stage = 3;
  return NULL;
}

/* It was slow, somebody took the turn away: what it gives back then is no longer its own. */
static void a_turn_given_back_too_late(void) {
  pthread_t thread;
  start(&thread, leave_late, NULL);
  wait_for(1);
  must(pmalloc_turn_take() == PMALLOC_TURN_STOLEN);
  stage = 2;
  wait_for(3);
  must(pmalloc_turn_is_mine());
  pmalloc_turn_leave();
  end(thread);
}

static _Atomic int inside;
static void *steal(void *unused) {
  (void)unused;
  must(pmalloc_turn_take() != PMALLOC_TURN_KEPT);
  must(inside++ == 0);
  usleep(100000);
  must(--inside == 0);
  pmalloc_turn_leave();
  return NULL;
}

/* Their two seconds are over at the same moment. */
static void two_thieves(void) {
  pthread_t threads[4];
  must(pmalloc_turn_take() == PMALLOC_TURN_TAKEN);
  for (int i = 0; i < 4; i++)
    start(&threads[i], steal, NULL);
  for (int i = 0; i < 4; i++)
    end(threads[i]);
}

static void *many_turns(void *unused) {
  (void)unused;
  for (int i = 0; i < 25; i++) {
    must(pmalloc_turn_take() == PMALLOC_TURN_TAKEN);
    stage = 1;
    usleep(100000);
    must(pmalloc_turn_is_mine());
    pmalloc_turn_leave();
  }
  return NULL;
}

/* One that has many turns is not one that is stuck. */
static void a_busy_thread(void) {
  pthread_t thread;
  start(&thread, many_turns, NULL);
  wait_for(1);
  must(pmalloc_turn_take() == PMALLOC_TURN_TAKEN);
  pmalloc_turn_leave();
  end(thread);
}

static void *store_one(void *at) {
  store(at, 7);
  return NULL;
}

/* The handler waits for its turn; when that comes, the pool is no longer there. */
static void destroyed_in_between(enum pmalloc_policy policy) {
  char *bytes = protected_bytes(policy, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  pthread_t thread;
  must(pmalloc_turn_take() == PMALLOC_TURN_TAKEN);
  start(&thread, store_one, bytes);
  usleep(100000); /* it has met the old state by now */
  must(pmalloc_pool_destroy(made) == PMALLOC_OK);
  pmalloc_turn_leave();
  end(thread);
}
static void destroyed_in_between_warn(void) { destroyed_in_between(PMALLOC_WARN); }
static void destroyed_in_between_audit(void) { destroyed_in_between(PMALLOC_AUDIT); }

static void *let_go(void *unused) {
  (void)unused;
  must(pmalloc_turn_take() == PMALLOC_TURN_TAKEN);
  stage = 1;
  usleep(100000);
  must(stage == 1);
  pmalloc_turn_leave();
  return NULL;
}

/* A handler that is at a violation finds the pool as it was, to its end. */
static void destroy_waits(void) {
  (void)protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  pthread_t thread;
  start(&thread, let_go, NULL);
  wait_for(1);
  must(pmalloc_pool_destroy(made) == PMALLOC_OK);
  stage = 2;
  end(thread);
}

/* ---- single steps ---- */

#if defined(__x86_64__)
/* Begins a step, and is never seen again. */
static void *step_and_go(void *at) {
  ucontext_t uc;
  memset(&uc, 0, sizeof uc);
  must(pmalloc_turn_take() == PMALLOC_TURN_TAKEN);
  must(pmalloc_step_start((uintptr_t)at, &uc, NULL) == 1);
  return NULL;
}

static void fork_takes_a_turn_away(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  pthread_t thread;
  int status;
  start(&thread, step_and_go, bytes);
  end(thread);
  must(pages_is_readonly(bytes) == 0);
  pid_t child = fork();
  if (child == 0)
    _exit(pages_is_readonly(bytes) == 1 ? 0 : 1);
  must(waitpid(child, &status, 0) == child && status == 0);
  must(pages_is_readonly(bytes) == 1);
  start(&thread, store_one, bytes + 1);
  end(thread);
  must(pages_is_readonly(bytes) == 1 && bytes[1] == 7);
}

/* What was stepped fell over something else, a file that was cut say, and the handler of that
 * jumped away: the step never ends. */
static void a_step_that_was_jumped_out_of(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  pthread_t thread;
  (void)step_and_go(bytes);
  x87(bytes + pages_page_size());
  must(pages_is_readonly(bytes) == 1 && stats().stepped == 1);
  start(&thread, let_go, NULL); /* need not take the turn away */
  end(thread);
  char *second = bytes + pages_page_size();
  (void)step_and_go(bytes);
  store(second, 7);
  must(pages_is_readonly(bytes) == 1 && second[0] == 7 && stats().stepped == 1);
  start(&thread, let_go, NULL);
  end(thread);
}

/* A handler that calls the one it found, which is ours: nobody wanted this trap. */
static struct sigaction found;
static volatile int calls;
static void call_found(int number, siginfo_t *info, void *context) {
  if (++calls > 100)
    _exit(98);
  found.sa_sigaction(number, info, context);
}
static void a_chain_of_traps(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  struct sigaction action = {.sa_sigaction = call_found, .sa_flags = SA_SIGINFO};
  must(sigaction(SIGTRAP, &action, &found) == 0 && (found.sa_flags & SA_SIGINFO));
  x87(bytes); /* on top again */
  must(calls == 0 && stats().stepped == 1);
  __asm__ volatile("int3");
}

static volatile sig_atomic_t trapped;
static void count_trap(int number) {
  (void)number;
  trapped++;
}
static void a_chain_of_traps_ends(void) {
  signal(SIGTRAP, count_trap); /* below both of us */
  a_chain_of_traps();
  must(trapped == 1 && calls == 1);
  __asm__ volatile("int3");
  must(trapped == 2 && calls == 2);
}
#endif

/* ---- stderr ---- */

static void nobody_reads(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  int ends[2];
  must(pipe(ends) == 0 && dup2(ends[1], 2) == 2);
  close(ends[0]);
  close(ends[1]);
  store(bytes, 7);
  must(bytes[0] == 7);
  must(signal(SIGPIPE, SIG_DFL) == SIG_DFL);
}

/* A SIGPIPE of the program's own that waits is not ours to take. */
static void nobody_reads_either(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN);
  sigset_t wanted, pending;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGPIPE);
  must(pthread_sigmask(SIG_BLOCK, &wanted, NULL) == 0 && raise(SIGPIPE) == 0);
  int ends[2];
  must(pipe(ends) == 0 && dup2(ends[1], 2) == 2);
  close(ends[0]);
  close(ends[1]);
  store(bytes, 7);
  must(bytes[0] == 7 && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE));
}

static char got[16384];
static void *read_slowly(void *end_of_pipe) {
  size_t used = 0;
  usleep(200000);
  for (ssize_t n; (n = read(*(int *)end_of_pipe, got + used, sizeof got - 1 - used)) > 0;)
    used += (size_t)n;
  return NULL;
}
static void somebody_reads_slowly(void) {
  char *bytes = protected_bytes(PMALLOC_AUDIT, PMALLOC_PRIVATE, PMALLOC_PLAIN), fill[256];
  int ends[2];
  pthread_t thread;
  memset(fill, '.', sizeof fill);
  must(pipe(ends) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
  must(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
  while (write(ends[1], fill, sizeof fill) > 0)
    ;
  int kept = dup(2);
  must(dup2(ends[1], 2) == 2);
  close(ends[1]);
  start(&thread, read_slowly, &ends[0]);
  store(bytes, 7);
  must(dup2(kept, 2) == 2);
  end(thread);
  must(strstr(got, "pmalloc: write to protected pool 'audited'\n") != NULL);
  must(strstr(got, "  native stack\n") != NULL);
}

/* ---- long names ---- */

static void describe(struct pmalloc_writer *w, uintptr_t start) {
  (void)start;
  for (int i = 0; i < 100; i++)
    pmalloc_write_text(w, "a long name ");
}
static void a_long_name(void) {
  static const struct pmalloc_fault_hooks hooks = {.describe = describe};
  const struct pmalloc_options options = {.policy = PMALLOC_AUDIT};
  struct pmalloc_region region;
  must(pmalloc_pool_create_with(&made, "audited", &options) == PMALLOC_OK);
  must(pmalloc_pool_region(made, 64, &region) == PMALLOC_OK);
  pmalloc_region_mark(&region, region.base);
  pmalloc_region_commit(made, &region, 1);
  must(pmalloc_fault_install(&hooks) == PMALLOC_OK);
  must(pmalloc_pool_protect_as(made, PMALLOC_PLAIN) == PMALLOC_OK);
  store(region.base + 24, 7);
  const struct pmalloc_log_writer *writer = pmalloc_log_nth_writer(0);
  must(writer && strncmp(writer->object, "a long name a long", 18) == 0);
  must(strlen(writer->object) == sizeof writer->object - 1);
}

int main(void) {
  struct witness w;
  unsetenv("PMALLOC_RODATA");
  GOES_ON(a_turn_given_back_too_late);
  GOES_ON(two_thieves);
  GOES_ON(a_busy_thread);
  DIES(destroyed_in_between_warn, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: use after destroy of pool 'audited' (write)\n");
  DIES(destroyed_in_between_audit, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: use after destroy of pool 'audited' (write)\n");
  GOES_ON(destroy_waits);
#if defined(__x86_64__)
  GOES_ON(fork_takes_a_turn_away);
  GOES_ON(a_step_that_was_jumped_out_of);
  DIES(a_chain_of_traps, SIGTRAP);
  GOES_ON(a_chain_of_traps_ends);
#else
  puts("test_violation_races: single steps skipped, they are of x86-64 only");
#endif
  GOES_ON(nobody_reads);
  GOES_ON(nobody_reads_either);
  GOES_ON(somebody_reads_slowly);
  GOES_ON(a_long_name);
  EXPECT(strncmp(w.text, "pmalloc: write to protected pool", 32) == 0);
  return witness_done();
}

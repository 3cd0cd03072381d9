/* What follows a write to protected memory: the report, the handlers that were
 * there before, and death by SIGSEGV. One child process a crime.
 *
 * not under: thread (its runtime delays handlers, and counts references in a
 * library of its own, which is warned about too) */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "fault.h"
#include "pages.h"
#include "pool.h"
#include "witness.h"

#define SAY(text) (void)!write(2, text, sizeof(text) - 1)

/* Keeps the compiler from proving what a crime does. */
static void store(void *address, char value) { *(volatile char *)address = value; }

static void must(enum pmalloc_status status) {
  if (status != PMALLOC_OK)
    _exit(99);
}

static pmalloc_pool *made;

/* A protected pool with one allocation of 100 bytes. */
static char *protected_bytes(void) {
  void *bytes;
  must(pmalloc_pool_create(&made, "settings", 0));
  must(pmalloc_pool_alloc(made, 100, 0, &bytes));
  must(pmalloc_pool_protect(made));
  must(pmalloc_fault_install(NULL));
  return bytes;
}

/* Two objects, 64 bytes apart, the first one 16 bytes into the region. */
static char *protected_objects(const struct pmalloc_fault_hooks *hooks) {
  struct pmalloc_region region;
  must(pmalloc_pool_create(&made, "objects", 0));
  must(pmalloc_pool_region(made, 160, &region));
  pmalloc_region_mark(&region, region.base + 16);
  pmalloc_region_mark(&region, region.base + 80);
  *(uint64_t *)(void *)(region.base + 16) = 0xc0000000;
  pmalloc_region_commit(made, &region, 2);
  must(pmalloc_pool_protect(made));
  must(pmalloc_fault_install(hooks));
  return region.base;
}

/* ---- the report -------------------------------------------------------------- */

static void write_protected(void) { store(protected_bytes() + 24, 1); }
static void same_value(void) { pmalloc_fault_provoke(protected_bytes()); }
static void memset_protected(void) { memset(protected_bytes(), 7, 100); }
static void write_slack(void) { store(protected_bytes() + 105, 1); }
static void write_free_space(void) { store(protected_bytes() + 2048, 1); }

static void guard_page(void) {
  struct pmalloc_where where;
  char *bytes = protected_bytes();
  pmalloc_registry_find((uintptr_t)bytes, &where);
  store((char *)where.chunk_end + 8, 1);
}

static void guard_read(void) {
  struct pmalloc_where where;
  char *bytes = protected_bytes();
  pmalloc_registry_find((uintptr_t)bytes, &where);
  (void)*(volatile char *)(where.chunk_start - 8);
}

static void after_destroy(void) {
  char *bytes = protected_bytes();
  must(pmalloc_pool_destroy(made));
  store(bytes, 1);
}

static void read_after_destroy(void) {
  char *bytes = protected_bytes();
  must(pmalloc_pool_destroy(made));
  (void)*(volatile char *)bytes;
}

static void odd_name(void) {
  void *bytes;
  must(pmalloc_pool_create(&made, "a\nb\x1b[31m\x7f", 0));
  must(pmalloc_pool_alloc(made, 1, 0, &bytes));
  must(pmalloc_pool_protect(made));
  must(pmalloc_fault_install(NULL));
  store(bytes, 1);
}

/* The pool's cold metadata lies somewhere in a read-only mapping of the process:
 * ask the registry about each. */
static void write_metadata(void) {
  struct pmalloc_where where;
  char line[512];
  protected_bytes();
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps && fgets(line, sizeof line, maps)) {
    unsigned long start, end;
    char mode[8];
    if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) != 3 || strcmp(mode, "r--p") != 0)
      continue;
    for (unsigned long at = start; at < end; at += 4096)
      if (pmalloc_registry_find(at, &where) && where.place == PMALLOC_METADATA)
        store((char *)at + 8, 1);
  }
}

static void *execute_it(void *bytes) {
  void (*run)(void);
  memcpy(&run, &bytes, sizeof run);
  run();
  return NULL;
}
static void execute(void) { execute_it(protected_bytes()); }

/* ---- objects ------------------------------------------------------------------- */

static void describe(struct pmalloc_writer *w, uintptr_t start) {
  (void)start;
  pmalloc_write_text(w, "FrozenThing");
}
static size_t preheader(uintptr_t start, size_t before, const char **part) {
  (void)start;
  (void)before;
  *part = "its GC header";
  return 16;
}
static const struct pmalloc_fault_hooks hooks = {.describe = describe, .preheader = preheader};

static void write_object(void) { store(protected_objects(&hooks) + 16 + 24, 1); }
static void write_object_no_hooks(void) { store(protected_objects(NULL) + 16 + 24, 1); }
static void write_header(void) { store(protected_objects(&hooks) + 80 - 16, 1); }
static void write_header_byte(void) { store(protected_objects(&hooks) + 79, 1); }
static void write_first_header(void) { store(protected_objects(&hooks), 1); }
static void write_below_header(void) { store(protected_objects(&hooks) + 80 - 17, 1); }
static void memset_object(void) { memset(protected_objects(&hooks) + 16, 0, 64); }
static void zero_count(void) { *(volatile uint64_t *)(void *)(protected_objects(&hooks) + 16) = 0; }

static void count_references(void) {
  volatile uint64_t *count = (volatile uint64_t *)(void *)(protected_objects(&hooks) + 16);
  for (int i = 0; i < 100; i++) {
    errno = 1234;
    *count += 1;
    *count -= 1;
    __atomic_fetch_add((uint64_t *)count, 1, __ATOMIC_SEQ_CST);
    if (errno != 1234)
      _exit(1);
  }
  if (*count != 0xc0000000)
    _exit(2);
}

static void count_inside_object(void) {
  volatile uint64_t *word = (volatile uint64_t *)(void *)(protected_objects(&hooks) + 24);
  *word += 1;
}

static void count_raw(void) {
  volatile uint64_t *word = (volatile uint64_t *)(void *)protected_bytes();
  *word += 1;
}

/* What faulthandler does: it prints to the descriptor that it was given. */
static int stack_fd;
static void on_stack_signal(int signal) {
  (void)signal;
  (void)!write(stack_fd, "  File \"x.py\", line 3\n", 23);
}
static int idle_pipe(void) {
  int ends[2];
  if (pipe(ends) != 0)
    _exit(98);
  close(ends[0]);
  return ends[1];
}
static void python_stack(void) {
  struct pmalloc_fault_hooks with = hooks;
  sigset_t all;
  with.stack_signal = SIGRTMIN + 3;
  with.stack_fd = stack_fd = idle_pipe();
  signal(with.stack_signal, on_stack_signal);
  sigfillset(&all);
  sigdelset(&all, SIGSEGV);
  sigprocmask(SIG_SETMASK, &all, NULL); /* it is unblocked for the purpose */
  store(protected_objects(&with), 1);
}
static void python_stack_unregistered(void) {
  struct pmalloc_fault_hooks with = hooks;
  with.stack_signal = SIGRTMIN + 3;
  with.stack_fd = idle_pipe();
  store(protected_objects(&with), 1);
}
/* A daemon closes all descriptors, and the next file it opens gets the number. */
static void python_stack_closed(void) {
  struct pmalloc_fault_hooks with = hooks;
  with.stack_signal = SIGRTMIN + 3;
  with.stack_fd = stack_fd = idle_pipe();
  signal(with.stack_signal, on_stack_signal);
  char *bytes = protected_objects(&with);
  if (dup2(STDERR_FILENO, stack_fd) != stack_fd)
    _exit(97);
  store(bytes, 1);
}
/* More than a pipe holds: cut off, and never waited for. */
static void on_long_stack(int signal) {
  static char lines[1000];
  (void)signal;
  memset(lines, 'x', sizeof lines);
  lines[sizeof lines - 1] = '\n';
  for (int i = 0; i < 100; i++)
    (void)!write(stack_fd, lines, sizeof lines);
}
static void python_stack_long(void) {
  struct pmalloc_fault_hooks with = hooks;
  with.stack_signal = SIGRTMIN + 3;
  with.stack_fd = stack_fd = idle_pipe();
  signal(with.stack_signal, on_long_stack);
  store(protected_objects(&with), 1);
}

/* ---- other handlers ---------------------------------------------------------------- */

static void *volatile expected;

static void old_siginfo(int signal, siginfo_t *info, void *context) {
  if (signal == SIGSEGV && context && info->si_addr == expected)
    SAY("old handler: right\n");
  else
    SAY("old handler: wrong\n");
}
static void old_plain(int signal) {
  (void)signal;
  SAY("old plain handler\n");
}
static void set_siginfo(void (*handler)(int, siginfo_t *, void *)) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
}

static void chain_siginfo(void) {
  set_siginfo(old_siginfo);
  char *bytes = protected_bytes();
  expected = bytes;
  store(bytes, 1);
}
static void chain_plain(void) {
  signal(SIGSEGV, old_plain);
  store(protected_bytes(), 1);
}
static void chain_ignored(void) {
  signal(SIGSEGV, SIG_IGN);
  store(protected_bytes(), 1);
}

static sigjmp_buf back;
static void jump(int signal) {
  (void)signal;
  siglongjmp(back, 1);
}
static void chain_jumps(void) {
  signal(SIGSEGV, jump);
  char *bytes = protected_bytes();
  for (volatile int i = 0; i < 2; i++)
    if (sigsetjmp(back, 1) == 0)
      store(bytes, 1);
  SAY("still here\n");
}

static char *foreign_page(void) {
  return mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static void foreign_default(void) {
  protected_bytes();
  store(foreign_page(), 1);
}
static void foreign_ignored(void) {
  signal(SIGSEGV, SIG_IGN);
  protected_bytes();
  store(foreign_page(), 1);
}
static void mend(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)context;
  mprotect(info->si_addr, 4096, PROT_READ | PROT_WRITE);
  SAY("mended\n");
}
static void foreign_mended(void) {
  set_siginfo(mend);
  protected_bytes();
  char *page = foreign_page();
  store(page, 42);
  _exit(*page == 42 ? 0 : 1);
}

static void raise_default(void) {
  protected_bytes();
  raise(SIGSEGV);
  SAY("survived\n");
}
static void kill_default(void) {
  protected_bytes();
  kill(getpid(), SIGSEGV);
  SAY("survived\n");
}
static void raise_handled(void) {
  signal(SIGSEGV, old_plain);
  protected_bytes();
  raise(SIGSEGV);
  kill(getpid(), SIGSEGV);
}
static void kill_ignored(void) {
  signal(SIGSEGV, SIG_IGN);
  protected_bytes();
  kill(getpid(), SIGSEGV);
}

/* What faulthandler does: print, put back what was there, raise. */
static struct sigaction before_late;
static void late(int signal) {
  SAY("late handler\n");
  sigaction(signal, &before_late, NULL);
  raise(signal);
}
static void set_late(int flags) {
  struct sigaction action = {.sa_handler = late, .sa_flags = flags};
  sigaction(SIGSEGV, &action, &before_late);
}
static void late_raises(void) {
  char *bytes = protected_bytes();
  set_late(SA_NODEFER);
  store(bytes, 1);
}
static void late_raises_on_alternate_stack(void) {
  char *bytes = protected_bytes();
  size_t size = (size_t)SIGSTKSZ * 4;
  stack_t alternate = {.ss_sp = malloc(size), .ss_size = size};
  sigaltstack(&alternate, NULL);
  set_late(SA_NODEFER | SA_ONSTACK);
  store(bytes, 1);
}
static void late_raises_deferred(void) {
  char *bytes = protected_bytes();
  set_late(0);
  store(bytes, 1);
}
static void late_sees_foreign(void) {
  protected_bytes();
  set_late(SA_NODEFER);
  store(foreign_page(), 1);
}
static void late_sees_raise(void) {
  protected_bytes();
  set_late(SA_NODEFER);
  raise(SIGSEGV);
  SAY("survived\n");
}
/* The frozen object's count is written before and after: let pass, both times. */
static void late_sees_count(void) {
  volatile uint64_t *count = (volatile uint64_t *)(void *)(protected_objects(&hooks) + 16);
  *count += 1;
  set_late(SA_NODEFER);
  *count += 1;
  *count += 1;
  SAY("went on\n");
  raise(SIGSEGV);
  SAY("survived\n");
}
static void early_raises(void) {
  struct sigaction action = {.sa_handler = late, .sa_flags = SA_NODEFER};
  sigaction(SIGSEGV, &action, &before_late);
  store(protected_bytes(), 1);
}

static void back_on_top(void) {
  char *bytes = protected_bytes();
  signal(SIGSEGV, old_plain); /* returns: would loop for ever */
  must(pmalloc_fault_install(NULL));
  must(pmalloc_fault_install(NULL));
  store(bytes, 1);
}

/* A handler that calls the one it replaced, which is us. */
static void calls_back(int signal, siginfo_t *info, void *context) {
  SAY("calls back\n");
  before_late.sa_sigaction(signal, info, context);
}
static void circle(char *(*victim)(void)) {
  set_siginfo(old_siginfo);
  char *bytes = protected_bytes();
  struct sigaction action = {.sa_sigaction = calls_back, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, &before_late);
  must(pmalloc_fault_install(NULL));
  if (victim)
    bytes = victim();
  expected = bytes;
  store(bytes, 1);
}
static void circle_violation(void) { circle(NULL); }
static int foreign_seen;
static void once(int signal, siginfo_t *info, void *context) {
  old_siginfo(signal, info, context);
  if (foreign_seen++)
    _exit(7);
  mprotect(info->si_addr, 4096, PROT_READ | PROT_WRITE);
}
static void circle_foreign(void) {
  set_siginfo(once);
  protected_bytes();
  struct sigaction action = {.sa_sigaction = calls_back, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, &before_late);
  must(pmalloc_fault_install(NULL));
  char *page = foreign_page();
  expected = page;
  store(page, 1);
}

/* ---- threads ------------------------------------------------------------------------ */

static pthread_barrier_t together;
static void *write_together(void *bytes) {
  pthread_barrier_wait(&together);
  store(bytes, 1);
  return NULL;
}
static void threads(unsigned n) {
  pthread_t thread[16];
  char *bytes = protected_bytes();
  pthread_barrier_init(&together, NULL, n);
  for (unsigned i = 0; i < n; i++)
    pthread_create(&thread[i], NULL, write_together, bytes + i);
  for (unsigned i = 0; i < n; i++)
    pthread_join(thread[i], NULL);
}
static void two_threads(void) { threads(2); }
static void many_threads(void) { threads(16); }

static void after_fork(void) {
  char *bytes = protected_bytes();
  if (fork() == 0)
    store(bytes, 1);
  int status;
  wait(&status);
  _exit(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV ? 0 : 1);
}

static void keeps_errno(void) {
  errno = 77;
  set_siginfo(mend);
  protected_bytes();
  char *page = foreign_page();
  errno = 77;
  store(page, 1);
  _exit(errno == 77 ? 0 : 1);
}

/* ---- ------------------------------------------------------------------------------------ */

/* The word `pattern` asks for at the place of each %: x a hexadecimal, d a decimal number. */
static int matches(const char *text, const char *pattern) {
  for (; *text; text++) {
    const char *t = text, *p = pattern;
    while (*p) {
      if (*p == '%') {
        const char *set = p[1] == 'x' ? "0123456789abcdef" : "0123456789";
        size_t n = strspn(t, set);
        if (n == 0)
          break;
        t += n;
        p += 2;
      } else if (*p++ != *t++) {
        p--;
        break;
      }
    }
    if (*p == 0)
      return 1;
  }
  return 0;
}
#define EXPECT_MATCH(w, pattern)                                                                   \
  expect_(matches((w).text, pattern), "no match: " pattern, (w).text, __LINE__)

static void test_reports(void) {
  struct witness w = witness(write_protected);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(strncmp(w.text, "pmalloc: write to protected pool 'settings'\n", 44) == 0);
  EXPECT_MATCH(w, "\n  address      0x%x (pool 'settings', chunk 0, offset 0x%x)\n");
  EXPECT_MATCH(w, "\n  object       allocation at 0x%x + 24 (size 100)\n");
  EXPECT_MATCH(w, "\n  thread       %d/%d 'test_fault");
  EXPECT_MATCH(w, "\n  instruction  0x%x test_fault");
  EXPECT_MATCH(w, "\n  policy       oops\n");
  EXPECT_SILENT_ON(w, "Python stack");
  w = witness(same_value);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: write to protected pool 'settings'\n");
  w = witness(memset_protected);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_MATCH(w, "  object       allocation at 0x%x + %d (size 100)\n");
  w = witness(write_slack);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "  object       none (free space)\n");
  w = witness(write_free_space);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "  object       none (free space)\n");
  w = witness(guard_page);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: guard page of pool 'settings' hit (write)\n");
  EXPECT_SAYS(w, "8 bytes past the end of chunk 0)\n");
  w = witness(guard_read);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: guard page of pool 'settings' hit (read)\n");
  EXPECT_SAYS(w, "8 bytes below chunk 0)\n");
  w = witness(after_destroy);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: use after destroy of pool 'settings' (write)\n");
  w = witness(read_after_destroy);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: use after destroy of pool 'settings' (read)\n");
  w = witness(write_metadata);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: write to metadata of pool 'settings'\n");
  w = witness(odd_name);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: write to protected pool 'a\\x0ab\\x1b[31m\\x7f'\n");
  w = witness(execute);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: access to protected pool 'settings'\n");
  EXPECT_SAYS(w, "(in no mapped file)\n");
}

static void test_objects(void) {
  struct witness w = witness(write_object);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_MATCH(w, "\n  object       FrozenThing at 0x%x + 24\n");
  w = witness(write_object_no_hooks);
  EXPECT_MATCH(w, "\n  object       object at 0x%x + 24\n");
  w = witness(write_header);
  EXPECT_MATCH(w, "\n  object       FrozenThing at 0x%x - 16 (its GC header)\n");
  w = witness(write_header_byte);
  EXPECT_MATCH(w, "\n  object       FrozenThing at 0x%x - 1 (its GC header)\n");
  w = witness(write_first_header);
  EXPECT_MATCH(w, "\n  object       FrozenThing at 0x%x - 16 (its GC header)\n");
  w = witness(write_below_header);
  EXPECT_MATCH(w, "\n  object       FrozenThing at 0x%x + 47\n");
  w = witness(memset_object);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_MATCH(w, "\n  object       FrozenThing at 0x%x + 0\n");
  w = witness(zero_count);
  EXPECT_SIGNAL(w, SIGSEGV);
  w = witness(count_references);
  EXPECT_EXIT(w, 0);
  EXPECT(count_of(w.text, "\n") == 1);
  EXPECT_SAYS(w, "pmalloc: test_fault");
  EXPECT_SAYS(w, " writes reference counts of frozen objects; ");
  w = witness(count_inside_object);
  EXPECT_SIGNAL(w, SIGSEGV);
  w = witness(count_raw);
  EXPECT_SIGNAL(w, SIGSEGV);
  w = witness(python_stack);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "\n  Python stack of this thread:\n  File \"x.py\", line 3\n");
  w = witness(python_stack_unregistered);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "  Python stack of this thread: not known, its signal handler was removed\n");
  w = witness(python_stack_closed);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "  Python stack of this thread: not known, its file descriptor was closed\n");
  EXPECT_SILENT_ON(w, "x.py");
  w = witness(python_stack_long);
  EXPECT_SIGNAL(w, SIGSEGV);
}

static void test_chain(void) {
  struct witness w = witness(chain_siginfo);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "  policy       oops\n");
  EXPECT_SAYS(w, "\nold handler: right\n");
  EXPECT(count_of(w.text, "old handler") == 1);
  w = witness(chain_plain);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(count_of(w.text, "old plain handler\n") == 1);
  w = witness(chain_ignored);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "pmalloc: write to protected pool");
  w = witness(chain_jumps);
  EXPECT_EXIT(w, 0);
  EXPECT(count_of(w.text, "pmalloc: write to protected pool") == 2);
  EXPECT_SAYS(w, "still here\n");
  w = witness(back_on_top);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(count_of(w.text, "pmalloc: write to") == 1 && count_of(w.text, "old plain") == 1);
  w = witness(circle_violation);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(count_of(w.text, "pmalloc: write to") == 1 && count_of(w.text, "calls back") == 1 &&
         count_of(w.text, "old handler: right") == 1);
  w = witness(circle_foreign);
  EXPECT_EXIT(w, 0);
  EXPECT(strcmp(w.text, "calls back\nold handler: right\n") == 0);
  w = witness(early_raises);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(count_of(w.text, "pmalloc: write to") == 1 && count_of(w.text, "late handler") == 1);
}

static void test_not_ours(void) {
  struct witness w = witness(foreign_default);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(w.text[0] == 0);
  w = witness(foreign_ignored);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(w.text[0] == 0);
  w = witness(foreign_mended);
  EXPECT_EXIT(w, 0);
  EXPECT(strcmp(w.text, "mended\n") == 0);
  w = witness(raise_default);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(w.text[0] == 0);
  w = witness(kill_default);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(w.text[0] == 0);
  w = witness(raise_handled);
  EXPECT_EXIT(w, 0);
  EXPECT(strcmp(w.text, "old plain handler\nold plain handler\n") == 0);
  w = witness(kill_ignored);
  EXPECT_EXIT(w, 0);
  EXPECT(w.text[0] == 0);
  w = witness(keeps_errno);
  EXPECT_EXIT(w, 0);
}

static void test_raised_again(void) {
  struct witness w = witness(late_raises);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(strncmp(w.text, "late handler\npmalloc: write to protected", 40) == 0);
  w = witness(late_raises_on_alternate_stack);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(strncmp(w.text, "late handler\npmalloc: write to protected", 40) == 0);
  w = witness(late_raises_deferred);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(strncmp(w.text, "late handler\npmalloc: write to protected", 40) == 0);
  w = witness(late_sees_count);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(count_of(w.text, "late handler\n") == 1 && count_of(w.text, "went on\n") == 1);
  EXPECT_SILENT_ON(w, "survived");
  w = witness(late_sees_foreign);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(strcmp(w.text, "late handler\n") == 0);
  w = witness(late_sees_raise);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT(strcmp(w.text, "late handler\n") == 0);
}

static void test_threads(void) {
  for (int i = 0; i < 20; i++) {
    struct witness w = witness(i & 1 ? many_threads : two_threads);
    EXPECT_SIGNAL(w, SIGSEGV);
    EXPECT(count_of(w.text, "pmalloc: write to") == 1);
    EXPECT(count_of(w.text, "  policy       ") == 1);
  }
  struct witness w = witness(after_fork);
  EXPECT_EXIT(w, 0);
  EXPECT(count_of(w.text, "pmalloc: write to") == 1);
}

int main(void) {
  test_reports();
  test_objects();
  test_chain();
  test_not_ours();
  test_raised_again();
  test_threads();
  return witness_done();
}

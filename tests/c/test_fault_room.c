/* How small an alternate signal stack may be.
 *
 * Under AddressSanitizer frames are larger: figures are checked in plain builds only. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "fault.h"
#include "pool.h"
#include "witness.h"

#define SAY(text) (void)!write(2, text, sizeof(text) - 1)

static void must(enum pmalloc_status status) {
  if (status != PMALLOC_OK)
    _exit(99);
}

static void store(void *address, char value) { *(volatile char *)address = value; }

static char *protected_bytes(const struct pmalloc_fault_hooks *hooks) {
  pmalloc_pool *made;
  void *bytes;
  must(pmalloc_pool_create(&made, "settings", 0));
  must(pmalloc_pool_alloc(made, 100, 0, &bytes));
  must(pmalloc_pool_protect(made));
  must(pmalloc_fault_install(hooks));
  return bytes;
}

/* An alternate stack of so many bytes. What lies below it can't be touched; the part of its lowest
 * page that is not its own is full of `CANARY`. */
#define CANARY 0x5a
static char *page, *bottom;
static size_t stack_size;

static void alternate_stack(size_t size) {
  size_t room = (size + 4095) & ~(size_t)4095;
  char *all = mmap(NULL, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(all, 4096, PROT_NONE);
  page = all + 4096;
  bottom = page + room - size;
  memset(page, CANARY, room);
  stack_t stack = {.ss_sp = bottom, .ss_size = size};
  stack_size = size;
  if (sigaltstack(&stack, NULL) != 0)
    _exit(98);
}

/* sigaltstack() refuses anything below MINSIGSTKSZ, and then nothing was tried. */
static size_t least;

static void say_what_was_left(void) {
  for (char *at = page; at < bottom; at++)
    if (*at != CANARY)
      SAY("overflow\n");
}

static int stack_end; /* of the pipe that faulthandler would print to */

static void on_stack_signal(int number) {
  static const char line[] = "  File \"x.py\", line 3\n";
  volatile char much[24 << 10]; /* as much as faulthandler might want */
  (void)number;
  memset((void *)much, 1, sizeof much);
  (void)!write(stack_end, line, sizeof line - 1);
}

static void previous(int number) {
  stack_t now;
  (void)number;
  say_what_was_left();
  sigaltstack(NULL, &now);
  if (now.ss_sp == bottom && now.ss_size == stack_size && now.ss_flags == SS_ONSTACK)
    SAY("previous handler: on the alternate stack\n");
}

static void violate(void) {
  int ends[2];
  if (pipe(ends) != 0)
    _exit(98);
  close(ends[0]); /* as in the Python layer: it stands for nothing until it is asked */
  stack_end = ends[1];
  struct pmalloc_fault_hooks hooks = {.stack_signal = SIGRTMIN + 3, .stack_fd = stack_end};
  struct sigaction action = {.sa_handler = on_stack_signal, .sa_flags = SA_ONSTACK};
  sigaction(hooks.stack_signal, &action, NULL);
  signal(SIGSEGV, previous);
  char *bytes = protected_bytes(&hooks);
  alternate_stack(least);
  store(bytes, 1);
}

/* The smallest alternate stack on which everything is said, and nothing below it was touched. */
static size_t smallest(void) {
  for (least = 1024; least < 256 << 10; least += WITNESS_EMULATED ? 512 : 64) {
    struct witness w = witness(violate);
    if (WIFSIGNALED(w.status) && WTERMSIG(w.status) == SIGSEGV && strstr(w.text, "  policy  ") &&
        strstr(w.text, "line 3\n") && strstr(w.text, "previous handler: on the") &&
        !strstr(w.text, "overflow"))
      return least;
  }
  return 0;
}

static void test_smallest(void) {
  size_t size = smallest(), frame = getauxval(AT_MINSIGSTKSZ);
  printf("smallest alternate stack %zu, of which the kernel's frame takes up to %zu\n", size,
         frame);
  EXPECT(size > 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__OPTIMIZE__)
  EXPECT(size <= frame + 2048); /* the figure in docs/guide.md */
#endif
  /* And on all that are larger. */
  for (size_t more = 512; more <= 64 << 10; more *= 2) {
    least = size + more;
    struct witness w = witness(violate);
    EXPECT_SIGNAL(w, SIGSEGV);
    EXPECT_SAYS(w, "  Python stack of this thread:\n  File \"x.py\", line 3\n");
    EXPECT_SAYS(w, "previous handler: on the alternate stack\n");
    EXPECT_SILENT_ON(w, "overflow");
  }
}

/* A handler that leaves by siglongjmp() finds the alternate stack still there the next time. */
static sigjmp_buf back;
static void jump(int number) {
  (void)number;
  siglongjmp(back, 1);
}
static void jumps(void) {
  signal(SIGSEGV, jump);
  char *bytes = protected_bytes(NULL);
  alternate_stack(16 << 10);
  for (volatile int i = 0; i < 3; i++)
    if (sigsetjmp(back, 1) == 0)
      store(bytes, 1);
  stack_t now;
  sigaltstack(NULL, &now);
  sigset_t mask;
  sigprocmask(SIG_BLOCK, NULL, &mask);
  if (now.ss_sp == bottom && now.ss_flags == 0 && !sigismember(&mask, SIGUSR1))
    SAY("as it was\n");
}

/* The store is made by a handler that runs on the alternate stack: there is no other place. */
static char *target;
static void stores(int number) {
  (void)number;
  store(target, 1);
}
static void inside_handler(void) {
  target = protected_bytes(NULL);
  alternate_stack(16 << 10);
  struct sigaction action = {.sa_handler = stores, .sa_flags = SA_ONSTACK};
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
}

/* Signals that arrive while the report is written elsewhere must not use the alternate stack. */
static void tick(int number) { (void)number; }
static volatile int survived;
static void while_signals_come(void) {
  enum { TIMES = WITNESS_EMULATED ? 50 : 500 };
  signal(SIGSEGV, jump);
  char *bytes = protected_bytes(NULL);
  alternate_stack(16 << 10);
  struct sigaction action = {.sa_handler = tick, .sa_flags = SA_ONSTACK | SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  int said = dup(2), null = open("/dev/null", O_WRONLY); /* so much text is not wanted */
  dup2(null, 2);
  pid_t parent = getpid(), child = fork();
  if (child == 0) {
    /* With pauses, or a busy machine comes to nothing else; and not beyond the end of the other. */
    const struct timespec pause = {0, 20 * 1000};
    while (getppid() == parent) {
      kill(parent, SIGUSR1);
      nanosleep(&pause, NULL);
    }
    _exit(0);
  }
  for (volatile int i = 0; i < TIMES; i++) {
    if (sigsetjmp(back, 1) == 0)
      store(bytes, 1);
    else
      survived++;
  }
  kill(child, SIGKILL);
  dup2(said, 2);
  say_what_was_left();
  _exit(survived == TIMES ? 0 : 1);
}

int main(int argc, char **argv) {
  (void)argc;
  /* As the wheel is linked: where the loader looks functions up at the first call, it does that on
   * the handler's stack. */
  if (!getenv("LD_BIND_NOW")) {
    setenv("LD_BIND_NOW", "1", 1);
    execv("/proc/self/exe", argv);
    return 1;
  }
  test_smallest();
  struct witness w = witness(jumps);
  EXPECT_EXIT(w, 0);
  EXPECT(count_of(w.text, "pmalloc: write to") == 3);
  EXPECT_SAYS(w, "as it was\n");
  w = witness(inside_handler);
  EXPECT_SIGNAL(w, SIGSEGV);
  EXPECT_SAYS(w, "  policy       oops\n");
  w = witness(while_signals_come);
  EXPECT_EXIT(w, 0);
  EXPECT_SILENT_ON(w, "overflow");
  return witness_done();
}

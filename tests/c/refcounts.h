/* refcounts: what the tests of the refcount rule share on every CPU: the two words that each form
 * is run on, and what stands around the forms. CONTEXT_PC(uc) is where the program was.
 */
#ifndef PMALLOC_TESTS_REFCOUNTS_H
#define PMALLOC_TESTS_REFCOUNTS_H

#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "fault_refcount.h"
#include "witness.h"

#define ROOM 65536 /* a page of any kernel */

/* Static, so that RIP-relative operands reach them. */
static uint64_t readonly[ROOM / 8] __attribute__((aligned(ROOM), used));
static uint64_t writable[ROOM / 8] __attribute__((aligned(ROOM), used));
static volatile int skipped;

static void on_fault(int signal, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  uintptr_t pc = (uintptr_t)CONTEXT_PC(uc);
  if ((uintptr_t)info->si_addr == (uintptr_t)readonly &&
      pmalloc_refcount_skip((uintptr_t)readonly, uc)) {
    skipped++;
    pmalloc_refcount_warn(pc);
    return;
  }
  struct sigaction plain = {.sa_handler = SIG_DFL};
  sigaction(signal, &plain, NULL);
}

static void guard(uint64_t value) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
  sigaction(SIGSEGV, &action, NULL);
  mprotect(readonly, sizeof readonly, PROT_READ | PROT_WRITE);
  readonly[0] = writable[0] = value;
  mprotect(readonly, sizeof readonly, PROT_READ);
}

struct outcome;
typedef void (*form_fn)(void *, struct outcome *);

/* First in children: there nothing has been warned about yet. */
static void expect_one_warning(void (*warn_twice)(void)) {
  struct witness w = witness(warn_twice);
  EXPECT_EXIT(w, 0);
  EXPECT(count_of(w.text, "writes reference counts of frozen objects; they are immortal, so it was "
                          "let pass. Rebuild it against Python 3.12 or newer headers.\n") == 1);
  EXPECT_SAYS(w, "pmalloc: test_refcount");
}

static form_fn refused; /* by run_refused(), which each CPU has of its own */
#define RUN_REFUSED(name, insn)                                                                    \
  refused = name;                                                                                  \
  w = witness(run_refused);                                                                        \
  expect_(WIFSIGNALED(w.status) && WTERMSIG(w.status) == SIGSEGV, #name " was let pass", w.text,   \
          __LINE__);

#endif

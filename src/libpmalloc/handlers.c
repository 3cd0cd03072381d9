/* handlers: who gets SIGSEGV in this process, and whether it could reach us.
 *
 * What the kernel does with a fault is decided by three things, and each of
 * them can keep the report away:
 *
 *     fault --> blocked in this thread? --yes--> death, nobody is called
 *                        |no
 *               does the frame fit on its alternate stack? --no--> the same
 *                        |yes, or it has none
 *               the handler that was installed last --> us, if it passes on
 *
 * This file asks, and changes nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "handlers.h"

#include <signal.h>
#include <string.h>
#include <sys/auxv.h>

/* What the handler takes besides the kernel's frame, before it looks for a better place: 1,016
 * bytes as gcc 12 compiles it. tests/c/test_fault_room.c holds it to this. */
#define HANDLER_BYTES ((size_t)2048)

int pmalloc_handlers_blocked(void) {
  sigset_t mask;
  return pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0 && sigismember(&mask, SIGSEGV) == 1;
}

void pmalloc_handlers_ask(struct pmalloc_handlers *out) {
  stack_t stack;
  size_t frame = getauxval(AT_MINSIGSTKSZ); /* grows with the CPU's registers */
  memset(out, 0, sizeof *out);
  (void)sigaction(SIGSEGV, NULL, &out->top);
  out->on_top =
      (out->top.sa_flags & SA_SIGINFO) && out->top.sa_sigaction == pmalloc_fault_on_signal;
  out->below_count = pmalloc_fault_previous(out->below);
  out->blocked = pmalloc_handlers_blocked();
  if (sigaltstack(NULL, &stack) == 0 && !(stack.ss_flags & SS_DISABLE))
    out->stack = stack.ss_size;
  out->stack_needed = (frame ? frame : (size_t)MINSIGSTKSZ) + HANDLER_BYTES;
}

/* fault_room: room for a report where the alternate signal stack has none.
 *
 * The handler runs on the thread's alternate stack where it has one: the signal
 * may be about an overflow of the other, and then somebody else's handler has to
 * be reached. Such stacks are small. Those that Rust's threads get have 8 KiB, of
 * which the kernel's frame takes more than one, and more the more registers the
 * CPU has (AVX-512, AMX): on the rest, a report, the frame of the signal for the Python stack and
 * faulthandler's own needs find no room, and what lies below is a guard page or somebody's data.
 *
 * A violation, though, is a store through a stray pointer. The stack of the
 * thread that made it is as good as it was, and there the report is written, the
 * way the kernel itself would have put a handler without SA_ONSTACK:
 *
 *     thread's stack                          alternate stack
 *     |                     |                 | kernel's frame  |
 *     | interrupted frames  |                 | handler         |
 *     |---- sp -------------|                 | with_room()     |
 *     | red zone            |      .--------- | move_to()       |
 *     | moved() <-----------------'           |                 |
 *     | work(): the report  |                 '-----------------'
 *
 * Meanwhile the alternate stack is off. The kernel would think nobody uses it
 * and put the next signal's frame where ours are; switching is done with all
 * signals blocked. On the way back it is on again before any other handler is
 * called: one that leaves by siglongjmp() would lose it for the thread.
 *
 * Nothing can be done, and the report is tried where we are, if the store was
 * made by a handler that itself ran on the alternate stack, or if the stack
 * pointer is what strayed.
 *
 * What the handler takes besides, before it comes here: tests/c/test_fault_room.c
 * measures it.
 *
 * ASYNC-SIGNAL-SAFE: raw system calls, pthread_sigmask(), sigfillset(); the
 * registry.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_room.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault_context.h"
#include "registry.h"

#define ROOM ((size_t)64 << 10)
#define RED_ZONE 256 /* x86-64 has 128 bytes of it */

struct move {
  void (*work)(void *);
  void *argument;
  sigset_t before;
};

/* Calls work(argument) with the stack pointer at `stack`, which is aligned to 16. */
void pmalloc_fault_move_to(uintptr_t stack, void (*work)(void *), void *argument)
    __attribute__((visibility("hidden")));

#if defined(__x86_64__)
__asm__(".text\n"
        ".hidden pmalloc_fault_move_to\n"
        ".globl pmalloc_fault_move_to\n"
        ".type pmalloc_fault_move_to, @function\n"
        "pmalloc_fault_move_to:\n"
        "  .cfi_startproc\n"
        "  pushq %rbp\n"
        "  .cfi_def_cfa_offset 16\n"
        "  .cfi_offset %rbp, -16\n"
        "  movq %rsp, %rbp\n"
        "  .cfi_def_cfa_register %rbp\n"
        "  movq %rdi, %rsp\n"
        "  movq %rdx, %rdi\n"
        "  callq *%rsi\n"
        "  movq %rbp, %rsp\n"
        "  popq %rbp\n"
        "  .cfi_def_cfa %rsp, 8\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size pmalloc_fault_move_to, . - pmalloc_fault_move_to\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".hidden pmalloc_fault_move_to\n"
        ".globl pmalloc_fault_move_to\n"
        ".type pmalloc_fault_move_to, %function\n"
        "pmalloc_fault_move_to:\n"
        "  .cfi_startproc\n"
        "  hint 34\n" /* bti c */
        "  stp x29, x30, [sp, #-16]!\n"
        "  .cfi_def_cfa_offset 16\n"
        "  .cfi_offset x29, -16\n"
        "  .cfi_offset x30, -8\n"
        "  mov x29, sp\n"
        "  .cfi_def_cfa_register x29\n"
        "  mov sp, x0\n"
        "  mov x0, x2\n"
        "  blr x1\n"
        "  mov sp, x29\n"
        "  .cfi_def_cfa_register sp\n"
        "  ldp x29, x30, [sp], #16\n"
        "  .cfi_def_cfa_offset 0\n"
        "  ret\n"
        "  .cfi_endproc\n"
        ".size pmalloc_fault_move_to, . - pmalloc_fault_move_to\n");
#endif

static void block_all(sigset_t *before) {
  sigset_t all;
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, before);
}

static void moved(void *argument) {
  const struct move *move = argument;
  stack_t off, alternate;
  memset(&off, 0, sizeof off);
  off.ss_flags = SS_DISABLE;
  (void)syscall(SYS_sigaltstack, &off, &alternate);
  (void)pthread_sigmask(SIG_SETMASK, &move->before, NULL);
  move->work(move->argument);
  block_all(NULL);
  (void)syscall(SYS_sigaltstack, &alternate, NULL);
}

/* AddressSanitizer may keep variables elsewhere: the question is about the stack itself. */
__attribute__((no_sanitize_address)) static int has_room(const ucontext_t *uc) {
  uintptr_t below = (uintptr_t)__builtin_frame_address(0) - (uintptr_t)uc->uc_stack.ss_sp;
  return below >= uc->uc_stack.ss_size || below >= ROOM;
}

/* Where the interrupted function's stack goes on; 0: nowhere that is any better. */
static uintptr_t interrupted_stack(const ucontext_t *uc) {
  uintptr_t sp = (context_sp(uc) - RED_ZONE) & ~(uintptr_t)15;
  int on_alternate = sp - (uintptr_t)uc->uc_stack.ss_sp < uc->uc_stack.ss_size;
  return on_alternate || pmalloc_registry_owns(sp - 8) ? 0 : sp;
}

void pmalloc_fault_with_room(const ucontext_t *uc, void (*work)(void *), void *argument) {
  uintptr_t stack = has_room(uc) ? 0 : interrupted_stack(uc);
  if (stack == 0) {
    work(argument);
    return;
  }
  struct move move = {.work = work, .argument = argument};
  block_all(&move.before);
  pmalloc_fault_move_to(stack, moved, &move);
  (void)pthread_sigmask(SIG_SETMASK, &move.before, NULL);
}

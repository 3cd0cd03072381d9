/* fault_unwind: the native stack of an interrupted thread.
 *
 * Where a function keeps its caller's registers is written down, for exceptions and debuggers, in
 * each library's .eh_frame, which fault_cfi reads:
 *
 *   pc, registers --> rules at pc: "the frame ends 32 bytes above rsp, and the caller's rbx lies
 *         ^                         16 bytes below that end"
 *         |                                   |
 *         +---- those of the caller <---------+-- words of the stack
 *
 * Why not what there is already:
 *
 *   backtrace()      loads and initialises libgcc_s at its first call; its unwinder follows
 * pointers of the stack it walks, so a smashed one kills the handler in the middle of the report;
 * where libgcc or libc is older than 2022 it takes the loader's lock, which the thread that faulted
 * may hold. frame pointers   distributions build neither libc nor Python with them. a search for
 * words that look like return addresses    finds calls that returned long ago.
 *
 * Here every word is copied by pages_peek(), every table must be of a form that linkers make, and
 * every walk is bounded: the worst that a broken stack can do is to end the list.
 *
 * What it can't do: go on beyond a function that has no entry. Code that was generated (a JIT's) or
 * written in assembler without CFI ends the list, and the list says so; .debug_frame is not read,
 * nor are the tables that programs register at run time. Inlined functions are in the file's debug
 * information only: `pmalloc explain` finds those.
 *
 * ASYNC-SIGNAL-SAFE: pages_peek(), fault_cfi and fault_symbol.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_unwind.h"

#include <string.h>

#include "fault_cfi.h"
#include "fault_context.h"
#include "fault_symbol.h"
#include "pages.h"

static const char stack_ends[] = "the outermost";
static const char stack_full[] = "more than 48 frames";
static const char stack_strange[] = "a function without unwind tables";
static const char stack_broken[] = "a frame that cannot be read";

/* ---- from callee to caller --------------------------------------------------------------- */

struct frame {
  uintptr_t registers[CFI_REGISTERS];
  uintptr_t pc;
  int exact; /* pc was interrupted; else a call returns to it, and lies in front of it */
};

static void first_frame(const ucontext_t *uc, struct frame *frame) {
  memset(frame, 0, sizeof *frame);
  frame->pc = context_pc(uc);
  frame->exact = 1;
#if defined(__x86_64__)
  static const unsigned char numbers[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                          REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                          REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
  for (size_t i = 0; i < sizeof numbers; i++)
    frame->registers[i] = (uintptr_t)uc->uc_mcontext.gregs[numbers[i]];
#else
  for (size_t i = 0; i < 31; i++)
    frame->registers[i] = (uintptr_t)uc->uc_mcontext.regs[i];
  frame->registers[CFI_STACK_POINTER] = context_sp(uc);
#endif
}

/* Return addresses may be signed in the bits above those that addresses have. */
static uintptr_t plain_address(uintptr_t pc) {
#if defined(__aarch64__)
  return pc & ((UINT64_C(1) << 48) - 1);
#else
  return pc;
#endif
}

static int caller_register(const struct frame *callee, const struct cfi_rules *r, uintptr_t end,
                           size_t i, uintptr_t *out) {
  uintptr_t value = (uintptr_t)r->value[i], at;
  switch ((enum cfi_rule)r->rule[i]) {
  case CFI_AT:
    return pages_peek_word(end + value, out);
  case CFI_IS:
    *out = end + value;
    return 1;
  case CFI_REGISTER:
    *out = value < CFI_REGISTERS ? callee->registers[value] : 0;
    return value < CFI_REGISTERS;
  case CFI_EXPRESSION:
    return pmalloc_cfi_evaluate(value, callee->registers, end, &at) && pages_peek_word(at, out);
  case CFI_VALUE:
    return pmalloc_cfi_evaluate(value, callee->registers, end, out);
  case CFI_UNDEFINED:
  case CFI_SAME:
  default:
    *out = callee->registers[i];
    return 1;
  }
}

/* NULL: *frame is the caller's now. Else why there is none. */
static const char *step(struct frame *frame) {
  struct cfi_function f;
  struct cfi_rules rules;
  struct frame caller;
  uintptr_t end, sp = frame->registers[CFI_STACK_POINTER];
  uintptr_t inside = frame->pc - !frame->exact;
  if (!pmalloc_cfi_find(inside, &f))
    return stack_strange;
  if (!pmalloc_cfi_rules(&f, inside, &rules))
    return stack_strange;
  if (rules.rule[f.return_register] == CFI_UNDEFINED)
    return stack_ends;
  if (rules.end_expression) {
    if (!pmalloc_cfi_evaluate(rules.end_expression, frame->registers, 0, &end))
      return stack_broken;
  } else if (rules.end_register < CFI_REGISTERS) {
    end = frame->registers[rules.end_register] + (uintptr_t)rules.end_offset;
  } else {
    return stack_broken;
  }
  for (size_t i = 0; i < CFI_REGISTERS; i++)
    if (!caller_register(frame, &rules, end, i, &caller.registers[i]))
      return stack_broken;
  if (rules.rule[CFI_STACK_POINTER] == CFI_SAME)
    caller.registers[CFI_STACK_POINTER] = end;
  caller.pc = plain_address(caller.registers[f.return_register]);
  caller.exact = f.is_signal_frame;
  if (caller.pc == 0)
    return stack_ends;
  /* Upwards, unless a signal came in between, whose handler may have had a stack of its own. */
  if (caller.registers[CFI_STACK_POINTER] < sp && !f.is_signal_frame)
    return stack_broken;
  if (caller.registers[CFI_STACK_POINTER] == sp && caller.pc == frame->pc)
    return stack_broken;
  *frame = caller;
  return NULL;
}

/* A call that led to no code at all: the return address is where the call put it. */
static void leave_no_code(struct frame *frame) {
  struct cfi_function f;
  uintptr_t pc;
#if defined(__x86_64__)
  if (!pages_peek_word(frame->registers[CFI_STACK_POINTER], &pc) || !pmalloc_cfi_find(pc - 1, &f))
    return;
  frame->registers[CFI_STACK_POINTER] += sizeof pc;
#else
  pc = plain_address(frame->registers[CFI_LINK_REGISTER]);
  if (!pmalloc_cfi_find(pc - 1, &f))
    return;
#endif
  frame->pc = pc;
  frame->exact = 0;
}

void pmalloc_unwind(const ucontext_t *uc, struct pmalloc_stack *out) {
  struct frame frame;
  struct pmalloc_symbol symbol;
  first_frame(uc, &frame);
  out->pc[0] = frame.pc;
  out->depth = 1;
  out->exact = 1;
  out->end = stack_full;
  if (!pmalloc_symbol_module(frame.pc, &symbol)) {
    leave_no_code(&frame);
    if (frame.exact) {
      out->end = stack_strange;
      return;
    }
    out->pc[out->depth++] = frame.pc;
  }
  while (out->depth < PMALLOC_FRAMES) {
    const char *why = step(&frame);
    if (why) {
      out->end = why == stack_ends ? NULL : why;
      return;
    }
    if (frame.exact)
      out->exact |= UINT64_C(1) << out->depth;
    out->pc[out->depth++] = frame.pc;
  }
}

/* fault_refcount: lets old extensions count references of frozen objects.
 *
 * Extensions built with headers older than Python 3.12 have `ob_refcnt += 1`
 * inlined. On a frozen object that is a write to protected memory which means
 * nothing: the object is immortal, its count is never looked at. Killing the
 * process for it would shut out honest code; performing it would dirty the page.
 * So it is skipped: the instruction is decoded, its result thrown away, its
 * flags set as they would have been, and the thread goes on behind it.
 *
 * What may pass is narrow, since this is a hole in a wall:
 *
 *   where   exactly at an object's marked start (the caller checks), and the
 *           operand decoded from the instruction is that very address
 *   width   4 or 8 bytes
 *   what    x86-64   add/sub [m], 1 or -1     83 /0 /5, 81 /0 /5
 *                    inc/dec [m]              ff /0 /1
 *                    add/sub [m], reg         01, 29, the register being 1 or -1
 *                    xadd [m], reg            0f c1, the same
 *                    mov [m], reg             89, the register being what is
 *                                             there now plus or minus 1: compilers
 *                                             split += into load, add, store
 *                    with F0 (lock, not on mov) and REX; any other prefix: no
 *           aarch64  str, stur                the register checked as for mov
 *                    stxr, stlxr              the same; told that it was stored
 *                    ldadd, stadd             adding 1 or -1
 *
 * A memset, a rep stos, a vector store or any other value is a violation, even
 * at a header.
 *
 * An attacker with an arbitrary increment gains nothing by this: the bytes stay
 * as they are.
 *
 * ASYNC-SIGNAL-SAFE: pages_peek(), fault_decode_x86, fault_alu_x86, fault_symbol and fault_report's
 * writer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_refcount.h"

#include <stdatomic.h>
#include <string.h>

#include "fault_alu_x86.h"
#include "fault_context.h"
#include "fault_decode_x86.h"
#include "fault_report.h"
#include "fault_symbol.h"
#include "pages.h"

/* +1 or -1 for a value that is that in `width` bytes, else 0. */
static int as_step(uint64_t value, unsigned width) {
  uint64_t mask = width == 8 ? UINT64_MAX : UINT32_MAX;
  if ((value & mask) == 1)
    return 1;
  return (value & mask) == mask ? -1 : 0;
}

static int read_word(uintptr_t address, unsigned width, uint64_t *out) {
  uint32_t half;
  if (width == 8)
    return pages_peek(out, (const void *)address, 8);
  if (pages_peek(&half, (const void *)address, 4) != 0)
    return -1;
  *out = half;
  return 0;
}

#if defined(__x86_64__)

enum operation { OP_NONE, OP_ADD, OP_SUB, OP_INC, OP_DEC, OP_XADD, OP_MOV };

struct instruction {
  enum operation op;
  unsigned width;    /* bytes of the operand */
  unsigned length;   /* bytes of the instruction */
  uintptr_t operand; /* address it stores to */
  int reg;           /* number of the register operand, -1: none */
  int64_t immediate; /* where there is no register */
};

static int decode(const ucontext_t *uc, struct instruction *in) {
  struct x86_code code;
  unsigned immediate = 0;
  if (!pmalloc_x86_begin(&code, uc) || code.prefixes != code.lock)
    return 0;
  unsigned opcode = code.byte[code.at++];
  if (opcode == 0x0f)
    opcode = 0x0f00U | code.byte[code.at++];
  unsigned extension = x86_extension(&code);
  in->reg = (int)(extension | ((code.rex & X86_REX_R) << 1));
  in->width = (code.rex & X86_REX_W) ? 8 : 4;
  in->op = OP_NONE;
  switch (opcode) {
  case 0x83:
  case 0x81:
    immediate = opcode == 0x83 ? 1 : 4;
    in->op = extension == 0 ? OP_ADD : extension == 5 ? OP_SUB : OP_NONE;
    in->reg = -1;
    break;
  case 0xff:
    in->op = extension == 0 ? OP_INC : extension == 1 ? OP_DEC : OP_NONE;
    in->reg = -1;
    break;
  case 0x01:
    in->op = OP_ADD;
    break;
  case 0x29:
    in->op = OP_SUB;
    break;
  case 0x0fc1:
    in->op = OP_XADD;
    break;
  case 0x89:
    in->op = code.lock ? OP_NONE : OP_MOV;
    break;
  default:
    break;
  }
  if (in->op == OP_NONE)
    return 0;
  if (!pmalloc_x86_operand(&code, immediate, 1, &in->operand))
    return 0;
  in->immediate = immediate ? pmalloc_x86_signed(code.byte + code.at, immediate) : 1;
  in->length = code.at + immediate;
  return 1;
}

static const enum x86_op operations[] = {[OP_ADD] = X86_ADD,
                                         [OP_SUB] = X86_SUB,
                                         [OP_INC] = X86_INC,
                                         [OP_DEC] = X86_DEC,
                                         [OP_XADD] = X86_ADD};

int pmalloc_refcount_skip(uintptr_t address, ucontext_t *uc) {
  struct instruction in;
  uint64_t old;
  if (!decode(uc, &in) || in.operand != address || read_word(address, in.width, &old) != 0)
    return 0;
  uint64_t by = in.reg < 0 ? (uint64_t)in.immediate : pmalloc_x86_register(uc, (unsigned)in.reg);
  uint64_t flags = x86_flags(uc);
  if (in.op == OP_MOV) {
    if (!as_step(by - old, in.width))
      return 0;
  } else {
    if (!as_step(by, in.width))
      return 0;
    (void)pmalloc_x86_compute(operations[in.op], old, by, 0, in.width, &flags);
    x86_set_flags(uc, flags);
    if (in.op == OP_XADD) /* 4 bytes: the upper half is zeroed, as by the CPU */
      pmalloc_x86_set_register(uc, (unsigned)in.reg, old);
  }
  uc->uc_mcontext.gregs[REG_RIP] += in.length;
  return 1;
}

#elif defined(__aarch64__)

/* Register 31 is the stack pointer as a base and zero as a value. */
static uint64_t base_value(const ucontext_t *uc, unsigned number) {
  return number == 31 ? uc->uc_mcontext.sp : uc->uc_mcontext.regs[number];
}

static uint64_t reg_value(const ucontext_t *uc, unsigned number) {
  return number == 31 ? 0 : uc->uc_mcontext.regs[number];
}

int pmalloc_refcount_skip(uintptr_t address, ucontext_t *uc) {
  uint32_t code;
  uint64_t old;
  if (pages_peek(&code, (const void *)context_pc(uc), 4) != 0)
    return 0;
  unsigned width = (code >> 30) & 1 ? 8 : 4;
  unsigned base = (code >> 5) & 31, target = code & 31;
  uint64_t operand = base_value(uc, base);
  if (read_word(address, width, &old) != 0)
    return 0;

  if ((code & 0xbfc00000U) == 0xb9000000U) { /* str, unsigned offset in words */
    operand += (uint64_t)((code >> 10) & 0xfff) * width;
    if (operand != address || !as_step(reg_value(uc, target) - old, width))
      return 0;
  } else if ((code & 0xbfe00c00U) == 0xb8000000U) { /* stur, signed offset in bytes */
    uint64_t offset = (code >> 12) & 0x1ff;
    operand += (offset ^ 0x100) - 0x100;
    if (operand != address || !as_step(reg_value(uc, target) - old, width))
      return 0;
  } else if ((code & 0xbfe07c00U) == 0x88007c00U) { /* stxr, stlxr: CPUs without ldadd */
    if (operand != address || !as_step(reg_value(uc, target) - old, width))
      return 0;
    if (((code >> 16) & 31) != 31)
      uc->uc_mcontext.regs[(code >> 16) & 31] = 0;
  } else if ((code & 0xbf20fc00U) == 0xb8200000U) { /* ldadd; stadd drops the old value */
    if (operand != address || !as_step(reg_value(uc, (code >> 16) & 31), width))
      return 0;
    if (target != 31)
      uc->uc_mcontext.regs[target] = old;
  } else {
    return 0;
  }
  uc->uc_mcontext.pc += 4;
  return 1;
}

#endif

/* ---- once a library --------------------------------------------------------- */

#define LIBRARIES 64 /* beyond that nobody is reading the warnings */

static struct {
  _Atomic uintptr_t start;
  _Atomic uintptr_t end; /* 0 while the entry is being made */
} warned[LIBRARIES];

/* 1 for the first caller of a module. */
static int claim(uintptr_t start, uintptr_t end) {
  for (size_t i = 0; i < LIBRARIES; i++) {
    uintptr_t seen = 0;
    if (atomic_compare_exchange_strong(&warned[i].start, &seen, start)) {
      atomic_store(&warned[i].end, end);
      return 1;
    }
    if (seen == start)
      return 0;
  }
  return 0;
}

void pmalloc_refcount_warn(uintptr_t pc) {
  struct pmalloc_symbol symbol;
  struct pmalloc_writer w;
  for (size_t i = 0; i < LIBRARIES; i++) {
    uintptr_t start = atomic_load(&warned[i].start);
    if (start == 0)
      break;
    if (pc >= start && pc < atomic_load(&warned[i].end))
      return;
  }
  if (!pmalloc_symbol_module(pc, &symbol)) {
    /* Generated code: one name for all of it, a page at a time. */
    symbol.start = pc & ~(uintptr_t)4095;
    symbol.end = symbol.start + 4096;
    memcpy(symbol.module, "generated code", sizeof "generated code");
  }
  if (!claim(symbol.start, symbol.end))
    return;
  pmalloc_writer_start(&w);
  pmalloc_write_text(&w, "pmalloc: ");
  pmalloc_write_escaped(&w, symbol.module);
  pmalloc_write_text(&w, " writes reference counts of frozen objects; they are immortal, so it was "
                         "let pass. Rebuild it against Python 3.12 or newer headers.\n");
  pmalloc_writer_flush(&w);
}

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
 *                    ldadd, stadd             adding 1 or -1
 *
 * A memset, a rep stos, a vector store or any other value is a violation, even
 * at a header.
 *
 * An attacker with an arbitrary increment gains nothing by this: the bytes stay
 * as they are.
 *
 * ASYNC-SIGNAL-SAFE: pages_peek(), fault_symbol and fault_report's writer.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_refcount.h"

#include <stdatomic.h>
#include <string.h>

#include "fault_context.h"
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

/* Numbers in instructions against places in gregs. */
static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

static uint64_t reg_value(const ucontext_t *uc, int number) {
  return (uint64_t)uc->uc_mcontext.gregs[greg_of[number]];
}

/* Fetches what is there of 15 bytes: the last instruction of a mapping has fewer. */
static unsigned fetch(unsigned char *code, uintptr_t pc) {
  if (pages_peek(code, (const void *)pc, 15) == 0)
    return 15;
  unsigned n = (unsigned)(pages_page_size() - (pc & (pages_page_size() - 1)));
  if (n >= 15 || pages_peek(code, (const void *)pc, n) != 0)
    return 0;
  return n;
}

static int64_t signed_bytes(const unsigned char *at, unsigned n) {
  if (n == 1)
    return (int8_t)at[0];
  int32_t value;
  memcpy(&value, at, 4);
  return value;
}

/* Decodes ModRM, SIB and displacement at code[at]. Returns the place of the
 * byte after them, 0 where the operand is a register. A RIP-relative operand is
 * left relative to the end of the instruction: *rip_relative. */
static unsigned decode_operand(const unsigned char *code, unsigned at, unsigned rex,
                               const ucontext_t *uc, uintptr_t *operand, int *rip_relative) {
  unsigned modrm = code[at++];
  unsigned mod = modrm >> 6, rm = modrm & 7;
  unsigned displacement = mod == 1 ? 1 : mod == 2 ? 4 : 0;
  uint64_t address = 0;
  *rip_relative = 0;
  if (mod == 3)
    return 0;
  if (rm == 4) {
    unsigned sib = code[at++];
    unsigned index = ((sib >> 3) & 7) | ((rex & 2) << 2);
    unsigned base = sib & 7;
    if (base == 5 && mod == 0)
      displacement = 4; /* no base register */
    else
      address = reg_value(uc, (int)(base | ((rex & 1) << 3)));
    if (index != 4)
      address += reg_value(uc, (int)index) << (sib >> 6);
  } else if (rm == 5 && mod == 0) {
    displacement = 4;
    *rip_relative = 1;
  } else {
    address = reg_value(uc, (int)(rm | ((rex & 1) << 3)));
  }
  if (displacement)
    address += (uint64_t)signed_bytes(code + at, displacement);
  *operand = (uintptr_t)address;
  return at + displacement;
}

static int decode(const ucontext_t *uc, struct instruction *in) {
  unsigned char code[24]; /* 15 and room: decoding looks ahead of its checks */
  unsigned at = 0, rex = 0, locked = 0, immediate = 0;
  int rip_relative;
  memset(code, 0, sizeof code);
  unsigned fetched = fetch(code, context_pc(uc));
  if (code[at] == 0xf0)
    locked = 1, at++;
  if ((code[at] & 0xf0) == 0x40)
    rex = code[at++];
  unsigned opcode = code[at++];
  if (opcode == 0x0f)
    opcode = 0x0f00U | code[at++];
  unsigned extension = (code[at] >> 3) & 7;
  in->reg = (int)(extension | ((rex & 4) << 1));
  in->width = (rex & 8) ? 8 : 4;
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
    in->op = locked ? OP_NONE : OP_MOV;
    break;
  default:
    break;
  }
  if (in->op == OP_NONE)
    return 0;
  at = decode_operand(code, at, rex, uc, &in->operand, &rip_relative);
  if (at == 0 || at + immediate > fetched)
    return 0;
  in->immediate = immediate ? signed_bytes(code + at, immediate) : 1;
  in->length = at + immediate;
  if (rip_relative)
    in->operand += context_pc(uc) + in->length;
  return 1;
}

enum { CF = 1, PF = 4, AF = 16, ZF = 64, SF = 128, OF = 2048 };

/* The flags the CPU would have left: `old` plus or minus `by`, in `width` bytes. */
static uint64_t flags_after(uint64_t flags, uint64_t old, uint64_t by, int subtract, int keep_carry,
                            unsigned width) {
  uint64_t mask = width == 8 ? UINT64_MAX : UINT32_MAX;
  uint64_t sign = (mask >> 1) + 1;
  old &= mask;
  by &= mask;
  uint64_t now = (subtract ? old - by : old + by) & mask;
  uint64_t carry = subtract ? old < by : now < old;
  uint64_t overflow = subtract ? (old ^ by) & (old ^ now) : (old ^ now) & (by ^ now);
  uint64_t out = flags & ~(uint64_t)(PF | AF | ZF | SF | OF);
  if (!keep_carry)
    out = (out & ~(uint64_t)CF) | carry;
  if (!__builtin_parity((unsigned)(now & 255)))
    out |= PF;
  if ((old ^ by ^ now) & 16)
    out |= AF;
  if (now == 0)
    out |= ZF;
  if (now & sign)
    out |= SF;
  if (overflow & sign)
    out |= OF;
  return out;
}

int pmalloc_refcount_skip(uintptr_t address, ucontext_t *uc) {
  struct instruction in;
  uint64_t old;
  if (!decode(uc, &in) || in.operand != address || read_word(address, in.width, &old) != 0)
    return 0;
  uint64_t by = in.reg < 0 ? (uint64_t)in.immediate : reg_value(uc, in.reg);
  greg_t *flags = &uc->uc_mcontext.gregs[REG_EFL];
  if (in.op == OP_MOV) {
    if (!as_step(by - old, in.width))
      return 0;
  } else {
    int subtract = in.op == OP_SUB || in.op == OP_DEC;
    int keep_carry = in.op == OP_INC || in.op == OP_DEC;
    if (!as_step(by, in.width))
      return 0;
    *flags = (greg_t)flags_after((uint64_t)*flags, old, by, subtract, keep_carry, in.width);
    if (in.op == OP_XADD) /* 4 bytes: the upper half is zeroed, as by the CPU */
      uc->uc_mcontext.gregs[greg_of[in.reg]] = (greg_t)old;
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

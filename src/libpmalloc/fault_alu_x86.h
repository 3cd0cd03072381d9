/* fault_alu_x86: what x86-64 integer operations leave, flags included.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_ALU_X86_H
#define PMALLOC_FAULT_ALU_X86_H

#include <stdint.h>

#if defined(__x86_64__)

enum { X86_CF = 1, X86_PF = 4, X86_AF = 16, X86_ZF = 64, X86_SF = 128, X86_OF = 2048 };
enum { X86_DF = 1024, X86_RF = 0x10000 };

/* The first eight in the order in which opcodes number them, so the next, so the last. */
enum x86_op {
  X86_ADD,
  X86_OR,
  X86_ADC,
  X86_SBB,
  X86_AND,
  X86_SUB,
  X86_XOR,
  X86_CMP,
  X86_ROL,
  X86_ROR,
  X86_RCL,
  X86_RCR,
  X86_SHL,
  X86_SHR,
  X86_SAL, /* SHL by its other number */
  X86_SAR,
  X86_BT,
  X86_BTS,
  X86_BTR,
  X86_BTC,
  X86_INC,
  X86_DEC,
  X86_NOT,
  X86_NEG,
  X86_SHLD,
  X86_SHRD,
};

/* `old` OP `by` in `width` bytes (1, 2, 4 or 8). *flags: those before, then those after. BT, BTS,
 * BTR, BTC: `by` is the number of a bit. SHLD, SHRD: bits come in from `more`, which no other
 * operation looks at. The upper bits of all operands may be anything, those of the result are 0.
 * What the CPU leaves undefined is something. */
uint64_t pmalloc_x86_compute(enum x86_op op, uint64_t old, uint64_t by, uint64_t more,
                             unsigned width, uint64_t *flags);

/* Is condition 0 to 15, as setcc and jcc number them, met? */
int pmalloc_x86_condition(unsigned number, uint64_t flags);

static inline uint64_t x86_mask(unsigned width) { return UINT64_MAX >> (64 - 8 * width); }

#endif
#endif

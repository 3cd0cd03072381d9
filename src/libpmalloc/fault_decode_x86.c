/* fault_decode_x86: reads an interrupted x86-64 instruction.
 *
 *     +---------------+-----+----------+---------+-------+--------------+-----------+
 *     | prefixes      | REX | opcode   | ModRM   | SIB   | displacement | immediate |
 *     | F0 66 67 F2.. | 4x  | 1 to 3   | 0 or 1  | 0, 1  | 0, 1, 4      | 0 to 8    |
 *     +---------------+-----+----------+---------+-------+--------------+-----------+
 *      begin()------------->            operand()-------------------->
 *
 *     REX    0100 W R X B       W: 8 bytes wide; R, X, B: fourth bits of the registers below
 *     ModRM  mod reg rm         reg: register operand or more of the opcode
 *     SIB    scale index base   there where rm = 4
 *
 *     mod  displacement   address
 *      0    0 (4: rm = 5)  [rm]         rm = 5: relative to the end of the instruction
 *      1    1              [rm + d]     rm = 4: [base + index << scale + d], index 4: none,
 *      2    4              [rm + d]             base 5 with mod 0: none, 4 bytes of d
 *      3    0              a register, no memory
 *
 * The code is read by pages_peek_some(), 15 bytes at once or what is left of the page: another
 * thread may be unmapping it.
 *
 * ASYNC-SIGNAL-SAFE: pages_peek_some().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_decode_x86.h"

#if defined(__x86_64__)

#include <string.h>

#include "fault_context.h"
#include "pages.h"

#define LONGEST 15 /* bytes of an instruction: the CPU takes no longer one */

/* Numbers in instructions against places in gregs. */
static const int greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15};

uint64_t pmalloc_x86_register(const ucontext_t *uc, unsigned number) {
  return (uint64_t)uc->uc_mcontext.gregs[greg_of[number & 15]];
}

void pmalloc_x86_set_register(ucontext_t *uc, unsigned number, uint64_t value) {
  uc->uc_mcontext.gregs[greg_of[number & 15]] = (greg_t)value;
}

int64_t pmalloc_x86_signed(const unsigned char *at, unsigned n) {
  int16_t two;
  int32_t four;
  int64_t eight;
  switch (n) {
  case 1:
    return (int8_t)at[0];
  case 2:
    memcpy(&two, at, 2);
    return two;
  case 4:
    memcpy(&four, at, 4);
    return four;
  default:
    memcpy(&eight, at, 8);
    return eight;
  }
}

/* 1 where it was a prefix. */
static int take_prefix(struct x86_code *code, unsigned char byte) {
  switch (byte) {
  case 0xf0:
    code->lock = 1;
    return 1;
  case 0xf2:
  case 0xf3:
    code->repeat = byte;
    return 1;
  case 0x64:
  case 0x65:
    code->segment = byte;
    return 1;
  case 0x66:
    code->size16 = 1;
    return 1;
  case 0x67:
    code->addr32 = 1;
    return 1;
  case 0x26: /* ES, CS, SS, DS: compilers pad with them */
  case 0x2e:
  case 0x36:
  case 0x3e:
    return 1;
  default:
    return 0;
  }
}

int pmalloc_x86_begin(struct x86_code *code, const ucontext_t *uc) {
  memset(code, 0, sizeof *code);
  code->uc = uc;
  code->pc = context_pc(uc);
  code->fetched = (unsigned)pages_peek_some(code->byte, code->pc, LONGEST);
  while (code->at < code->fetched && take_prefix(code, code->byte[code->at]))
    code->at++;
  code->prefixes = code->at;
  if ((code->byte[code->at] & 0xf0) == 0x40) {
    code->has_rex = 1;
    code->rex = code->byte[code->at++] & 15;
    /* The CPU forgets a REX that something else follows; no assembler writes that. */
    struct x86_code ignored;
    if ((code->byte[code->at] & 0xf0) == 0x40 || take_prefix(&ignored, code->byte[code->at]))
      return 0;
  }
  return code->at < code->fetched;
}

int pmalloc_x86_operand(struct x86_code *code, unsigned immediate, unsigned scale,
                        uintptr_t *address) {
  const unsigned char *byte = code->byte;
  unsigned modrm = byte[code->at++];
  unsigned mod = modrm >> 6, rm = modrm & 7;
  unsigned displacement = mod == 1 ? 1 : mod == 2 ? 4 : 0;
  unsigned b = (code->rex & X86_REX_B) ? 8 : 0, x = (code->rex & X86_REX_X) ? 8 : 0;
  uint64_t sum = 0;
  int relative = 0;
  if (mod == 3)
    return 0;
  if (rm == 4) {
    unsigned sib = byte[code->at++];
    unsigned index = ((sib >> 3) & 7) | x, base = sib & 7;
    if (base == 5 && mod == 0)
      displacement = 4; /* no base register */
    else
      sum = pmalloc_x86_register(code->uc, base | b);
    if (index != 4)
      sum += pmalloc_x86_register(code->uc, index) << (sib >> 6);
  } else if (rm == 5 && mod == 0) {
    displacement = 4;
    relative = 1;
  } else {
    sum = pmalloc_x86_register(code->uc, rm | b);
  }
  if (displacement)
    sum += (uint64_t)pmalloc_x86_signed(byte + code->at, displacement) *
           (displacement == 1 ? scale : 1);
  code->at += displacement;
  unsigned length = code->at + immediate;
  if (length > code->fetched)
    return 0;
  if (relative)
    sum += code->pc + length;
  *address = (uintptr_t)(code->addr32 ? sum & UINT32_MAX : sum);
  return 1;
}

#endif

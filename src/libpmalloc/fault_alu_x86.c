/* fault_alu_x86: what x86-64 integer operations leave, flags included.
 *
 *     bit   11   10    7    6    4    2    0
 *           OF   DF   SF   ZF   AF   PF   CF
 *            |         |    |    |    |    +-- carry out of, or borrow into, the top bit
 *            |         |    |    |    +------- even number of ones in the lowest byte
 *            |         |    |    +------------ carry out of bit 3
 *            |         +----+----------------- top bit; all bits 0
 *            +-------------------------------- carry into the top bit differs from CF
 *
 * Carries are read off the operands and the result: where operands and result differ, one came in.
 * So there is no wider type than 64 bits in here.
 *
 * ASYNC-SIGNAL-SAFE: computes, calls nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fault_alu_x86.h"

#if defined(__x86_64__)

static uint64_t with(uint64_t flags, uint64_t bit, uint64_t on) {
  return on ? flags | bit : flags & ~bit;
}

/* SF, ZF and PF say the same after every operation that sets them. */
static uint64_t with_result(uint64_t flags, uint64_t now, unsigned width) {
  flags = with(flags, X86_SF, now >> (8 * width - 1) & 1);
  flags = with(flags, X86_ZF, now == 0);
  return with(flags, X86_PF, !__builtin_parity((unsigned)(now & 255)));
}

static uint64_t add(uint64_t old, uint64_t by, uint64_t carry, unsigned width, uint64_t *flags) {
  uint64_t now = (old + by + carry) & x86_mask(width);
  unsigned top = 8 * width - 1;
  *flags = with(*flags, X86_CF, ((old & by) | ((old | by) & ~now)) >> top & 1);
  *flags = with(*flags, X86_OF, ((old ^ now) & (by ^ now)) >> top & 1);
  *flags = with(*flags, X86_AF, (old ^ by ^ now) & 16);
  *flags = with_result(*flags, now, width);
  return now;
}

static uint64_t subtract(uint64_t old, uint64_t by, uint64_t borrow, unsigned width,
                         uint64_t *flags) {
  uint64_t now = (old - by - borrow) & x86_mask(width);
  unsigned top = 8 * width - 1;
  *flags = with(*flags, X86_CF, ((~old & by) | ((~old | by) & now)) >> top & 1);
  *flags = with(*flags, X86_OF, ((old ^ by) & (old ^ now)) >> top & 1);
  *flags = with(*flags, X86_AF, (old ^ by ^ now) & 16);
  *flags = with_result(*flags, now, width);
  return now;
}

static uint64_t logic(uint64_t now, unsigned width, uint64_t *flags) {
  *flags = with_result(*flags & ~(uint64_t)(X86_CF | X86_OF | X86_AF), now, width);
  return now;
}

/* SHL, SHR, SAR. `count` is not 0, and may exceed the bits that 1 or 2 bytes have. */
static uint64_t shift(enum x86_op op, uint64_t old, unsigned count, unsigned width,
                      uint64_t *flags) {
  unsigned bits = 8 * width;
  uint64_t mask = x86_mask(width), now, out, sign = old >> (bits - 1) & 1;
  if (op == X86_SAR) {
    int64_t wide = (int64_t)(old << (64 - bits)) >> (64 - bits);
    now = (uint64_t)(wide >> count) & mask;
    out = (uint64_t)(wide >> (count - 1)) & 1;
  } else if (op == X86_SHR) {
    now = old >> count;
    out = old >> (count - 1) & 1;
  } else {
    now = old << count & mask;
    out = count <= bits ? old >> (bits - count) & 1 : 0;
  }
  *flags = with(*flags, X86_CF, out);
  *flags = with(*flags, X86_OF,
                op == X86_SAR   ? 0
                : op == X86_SHR ? sign
                                : (now >> (bits - 1) & 1) ^ out);
  *flags = with_result(*flags & ~(uint64_t)X86_AF, now, width);
  return now;
}

/* ROL, ROR, RCL, RCR, a bit at a time: the carry is part of two of them, and 63 turns are nothing
 * beside a fault. Only CF and OF change. */
static uint64_t rotate(enum x86_op op, uint64_t old, unsigned count, unsigned width,
                       uint64_t *flags) {
  unsigned top = 8 * width - 1;
  uint64_t now = old, carry = *flags & X86_CF, mask = x86_mask(width);
  for (unsigned i = 0; i < count; i++) {
    uint64_t high = now >> top & 1, low = now & 1;
    switch (op) {
    case X86_ROL:
      now = (now << 1 & mask) | high;
      carry = high;
      break;
    case X86_RCL:
      now = (now << 1 & mask) | carry;
      carry = high;
      break;
    case X86_ROR:
      now = now >> 1 | low << top;
      carry = low;
      break;
    default:
      now = now >> 1 | carry << top;
      carry = low;
      break;
    }
  }
  uint64_t high = now >> top & 1;
  uint64_t other = op == X86_ROL || op == X86_RCL ? carry : now >> (top - 1) & 1;
  *flags = with(with(*flags, X86_CF, carry), X86_OF, high ^ other);
  return now;
}

/* SHLD, SHRD. `count` is not 0, and at most the number of bits. */
static uint64_t shift_double(enum x86_op op, uint64_t old, uint64_t more, unsigned count,
                             unsigned width, uint64_t *flags) {
  unsigned bits = 8 * width;
  uint64_t now = more, out = op == X86_SHLD ? old & 1 : old >> (bits - 1) & 1;
  if (count < bits && op == X86_SHLD) {
    now = (old << count | more >> (bits - count)) & x86_mask(width);
    out = old >> (bits - count) & 1;
  } else if (count < bits) {
    now = (old >> count | more << (bits - count)) & x86_mask(width);
    out = old >> (count - 1) & 1;
  }
  *flags = with(*flags, X86_CF, out);
  *flags = with(*flags, X86_OF, ((old ^ now) >> (bits - 1)) & 1);
  *flags = with_result(*flags & ~(uint64_t)X86_AF, now, width);
  return now;
}

uint64_t pmalloc_x86_compute(enum x86_op op, uint64_t old, uint64_t by, uint64_t more,
                             unsigned width, uint64_t *flags) {
  uint64_t mask = x86_mask(width), carry = *flags & X86_CF;
  unsigned count = (unsigned)by & (width == 8 ? 63 : 31);
  uint64_t bit = UINT64_C(1) << (by & (8 * width - 1)), now;
  old &= mask;
  by &= mask;
  more &= mask;
  switch (op) {
  case X86_ADD:
    return add(old, by, 0, width, flags);
  case X86_ADC:
    return add(old, by, carry, width, flags);
  case X86_SUB:
  case X86_CMP:
    return subtract(old, by, 0, width, flags);
  case X86_SBB:
    return subtract(old, by, carry, width, flags);
  case X86_NEG:
    return subtract(0, old, 0, width, flags);
  case X86_INC: /* both leave the carry alone */
    now = add(old, 1, 0, width, flags);
    *flags = with(*flags, X86_CF, carry);
    return now;
  case X86_DEC:
    now = subtract(old, 1, 0, width, flags);
    *flags = with(*flags, X86_CF, carry);
    return now;
  case X86_OR:
    return logic(old | by, width, flags);
  case X86_AND:
    return logic(old & by, width, flags);
  case X86_XOR:
    return logic(old ^ by, width, flags);
  case X86_NOT:
    return ~old & mask;
  case X86_BT:
  case X86_BTS:
  case X86_BTR:
  case X86_BTC:
    *flags = with(*flags, X86_CF, old & bit);
    return op == X86_BTS ? old | bit : op == X86_BTR ? old & ~bit : op == X86_BTC ? old ^ bit : old;
  case X86_ROL:
  case X86_ROR:
  case X86_RCL:
  case X86_RCR:
    return count ? rotate(op, old, count, width, flags) : old;
  case X86_SHL:
  case X86_SAL:
  case X86_SHR:
  case X86_SAR:
    return count ? shift(op, old, count, width, flags) : old;
  case X86_SHLD:
  case X86_SHRD:
    return count && count <= 8 * width ? shift_double(op, old, more, count, width, flags) : old;
  }
  return old;
}

int pmalloc_x86_condition(unsigned number, uint64_t flags) {
  int less = !(flags & X86_SF) != !(flags & X86_OF), met = 0;
  switch (number >> 1) {
  case 0:
    met = (flags & X86_OF) != 0;
    break;
  case 1:
    met = (flags & X86_CF) != 0;
    break;
  case 2:
    met = (flags & X86_ZF) != 0;
    break;
  case 3:
    met = (flags & (X86_CF | X86_ZF)) != 0;
    break;
  case 4:
    met = (flags & X86_SF) != 0;
    break;
  case 5:
    met = (flags & X86_PF) != 0;
    break;
  case 6:
    met = less;
    break;
  default:
    met = less || (flags & X86_ZF);
    break;
  }
  return met ^ (int)(number & 1);
}

#endif

/* fault_store_aarch64: what a faulting aarch64 instruction would store, and storing it by other
 * means. The x86-64 one says what for.
 *
 * Every instruction is one word. Rn, at bits 5 to 9, is the base, where 31 is the stack pointer; in
 * all other fields 31 is zero.
 *
 *     31 30 29   27 26 25 24 23 22 21 20      16 15   12 11 10 9   5 4   0
 *     size  1 1 1   V  0  1  opc   [     imm12              ]  Rn    Rt     str, unsigned offset
 *     size  1 1 1   V  0  0  opc   0  [  imm9       ]   kind   Rn    Rt     stur, post, sttr, pre
 *     size  1 1 1   V  0  0  opc   1  Rm        option S 1  0  Rn    Rt     str, register offset
 *     opc   1 0 1   V  0  type  0  [ imm7 ]     Rt2            Rn    Rt     stnp, post, stp, pre
 *     size  1 1 1   0  0  0  A  R  1  Rs        o   opc  0  0  Rn    Rt     ldadd .. ldumin, swp
 *     size  0 0 1   0  0  0  1  L  1  Rs        o   1 1  1..1  Rn    Rt     cas
 *     size  0 0 1   0  0  0  1  0  0  1..1      o   1 1  1..1  Rn    Rt     stlr, stllr
 *
 * V: the register is a vector's lower 1 to 16 bytes. They are in the signal frame's FPSIMD record.
 * No store sets a flag. Store-exclusives, SVE and structure stores (st1) are not decoded, nor are
 * the pairs of cas and dc zva.
 *
 * The atomics are a read, a computation and a write here; what that is atomic against,
 * fault_store_x86 says.
 *
 * ASYNC-SIGNAL-SAFE: fault_store, pages_peek(), and what the caller gives as `write`.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_store_internal.h"

#if defined(__aarch64__)

#include <string.h>

#include "fault_context.h"
#include "pages.h"

enum { SWP = 8, CAS }; /* behind the eight that ldadd and its kin number */
enum { NOWHERE = 31 }; /* a register that needs no setting */

static uint64_t reg_value(const ucontext_t *uc, unsigned number) {
  return number == 31 ? 0 : uc->uc_mcontext.regs[number];
}

static uint64_t base_value(const ucontext_t *uc, unsigned number) {
  return number == 31 ? uc->uc_mcontext.sp : uc->uc_mcontext.regs[number];
}

static uint64_t mask_of(unsigned width) { return UINT64_MAX >> (64 - 8 * width); }

/* n bits of the word from bit `at`, as a signed number. */
static int64_t signed_field(uint32_t code, unsigned at, unsigned n) {
  return (int64_t)((uint64_t)code << (64 - at - n)) >> (64 - n);
}

/* Copies the lower n bytes of a vector register. 0: the frame does not have it. */
static int vector_value(const ucontext_t *uc, unsigned number, void *out, size_t n) {
  const uint32_t fpsimd = 0x46508001;
  const unsigned char *records = uc->uc_mcontext.__reserved;
  size_t size = sizeof uc->uc_mcontext.__reserved;
  for (size_t at = 0; at + 16 <= size;) {
    uint32_t magic, length;
    memcpy(&magic, records + at, 4);
    memcpy(&length, records + at + 4, 4);
    if (magic == 0 || length < 8 || length > size - at)
      return 0;
    if (magic == fpsimd && length >= 16 + 32 * 16) {
      memcpy(out, records + at + 16 + (size_t)number * 16, n);
      return 1;
    }
    at += length;
  }
  return 0;
}

/* Puts a register's lower n bytes at s->bytes + at. */
static int take(const ucontext_t *uc, struct pmalloc_store *s, size_t at, unsigned vector,
                unsigned number, size_t n) {
  uint64_t value = reg_value(uc, number);
  if (vector)
    return vector_value(uc, number, s->bytes + at, n);
  memcpy(s->bytes + at, &value, n);
  return 1;
}

/* ---- decoding ---------------------------------------------------------------------------- */

/* The base register becomes `value` when the store is done. */
static void write_back(struct pmalloc_store *s, unsigned base, uint64_t value) {
  s->high = 1;
  s->reg = (unsigned char)base;
  s->more = value;
}

static int stores_one(uint32_t code, const ucontext_t *uc, struct pmalloc_store *s) {
  static const char *const names[] = {"strb", "strh", "str", "str"};
  static const char *const unscaled[] = {"sturb", "sturh", "stur", "stur"};
  unsigned size = code >> 30, vector = code >> 26 & 1, opc = code >> 22 & 3;
  unsigned base = code >> 5 & 31, target = code & 31, kind = code >> 10 & 3;
  uint64_t address = base_value(uc, base);
  if (opc == 2 && vector && size == 0)
    size = 4; /* 16 bytes */
  else if (opc != 0)
    return 0;
  s->name = vector ? "str" : names[size & 3];
  if (code >> 24 & 1) {
    address += (uint64_t)(code >> 10 & 0xfff) << size;
  } else if (code >> 21 & 1) {
    unsigned option = code >> 13 & 7;
    uint64_t index = reg_value(uc, code >> 16 & 31);
    if (kind != 2 || !(option & 2))
      return 0;
    if (!(option & 1))
      index = option & 4 ? (uint64_t)(int64_t)(int32_t)index : (uint32_t)index;
    address += index << (code >> 12 & 1 ? size : 0);
  } else {
    uint64_t moved = address + (uint64_t)signed_field(code, 12, 9);
    if (kind == 2 && vector)
      return 0;
    if (kind & 1)
      write_back(s, base, moved);
    else
      s->name = kind == 2 ? "sttr" : vector ? "stur" : unscaled[size & 3];
    if (kind != 1) /* after the store: at the old place */
      address = moved;
  }
  s->form = STORE_BYTES;
  s->address = address;
  s->size = (size_t)1 << size;
  s->has_bytes = 1;
  return take(uc, s, 0, vector, target, s->size);
}

static int stores_pair(uint32_t code, const ucontext_t *uc, struct pmalloc_store *s) {
  unsigned opc = code >> 30, vector = code >> 26 & 1, type = code >> 23 & 3;
  unsigned base = code >> 5 & 31;
  size_t n = vector ? (size_t)4 << opc : opc ? 8 : 4;
  uint64_t address = base_value(uc, base);
  uint64_t moved = address + (uint64_t)signed_field(code, 15, 7) * n;
  if (opc == 3 || (opc == 1 && !vector)) /* stgp among them */
    return 0;
  if (type & 1)
    write_back(s, base, moved);
  s->form = STORE_BYTES;
  s->name = type == 0 ? "stnp" : "stp";
  s->address = type == 1 ? address : moved;
  s->size = 2 * n;
  s->has_bytes = 1;
  return take(uc, s, 0, vector, code & 31, n) && take(uc, s, n, vector, code >> 10 & 31, n);
}

/* What an update makes of `old`. */
static uint64_t updated(const struct pmalloc_store *s, uint64_t old) {
  uint64_t by = s->operand, mask = mask_of(s->width);
  unsigned unused = 64 - 8U * s->width;
  int64_t a = (int64_t)(old << unused) >> unused, b = (int64_t)(by << unused) >> unused;
  old &= mask;
  by &= mask;
  switch (s->op) {
  case 0:
    return (old + by) & mask;
  case 1:
    return old & ~by;
  case 2:
    return old ^ by;
  case 3:
    return old | by;
  case 4:
    return a > b ? old : by;
  case 5:
    return a < b ? old : by;
  case 6:
    return old > by ? old : by;
  case 7:
    return old < by ? old : by;
  case CAS:
    return old == (s->more & mask) ? by : old;
  default:
    return by;
  }
}

static int read_old(const struct pmalloc_store *s, uint64_t *old) {
  *old = 0;
  return pmalloc_store_old(s, old);
}

/* `reg` gets what was there; 4 bytes and less clear the rest. */
static int updates(uint32_t code, const ucontext_t *uc, struct pmalloc_store *s, unsigned op,
                   unsigned reg) {
  static const char *const names[] = {"ldadd",  "ldclr",  "ldeor",  "ldset", "ldsmax",
                                      "ldsmin", "ldumax", "ldumin", "swp",   "cas"};
  uint64_t old, now;
  s->form = STORE_UPDATE;
  s->op = (unsigned char)op;
  s->name = names[op];
  s->reg = (unsigned char)reg;
  s->width = (unsigned char)(1U << (code >> 30));
  s->size = s->width;
  s->address = base_value(uc, code >> 5 & 31);
  s->has_bytes = read_old(s, &old) == 0;
  now = updated(s, old);
  memcpy(s->bytes, &now, s->size);
  return 1;
}

static int decode(uint32_t code, const ucontext_t *uc, struct pmalloc_store *s) {
  unsigned second = code >> 16 & 31, target = code & 31, op = code >> 12 & 15;
  if ((code & 0x3b000000U) == 0x39000000U)
    return stores_one(code, uc, s);
  if ((code & 0x3f200c00U) == 0x38200000U) {
    if (op > SWP)
      return 0; /* ldapr, and what is not yet there */
    s->operand = reg_value(uc, second);
    return updates(code, uc, s, op, target);
  }
  if ((code & 0x3b000000U) == 0x38000000U)
    return stores_one(code, uc, s);
  if ((code & 0x3a400000U) == 0x28000000U)
    return stores_pair(code, uc, s);
  if ((code & 0x3fa07c00U) == 0x08a07c00U) {
    s->operand = reg_value(uc, target);
    s->more = reg_value(uc, second);
    return updates(code, uc, s, CAS, second);
  }
  if ((code & 0x3fff7c00U) == 0x089f7c00U) {
    s->form = STORE_BYTES;
    s->name = code >> 15 & 1 ? "stlr" : "stllr";
    s->address = base_value(uc, code >> 5 & 31);
    s->size = (size_t)1 << (code >> 30);
    s->has_bytes = 1;
    return take(uc, s, 0, 0, target, s->size);
  }
  return 0;
}

int pmalloc_store_decode(const ucontext_t *uc, uintptr_t fault_address, struct pmalloc_store *s) {
  const uint64_t tag = UINT64_C(0xff) << 56; /* ignored by the CPU, and not in a fault's address */
  uint32_t code;
  memset(s, 0, sizeof *s);
  s->length = 4;
  if (pages_peek(&code, (const void *)context_pc(uc), 4) != 0 || !decode(code, uc, s))
    return 0;
  s->address &= ~tag;
  return (fault_address & ~tag) - s->address < s->size;
}

/* ---- performing -------------------------------------------------------------------------- */

int pmalloc_store_perform(const struct pmalloc_store *s, ucontext_t *uc,
                          pmalloc_store_write_fn write) {
  uint64_t old, now;
  if (s->form == STORE_UPDATE) {
    if (read_old(s, &old) != 0)
      return -1;
    now = updated(s, old);
    if (write(s->address, &now, s->size) != 0)
      return -1;
    if (s->reg != NOWHERE)
      uc->uc_mcontext.regs[s->reg] = old;
  } else {
    if (write(s->address, s->bytes, s->size) != 0)
      return -1;
    if (s->high && s->reg == 31)
      uc->uc_mcontext.sp = s->more;
    else if (s->high)
      uc->uc_mcontext.regs[s->reg] = s->more;
  }
  uc->uc_mcontext.pc += s->length;
  return 0;
}

void pmalloc_store_prepare(void) {}

#endif

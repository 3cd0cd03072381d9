/* fault_store_integer_x86: integer instructions with a memory destination.
 *
 *     00-33       oo 000 00w           ALU [m], reg       oo ooo: add or adc sbb and sub xor
 *     80 81 83    /ooo ib, iz, ib      ALU [m], imm
 *     fe ff       /0 /1                inc, dec
 *     f6 f7       /2 /3                not, neg
 *     86 87                            xchg [m], reg      locked without saying so
 *     88 89       c6 c7 /0 ib iz       mov [m], reg       mov [m], imm
 *     a2 a3       8 bytes of address   mov [m], al or rax
 *     c0 c1 ib, d0 d1 (1), d2 d3 (cl)  /0-/7 rol ror rcl rcr shl shr sal sar
 *     0f 90-9f                         setcc
 *     0f a4 ac ib, a5 ad (cl)          shld, shrd
 *     0f ab b3 bb, ba /5 /6 /7 ib      bts, btr, btc
 *     0f b0 b1    c0 c1                cmpxchg, xadd
 *     0f c3       0f c7 /1             movnti, cmpxchg8b or with REX.W cmpxchg16b
 *     0f 38 f1                         movbe
 *
 * Of most pairs the even opcode is one byte wide, the odd one 2 (66), 8 (REX.W) or 4.
 *
 * bts and its kin take a register as a bit string's index: it may point far from the operand, to
 * either side. An immediate index stays within it.
 *
 * ASYNC-SIGNAL-SAFE: fault_store, fault_decode_x86, fault_alu_x86.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_store_internal.h"

#if defined(__x86_64__)

#include <string.h>

#include "fault_alu_x86.h"

/* Updates that are more than arithmetic on memory, behind those of enum x86_op. */
enum { UPDATE_XCHG = 64, UPDATE_XADD, UPDATE_CMPXCHG, UPDATE_CMPXCHG_PAIR };

static const char *const names[][2] = {
    [X86_ADD] = {"add", "lock add"},
    [X86_OR] = {"or", "lock or"},
    [X86_ADC] = {"adc", "lock adc"},
    [X86_SBB] = {"sbb", "lock sbb"},
    [X86_AND] = {"and", "lock and"},
    [X86_SUB] = {"sub", "lock sub"},
    [X86_XOR] = {"xor", "lock xor"},
    [X86_ROL] = {"rol", NULL}, /* NULL: the CPU knows no such thing */
    [X86_ROR] = {"ror", NULL},
    [X86_RCL] = {"rcl", NULL},
    [X86_RCR] = {"rcr", NULL},
    [X86_SHL] = {"shl", NULL},
    [X86_SHR] = {"shr", NULL},
    [X86_SAL] = {"shl", NULL},
    [X86_SAR] = {"sar", NULL},
    [X86_BTS] = {"bts", "lock bts"},
    [X86_BTR] = {"btr", "lock btr"},
    [X86_BTC] = {"btc", "lock btc"},
    [X86_INC] = {"inc", "lock inc"},
    [X86_DEC] = {"dec", "lock dec"},
    [X86_NOT] = {"not", "lock not"},
    [X86_NEG] = {"neg", "lock neg"},
    [X86_SHLD] = {"shld", NULL},
    [X86_SHRD] = {"shrd", NULL},
    [UPDATE_XCHG] = {"xchg", "lock xchg"},
    [UPDATE_XADD] = {"xadd", "lock xadd"},
    [UPDATE_CMPXCHG] = {"cmpxchg", "lock cmpxchg"},
    [UPDATE_CMPXCHG_PAIR] = {"cmpxchg8b", "lock cmpxchg8b"},
};

/* ---- registers narrower than 8 bytes ---------------------------------------------------- */

/* Notes the ModRM byte's register; without REX the byte registers 4 to 7 are AH to BH. */
static void note_register(const struct x86_code *code, struct pmalloc_store *s) {
  unsigned number = x86_extension(code) | ((code->rex & X86_REX_R) << 1);
  s->high = s->width == 1 && !code->has_rex && number >= 4;
  s->reg = (unsigned char)(s->high ? number - 4 : number);
}

static uint64_t noted_value(const struct pmalloc_store *s, const ucontext_t *uc) {
  return pmalloc_x86_register(uc, s->reg) >> (s->high ? 8 : 0) & x86_mask(s->width);
}

/* What the register holds when `value` has been moved to its part: 4 bytes clear the upper half,
 * 1 and 2 leave the rest alone. */
static void leave(struct store_after *after, const ucontext_t *uc, unsigned number, int high,
                  unsigned width, uint64_t value) {
  uint64_t mask = x86_mask(width) << (high ? 8 : 0);
  if (width < 4)
    value = (pmalloc_x86_register(uc, number) & ~mask) | (value << (high ? 8 : 0) & mask);
  after->number[after->registers] = number;
  after->value[after->registers++] = value;
}

/* ---- decoding --------------------------------------------------------------------------- */

/* Ends the decoding of a plain move. */
static int moves(struct x86_code *code, struct pmalloc_store *s, const char *name,
                 unsigned immediate, uint64_t value) {
  if (code->lock)
    return 0;
  s->form = STORE_BYTES;
  s->name = name;
  s->size = s->width;
  memcpy(s->bytes, &value, s->width);
  s->has_bytes = 1;
  s->length = (unsigned char)(code->at + immediate);
  return 1;
}

/* Ends the decoding of an update. */
static int updates(struct x86_code *code, struct pmalloc_store *s, unsigned op,
                   unsigned immediate) {
  struct store_after after;
  s->form = STORE_UPDATE;
  s->op = (unsigned char)op;
  s->name = names[op][code->lock];
  if (!s->name)
    return 0;
  if (s->size == 0)
    s->size = s->width;
  s->length = (unsigned char)(code->at + immediate);
  s->has_bytes = pmalloc_store_update(s, code->uc, s->bytes, &after) == 0;
  return 1;
}

/* ALU, xchg, xadd, cmpxchg: [m], reg. */
static int updates_by_register(struct x86_code *code, struct pmalloc_store *s, unsigned op) {
  note_register(code, s);
  if (!pmalloc_x86_operand(code, 0, 1, &s->address))
    return 0;
  s->operand = noted_value(s, code->uc);
  return updates(code, s, op, 0);
}

/* [m], imm, `n` bytes of it, sign-extended. */
static int updates_by_immediate(struct x86_code *code, struct pmalloc_store *s, unsigned op,
                                unsigned n) {
  if (!pmalloc_x86_operand(code, n, 1, &s->address))
    return 0;
  s->operand = n ? (uint64_t)pmalloc_x86_signed(code->byte + code->at, n) : s->operand;
  return updates(code, s, op, n);
}

static int stores_register(struct x86_code *code, struct pmalloc_store *s, const char *name) {
  note_register(code, s);
  return pmalloc_x86_operand(code, 0, 1, &s->address) &&
         moves(code, s, name, 0, noted_value(s, code->uc));
}

static int stores_immediate(struct x86_code *code, struct pmalloc_store *s) {
  unsigned n = s->width == 8 ? 4 : s->width;
  return x86_extension(code) == 0 && pmalloc_x86_operand(code, n, 1, &s->address) &&
         moves(code, s, "mov", n, (uint64_t)pmalloc_x86_signed(code->byte + code->at, n));
}

/* The address is in the instruction. */
static int stores_accumulator(struct x86_code *code, struct pmalloc_store *s) {
  unsigned n = code->addr32 ? 4 : 8;
  memcpy(&s->address, code->byte + code->at, n);
  code->at += n;
  return moves(code, s, "mov", 0, pmalloc_x86_register(code->uc, X86_RAX));
}

static int shifts(struct x86_code *code, struct pmalloc_store *s, unsigned opcode) {
  unsigned op = X86_ROL + x86_extension(code);
  s->operand = opcode >= 0xd2 ? pmalloc_x86_register(code->uc, X86_RCX) : 1;
  return updates_by_immediate(code, s, op, opcode < 0xd0 ? 1 : 0);
}

static int shifts_double(struct x86_code *code, struct pmalloc_store *s, unsigned opcode) {
  unsigned by_register = opcode & 1;
  note_register(code, s);
  s->operand = pmalloc_x86_register(code->uc, X86_RCX);
  s->more = noted_value(s, code->uc);
  if (!pmalloc_x86_operand(code, !by_register, 1, &s->address))
    return 0;
  if (!by_register)
    s->operand = code->byte[code->at];
  s->operand &= s->width == 8 ? 63 : 31;
  /* Beyond the operand's width the result itself is undefined: the CPU shall say. */
  return s->operand <= 8U * s->width &&
         updates(code, s, opcode < 0xa8 ? X86_SHLD : X86_SHRD, !by_register);
}

static int sets_bit(struct x86_code *code, struct pmalloc_store *s, unsigned op) {
  note_register(code, s);
  if (!pmalloc_x86_operand(code, 0, 1, &s->address))
    return 0;
  s->operand = noted_value(s, code->uc);
  unsigned unused = 64 - 8U * s->width;
  int64_t bit = (int64_t)(s->operand << unused) >> unused;
  s->address += (uintptr_t)(bit >> (s->width == 8 ? 6 : s->width == 4 ? 5 : 4)) * s->width;
  if (code->addr32)
    s->address &= UINT32_MAX;
  return updates(code, s, op, 0);
}

static int exchanges_pair(struct x86_code *code, struct pmalloc_store *s) {
  s->width = (code->rex & X86_REX_W) ? 8 : 4;
  s->size = 2U * s->width;
  if (x86_extension(code) != 1 || !pmalloc_x86_operand(code, 0, 1, &s->address))
    return 0;
  if (s->width == 8 && s->address % 16 != 0)
    return 0; /* a protection fault of another kind, to the CPU */
  if (!updates(code, s, UPDATE_CMPXCHG_PAIR, 0))
    return 0;
  if (s->width == 8)
    s->name = code->lock ? "lock cmpxchg16b" : "cmpxchg16b";
  return 1;
}

static int stores_swapped(struct x86_code *code, struct pmalloc_store *s) {
  note_register(code, s);
  uint64_t value = __builtin_bswap64(noted_value(s, code->uc)) >> (64 - 8U * s->width);
  return pmalloc_x86_operand(code, 0, 1, &s->address) && moves(code, s, "movbe", 0, value);
}

static int sets_on_condition(struct x86_code *code, struct pmalloc_store *s, unsigned opcode) {
  static const char *const set[] = {"seto",  "setno", "setb",  "setae", "sete", "setne",
                                    "setbe", "seta",  "sets",  "setns", "setp", "setnp",
                                    "setl",  "setge", "setle", "setg"};
  s->width = 1;
  return pmalloc_x86_operand(code, 0, 1, &s->address) &&
         moves(code, s, set[opcode & 15], 0,
               (uint64_t)pmalloc_x86_condition(opcode & 15, x86_flags(code->uc)));
}

static int two_byte_opcode(struct x86_code *code, struct pmalloc_store *s) {
  unsigned opcode = code->byte[code->at++];
  if (code->repeat && !code->lock)
    return 0; /* other instructions */
  if (opcode >= 0x90 && opcode <= 0x9f)
    return sets_on_condition(code, s, opcode);
  switch (opcode) {
  case 0xb0:
  case 0xc0:
    s->width = 1;
    return updates_by_register(code, s, opcode == 0xb0 ? UPDATE_CMPXCHG : UPDATE_XADD);
  case 0xb1:
  case 0xc1:
    return updates_by_register(code, s, opcode == 0xb1 ? UPDATE_CMPXCHG : UPDATE_XADD);
  case 0xab:
    return sets_bit(code, s, X86_BTS);
  case 0xb3:
    return sets_bit(code, s, X86_BTR);
  case 0xbb:
    return sets_bit(code, s, X86_BTC);
  case 0xba:
    return x86_extension(code) >= 5 &&
           updates_by_immediate(code, s, X86_BT + x86_extension(code) - 4, 1);
  case 0xa4:
  case 0xa5:
  case 0xac:
  case 0xad:
    return shifts_double(code, s, opcode);
  case 0xc3:
    return s->width >= 4 && stores_register(code, s, "movnti");
  case 0xc7:
    return exchanges_pair(code, s);
  case 0x38:
    return code->byte[code->at++] == 0xf1 && stores_swapped(code, s);
  default:
    return 0;
  }
}

int pmalloc_store_integer(struct x86_code *code, struct pmalloc_store *s) {
  unsigned opcode = code->byte[code->at++];
  unsigned full = (code->rex & X86_REX_W) ? 8 : code->size16 ? 2 : 4;
  s->width = (unsigned char)full;
  if (opcode == 0x0f)
    return two_byte_opcode(code, s);
  /* Of these the odd opcodes are wide, the even ones bytes. */
  if (!(opcode & 1))
    s->width = 1;
  /* F2 and F3 are hints about a lock to some, nonsense to the rest. */
  if (code->repeat && !code->lock && opcode != 0x86 && opcode != 0x87 && opcode != 0x88 &&
      opcode != 0x89 && opcode != 0xc6 && opcode != 0xc7)
    return 0;
  if (opcode < 0x38 && (opcode & 7) < 2)
    return updates_by_register(code, s, opcode >> 3);
  switch (opcode) {
  case 0x80:
  case 0x81:
  case 0x83: {
    unsigned op = X86_ADD + x86_extension(code);
    unsigned n = opcode != 0x81 ? 1 : full == 2 ? 2 : 4;
    return op != X86_CMP && updates_by_immediate(code, s, op, n);
  }
  case 0x86:
  case 0x87:
    return updates_by_register(code, s, UPDATE_XCHG);
  case 0x88:
  case 0x89:
    return stores_register(code, s, "mov");
  case 0xc6:
  case 0xc7:
    return stores_immediate(code, s);
  case 0xa2:
  case 0xa3:
    return stores_accumulator(code, s);
  case 0xc0:
  case 0xc1:
  case 0xd0:
  case 0xd1:
  case 0xd2:
  case 0xd3:
    return shifts(code, s, opcode);
  case 0xf6:
  case 0xf7:
    return (x86_extension(code) == 2 || x86_extension(code) == 3) &&
           updates_by_immediate(code, s, X86_NOT + x86_extension(code) - 2, 0);
  case 0xfe:
  case 0xff:
    return x86_extension(code) < 2 &&
           updates_by_immediate(code, s, X86_INC + x86_extension(code), 0);
  default:
    return 0;
  }
}

/* ---- performing ------------------------------------------------------------------------- */

static void compare_exchange(const struct pmalloc_store *s, const ucontext_t *uc, uint64_t old,
                             uint64_t *now, struct store_after *after) {
  uint64_t expected = pmalloc_x86_register(uc, X86_RAX) & x86_mask(s->width);
  (void)pmalloc_x86_compute(X86_CMP, expected, old, 0, s->width, &after->flags);
  if (expected == old) {
    *now = s->operand;
  } else {
    *now = old; /* the CPU writes it back */
    leave(after, uc, X86_RAX, 0, s->width, old);
  }
}

/* Memory and RDX:RAX, RCX:RBX hold pairs, the lower half first. */
static void compare_exchange_pair(const struct pmalloc_store *s, const ucontext_t *uc,
                                  unsigned char *bytes, struct store_after *after) {
  uint64_t old[2] = {0, 0}, mask = x86_mask(s->width);
  memcpy(&old[0], bytes, s->width);
  memcpy(&old[1], bytes + s->width, s->width);
  int equal = old[0] == (pmalloc_x86_register(uc, X86_RAX) & mask) &&
              old[1] == (pmalloc_x86_register(uc, X86_RDX) & mask);
  after->flags = equal ? after->flags | X86_ZF : after->flags & ~(uint64_t)X86_ZF;
  if (equal) {
    old[0] = pmalloc_x86_register(uc, X86_RBX);
    old[1] = pmalloc_x86_register(uc, X86_RCX);
    memcpy(bytes, &old[0], s->width);
    memcpy(bytes + s->width, &old[1], s->width);
  } else {
    leave(after, uc, X86_RAX, 0, s->width, old[0]);
    leave(after, uc, X86_RDX, 0, s->width, old[1]);
  }
}

int pmalloc_store_update(const struct pmalloc_store *s, const ucontext_t *uc, unsigned char *bytes,
                         struct store_after *after) {
  uint64_t old = 0, now = 0;
  memset(after, 0, sizeof *after);
  after->flags = x86_flags(uc);
  if (pmalloc_store_old(s, bytes) != 0)
    return -1;
  if (s->op == UPDATE_CMPXCHG_PAIR) {
    compare_exchange_pair(s, uc, bytes, after);
    return 0;
  }
  memcpy(&old, bytes, s->width);
  switch (s->op) {
  case UPDATE_XCHG:
    now = s->operand;
    leave(after, uc, s->reg, s->high, s->width, old);
    break;
  case UPDATE_XADD:
    now = pmalloc_x86_compute(X86_ADD, old, s->operand, 0, s->width, &after->flags);
    leave(after, uc, s->reg, s->high, s->width, old);
    break;
  case UPDATE_CMPXCHG:
    compare_exchange(s, uc, old, &now, after);
    break;
  default:
    now =
        pmalloc_x86_compute((enum x86_op)s->op, old, s->operand, s->more, s->width, &after->flags);
    break;
  }
  memcpy(bytes, &now, s->width);
  return 0;
}

#endif

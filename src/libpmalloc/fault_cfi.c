/* fault_cfi: what a library's .eh_frame says about the frames of its functions.
 *
 *   .eh_frame_hdr   sorted pairs: where a function starts, and where its FDE is
 *        |
 *        v
 *   .eh_frame    FDE  the function's bounds, and a program: "after 1 byte, the frame ends 16 bytes
 *                 |    above rsp; after 4, the caller's rbp lies 16 bytes below that end" ...
 *                 v
 *                CIE  what many FDEs share: how numbers are scaled, and how every program begins
 *
 * A program is run up to the instruction that is asked about: what it has said by then holds there.
 * Where a distance is not constant (a signal trampoline, the PLT) there is an expression instead,
 * a program for a small stack machine.
 *
 * Forms that no linker or compiler makes are refused. DWARF 5, section 6.4; the Linux Standard Base
 * has .eh_frame_hdr and the augmentations.
 *
 * ASYNC-SIGNAL-SAFE: pages_peek() and fault_symbol.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_cfi.h"

#include <string.h>

#include "fault_symbol.h"
#include "pages.h"

/* ---- reading the tables ------------------------------------------------------- */

struct cursor {
  uintptr_t at, end;
  uintptr_t base; /* address of block[0] */
  size_t have;
  int bad; /* read beyond the end, or what can't be read */
  unsigned char block[64];
};

static void cursor_at(struct cursor *c, uintptr_t at, uintptr_t end) {
  c->at = at;
  c->end = end;
  c->base = 0;
  c->have = 0;
  c->bad = 0;
}

/* Sets the end where a length says; no compiler makes anything of 128 KiB, and what is
 * damaged shall not be read for seconds. */
static void ends_after(struct cursor *c, uint64_t length) {
  if (length >= (1U << 17))
    c->bad = 1;
  else
    c->end = c->at + length;
}

static void skip(struct cursor *c, uint64_t n) {
  if (c->at > c->end || n > c->end - c->at)
    c->bad = 1;
  else
    c->at += n;
}

static unsigned next_byte(struct cursor *c) {
  if (c->at >= c->end || c->bad) {
    c->bad = 1;
    return 0;
  }
  if (c->at < c->base || c->at - c->base >= c->have) {
    size_t n = sizeof c->block - (c->at & (sizeof c->block - 1));
    if (pages_peek(c->block, (const void *)c->at, n) != 0) {
      c->bad = 1;
      return 0;
    }
    c->base = c->at;
    c->have = n;
  }
  return c->block[c->at++ - c->base];
}

static uint64_t next_word(struct cursor *c, unsigned bytes) {
  uint64_t word = 0;
  for (unsigned i = 0; i < bytes; i++)
    word |= (uint64_t)next_byte(c) << (8 * i);
  return word;
}

static int64_t next_signed(struct cursor *c, unsigned bytes) {
  unsigned unused = 64 - 8 * bytes;
  return (int64_t)(next_word(c, bytes) << unused) >> unused;
}

/* A number in groups of seven bits; the sign of a signed one is in the last. */
static uint64_t next_leb(struct cursor *c, int has_sign) {
  uint64_t n = 0;
  unsigned byte, shift = 0;
  do {
    byte = next_byte(c);
    if (shift < 64)
      n |= (uint64_t)(byte & 127) << shift;
    shift += 7;
  } while ((byte & 128) && !c->bad);
  if (has_sign && (byte & 64) && shift < 64)
    n |= ~UINT64_C(0) << shift;
  return n;
}

static uint64_t next_uleb(struct cursor *c) { return next_leb(c, 0); }

static int64_t next_sleb(struct cursor *c) { return (int64_t)next_leb(c, 1); }

/* A pointer as DW_EH_PE_... `encoding` says: a form, and what it is relative to. */
static uintptr_t next_pointer(struct cursor *c, unsigned encoding) {
  uintptr_t here = c->at, value;
  switch (encoding & 15) {
  case 0:
  case 4:
  case 12:
    value = (uintptr_t)next_word(c, 8);
    break;
  case 1:
    value = (uintptr_t)next_uleb(c);
    break;
  case 2:
    value = (uintptr_t)next_word(c, 2);
    break;
  case 3:
    value = (uintptr_t)next_word(c, 4);
    break;
  case 9:
    value = (uintptr_t)next_sleb(c);
    break;
  case 10:
    value = (uintptr_t)next_signed(c, 2);
    break;
  case 11:
    value = (uintptr_t)next_signed(c, 4);
    break;
  default:
    c->bad = 1;
    return 0;
  }
  if ((encoding & 0x70) == 0x10)
    value += here;
  else if ((encoding & 0x70) != 0)
    c->bad = 1;
  return value;
}

/* ---- finding the function ---------------------------------------------------------- */

static int read_cie(uintptr_t at, struct cfi_function *f, int *augmented) {
  struct cursor c;
  char augmentation[8];
  size_t used = 0;
  cursor_at(&c, at, at + 4);
  uint64_t length = next_word(&c, 4);
  ends_after(&c, length);
  uint64_t id = next_word(&c, 4);
  unsigned version = next_byte(&c);
  if (id != 0 || (version != 1 && version != 3))
    return 0;
  for (unsigned byte; (byte = next_byte(&c)) != 0 && !c.bad;) {
    if (used == sizeof augmentation - 1)
      return 0;
    augmentation[used++] = (char)byte;
  }
  augmentation[used] = 0;
  f->code_align = next_uleb(&c);
  f->data_align = next_sleb(&c);
  f->return_register = version == 1 ? next_byte(&c) : (unsigned)next_uleb(&c);
  f->encoding = 0;
  f->is_signal_frame = 0;
  f->initial_end = c.end;
  *augmented = augmentation[0] == 'z';
  if (*augmented) {
    uint64_t n = next_uleb(&c);
    struct cursor behind = c;
    skip(&behind, n);
    if (behind.bad)
      return 0;
    f->initial = behind.at;
    for (const char *a = augmentation + 1; *a; a++) {
      if (*a == 'R')
        f->encoding = next_byte(&c);
      else if (*a == 'S')
        f->is_signal_frame = 1;
      else if (*a == 'L')
        (void)next_byte(&c);
      else if (*a == 'P') {
        unsigned encoding = next_byte(&c);
        (void)next_pointer(&c, encoding & 0x7f);
      } else if (*a != 'B') /* signed with the other key */
        return 0;
    }
  } else {
    if (augmentation[0])
      return 0;
    f->initial = c.at;
  }
  return !c.bad && f->initial <= f->initial_end && f->return_register < CFI_REGISTERS;
}

static int read_fde(uintptr_t at, struct cfi_function *f) {
  struct cursor c;
  int augmented;
  cursor_at(&c, at, at + 4);
  uint64_t length = next_word(&c, 4);
  ends_after(&c, length);
  uint64_t back = next_word(&c, 4);
  if (c.bad || back == 0 || !read_cie(at + 4 - back, f, &augmented))
    return 0;
  f->start = next_pointer(&c, f->encoding);
  f->end = f->start + next_pointer(&c, f->encoding & 15);
  if (augmented)
    skip(&c, next_uleb(&c));
  f->program = c.at;
  f->program_end = c.end;
  return !c.bad && f->program <= f->program_end;
}

/* The index is a table of pairs, each relative to its own start: every linker makes it so. */
int pmalloc_cfi_find(uintptr_t pc, struct cfi_function *f) {
  uintptr_t index = pmalloc_symbol_unwind_index(pc);
  unsigned char head[4];
  uint32_t count;
  int32_t pair[2];
  if (!index || pages_peek(head, (const void *)index, sizeof head) != 0 || head[0] != 1 ||
      (head[1] & 15) != 11 || head[2] != 3 || head[3] != 0x3b ||
      pages_peek(&count, (const void *)(index + 8), sizeof count) != 0 || count == 0)
    return 0;
  uintptr_t table = index + 12;
  size_t low = 0, high = count; /* the last that starts at or below pc */
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (pages_peek(pair, (const void *)(table + middle * sizeof pair), sizeof pair) != 0)
      return 0;
    if (index + (uintptr_t)(intptr_t)pair[0] <= pc)
      low = middle;
    else
      high = middle;
  }
  return pages_peek(pair, (const void *)(table + low * sizeof pair), sizeof pair) == 0 &&
         read_fde(index + (uintptr_t)(intptr_t)pair[1], f) && pc >= f->start && pc < f->end;
}

/* ---- where the caller's registers are ------------------------------------------------ */

static void set_rule(struct cfi_rules *r, uint64_t number, enum cfi_rule rule, int64_t value) {
  if (number >= CFI_REGISTERS)
    return;
  r->rule[number] = (unsigned char)rule;
  r->value[number] = value;
}

static uintptr_t skip_expression(struct cursor *c) {
  uintptr_t at = c->at;
  skip(c, next_uleb(c));
  return at;
}

#define REMEMBERED 2

struct program {
  const struct cfi_function *f;
  struct cursor c;
  uintptr_t location; /* what has been said by now holds from here on */
  struct cfi_rules *r;
  const struct cfi_rules *initial; /* what the CIE says; NULL: this is its program */
  struct cfi_rules remembered[REMEMBERED];
  size_t depth;
};

/* Each of the following knows the instructions of one kind, and answers whether `op` is one that
 * can be run. Some have an operand in their low six bits: `op` is without it then. */

static int moves_on(struct program *p, unsigned op, unsigned low) {
  switch (op) {
  case 0x40: /* advance_loc */
    p->location += low * p->f->code_align;
    return 1;
  case 0x01: /* set_loc */
    p->location = next_pointer(&p->c, p->f->encoding);
    return 1;
  case 0x02:
  case 0x03:
  case 0x04: /* advance_loc1, 2, 4 */
    p->location += next_word(&p->c, 1U << (op - 2)) * p->f->code_align;
    return 1;
  default:
    return 0;
  }
}

/* The caller's register lies, or is, so far from the frame's end. */
static int sets_distance(struct program *p, unsigned op, unsigned low) {
  struct cursor *c = &p->c;
  int64_t align = p->f->data_align;
  uint64_t a;
  switch (op) {
  case 0x80: /* offset */
    set_rule(p->r, low, CFI_AT, (int64_t)next_uleb(c) * align);
    return 1;
  case 0x05: /* offset_extended */
    a = next_uleb(c);
    set_rule(p->r, a, CFI_AT, (int64_t)next_uleb(c) * align);
    return 1;
  case 0x11: /* offset_extended_sf */
    a = next_uleb(c);
    set_rule(p->r, a, CFI_AT, next_sleb(c) * align);
    return 1;
  case 0x2f: /* GNU_negative_offset_extended */
    a = next_uleb(c);
    set_rule(p->r, a, CFI_AT, -(int64_t)next_uleb(c) * align);
    return 1;
  case 0x14: /* val_offset */
    a = next_uleb(c);
    set_rule(p->r, a, CFI_IS, (int64_t)next_uleb(c) * align);
    return 1;
  case 0x15: /* val_offset_sf */
    a = next_uleb(c);
    set_rule(p->r, a, CFI_IS, next_sleb(c) * align);
    return 1;
  default:
    return 0;
  }
}

/* It is found in another way, or not at all. */
static int sets_rule(struct program *p, unsigned op, unsigned low) {
  struct cursor *c = &p->c;
  uint64_t a;
  switch (op) {
  case 0xc0: /* restore */
  case 0x06: /* restore_extended */
    a = op == 6 ? next_uleb(c) : low;
    if (a < CFI_REGISTERS && p->initial)
      set_rule(p->r, a, p->initial->rule[a], p->initial->value[a]);
    return 1;
  case 0x07: /* undefined */
    set_rule(p->r, next_uleb(c), CFI_UNDEFINED, 0);
    return 1;
  case 0x08: /* same_value */
    set_rule(p->r, next_uleb(c), CFI_SAME, 0);
    return 1;
  case 0x09: /* register */
    a = next_uleb(c);
    set_rule(p->r, a, CFI_REGISTER, (int64_t)next_uleb(c));
    return 1;
  case 0x10: /* expression */
    a = next_uleb(c);
    set_rule(p->r, a, CFI_EXPRESSION, (int64_t)skip_expression(c));
    return 1;
  case 0x16: /* val_expression */
    a = next_uleb(c);
    set_rule(p->r, a, CFI_VALUE, (int64_t)skip_expression(c));
    return 1;
  default:
    return 0;
  }
}

/* Where the frame ends. */
static int sets_end(struct program *p, unsigned op) {
  struct cursor *c = &p->c;
  struct cfi_rules *r = p->r;
  switch (op) {
  case 0x0c: /* def_cfa */
    r->end_register = (unsigned)next_uleb(c);
    r->end_offset = (int64_t)next_uleb(c);
    r->end_expression = 0;
    return 1;
  case 0x12: /* def_cfa_sf */
    r->end_register = (unsigned)next_uleb(c);
    r->end_offset = next_sleb(c) * p->f->data_align;
    r->end_expression = 0;
    return 1;
  case 0x0d: /* def_cfa_register */
    r->end_register = (unsigned)next_uleb(c);
    return 1;
  case 0x0e: /* def_cfa_offset */
    r->end_offset = (int64_t)next_uleb(c);
    return 1;
  case 0x13: /* def_cfa_offset_sf */
    r->end_offset = next_sleb(c) * p->f->data_align;
    return 1;
  case 0x0f: /* def_cfa_expression */
    r->end_expression = skip_expression(c);
    return 1;
  default:
    return 0;
  }
}

/* All rules at once; or none, for it says nothing of registers. */
static int keeps_rules(struct program *p, unsigned op) {
  switch (op) {
  case 0x0a: /* remember_state */
    if (p->depth == REMEMBERED)
      return 0;
    p->remembered[p->depth++] = *p->r;
    return 1;
  case 0x0b: /* restore_state */
    if (p->depth == 0)
      return 0;
    *p->r = p->remembered[--p->depth];
    return 1;
  case 0x2e: /* GNU_args_size */
    (void)next_uleb(&p->c);
    return 1;
  case 0x00: /* nop */
  case 0x2d: /* AARCH64_negate_ra_state: see plain_address() */
    return 1;
  default:
    return 0;
  }
}

/* Runs the program of a CIE or an FDE up to the instruction at `pc`. */
static int run(const struct cfi_function *f, uintptr_t from, uintptr_t to, uintptr_t pc,
               struct cfi_rules *r, const struct cfi_rules *initial) {
  struct program p;
  p.f = f;
  p.location = f->start;
  p.r = r;
  p.initial = initial;
  p.depth = 0;
  cursor_at(&p.c, from, to);
  while (p.c.at < p.c.end && !p.c.bad) {
    unsigned byte = next_byte(&p.c);
    unsigned op = byte & 0xc0 ? byte & 0xc0 : byte, low = byte & 63;
    if (!moves_on(&p, op, low) && !sets_distance(&p, op, low) && !sets_rule(&p, op, low) &&
        !sets_end(&p, op) && !keeps_rules(&p, op))
      return 0;
    if (p.location > pc)
      break;
  }
  return !p.c.bad;
}

int pmalloc_cfi_rules(const struct cfi_function *f, uintptr_t pc, struct cfi_rules *r) {
  struct cfi_rules initial;
  memset(r, 0, sizeof *r);
  if (!run(f, f->initial, f->initial_end, UINTPTR_MAX, r, NULL))
    return 0;
  initial = *r;
  return run(f, f->program, f->program_end, pc, r, &initial);
}

/* ---- small programs that compute an address -------------------------------------------- */

#define OPERANDS 16

/* Whether `op` is one that knows a number: in itself, behind itself, or in a register. */
static int gives_number(struct cursor *c, unsigned op, const uintptr_t *registers,
                        uintptr_t *number) {
  if (op >= 0x30 && op <= 0x4f) { /* lit */
    *number = op - 0x30;
    return 1;
  }
  if (op >= 0x70 && op <= 0x8f) { /* breg */
    if (op - 0x70 >= CFI_REGISTERS)
      return 0;
    *number = registers[op - 0x70] + (uintptr_t)next_sleb(c);
    return 1;
  }
  switch (op) {
  case 0x08: /* const1u */
    *number = next_byte(c);
    return 1;
  case 0x09: /* const1s */
    *number = (uintptr_t)next_signed(c, 1);
    return 1;
  case 0x0a: /* const2u */
    *number = (uintptr_t)next_word(c, 2);
    return 1;
  case 0x0b: /* const2s */
    *number = (uintptr_t)next_signed(c, 2);
    return 1;
  case 0x0c: /* const4u */
    *number = (uintptr_t)next_word(c, 4);
    return 1;
  case 0x0d: /* const4s */
    *number = (uintptr_t)next_signed(c, 4);
    return 1;
  case 0x10: /* constu */
    *number = (uintptr_t)next_uleb(c);
    return 1;
  case 0x11: /* consts */
    *number = (uintptr_t)next_sleb(c);
    return 1;
  default:
    return 0;
  }
}

/* Whether `op` is one that makes one of two. */
static int combines(unsigned op, uintptr_t below, uintptr_t *top) {
  switch (op) {
  case 0x1a: /* and */
    *top &= below;
    return 1;
  case 0x1c: /* minus */
    *top = below - *top;
    return 1;
  case 0x1e: /* mul */
    *top *= below;
    return 1;
  case 0x22: /* plus */
    *top += below;
    return 1;
  case 0x24: /* shl */
    *top = *top < 64 ? below << *top : 0;
    return 1;
  case 0x2a: /* ge */
    *top = (intptr_t)below >= (intptr_t)*top;
    return 1;
  default:
    return 0;
  }
}

/* The operations that compilers and libc's signal trampolines use; none of them jumps. */
int pmalloc_cfi_evaluate(uintptr_t expression, const uintptr_t *registers, uintptr_t first,
                         uintptr_t *result) {
  struct cursor c;
  uintptr_t s[OPERANDS] = {first};
  size_t n = 1;
  cursor_at(&c, expression, expression + 10);
  ends_after(&c, next_uleb(&c));
  while (c.at < c.end && !c.bad) {
    unsigned op = next_byte(&c);
    uintptr_t top = n ? s[n - 1] : 0, below = n > 1 ? s[n - 2] : 0;
    unsigned takes = 0, gives = 1;
    if (combines(op, below, &top)) {
      takes = 2;
    } else if (!gives_number(&c, op, registers, &top)) {
      switch (op) {
      case 0x06: /* deref */
        takes = 1;
        if (!pages_peek_word(top, &top))
          return 0;
        break;
      case 0x23: /* plus_uconst */
        takes = 1;
        top += (uintptr_t)next_uleb(&c);
        break;
      case 0x12: /* dup */
        break;
      case 0x13: /* drop */
        takes = 1;
        gives = 0;
        break;
      case 0x96: /* nop */
        gives = 0;
        break;
      default:
        return 0;
      }
    }
    if (n < takes || n - takes + gives > OPERANDS)
      return 0;
    n -= takes;
    if (gives)
      s[n++] = top;
  }
  if (c.bad || n == 0)
    return 0;
  *result = s[n - 1];
  return 1;
}

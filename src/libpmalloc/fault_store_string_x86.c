/* fault_store_string_x86: movs and stos, with and without REP.
 *
 *     a4 a5   movs  [rdi] = [rsi]     aa ab   stos  [rdi] = rax
 *
 * then rdi (and rsi) move on by an element: up, or down where the direction flag is set. REP (F3;
 * F2 does the same here) repeats that rcx times, and an interrupt or a fault between two elements
 * finds the registers where they are: so it may be done in parts. That's used in both directions:
 *
 *     rdi ->  |======|============|============|===|     at most BLOCK bytes, none of them across
 *             |      |            |            |   |     a page boundary of either side; only an
 *             page boundaries of source and destination  element that straddles one is a block
 *
 * After each block the registers are those the CPU would have had there. Whatever stops the rest
 * (the source can't be read, `write` refuses since the pool ends here) leaves the pc on the
 * instruction, and the CPU itself goes on from there, or faults as it would have.
 *
 * Overlap. Where the destination lies just ahead of the source, what is stored is read again:
 *
 *     src  |-- d --|                   d  distance between the two
 *     dst          |-- d --|-- d --|   a repetition with that period, as LZ decoders like it
 *
 * Of a block that was read at once, byte i is then what byte i - d became. Not so where d is less
 * than an element: of each element only the first d bytes had been stored when it was read.
 * Downward it's the same in a mirror.
 *
 * ASYNC-SIGNAL-SAFE: pages_peek(), pages_page_size(), fault_decode_x86.
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
#include "pages.h"

#define BLOCK 1024            /* bytes on the handler's stack */
#define AT_ONCE (1024 * 1024) /* bytes a call; signals come in between */

/* pmalloc_store.op */
enum { STRING_MOVES = 1, STRING_REPEATS = 2 };

static int is_downward(const ucontext_t *uc) { return (x86_flags(uc) & X86_DF) != 0; }

static uint64_t elements(const struct pmalloc_store *s, const ucontext_t *uc) {
  return (s->op & STRING_REPEATS) ? pmalloc_x86_register(uc, X86_RCX) : 1;
}

/* How many elements from `at` on, in steps up or down, end before a page of the kind that `at` is
 * in does: 0 where the first one crosses over. */
static uint64_t within_page(uintptr_t at, unsigned width, int down) {
  size_t page = pages_page_size(), offset = at & (page - 1);
  if (page - offset < width)
    return 0;
  return down ? offset / width + 1 : (page - offset) / width;
}

/* What the next `n` elements will be, in the order of their addresses. 0, or -1: the source cannot
 * be read. */
static int gather(const struct pmalloc_store *s, const ucontext_t *uc, uint64_t n,
                  unsigned char *bytes) {
  uint64_t to = pmalloc_x86_register(uc, X86_RDI), from = pmalloc_x86_register(uc, X86_RSI);
  uint64_t value = pmalloc_x86_register(uc, X86_RAX);
  int down = is_downward(uc);
  size_t size = (size_t)n * s->width;
  if (!(s->op & STRING_MOVES)) {
    for (size_t i = 0; i < size; i += s->width)
      memcpy(bytes + i, &value, s->width);
    return 0;
  }
  uint64_t lowest = down ? from - (size - s->width) : from;
  uint64_t distance = down ? from - to : to - from;
  if (pages_peek(bytes, (const void *)lowest, size) != 0)
    return -1;
  for (size_t i = distance; distance && i < size; i++) {
    if (i % s->width >= distance)
      continue;
    if (down)
      bytes[size - 1 - i] = bytes[size - 1 - i + distance];
    else
      bytes[i] = bytes[i - distance];
  }
  return 0;
}

int pmalloc_store_string(struct x86_code *code, struct pmalloc_store *s) {
  static const char *const names[2][2] = {{"stos", "movs"}, {"rep stos", "rep movs"}};
  const ucontext_t *uc = code->uc;
  unsigned opcode = code->byte[code->at++];
  int moves = opcode == 0xa4 || opcode == 0xa5;
  if (code->lock || code->addr32 || (!moves && opcode != 0xaa && opcode != 0xab))
    return 0;
  s->form = STORE_STRING;
  s->op = (unsigned char)((moves ? STRING_MOVES : 0) | (code->repeat ? STRING_REPEATS : 0));
  s->name = names[code->repeat != 0][moves];
  s->width = !(opcode & 1) ? 1 : (code->rex & X86_REX_W) ? 8 : code->size16 ? 2 : 4;
  s->length = (unsigned char)code->at;
  uint64_t n = elements(s, uc), to = pmalloc_x86_register(uc, X86_RDI);
  /* A length that went wrong, -1 say, reaches to the end of the address space and not beyond. */
  int down = is_downward(uc);
  uint64_t room = (down ? to : UINT64_MAX - to - (s->width - 1)) / s->width;
  if (n == 0)
    return 0;
  if (n - 1 > room)
    n = room + 1;
  s->size = (size_t)n * s->width;
  s->address = down ? to - (s->size - s->width) : to;
  s->has_bytes = s->size <= sizeof s->bytes && gather(s, uc, n, s->bytes) == 0;
  return 1;
}

int pmalloc_store_string_perform(const struct pmalloc_store *s, ucontext_t *uc,
                                 pmalloc_store_write_fn write) {
  unsigned char bytes[BLOCK];
  int down = is_downward(uc);
  uint64_t left = elements(s, uc);
  size_t done = 0;
  if (!(s->op & STRING_MOVES))
    (void)gather(s, uc, BLOCK / s->width, bytes); /* the same in every block */
  while (left > 0 && done < AT_ONCE) {
    uint64_t to = pmalloc_x86_register(uc, X86_RDI), from = pmalloc_x86_register(uc, X86_RSI);
    uint64_t n = left < BLOCK / s->width ? left : BLOCK / s->width;
    uint64_t fit = within_page(to, s->width, down);
    n = n < fit ? n : fit;
    if (s->op & STRING_MOVES) {
      fit = within_page(from, s->width, down);
      n = n < fit ? n : fit;
    }
    n = n ? n : 1;
    size_t size = (size_t)n * s->width;
    uintptr_t lowest = down ? to - (size - s->width) : to;
    if (((s->op & STRING_MOVES) && gather(s, uc, n, bytes) != 0) || write(lowest, bytes, size) != 0)
      return done ? 0 : -1;
    uint64_t step = down ? 0 - (uint64_t)size : size;
    pmalloc_x86_set_register(uc, X86_RDI, to + step);
    if (s->op & STRING_MOVES)
      pmalloc_x86_set_register(uc, X86_RSI, from + step);
    left -= n;
    done += size;
    if (s->op & STRING_REPEATS)
      pmalloc_x86_set_register(uc, X86_RCX, left);
  }
  if (left == 0)
    store_advance(s, uc);
  return 0;
}

#endif

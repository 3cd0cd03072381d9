/* fault_store_x86: what a faulting x86-64 instruction would store, and storing it by other means.
 *
 * A store to a protected page can be let happen without ever opening the page: the instruction is
 * decoded, what it would have written goes there through `write` (/proc/self/mem, the memfd, a
 * second mapping), its registers, flags and pc are set as the CPU would have left them, and the
 * thread goes on behind it. No other thread gets a window to write through.
 *
 *     fault --> decode ---> integer   mov, setcc, add .. xor, inc .. neg, xchg, xadd, cmpxchg,
 *                 |                   cmpxchg8b/16b, bts .. btc, shifts and rotates, movnti, movbe
 *                 |-------> vector    mov.. and extracts of 1 to 64 bytes, SSE, VEX and EVEX, with
 *                 |                   and without mask
 *                 '-------> string    movs, stos, rep or not
 *
 *     perform:  BYTES   bytes --------------------------------> write
 *               LANES   bytes over what is there -------------> write
 *               UPDATE  what is there, operand, flags --> new -> write, then registers and flags
 *               STRING  blocks, each read, then written
 *
 * Anything else is "not decoded" (0), and the caller has a slower way, or none: x87 and MMX, push
 * and call, scatters and compressing stores, FS and GS, save areas.
 *
 * On atomicity. A lock-prefixed form is a read, a computation and a write here, not one access. It
 * is atomic against everything that may write the page: other threads' stores to it fault too,
 * since the page stays read-only, and the caller lets one thread at a time in here (perform reads
 * memory anew, so decoding may be outside of that). It isn't atomic against readers: one may see a
 * part of a wide store, as with an unaligned one. And where a store begins or ends outside of the
 * pool, `write` is asked for all of it at once and refuses.
 *
 * Security. Nothing is stored that the instruction would not store, nowhere else: an attacker who
 * controls the registers gets what he would have had of a writable page.
 *
 * ASYNC-SIGNAL-SAFE: fault_store, fault_decode_x86, fault_alu_x86, and what the caller gives as
 * `write`.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_store_internal.h"

#if defined(__x86_64__)

#include <string.h>

/* Is the address within the store? Its end may be that of the address space. */
static int covers(uintptr_t start, size_t size, uintptr_t address) {
  return address - start < size;
}

int pmalloc_store_decode(const ucontext_t *uc, uintptr_t fault_address, struct pmalloc_store *s) {
  struct x86_code code;
  memset(s, 0, sizeof *s);
  if (!pmalloc_x86_begin(&code, uc) || code.segment)
    return 0;
  unsigned start = code.at;
  int known = pmalloc_store_integer(&code, s);
  if (!known) {
    code.at = start;
    known = pmalloc_store_string(&code, s);
  }
  if (!known) {
    code.at = start;
    known = pmalloc_store_vector(&code, s);
  }
  if (!known || s->length > code.fetched)
    return 0;
  /* Under a mask CPUs may name any byte of the vector as the one that faulted. */
  if (s->form == STORE_LANES)
    return covers(s->operand, s->width, fault_address);
  return covers(s->address, s->size, fault_address);
}

static int perform_lanes(const struct pmalloc_store *s, pmalloc_store_write_fn write) {
  unsigned char bytes[64];
  if (pmalloc_store_old(s, bytes) != 0)
    return -1;
  for (size_t i = 0; i < s->size; i++)
    if (s->lanes >> i & 1)
      bytes[i] = s->bytes[i];
  return write(s->address, bytes, s->size);
}

static int perform_update(const struct pmalloc_store *s, ucontext_t *uc,
                          pmalloc_store_write_fn write) {
  unsigned char bytes[16];
  struct store_after after;
  if (pmalloc_store_update(s, uc, bytes, &after) != 0 || write(s->address, bytes, s->size) != 0)
    return -1;
  for (unsigned i = 0; i < after.registers; i++)
    pmalloc_x86_set_register(uc, after.number[i], after.value[i]);
  x86_set_flags(uc, after.flags);
  return 0;
}

int pmalloc_store_perform(const struct pmalloc_store *s, ucontext_t *uc,
                          pmalloc_store_write_fn write) {
  int status = -1;
  switch (s->form) {
  case STORE_BYTES:
    status = write(s->address, s->bytes, s->size);
    break;
  case STORE_LANES:
    status = perform_lanes(s, write);
    break;
  case STORE_UPDATE:
    status = perform_update(s, uc, write);
    break;
  case STORE_STRING:
    return pmalloc_store_string_perform(s, uc, write); /* moves the pc when all is done */
  default:
    break;
  }
  if (status != 0)
    return -1;
  store_advance(s, uc);
  return 0;
}

#endif

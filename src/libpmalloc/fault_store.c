/* fault_store: what lies where an instruction would store.
 *
 * A store that is an update reads first. Asking the kernel for eight bytes
 * (process_vm_readv) costs more than all the rest of emulating `lock inc`, and is not
 * needed where the registry has just said whose bytes they are: a protected chunk is
 * mapped and can be read, and destroy waits for the turn.
 *
 *     a chunk that is being answered for       read as it is
 *     anything else: the stack, a guard page   pages_peek()
 *
 * ASYNC-SIGNAL-SAFE: pages_peek().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_store_internal.h"

#include <stdatomic.h>

#include "pages.h"

static atomic_uintptr_t readable_from, readable_to;

void pmalloc_store_readable(uintptr_t from, uintptr_t to) {
  atomic_store_explicit(&readable_from, from, memory_order_relaxed);
  atomic_store_explicit(&readable_to, to, memory_order_relaxed);
}

int pmalloc_store_old(const struct pmalloc_store *s, void *bytes) {
  uintptr_t from = atomic_load_explicit(&readable_from, memory_order_relaxed);
  uintptr_t to = atomic_load_explicit(&readable_to, memory_order_relaxed);
  if (s->address < from || s->address > to || s->size > to - s->address)
    return pages_peek(bytes, (const void *)s->address, s->size);
  unsigned char *copy = bytes;
  const volatile unsigned char *at = (const volatile unsigned char *)s->address;
  for (size_t i = 0; i < s->size; i++)
    copy[i] = at[i];
  return 0;
}

/* fault_audit: the store takes effect, and the page stays shut.
 *
 *   1. Decoded (fault_store), it is performed through /proc/self/mem (pages_poke) and
 *      the thread goes on behind the instruction. No page is opened: complete, whatever
 *      other threads do. A few microseconds.
 *   2. What is not of a known form, or does not lie in private memory, is
 *      single-stepped (fault_step): the page is open for one instruction, and another
 *      thread may write to it unseen in that moment. Counted as such.
 *   3. Where neither can be done, nothing is: the caller makes it an `oops`.
 *
 * What is emulated is emulated by one thread at a time, so read-modify-writes of
 * several threads add up.
 *
 * ASYNC-SIGNAL-SAFE: pages_poke(), and the fault_* files beside it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <string.h>

#include "fault_policy.h"
#include "fault_step.h"
#include "fault_store.h"
#include "pages.h"

/* The chunk that is written to; of whoever has the turn. */
static uintptr_t low, high;

static int write_inside(uintptr_t address, const void *bytes, size_t n) {
  if (address < low || address > high || n > high - address)
    return -1;
  return pages_poke(address, bytes, n);
}

static void copy(unsigned char *to, uintptr_t from, size_t n) {
  const volatile unsigned char *at = (const volatile unsigned char *)from;
  for (size_t i = 0; i < n; i++)
    to[i] = at[i];
}

struct pmalloc_log_write *pmalloc_audit_begin(const struct pmalloc_violation *v,
                                              const struct pmalloc_log_writer *writer) {
  const struct pmalloc_where *where = v->where;
  struct pmalloc_log_write *write = writer ? pmalloc_log_write(writer) : NULL;
  if (!write) {
    atomic_fetch_add(&where->tally->dropped, 1);
    return NULL;
  }
  size_t size = v->store ? v->store->size : 0;
  write->thread = pmalloc_turn_thread();
  write->pc = v->pc;
  write->instruction = v->store ? v->store->name : NULL;
  write->address = v->store && size ? v->store->address : v->address;
  write->size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
  write->object = where->object_start;
  if (write->address >= where->chunk_start && write->address < where->chunk_end) {
    size_t left = where->chunk_end - write->address;
    size_t n = size && size < PMALLOC_LOG_BYTES ? size : PMALLOC_LOG_BYTES;
    n = n < left ? n : left;
    copy(write->before, write->address, n);
    write->kept_before = (uint32_t)n;
  }
  return write;
}

void pmalloc_audit_end(struct pmalloc_log_write *write) {
  if (!write)
    return;
  size_t n = write->kept_before;
  copy(write->after, write->address, n);
  /* How much was written is not known: up to the last byte that is another one now. */
  while (write->size == 0 && n > 1 && write->before[n - 1] == write->after[n - 1])
    n--;
  write->kept_before = write->kept_after = (uint32_t)n;
  atomic_store(&write->whole, 1);
}

int pmalloc_audit(const struct pmalloc_violation *v, ucontext_t *uc,
                  struct pmalloc_log_writer *writer) {
  struct pmalloc_log_write *write = pmalloc_audit_begin(v, writer);
  low = v->where->chunk_start;
  high = v->where->chunk_end;
  if (v->store && pmalloc_store_perform(v->store, uc, write_inside) == 0) {
    pmalloc_audit_end(write);
    return 1;
  }
  if (!pmalloc_step_start(v->address, uc, write))
    return 0;
  if (write)
    write->stepped = 1;
  atomic_fetch_add(&v->where->tally->stepped, 1);
  if (writer)
    atomic_fetch_add(&writer->stepped, 1);
  return 1;
}

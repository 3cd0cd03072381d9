/* fault_log: what writes to protected memory were let happen.
 *
 *     index (hash of pool, pc, line)      writers                     writes
 *     +---+---+---+---+---+---+           +---------------+          +---------------------+
 *     | 0 | 2 | 0 | 1 | 0 | 3 | --------> | who, count,   | <------- | writer, thread,     |
 *     +---+---+---+---+---+---+           | first write   |          | address, old, new   |
 *                                         | in full       |          +---------------------+
 *                                         +---------------+          | ...
 *
 * A writer is a function; each of its instructions gets a place in the index when it
 * is first met, because to find the function's start takes long.
 *
 * Three tables of fixed size, mapped before the first violation can come, touched
 * only as far as they are used. A writer's count is exact as long as there is room
 * for him; of his writes as many are kept as there is room for. What there was no
 * room for is counted in the pool's tally.
 *
 * Whoever has the turn writes. Readers need no lock: an entry counts when it is
 * whole, and never changes after that, but for counts.
 *
 * ASYNC-SIGNAL-SAFE: pmalloc_log_find(), _writer(), _publish(), _write(), _reset().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_log.h"

#include <string.h>

#define WRITERS 512
#define WRITES 16384
#define SLOTS (8 * WRITERS)

struct slot {
  uintptr_t pc;
  uint32_t writer; /* his number plus one; 0: free */
};

struct log {
  atomic_uint writers_used; /* taken; those that are whole may be shown */
  atomic_uint writes_used;
  struct slot slot[SLOTS];
  struct pmalloc_log_writer writer[WRITERS];
  struct pmalloc_log_write write[WRITES];
};
static _Atomic(struct log *) log_;

size_t pmalloc_log_bytes(void) { return sizeof(struct log); }

void pmalloc_log_use(void *memory) { atomic_store(&log_, (struct log *)memory); }

static size_t first_slot(uintptr_t pool_id, uintptr_t pc, uintptr_t line) {
  uint64_t mixed = (uint64_t)pc * UINT64_C(0x9e3779b97f4a7c15);
  mixed = (mixed ^ (mixed >> 29) ^ line) * UINT64_C(0xbf58476d1ce4e5b9);
  mixed = (mixed ^ (mixed >> 32) ^ pool_id) * UINT64_C(0x94d049bb133111eb);
  return (mixed >> 40) % SLOTS;
}

/* The place in the index for an instruction: taken by it, or free; NULL where all are taken. */
static struct slot *place(struct log *log, uintptr_t pool_id, uintptr_t pc, uintptr_t line) {
  size_t at = first_slot(pool_id, pc, line);
  for (unsigned tries = 0; tries < SLOTS; tries++, at = (at + 1) % SLOTS) {
    struct slot *slot = &log->slot[at];
    if (slot->writer == 0)
      return slot;
    const struct pmalloc_log_writer *writer = &log->writer[slot->writer - 1];
    if (slot->pc == pc && writer->line == line && writer->pool_id == pool_id)
      return slot;
  }
  return NULL;
}

struct pmalloc_log_writer *pmalloc_log_find(uintptr_t pool_id, uintptr_t pc, uintptr_t line) {
  struct log *log = atomic_load(&log_);
  const struct slot *slot = log ? place(log, pool_id, pc, line) : NULL;
  return slot && slot->writer ? &log->writer[slot->writer - 1] : NULL;
}

struct pmalloc_log_writer *pmalloc_log_writer(uintptr_t pool_id, uintptr_t pc, uintptr_t line,
                                              uintptr_t code, int *created) {
  struct log *log = atomic_load(&log_);
  *created = 0;
  if (!log)
    return NULL;
  unsigned n = 0, used = atomic_load(&log->writers_used);
  for (; n < used; n++) {
    const struct pmalloc_log_writer *writer = &log->writer[n];
    if (writer->code == code && writer->line == line && writer->pool_id == pool_id)
      break;
  }
  if (n == WRITERS)
    return NULL;
  struct slot *slot = place(log, pool_id, pc, line);
  struct pmalloc_log_writer *writer = &log->writer[n];
  if (n == used) {
    memset(writer, 0, sizeof *writer);
    writer->pool_id = pool_id;
    writer->pc = pc;
    writer->code = code;
    writer->line = line;
    atomic_store(&log->writers_used, n + 1); /* his place is taken, however long the report takes */
    *created = 1;
  }
  if (slot && slot->writer == 0) {
    slot->pc = pc;
    slot->writer = n + 1;
  }
  return writer;
}

void pmalloc_log_publish(struct pmalloc_log_writer *writer) { atomic_store(&writer->whole, 1); }

struct pmalloc_log_write *pmalloc_log_write(const struct pmalloc_log_writer *writer) {
  struct log *log = atomic_load(&log_);
  unsigned n = atomic_load(&log->writes_used);
  if (n == WRITES)
    return NULL;
  struct pmalloc_log_write *write = &log->write[n];
  memset(write, 0, sizeof *write);
  write->writer = (uint32_t)(writer - log->writer);
  atomic_store(&log->writes_used, n + 1);
  return write;
}

void pmalloc_log_reset(void) {
  struct log *log = atomic_load(&log_);
  if (!log || atomic_load(&log->writers_used) == 0)
    return;
  atomic_store(&log->writes_used, 0);
  atomic_store(&log->writers_used, 0);
  memset(log->slot, 0, sizeof log->slot);
}

const struct pmalloc_log_writer *pmalloc_log_nth_writer(size_t n) {
  struct log *log = atomic_load(&log_);
  if (!log || n >= atomic_load(&log->writers_used) || !atomic_load(&log->writer[n].whole))
    return NULL; /* of a later one that is whole the number would be wrong */
  return &log->writer[n];
}

const struct pmalloc_log_write *pmalloc_log_nth_write(size_t n) {
  struct log *log = atomic_load(&log_);
  return log && n < atomic_load(&log->writes_used) ? &log->write[n] : NULL;
}

/* fault_origin: where and when a pool was created and protected.
 *
 * Told by Python, which knows lines of source, or by pmalloc.h's functions, which know
 * who called them; read by the handler. A table of fixed size that needs no lock:
 *
 *     pool id --hash--> +------+------+------+-- ... one of 16 neighbours: its own,
 *                       | slot | slot | slot |       else an empty one, else that of
 *                       +------+------+------+--     a destroyed pool
 *
 * The id of a slot is taken away first and written last, so a handler that finds
 * the same id before and after it copied has copied what belongs together. Who finds
 * it taken away by another thread does without: nobody waits, so no child of fork()
 * waits for a thread that it has not.
 *
 * The table is ordinary memory: a report that names a line of source is a help for
 * whoever reads it, no evidence. Untouched pages of it cost nothing.
 *
 * ASYNC-SIGNAL-SAFE.
 *
 * SPDX-License-Identifier: MIT
 */
#include "fault_origin.h"

#include <stdatomic.h>
#include <string.h>

#define SLOTS 2048
#define NEIGHBOURS 16
#define TAKEN UINTPTR_MAX /* no pool has that id */

struct slot {
  _Atomic uintptr_t id; /* 0: empty */
  atomic_int expired;
  struct pmalloc_origin events[2];
};

static struct slot slots[SLOTS];

static struct slot *slot_of(uintptr_t id) {
  for (size_t i = 0; i < NEIGHBOURS; i++) {
    struct slot *slot = &slots[(id + i) % SLOTS];
    if (atomic_load(&slot->id) == id)
      return slot;
  }
  return NULL;
}

/* Takes the slot for itself, if it is as it was seen. */
static int take(struct slot *slot, uintptr_t seen) {
  return atomic_compare_exchange_strong(&slot->id, &seen, TAKEN);
}

/* A slot that is taken, with nothing in it. */
static struct slot *new_slot(uintptr_t id) {
  struct slot *old = NULL;
  for (size_t i = 0; i < NEIGHBOURS; i++) {
    struct slot *slot = &slots[(id + i) % SLOTS];
    if (take(slot, 0))
      return slot;
    if (!old && atomic_load(&slot->expired))
      old = slot;
  }
  if (!old)
    return NULL;
  uintptr_t seen = atomic_load(&old->id);
  if (seen == TAKEN || !take(old, seen))
    return NULL;
  memset(old->events, 0, sizeof old->events);
  return old;
}

void pmalloc_origin_note(uintptr_t pool_id, enum pmalloc_event event, const char *file,
                         uint32_t line, int64_t time_ns) {
  struct slot *slot = slot_of(pool_id);
  if (slot ? !take(slot, pool_id) : !(slot = new_slot(pool_id)))
    return;
  struct pmalloc_origin *origin = &slot->events[event];
  size_t length = strlen(file), room = sizeof origin->file - 1;
  atomic_store(&slot->expired, 0);
  origin->time_ns = time_ns;
  origin->line = line;
  if (length <= room) {
    memcpy(origin->file, file, length + 1);
  } else {
    file += length - (room - 3);
    while ((*file & 0xc0) == 0x80)
      file++; /* not from the middle of a character */
    memcpy(origin->file, "...", 3);
    memcpy(origin->file + 3, file, strlen(file) + 1);
  }
  atomic_store(&slot->id, pool_id);
}

void pmalloc_origin_expire(uintptr_t pool_id) {
  struct slot *slot = slot_of(pool_id);
  if (slot)
    atomic_store(&slot->expired, 1);
}

int pmalloc_origin_find(uintptr_t pool_id, enum pmalloc_event event, struct pmalloc_origin *out) {
  struct slot *slot = slot_of(pool_id);
  if (!slot)
    return 0;
  memcpy(out, &slot->events[event], sizeof *out);
  out->file[sizeof out->file - 1] = 0;
  return atomic_load(&slot->id) == pool_id && out->time_ns != 0;
}

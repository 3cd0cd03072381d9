/* registry_internal: how the pools write the registry.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_REGISTRY_INTERNAL_H
#define PMALLOC_REGISTRY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "cold.h"
#include "pages.h"
#include "status.h"

/* What stays of a pool for the life of the process: its tombstone. */
struct registry_record {
  uintptr_t id;
  const struct cold *cold;
  const struct pmalloc_shared *shared; /* another process's pool, mapped here; then no cold */
  atomic_uint destroyed;
  atomic_uint readers;   /* lookups that are reading cold metadata right now */
  pthread_mutex_t rare;  /* held by who writes the pool's protected memory, or ends it */
  _Atomic uint64_t life; /* of the process that made that lock, see pages_life(); 0: not known */
  pmalloc_pool *pool;    /* under it; NULL when the pool is gone. Hot */
  struct pmalloc_tally tally;
  char name[];
};

/* One mapping of a pool, guards included. Immutable once published. */
struct registry_range {
  uintptr_t outer_start, outer_end;
  uintptr_t start, end;
  struct registry_record *record;
  const struct cold_chunk *chunk; /* NULL: a slab of cold metadata */
  uint32_t index;
};

/* The mapping that holds addr, guards included, or NULL. Async-signal-safe. */
const struct registry_range *registry_at(uintptr_t addr);

/* 1 when all n bytes lie in one metadata slab of this pool. */
int registry_is_metadata(const struct registry_record *record, const void *at, size_t n);

/* 1 when a mapping, with its guards, and its chunk (NULL: a slab) are a range of this pool. */
int registry_knows(const struct registry_record *record, const struct pages *p,
                   const struct cold_chunk *chunk);

/* 1 when the descriptor lies in metadata of this pool, and all it says leads where it should. */
int registry_vouches(const struct registry_record *record, const struct cold_chunk *chunk);

/* 1 where the registry itself keeps what it knows. */
int registry_is_own(uintptr_t addr);

/* From here on no look-up follows a pointer that does not lead into the registry's own memory;
 * and whether one was found. */
void registry_harden(void);
int registry_is_damaged(void);

/* Makes the record of a pool; its cold metadata is filled in before anything
 * of the pool is added. */
enum pmalloc_status registry_record_new(struct registry_record **out, uintptr_t id,
                                        const char *name);

/* Makes the lock of rare writes, anew in a child. */
void registry_make_rare_lock(struct registry_record *record);

/* Makes a mapping known. All or nothing. */
enum pmalloc_status registry_add(const struct pages *p, struct registry_record *record,
                                 const struct cold_chunk *chunk);

/* Forgets a mapping whose address nobody can hold. */
void registry_remove(const struct pages *p);

/* The same, of addresses that somebody may be looking up just now: what describes the mapping, a
 * few words, is not used again, so that nobody reads half of it and half of another's. */
void registry_forget(const struct pages *p);

/* From here on every range of the pool answers PMALLOC_DESTROYED; waits until
 * no lookup reads the pool's cold metadata any more. `revive` undoes it. */
void registry_bury(struct registry_record *record);
void registry_revive(struct registry_record *record);

/* share: what of a foreign pool lies at the address, where `range` is its mapping and out has its
 * bounds. Async-signal-safe. */
void share_find(const struct pmalloc_shared *shared, struct pmalloc_where *out);

/* section_find: which variable of static data lies at out->offset_in_chunk. Async-signal-safe. */
void section_find(const struct cold_chunk *chunk, struct pmalloc_where *out);

/* fork() */
void registry_before_fork(void);
void registry_after_fork(int in_child);

#endif

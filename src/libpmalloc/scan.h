/* scan: who points into a pool?
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_SCAN_H
#define PMALLOC_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "pool.h"

#define PMALLOC_SCAN_NAME 64

/* A word that looks like a pointer into the pool. */
struct pmalloc_reference {
  uintptr_t at;                    /* where the word lies */
  uintptr_t to;                    /* what it says */
  uintptr_t object_start;          /* of the allocation or object it leads into */
  char mapping[PMALLOC_SCAN_NAME]; /* as /proc/self/maps has it, cut in front; "" anonymous */
};

/* Looks through all writable memory of the process, and the data of other pools, for aligned words
 * that lead into an allocation or an object of this pool. Fills in the first `room`, and says in
 * *found how many there are. Advice, not proof: a number may look like an address, and an address
 * may be in a register, in a file or another process. Reading goes on while other threads change
 * what is read. PMALLOC_ERR_UNSUPPORTED where there is no /proc/self/maps. */
enum pmalloc_status pmalloc_pool_references(pmalloc_pool *pool, struct pmalloc_reference *out,
                                            size_t room, size_t *found);

/* The same search, for who wants to look at each word: where it lies, what it says, and the start
 * of the allocation or object it leads into. Called while memory is read: what it allocates may be
 * looked through in turn. */
typedef void (*pmalloc_reference_visitor)(void *context, uintptr_t at, uintptr_t to,
                                          uintptr_t object_start);
enum pmalloc_status pmalloc_pool_visit_references(pmalloc_pool *pool,
                                                  pmalloc_reference_visitor visit, void *context);

/* A pool that words of another one lead into. */
struct pmalloc_reached {
  uintptr_t pool_id;
  const char *pool_name; /* lives as long as the process */
  int protected_;        /* what the first of these words leads into, is */
};

/* The other way round: which other pools' objects and allocations words of this pool's data lead
 * to. What is frozen leads to nothing else than its own pool, those that it shares parts with, and
 * what is external. Fills in the first `room`, and says in *found how many there are. */
enum pmalloc_status pmalloc_pool_reaches(pmalloc_pool *pool, struct pmalloc_reached *out,
                                         size_t room, size_t *found);

#endif

/* registry: from any address to the pool, chunk and object it lies in.
 *
 * Shaped like the page table it mirrors: a radix tree over address bits whose
 * leaves have one slot a page, and where a whole 2 MiB slot may point straight
 * at its chunk. Looking up takes a constant number of loads, no lock and no
 * allocation, so a SIGSEGV handler may do it at any moment. Entries are
 * published by single pointer stores; nodes are never freed; ranges of
 * destroyed pools keep pointing at their tombstone.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_REGISTRY_H
#define PMALLOC_REGISTRY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum pmalloc_place {
  PMALLOC_NOWHERE = 0, /* not ours */
  PMALLOC_DATA,        /* inside a chunk's usable bytes */
  PMALLOC_GUARD,       /* in a guard page of a chunk or of metadata */
  PMALLOC_METADATA,    /* in a pool's out-of-line metadata */
  PMALLOC_DESTROYED    /* in the reserved range of a destroyed pool */
};

enum pmalloc_kind {
  PMALLOC_RAW,     /* allocations handed out by pmalloc_pool_alloc() */
  PMALLOC_OBJECTS, /* regions filled by a builder that marks object starts */
  PMALLOC_STATIC   /* a section of an executable or library: see section.h */
};

/* What a pool's policy did so far. Writable for ever: counts, that nothing relies on. */
struct pmalloc_tally {
  _Atomic uint64_t violations;  /* writes that the policy let happen */
  _Atomic uint64_t stepped;     /* of these, instructions that were single-stepped */
  _Atomic uint64_t dropped;     /* of these, writes that the log had no room for */
  _Atomic uint64_t rare_writes; /* rare writes that were done, and the bytes they stored */
  _Atomic uint64_t rare_bytes;
  _Atomic uint32_t tainted; /* a page of it was made writable, and is */
};

/* The answer. Everything in it is a copy or immutable: safe in a handler. */
struct pmalloc_where {
  enum pmalloc_place place;
  enum pmalloc_kind kind;
  int protected_;              /* the pool was protected, or this chunk of it was closed */
  enum pmalloc_policy policy;  /* of protected data; else PMALLOC_OOPS */
  enum pmalloc_mode mode;      /* of the pool */
  struct pmalloc_tally *tally; /* NULL: another process's pool */
  const char *pool_name;       /* NUL-terminated, lives as long as the process */
  uintptr_t pool_id;           /* unique in this process, never used again */
  uint32_t chunk_index;        /* n-th chunk of its pool */
  uintptr_t chunk_start;       /* usable bytes (place DATA, GUARD of a chunk) */
  uintptr_t chunk_end;
  size_t offset_in_chunk; /* addr - chunk_start, place DATA only */
  uintptr_t object_start; /* nearest marked start at or below addr; 0: none */
  uintptr_t object_end;   /* RAW: exact end of the allocation, 0 where addr is in free
                             space; OBJECTS: next marked start or end of used bytes; STATIC:
                             exact end of the variable, 0 where addr is in none */
  const char *symbol;     /* STATIC: the variable's name, NULL: not known. It is gone when the
                             object is unloaded: read it by pages_peek() */
};

/* Async-signal-safe, O(1) but for the bitmap scan inside one chunk. Returns 1
 * and fills *out when the address is pmalloc's, else 0. */
int pmalloc_registry_find(uintptr_t addr, struct pmalloc_where *out);

/* 1 when addr is exactly a marked object start (place DATA). Async-signal-safe. */
int pmalloc_registry_is_start(uintptr_t addr);

/* The root of the pool that addr lies in; 0: none, or addr is in no live pool. Async-signal-safe.
 */
uintptr_t pmalloc_registry_root(uintptr_t addr);

/* One chunk of a pool, as far as it is used. */
struct pmalloc_span {
  uintptr_t start, end;
  enum pmalloc_kind kind;
};
/* The n-th chunk of the pool that addr lies in: 1, or 0 where there is no such chunk, or -1 where
 * it is not what its pool says it is and must be left out. Async-signal-safe. */
int pmalloc_registry_chunk(uintptr_t addr, uint32_t n, struct pmalloc_span *out);
/* 1 where the pool of `where` keeps its promise: it is protected, and neither off nor tainted. */
int pmalloc_registry_is_kept(const struct pmalloc_where *where);

/* A cheap test for hot paths: 1 when addr lies in a live pool's chunk. */
int pmalloc_registry_owns(uintptr_t addr);

#endif

/* fault_log: what writes to protected memory were let happen.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_LOG_H
#define PMALLOC_FAULT_LOG_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fault.h"

#define PMALLOC_LOG_BYTES 64 /* of one write, before and after, that are kept */

/* Who wrote: one C function, on behalf of one Python line, into one pool. The first write of his is
 * told in full. */
struct pmalloc_log_writer {
  uintptr_t pool_id, code, line; /* these three make him; code: where the function starts, or the
                                    library, where it has no name */
  uintptr_t pc;
  const char *pool_name; /* lives as long as the process */
  enum pmalloc_policy policy;
  _Atomic uint64_t count;   /* his writes */
  _Atomic uint64_t stepped; /* of these, single-stepped */
  atomic_uint whole;        /* set when what follows is there */
  int64_t seconds;          /* of the first, since 1970 */
  uint64_t offset, name_offset;
  char module[64], name[64];
  char object[160];
  char thread_name[16];
  char stack[2048];  /* as Python printed it; empty: none */
  char report[4096]; /* as it went to stderr; empty: it did not */
};

/* One write. */
struct pmalloc_log_write {
  uint32_t writer; /* number of who did it */
  uint32_t stepped;
  uintptr_t pc;
  const char *instruction; /* "lock inc", NULL: not known; lives as long as the process */
  pid_t thread;
  uint32_t size;                    /* bytes; 0: not known */
  uintptr_t address;                /* of the first byte */
  uintptr_t object;                 /* start of the allocation or object, 0: none */
  uint32_t kept_before, kept_after; /* bytes in the two below */
  atomic_uint whole;                /* set when all of it is there */
  unsigned char before[PMALLOC_LOG_BYTES], after[PMALLOC_LOG_BYTES];
};

/* Bytes that the log takes, zeroed; and where they are. Once, before there is anything to write. */
size_t pmalloc_log_bytes(void);
void pmalloc_log_use(void *memory);

/* In the handler, by whoever has the turn. Async-signal-safe.
 *
 * find     the writer to whom this instruction belongs, where that was asked before; else NULL
 * writer   finds him by his function; *created where he was not there before: then the caller
 *          fills in what the first write tells, and publishes him. NULL where there is no room
 * write    a place for one more write, or NULL where there is no room for its bytes
 * reset    forgets all: a child of fork() did none of it */
struct pmalloc_log_writer *pmalloc_log_find(uintptr_t pool_id, uintptr_t pc, uintptr_t line);
struct pmalloc_log_writer *pmalloc_log_writer(uintptr_t pool_id, uintptr_t pc, uintptr_t line,
                                              uintptr_t code, int *created);
void pmalloc_log_publish(struct pmalloc_log_writer *writer);
struct pmalloc_log_write *pmalloc_log_write(const struct pmalloc_log_writer *writer);
void pmalloc_log_reset(void);

/* For readers, at any time: the n-th, oldest first, or NULL. Nothing of a writer changes any more
 * but his counts, and nothing of a write that is whole. */
const struct pmalloc_log_writer *pmalloc_log_nth_writer(size_t n);
const struct pmalloc_log_write *pmalloc_log_nth_write(size_t n);

#endif

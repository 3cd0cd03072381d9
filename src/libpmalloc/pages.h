/* pages: the only room of libpmalloc that asks the kernel for memory.
 *
 * Everything above speaks in these verbs. Each returns an enum pmalloc_status
 * and keeps errno. A reader who wants to know whether memory can ever become
 * writable again needs to read this file (and, later, rare_write) only: there
 * is a verb to make pages read-only and none to make them writable.
 *
 *        outer                                              outer + outer_size
 *          |  guard  |            base .. base+size          |  guard  |
 *          +---------+---------------------------------------+---------+
 *          |  no     |  readable and writable, pre-faulted;  |  no     |
 *          |  access |  read-only after pages_protect()      |  access |
 *          +---------+---------------------------------------+---------+
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_PAGES_H
#define PMALLOC_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

#define PAGES_HUGE ((size_t)2 << 20)

struct pages {
  char *base;  /* first usable byte */
  size_t size; /* usable bytes, whole pages */
  char *outer; /* start of the mapping with its guards */
  size_t outer_size;
  int markers; /* the guards are markers inside the one mapping, not mappings of their own */
};

enum pages_flags {
  PAGES_HUGE_OK = 1, /* align to 2 MiB and ask for huge pages */
  PAGES_LAZY = 2     /* do not pre-fault: a table that will be filled sparsely */
};

/* Bytes in a page of this machine. */
size_t pages_page_size(void);

/* `bytes` rounded up to whole pages; 0 where that overflows. */
size_t pages_round(size_t bytes);

/* Maps `bytes` (rounded up to pages), zeroed, between two guard pages, named
 * "pmalloc:NAME" where the kernel can. */
enum pmalloc_status pages_map(struct pages *out, size_t bytes, unsigned flags, const char *name);

/* Makes all of it read-only. There is no way back. */
enum pmalloc_status pages_protect(const struct pages *p);

/* Makes each of several mappings read-only, or none: where one refuses, those
 * done before are writable again on return. `nth` answers the i-th, or NULL
 * after the last. */
typedef const struct pages *(*pages_nth)(void *of, size_t i);
enum pmalloc_status pages_protect_all(pages_nth nth, void *of);

/* Gives the memory back but keeps the whole range reserved and inaccessible for
 * the life of the process, so that a dangling use faults instead of reading
 * whatever is mapped there next. */
enum pmalloc_status pages_retire(struct pages *p);

/* Gives memory and range back: only for pages whose address nobody can hold. */
enum pmalloc_status pages_unmap(struct pages *p);

/* Bytes of base .. base+size that are resident now. */
size_t pages_resident(const struct pages *p);

/* Working memory that is wanted for a moment and must be gone afterwards, which the heap does
 * not promise: grows (or, with bytes 0, gives back) an ordinary private mapping, keeping its
 * contents. NULL with errno where there is none; the old mapping is then untouched. Both sizes in
 * bytes, `old` NULL with old_bytes 0 for a new one. New bytes are zero. */
void *pages_scratch(void *old, size_t old_bytes, size_t bytes);

/* 1 where a store to the 8 bytes at `address` would fault, 0 where it would
 * succeed, -1 where the kernel would not say. Alters nothing. */
int pages_is_readonly(const void *address);

/* Copies n bytes from an address that may be unreadable. Async-signal-safe.
 * 0, or -1 where any byte of it cannot be read. */
int pages_peek(void *to, const void *from, size_t n);

#ifdef PMALLOC_FAULT_INJECTION
/* Tests only: let the n-th next system call of this kind (0: the very next)
 * fail with the errno given, and every later one too while `sticky`. -1: off. */
enum pages_call {
  PAGES_CALL_MMAP,
  PAGES_CALL_MPROTECT,
  PAGES_CALL_MUNMAP,
  PAGES_CALL_MADVISE,
  PAGES_CALL_PEEK,
  PAGES_CALL_COUNT
};
void pages_inject(enum pages_call call, long countdown, int error, int sticky);
#endif

#endif

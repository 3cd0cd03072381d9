/* pages: the only room of libpmalloc that asks the kernel for memory.
 *
 * Everything above speaks in these verbs. Each returns an enum pmalloc_status
 * and keeps errno. A reader who wants to know whether memory can ever become
 * writable again needs to read pages*.c and rare_write only: there is a verb to
 * make pages read-only, and two that make some writable for a while: for a page,
 * which the violation handler calls where a pool's policy is `warn` or `audit`;
 * and for a chunk, where a rare write has no better way (pages_window.c).
 *
 * Three tiers, each on top of the one before:
 *
 *   protect     read-only; who can call mprotect can undo it
 *   seal        the mappings can't be altered, moved or removed any more (mseal)
 *   immutable   nor can what they show: a memfd whose seals forbid every write
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
  int shared;  /* shows a file, from `offset` on; else private memory */
  size_t offset;
};

/* A memfd that mappings show. All zero: none yet. */
struct pages_file {
  int fd;        /* read-only from the moment that the seals are on, where /proc is there */
  int reader;    /* the same file, opened read-only; 0: not */
  int makeshift; /* private mappings stand in until the seals are on */
  uint64_t device, inode; /* a number may be closed behind our back and become another file */
  size_t end;             /* bytes */
};

enum pages_flags {
  PAGES_HUGE_OK = 1, /* align to 2 MiB and ask for huge pages */
  PAGES_LAZY = 2,    /* do not pre-fault: a table that will be filled sparsely */
  PAGES_BARE = 4     /* no guards: the outer pages are as the others */
};

/* From here on nothing is protected, sealed or guarded in this process (PMALLOC_RODATA=off): the
 * verbs below answer as ever, and ask the kernel for nothing. Called before any of them. */
void pages_switch_off(void);
int pages_are_off(void);

/* Bytes in a page of this machine. */
size_t pages_page_size(void);

/* `bytes` rounded up to whole pages; 0 where that overflows. */
size_t pages_round(size_t bytes);

/* Maps `bytes` (rounded up to pages), zeroed, between two guard pages, named
 * "pmalloc:NAME" where the kernel can. */
enum pmalloc_status pages_map(struct pages *out, size_t bytes, unsigned flags, const char *name);

/* Makes the memfd, named as mappings are, with one page at its start that no mapping shows.
 * PMALLOC_ERR_UNSUPPORTED where the kernel has none that can be sealed. */
enum pmalloc_status pages_file_open(struct pages_file *file, const char *name);

/* As pages_map(), but what is mapped is new room at the end of the file, shared. */
enum pmalloc_status pages_map_file(struct pages *out, size_t bytes, unsigned flags,
                                   const char *name, struct pages_file *file);

/* Writes n bytes at an offset, and lengthens the file where they reach beyond its end. */
enum pmalloc_status pages_file_write(struct pages_file *file, const void *from, size_t n,
                                     size_t offset);

/* Cuts the file off at `end`. Where the kernel refuses, the file stays longer: no harm. */
void pages_file_cut(struct pages_file *file, size_t end);

/* Whether the number still stands for the file: 0, or -1 with errno EBADF. */
int pages_file_check(const struct pages_file *file);

/* Closes it, unless the number is another file's by now. Its memory lives on where it is mapped. */
void pages_file_close(struct pages_file *file);

/* Maps somebody else's file read-only between guard pages. */
enum pmalloc_status pages_map_foreign(struct pages *out, int fd, size_t bytes);

/* 1 where the file can never change again (its seals say so), 0 where it may, -1 where it has no
 * seals at all, as an ordinary file. */
int pages_file_is_immutable(int fd);

/* Makes every page of it present and this process's own, as those of pages_map() are from the
 * beginning: for pages that show a file privately, and are writable. */
enum pmalloc_status pages_populate(const struct pages *p);

/* Makes all of it read-only. There is no way back. */
enum pmalloc_status pages_protect(const struct pages *p);

/* Makes each of several mappings read-only, or none: where one refuses, or what
 * is to be done `last` (NULL: nothing), those done before are writable again on
 * return. `nth` answers the i-th, or NULL after the last. */
typedef const struct pages *(*pages_nth)(void *of, size_t i);
enum pmalloc_status pages_protect_all(pages_nth nth, void *of, enum pmalloc_status (*last)(void *));

/* What a policy does about a violation: makes the page of an address writable, and read-only
 * again. 0, or -1 with errno: a sealed page stays what it is. Async-signal-safe. */
int pages_let_write(uintptr_t address);
int pages_protect_again(uintptr_t address);

/* Lets the pages be zero in a child of fork(), and of a bare clone(). 0, or -1 with errno. */
int pages_wipe_on_fork(const struct pages *p);

/* Stores n bytes at an address of private memory that may be read-only, through /proc/self/mem,
 * which does not ask for the protection of pages; no page becomes writable. 0, or -1: nothing, or
 * not all, was stored. Async-signal-safe.
 *
 * pages_poke_ready() opens it, before the first violation can come, and tries a write: 0, or -1
 * where this kernel or a sandbox does not allow it. It may be called again at any time.
 * pages_poke_works(): whether this process, a child perhaps, has it open or can open it now. */
int pages_poke_ready(void);
int pages_poke_works(void);
void pages_poke_after_fork(void); /* in the child: it must not have the parent's */
int pages_poke(uintptr_t address, const void *from, size_t n);

/* A number that a process has for itself: a child, also of a bare clone(), has another. 0 where the
 * kernel can't tell them apart. */
uint64_t pages_life(void);

/* The same for a mapping that shows a file: stores through the file. 0, or -1. Works in children,
 * too, and is seen by all who show the file: it is for the caller to know that there are none. */
int pages_file_poke(const struct pages_file *file, const struct pages *p, uintptr_t address,
                    const void *from, size_t n);
/* Whether this kernel has that: a write is tried, once. */
int pages_file_poke_works(void);

/* Where neither is to be had: makes the mapping writable, copies, and makes it read-only again.
 * Signals are blocked meanwhile; other threads may write to the mapping, too. A child that is made
 * in the meantime is without it. PMALLOC_OK; else nothing was copied and the mapping is as it was,
 * but for PMALLOC_ERR_SYSTEM with *left_open: it was copied, and could not be shut again. */
enum pmalloc_status pages_store_through_window(const struct pages *p, void *to, const void *from,
                                               size_t n, int *left_open);

/* Whether the kernel has mseal, and room for the mappings that sealing these may split off.
 * Alters nothing. PMALLOC_ERR_UNSUPPORTED where it has not. */
enum pmalloc_status pages_can_seal(pages_nth nth, void *of);

/* Seals each of several mappings, guards included. There is no way back, not even from a half:
 * where one refuses, *sealed says whether any was sealed before it. A call for mappings that are
 * sealed already does nothing, so it may be repeated. */
enum pmalloc_status pages_seal_all(pages_nth nth, void *of, int *sealed);

/* The immutable tier; `file` is what all the mappings show.
 *
 *   pages_close_all()   replaces each writable mapping, in one step that no reader can notice, by a
 *                       read-only one that does not count as a writer, and then does the `rest`;
 *                       where that or a mapping fails, all is as it was. `bare`: the new ones are
 *                       writable copies, which nobody else sees (a pool whose policy is `off`)
 *   pages_file_seal()   adds the seals. PMALLOC_ERR_BUSY where somebody may still write: pages
 *                       pinned for input, or another process's writable mapping
 *   pages_settle_all()  where the first step needed a makeshift, replaces it by the final mapping;
 *                       may be repeated */
enum pmalloc_status pages_close_all(pages_nth nth, void *of, struct pages_file *file, int bare,
                                    enum pmalloc_status (*rest)(void *));
enum pmalloc_status pages_file_seal(struct pages_file *file);
enum pmalloc_status pages_settle_all(pages_nth nth, void *of, struct pages_file *file);

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

/* A word that may not be there; 1: it is. */
static inline int pages_peek_word(uintptr_t from, uintptr_t *to) {
  return pages_peek(to, (const void *)from, sizeof *to) == 0;
}

/* n bytes, at most a page, or where the next page cannot be read those before it. How many. */
size_t pages_peek_some(void *to, uintptr_t from, size_t n);

#ifdef PMALLOC_FAULT_INJECTION
/* Tests only: let the n-th next system call of this kind (0: the very next)
 * fail with the errno given, and every later one too while `sticky`. -1: off. */
enum pages_call {
  PAGES_CALL_MMAP,
  PAGES_CALL_MPROTECT,
  PAGES_CALL_MUNMAP,
  PAGES_CALL_MADVISE,
  PAGES_CALL_PEEK,
  PAGES_CALL_MSEAL,
  PAGES_CALL_MEMFD,
  PAGES_CALL_FALLOCATE,
  PAGES_CALL_WRITE,
  PAGES_CALL_REOPEN, /* the memfd, read-only, through /proc */
  PAGES_CALL_ADD_SEALS,
  PAGES_CALL_POKE, /* anything with /proc/self/mem */
  PAGES_CALL_COUNT
};
void pages_inject(enum pages_call call, long countdown, int error, int sticky);
#endif

#endif

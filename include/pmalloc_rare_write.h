/* pmalloc_rare_write.h: protected data that still changes, rarely.
 *
 * A policy is reloaded, a switch is thrown, a key rotates. Memory of a pool whose mode says so is
 * write-rare: the MMU refuses every store into it, and one door is left.
 *
 *     struct limits { __wr_rare_type unsigned rate; };     // const: an assignment does not compile
 *     static struct limits *limits;                        // in a pool of PMALLOC_MODE_WR
 *
 *     if (rare_write(limits->rate, 100) != 100)            // yields what the variable is then
 *       ...                                                // refused: reported on stderr
 *
 * Every rare write looks its target up and is refused, with nothing changed, where that is not
 * write-rare: a read-only pool, ordinary memory, a constant, a guard page, a freed allocation, what
 * reaches over the end of an allocation or an object. A refusal is reported on stderr. Memory of
 * a write-rare pool that is still open is written like any other.
 *
 * How it is done. Through /proc/self/mem, which the kernel lets a process write whatever the
 * protection of the page; for a pool that is a memfd, by pwrite() to that; so no page becomes
 * writable, for nobody. Only where neither is to be had, the chunk is made writable for the moment:
 * a window, see docs/threat-model.md. Where not even that is possible (a sealed pool), the write is
 * refused with PMALLOC_ERR_UNSUPPORTED.
 *
 * Who excludes whom. Rare writes to one pool exclude each other. Readers are not excluded: an
 * aligned word of up to 8 bytes was never seen half written, but nothing promises it; what is
 * longer, or not aligned, may be. For readers that must not see a mixture there is wr_publish().
 *
 * Context: any thread; not a signal handler: one that interrupts a rare write of its own thread is
 * refused with PMALLOC_ERR_NESTED. fork() waits for rare writes; a child writes its own memory.
 *
 * Origin: rare_write() of the hardening patches for Linux by Kees Cook (2017), after PaX'
 * pax_open_kernel(), and the typed functions of Igor Stoppa's (2018).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_RARE_WRITE_H
#define PMALLOC_RARE_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include <pmalloc.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- openings ---- */

/* How a pool's memory is written. */
enum pmalloc_mechanism {
  PMALLOC_BY_NONE = 0,     /* it is not: the pool is not write-rare, or nothing works here */
  PMALLOC_BY_STORE = 1,    /* its policy is off: nothing is protected */
  PMALLOC_BY_PROC_MEM = 2, /* through /proc/self/mem */
  PMALLOC_BY_MEMFD = 3,    /* through its memfd */
  PMALLOC_BY_WINDOW = 4,   /* its chunk is made writable for the moment: the last resort */
  PMALLOC_BY_KEY = 5       /* by a hardware key; kept for a later version */
};

/* What a pool would be written by, now and in this process. Every mechanism was really tried.
 *
 * Returns: PMALLOC_BY_NONE also where `pool` is no pool. */
PMALLOC_API enum pmalloc_mechanism pmalloc_mechanism_of(struct pmalloc_pool *pool);

/* Begins an opening: several rare writes to one pool, one after the other, with no other thread's
 * in between. Signals are blocked for this thread until rare_write_end(); nothing is writable
 * meanwhile but through the functions below. An opening is short: who waits for the pool, waits.
 *
 * Returns: PMALLOC_OK; PMALLOC_ERR_NESTED: this thread has an opening already, which is a bug and
 *   reported; PMALLOC_ERR_INVALID: no pool; _DESTROYED; _NOT_RARE: its mode has no rare write.
 * Origin: rare_write_begin() of the kernel series. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status rare_write_begin(struct pmalloc_pool *pool);

/* Ends it. PMALLOC_ERR_NESTED, and a report: this thread has none for that pool. */
PMALLOC_API enum pmalloc_status rare_write_end(struct pmalloc_pool *pool);

/* From write-rare to read-only, for good. The pool is protected already.
 *
 * Returns: PMALLOC_OK; PMALLOC_ERR_INVALID: no pool, or one that is not protected; _NOT_RARE: it is
 *   not write-rare; _DESTROYED; or, the pool being as before, what the kernel said.
 * Origin: pmalloc_make_pool_ro() of the kernel series. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status pmalloc_make_pool_ro(struct pmalloc_pool *pool);

/* ---- functions ---- */

/* Stores n bytes. All or nothing.
 *
 * to: write-rare memory; const, because for everybody else it is.
 * Returns: PMALLOC_OK; else it is reported and nothing was changed: PMALLOC_ERR_NOT_RARE, _BOUNDS,
 *   _DESTROYED, _NESTED, _FORKED (a memfd that is the parent's, too), _UNSUPPORTED (nothing works
 *   here), _NOMEM or _SYSTEM (the kernel refused a window).
 * Origin: wr_memcpy() of the kernel series. */
PMALLOC_API enum pmalloc_status pmalloc_wr_copy(const void *to, const void *from, size_t n);

/* Stores n times the same byte. As pmalloc_wr_copy(). */
PMALLOC_API enum pmalloc_status pmalloc_wr_set(const void *to, int byte, size_t n);

/* Adds to an integer of 1, 2, 4 or 8 bytes, wrapping around; no other rare write comes in between.
 * As pmalloc_wr_copy(); PMALLOC_ERR_INVALID for another width. */
PMALLOC_API enum pmalloc_status pmalloc_wr_add(const void *to, size_t width, uint64_t n);

/* Stores the bytes in which `edit` differs from `base`, n bytes each, a page's in one go. What
 * another rare write changed since `base` was copied stays, where `edit` does not change it, too.
 * As pmalloc_wr_copy(); where the kernel refuses a page, those before it are stored. */
PMALLOC_API enum pmalloc_status pmalloc_wr_commit(const void *to, const void *base,
                                                  const void *edit, size_t n);

#ifdef __cplusplus
}
#endif

#endif

/* pmalloc.h: protectable memory, for C and C++.
 *
 * A pool is a named group of chunks of memory that are protected together. Fill it while the
 * program starts, protect it, and the MMU refuses every store into it from then on. The store
 * faults at the instruction that makes it, and a report on stderr names the pool.
 *
 *     struct pmalloc_pool *pool = pmalloc_create_pool("routes", NULL);
 *     struct route *table = pool ? pcalloc(pool, n, sizeof *table) : NULL;
 *     if (!table)
 *       return perror("routes"), -1;
 *     read_routes(table, n);
 *     enum pmalloc_status status = pmalloc_protect_pool(pool);
 *     if (status != PMALLOC_OK)
 *       return fprintf(stderr, "routes: %s\n", pmalloc_strerror(status)), -1;
 *
 * Errors. No function ends the process, prints, or leaves anything half done unsaid. What answers a
 * pointer answers NULL on failure and sets errno; what acts on a pool answers an enum
 * pmalloc_status, PMALLOC_OK (0) on success. The table at enum pmalloc_status says which errno
 * stands for which status. After a success errno is unspecified.
 *
 * A pool that is NULL, destroyed, or no pool at all is an error like any other, as long as the
 * pointer can be read: NULL and others that are no pool are PMALLOC_ERR_INVALID.
 *
 * Threads. All functions may be called by several threads at a time. A pool has one lock; pools do
 * not contend. None may be called from a signal handler, but those that say "any context".
 *
 * fork(). A child inherits all pools as they are, protected ones protected; locks are taken around
 * fork(), so its copy is sound even if another thread was allocating. What it then does to its
 * pools the parent never sees. One that is made of a memfd and open it shares with the parent: it
 * may not allocate from it (PMALLOC_ERR_FORKED).
 *
 * Origin: the protectable memory allocator proposed for the Linux kernel (Igor Stoppa, 2017-2018),
 * whose names these functions bear.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_H
#define PMALLOC_H

#include <stddef.h>

/* ---- version ---- */

/* The version of this header; PMALLOC_VERSION is one number, to compare: 0xMMmmpp. */
#define PMALLOC_VERSION_MAJOR 0
#define PMALLOC_VERSION_MINOR 1
#define PMALLOC_VERSION_PATCH 0
#define PMALLOC_VERSION                                                                            \
  (PMALLOC_VERSION_MAJOR << 16 | PMALLOC_VERSION_MINOR << 8 | PMALLOC_VERSION_PATCH)

#if defined(__GNUC__)
#define PMALLOC_API __attribute__((visibility("default"), nothrow))
#define PMALLOC_MUST_USE __attribute__((warn_unused_result))
/* Not "malloc": the compiler would take it that pmalloc_protect_pool() can't touch an allocation
 * whose address it has seen nobody hand on, and may then move a store behind that call. */
#define PMALLOC_GIVES(...) __attribute__((warn_unused_result, alloc_size(__VA_ARGS__)))
#else
#define PMALLOC_API
#define PMALLOC_MUST_USE
#define PMALLOC_GIVES(...)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what calls answer ---- */

/* The status of a call, and the errno with which a function that answers a pointer says the same
 * ("kernel's": errno is as the kernel left it). The numbers are part of the binary interface: new
 * ones are added at the end. */
enum pmalloc_status {
  PMALLOC_OK = 0,               /* done */
  PMALLOC_ERR_NOMEM = 1,        /* ENOMEM: no memory, no address space or no mapping left */
  PMALLOC_ERR_SYSTEM = 2,       /* kernel's: a system call failed */
  PMALLOC_ERR_INVALID = 3,      /* EINVAL: an argument no pool could honour, or no pool */
  PMALLOC_ERR_PROTECTED = 4,    /* EROFS: the pool is protected: it gives no more memory */
  PMALLOC_ERR_DESTROYED = 5,    /* ESTALE: the pool has ended */
  PMALLOC_ERR_FOREIGN = 6,      /* EFAULT: the address was not handed out by this pool */
  PMALLOC_ERR_DOUBLE_FREE = 7,  /* EALREADY: the allocation was freed before */
  PMALLOC_ERR_SEALED = 8,       /* EPERM: the pool is sealed: it can't end */
  PMALLOC_ERR_UNSUPPORTED = 9,  /* kernel's: it has not what it takes, or a sandbox forbids it */
  PMALLOC_ERR_BUSY = 10,        /* EBUSY: somebody may still write: pins, or another process */
  PMALLOC_ERR_HALF_SEALED = 11, /* kernel's: protected, and sealed in part: ask again */
  PMALLOC_ERR_FORKED = 12,   /* EACCES: the pool was open at fork(): only its maker may fill it */
  PMALLOC_ERR_MUTABLE = 13,  /* ETXTBSY: a file that may still change: its seals do not forbid it */
  PMALLOC_ERR_FORMAT = 14,   /* EBADMSG: a file that no pool was shared by, or that is damaged */
  PMALLOC_ERR_CORRUPT = 15,  /* EUCLEAN: a redzone or a link is not as pmalloc wrote it */
  PMALLOC_ERR_NOT_RARE = 16, /* EACCES: a rare write to what is not write-rare */
  PMALLOC_ERR_BOUNDS = 17,   /* ERANGE: a rare write over the end of an allocation or object */
  PMALLOC_ERR_NESTED = 18,   /* EDEADLK: an opening was found open */
  PMALLOC_ERR_UNSETTLED = 19, /* EINPROGRESS: Python objects of an init phase that has not ended lie
                                in the pool; mark_rodata_ro() ends it */
  PMALLOC_ERR_SHARED_PAGE = 20 /* ENOEXEC: static data and something else lie on one page */
};

/* What pmalloc_check_object_size() found out. */
enum pmalloc_bounds {
  PMALLOC_BOUNDS_NOT_OURS = 0, /* no byte of it is known to be a pool's: nothing is said about it */
  PMALLOC_BOUNDS_GOOD = 1,     /* within one live allocation, or within one frozen object */
  PMALLOC_BOUNDS_BAD = 2 /* over an end, or in free space, a guard page, metadata, a dead pool */
};

/* One English clause that says what a status means, without a full stop.
 *
 * Returns: a text that lives as long as the process; never NULL, whatever the number.
 * Context: any. */
PMALLOC_API const char *pmalloc_strerror(enum pmalloc_status status);

/* PMALLOC_VERSION of the library that is running, which may be newer than this header. Context:
 * any. */
PMALLOC_API unsigned pmalloc_version(void);

/* ---- the life of a pool ---- */

/* A pool. What is in it is the library's business. */
struct pmalloc_pool;

/* What a pool's chunks are made of. What describes them is private memory always. */
enum pmalloc_backing {
  PMALLOC_PRIVATE = 0, /* anonymous memory of this process; a child of fork() gets copies */
  PMALLOC_MEMFD = 1    /* one memfd a pool, mapped shared: can become immutable, and be handed to
                          other processes. While the pool is open a child of fork() shares it for
                          reading and writing, but may not allocate from it */
};

/* What follows a write to a protected pool. The process's operator has the last word: where the
 * environment says PMALLOC_RODATA=off, every pool is off; PMALLOC_RODATA=oops, warn or audit is
 * the policy of the pools that have none of their own. Any other value counts as oops, and is
 * complained about on stderr. What each becomes in a sealed pool, or a memfd, is a table in
 * docs/guide.md. A policy is chosen when the pool is made, and not changed: if a program could, so
 * could whoever writes its memory. What warn and audit let happen is on stderr, and in the files
 * of PMALLOC_REPORT_DIR; the log of records is read by Python's violations(). */
enum pmalloc_policy {
  PMALLOC_POLICY_DEFAULT = 0, /* what the environment says, else PMALLOC_OOPS */
  PMALLOC_OOPS = 1,           /* report, call the handler that was there before, die of SIGSEGV */
  PMALLOC_WARN = 2,           /* report the first, make the page writable, go on */
  PMALLOC_AUDIT = 3,          /* record each; it takes effect, and the page stays read-only */
  PMALLOC_OFF = 4             /* nothing is protected: no handler, no guard pages */
};

/* Bits of the options' flags. One that this library does not know of is refused. */
enum pmalloc_option_flags {
  PMALLOC_REDZONES = 1, /* known bytes around every allocation, looked at when it is freed, and when
                           the pool is protected, sealed or destroyed */
  PMALLOC_HARDENED = 2  /* every link of the metadata is checked where it is used */
};

/* When a pool's memory becomes read-only, and whether a rare write may change it then. See
 * pmalloc_rare_write.h for how. */
enum pmalloc_mode {
  PMALLOC_MODE_RO = 0,      /* all at pmalloc_protect_pool(), for good */
  PMALLOC_MODE_WR = 1,      /* all at pmalloc_protect_pool(); then write-rare */
  PMALLOC_MODE_AUTO_RO = 2, /* each chunk when it is full, that is when the next one is begun:
                               finish what you have allocated before you allocate again */
  PMALLOC_MODE_AUTO_WR = 3, /* the same; then write-rare */
  PMALLOC_MODE_START_WR = 4 /* from the first byte: allocations are zero, and filled by rare write.
                               No redzones */
};

/* How to make a pool. Begin with PMALLOC_POOL_OPTIONS_INIT: it tells the library how long your
 * struct is, so that a program works with a library that is older or newer than its header. */
struct pmalloc_pool_options {
  size_t size;       /* sizeof(struct pmalloc_pool_options) */
  size_t chunk_size; /* bytes of each chunk, rounded up to pages; an allocation that is larger gets
                        a chunk of its own. 0: chunks grow with the pool, from 16 KiB to huge pages
                        of 2 MiB */
  enum pmalloc_backing backing;
  unsigned flags; /* of enum pmalloc_option_flags */
  enum pmalloc_policy on_violation;
  enum pmalloc_mode mode;
};
#define PMALLOC_POOL_OPTIONS_INIT                                                                  \
  {sizeof(struct pmalloc_pool_options),                                                            \
   0,                                                                                              \
   PMALLOC_PRIVATE,                                                                                \
   0,                                                                                              \
   PMALLOC_POLICY_DEFAULT,                                                                         \
   PMALLOC_MODE_RO}

/* What was found to be damaged in a pool with redzones, or a hardened one. */
struct pmalloc_corruption {
  const char *what; /* one clause, which lives as long as the process; NULL: nothing was found */
  void *allocation; /* around which a redzone was hit; else NULL */
  size_t size;      /* of the allocation, as asked for */
  ptrdiff_t offset; /* of the first byte that is wrong, from its start; below 0: in front */
};

/* How far a protected pool is from being written ever again. Each has what the one before has. */
enum pmalloc_tier {
  PMALLOC_PLAIN = 0,    /* its pages are read-only */
  PMALLOC_SEALED = 1,   /* ... and its mappings can't be altered, moved or removed: it can't end */
  PMALLOC_IMMUTABLE = 2 /* ... and its memfd can't be written by anybody, by any means */
};

/* Creates an empty pool. Maps no memory yet: that comes with the first allocation. Also installs
 * the handler that reports violations, on top of a SIGSEGV handler that is there; the handler
 * passes on what is not pmalloc's.
 *
 * name: 0 to 255 bytes of UTF-8 and a NUL; copied. Reports name the pool by it. It need not be
 *   unique, but a report is clearer where it is.
 * options: NULL for defaults.
 * Returns: the pool, until pmalloc_destroy_pool(); NULL with errno EINVAL (no name, a longer one,
 *   a chunk size no pool can have, an option that this library does not know), ENOMEM, or what
 *   sigaction(2) said.
 * Origin: pmalloc_create_pool() of the kernel series. */
PMALLOC_API PMALLOC_MUST_USE struct pmalloc_pool *
pmalloc_create_pool(const char *name, const struct pmalloc_pool_options *options);

/* The pool of those who want none of their own, made at the first call and named "global". It is
 * everybody's: who protects it, does so for all, and from then on it refuses allocations. Once
 * destroyed, it is made anew.
 *
 * Returns: the pool; NULL with errno as pmalloc_create_pool(). */
PMALLOC_API PMALLOC_MUST_USE struct pmalloc_pool *pmalloc_global_pool(void);

/* Makes room for allocations of `bytes` bytes together, so that they will not ask the kernel. An
 * allocation takes its size, rounded up to 16 bytes, and 32 more in a pool with redzones.
 *
 * Returns: PMALLOC_OK, PMALLOC_ERR_INVALID, _PROTECTED, _DESTROYED, _FORKED, _NOMEM or _SYSTEM.
 * Origin: pmalloc_prealloc() of the kernel series. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status pmalloc_prealloc(struct pmalloc_pool *pool,
                                                                  size_t bytes);

/* Makes all of the pool's memory, and what describes it, read-only. There is no way back: a
 * pool can be destroyed, but never be written again. Puts the handler that reports violations back
 * on top, where another was installed since.
 *
 * The caller makes sure that no other thread is still writing into the pool: its next store would
 * be a violation.
 *
 * Returns: PMALLOC_OK; else the pool is as before: PMALLOC_ERR_INVALID; _PROTECTED: it is
 *   protected already; _DESTROYED; _CORRUPT: a redzone was hit, see pmalloc_check_pool(); _NOMEM
 *   or _SYSTEM: the kernel refused.
 * Origin: pmalloc_protect_pool() of the kernel series. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status pmalloc_protect_pool(struct pmalloc_pool *pool);

/* Protects the pool, and makes that irrevocable: for this process (PMALLOC_SEALED: mseal(2), Linux
 * 6.10), or for everybody (PMALLOC_IMMUTABLE: the seals of its memfd, too). The pool must be open,
 * and can't be destroyed afterwards.
 *
 * tier: PMALLOC_SEALED, or PMALLOC_IMMUTABLE for a pool that is made of a memfd.
 * Returns: PMALLOC_OK; else the pool is open as before: PMALLOC_ERR_INVALID: no pool, no such tier,
 *   or immutable without a memfd; _PROTECTED; _DESTROYED; _CORRUPT; _NOMEM; _SYSTEM;
 *   _UNSUPPORTED: this kernel or a sandbox has not what it takes; _BUSY: somebody may still write
 *   (pages pinned by io_uring, vmsplice or RDMA, or a child that was forked while the pool was
 *   open); _FORKED: this process did not make it. But for one: _HALF_SEALED: protected, and sealed
 *   in part; the same call goes on. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status pmalloc_seal_pool(struct pmalloc_pool *pool,
                                                                   enum pmalloc_tier tier);

/* Ends the pool, open or protected: its memory goes back to the kernel. Its addresses stay
 * reserved and inaccessible for the life of the process, so a dangling use faults, and is reported
 * as use after destroy. Nothing counts who still uses the pool: the caller must know.
 *
 * A few hundred bytes stay behind, so that the handle is known for what it is: further calls with
 * it answer PMALLOC_ERR_DESTROYED (ESTALE).
 *
 * Returns: PMALLOC_OK; PMALLOC_ERR_INVALID; _DESTROYED: it was destroyed before; _SEALED: it is
 *   sealed, and stays for ever; _CORRUPT: a redzone was hit, see pmalloc_check_pool(); _NOMEM or
 *   _SYSTEM: the kernel refused. Then the pool is as before, or, where part of it was given back,
 *   counts as destroyed, and another call goes on with the rest.
 * Origin: pmalloc_destroy_pool() of the kernel series. */
PMALLOC_API enum pmalloc_status pmalloc_destroy_pool(struct pmalloc_pool *pool);

/* Looks at all redzones of a pool, as pmalloc_protect_pool() does; a pool without is always well.
 *
 * found: NULL, or where to say what is damaged.
 * Returns: PMALLOC_OK; PMALLOC_ERR_INVALID; _DESTROYED; _CORRUPT. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status
pmalloc_check_pool(struct pmalloc_pool *pool, struct pmalloc_corruption *found);

/* pmalloc_destroy_pool(), without looking at redzones: the way out where they were hit. */
PMALLOC_API enum pmalloc_status pmalloc_destroy_damaged_pool(struct pmalloc_pool *pool);

/* ---- allocations ---- */

/* Hands out `size` bytes at a multiple of 16. The bytes are zero today; who relies on it says
 * pzalloc().
 *
 * size: in bytes; 0 counts as 1.
 * Returns: the address, good until pfree() or the end of the pool; NULL with errno EINVAL, EROFS
 *   (the pool is protected), ESTALE (it was destroyed), EACCES (it is a parent's, of a memfd),
 *   EUCLEAN (what describes it is damaged), ENOMEM, or the kernel's own.
 * Origin: pmalloc() of the kernel series. */
PMALLOC_API PMALLOC_GIVES(2) void *pmalloc(struct pmalloc_pool *pool, size_t size);

/* pmalloc(), and the bytes are zero. Errors: as pmalloc(). Origin: pzalloc() of the kernel series.
 */
PMALLOC_API PMALLOC_GIVES(2) void *pzalloc(struct pmalloc_pool *pool, size_t size);

/* pmalloc() for `n` elements of `size` bytes each; the product may not overflow (ENOMEM). Errors:
 * as pmalloc(). Origin: pmalloc_array() of the kernel series. */
PMALLOC_API PMALLOC_GIVES(2, 3) void *pmalloc_array(struct pmalloc_pool *pool, size_t n,
                                                    size_t size);

/* pmalloc_array(), and the bytes are zero. Errors: as pmalloc(). Origin: pcalloc() of the kernel
 * series. */
PMALLOC_API PMALLOC_GIVES(2, 3) void *pcalloc(struct pmalloc_pool *pool, size_t n, size_t size);

/* pmalloc() at a multiple of `alignment` bytes: a power of two, at most a page (EINVAL). The order
 * of arguments is aligned_alloc()'s. Errors: as pmalloc(). */
PMALLOC_API PMALLOC_GIVES(3) void *pmalloc_aligned(struct pmalloc_pool *pool, size_t alignment,
                                                   size_t size);

/* Copies a string, its NUL included, into the pool.
 *
 * text: may lie anywhere. Where it lies in a pool itself, its NUL must come before the end of its
 *   allocation; else nothing is copied (EFAULT).
 * Returns: the copy; NULL with errno as pmalloc(), EINVAL also for NULL.
 * Origin: pstrdup() of the kernel series. */
PMALLOC_API PMALLOC_MUST_USE char *pstrdup(struct pmalloc_pool *pool, const char *text);

/* Takes an allocation back. From an open pool: its bytes are zeroed, and handed out again. From a
 * protected pool: it drops out of the accounting, its bytes stay what they are.
 *
 * allocation: what a function above answered, or NULL: nothing is done then.
 * Returns: PMALLOC_OK; _INVALID; _DESTROYED; _FOREIGN: no allocation of this pool begins at the
 *   address; _DOUBLE_FREE: it was freed, and not handed out again since; _CORRUPT: something wrote
 *   over one of its ends, it stays.
 * Origin: pfree() of the kernel series. */
PMALLOC_API enum pmalloc_status pfree(struct pmalloc_pool *pool, const void *allocation);

/* ---- questions about an address ---- */

/* Whether the address lies in the memory of a pool that was not destroyed: anybody's, a Python
 * Pool's too. Reads nothing at the address.
 *
 * Returns: 1 or 0. Context: any.
 * Origin: is_pmalloc_object() of the kernel series. */
PMALLOC_API int is_pmalloc_object(const void *address);

/* Whether the address lies in the memory of a pool that is protected, and keeps its promise: 0
 * where its policy is off, or warn and a page of it was written. Reads nothing at the address.
 *
 * Returns: 1 or 0. Context: any. */
PMALLOC_API int pmalloc_is_protected(const void *address);

/* Whether `n` bytes from the address on are one thing of a pool. Ask it before bytes are copied
 * from or to an address and with a length that someone else chose: a length that reads on into
 * the next allocation is found out before anything is copied. Reads nothing at the address, and
 * takes as long for any length.
 *
 * n: in bytes; no bytes at all are good wherever a pool has data.
 * Returns: PMALLOC_BOUNDS_GOOD, _BAD or _NOT_OURS. A range around the end of memory is bad.
 * Context: any.
 * Origin: check_object_size() of Linux' hardened usercopy (2016), after PaX. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_bounds pmalloc_check_object_size(const void *address,
                                                                           size_t n);

/* The name of the pool an address belongs to: memory, guard pages, metadata, or the reserved range
 * of a destroyed pool.
 *
 * Returns: the name, which lives as long as the process; NULL where the address is no pool's.
 * Context: any. */
PMALLOC_API const char *pmalloc_name_of(const void *address);

#ifdef __cplusplus
}
#endif

#include <pmalloc_static.h> /* __ro_after_init, __wr_after_init, pmalloc_mark_rodata_ro() */

#endif

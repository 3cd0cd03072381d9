/* pool: a named group of chunks that are protected together.
 *
 *  struct pmalloc_pool (hot, writable: lock, counters, free blocks)
 *    |
 *    +--> cold metadata (read-only once the pool is): name, id, state, root,
 *    |      chunk descriptors, each with its object-start bitmap (one bit
 *    |      per granule), for raw chunks an object-end bitmap and a slack nibble
 *    |
 *    +--> chunk 0 |g|##########|g|   chunk 1 |g|####################|g|  ...
 *
 * Metadata lies out of line in guarded mappings of its own, so that no overflow
 * of an allocation reaches it. What the fault handler reads is cold; what is
 * hot, it never trusts.
 *
 * Life: create (maps nothing) - preallocate - allocate, initialise, free -
 * protect - read - destroy. There is no unprotect.
 *
 * Threads: one lock a pool; pools do not contend. fork(): every lock is taken
 * around it. Idea: the protectable memory allocator proposed for Linux 2017/18.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_POOL_H
#define PMALLOC_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "registry.h"
#include "status.h"

#define PMALLOC_GRANULE 16       /* raw allocations */
#define PMALLOC_OBJECT_GRANULE 8 /* built objects: many are 24 or 40 bytes */
#define PMALLOC_NAME_MAX 255     /* bytes of UTF-8, without the NUL */

typedef struct pmalloc_pool pmalloc_pool;

enum pmalloc_state { PMALLOC_OPEN, PMALLOC_PROTECTED, PMALLOC_DESTROYED_STATE };

struct pmalloc_stats {
  enum pmalloc_state state;
  enum pmalloc_tier tier;
  enum pmalloc_backing backing;
  uint32_t chunks;
  size_t reserved_bytes;      /* usable bytes of all chunks */
  size_t used_bytes;          /* handed out and not freed, granule-rounded */
  size_t allocations;         /* live raw allocations */
  size_t objects;             /* marked starts in object regions */
  size_t cold_bytes;          /* resident bytes of cold metadata mappings */
  size_t hot_bytes;           /* resident bytes of hot metadata */
  enum pmalloc_policy chosen; /* on_violation, or the process's word */
  enum pmalloc_policy policy; /* what follows a violation; of an open pool: what would, protected */
  int tainted;                /* a page of it was made writable by `warn` */
  uint64_t violations, stepped, dropped; /* see struct pmalloc_tally */
  enum pmalloc_mode mode;                /* what it is now: make_ro() changes it */
  uint64_t rare_writes, rare_bytes;      /* see struct pmalloc_tally */
};

/* How to make a pool. All zero: as pmalloc_pool_create() makes it. */
struct pmalloc_options {
  size_t chunk_size; /* 0 lets chunks grow with the pool (16 KiB, 64 KiB, doubling, 2 MiB huge ones
                        from there); else every chunk is that many bytes, rounded to pages (a larger
                        allocation still gets a chunk of its own) */
  enum pmalloc_backing backing;
  unsigned flags;             /* enum pmalloc_option_flags */
  enum pmalloc_policy policy; /* PMALLOC_POLICY_DEFAULT: the process's, else `oops` */
  enum pmalloc_mode mode;
};

/* PMALLOC_HARDENED=1 in the environment makes every pool that is created a hardened one; not in a
 * set-uid program. After this call, which comes before the first pool, it is ignored. */
void pmalloc_ignore_environment(void);

/* A variable of the environment; NULL where it is not set, or none counts. */
const char *pmalloc_environment(const char *name);

/* The process's policy, PMALLOC_RODATA=oops|warn|audit|off; PMALLOC_POLICY_DEFAULT where it is not
 * set. PMALLOC_ERR_INVALID for any other value: *value is it, and `oops` is meant. */
enum pmalloc_status pmalloc_process_policy(enum pmalloc_policy *policy, const char **value);

/* "ro", "wr", "auto_ro", "auto_wr" or "start_wr"; NULL for what is none. And the other way round:
 * 1, or 0 where there is no such mode. */
const char *pmalloc_mode_name(enum pmalloc_mode mode);
int pmalloc_mode_named(const char *name, enum pmalloc_mode *mode);

/* Whether what is protected of such a pool may be changed by rare write. */
static inline int pmalloc_mode_is_rare(enum pmalloc_mode mode) {
  return mode == PMALLOC_MODE_WR || mode == PMALLOC_MODE_AUTO_WR || mode == PMALLOC_MODE_START_WR;
}

/* The pool's mode now. Cheap: no lock is taken. */
enum pmalloc_mode pmalloc_pool_mode(const pmalloc_pool *pool);

/* Who answers violations, above this room, says what pools have to do around it. */
struct pool_answers {
  /* Around fork(), when all other locks are held: no violation is being answered meanwhile, and no
   * page is open for one, which a child would inherit. */
  void (*before_fork)(void);
  void (*after_fork)(void);
  void (*in_child)(void);
  /* No violation is answered from here, where pause() is not 0, to resume(). */
  int (*pause)(void);
  void (*resume)(void);
};
void pool_use_answers(const struct pool_answers *to);

/* Bit 1 << policy for every policy that a pool of this process was created with. */
unsigned pmalloc_policies_in_use(void);

/* "oops", "warn", "audit" or "off"; NULL for what is none. And the other way round. */
const char *pmalloc_policy_name(enum pmalloc_policy policy);
enum pmalloc_policy pmalloc_policy_named(const char *name);

/* The damage that the latest PMALLOC_ERR_CORRUPT of this pool was about. 1, or 0 where there was
 * none. */
int pmalloc_pool_corruption(pmalloc_pool *pool, struct pmalloc_corruption *out);

/* Looks at all redzones of the pool, as pmalloc_pool_protect() does. PMALLOC_OK also where it has
 * none. */
enum pmalloc_status pmalloc_pool_check(pmalloc_pool *pool);

/* Creates an empty pool; maps nothing. PMALLOC_ERR_INVALID for a name, a size, a backing or a
 * flag that no pool can have. Options may be NULL: all zero. */
enum pmalloc_status pmalloc_pool_create_with(pmalloc_pool **out, const char *name,
                                             const struct pmalloc_options *options);

/* The same with no option but the size of chunks. */
enum pmalloc_status pmalloc_pool_create(pmalloc_pool **out, const char *name, size_t chunk_size);

/* Makes sure `bytes` more can be allocated without asking the kernel. */
enum pmalloc_status pmalloc_pool_prealloc(pmalloc_pool *pool, size_t bytes);

/* Hands out `size` zeroed bytes (0 counts as 1) at a multiple of `align` (power of two, up to
 * a page; 0: 16). */
enum pmalloc_status pmalloc_pool_alloc(pmalloc_pool *pool, size_t size, size_t align, void **out);

/* The same for who writes every byte before he reads it: what was used before is not zeroed a
 * second time, and may show what a dangling pointer wrote there since. */
enum pmalloc_status pmalloc_pool_alloc_to_fill(pmalloc_pool *pool, size_t size, size_t align,
                                               void **out);

/* Other forms of the same; all memory is zeroed where nothing is copied into it. The array form
 * answers PMALLOC_ERR_NOMEM where n times size overflows. */
enum pmalloc_status pmalloc_pool_array(pmalloc_pool *pool, size_t n, size_t size, void **out);
enum pmalloc_status pmalloc_pool_copy(pmalloc_pool *pool, const void *from, size_t size,
                                      void **out);
enum pmalloc_status pmalloc_pool_strdup(pmalloc_pool *pool, const char *text, char **out);

/* The pool of those who want none of their own, made at the first call, named "global". It is
 * protected once, like any other: from then on it refuses allocations. Destroyed, it is made anew;
 * it must not be forgotten. */
enum pmalloc_status pmalloc_pool_global(pmalloc_pool **out);
/* The one there is, dead or alive; NULL: nobody has asked for it yet. */
pmalloc_pool *pool_global_now(void);

/* Takes an allocation back before protect: its bytes are zeroed and used again.
 * After protect it only drops out of the accounting. */
enum pmalloc_status pmalloc_pool_free(pmalloc_pool *pool, void *allocation);

/* Exact size asked for of a live raw allocation that starts at `allocation`. */
enum pmalloc_status pmalloc_pool_size_of(pmalloc_pool *pool, const void *allocation, size_t *out);

/* One contiguous, zeroed region for a builder of objects. */
struct pmalloc_region {
  char *base;
  size_t size;      /* usable bytes: the request rounded up to 8 */
  uint64_t *starts; /* bitmap of the region: bit i is granule i */
  size_t first_bit; /* bit number of region's first granule in `starts` */
  uint32_t chunk_index;
};
enum pmalloc_status pmalloc_pool_region(pmalloc_pool *pool, size_t size,
                                        struct pmalloc_region *out);
/* The same in pools of every mode. Where the memory is read-only already (PMALLOC_MODE_START_WR),
 * it is filled by rare write, in one go after its start was marked; or abandoned. */
enum pmalloc_status pmalloc_pool_region_at_rest(pmalloc_pool *pool, size_t size,
                                                struct pmalloc_region *out);

/* Marks an object start; the address must lie in the region, a multiple of 8. */
static inline void pmalloc_region_mark(const struct pmalloc_region *r, const void *start) {
  size_t bit = r->first_bit + (size_t)((const char *)start - r->base) / PMALLOC_OBJECT_GRANULE;
  r->starts[bit >> 6] |= (uint64_t)1 << (bit & 63);
}
/* Ends a region: `objects` marked starts are counted. */
void pmalloc_region_commit(pmalloc_pool *pool, const struct pmalloc_region *r, size_t objects);
/* So many more (or fewer) objects of the pool are written by somebody who knows of no pools: while
 * there are any it is neither protected nor destroyed, PMALLOC_ERR_UNSETTLED. */
void pmalloc_pool_unsettled(pmalloc_pool *pool, ptrdiff_t more);
/* Undoes the pool's newest region (before commit): memory and chunk as before. */
void pmalloc_region_abandon(pmalloc_pool *pool, struct pmalloc_region *r);

/* The root lives in the protected metadata, with a check word keyed by a
 * per-process secret. set_root: open pools only. */
enum pmalloc_status pmalloc_pool_set_root(pmalloc_pool *pool, void *root);
/* Looks the name up among live pools, newest first, verifies that the cold metadata is what it
 * claims (check word, and really read-only where the pool is protected). Returns 1 and *root;
 * 0 no such pool or no root; -1 metadata was tampered with. */
int pmalloc_root_lookup(const char *name, void **root);

/* Makes chunks and cold metadata read-only. PMALLOC_ERR_PROTECTED the second time. */
enum pmalloc_status pmalloc_pool_protect(pmalloc_pool *pool);

/* The same, and goes on to a tier. All or nothing: on an error the pool is open as before,
 * PMALLOC_ERR_INVALID      no such tier, or immutable without a memfd
 * PMALLOC_ERR_UNSUPPORTED  this kernel or a sandbox has no mseal, or no way to map a sealed file
 * PMALLOC_ERR_BUSY         somebody may still write: pages pinned for input (io_uring's registered
 *                          buffers, vmsplice, RDMA), or a child forked while the pool was open
 * but for one, that needs another thread to take the last mappings at the wrong moment:
 * PMALLOC_ERR_HALF_SEALED  the pool is protected, and sealed in part; the same call goes on */
enum pmalloc_status pmalloc_pool_protect_as(pmalloc_pool *pool, enum pmalloc_tier tier);

/* Turns a protected pool that is write-rare into one that is read-only, for good. Where the kernel
 * refuses, the pool is as before. PMALLOC_ERR_NOT_RARE where it is not write-rare,
 * PMALLOC_ERR_INVALID where it is not protected yet. */
enum pmalloc_status pmalloc_pool_make_ro(pmalloc_pool *pool);

/* The descriptor of an immutable pool's memfd: the pool's own, to be duplicated or sent, not to be
 * closed. PMALLOC_ERR_INVALID where the pool is not immutable, PMALLOC_ERR_SYSTEM with EBADF where
 * somebody closed it. */
enum pmalloc_status pmalloc_pool_fileno(pmalloc_pool *pool, int *fd);

/* PMALLOC_ERR_SEALED for a sealed pool. Else ends it: memory goes back, the ranges stay reserved
 * and inaccessible and answer PMALLOC_DESTROYED with the pool's name from then on. The handle stays
 * valid (state DESTROYED) until pmalloc_pool_forget(). */
enum pmalloc_status pmalloc_pool_destroy(pmalloc_pool *pool);
/* The same, without looking at redzones: the way out where they were hit. */
enum pmalloc_status pmalloc_pool_destroy_damaged(pmalloc_pool *pool);
/* Frees the handle of a destroyed pool, or of one that never mapped anything. */
void pmalloc_pool_forget(pmalloc_pool *pool);
/* Keeps the handle of a destroyed pool for good, so that late calls are told PMALLOC_ERR_DESTROYED.
 * Once for a pool; not forget() after it. */
void pmalloc_pool_entomb(pmalloc_pool *pool);

/* 1 where the pointer, which may be NULL but must be readable, is the handle of a pool that was not
 * forgotten. */
int pmalloc_pool_is(const pmalloc_pool *pool);

void pmalloc_pool_stats(pmalloc_pool *pool, struct pmalloc_stats *out);
/* Cheap: no lock is taken. */
enum pmalloc_state pmalloc_pool_state(const pmalloc_pool *pool);
enum pmalloc_tier pmalloc_pool_tier(const pmalloc_pool *pool);
const char *pmalloc_pool_name(const pmalloc_pool *pool);
uintptr_t pmalloc_pool_id(const pmalloc_pool *pool);

#endif

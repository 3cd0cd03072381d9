/* rare_write: stores into write-rare memory, and refuses all else.
 *
 *     to, n --> registry: whose is it? --> lock of that pool --> judge --> store
 *                                                                  |
 *          no pool's, a guard, metadata, a read-only pool,  <------+------> refuse,
 *          a destroyed one, freed, over an end                              nothing changed
 *
 * Judged are the bounds (usercopy) and the mode, which lies in the metadata that
 * is protected with the pool. How it is stored is the pool's hot half's to say, and
 * matters less: a forged answer leads to a fault or to a failure.
 *
 * One lock a pool, in the registry's record of it, which outlives the pool. It is
 * held for the store and nothing else; whoever has it never waits for another, so
 * two pools can't wait for each other. fork() takes it: no child is born in the
 * midst of a write. It can be taken again by who has it, so that a fork() within an
 * opening does not wait for itself.
 *
 * `inside` is what this thread is in: a signal handler that interrupts a rare write
 * and wants another would wait for itself. It is told NESTED.
 *
 * SPDX-License-Identifier: MIT
 */
#include "rare_write.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "bitmap.h"
#include "hardened.h"
#include "pool_internal.h"
#include "rare_write_internal.h"
#include "usercopy.h"

/* Lazy thread-local storage may call malloc() at first use; this kind can't. */
#define THREAD_LOCAL static _Thread_local __attribute__((tls_model("initial-exec")))

/* The record whose lock this thread holds, and whether that is for an opening. */
THREAD_LOCAL struct registry_record *_Atomic inside;
THREAD_LOCAL struct {
  pmalloc_pool *pool; /* NULL: no opening */
  sigset_t signals;   /* blocked before it */
} opening;

/* ---- how ---- */

const char *pmalloc_mechanism_name(enum pmalloc_mechanism mechanism) {
  static const char *const names[] = {"none", "plain", "proc_mem", "memfd", "mprotect", "key"};
  return names[mechanism];
}

static int is_makers(const pmalloc_pool *pool) {
  uint64_t life = pages_life();
  return life && pool->life == life && !pool->inherited;
}

enum pmalloc_mechanism pmalloc_rare_mechanism(const pmalloc_pool *pool) {
  if (!pmalloc_mode_is_rare(pool->mode) || pool->state == PMALLOC_DESTROYED_STATE)
    return PMALLOC_BY_NONE;
  if (pool->policy == PMALLOC_OFF)
    return PMALLOC_BY_STORE;
  if (pool->backing == PMALLOC_MEMFD && !is_makers(pool))
    return PMALLOC_BY_NONE;
  if (pool->backing == PMALLOC_MEMFD
          ? pages_file_poke_works() && (!pool->file.inode || pages_file_check(&pool->file) == 0)
          : pages_poke_works())
    return pool->backing == PMALLOC_MEMFD ? PMALLOC_BY_MEMFD : PMALLOC_BY_PROC_MEM;
  return pool->tier == PMALLOC_PLAIN ? PMALLOC_BY_WINDOW : PMALLOC_BY_NONE;
}

static enum pmalloc_status through_window(const struct rare_target *t, void *to, const void *from,
                                          size_t n) {
  int left_open = 0;
  if (t->pool->tier != PMALLOC_PLAIN || t->pool->half != PMALLOC_PLAIN) {
    errno = EOPNOTSUPP;
    return PMALLOC_ERR_UNSUPPORTED;
  }
  enum pmalloc_status status =
      pages_store_through_window(&t->chunk->pages, to, from, n, &left_open);
  if (left_open)
    atomic_store(&t->record->tally.tainted, 1);
  return status;
}

enum pmalloc_status rare_store(const struct rare_target *t, uintptr_t at, const void *from,
                               size_t n) {
  void *to = (void *)at;
  const pmalloc_pool *pool = t->pool;
  if (t->open || pool->policy == PMALLOC_OFF) {
    memcpy(to, from, n);
    return PMALLOC_OK;
  }
  if (pool->backing == PMALLOC_PRIVATE) {
    if (pages_poke(at, from, n) == 0)
      return PMALLOC_OK;
  } else {
    if (!is_makers(pool))
      return PMALLOC_ERR_FORKED; /* it is the parent's memory, too */
    if (pages_file_poke(&pool->file, &t->chunk->pages, at, from, n) == 0)
      return PMALLOC_OK;
  }
  return through_window(t, to, from, n);
}

/* ---- whether ---- */

static enum pmalloc_status refuse(struct pmalloc_refusal *refusal, enum pmalloc_status status) {
  refusal->status = status;
  return status;
}

/* The allocation was freed when the pool was protected already: its bytes and its bounds are still
 * there. */
static int is_freed(const struct rare_target *t, const struct pmalloc_where *where) {
  if (where->kind != PMALLOC_RAW || t->chunk->index >= t->pool->freed_capacity)
    return 0;
  const uint64_t *freed = pool_freed(t->pool, t->chunk->index);
  size_t granule = (where->object_start - where->chunk_start) / PMALLOC_GRANULE;
  return freed && bitmap_test(freed, granule);
}

/* Under the record's lock. */
static enum pmalloc_status judge(struct rare_target *t, struct pmalloc_refusal *refusal) {
  uintptr_t first = refusal->address;
  size_t n = refusal->size;
  struct pmalloc_where *where = &refusal->where;
  if (!pmalloc_registry_find(first, where))
    return refuse(refusal, PMALLOC_ERR_NOT_RARE);
  if (where->place == PMALLOC_DESTROYED)
    return refuse(refusal, PMALLOC_ERR_DESTROYED);
  const struct registry_range *range = registry_at(first);
  if (where->place != PMALLOC_DATA || !range || !range->chunk || !pmalloc_mode_is_rare(where->mode))
    return refuse(refusal, PMALLOC_ERR_NOT_RARE);
  t->chunk = range->chunk;
  t->pool = t->record->pool;
  t->open = !where->protected_;
  if (!t->pool)
    return refuse(refusal, PMALLOC_ERR_DESTROYED);
  /* Where that is good, the chunk was found to be what it says. */
  if (n > UINTPTR_MAX - first || where->object_end == 0 ||
      usercopy_judge(where, first, n) != PMALLOC_BOUNDS_GOOD)
    return refuse(refusal, PMALLOC_ERR_BOUNDS);
  if (is_freed(t, where)) {
    refusal->freed = 1;
    return refuse(refusal, PMALLOC_ERR_NOT_RARE);
  }
  return PMALLOC_OK;
}

/* Nobody's first byte: then perhaps it runs into a pool. */
static enum pmalloc_status refuse_outside(struct pmalloc_refusal *refusal) {
  struct pmalloc_where last;
  uintptr_t first = refusal->address;
  size_t n = refusal->size;
  int runs_in = n > UINTPTR_MAX - first || (n > 1 && pmalloc_registry_find(first + n - 1, &last));
  return refuse(refusal, runs_in ? PMALLOC_ERR_BOUNDS : PMALLOC_ERR_NOT_RARE);
}

/* A child of a bare clone() has the lock as it was, held perhaps by a thread that it has not:
 * nobody told it to make a new one. */
static void take(struct registry_record *record) {
  uint64_t life = pages_life(), known = atomic_load_explicit(&record->life, memory_order_relaxed);
  if (life != known && atomic_compare_exchange_strong(&record->life, &known, life) && known)
    registry_make_rare_lock(record);
  pthread_mutex_lock(&record->rare);
}

enum pmalloc_status rare_enter(struct rare_target *t, const void *to, size_t n,
                               struct pmalloc_refusal *refusal) {
  *refusal = (struct pmalloc_refusal){.address = (uintptr_t)to, .size = n};
  *t = (struct rare_target){0};
  const struct registry_range *range = registry_at((uintptr_t)to);
  if (!range)
    return refuse_outside(refusal);
  t->record = range->record;
  if (t->record->shared || atomic_load(&t->record->destroyed)) {
    (void)pmalloc_registry_find((uintptr_t)to, &refusal->where);
    return refuse(refusal, t->record->shared ? PMALLOC_ERR_NOT_RARE : PMALLOC_ERR_DESTROYED);
  }
  const struct registry_record *held = atomic_load_explicit(&inside, memory_order_relaxed);
  if (held && (held != t->record || !opening.pool)) {
    (void)pmalloc_registry_find((uintptr_t)to, &refusal->where);
    return refuse(refusal, PMALLOC_ERR_NESTED);
  }
  t->in_opening = held != NULL;
  if (!t->in_opening) {
    atomic_store_explicit(&inside, t->record, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* a handler sees it before the lock */
    take(t->record);
  }
  enum pmalloc_status status = judge(t, refusal);
  if (status != PMALLOC_OK)
    rare_leave(t);
  return status;
}

void rare_leave(const struct rare_target *t) {
  if (t->in_opening)
    return;
  pthread_mutex_unlock(&t->record->rare);
  atomic_signal_fence(memory_order_seq_cst);
  atomic_store_explicit(&inside, NULL, memory_order_relaxed);
}

void rare_count(const struct rare_target *t, size_t bytes) {
  atomic_fetch_add_explicit(&t->record->tally.rare_writes, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&t->record->tally.rare_bytes, bytes, memory_order_relaxed);
}

/* ---- the calls ---- */

enum pmalloc_status pmalloc_rare_check(const void *to, size_t n, struct pmalloc_refusal *refusal) {
  struct rare_target t;
  enum pmalloc_status status = rare_enter(&t, to, n, refusal);
  if (status == PMALLOC_OK)
    rare_leave(&t);
  return status;
}

enum pmalloc_status pmalloc_rare_copy(const void *to, const void *from, size_t n,
                                      struct pmalloc_refusal *refusal) {
  struct rare_target t;
  enum pmalloc_status status = rare_enter(&t, to, n, refusal);
  if (status != PMALLOC_OK)
    return status;
  if (n > 0)
    status = rare_store(&t, (uintptr_t)to, from, n);
  if (status == PMALLOC_OK)
    rare_count(&t, n);
  rare_leave(&t);
  return status == PMALLOC_OK ? status : refuse(refusal, status);
}

enum pmalloc_status pmalloc_rare_read(void *to, const void *from, size_t n,
                                      struct pmalloc_refusal *refusal) {
  struct rare_target t;
  enum pmalloc_status status = rare_enter(&t, from, n, refusal);
  if (status != PMALLOC_OK)
    return status;
  memcpy(to, from, n);
  rare_leave(&t);
  return status;
}

/* ---- openings ---- */

/* All but those that this thread's own instructions raise: were they blocked, a violation within
 * an opening would end the process without a word. */
static void block_signals(sigset_t *before) {
  static const int own[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
  sigset_t others;
  sigfillset(&others);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    sigdelset(&others, own[i]);
  pthread_sigmask(SIG_BLOCK, &others, before);
}

int pmalloc_rare_is_inside(void) { return opening.pool != NULL; }

/* Under the pool's lock. A pool that is empty yet has no record, so it gets one: what an opening
 * keeps others from may just be beginning. */
static enum pmalloc_status may_open(pmalloc_pool *pool) {
  if (pool->state == PMALLOC_DESTROYED_STATE)
    return PMALLOC_ERR_DESTROYED;
  if (!pmalloc_mode_is_rare(pool->mode))
    return PMALLOC_ERR_NOT_RARE;
  enum pmalloc_status status = hardened_enter(pool);
  if (status != PMALLOC_OK || pool->record)
    return status;
  status = registry_record_new(&pool->record, pool->id, pool->name);
  hardened_leave(pool);
  return status;
}

enum pmalloc_status rare_open(pmalloc_pool *pool) {
  sigset_t before;
  if (atomic_load_explicit(&inside, memory_order_relaxed))
    return PMALLOC_ERR_NESTED;
  block_signals(&before);
  pool_lock_to_map(pool); /* it may be given its record, or end; and a fork() must know */
  enum pmalloc_status status = may_open(pool);
  struct registry_record *record = pool->record;
  if (status == PMALLOC_OK)
    take(record);
  pthread_mutex_unlock(&pool->lock);
  if (status != PMALLOC_OK) {
    int reason = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = reason;
    return status;
  }
  atomic_store_explicit(&inside, record, memory_order_relaxed);
  opening.pool = pool;
  opening.signals = before;
  return PMALLOC_OK;
}

enum pmalloc_status rare_shut(const pmalloc_pool *pool) {
  if (!opening.pool || opening.pool != pool)
    return PMALLOC_ERR_NESTED;
  struct registry_record *record = atomic_load_explicit(&inside, memory_order_relaxed);
  sigset_t before = opening.signals;
  opening.pool = NULL;
  atomic_store_explicit(&inside, NULL, memory_order_relaxed);
  pthread_mutex_unlock(&record->rare);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return PMALLOC_OK;
}

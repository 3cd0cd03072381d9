/* pool: the life of a pool.
 *
 *     create -----> OPEN ------ protect -----> PROTECTED
 *                    |                             |
 *                    +------ destroy ------+-------+
 *                                          v
 *                                      DESTROYED ---- forget
 *
 * Creating one takes heap memory for the hot half and a place in the list, and
 * nothing from the kernel. Protecting one, in three tiers, is pool_seal's.
 *
 * Locks, always taken in this order: the list of sections, the list of pools, one pool, the
 * registry. fork() takes them all, but for pools that never mapped anything: their locks guard no
 * more than a word, and the child makes them anew. A pool says that it maps (`mapped`) under the
 * list lock, so fork() cannot overlook one.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "beacon.h"
#include "hardened.h"
#include "pool_internal.h"
#include "redzone.h"
#include "secret.h"
#include "section.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct link newest;
static struct link graves; /* handles of destroyed pools that are kept, linked through older */
static int links_keyed, links_damaged; /* under the list lock, as is the list */
void *const *const pools_head = &newest.to;
static uintptr_t last_id;

/* ---- locks ---- */

void pools_lock(void) { pthread_mutex_lock(&list_lock); }
void pools_unlock(void) { pthread_mutex_unlock(&list_lock); }

/* Where a link leads; nowhere, once it was found overwritten. */
static pmalloc_pool *follow(const struct link *link) {
  if (links_keyed && !link_is_sound(link)) {
    links_damaged = 1;
    return NULL;
  }
  return link->to;
}

pmalloc_pool *pools_newest(void) { return follow(&newest); }
pmalloc_pool *pools_older(const pmalloc_pool *pool) { return follow(&pool->older); }
int pools_damaged(void) { return links_damaged; }

/* The first hardened pool: from here on the links of all are checked. */
static void key_links(void) {
  if (links_keyed)
    return;
  registry_harden();
  for (struct link *list = &newest; list; list = list == &newest ? &graves : NULL) {
    for (pmalloc_pool *pool = list->to; pool; pool = pool->older.to) {
      link_set(&pool->newer, pool->newer.to, 1);
      link_set(&pool->older, pool->older.to, 1);
    }
    link_set(list, list->to, 1);
  }
  links_keyed = 1;
}

uintptr_t pools_new_id(void) {
  pools_lock();
  uintptr_t id = ++last_id;
  pools_unlock();
  return id;
}

void pool_lock_first(pmalloc_pool *pool) {
  pools_lock();
  pthread_mutex_lock(&pool->lock);
  atomic_store(&pool->mapped, 1);
  pools_unlock();
}

static const struct pool_answers *_Atomic answers;

void pool_use_answers(const struct pool_answers *to) { atomic_store(&answers, to); }

/* Its record. The pointer is hot: of a hardened pool it is followed where it leads home only, so
 * that fork() does not trip over what the next call will find out. */
static struct registry_record *record_of(const pmalloc_pool *pool) {
  struct registry_record *record = pool->record;
  int checked = (pool->flags & PMALLOC_HARDENED) != 0;
  return record && checked && !registry_is_own((uintptr_t)record) ? NULL : record;
}

static void before_fork(void) {
  section_before_fork();
  pools_lock();
  for (pmalloc_pool *pool = pools_newest(); pool; pool = pools_older(pool)) {
    if (atomic_load(&pool->mapped))
      pthread_mutex_lock(&pool->lock);
  }
  for (pmalloc_pool *pool = pools_newest(); pool; pool = pools_older(pool)) {
    struct registry_record *record = record_of(pool);
    if (record) /* no child is born in the midst of a rare write */
      pthread_mutex_lock(&record->rare);
  }
  registry_before_fork();
  const struct pool_answers *of = atomic_load(&answers);
  if (of)
    of->before_fork();
}

static void after_fork_parent(void) {
  const struct pool_answers *of = atomic_load(&answers);
  if (of)
    of->after_fork();
  registry_after_fork(0);
  for (pmalloc_pool *pool = pools_newest(); pool; pool = pools_older(pool)) {
    struct registry_record *record = record_of(pool);
    if (record)
      pthread_mutex_unlock(&record->rare);
    if (atomic_load(&pool->mapped))
      pthread_mutex_unlock(&pool->lock);
  }
  pools_unlock();
  section_after_fork(0);
}

static void after_fork_child(void) {
  const struct pool_answers *of = atomic_load(&answers);
  if (of)
    of->in_child();
  registry_after_fork(1);
  pages_poke_after_fork();
  for (pmalloc_pool *pool = pools_newest(); pool; pool = pools_older(pool)) {
    pthread_mutex_init(&pool->lock, NULL);
    if (record_of(pool))
      registry_make_rare_lock(pool->record);
    /* Two processes that hand out the same bytes would not notice. */
    if (pool->file.inode && pool->state == PMALLOC_OPEN)
      pool->inherited = 1;
  }
  for (pmalloc_pool *pool = follow(&graves); pool; pool = pools_older(pool))
    pthread_mutex_init(&pool->lock, NULL);
  pthread_mutex_init(&list_lock, NULL);
  section_after_fork(1);
}

/* When the library is loaded, not at its first use: another thread may be forking at that moment,
 * without our handlers, and its child would find a lock taken for ever. */
__attribute__((constructor)) static void keep_forks_sound(void) {
  pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

/* ---- create ---- */

/* What rare writes will go through is opened, and tried, as early as can be: a program that is
 * about to give up its privileges, or to shut itself in, may not be able to later. */
static void open_the_door(pmalloc_pool *pool) {
  int kept = errno;
  pool->life = pages_life();
  if (pool->backing == PMALLOC_MEMFD)
    (void)pages_file_poke_works();
  else
    (void)pages_poke_ready();
  errno = kept;
}

static unsigned flags_of_environment;
static int environment_ignored;

void pmalloc_ignore_environment(void) { environment_ignored = 1; }

const char *pmalloc_environment(const char *name) {
  return environment_ignored ? NULL : secure_getenv(name);
}

static void read_environment(void) {
  const char *hardened = pmalloc_environment("PMALLOC_HARDENED");
  if (hardened && *hardened && strcmp(hardened, "0") != 0)
    flags_of_environment = PMALLOC_HARDENED;
  pool_policy_read(environment_ignored);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void first_time(void) {
  read_environment();
  beacon_keep();
}

void pool_environment(void) { pthread_once(&once, first_time); }

/* The flags that this library knows. */
#define KNOWN_FLAGS ((unsigned)PMALLOC_REDZONES | (unsigned)PMALLOC_HARDENED)

enum pmalloc_status pmalloc_pool_create_with(pmalloc_pool **out, const char *name,
                                             const struct pmalloc_options *options) {
  static const struct pmalloc_options none;
  if (!options)
    options = &none;
  size_t length = name ? strnlen(name, PMALLOC_NAME_MAX + 1) : PMALLOC_NAME_MAX + 1;
  size_t rounded = pages_round(options->chunk_size);
  if (length > PMALLOC_NAME_MAX || (options->chunk_size && rounded == 0) ||
      rounded > (size_t)PTRDIFF_MAX / 2 || (unsigned)options->backing > PMALLOC_MEMFD ||
      options->flags & ~KNOWN_FLAGS || (unsigned)options->policy > PMALLOC_OFF ||
      (unsigned)options->mode > PMALLOC_MODE_START_WR)
    return PMALLOC_ERR_INVALID;
  pool_environment();
  unsigned flags = options->flags | flags_of_environment;
  if (options->mode == PMALLOC_MODE_START_WR) { /* nobody can paint redzones there */
    if (options->flags)
      return PMALLOC_ERR_INVALID;
    flags = 0;
  }
  pmalloc_pool *pool = calloc(1, sizeof *pool + length + 1);
  if (!pool)
    return PMALLOC_ERR_NOMEM;
  pool->self = pool;
  pthread_mutex_init(&pool->lock, NULL);
  pool->chunk_size = rounded;
  pool->backing = options->backing;
  pool->flags = flags;
  pool->mode = options->mode;
  pool->policy = pool_policy_chosen(options->policy);
  if (pmalloc_mode_is_rare(options->mode) && pool->policy != PMALLOC_OFF)
    open_the_door(pool);
  memcpy(pool->name, name, length + 1);
  pools_lock();
  enum pmalloc_status status = pool->flags ? secret_ready() : PMALLOC_OK;
  if (status != PMALLOC_OK) {
    pools_unlock();
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    return status;
  }
  pool->id = ++last_id;
  if (pool->flags & PMALLOC_HARDENED)
    key_links();
  pmalloc_pool *before = pools_newest();
  if (links_damaged) {
    pools_unlock();
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    return PMALLOC_ERR_CORRUPT;
  }
  link_set(&pool->newer, NULL, links_keyed);
  link_set(&pool->older, before, links_keyed);
  if (before)
    link_set(&before->newer, pool, links_keyed);
  link_set(&newest, pool, links_keyed);
  hardened_leave(pool);
  pools_unlock();
  *out = pool;
  return PMALLOC_OK;
}

enum pmalloc_status pmalloc_pool_create(pmalloc_pool **out, const char *name, size_t chunk_size) {
  const struct pmalloc_options options = {.chunk_size = chunk_size};
  return pmalloc_pool_create_with(out, name, &options);
}

/* ---- destroy ---- */

/* Gives everything back, chunks first; goes on where an earlier try was stopped. */
static enum pmalloc_status retire_all(pmalloc_pool *pool) {
  enum pmalloc_status status;
  for (; pool->retired < pool->cold->chunks; pool->retired++) {
    struct pages p = cold_chunk_at(pool->cold, pool->retired)->pages;
    if ((status = pages_retire(&p)) != PMALLOC_OK)
      return status;
  }
  while (pool->slabs) {
    struct cold_slab *older = pool->slabs->older;
    struct pages p = pool->slabs->pages;
    if ((status = pages_retire(&p)) != PMALLOC_OK)
      return status;
    pool->slabs = older;
  }
  return PMALLOC_OK;
}

static void release_hot(pmalloc_pool *pool, uint32_t chunks) {
  for (uint32_t n = 0; n < chunks; n++)
    free(pool_freed(pool, n));
  free(pool->freed);
  blocks_release(&pool->blocks);
  pool->freed = NULL;
  pool->freed_capacity = 0;
  pool->cold = NULL;
  pool->raw_current = pool->objects_current = NULL;
  pool->undo.pending = 0;
  pool->reserved_bytes = pool->used_bytes = pool->allocations = pool->objects = 0;
  pool->hot_bytes = pool->cold_bytes = 0;
}

/* Not while the handler is at a violation: what it looked up stays true until it is done. */
static enum pmalloc_status bury(pmalloc_pool *pool) {
  int may_go_on = pool->policy == PMALLOC_WARN || pool->policy == PMALLOC_AUDIT;
  const struct pool_answers *of = may_go_on ? atomic_load(&answers) : NULL;
  int took = of && of->pause();
  pool_lock_rare(pool);
  registry_bury(pool->record);
  enum pmalloc_status status = retire_all(pool);
  if (status == PMALLOC_OK)
    pool->record->pool = NULL;
  pool_unlock_rare(pool);
  if (took)
    of->resume();
  return status;
}

/* The first mapping decides: while none was given back, a failure leaves the
 * pool as it was. After that there is no way back; the pool counts as destroyed
 * and another call goes on with the rest. */
static enum pmalloc_status destroy(pmalloc_pool *pool, int damaged) {
  enum pmalloc_status status;
  pthread_mutex_lock(&pool->lock);
  status = pool->unsettled > 0 ? PMALLOC_ERR_UNSETTLED : hardened_walk(pool);
  if (status != PMALLOC_OK) {
    pthread_mutex_unlock(&pool->lock);
    return status;
  }
  if (!damaged && pool->state != PMALLOC_DESTROYED_STATE && pool->tier == PMALLOC_PLAIN &&
      (status = redzone_check_all(pool)) != PMALLOC_OK) {
    pthread_mutex_unlock(&pool->lock);
    return status;
  }
  if (pool->state == PMALLOC_DESTROYED_STATE && !pool->cold) {
    status = PMALLOC_ERR_DESTROYED;
  } else if (pool->tier != PMALLOC_PLAIN || pool->half != PMALLOC_PLAIN) {
    status = PMALLOC_ERR_SEALED;
  } else if (pool->cold) {
    uint32_t chunks = pool->cold->chunks;
    const struct cold_slab *slabs = pool->slabs;
    status = bury(pool);
    if (status == PMALLOC_OK) {
      release_hot(pool, chunks);
    } else if (pool->retired == 0 && pool->slabs == slabs &&
               pool->state != PMALLOC_DESTROYED_STATE) {
      registry_revive(pool->record);
      hardened_leave(pool);
      pthread_mutex_unlock(&pool->lock);
      return status;
    }
  }
  if (status == PMALLOC_OK)
    pages_file_close(&pool->file);
  if (status != PMALLOC_ERR_SEALED)
    pool->state = PMALLOC_DESTROYED_STATE;
  hardened_leave(pool);
  pthread_mutex_unlock(&pool->lock);
  return status;
}

enum pmalloc_status pmalloc_pool_destroy(pmalloc_pool *pool) { return destroy(pool, 0); }

enum pmalloc_status pmalloc_pool_destroy_damaged(pmalloc_pool *pool) { return destroy(pool, 1); }

/* Takes it out of the list; 0 where the links beside it are not ours. */
static int unlink_pool(pmalloc_pool *pool) {
  pmalloc_pool *newer = follow(&pool->newer), *older = follow(&pool->older);
  if (links_damaged)
    return 0;
  struct link *to = newer ? &newer->older : &newest;
  if (follow(to) != pool || (older && follow(&older->newer) != pool)) {
    links_damaged = 1;
    return 0;
  }
  link_set(to, older, links_keyed);
  if (older)
    link_set(&older->newer, newer, links_keyed);
  return 1;
}

/* Takes the handle out of the list; 0 where the pool has memory, which the handle must tell of, or
 * where it cannot be told. */
static int unlist(pmalloc_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  int unlisted = pool->cold == NULL && hardened_enter(pool) == PMALLOC_OK && unlink_pool(pool);
  if (unlisted) {
    pages_file_close(&pool->file);
    free(pool->freed);
    pool->freed = NULL;
    blocks_release(&pool->blocks);
    hardened_leave(pool);
  }
  pthread_mutex_unlock(&pool->lock);
  return unlisted;
}

void pmalloc_pool_forget(pmalloc_pool *pool) {
  pools_lock();
  int unlisted = unlist(pool);
  pools_unlock();
  if (!unlisted)
    return;
  pool->self = NULL;
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}

void pmalloc_pool_entomb(pmalloc_pool *pool) {
  pools_lock();
  if (unlist(pool)) {
    link_set(&pool->newer, NULL, links_keyed);
    link_set(&pool->older, follow(&graves), links_keyed);
    link_set(&graves, pool, links_keyed);
  }
  pools_unlock();
}

void pool_disown(pmalloc_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  if (hardened_walk(pool) == PMALLOC_OK && pool->cold) {
    const struct pool_answers *of = atomic_load(&answers);
    int took = of && of->pause();
    uint32_t chunks = pool->cold->chunks;
    pool_lock_rare(pool);
    registry_bury(pool->record);
    for (uint32_t n = 0; n < chunks; n++)
      registry_forget(&cold_chunk_at(pool->cold, n)->pages);
    cold_discard(pool);
    pool->record->pool = NULL;
    pool_unlock_rare(pool);
    if (took)
      of->resume();
    release_hot(pool, chunks);
    pool->state = PMALLOC_DESTROYED_STATE;
    hardened_leave(pool);
  }
  pthread_mutex_unlock(&pool->lock);
  pmalloc_pool_forget(pool); /* one that was damaged stays in the list */
}

/* ---- what it is ---- */

void pmalloc_pool_stats(pmalloc_pool *pool, struct pmalloc_stats *out) {
  memset(out, 0, sizeof *out);
  pthread_mutex_lock(&pool->lock);
  out->state = pool->state;
  out->tier = pool->tier;
  out->backing = pool->backing;
  out->chosen = pool->policy;
  out->mode = pool->mode;
  int sound = hardened_walk(pool) == PMALLOC_OK; /* else no pointer of it is followed */
  out->policy = sound && pool->cold && pool->state == PMALLOC_PROTECTED
                    ? (enum pmalloc_policy)pool->cold->policy
                    : pool_policy_for(pool, PMALLOC_PLAIN);
  if (sound && pool->record) {
    const struct pmalloc_tally *tally = &pool->record->tally;
    out->violations = atomic_load(&tally->violations);
    out->stepped = atomic_load(&tally->stepped);
    out->dropped = atomic_load(&tally->dropped);
    out->tainted = atomic_load(&tally->tainted) != 0;
    out->rare_writes = atomic_load(&tally->rare_writes);
    out->rare_bytes = atomic_load(&tally->rare_bytes);
  }
  out->chunks = sound && pool->cold ? pool->cold->chunks : 0;
  out->reserved_bytes = pool->reserved_bytes;
  out->used_bytes = pool->used_bytes;
  out->allocations = pool->allocations;
  out->objects = pool->objects;
  for (const struct cold_slab *slab = sound ? pool->slabs : NULL; slab; slab = slab->older)
    out->cold_bytes += pages_resident(&slab->pages);
  out->hot_bytes = sizeof *pool + strlen(pool->name) + 1 + pool->hot_bytes;
  pthread_mutex_unlock(&pool->lock);
}

int pmalloc_pool_is(const pmalloc_pool *pool) {
  return pool && (uintptr_t)pool % _Alignof(pmalloc_pool) == 0 && pool->self == pool;
}

const char *pmalloc_pool_name(const pmalloc_pool *pool) { return pool->name; }

uintptr_t pmalloc_pool_id(const pmalloc_pool *pool) { return pool->id; }

enum pmalloc_state pmalloc_pool_state(const pmalloc_pool *pool) { return pool->state; }

enum pmalloc_tier pmalloc_pool_tier(const pmalloc_pool *pool) { return pool->tier; }

enum pmalloc_mode pmalloc_pool_mode(const pmalloc_pool *pool) { return pool->mode; }

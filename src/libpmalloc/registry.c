/* registry: the radix tree from addresses to ranges.
 *
 *    56      48 47      39 38      30 29      21 20       12 11      0
 *   +----------+----------+----------+----------+-----------+---------+
 *   |   root   |   node   |   node   | directory|   leaf    | offset  |
 *   +----------+----------+----------+----------+-----------+---------+
 *        |          |          |          |           |
 *      512 ------> 512 -----> 512 -----> 512 --+---> 512 (4 KiB pages) --> range
 *                                              |
 *                                              +- tagged: one range covers the
 *                                              |  whole 2 MiB ------------> range
 *                                              |
 *                                              +- tagged: up to four lie in the
 *                                                 2 MiB -----> few[4] ----> range
 *
 * Four nodes and a leaf cover the 57 bits of five-level paging. A leaf has a
 * slot for every page of its 2 MiB, whatever the size of a page. It is made for
 * the fifth range only: between large chunks lie just a few guard pages, and
 * 4 KiB for those would be most of what a destroyed pool leaves behind.
 *
 *   range {bounds, chunk} --> record {id, name, destroyed} : never freed
 *                 |
 *                 +---------> cold_chunk {bitmaps}         : until destroy
 *
 * Writers hold one lock. They store a node after it is zeroed and a range after
 * it is filled, with release; readers load with acquire, and need no lock. A
 * record counts the lookups that read the pool's cold metadata, so that
 * destroying the pool does not pull it away from under them.
 *
 * A range is recycled only when it was removed, which happens to addresses
 * nobody can hold. Still a lookup could be looking at it: it copies the fields,
 * and believes them only if they hold the address it asked for.
 *
 * The tree itself is writable. An attacker who rewrites it confuses reports; it
 * has no part in what keeps pools read-only.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "registry.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "bitmap.h"
#include "registry_internal.h"

#define ADDRESS_BITS 57
#define DIRECTORY_SHIFT 21
#define NODE_SLOTS 512
#define DIRECT ((uintptr_t)1)
#define FEW ((uintptr_t)2)
#define TAGS (DIRECT | FEW)
#define FEW_RANGES 4

typedef _Atomic uintptr_t slot;

static slot root[NODE_SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct registry_range *removed; /* ranges to use again, linked through start */

/* ---- memory that is never given back ---- */

/* Two arenas: nodes fill whole pages, records and ranges would break them up.
 * Their mappings are lazy; only what is used costs memory. */
#define ARENA_STEP ((size_t)1 << 20)

static struct arena {
  char *next;
  size_t left;
} nodes, smalls;

/* Where all of it is, for the hardened mode. */
#define SPANS 4096
static struct {
  _Atomic uintptr_t start, end;
} spans[SPANS];
static atomic_uint spans_used;
static atomic_int hardened, damaged;

static void *arena_take(struct arena *arena, size_t bytes) {
  bytes = (bytes + 15) & ~(size_t)15;
  if (bytes > arena->left) {
    struct pages p;
    unsigned n = atomic_load(&spans_used);
    if (n == SPANS) {
      errno = ENOMEM;
      return NULL;
    }
    if (pages_map(&p, ARENA_STEP, PAGES_LAZY, "registry") != PMALLOC_OK)
      return NULL;
    atomic_store(&spans[n].start, (uintptr_t)p.base);
    atomic_store(&spans[n].end, (uintptr_t)p.base + p.size);
    atomic_store_explicit(&spans_used, n + 1, memory_order_release);
    arena->next = p.base;
    arena->left = p.size;
  }
  void *taken = arena->next;
  arena->next += bytes;
  arena->left -= bytes;
  return taken;
}

void registry_harden(void) { atomic_store(&hardened, 1); }
int registry_is_damaged(void) { return atomic_load(&damaged); }

int registry_is_own(uintptr_t addr) {
  for (unsigned n = atomic_load_explicit(&spans_used, memory_order_acquire); n-- > 0;) {
    if (addr >= atomic_load(&spans[n].start) && addr < atomic_load(&spans[n].end))
      return 1;
  }
  return 0;
}

/* Whether a pointer that was found may be followed. */
static int leads_home(uintptr_t to, size_t bytes) {
  if (!atomic_load_explicit(&hardened, memory_order_relaxed))
    return 1;
  unsigned n = atomic_load_explicit(&spans_used, memory_order_acquire);
  while (to % 8 == 0 && n-- > 0) {
    uintptr_t end = atomic_load_explicit(&spans[n].end, memory_order_relaxed);
    if (to >= atomic_load_explicit(&spans[n].start, memory_order_relaxed) && to < end)
      return bytes <= end - to;
  }
  atomic_store(&damaged, 1);
  return 0;
}

/* ---- the tree ---- */

static size_t leaf_slots(void) { return PAGES_HUGE / pages_page_size(); }

static size_t leaf_index(uintptr_t addr) { return (addr & (PAGES_HUGE - 1)) / pages_page_size(); }

/* Down towards the directory slot for an address: the first slot that is empty, or that slot, where
 * *shift is DIRECTORY_SHIFT. NULL: no such address, or a pointer that leads elsewhere. */
static slot *walk(uintptr_t addr, unsigned *shift) {
  slot *node = root;
  for (*shift = 48; !(addr >> ADDRESS_BITS); *shift -= 9) {
    slot *at = &node[addr >> *shift & (NODE_SLOTS - 1)];
    if (*shift == DIRECTORY_SHIFT)
      return at;
    uintptr_t below = atomic_load_explicit(at, memory_order_acquire);
    if (below == 0)
      return at;
    if (!leads_home(below, NODE_SLOTS * sizeof(slot)))
      return NULL;
    node = (slot *)below;
  }
  return NULL;
}

/* The directory slot for an address, or NULL where a node is missing. */
static slot *directory_slot(uintptr_t addr) {
  unsigned shift;
  slot *at = walk(addr, &shift);
  return shift == DIRECTORY_SHIFT ? at : NULL;
}

/* The same, with what is missing on the way made. Not for the signal handler, whose look-ups must
 * not lead to memory that has to be mapped. */
static slot *make_directory_slot(uintptr_t addr) {
  unsigned shift;
  slot *at;
  while ((at = walk(addr, &shift)) && shift != DIRECTORY_SHIFT) {
    uintptr_t below = (uintptr_t)arena_take(&nodes, NODE_SLOTS * sizeof(slot));
    if (below == 0)
      return NULL;
    atomic_store_explicit(at, below, memory_order_release);
  }
  return at;
}

static int holds(const struct registry_range *range, uintptr_t addr) {
  return range && leads_home((uintptr_t)range, sizeof *range) && addr >= range->outer_start &&
         addr < __atomic_load_n(&range->outer_end, __ATOMIC_RELAXED);
}

static const struct registry_range *range_in(slot *at) {
  return (const struct registry_range *)atomic_load_explicit(at, memory_order_acquire);
}

const struct registry_range *registry_at(uintptr_t addr) {
  slot *at = directory_slot(addr);
  if (!at)
    return NULL;
  uintptr_t below = atomic_load_explicit(at, memory_order_acquire);
  slot *ranges = (slot *)(below & ~TAGS);
  const struct registry_range *range = NULL;
  if (below == 0)
    return NULL;
  if (!leads_home((uintptr_t)ranges, FEW_RANGES * sizeof(slot)))
    return NULL;
  if (below & DIRECT) {
    range = (const struct registry_range *)(below & ~TAGS);
  } else if (below & FEW) {
    for (int i = 0; i < FEW_RANGES && !holds(range, addr); i++)
      range = range_in(&ranges[i]);
  } else if (ranges) {
    range = range_in(&ranges[leaf_index(addr)]);
  }
  if (!holds(range, addr) || !leads_home((uintptr_t)range->record, sizeof *range->record))
    return NULL;
  return range;
}

static uintptr_t end_of_slot(uintptr_t addr) { return (addr | (PAGES_HUGE - 1)) + 1; }

/* Lets the slots of a leaf from `at` on, as far as the range goes, hold a value. */
static void fill_leaf(slot *leaf, uintptr_t at, uintptr_t end, uintptr_t value) {
  uintptr_t stop = end_of_slot(at);
  for (; at < end && at < stop; at += pages_page_size())
    atomic_store_explicit(&leaf[leaf_index(at)], value, memory_order_release);
}

/* Lets everything that leads to the range's addresses lead to it, or, without
 * `add`, no longer. make_room() has been there. */
static void publish(const struct registry_range *range, int add) {
  uintptr_t end = range->outer_end, value = add ? (uintptr_t)range : 0;
  for (uintptr_t at = range->outer_start; at < end; at = end_of_slot(at)) {
    slot *directory = directory_slot(at);
    uintptr_t below = atomic_load_explicit(directory, memory_order_relaxed);
    slot *ranges = (slot *)(below & ~TAGS);
    if (below == 0 || below & DIRECT) {
      atomic_store_explicit(directory, add ? value | DIRECT : 0, memory_order_release);
    } else if (below & FEW) {
      uintptr_t before = add ? 0 : (uintptr_t)range;
      int i = 0;
      while (i < FEW_RANGES - 1 && (uintptr_t)range_in(&ranges[i]) != before)
        i++;
      atomic_store_explicit(&ranges[i], value, memory_order_release);
    } else {
      fill_leaf(ranges, at, end, value);
    }
  }
}

/* Makes the directory slot take one more range: a few, or a leaf for the fifth. */
static int make_slot_room(slot *directory, uintptr_t addr) {
  uintptr_t below = atomic_load_explicit(directory, memory_order_relaxed);
  slot *few = (slot *)(below & ~TAGS);
  if (below == 0) {
    few = arena_take(&smalls, FEW_RANGES * sizeof(slot));
    if (!few)
      return -1;
    atomic_store_explicit(directory, (uintptr_t)few | FEW, memory_order_release);
    return 0;
  }
  if (!(below & FEW))
    return 0;
  for (int i = 0; i < FEW_RANGES; i++) {
    if (!range_in(&few[i]))
      return 0;
  }
  slot *leaf = arena_take(&nodes, leaf_slots() * sizeof(slot));
  if (!leaf)
    return -1;
  uintptr_t first = addr & ~(uintptr_t)(PAGES_HUGE - 1);
  for (int i = 0; i < FEW_RANGES; i++) {
    const struct registry_range *range = range_in(&few[i]);
    uintptr_t from = range->outer_start > first ? range->outer_start : first;
    fill_leaf(leaf, from, range->outer_end, (uintptr_t)range);
  }
  atomic_store_explicit(directory, (uintptr_t)leaf, memory_order_release);
  return 0;
}

/* Makes all that publish() will need. What a failure leaves behind is empty, and
 * waits for the next range. */
static int make_room(uintptr_t start, uintptr_t end) {
  for (uintptr_t at = start; at < end; at = end_of_slot(at)) {
    slot *directory = make_directory_slot(at);
    if (!directory)
      return -1;
    int whole = at % PAGES_HUGE == 0 && end - at >= PAGES_HUGE;
    if (whole && atomic_load_explicit(directory, memory_order_relaxed) == 0)
      continue; /* will point straight at the range */
    if (make_slot_room(directory, at) != 0)
      return -1;
  }
  return 0;
}

/* ---- writing ---- */

void registry_make_rare_lock(struct registry_record *record) {
  pthread_mutexattr_t how;
  pthread_mutexattr_init(&how);
  pthread_mutexattr_settype(&how, PTHREAD_MUTEX_RECURSIVE);
  pthread_mutex_init(&record->rare, &how);
  pthread_mutexattr_destroy(&how);
  atomic_store(&record->life, 0); /* noted at the next rare write */
}

enum pmalloc_status registry_record_new(struct registry_record **out, uintptr_t id,
                                        const char *name) {
  size_t bytes = strlen(name) + 1;
  pthread_mutex_lock(&lock);
  struct registry_record *record = arena_take(&smalls, sizeof *record + bytes);
  pthread_mutex_unlock(&lock);
  if (!record)
    return PMALLOC_ERR_NOMEM;
  record->id = id;
  registry_make_rare_lock(record);
  memcpy(record->name, name, bytes);
  *out = record;
  return PMALLOC_OK;
}

enum pmalloc_status registry_add(const struct pages *p, struct registry_record *record,
                                 const struct cold_chunk *chunk) {
  uintptr_t start = (uintptr_t)p->outer, end = start + p->outer_size;
  enum pmalloc_status status = PMALLOC_ERR_NOMEM;
  pthread_mutex_lock(&lock);
  if (end >> ADDRESS_BITS) {
    errno = ENOMEM;
  } else if (make_room(start, end) == 0) {
    struct registry_range *range = removed;
    if (range && leads_home((uintptr_t)range, sizeof *range))
      removed = (struct registry_range *)range->start;
    else
      range = arena_take(&smalls, sizeof *range);
    if (range) {
      uintptr_t base = (uintptr_t)p->base;
      *range = (struct registry_range){
          start, end, base, base + p->size, record, chunk, chunk ? chunk->index : 0};
      publish(range, 1);
      status = PMALLOC_OK;
    }
  }
  pthread_mutex_unlock(&lock);
  return status;
}

void registry_remove(const struct pages *p) {
  pthread_mutex_lock(&lock);
  struct registry_range *range =
      (struct registry_range *)(uintptr_t)registry_at((uintptr_t)p->base);
  if (range) {
    publish(range, 0);
    range->outer_end = 0; /* holds no address: a late reader finds nothing */
    range->start = (uintptr_t)removed;
    removed = range;
  }
  pthread_mutex_unlock(&lock);
}

void registry_forget(const struct pages *p) {
  pthread_mutex_lock(&lock);
  struct registry_range *range =
      (struct registry_range *)(uintptr_t)registry_at((uintptr_t)p->base);
  if (range) {
    publish(range, 0);
    __atomic_store_n(&range->outer_end, 0, __ATOMIC_RELAXED);
  }
  pthread_mutex_unlock(&lock);
}

void registry_bury(struct registry_record *record) {
  atomic_store(&record->destroyed, 1);
  /* A handler that never returned (a long jump, a fork in its midst) leaves its
   * count behind: give up after a moment, nobody is reading then. */
  for (int patience = 20; patience > 0 && atomic_load(&record->readers) != 0; patience--)
    nanosleep(&(struct timespec){0, 500000}, NULL);
}

void registry_revive(struct registry_record *record) { atomic_store(&record->destroyed, 0); }

void registry_before_fork(void) { pthread_mutex_lock(&lock); }

void registry_after_fork(int in_child) {
  if (in_child)
    pthread_mutex_init(&lock, NULL);
  else
    pthread_mutex_unlock(&lock);
}

/* ---- reading ---- */

/* A lookup that may read the cold metadata, from here to leave(). */
static int enter(struct registry_record *record) {
  atomic_fetch_add(&record->readers, 1);
  if (!atomic_load(&record->destroyed))
    return 1;
  atomic_fetch_sub(&record->readers, 1);
  return 0;
}

static void leave(struct registry_record *record) { atomic_fetch_sub(&record->readers, 1); }

/* 1 when all n bytes lie in one metadata slab of this pool: nothing else is
 * read on the word of a pointer. */
static int is_metadata(const struct registry_record *record, const void *at, size_t n) {
  uintptr_t addr = (uintptr_t)at;
  const struct registry_range *range = registry_at(addr);
  return range && range->record == record && !range->chunk && addr % 8 == 0 &&
         addr >= range->start && addr <= range->end && n <= range->end - addr;
}

int registry_is_metadata(const struct registry_record *record, const void *at, size_t n) {
  return is_metadata(record, at, n);
}

int registry_knows(const struct registry_record *record, const struct pages *p,
                   const struct cold_chunk *chunk) {
  uintptr_t outer = (uintptr_t)p->outer, base = (uintptr_t)p->base;
  const struct registry_range *range = registry_at(base);
  return range && range->record == record && range->chunk == chunk && range->start == base &&
         range->end - base == p->size && range->outer_start == outer &&
         range->outer_end - outer == p->outer_size;
}

/* The chunk of a range, where everything a lookup reads of it is in order. */
static const struct cold_chunk *sound_chunk(const struct registry_range *range) {
  const struct cold_chunk *chunk = range->chunk;
  if (!is_metadata(range->record, chunk, sizeof *chunk))
    return NULL;
  size_t granules = (range->end - range->start) / cold_granule(chunk);
  if ((uintptr_t)chunk->pages.base != range->start || cold_used(chunk) > granules)
    return NULL;
  if (cold_kind(chunk) == PMALLOC_STATIC)
    return chunk->symbols_bytes >= sizeof *chunk->symbols &&
                   is_metadata(range->record, chunk->symbols, chunk->symbols_bytes)
               ? chunk
               : NULL;
  if (!is_metadata(range->record, chunk->starts, bitmap_bytes(granules)))
    return NULL;
  if (cold_kind(chunk) == PMALLOC_RAW &&
      (!is_metadata(range->record, chunk->ends, bitmap_bytes(granules)) ||
       !is_metadata(range->record, chunk->slack, granules / 2)))
    return NULL;
  return chunk;
}

int registry_vouches(const struct registry_record *record, const struct cold_chunk *chunk) {
  return is_metadata(record, chunk, sizeof *chunk) &&
         registry_knows(record, &chunk->pages, chunk) &&
         sound_chunk(registry_at((uintptr_t)chunk->pages.base)) != NULL;
}

static void find_object(const struct cold_chunk *chunk, struct pmalloc_where *out) {
  if (cold_kind(chunk) == PMALLOC_STATIC) {
    section_find(chunk, out);
    return;
  }
  uintptr_t base = out->chunk_start;
  size_t size = cold_granule(chunk), granule = out->offset_in_chunk / size;
  size_t used = cold_used(chunk);
  size_t start = bitmap_previous(chunk->starts, granule);
  if (start != BITMAP_NONE)
    out->object_start = base + start * size;
  if (cold_kind(chunk) == PMALLOC_OBJECTS) {
    size_t next = bitmap_next(chunk->starts, granule + 1, used);
    out->object_end = base + (next == BITMAP_NONE ? used : next) * size;
  } else if (start != BITMAP_NONE) {
    size_t last = bitmap_next(chunk->ends, start, used);
    if (last != BITMAP_NONE && last >= granule) {
      size_t slack = cold_slack(chunk, last);
      out->object_end = base + (last + 1) * size - slack;
    }
  }
}

int pmalloc_registry_find(uintptr_t addr, struct pmalloc_where *out) {
  const struct registry_range *at = registry_at(addr);
  memset(out, 0, sizeof *out);
  out->policy = PMALLOC_OOPS;
  if (!at)
    return 0;
  struct registry_range range = {at->outer_start, __atomic_load_n(&at->outer_end, __ATOMIC_RELAXED),
                                 at->start,       at->end,
                                 at->record,      at->chunk,
                                 at->index};
  if (addr < range.outer_start || addr >= range.outer_end)
    return 0; /* recycled while we looked */
  struct registry_record *record = range.record;
  out->pool_name = record->name;
  out->pool_id = record->id;
  out->chunk_index = range.index;
  if (range.chunk || record->shared) {
    out->chunk_start = range.start;
    out->chunk_end = range.end;
  }
  if (!enter(record)) {
    out->place = PMALLOC_DESTROYED;
    return 1;
  }
  const struct cold *cold =
      is_metadata(record, record->cold, sizeof *record->cold) ? record->cold : NULL;
  if (cold) {
    out->protected_ = __atomic_load_n(&cold->state, __ATOMIC_RELAXED) == PMALLOC_PROTECTED;
    out->mode = cold_mode(cold);
    out->tally = &record->tally;
  }
  const struct cold_chunk *chunk = range.chunk ? sound_chunk(&range) : NULL;
  if (chunk) {
    out->kind = cold_kind(chunk);
    out->protected_ |= cold_closed(chunk);
  }
  if (cold && out->protected_)
    out->policy = (enum pmalloc_policy)cold->policy;
  if (record->shared)
    out->protected_ = 1;
  if (addr < range.start || addr >= range.end) {
    out->place = PMALLOC_GUARD;
  } else if (record->shared) {
    out->place = PMALLOC_DATA;
    out->offset_in_chunk = addr - range.start;
    share_find(record->shared, out);
  } else if (!range.chunk) {
    out->place = PMALLOC_METADATA;
  } else {
    out->place = PMALLOC_DATA;
    out->offset_in_chunk = addr - range.start;
    if (chunk)
      find_object(chunk, out);
  }
  leave(record);
  return 1;
}

int pmalloc_registry_is_start(uintptr_t addr) {
  const struct registry_range *range = registry_at(addr);
  int answer = 0;
  if (!range || !range->chunk || addr < range->start || addr >= range->end)
    return 0;
  struct registry_record *record = range->record;
  if (!enter(record))
    return 0;
  const struct cold_chunk *chunk = sound_chunk(range);
  size_t size = chunk ? cold_granule(chunk) : 1;
  if (chunk && cold_kind(chunk) != PMALLOC_STATIC && addr % size == 0)
    answer = bitmap_test(chunk->starts, (addr - range->start) / size);
  leave(record);
  return answer;
}

/* The cold metadata of the pool that addr lies in, until leave(*record); else NULL. */
static const struct cold *enter_cold(uintptr_t addr, struct registry_record **record) {
  const struct registry_range *range = registry_at(addr);
  if (!range || !range->chunk || !enter(range->record))
    return NULL;
  *record = range->record;
  if (is_metadata(*record, (*record)->cold, sizeof *(*record)->cold))
    return (*record)->cold;
  leave(*record);
  return NULL;
}

uintptr_t pmalloc_registry_root(uintptr_t addr) {
  struct registry_record *record;
  const struct cold *cold = enter_cold(addr, &record);
  if (!cold)
    return 0;
  uintptr_t root_of_pool = __atomic_load_n(&cold->root, __ATOMIC_RELAXED);
  leave(record);
  return root_of_pool;
}

int pmalloc_registry_chunk(uintptr_t addr, uint32_t n, struct pmalloc_span *out) {
  struct registry_record *record;
  const struct cold *cold = enter_cold(addr, &record);
  int answer = -1;
  if (!cold)
    return 0;
  if (n >= __atomic_load_n(&cold->chunks, __ATOMIC_ACQUIRE)) {
    answer = 0;
  } else {
    const struct cold_chunk *chunk = cold_chunk_at(cold, n);
    if (registry_vouches(record, chunk)) {
      out->start = (uintptr_t)chunk->pages.base;
      out->end = out->start + cold_used(chunk) * cold_granule(chunk);
      out->kind = cold_kind(chunk);
      answer = 1;
    }
  }
  leave(record);
  return answer;
}

int pmalloc_registry_owns(uintptr_t addr) {
  const struct registry_range *range = registry_at(addr);
  return range && range->chunk && addr >= range->start && addr < range->end &&
         !atomic_load_explicit(&range->record->destroyed, memory_order_acquire);
}

int pmalloc_registry_is_kept(const struct pmalloc_where *where) {
  return where->protected_ && where->policy != PMALLOC_OFF && !pages_are_off() &&
         !(where->tally && atomic_load(&where->tally->tainted));
}

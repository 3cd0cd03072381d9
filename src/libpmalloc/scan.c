/* scan: a conservative search for pointers into a pool.
 *
 *     /proc/self/maps           what is looked at
 *     ----------------------    -----------------------------------------------
 *     rw-p  [heap]              all words; but for the buffers of the scan itself
 *     rw-p  libpython3.13.so    data segments: type caches, interned tables
 *     rw-p  [stack]             from the stack pointer on: what is below is dead
 *     rw-p                      anonymous: arenas of objects, stacks of threads
 *     r--p  pmalloc:other       data of other pools; not metadata, not this pool
 *     r-xp  libc.so.6           no: nobody writes there
 *
 * Nothing counts who uses a frozen object, so destroy() cannot know. This is the
 * best there is: every aligned word that would be an address in the pool's data.
 *
 * Words are copied block by block, by a system call that answers where it
 * cannot read: memory may vanish while the scan goes on.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hardened.h"
#include "pool_internal.h"

#define BLOCK 4096 /* no page is larger than what one look-up in the registry speaks for */
#define LARGEST ((uintptr_t)64 << 30)
#define WORDS (BLOCK / sizeof(uintptr_t))

struct scan {
  const struct registry_record *record;
  uintptr_t lowest, highest;     /* of the pool's data */
  struct pmalloc_reference *out; /* like the text, and this struct, on pages of its own: what was
                                    found would be found again there, and is left out */
  size_t room, found;
  pmalloc_reference_visitor visit; /* instead of `out` */
  void *context;
  char *text; /* of /proc/self/maps */
  size_t text_size;
  uintptr_t words[WORDS];
};

static int overlaps(uintptr_t at, const void *from, size_t bytes) {
  return at < (uintptr_t)from + bytes && (uintptr_t)from < at + BLOCK;
}

/* Whether a block may hold pointers of somebody else's. */
static int counts(const struct scan *scan, uintptr_t at, int writable) {
  if (overlaps(at, scan->out, scan->room * sizeof *scan->out) || overlaps(at, scan, sizeof *scan) ||
      overlaps(at, scan->text, scan->text_size))
    return 0;
  const struct registry_range *range = registry_at(at);
  if (range)
    return range->record != scan->record && range->chunk && at >= range->start && at < range->end &&
           !atomic_load(&range->record->destroyed);
  return writable && !registry_is_own(at);
}

static void keep(struct scan *scan, uintptr_t at, uintptr_t to, const char *mapping) {
  struct pmalloc_where where;
  const struct registry_range *range = registry_at(to);
  if (!range || range->record != scan->record || !range->chunk || to < range->start ||
      to >= range->end)
    return;
  /* Nobody needs what was freed; and what points to an object, points to one of its words. */
  if (!pmalloc_registry_find(to, &where) || where.object_start == 0 || where.object_end <= to ||
      (where.kind == PMALLOC_OBJECTS && to % sizeof(uintptr_t) != 0))
    return;
  if (scan->visit) {
    scan->visit(scan->context, at, to, where.object_start);
    return;
  }
  if (scan->found++ >= scan->room)
    return;
  struct pmalloc_reference *entry = &scan->out[scan->found - 1];
  size_t n = strlen(mapping);
  entry->at = at;
  entry->to = to;
  entry->object_start = where.object_start;
  memcpy(entry->mapping, mapping + (n < PMALLOC_SCAN_NAME ? 0 : n - PMALLOC_SCAN_NAME + 1),
         (n < PMALLOC_SCAN_NAME ? n : PMALLOC_SCAN_NAME - 1) + 1);
}

static void look(struct scan *scan, uintptr_t start, uintptr_t end, int writable,
                 const char *mapping) {
  uintptr_t here = (uintptr_t)__builtin_frame_address(0);
  /* Of this thread's stack, what is in use. */
  uintptr_t from = here >= start && here < end ? here : start;
  for (uintptr_t at = start; at < end; at += BLOCK) {
    if (at + BLOCK <= from)
      continue;
    if (!counts(scan, at, writable) || pages_peek(scan->words, (const void *)at, BLOCK) != 0)
      continue;
    for (size_t i = at < from ? (from - at) / sizeof(uintptr_t) : 0; i < WORDS; i++) {
      if (scan->words[i] >= scan->lowest && scan->words[i] < scan->highest)
        keep(scan, at + i * sizeof(uintptr_t), scan->words[i], mapping);
    }
  }
}

/* All of /proc/self/maps, before any of it changes under the scan's own hands. */
static enum pmalloc_status read_maps(struct scan *scan) {
  size_t used = 0;
  ssize_t n = -1;
  int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return PMALLOC_ERR_UNSUPPORTED;
  do {
    if (scan->text_size - used < 4096) {
      size_t bytes = scan->text_size ? scan->text_size * 2 : 1 << 16;
      char *more = pages_scratch(scan->text, scan->text_size, bytes);
      if (!more) {
        close(fd);
        return PMALLOC_ERR_NOMEM;
      }
      scan->text = more;
      scan->text_size = bytes;
    }
    n = read(fd, scan->text + used, scan->text_size - used - 1);
    used += n > 0 ? (size_t)n : 0;
  } while (n > 0);
  close(fd);
  return n < 0 ? PMALLOC_ERR_UNSUPPORTED : PMALLOC_OK; /* new bytes are zero: so it ends */
}

static void look_at_line(struct scan *scan, char *line) {
  uintptr_t start, end;
  char rights[5] = "";
  unsigned long inode = 0;
  int path = 0;
  if (sscanf(line, "%lx-%lx %4s %*s %*s %lu %n", &start, &end, rights, &inode, &path) < 4 ||
      rights[0] != 'r' || strncmp(line + path, "[v", 2) == 0)
    return;
  /* Reading a device's memory may do things. */
  if (strncmp(line + path, "/dev/", 5) == 0 && strncmp(line + path, "/dev/shm/", 9) != 0 &&
      strncmp(line + path, "/dev/zero", 9) != 0)
    return;
  int writable = rights[1] == 'w';
  if (end - start > LARGEST)
    return; /* the shadow of a sanitizer, not memory that anybody has */
  if (writable || inode == 0)
    look(scan, start, end, writable, line + path);
}

static enum pmalloc_status look_everywhere(struct scan *scan) {
  if (scan->room && !(scan->out = pages_scratch(NULL, 0, scan->room * sizeof *scan->out)))
    return PMALLOC_ERR_NOMEM;
  enum pmalloc_status status = read_maps(scan);
  for (char *line = scan->text, *next; status == PMALLOC_OK && line && *line; line = next) {
    next = strchr(line, '\n');
    if (next)
      *next++ = 0;
    look_at_line(scan, line);
  }
  return status;
}

/* What is searched for, as the pool is now; PMALLOC_OK with highest == 0 where it has no data. */
static enum pmalloc_status aim(struct scan *scan, pmalloc_pool *pool) {
  scan->lowest = UINTPTR_MAX;
  pthread_mutex_lock(&pool->lock);
  enum pmalloc_status status = hardened_walk(pool);
  if (status == PMALLOC_OK && pool->state == PMALLOC_DESTROYED_STATE)
    status = PMALLOC_ERR_DESTROYED;
  for (uint32_t n = 0; status == PMALLOC_OK && pool->cold && n < pool->cold->chunks; n++) {
    const struct pages *p = &cold_chunk_at(pool->cold, n)->pages;
    uintptr_t base = (uintptr_t)p->base;
    scan->lowest = base < scan->lowest ? base : scan->lowest;
    scan->highest = base + p->size > scan->highest ? base + p->size : scan->highest;
  }
  scan->record = pool->record;
  pthread_mutex_unlock(&pool->lock);
  return status;
}

static void end(struct scan *scan) {
  int reason = errno;
  if (scan->text)
    pages_scratch(scan->text, scan->text_size, 0);
  if (scan->out)
    pages_scratch(scan->out, scan->room * sizeof *scan->out, 0);
  pages_scratch(scan, sizeof *scan, 0);
  errno = reason;
}

enum pmalloc_status pmalloc_pool_references(pmalloc_pool *pool, struct pmalloc_reference *out,
                                            size_t room, size_t *found) {
  struct scan *scan = pages_scratch(NULL, 0, sizeof *scan);
  *found = 0;
  if (!scan)
    return PMALLOC_ERR_NOMEM;
  scan->room = room;
  enum pmalloc_status status = aim(scan, pool);
  if (status == PMALLOC_OK && scan->highest != 0)
    status = look_everywhere(scan);
  if (status == PMALLOC_OK) {
    *found = scan->found;
    if (room && scan->found)
      memcpy(out, scan->out, (scan->found < room ? scan->found : room) * sizeof *out);
  }
  end(scan);
  return status;
}

enum pmalloc_status pmalloc_pool_visit_references(pmalloc_pool *pool,
                                                  pmalloc_reference_visitor visit, void *context) {
  struct scan *scan = pages_scratch(NULL, 0, sizeof *scan);
  if (!scan)
    return PMALLOC_ERR_NOMEM;
  scan->visit = visit;
  scan->context = context;
  enum pmalloc_status status = aim(scan, pool);
  if (status == PMALLOC_OK && scan->highest != 0)
    status = look_everywhere(scan);
  end(scan);
  return status;
}

/* ---- the other way round ---- */

/* Chunks that were met last, by address: most words of a pool lead to the same few. */
#define NEAR 64
#define SMALL ((uintptr_t)1 << 16) /* nothing is mapped below */
struct reach {
  struct {
    uintptr_t start, end;
  } near[NEAR];
  uintptr_t self;
  struct pmalloc_reached *out;
  size_t room, found;
};

static void reach_word(struct reach *reach, uintptr_t to) {
  struct pmalloc_where where;
  size_t slot = (to >> 14) % NEAR;
  if (to >= reach->near[slot].start && to < reach->near[slot].end)
    return;
  const struct registry_range *range = registry_at(to);
  if (!range || !range->chunk || to < range->start || to >= range->end)
    return;
  if (!pmalloc_registry_find(to, &where) || where.place != PMALLOC_DATA ||
      where.object_start == 0 || where.object_end <= to)
    return;
  /* One object refers to another by its beginning. What lies unused beside a str's flags is as it
   * was in ordinary memory, and may be half an address. */
  if (where.kind == PMALLOC_OBJECTS && to != where.object_start)
    return;
  reach->near[slot].start = where.chunk_start;
  reach->near[slot].end = where.chunk_end;
  if (where.pool_id == reach->self)
    return;
  for (size_t i = 0; i < reach->found && i < reach->room; i++)
    if (reach->out[i].pool_id == where.pool_id)
      return;
  if (reach->found++ < reach->room)
    reach->out[reach->found - 1] =
        (struct pmalloc_reached){where.pool_id, where.pool_name, where.protected_};
}

enum pmalloc_status pmalloc_pool_reaches(pmalloc_pool *pool, struct pmalloc_reached *out,
                                         size_t room, size_t *found) {
  struct reach reach = {.self = pmalloc_pool_id(pool), .out = out, .room = room};
  pthread_mutex_lock(&pool->lock);
  enum pmalloc_status status = hardened_walk(pool);
  if (status == PMALLOC_OK && pool->state == PMALLOC_DESTROYED_STATE)
    status = PMALLOC_ERR_DESTROYED;
  for (uint32_t n = 0; status == PMALLOC_OK && pool->cold && n < pool->cold->chunks; n++) {
    const struct cold_chunk *chunk = cold_chunk_at(pool->cold, n);
    const uintptr_t *words = (const uintptr_t *)chunk->pages.base;
    size_t n_words = cold_used(chunk) * cold_granule(chunk) / sizeof *words;
    for (size_t i = 0; i < n_words; i++)
      if (words[i] >= SMALL)
        reach_word(&reach, words[i]);
  }
  pthread_mutex_unlock(&pool->lock);
  *found = reach.found;
  return status;
}

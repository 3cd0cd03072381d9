/* share: the directory in a memfd, written by one process and read by others.
 *
 *   0        1 page                                             table        table_end
 *   +--------+---------+---------+----- - - ----+---------------+------------------+
 *   | header | chunk 0 | chunk 1 |     hole     | chunk 2       | offset, size ... |
 *   +--------+---------+---------+----- - - ----+---------------+------------------+
 *      |          ^                                                |
 *      |          +------------------------------------------------+
 *      +---- where the table is, how many entries, the pool's name
 *
 * Entries are in the order of the file, which is that of chunks and in each of
 * addresses; objects that were frozen into the pool are not listed, for they are
 * full of pointers that mean something in one process only.
 *
 * The reader trusts nothing: the file may come from a stranger. Every number is
 * copied out before it is checked, and used as it was checked. An entry can only
 * name bytes between the header and the table, so the worst that a forged file
 * does is to show bytes of itself.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bitmap.h"
#include "pool_internal.h"

/* The last byte is the version. */
static const char MAGIC[8] = {'p', 'm', 'a', 'l', 'l', 'o', 'c', 1};

struct header {
  char magic[8];
  uint64_t file_size, table, count;
  char name[PMALLOC_NAME_MAX + 1];
};

struct entry {
  uint64_t offset, size;
};

/* ---- writing ---- */

/* The next raw allocation at or after *granule of the chunk; 0 where there is none. */
static int next_allocation(const struct cold_chunk *chunk, size_t *granule) {
  if (chunk->kind != PMALLOC_RAW)
    return 0;
  *granule = bitmap_next(chunk->starts, *granule, chunk->used);
  return *granule != BITMAP_NONE;
}

struct writer {
  struct pages_file *file;
  size_t at; /* where the next batch goes */
  uint64_t count;
  size_t held;
  struct entry batch[256];
};

static enum pmalloc_status flush(struct writer *w) {
  size_t bytes = w->held * sizeof *w->batch;
  enum pmalloc_status status = pages_file_write(w->file, w->batch, bytes, w->at);
  w->at += bytes;
  w->held = 0;
  return status;
}

static enum pmalloc_status write_chunk(struct writer *w, const struct cold_chunk *chunk) {
  enum pmalloc_status status = PMALLOC_OK;
  for (size_t granule = 0; next_allocation(chunk, &granule); granule++) {
    struct pmalloc_where where;
    uintptr_t start = (uintptr_t)chunk->pages.base + granule * PMALLOC_GRANULE;
    if (!pmalloc_registry_find(start, &where) || where.object_end <= start)
      where.object_end = start; /* damaged: nothing of it is shown */
    w->batch[w->held++] =
        (struct entry){chunk->pages.offset + granule * PMALLOC_GRANULE, where.object_end - start};
    w->count++;
    if (w->held == sizeof w->batch / sizeof *w->batch && (status = flush(w)) != PMALLOC_OK)
      break;
  }
  return status;
}

enum pmalloc_status share_write_directory(pmalloc_pool *pool) {
  struct header header = {0};
  memcpy(header.magic, MAGIC, sizeof MAGIC);
  enum pmalloc_status status = PMALLOC_OK;
  if (!pool->file.inode)
    status = pages_file_open(&pool->file, pool->name);
  struct writer w = {.file = &pool->file, .at = pool->file.end};
  header.table = w.at;
  for (uint32_t n = 0; pool->cold && n < pool->cold->chunks && status == PMALLOC_OK; n++)
    status = write_chunk(&w, cold_chunk_at(pool->cold, n));
  if (status == PMALLOC_OK)
    status = flush(&w);
  if (status != PMALLOC_OK)
    return status;
  header.file_size = w.at;
  header.count = w.count;
  strcpy(header.name, pool->name);
  return pages_file_write(&pool->file, &header, sizeof header, 0);
}

enum pmalloc_status pmalloc_pool_shared_index(pmalloc_pool *pool, const void *allocation,
                                              size_t *out) {
  enum pmalloc_status status = PMALLOC_ERR_FOREIGN;
  size_t index = 0;
  pthread_mutex_lock(&pool->lock);
  if (pool->tier != PMALLOC_IMMUTABLE)
    status = PMALLOC_ERR_INVALID;
  const struct cold_chunk *its = status == PMALLOC_ERR_FOREIGN ? chunk_of(pool, allocation) : NULL;
  for (uint32_t n = 0; its && n < its->index; n++) {
    const struct cold_chunk *chunk = cold_chunk_at(pool->cold, n);
    if (chunk->kind == PMALLOC_RAW)
      index += bitmap_count(chunk->starts, chunk->used);
  }
  size_t offset = its ? (size_t)((const char *)allocation - its->pages.base) : 1;
  size_t granule = offset / PMALLOC_GRANULE;
  if (offset % PMALLOC_GRANULE == 0 && its->kind == PMALLOC_RAW &&
      bitmap_test(its->starts, granule)) {
    *out = index + bitmap_count(its->starts, granule);
    status = PMALLOC_OK;
  }
  pthread_mutex_unlock(&pool->lock);
  return status;
}

/* ---- reading ---- */

struct pmalloc_shared {
  struct pages pages;
  struct registry_record *record;
  size_t file_size, table, count;
  int sealed;
  char name[PMALLOC_NAME_MAX + 1];
};

static const struct pages *the_one(void *of, size_t i) { return i == 0 ? of : NULL; }

/* The directory is where it can be, and wholly inside the file. */
static int believe(pmalloc_shared *shared) {
  struct header header;
  if (shared->file_size < sizeof header)
    return 0;
  memcpy(&header, shared->pages.base, sizeof header);
  if (memcmp(header.magic, MAGIC, sizeof header.magic) != 0 ||
      header.file_size != shared->file_size || header.table < sizeof header ||
      header.table > header.file_size || header.table % sizeof(uint64_t) != 0 ||
      header.count != (header.file_size - header.table) / sizeof(struct entry))
    return 0;
  shared->table = header.table;
  shared->count = header.count;
  memcpy(shared->name, header.name, sizeof header.name);
  shared->name[PMALLOC_NAME_MAX] = 0;
  return 1;
}

enum pmalloc_status pmalloc_shared_get(const pmalloc_shared *shared, size_t n, const void **at,
                                       size_t *size) {
  struct entry entry;
  if (n >= shared->count)
    return PMALLOC_ERR_FOREIGN;
  memcpy(&entry, shared->pages.base + shared->table + n * sizeof entry, sizeof entry);
  if (entry.offset < sizeof(struct header) || entry.offset > shared->table ||
      entry.size > shared->table - entry.offset || entry.offset % PMALLOC_GRANULE != 0)
    return PMALLOC_ERR_FORMAT;
  *at = shared->pages.base + entry.offset;
  *size = entry.size;
  return PMALLOC_OK;
}

static enum pmalloc_status map(pmalloc_shared *shared, int fd, unsigned flags) {
  struct stat s;
  if (fstat(fd, &s) != 0)
    return PMALLOC_ERR_SYSTEM;
  if (!(flags & PMALLOC_SHARED_TRUSTED) && pages_file_is_immutable(fd) != 1)
    return PMALLOC_ERR_MUTABLE;
  if (!S_ISREG(s.st_mode) || s.st_size <= 0 || (uintmax_t)s.st_size > SIZE_MAX / 4)
    return PMALLOC_ERR_FORMAT;
  shared->file_size = (size_t)s.st_size;
  return pages_map_foreign(&shared->pages, fd, shared->file_size);
}

/* Believes the file, or not. */
static enum pmalloc_status read_directory(pmalloc_shared *shared) {
  enum pmalloc_status status = believe(shared) ? PMALLOC_OK : PMALLOC_ERR_FORMAT;
  for (size_t n = 0; status == PMALLOC_OK && n < shared->count; n++) {
    const void *at;
    size_t size;
    status = pmalloc_shared_get(shared, n, &at, &size);
  }
  return status;
}

/* Lets reports say whose memory it is. */
static enum pmalloc_status make_known(pmalloc_shared *shared) {
  enum pmalloc_status status = registry_record_new(&shared->record, pools_new_id(), shared->name);
  if (status != PMALLOC_OK)
    return status;
  shared->record->shared = shared;
  return registry_add(&shared->pages, shared->record, NULL);
}

enum pmalloc_status pmalloc_shared_open(pmalloc_shared **out, int fd, unsigned flags) {
  pmalloc_shared *shared = calloc(1, sizeof *shared);
  if (!shared)
    return PMALLOC_ERR_NOMEM;
  enum pmalloc_status status = map(shared, fd, flags);
  if (status == PMALLOC_OK)
    status = read_directory(shared);
  if (status == PMALLOC_OK)
    status = make_known(shared);
  if (status != PMALLOC_OK) {
    int reason = errno;
    if (shared->pages.base)
      pages_unmap(&shared->pages);
    free(shared);
    errno = reason;
    return status;
  }
  if (flags & PMALLOC_SHARED_SEAL) {
    int kept = errno, begun;
    shared->sealed = pages_seal_all(the_one, &shared->pages, &begun) == PMALLOC_OK;
    errno = kept; /* an older kernel: what it shows can't change all the same */
  }
  *out = shared;
  return PMALLOC_OK;
}

enum pmalloc_status pmalloc_shared_close(pmalloc_shared *shared) {
  if (shared->sealed)
    return PMALLOC_ERR_SEALED;
  registry_bury(shared->record);
  enum pmalloc_status status = pages_retire(&shared->pages);
  if (status != PMALLOC_OK) {
    registry_revive(shared->record);
    return status;
  }
  free(shared);
  return PMALLOC_OK;
}

/* The entries are sorted where a pool wrote them. Where somebody else did, a search among them ends
 * as well. */
void share_find(const struct pmalloc_shared *shared, struct pmalloc_where *out) {
  size_t low = 0, high = shared->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const void *at;
    size_t size;
    if (pmalloc_shared_get(shared, middle, &at, &size) != PMALLOC_OK)
      return;
    if (out->offset_in_chunk < (size_t)((const char *)at - shared->pages.base)) {
      high = middle;
    } else {
      low = middle + 1;
      out->object_start = (uintptr_t)at;
      out->object_end = (uintptr_t)at + size;
    }
  }
}

const char *pmalloc_shared_name(const pmalloc_shared *shared) { return shared->name; }

size_t pmalloc_shared_count(const pmalloc_shared *shared) { return shared->count; }

size_t pmalloc_shared_bytes(const pmalloc_shared *shared) { return shared->file_size; }

int pmalloc_shared_is_sealed(const pmalloc_shared *shared) { return shared->sealed; }

uintptr_t pmalloc_shared_id(const pmalloc_shared *shared) { return shared->record->id; }

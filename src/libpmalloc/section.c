/* section: __ro_after_init and __wr_after_init data of loaded ELF objects.
 *
 *     object (program or library)                          libpmalloc
 *     +---------------------------+  constructor
 *     | .data                     |  -----------> section {id, path, kind}
 *     +===========================+ page                 |
 *     | pmalloc_ro_after_init     | <----------- pool "libfoo.so, __ro_after_init"
 *     +===========================+ page             one chunk, cold metadata with the names of
 *     | pmalloc_wr_after_init     | <--- another     the variables, a range in the registry
 *     +===========================+ page  pool
 *     | .bss                      |
 *     +---------------------------+
 *
 * A section is a pool whose only chunk lies in an object's memory. So all that knows pools knows
 * it: the handler and its policies, rare writes, bounds, the list that is read from outside. What
 * it is not: nobody allocates from it, it has no guard pages, and it is never sealed, because
 * dlclose() gives its memory back to the kernel, which a seal would forbid.
 *
 * Where anything else lies on its pages, protecting them would make that read-only too: such a
 * section is refused, and has no pool.
 *
 * dlclose(). The destructor of pmalloc_static.h runs after all others of the object, and makes the
 * section unknown. Its pages stay read-only until the loader unmaps them, which it may. At exit the
 * destructors run as well, but nothing is unmapped: then sections stay known to the end.
 *
 * Locks. Constructors and destructors run under the loader's lock, so whoever holds `lock` must not
 * call the loader.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "section.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hardened.h"
#include "pages.h"
#include "pool.h"
#include "pool_internal.h"
#include "section_symbols.h"

struct section {
  struct section *next;
  const struct pmalloc_object *object;
  uintptr_t id;
  unsigned long sequence;
  enum pmalloc_static_kind kind;
  uintptr_t start;
  size_t size;
  struct pages pages;         /* where it has a pool */
  pmalloc_pool *pool;         /* NULL: it is refused */
  enum pmalloc_status reason; /* why */
  char problem[1024];
  char path[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct section *oldest;
static unsigned long registered;
static atomic_int exiting;

static const char *const names[] = {"__ro_after_init", "__wr_after_init"};

/* ---- where it is ---- */

struct search {
  uintptr_t address;
  struct section_object *out;
};

static int covers(const ElfW(Phdr) * segment, uintptr_t bias, uintptr_t address) {
  return segment->p_type == PT_LOAD && address - (bias + segment->p_vaddr) < segment->p_memsz;
}

static int look_at(struct dl_phdr_info *info, size_t size, void *of) {
  const struct search *search = of;
  struct section_object *out = search->out;
  int found = 0;
  (void)size;
  for (size_t i = 0; i < info->dlpi_phnum; i++)
    found |= covers(&info->dlpi_phdr[i], info->dlpi_addr, search->address);
  if (!found || info->dlpi_phnum > sizeof out->segment / sizeof *out->segment)
    return found;
  out->bias = info->dlpi_addr;
  out->segments = info->dlpi_phnum;
  memcpy(out->segment, info->dlpi_phdr, out->segments * sizeof *out->segment);
  snprintf(out->path, sizeof out->path, "%s", info->dlpi_name);
  return 1;
}

/* The loader has no name for the program, and for others the one it was asked for. */
static void make_absolute(struct section_object *object) {
  char *whole = realpath(object->path[0] ? object->path : "/proc/self/exe", NULL);
  if (whole)
    snprintf(object->path, sizeof object->path, "%s", whole);
  free(whole);
}

static int find_object(struct section_object *out, const void *address) {
  struct search search = {(uintptr_t)address, out};
  memset(out, 0, sizeof *out);
  dl_iterate_phdr(look_at, &search);
  if (out->segments == 0)
    return 0;
  make_absolute(out);
  return 1;
}

/* Bytes of the object in [from, to). */
static size_t others(const struct section_object *object, uintptr_t from, uintptr_t to) {
  size_t sum = 0;
  for (size_t i = 0; i < object->segments; i++) {
    const ElfW(Phdr) *segment = &object->segment[i];
    uintptr_t start = object->bias + segment->p_vaddr, end = start + segment->p_memsz;
    uintptr_t low = start > from ? start : from, high = end < to ? end : to;
    if (segment->p_type == PT_LOAD && low < high)
      sum += high - low;
  }
  return sum;
}

/* Its pages, and what is wrong with them. */
static void judge(struct section *section, const struct section_object *object) {
  size_t page = pages_page_size();
  uintptr_t start = section->start, end = start + section->size;
  uintptr_t first = start & ~(page - 1), last = (end + page - 1) & ~(page - 1);
  size_t before = others(object, first, start), behind = others(object, end, last);
  section->pages = (struct pages){.base = (char *)first, .size = last - first};
  section->pages.outer = section->pages.base;
  section->pages.outer_size = section->pages.size;
  if (before + behind == 0)
    return;
  section->reason = PMALLOC_ERR_SHARED_PAGE;
  snprintf(section->problem, sizeof section->problem,
           "its %s data (%zu bytes at %#jx) share their first page with %zu bytes of other data "
           "and their last with %zu, which would become read-only too; link it with pmalloc's "
           "linker script: -Wl,-T,pmalloc.ld, or pmalloc.get_link_args()",
           names[section->kind], section->size, (uintmax_t)start, before, behind);
}

/* ---- its pool ---- */

static void name_of_pool(char name[PMALLOC_NAME_MAX + 1], const struct section *section) {
  const char *slash = strrchr(section->path, '/');
  snprintf(name, PMALLOC_NAME_MAX + 1, "%.200s, %s", slash ? slash + 1 : section->path,
           names[section->kind]);
}

static enum pmalloc_status fill(pmalloc_pool *pool, const struct section *section,
                                const struct section_object *object) {
  size_t bytes;
  struct cold_symbols *symbols =
      section_symbols(object, section->start, section->pages.size, &bytes);
  if (!symbols)
    return PMALLOC_ERR_NOMEM;
  pool_lock_to_map(pool);
  enum pmalloc_status status = hardened_enter(pool);
  if (status == PMALLOC_OK)
    status = chunk_adopt(pool, &section->pages, symbols, bytes);
  if (status == PMALLOC_OK) {
    pool->used_bytes = section->size;
    pool->allocations = symbols->count;
    hardened_leave(pool);
  }
  pthread_mutex_unlock(&pool->lock);
  free(symbols);
  return status;
}

static enum pmalloc_status make_pool(struct section *section, const struct section_object *object) {
  char name[PMALLOC_NAME_MAX + 1];
  const struct pmalloc_options options = {
      .mode = section->kind == PMALLOC_STATIC_WR ? PMALLOC_MODE_WR : PMALLOC_MODE_RO};
  name_of_pool(name, section);
  enum pmalloc_status status = pages_populate(&section->pages);
  if (status != PMALLOC_OK)
    return status;
  status = pmalloc_pool_create_with(&section->pool, name, &options);
  if (status != PMALLOC_OK)
    return status;
  status = fill(section->pool, section, object);
  if (status != PMALLOC_OK) {
    int reason = errno;
    pmalloc_pool_forget(section->pool);
    section->pool = NULL;
    errno = reason;
    return status;
  }
  section->id = pmalloc_pool_id(section->pool);
  return PMALLOC_OK;
}

/* ---- the list ---- */

static int is_empty(const struct pmalloc_object *object) {
  return object->ro == object->ro_end && object->wr == object->wr_end;
}

static int is_registered(const struct pmalloc_object *object) {
  for (const struct section *s = oldest; s; s = s->next)
    if (s->object == object)
      return 1;
  return 0;
}

static void forget(struct section *section, const struct section_events *events) {
  if (section->pool) {
    events->gone(section->id, section->path, events->of);
    pool_disown(section->pool);
  }
  free(section);
}

/* Takes those out that are an object's, or lie where one is now: what was there was unloaded
 * without a word. */
static void drop(const struct pmalloc_object *object, uintptr_t start, uintptr_t end,
                 const struct section_events *events) {
  for (struct section **at = &oldest; *at;) {
    struct section *section = *at;
    if (section->object == object ||
        (section->start < end && section->start + section->size > start)) {
      *at = section->next;
      forget(section, events);
    } else {
      at = &section->next;
    }
  }
}

static enum pmalloc_status add(const struct pmalloc_object *object, enum pmalloc_static_kind kind,
                               const void *start, const void *end,
                               const struct section_object *where,
                               const struct section_events *events) {
  if (!start || start == end)
    return PMALLOC_OK;
  if ((uintptr_t)end < (uintptr_t)start)
    return PMALLOC_ERR_INVALID;
  size_t length = strlen(where->path) + 1;
  struct section *section = calloc(1, sizeof *section + length), **last = &oldest;
  if (!section)
    return PMALLOC_ERR_NOMEM;
  section->object = object;
  section->kind = kind;
  section->start = (uintptr_t)start;
  section->size = (uintptr_t)end - (uintptr_t)start;
  memcpy(section->path, where->path, length);
  judge(section, where);
  enum pmalloc_status status = PMALLOC_OK;
  if (section->problem[0])
    section->id = pools_new_id();
  else
    status = make_pool(section, where);
  if (status != PMALLOC_OK) { /* who asks will be told: nobody looks at what constructors say */
    section->id = pools_new_id();
    section->reason = status;
    snprintf(section->problem, sizeof section->problem,
             "its %s data could not be made known when it was loaded: %s", names[kind],
             pmalloc_status_text(status));
  }
  section->sequence = ++registered;
  while (*last)
    last = &(*last)->next;
  *last = section;
  if (section->pool)
    events->made(section->id, section->path, events->of);
  return status;
}

static void at_exit(void) { atomic_store(&exiting, 1); }

enum pmalloc_status section_register(const struct pmalloc_object *object,
                                     const struct section_events *events) {
  struct section_object where;
  static int told;
  if (!object || object->size < sizeof *object)
    return PMALLOC_ERR_INVALID;
  if (is_empty(object))
    return PMALLOC_OK;
  if (!find_object(&where, object->ro != object->ro_end ? object->ro : object->wr))
    return PMALLOC_ERR_INVALID;
  pthread_mutex_lock(&lock);
  enum pmalloc_status ro = PMALLOC_OK, wr = PMALLOC_OK;
  if (!is_registered(object)) {
    if (!told)
      told = atexit(at_exit) == 0;
    drop(NULL, (uintptr_t)object->ro, (uintptr_t)object->ro_end, events);
    drop(NULL, (uintptr_t)object->wr, (uintptr_t)object->wr_end, events);
    ro = add(object, PMALLOC_STATIC_RO, object->ro, object->ro_end, &where, events);
    wr = add(object, PMALLOC_STATIC_WR, object->wr, object->wr_end, &where, events);
  }
  pthread_mutex_unlock(&lock);
  return ro != PMALLOC_OK ? ro : wr;
}

void section_unregister(const struct pmalloc_object *object, const struct section_events *events) {
  if (!object || atomic_load(&exiting))
    return;
  pthread_mutex_lock(&lock);
  drop(object, 0, 0, events);
  pthread_mutex_unlock(&lock);
}

/* ---- what is known ---- */

static const struct section *after(unsigned long id) {
  const struct section *s = oldest;
  while (s && s->id <= id)
    s = s->next;
  return s;
}

static enum pmalloc_static_state state_of(const struct section *section) {
  if (!section->pool)
    return PMALLOC_STATIC_REFUSED;
  return pmalloc_pool_state(section->pool) == PMALLOC_PROTECTED ? PMALLOC_STATIC_PROTECTED
                                                                : PMALLOC_STATIC_OPEN;
}

int section_next(unsigned long id, struct pmalloc_static_data *out) {
  pthread_mutex_lock(&lock);
  const struct section *s = out->size >= sizeof *out ? after(id) : NULL;
  if (s) {
    out->size = sizeof *out;
    out->id = s->id;
    out->sequence = s->sequence;
    out->kind = s->kind;
    out->state = state_of(s);
    out->address = (const void *)s->start;
    out->bytes = s->size;
    snprintf(out->path, sizeof out->path, "%s", s->path);
    snprintf(out->problem, sizeof out->problem, "%s", s->problem);
  }
  pthread_mutex_unlock(&lock);
  return s != NULL;
}

/* ---- protect ---- */

static enum pmalloc_status protect(const struct section *section) {
  return section->pool ? pmalloc_pool_protect(section->pool) : section->reason;
}

enum pmalloc_status section_protect(unsigned long id) {
  pthread_mutex_lock(&lock);
  const struct section *s = id > 0 ? after(id - 1) : NULL;
  enum pmalloc_status status = s && s->id == id ? protect(s) : PMALLOC_ERR_INVALID;
  int reason = errno;
  pthread_mutex_unlock(&lock);
  errno = reason;
  return status;
}

enum pmalloc_status section_protect_all(const struct pmalloc_object *object, section_event done,
                                        void *of) {
  enum pmalloc_status first = PMALLOC_OK;
  int reason = 0;
  pthread_mutex_lock(&lock);
  int known = !object || is_empty(object) || is_registered(object);
  for (const struct section *s = oldest; s; s = s->next) {
    if ((object && s->object != object) || state_of(s) == PMALLOC_STATIC_PROTECTED)
      continue;
    enum pmalloc_status status = protect(s);
    if (status == PMALLOC_OK) {
      done(s->id, s->path, of);
    } else if (first == PMALLOC_OK) {
      first = status;
      reason = errno;
    }
  }
  pthread_mutex_unlock(&lock);
  errno = reason;
  return known ? first : PMALLOC_ERR_INVALID;
}

/* ---- fork() ---- */

void section_before_fork(void) { pthread_mutex_lock(&lock); }

void section_after_fork(int in_child) {
  if (in_child)
    pthread_mutex_init(&lock, NULL);
  else
    pthread_mutex_unlock(&lock);
}

/* api: the functions of pmalloc.h, over the rooms of libpmalloc.
 *
 *      C or C++ program       C extension       Python
 *             |                    |               |
 *          pmalloc.h           pmalloc.h         _core
 *             |                    |               |
 *         ====+====================+===============+==== libpmalloc.so.0
 *           api  -->  pool, alloc, registry, fault
 *
 * There is one registry of addresses, and one handler of SIGSEGV, for all who share a process.
 * That is why the library is a shared one, and _core links to it like everybody else: an extension
 * that asks for libpmalloc.so.0 is given the one that _core has loaded, since the loader knows
 * libraries by that name. Two copies, one of them linked in statically, would be two registries:
 * is_pmalloc_object() of one would not know the pools of the other.
 *
 * What it costs: calls into the library go through a table of addresses that is filled in when the
 * library is loaded, and read-only then (-z relro -z now). Measured against a static library:
 * pmalloc(64) takes 13.0 instead of 12.4 ns, is_pmalloc_object() 8.1 instead of 6.9 ns.
 *
 * What is exported is listed in public.symbols and, for _core alone, under a version of its own
 * that no other release has (pmalloc.map.in).
 *
 * Here arguments are judged that a C caller may get wrong; the rooms below trust theirs.
 *
 * SPDX-License-Identifier: MIT
 */
#include "api.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fault.h"
#include "fault_origin.h"
#include "fault_symbol.h"
#include "pool.h"
#include "rare_write.h"
#include "registry.h"
#include "status.h"

/* ---- what calls answer ---- */

const char *pmalloc_strerror(enum pmalloc_status status) { return pmalloc_status_text(status); }

unsigned pmalloc_version(void) { return PMALLOC_VERSION; }

static void *fail(enum pmalloc_status status) {
  int number = pmalloc_status_errno(status);
  if (number != 0)
    errno = number;
  return NULL;
}

/* Whether it is a pool that may be locked. */
static enum pmalloc_status usable(const struct pmalloc_pool *pool) {
  return !pmalloc_pool_is(pool)     ? PMALLOC_ERR_INVALID
         : pmalloc_rare_is_inside() ? PMALLOC_ERR_NESTED
                                    : PMALLOC_OK;
}

/* ---- the life of a pool ---- */

/* The caller's options, whatever the length of his struct: what he does not know of is zero, and
 * what we do not know of must be. */
static enum pmalloc_status read_options(struct pmalloc_pool_options *out,
                                        const struct pmalloc_pool_options *given) {
  memset(out, 0, sizeof *out);
  if (!given)
    return PMALLOC_OK;
  size_t size = given->size;
  if (size < sizeof size || size > 4096)
    return PMALLOC_ERR_INVALID;
  const unsigned char *bytes = (const unsigned char *)given;
  for (size_t i = sizeof *out; i < size; i++) {
    if (bytes[i] != 0)
      return PMALLOC_ERR_INVALID;
  }
  memcpy(out, given, size < sizeof *out ? size : sizeof *out);
  return PMALLOC_OK;
}

/* For the report: who did it, as it names an instruction, and when. */
void api_note(uintptr_t pool_id, enum pmalloc_event event, uintptr_t caller) {
  struct pmalloc_symbol symbol = {0};
  struct timespec now;
  char text[PMALLOC_ORIGIN_FILE];
  int length;
  if (!pmalloc_symbol_find(caller - 1, &symbol) || !symbol.module[0])
    length = snprintf(text, sizeof text, "%#jx", (uintmax_t)caller);
  else
    length = snprintf(text, sizeof text, "%s+%#jx", symbol.module, (uintmax_t)symbol.offset + 1);
  if (length > 0 && (size_t)length < sizeof text && symbol.module[0] && symbol.name[0])
    snprintf(text + length, sizeof text - (size_t)length, " (%s+%#jx)", symbol.name,
             (uintmax_t)symbol.name_offset + 1);
  if (clock_gettime(CLOCK_REALTIME, &now) == 0)
    pmalloc_origin_note(pool_id, event, text, 0, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
}

static void note(const pmalloc_pool *pool, enum pmalloc_event event, uintptr_t caller) {
  api_note(pmalloc_pool_id(pool), event, caller);
}

struct pmalloc_pool *pmalloc_create_pool(const char *name,
                                         const struct pmalloc_pool_options *options) {
  struct pmalloc_pool_options wanted;
  pmalloc_pool *pool = NULL;
  enum pmalloc_status status =
      pmalloc_rare_is_inside() ? PMALLOC_ERR_NESTED : read_options(&wanted, options);
  if (status == PMALLOC_OK) {
    const struct pmalloc_options inner = {.chunk_size = wanted.chunk_size,
                                          .backing = wanted.backing,
                                          .flags = wanted.flags,
                                          .policy = wanted.on_violation,
                                          .mode = wanted.mode};
    status = pmalloc_pool_create_with(&pool, name, &inner);
  }
  if (status == PMALLOC_OK) {
    status = pmalloc_fault_install(NULL); /* guard pages are there to be hit before protect, too */
    if (status != PMALLOC_OK)
      pmalloc_pool_forget(pool);
    else
      note(pool, PMALLOC_WAS_CREATED, CALLER);
  }
  return status == PMALLOC_OK ? pool : fail(status);
}

struct pmalloc_pool *pmalloc_global_pool(void) {
  pmalloc_pool *pool = NULL;
  enum pmalloc_status status =
      pmalloc_rare_is_inside() ? PMALLOC_ERR_NESTED : pmalloc_pool_global(&pool);
  if (status == PMALLOC_OK)
    status = pmalloc_fault_install(NULL);
  struct pmalloc_origin known;
  if (status == PMALLOC_OK &&
      !pmalloc_origin_find(pmalloc_pool_id(pool), PMALLOC_WAS_CREATED, &known))
    note(pool, PMALLOC_WAS_CREATED, CALLER);
  return status == PMALLOC_OK ? pool : fail(status);
}

enum pmalloc_status pmalloc_prealloc(struct pmalloc_pool *pool, size_t bytes) {
  enum pmalloc_status status = usable(pool);
  return status == PMALLOC_OK ? pmalloc_pool_prealloc(pool, bytes) : status;
}

enum pmalloc_status api_protect_as(struct pmalloc_pool *pool, enum pmalloc_tier tier,
                                   uintptr_t caller) {
  enum pmalloc_status status = usable(pool);
  if (status == PMALLOC_OK)
    status = pmalloc_fault_install(NULL);
  if (status == PMALLOC_OK)
    status = pmalloc_pool_protect_as(pool, tier);
  if (status == PMALLOC_OK)
    note(pool, PMALLOC_WAS_PROTECTED, caller);
  return status;
}

enum pmalloc_status pmalloc_protect_pool(struct pmalloc_pool *pool) {
  return api_protect_as(pool, PMALLOC_PLAIN, CALLER);
}

enum pmalloc_status pmalloc_seal_pool(struct pmalloc_pool *pool, enum pmalloc_tier tier) {
  return tier == PMALLOC_PLAIN ? PMALLOC_ERR_INVALID : api_protect_as(pool, tier, CALLER);
}

/* Keeps the handle of a pool that has ended, for those who come late. */
static enum pmalloc_status ended(struct pmalloc_pool *pool, enum pmalloc_status status) {
  if (status == PMALLOC_OK) {
    pmalloc_origin_expire(pmalloc_pool_id(pool));
    pmalloc_pool_entomb(pool);
  }
  return status;
}

enum pmalloc_status pmalloc_destroy_pool(struct pmalloc_pool *pool) {
  enum pmalloc_status status = usable(pool);
  return status == PMALLOC_OK ? ended(pool, pmalloc_pool_destroy(pool)) : status;
}

enum pmalloc_status pmalloc_destroy_damaged_pool(struct pmalloc_pool *pool) {
  enum pmalloc_status status = usable(pool);
  return status == PMALLOC_OK ? ended(pool, pmalloc_pool_destroy_damaged(pool)) : status;
}

enum pmalloc_status pmalloc_check_pool(struct pmalloc_pool *pool,
                                       struct pmalloc_corruption *found) {
  if (found)
    memset(found, 0, sizeof *found);
  enum pmalloc_status status = usable(pool);
  if (status == PMALLOC_OK)
    status = pmalloc_pool_check(pool);
  if (status == PMALLOC_ERR_CORRUPT && found)
    (void)pmalloc_pool_corruption(pool, found);
  return status;
}

/* ---- allocations ---- */

static void *take(struct pmalloc_pool *pool, size_t size, size_t alignment) {
  void *taken = NULL;
  enum pmalloc_status status = usable(pool);
  if (status == PMALLOC_OK)
    status = pmalloc_pool_alloc(pool, size, alignment, &taken);
  return status == PMALLOC_OK ? taken : fail(status);
}

static void *take_array(struct pmalloc_pool *pool, size_t n, size_t size) {
  void *taken = NULL;
  enum pmalloc_status status = usable(pool);
  if (status == PMALLOC_OK)
    status = pmalloc_pool_array(pool, n, size, &taken);
  return status == PMALLOC_OK ? taken : fail(status);
}

void *pmalloc(struct pmalloc_pool *pool, size_t size) { return take(pool, size, PMALLOC_GRANULE); }

void *pzalloc(struct pmalloc_pool *pool, size_t size) { return take(pool, size, PMALLOC_GRANULE); }

void *pmalloc_array(struct pmalloc_pool *pool, size_t n, size_t size) {
  return take_array(pool, n, size);
}

void *pcalloc(struct pmalloc_pool *pool, size_t n, size_t size) {
  return take_array(pool, n, size);
}

void *pmalloc_aligned(struct pmalloc_pool *pool, size_t alignment, size_t size) {
  return alignment != 0 ? take(pool, size, alignment) : fail(PMALLOC_ERR_INVALID);
}

/* Bytes from the address to the end of its allocation; SIZE_MAX where no pool knows, 0 where it may
 * not be read at all. */
static size_t bytes_left(uintptr_t address) {
  struct pmalloc_where where;
  if (!pmalloc_registry_find(address, &where))
    return SIZE_MAX;
  if (where.place != PMALLOC_DATA || where.object_start == 0 || address >= where.object_end)
    return 0;
  return where.object_end - address;
}

char *pstrdup(struct pmalloc_pool *pool, const char *text) {
  if (!text)
    return fail(PMALLOC_ERR_INVALID);
  size_t left = bytes_left((uintptr_t)text);
  size_t length = left == SIZE_MAX ? strlen(text) : strnlen(text, left);
  if (length == left)
    return fail(PMALLOC_ERR_FOREIGN); /* the string runs on past its allocation */
  char *copy = take(pool, length + 1, PMALLOC_GRANULE);
  if (copy)
    memcpy(copy, text, length); /* the NUL is there: bytes are zero */
  return copy;
}

enum pmalloc_status pfree(struct pmalloc_pool *pool, const void *allocation) {
  enum pmalloc_status status = usable(pool);
  if (status != PMALLOC_OK || !allocation)
    return status;
  return pmalloc_pool_free(pool, (void *)(uintptr_t)allocation);
}

/* ---- questions about an address ---- */

int is_pmalloc_object(const void *address) { return pmalloc_registry_owns((uintptr_t)address); }

int pmalloc_is_protected(const void *address) {
  struct pmalloc_where where;
  return pmalloc_registry_find((uintptr_t)address, &where) && where.place == PMALLOC_DATA &&
         pmalloc_registry_is_kept(&where);
}

const char *pmalloc_name_of(const void *address) {
  struct pmalloc_where where;
  return pmalloc_registry_find((uintptr_t)address, &where) ? where.pool_name : NULL;
}

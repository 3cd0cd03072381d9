/* api_static: the functions of pmalloc_static.h, over section.
 *
 * Who is noted for the report is found by asking the loader, so that is done when no lock is held.
 *
 * SPDX-License-Identifier: MIT
 */
#include "api.h"

#include <errno.h>
#include <time.h>

#include "fault.h"
#include "fault_refusal.h"
#include "pages.h"
#include "pool.h"
#include "rare_write.h"
#include "section.h"

/* ---- comes and goes ---- */

static void note_loaded(uintptr_t pool_id, const char *path, void *unused) {
  struct timespec now;
  (void)unused;
  if (clock_gettime(CLOCK_REALTIME, &now) == 0)
    pmalloc_origin_note(pool_id, PMALLOC_WAS_CREATED, path, 0,
                        (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
}

static void note_unloaded(uintptr_t pool_id, const char *path, void *unused) {
  (void)path;
  (void)unused;
  pmalloc_origin_expire(pool_id);
}

enum pmalloc_status pmalloc_register_object(const struct pmalloc_object *object) {
  static const struct section_events events = {note_loaded, note_unloaded, NULL};
  enum pmalloc_status status = section_register(object, &events);
  if (!pages_are_off()) /* a rare write may be refused before there is anything to protect */
    pmalloc_rare_on_refusal(pmalloc_refusal_report);
  return status;
}

void pmalloc_unregister_object(const struct pmalloc_object *object) {
  static const struct section_events events = {note_loaded, note_unloaded, NULL};
  section_unregister(object, &events);
}

int pmalloc_next_static_data(unsigned long after, struct pmalloc_static_data *out) {
  return section_next(after, out);
}

/* ---- is protected ---- */

/* What pmalloc_protect_pool() does first. */
static enum pmalloc_status get_ready(void) {
  return pmalloc_rare_is_inside() ? PMALLOC_ERR_NESTED : pmalloc_fault_install(NULL);
}

#define NOTED 64 /* of those that one call protects */

struct noted {
  uintptr_t id[NOTED];
  size_t count;
};

static void remember(uintptr_t pool_id, const char *path, void *of) {
  struct noted *noted = of;
  (void)path;
  if (noted->count < NOTED)
    noted->id[noted->count++] = pool_id;
}

static enum pmalloc_status protect_sections(const struct pmalloc_object *object, uintptr_t caller) {
  struct noted noted = {.count = 0};
  enum pmalloc_status status = get_ready();
  if (status != PMALLOC_OK)
    return status;
  status = section_protect_all(object, remember, &noted);
  int reason = errno;
  for (size_t i = 0; i < noted.count; i++)
    api_note(noted.id[i], PMALLOC_WAS_PROTECTED, caller);
  errno = reason;
  return status;
}

enum pmalloc_status pmalloc_protect_static_data(unsigned long id) {
  enum pmalloc_status status = get_ready();
  return status == PMALLOC_OK ? section_protect(id) : status;
}

enum pmalloc_status pmalloc_protect_object(const struct pmalloc_object *object) {
  return object ? protect_sections(object, CALLER) : PMALLOC_ERR_INVALID;
}

enum pmalloc_status pmalloc_mark_rodata_ro(void) {
  enum pmalloc_status first = protect_sections(NULL, CALLER), status = PMALLOC_OK;
  int reason = errno;
  if (first == PMALLOC_ERR_NESTED)
    return first;
  pmalloc_pool *global = pool_global_now();
  if (global && pmalloc_pool_state(global) == PMALLOC_OPEN)
    status = api_protect_as(global, PMALLOC_PLAIN, CALLER);
  if (status == PMALLOC_ERR_PROTECTED || status == PMALLOC_ERR_DESTROYED)
    status = PMALLOC_OK; /* somebody else was quicker */
  if (first == PMALLOC_OK)
    return status;
  errno = reason;
  return first;
}

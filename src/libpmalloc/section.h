/* section: __ro_after_init and __wr_after_init data of loaded ELF objects.
 *
 * What the functions of pmalloc_static.h do, but for what is above this room: the handler, and who
 * is noted for reports.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_SECTION_H
#define PMALLOC_SECTION_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* Something became of a section that has a pool; the object's path. Not to call the loader. */
typedef void (*section_event)(uintptr_t pool_id, const char *path, void *of);

struct section_events {
  section_event made, gone;
  void *of;
};

/* Makes an object's sections known, once; `events` are told of those that were made or, where it
 * lies where another one lay, gone. */
enum pmalloc_status section_register(const struct pmalloc_object *object,
                                     const struct section_events *events);

/* Makes them unknown, and leaves their pages as they are. At exit nothing is done. */
void section_unregister(const struct pmalloc_object *object, const struct section_events *events);

/* The next one after that with the id `after`: 1, or 0. */
int section_next(unsigned long after, struct pmalloc_static_data *out);

/* Protects one that is open. */
enum pmalloc_status section_protect(unsigned long id);

/* Protects the sections of an object, NULL: of all, that are not protected yet. The first reason
 * why one could not be. PMALLOC_ERR_INVALID where the object is not known. */
enum pmalloc_status section_protect_all(const struct pmalloc_object *object, section_event done,
                                        void *of);

/* Around fork(), before all other locks. */
void section_before_fork(void);
void section_after_fork(int in_child);

#endif

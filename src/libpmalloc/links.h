/* links: a pointer in writable memory, with a word that says it is ours.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_LINKS_H
#define PMALLOC_LINKS_H

#include <stdint.h>

#include "secret.h"

struct link {
  void *to;
  uint64_t check; /* keyed digest of where the link is and where it leads; 0: none */
};

/* The word that belongs to a link as it is. */
static inline uint64_t link_word(const struct link *link) {
  const uintptr_t said[2] = {(uintptr_t)link, (uintptr_t)link->to};
  return secret_digest(said, sizeof said);
}

/* Points the link; with `keyed` so that it can be checked. */
static inline void link_set(struct link *link, void *to, int keyed) {
  link->to = to;
  link->check = keyed ? link_word(link) : 0;
}

/* Whether it leads where link_set(..., 1) pointed it. */
static inline int link_is_sound(const struct link *link) { return link->check == link_word(link); }

#endif

/* section_symbols: the names of variables, out of an object's file.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_SECTION_SYMBOLS_H
#define PMALLOC_SECTION_SYMBOLS_H

#include <link.h>
#include <stddef.h>
#include <stdint.h>

#include "cold.h"

/* Where an object is loaded, and from where. */
struct section_object {
  char path[4096];
  uintptr_t bias; /* what is added to its own addresses */
  size_t segments;
  ElfW(Phdr) segment[32];
};

/* The variables that lie in [start, start + size), as a table of *bytes bytes that the caller
 * frees; empty and not complete where the file has no names, or is not the one that was loaded.
 * NULL where there is no memory. */
struct cold_symbols *section_symbols(const struct section_object *object, uintptr_t start,
                                     size_t size, size_t *bytes);

#endif

/* section_find: which variable of a section lies at an address.
 *
 *     |  table (64)   | limits (24) |.pad.| mode (4) |.............. pad ..............|
 *          ^ inside: its bounds        ^ in none: nobody's, where all names are known; else
 *                                        one thing without a name, up to the next one
 *
 * The table is part of the metadata that is protected with the section. What it says is held to the
 * section's bounds all the same: before the protection anybody may have written it.
 *
 * ASYNC-SIGNAL-SAFE.
 *
 * SPDX-License-Identifier: MIT
 */
#include "registry_internal.h"

void section_find(const struct cold_chunk *chunk, struct pmalloc_where *out) {
  const struct cold_symbols *symbols = chunk->symbols;
  size_t room = (chunk->symbols_bytes - sizeof *symbols) / sizeof *symbols->of;
  size_t at = out->offset_in_chunk, low = 0, high = symbols->count < room ? symbols->count : room;
  size_t from = 0, to = out->chunk_end - out->chunk_start;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (symbols->of[middle].offset > at) {
      to = symbols->of[middle].offset;
      high = middle;
    } else {
      from = (size_t)symbols->of[middle].offset + symbols->of[middle].size;
      low = middle + 1;
    }
  }
  if (low > 0 && at < from) {
    const struct cold_symbol *symbol = &symbols->of[low - 1];
    out->object_start = out->chunk_start + symbol->offset;
    out->object_end = out->chunk_start + from;
    if (symbol->name < chunk->symbols_bytes)
      out->symbol = (const char *)symbols + symbol->name;
  } else if (!symbols->complete) {
    out->object_start = out->chunk_start + from;
    out->object_end = out->chunk_start + to;
  }
}

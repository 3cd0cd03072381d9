/* fault_writer: text from inside the handler, for people or as JSON.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_WRITER_H
#define PMALLOC_FAULT_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"

/* Collects text on the stack and hands it to write(2) when full or flushed. */
struct pmalloc_writer {
  int fd;
  int failed;               /* errno of the first write that failed; what follows is dropped */
  int quoting;              /* what is written lies between the quotes of a JSON string */
  unsigned char partial[3]; /* there, a character of which more may come; in the next call */
  size_t partial_used;
  char *copy; /* of all that is written, with a NUL, as far as there is room; or NULL */
  size_t copy_used, copy_room;
  size_t used;
  char text[512];
};

void pmalloc_writer_start(struct pmalloc_writer *w); /* to stderr */
void pmalloc_writer_start_fd(struct pmalloc_writer *w, int fd);
void pmalloc_writer_keep(struct pmalloc_writer *w, char *copy, size_t room);
void pmalloc_writer_flush(struct pmalloc_writer *w);

/* Between these two, whatever is written becomes a JSON string, its quotes included. */
void pmalloc_write_quote(struct pmalloc_writer *w);
void pmalloc_write_unquote(struct pmalloc_writer *w);

/* Bytes of the character that the text begins with, if it is one that a terminal obeys instead of
 * showing it: a C1 control, or a mark for the direction of writing, which could make a line read
 * otherwise than it stands there. Else 0. */
size_t pmalloc_unseen(const char *text);

/* Text from elsewhere, up to its NUL: control characters, such marks, and what is not UTF-8 come
 * out as \xNN. In a JSON string the first are \u00NN, as JSON has them, and marks stay what they
 * are. */
void pmalloc_write_escaped(struct pmalloc_writer *w, const char *text);
/* The same of at most `n` bytes that may be unreadable; nothing where the first of them is. */
void pmalloc_write_peeked(struct pmalloc_writer *w, uintptr_t text, size_t n);
/* Two digits a byte, with `between` them unless it is NULL. */
void pmalloc_write_bytes(struct pmalloc_writer *w, const unsigned char *bytes, size_t n,
                         const char *between);
/* Nanoseconds since 1970, as 2026-11-21T20:50:33.123456Z; without fraction for people. */
void pmalloc_write_time(struct pmalloc_writer *w, int64_t ns, int for_people);

#endif

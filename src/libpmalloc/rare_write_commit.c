/* rare_write_commit: stores what was edited in a copy.
 *
 *     base   |aaaa....bbbbbbbb........|........cccc....|   as it was copied out
 *     edit   |aaXa....bbbYYYbb........|........cccc....|   as it was edited
 *                |       |
 *     words  |########........########|................|   one pwrite for the page's
 *            first changed ...... last                     none for this page
 *
 * A rare write costs the same for 8 bytes as for a page, so what changed in a page
 * goes in one: from the first word that changed to the last, and on into the next
 * page where that changed, too. What lies in between is written as it is: where
 * another rare write was there since the copy was made, from the memory, else from
 * the edit, which is the same. Nobody can come in between: the pool's lock is held.
 *
 * Words are stored whole where they lie aligned, so that a reader who looks at one
 * sees it before or after.
 *
 * SPDX-License-Identifier: MIT
 */
#include <string.h>

#include "pages.h"
#include "rare_write_internal.h"

#define WORD sizeof(uint64_t)
#define PIECE 4096 /* bytes that are merged on the stack */

struct commit {
  const struct rare_target *target;
  uintptr_t to;
  const char *base, *edit;
  size_t n;
  size_t stored;   /* bytes, those that went with them among them */
  size_t *changed; /* bytes that differed, where somebody asks */
};

#define LINE 32 /* bytes that are passed over in one step */

/* Whether a line of the copies is the same; quicker here than a call for it. */
static int same_line(const struct commit *c, size_t at) {
  uint64_t a[LINE / WORD], b[LINE / WORD];
  memcpy(a, c->base + at, LINE);
  memcpy(b, c->edit + at, LINE);
  return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) == 0;
}

/* The first byte in [at, end) that differs, looked for a word at a time: there is one. */
static size_t first_of(const struct commit *c, size_t at, size_t end) {
  while (end - at >= LINE && same_line(c, at))
    at += LINE;
  while (end - at >= WORD && memcmp(c->base + at, c->edit + at, WORD) == 0)
    at += WORD;
  while (c->base[at] == c->edit[at])
    at++;
  return at;
}

/* Behind the last. */
static size_t last_of(const struct commit *c, size_t at, size_t end) {
  while (end - at >= LINE && same_line(c, end - LINE))
    end -= LINE;
  while (end - at >= WORD && memcmp(c->base + end - WORD, c->edit + end - WORD, WORD) == 0)
    end -= WORD;
  while (c->base[end - 1] == c->edit[end - 1])
    end--;
  return end;
}

/* To whole words of the target, as far as it reaches. */
static void widen(const struct commit *c, size_t *first, size_t *last) {
  size_t before = (c->to + *first) % WORD, behind = (WORD - (c->to + *last) % WORD) % WORD;
  *first -= before < *first ? before : *first;
  *last += behind < c->n - *last ? behind : c->n - *last;
}

/* What was changed by others meanwhile stays, byte by byte. */
static enum pmalloc_status store_merged(const struct commit *c, size_t first, size_t last) {
  enum pmalloc_status status = PMALLOC_OK;
  char merged[PIECE];
  while (status == PMALLOC_OK && first < last) {
    size_t n = last - first < PIECE ? last - first : PIECE;
    memcpy(merged, (const char *)c->to + first, n);
    for (size_t i = 0; i < n; i++) {
      if (c->base[first + i] != c->edit[first + i])
        merged[i] = c->edit[first + i];
    }
    status = rare_store(c->target, c->to + first, merged, n);
    first += n;
  }
  return status;
}

/* The pieces from `at` to `end` differ, each of them. */
static enum pmalloc_status store(struct commit *c, size_t at, size_t end) {
  /* Several pages go from the first one's beginning: the kernel takes 4 KiB at a time from where a
   * write begins, and a piece that lies in two pages takes twice as long. */
  size_t first = end - at > pages_page_size() ? at : first_of(c, at, end);
  size_t last = last_of(c, first, end);
  widen(c, &first, &last);
  const int merge = memcmp((const char *)c->to + first, c->base + first, last - first) != 0;
  enum pmalloc_status status =
      merge ? store_merged(c, first, last)
            : rare_store(c->target, c->to + first, c->edit + first, last - first);
  if (status != PMALLOC_OK)
    return status;
  c->stored += last - first;
  for (size_t i = first; c->changed && i < last; i++)
    *c->changed += c->base[i] != c->edit[i];
  return status;
}

static enum pmalloc_status store_all(struct commit *c) {
  enum pmalloc_status status = PMALLOC_OK;
  size_t page = pages_page_size(), from = 0, waits = 0; /* that many bytes, from there on */
  for (size_t at = 0, end; status == PMALLOC_OK && at < c->n; at = end) {
    end = at + page - (c->to + at) % page;
    if (end > c->n)
      end = c->n;
    if (memcmp(c->base + at, c->edit + at, end - at) != 0) {
      from = waits > 0 ? from : at;
      waits += end - at;
    } else if (waits > 0) {
      status = store(c, from, from + waits);
      waits = 0;
    }
  }
  return status == PMALLOC_OK && waits > 0 ? store(c, from, from + waits) : status;
}

enum pmalloc_status pmalloc_rare_commit(const void *to, const void *base, const void *edit,
                                        size_t n, size_t *changed,
                                        struct pmalloc_refusal *refusal) {
  struct rare_target t;
  enum pmalloc_status status = rare_enter(&t, to, n, refusal);
  if (status != PMALLOC_OK)
    return status;
  struct commit c = {
      .target = &t, .to = (uintptr_t)to, .base = base, .edit = edit, .n = n, .changed = changed};
  if (changed)
    *changed = 0;
  status = store_all(&c);
  if (c.stored > 0)
    rare_count(&t, c.stored);
  rare_leave(&t);
  if (status != PMALLOC_OK)
    refusal->status = status;
  return status;
}

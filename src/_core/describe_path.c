/* describe_path: the way from a pool's root to an object that was hit.
 *
 * Frozen objects lie breadth-first: whoever was met first lies first. So of all words that refer to
 * an object the first one lies in the object by which it was discovered, and that lies in front of
 * it. The way up needs no set of what was seen: from the object to its holder, from there to the
 * holder's holder, each step one look through the memory in front.
 *
 *     root                     list                    dict             str
 *     | 'roles': o---+ ...     | ... o---+ ...         | 'a': o---+ ..  | text |
 *                    +------->           +----------->            +---->  X
 *      <--- 3rd look ----      <---- 2nd look ----      <- 1st look -
 *
 * Each look stops at the first word that is the object's address and, asked where in its object it
 * is (describe_step), a reference. What is not so simple:
 *
 *   - An object that was frozen alone, before another into the same pool, has nothing in front that
 *     refers to it. It may be part of what was frozen later: those words lie behind it, or in
 *     another chunk. The root's own graph, which is the last, is asked first. A word behind may be
 *     in what hangs below the object itself; then the way up comes back to it, and other chunks are
 *     asked. Nobody at all: the path begins there, and says so.
 *   - A str that was met as a key of a dict with a shared table, and has a place of its own for the
 *     sake of a later dict, lies in front of that. It holds nothing, so that is the same case.
 *   - A dict or list that was born in the pool (born.h) lies in front of all that was frozen when
 * its phase ended; its items are in its body, which nobody refers to, and which says whose it is.
 *   - The __dict__ of an instance lies behind its values, and there may be no word that leads to
 * it.
 *
 * ASYNC-SIGNAL-SAFE, and reads what an attacker may just have written: the chunks' bounds are the
 * registry's, memory is copied by pages_peek() in blocks, LEVELS and BUDGET end whatever would not
 * end by itself. The memory it works in is one for the process, for it is too much for the stack of
 * a signal handler; a thread that finds it taken does without.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "describe.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LEVELS 1000
/* Bytes that are looked through before one gives up: some seconds. */
#define BUDGET ((uint64_t)16 << 30)
/* What it costs, in bytes, to look closer at one word. Memory full of such words must end, too. */
#define CLOSER ((uint64_t)1 << 20)
/* A longer path is shown by its two ends; as in freeze_path.c. */
#define SHOWN 16

#define WORD sizeof(uintptr_t)
#define BLOCK ((size_t)64 << 10)
#define PAGE ((size_t)4096) /* the smallest that can be missing */

struct reference {
  uintptr_t holder;
  uintptr_t word; /* 0: it is the holder's __dict__ */
};

struct pm_search {
  struct reference steps[LEVELS]; /* from the object upwards */
  size_t used;
  uint64_t budget;
  uintptr_t object, object_end; /* the last that was asked about */
  uintptr_t block[BLOCK / WORD];
};

const size_t pm_search_bytes = sizeof(struct pm_search);

/* ---- one look ------------------------------------------------------------------- */

/* The object that a word belongs to: the one that starts last in front of it, but for the word in
 * front of an instance. */
static uintptr_t holder_of(struct pm_search *s, uintptr_t word) {
  struct pmalloc_where where;
  uintptr_t behind = word + pm_dict_word_before();
  if (pmalloc_registry_is_start(behind) && pm_has_dict_word(behind))
    return behind;
  if (word >= s->object && word < s->object_end)
    return s->object;
  if (!pmalloc_registry_find(word, &where) || where.place != PMALLOC_DATA)
    return 0;
  s->object_end = where.object_end;
  return s->object = where.object_start;
}

static int is_reference(struct pm_search *s, uintptr_t word, struct reference *out) {
  s->budget = s->budget > CLOSER ? s->budget - CLOSER : 0;
  *out = (struct reference){holder_of(s, word), word};
  return out->holder != 0 && pm_step_text(NULL, out->holder, word);
}

/* The n words that were copied from `from`. */
static int look_at_block(struct pm_search *s, uintptr_t from, size_t n, uintptr_t target, int last,
                         struct reference *out) {
  enum { STRIDE = 16 };
  for (size_t done = 0; done < n && s->budget > 0; done += STRIDE) {
    size_t many = n - done < STRIDE ? n - done : STRIDE;
    size_t first = last ? n - done - many : done;
    uintptr_t found = 0;
    if (many == STRIDE)
      for (size_t i = 0; i < STRIDE; i++)
        found |= s->block[first + i] == target;
    if (many == STRIDE && !found)
      continue;
    for (size_t k = 0; k < many; k++) {
      size_t i = first + (last ? many - 1 - k : k);
      if (s->block[i] == target && is_reference(s, from + i * WORD, out))
        return 1;
    }
  }
  return 0;
}

/* The first reference to the target in [from, to), or the last: 1, else 0. */
static int look(struct pm_search *s, uintptr_t from, uintptr_t to, uintptr_t target, int last,
                struct reference *out) {
  size_t most = BLOCK;
  from = (from + WORD - 1) & ~(uintptr_t)(WORD - 1);
  to &= ~(uintptr_t)(WORD - 1);
  while (from < to && s->budget > 0) {
    /* Up to a multiple of `most`, so that no block spans a page more than it must. */
    uintptr_t cut =
        last ? (to - 1) & ~(uintptr_t)(most - 1) : (from & ~(uintptr_t)(most - 1)) + most;
    uintptr_t start = last && cut > from ? cut : from;
    uintptr_t end = !last && cut < to ? cut : to;
    size_t n = end - start;
    int readable = pm_peek(s->block, start, n) == 0;
    if (!readable && most > PAGE) {
      most = PAGE; /* somebody took a page away: the others may be there still */
      continue;
    }
    s->budget = s->budget > n ? s->budget - n : 0;
    if (readable && look_at_block(s, start, n / WORD, target, last, out))
      return 1;
    if (last)
      to = start;
    else
      from = end;
  }
  return 0;
}

/* ---- the way up ------------------------------------------------------------------ */

enum way { FROM_ROOT, FROM_ELSEWHERE, NOT_FOUND };

static int chunk_of(uintptr_t at, struct pmalloc_span *chunk, uint32_t *number) {
  struct pmalloc_where where;
  if (!pmalloc_registry_find(at, &where) || where.place != PMALLOC_DATA ||
      where.kind != PMALLOC_OBJECTS)
    return 0;
  *number = where.chunk_index;
  return pmalloc_registry_chunk(at, where.chunk_index, chunk) == 1 && at >= chunk->start &&
         at < chunk->end;
}

/* In the other chunks of its pool. */
static int look_elsewhere(struct pm_search *s, uintptr_t target, uint32_t own,
                          struct reference *out) {
  struct pmalloc_span chunk;
  for (uint32_t n = 0; s->budget > 0; n++) {
    int there = pmalloc_registry_chunk(target, n, &chunk);
    if (there == 0)
      return 0;
    if (there > 0 && n != own && chunk.kind == PMALLOC_OBJECTS &&
        look(s, chunk.start, chunk.end, target, 0, out))
      return 1;
  }
  return 0;
}

/* Who discovered the object: the first that refers to it, in front. */
static int look_in_front(struct pm_search *s, uintptr_t at, const struct pmalloc_span *chunk,
                         struct reference *out) {
  struct pmalloc_where before;
  if (at >= chunk->start + WORD && pmalloc_registry_find(at - WORD, &before) &&
      (out->holder = pm_holder_of_dict(at, before.object_start)) != 0) {
    out->word = 0;
    return 1;
  }
  return look(s, chunk->start, at, at, 0, out);
}

/* Fills s->steps; *top is where the path begins, if not at the root. */
static enum way climb(struct pm_search *s, uintptr_t root, uintptr_t at, uintptr_t *top) {
  struct pmalloc_span chunk, last;
  uint32_t number, unused;
  size_t steps_to_top = 0;
  int root_is_here = 0;
  *top = 0;
  s->used = 0;
  s->budget = BUDGET;
  s->object = s->object_end = 0;
  at = pm_born_of(at);
  if (!chunk_of(at, &chunk, &number))
    return NOT_FOUND;
  if (root != 0 && chunk_of(root, &last, &unused)) {
    struct pmalloc_where one, other;
    root_is_here = pmalloc_registry_find(root, &one) && pmalloc_registry_find(at, &other) &&
                   one.pool_id == other.pool_id;
  }
  while (at != root) {
    struct reference *next = &s->steps[s->used];
    int found, returned = 0;
    if (s->used == LEVELS || s->budget == 0 || !chunk_of(at, &chunk, &number))
      return NOT_FOUND;
    found = look_in_front(s, at, &chunk, next);
    if (!found && s->budget > 0) {
      returned = at == *top;
      if (returned)
        next = &s->steps[s->used = steps_to_top];
      *top = at;
      steps_to_top = s->used;
      if (!returned)
        found = (root_is_here && look(s, root, last.end, at, 0, next)) ||
                look(s, at + WORD, chunk.end, at, 1, next);
      if (!found)
        found = look_elsewhere(s, at, number, next);
      if (!found && s->budget > 0)
        return FROM_ELSEWHERE;
    }
    if (!found)
      return NOT_FOUND;
    at = pm_born_of(next->holder);
    s->used++;
  }
  return FROM_ROOT;
}

/* ---- what is said about it -------------------------------------------------------- */

static void write_steps(struct pm_text *t, const struct pm_search *s) {
  for (size_t i = 0; i < s->used; i++) {
    const struct reference *step = &s->steps[s->used - 1 - i];
    if (s->used > 2 * SHOWN && i == SHOWN) {
      pm_text_add(t, "...(");
      pm_text_dec(t, s->used - 2 * SHOWN);
      pm_text_add(t, " levels)...");
      i = s->used - SHOWN - 1;
    } else if (step->word == 0) {
      pm_text_add(t, ".__dict__");
    } else {
      (void)pm_step_text(t, step->holder, step->word);
    }
  }
}

void pm_path_text(struct pm_text *t, struct pm_search *s, const struct pmalloc_where *where,
                  uintptr_t start) {
  uintptr_t root = pmalloc_registry_root(start), top,
            hit = where->chunk_start + where->offset_in_chunk;
  char name[PM_TYPE_NAME];
  if (root == 0 && where->pool_name != NULL && strcmp(where->pool_name, "shared keys") == 0) {
    pm_text_add(t, "none (keys that dicts share)");
    return;
  }
  switch (climb(s, root, start, &top)) {
  case FROM_ROOT:
    pm_text_escaped(t, where->pool_name ? where->pool_name : "?");
    write_steps(t, s);
    pm_field_text(t, start, hit);
    break;
  case FROM_ELSEWHERE:
    pm_peek_type_name(top, name);
    pm_text_char(t, '<');
    pm_text_add(t, name);
    pm_text_add(t, " at ");
    pm_text_hex(t, top);
    pm_text_char(t, '>');
    write_steps(t, s);
    pm_field_text(t, start, hit);
    pm_text_add(t, root == 0 ? " (the pool has no root)" : " (not below the pool's root)");
    break;
  default:
    pm_text_add(t, "path not found within ");
    pm_text_dec(t, s->used);
    pm_text_add(t, " levels");
    break;
  }
}

static void to_writer(void *w, const char *text) { pmalloc_write_text(w, text); }

void pm_path_write(struct pmalloc_writer *w, const struct pmalloc_where *where, uintptr_t start) {
  static struct pm_search search;
  static _Atomic uint64_t user; /* process and thread; a child of fork() inherits the word alone */
  struct pm_text t = {.flush = to_writer, .to = w};
  uint64_t process = (uint64_t)(uint32_t)syscall(SYS_getpid) << 32;
  uint64_t self = process | (uint32_t)syscall(SYS_gettid), other = 0;
  while (!atomic_compare_exchange_strong(&user, &other, self)) {
    if (other != self && other >> 32 == process >> 32) {
      pmalloc_write_text(w, "not looked for: another thread's is under way");
      return;
    }
    if (other == self) /* a long jump left it so */
      break;
  }
  pm_path_text(&t, &search, where, start);
  pm_text_flush(&t);
  atomic_store(&user, 0);
}

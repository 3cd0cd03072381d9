/* A randomized test of pools in every mode against a model that could not be simpler: a list of
 * allocations, each with a copy of its bytes in ordinary memory. From the mode, the chunk and the
 * state follows what may be stored to, what may be written rarely, and what each refusal is.
 *
 *   test_rare_model [seed [steps]]
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include <errno.h>
#include <pmalloc_rare_write.h>

#include "pages.h"
#include "pool.h"

enum { MANY = 200, LARGEST = 40000 };

struct thing {
  unsigned char *at, *copy;
  size_t size;
  uint32_t chunk;
  int freed; /* when it was read-only already: its bytes stay */
};

struct model {
  pmalloc_pool *pool;
  enum pmalloc_mode mode; /* as it is now */
  enum pmalloc_tier tier; /* how it will be, or is, protected */
  enum pmalloc_backing backing;
  int protected_, no_poke;
  uint32_t chunks; /* as many as there were after the latest allocation */
  struct thing things[MANY];
  size_t n, live;
  uint64_t writes;
};

static pmalloc_pool *other; /* another one, write-rare */
static uint64_t *others;
static uint64_t state;

static uint64_t random64(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static size_t below(size_t n) { return (size_t)(random64() % n); }

static size_t some_size(void) {
  size_t kind = below(100);
  return 1 + below(kind < 60 ? 200 : kind < 95 ? 6000 : LARGEST);
}

static void some_bytes(unsigned char *at, size_t n) {
  for (size_t i = 0; i < n; i++)
    at[i] = (unsigned char)random64();
}

/* ---- what follows from the model ---- */

static int is_rare(const struct model *m) {
  return m->mode == PMALLOC_MODE_WR || m->mode == PMALLOC_MODE_AUTO_WR ||
         m->mode == PMALLOC_MODE_START_WR;
}

static int is_readonly(const struct model *m, const struct thing *t) {
  if (m->protected_ || m->mode == PMALLOC_MODE_START_WR)
    return 1;
  return (m->mode == PMALLOC_MODE_AUTO_RO || m->mode == PMALLOC_MODE_AUTO_WR) &&
         t->chunk + 1 < m->chunks;
}

/* Of a rare write to n bytes from an offset on. */
static enum pmalloc_status wanted(const struct model *m, const struct thing *t, size_t offset,
                                  size_t n) {
  if (!is_rare(m))
    return PMALLOC_ERR_NOT_RARE;
  if (offset + n > t->size)
    return PMALLOC_ERR_BOUNDS;
  if (t->freed)
    return PMALLOC_ERR_NOT_RARE;
  int sealed = m->protected_ && m->tier != PMALLOC_PLAIN;
  return sealed && m->no_poke && m->backing == PMALLOC_PRIVATE ? PMALLOC_ERR_UNSUPPORTED
                                                               : PMALLOC_OK;
}

static int intact(const struct thing *t) { return memcmp(t->at, t->copy, t->size) == 0; }

static void check_all(struct model *m) {
  struct pmalloc_stats s;
  int good = 1, closed = 1;
  for (size_t i = 0; i < m->n; i++) {
    good &= intact(&m->things[i]);
    closed &= pages_is_readonly(m->things[i].at) == is_readonly(m, &m->things[i]);
  }
  CHECK(good);
  CHECK(closed);
  pmalloc_pool_stats(m->pool, &s);
  CHECK(s.allocations == m->live && s.rare_writes == m->writes && s.chunks == m->chunks);
  CHECK(s.mode == m->mode && !s.tainted);
}

/* ---- steps ---- */

/* Half of the time one of the latest, which lie where the pool still grows. */
static struct thing *any(struct model *m) {
  size_t among = m->n > 8 && below(2) ? 8 : m->n;
  return m->n ? &m->things[m->n - 1 - below(among)] : NULL;
}

static void note_chunks(struct model *m) {
  struct pmalloc_stats s;
  pmalloc_pool_stats(m->pool, &s);
  m->chunks = s.chunks;
}

static void step_alloc(struct model *m) {
  struct thing t = {.size = some_size()};
  struct pmalloc_where where;
  int zero = 1;
  if (m->n == MANY)
    return;
  enum pmalloc_status status = pmalloc_pool_alloc(m->pool, t.size, 0, (void **)&t.at);
  CHECK(status == (m->protected_ ? PMALLOC_ERR_PROTECTED : PMALLOC_OK));
  if (status != PMALLOC_OK)
    return;
  CHECK(pmalloc_registry_find((uintptr_t)t.at, &where));
  t.chunk = where.chunk_index;
  note_chunks(m);
  if (m->mode == PMALLOC_MODE_AUTO_RO || m->mode == PMALLOC_MODE_AUTO_WR)
    CHECK(t.chunk + 1 == m->chunks); /* what is closed is not filled any more */
  for (size_t i = 0; i < t.size; i++)
    zero &= t.at[i] == 0;
  CHECK(zero);
  t.copy = malloc(t.size);
  some_bytes(t.copy, t.size);
  if (is_readonly(m, &t)) {
    OK(pmalloc_wr_copy(t.at, t.copy, t.size));
    m->writes++;
  } else {
    memcpy(t.at, t.copy, t.size);
  }
  m->things[m->n++] = t;
  m->live++;
}

static void step_free(struct model *m) {
  struct thing *t = any(m);
  unsigned char byte = 1;
  if (!t)
    return;
  CHECK(pmalloc_pool_free(m->pool, t->at) == (t->freed ? PMALLOC_ERR_DOUBLE_FREE : PMALLOC_OK));
  if (t->freed)
    return;
  m->live--;
  if (is_readonly(m, t)) {
    t->freed = 1; /* as it was; nobody writes there any more */
    CHECK(intact(t));
    return;
  }
  CHECK(pmalloc_wr_copy(t->at, &byte, 1) ==
        (is_rare(m) ? PMALLOC_ERR_BOUNDS : PMALLOC_ERR_NOT_RARE));
  CHECK(*t->at == 0);
  free(t->copy);
  *t = m->things[--m->n];
}

static void step_store(struct model *m) {
  struct thing *t = any(m);
  if (!t)
    return;
  if (is_readonly(m, t)) {
    if (below(40) == 0)
      WRITE_FAULTS(t->at + below(t->size));
    return;
  }
  size_t offset = below(t->size), n = 1 + below(t->size - offset);
  some_bytes(t->copy + offset, n);
  memcpy(t->at + offset, t->copy + offset, n);
}

/* One rare write, which within its thing is to be let through where the model says so. Now and then
 * it reaches over the end. */
static void step_write(struct model *m) {
  static unsigned char from[2 * LARGEST], base[LARGEST];
  struct thing *t = any(m);
  if (!t)
    return;
  size_t offset = below(t->size), n = 1 + below(t->size - offset), width = (size_t)1 << below(4);
  uint64_t value = 0, by = random64();
  if (below(8) == 0)
    n = t->size - offset + 1 + below(100);
  enum pmalloc_status status = wanted(m, t, offset, n);
  int stored = status == PMALLOC_OK;
  switch (below(5)) {
  case 0:
    some_bytes(from, n);
    CHECK(pmalloc_wr_copy(t->at + offset, from, n) == status);
    break;
  case 1:
    memset(from, (int)(by & 0xff), n);
    CHECK(pmalloc_wr_set(t->at + offset, (int)(by & 0xff), n) == status);
    break;
  case 2:
    n = width;
    status = wanted(m, t, offset, n);
    stored = status == PMALLOC_OK;
    CHECK(pmalloc_wr_add(t->at + offset, 3, by) == PMALLOC_ERR_INVALID);
    CHECK(pmalloc_wr_add(t->at + offset, width, by) == status);
    for (size_t i = 0; stored && i < width; i++) { /* a byte at a time, with what is carried */
      size_t digit = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? width - 1 - i : i;
      value += t->copy[offset + digit] + (by >> (8 * i) & 0xff);
      from[digit] = (unsigned char)value;
      value >>= 8;
    }
    break;
  case 3: /* out; somebody else writes; back. What was not edited stays as he left it */
    if (n > t->size - offset)
      n = t->size - offset;
    status = wanted(m, t, offset, n);
    memcpy(base, t->copy + offset, n);
    memcpy(from, base, n);
    for (size_t i = below(20); i > 0; i--)
      from[below(n)] = (unsigned char)random64();
    if (status == PMALLOC_OK && below(2)) {
      size_t where = below(n);
      t->copy[offset + where]++;
      OK(pmalloc_wr_add(t->at + offset + where, 1, 1));
      m->writes++;
    }
    stored = memcmp(from, base, n) != 0; /* else there is nothing to do, and to fail */
    if (status == PMALLOC_ERR_UNSUPPORTED && !stored)
      status = PMALLOC_OK;
    CHECK(pmalloc_wr_commit(t->at + offset, base, from, n) == status);
    stored &= status == PMALLOC_OK;
    for (size_t i = 0; i < n; i++)
      from[i] = from[i] != base[i] ? from[i] : t->copy[offset + i];
    break;
  default: /* reading is no writing */
    stored = 0;
    if (status == PMALLOC_ERR_UNSUPPORTED)
      status = PMALLOC_OK;
    CHECK(pmalloc_wr_read(from, t->at + offset, n) == status);
    CHECK(status != PMALLOC_OK || memcmp(from, t->copy + offset, n) == 0);
  }
  if (stored) {
    memcpy(t->copy + offset, from, n);
    m->writes++;
  }
  CHECK(intact(t));
  CHECK(pages_is_readonly(t->at) == is_readonly(m, t));
}

/* What is no allocation at all. */
static void step_astray(struct model *m) {
  struct pmalloc_where where;
  struct thing *t = any(m);
  uint64_t mine = 1, value = 2;
  CHECK(pmalloc_wr_copy(&mine, &value, 8) == PMALLOC_ERR_NOT_RARE && mine == 1);
  if (!t)
    return;
  CHECK(pmalloc_registry_find((uintptr_t)t->at, &where));
  CHECK(pmalloc_wr_copy((void *)(where.chunk_start - 8), &value, 8) == PMALLOC_ERR_NOT_RARE);
  CHECK(pmalloc_wr_copy((void *)where.chunk_end, &value, 8) == PMALLOC_ERR_NOT_RARE);
  CHECK(pmalloc_wr_copy(t->at, &value, SIZE_MAX) ==
        (is_rare(m) ? PMALLOC_ERR_BOUNDS : PMALLOC_ERR_NOT_RARE));
  CHECK(intact(t));
}

static void step_opening(struct model *m) {
  uint64_t value = random64();
  struct thing *t = any(m);
  CHECK(rare_write_end(m->pool) == PMALLOC_ERR_NESTED);
  enum pmalloc_status status = rare_write_begin(m->pool);
  CHECK(status == (is_rare(m) ? PMALLOC_OK : PMALLOC_ERR_NOT_RARE));
  if (status == PMALLOC_OK) {
    const uint64_t before = *others;
    CHECK(rare_write_begin(other) == PMALLOC_ERR_NESTED);
    CHECK(pmalloc_wr_copy(others, &value, 8) == PMALLOC_ERR_NESTED && *others == before);
    for (size_t i = below(5); i > 0; i--)
      step_write(m);
    CHECK(pmalloc_make_pool_ro(m->pool) == PMALLOC_ERR_NESTED);
    CHECK(pmalloc(m->pool, 8) == NULL && errno == EDEADLK);
    CHECK(pmalloc_protect_pool(other) == PMALLOC_ERR_NESTED);
    CHECK(rare_write_end(other) == PMALLOC_ERR_NESTED);
    OK(rare_write_end(m->pool));
  }
  if (!t || (m->no_poke && below(4)))
    return;
  OK(rare_write_begin(other));
  CHECK(pmalloc_wr_copy(t->at, &value, 1) == PMALLOC_ERR_NESTED && intact(t));
  OK(pmalloc_wr_copy(others, &value, 8));
  CHECK(*others == value);
  OK(rare_write_end(other));
}

static void step_prealloc(struct model *m) {
  CHECK(pmalloc_pool_prealloc(m->pool, some_size()) ==
        (m->protected_ ? PMALLOC_ERR_PROTECTED : PMALLOC_OK));
  note_chunks(m);
}

static void step_protect(struct model *m) {
  enum pmalloc_status status = pmalloc_pool_protect_as(m->pool, m->tier);
  if (m->protected_) {
    CHECK(status == PMALLOC_ERR_PROTECTED);
    return;
  }
  if (status == PMALLOC_ERR_UNSUPPORTED && m->tier != PMALLOC_PLAIN) {
    check_all(m); /* open as before */
    m->tier = PMALLOC_PLAIN;
    status = pmalloc_pool_protect(m->pool);
  }
  OK(status);
  m->mode = is_rare(m) ? PMALLOC_MODE_WR : PMALLOC_MODE_RO;
  m->protected_ = 1;
  check_all(m);
}

static void step_make_ro(struct model *m) {
  int stuck = m->no_poke && m->tier != PMALLOC_PLAIN && m->chunks > 0; /* of metadata, too */
  enum pmalloc_status status = pmalloc_pool_make_ro(m->pool);
  CHECK(status == (!is_rare(m)      ? PMALLOC_ERR_NOT_RARE
                   : !m->protected_ ? PMALLOC_ERR_INVALID
                   : stuck          ? PMALLOC_ERR_UNSUPPORTED
                                    : PMALLOC_OK));
  if (status == PMALLOC_OK)
    m->mode = PMALLOC_MODE_RO;
}

/* ---- a pool's life ---- */

static void begin(struct model *m, enum pmalloc_mode mode) {
  static const size_t chunk_sizes[] = {0, 8192, 100000};
  memset(m, 0, sizeof *m);
  struct pmalloc_options options = {.mode = mode, .chunk_size = chunk_sizes[below(3)]};
  options.backing = below(2) ? PMALLOC_MEMFD : PMALLOC_PRIVATE;
  if (mode != PMALLOC_MODE_START_WR && below(3) == 0)
    options.flags = below(2) ? PMALLOC_REDZONES : PMALLOC_REDZONES | PMALLOC_HARDENED;
  m->mode = mode;
  m->backing = options.backing;
  m->tier = below(3) ? PMALLOC_PLAIN : PMALLOC_SEALED;
  OK(pmalloc_pool_create_with(&m->pool, "model", &options));
  m->no_poke = below(3) == 0; /* /proc/self/mem is refused: a window, where there may be one */
  pages_inject(PAGES_CALL_POKE, m->no_poke ? 0 : -1, EIO, 1);
}

static void end(struct model *m) {
  const uint64_t value = 1;
  unsigned char *at = m->n ? m->things[0].at : NULL;
  check_all(m);
  enum pmalloc_status status = pmalloc_pool_destroy(m->pool);
  int sealed = m->protected_ && m->tier != PMALLOC_PLAIN;
  CHECK(status == (sealed ? PMALLOC_ERR_SEALED : PMALLOC_OK));
  if (sealed)
    check_all(m);
  for (size_t i = 0; i < m->n; i++)
    free(m->things[i].copy);
  if (sealed)
    return;
  CHECK(rare_write_begin(m->pool) == PMALLOC_ERR_DESTROYED);
  if (at) {
    CHECK(pmalloc_wr_copy(at, &value, 1) == PMALLOC_ERR_DESTROYED);
    READ_FAULTS(at);
  }
  pmalloc_pool_forget(m->pool);
}

int main(int argc, char **argv) {
  static struct model m;
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  state = argc > 1 ? strtoull(argv[1], NULL, 0) : (uint64_t)(t.tv_sec * 1000003 + t.tv_nsec) | 1;
  const long each = 400;
  long steps = argc > 2 ? atol(argv[2]) : (EMULATED ? 5 : 20) * each;
  printf("  seed %llu\n", (unsigned long long)state);
  fflush(stdout);
  OK(pmalloc_pool_create_with(&other, "other", &(struct pmalloc_options){.mode = PMALLOC_MODE_WR}));
  OK(pmalloc_pool_alloc(other, 8, 0, (void **)&others));
  OK(pmalloc_pool_protect(other));
  for (long step = 0; step < steps; step++) {
    if (step % each == 0) { /* a pool of each mode in turn */
      if (m.pool)
        end(&m);
      begin(&m, (enum pmalloc_mode)(step / each % 5));
    }
    size_t kind = below(1000);
    if (kind < 250)
      step_alloc(&m);
    else if (kind < 430)
      step_free(&m);
    else if (kind < 540)
      step_store(&m);
    else if (kind < 860)
      step_write(&m);
    else if (kind < 910)
      step_astray(&m);
    else if (kind < 970)
      step_opening(&m);
    else if (kind < 990)
      step_prealloc(&m);
    else if (kind < 996)
      step_protect(&m);
    else if (kind < 998 || m.protected_)
      step_make_ro(&m);
    if (step % 100 == 0)
      check_all(&m);
  }
  end(&m);
  pages_inject(PAGES_CALL_POKE, -1, 0, 0);
  OK(pmalloc_pool_destroy(other));
  pmalloc_pool_forget(other);
  return finish("rare_model");
}

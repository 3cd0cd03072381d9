/* Tests of pmalloc.h: what its functions do, and that no misuse of them ends the process.
 *
 * Only the public header is used, as by a program that has nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc.h>

#include "check.h"

#include <errno.h>
#include <stdint.h>

/* The call answers NULL, and errno says why. */
#define FAILS(call, number) CHECK((errno = 0, (call) == NULL) && errno == (number))

static struct pmalloc_pool *make(const char *name) {
  struct pmalloc_pool *pool = pmalloc_create_pool(name, NULL);
  CHECK(pool != NULL);
  return pool;
}

/* Keeps the compiler from knowing what an argument is: it warns of misuse that it can see. */
static void *hidden(void *pointer) {
  void *volatile keep = pointer;
  return keep;
}
static size_t huge(size_t n) {
  volatile size_t keep = n;
  return keep;
}

static int zero(const char *at, size_t n) {
  while (n > 0 && *at == 0)
    at++, n--;
  return n == 0;
}

static void test_version_and_texts(void) {
  CHECK(pmalloc_version() == PMALLOC_VERSION);
  for (int i = PMALLOC_OK; i <= PMALLOC_ERR_CORRUPT; i++) {
    CHECK(strlen(pmalloc_strerror((enum pmalloc_status)i)) > 5);
    CHECK(strcmp(pmalloc_strerror((enum pmalloc_status)i), "an unknown status") != 0);
  }
  CHECK(strcmp(pmalloc_strerror((enum pmalloc_status)4711), "an unknown status") == 0);
}

static void test_life(void) {
  struct pmalloc_pool *pool = make("life");
  OK(pmalloc_prealloc(pool, 100000));
  char *a = pmalloc(pool, 10), *b = pzalloc(pool, 1000), *c = pmalloc_array(pool, 7, 9),
       *d = pcalloc(pool, 30, 8), *e = pmalloc_aligned(pool, 4096, 5), *f = pstrdup(pool, "text");
  CHECK(a && b && c && d && e && f);
  CHECK(zero(b, 1000) && zero(d, 240) && (uintptr_t)a % 16 == 0 && (uintptr_t)e % 4096 == 0);
  CHECK(pmalloc_check_object_size(c, 63) == PMALLOC_BOUNDS_GOOD &&
        pmalloc_check_object_size(c, 64) == PMALLOC_BOUNDS_BAD);
  memset(b, 7, 1000);
  OK(pfree(pool, b));
  OK(pfree(pool, NULL));
  b = pzalloc(pool, 990);
  CHECK(zero(b, 990));
  CHECK(!pmalloc_is_protected(f));
  OK(pmalloc_protect_pool(pool));
  CHECK(pmalloc_is_protected(f) && strcmp(f, "text") == 0);
  WRITE_FAULTS(f);
  WRITE_FAULTS(a + 9);
  OK(pfree(pool, f));
  CHECK(strcmp(f, "text") == 0);
  OK(pmalloc_destroy_pool(pool));
  READ_FAULTS(a);
}

static void test_zero_bytes(void) {
  struct pmalloc_pool *pool = make("zero");
  void *a = pmalloc(pool, 0), *b = pcalloc(pool, 0, 8), *c = pmalloc_array(pool, 8, 0);
  CHECK(a && b && c && a != b && b != c);
  OK(pfree(pool, a));
  OK(pmalloc_destroy_pool(pool));
}

static void test_options(void) {
  struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
  options.chunk_size = 100000;
  struct pmalloc_pool *pool = pmalloc_create_pool("options", &options);
  char *first = pmalloc(pool, 1);
  CHECK(is_pmalloc_object(first + 100000) && !is_pmalloc_object(first + 110000));
  OK(pmalloc_destroy_pool(pool));

  options.chunk_size = SIZE_MAX;
  FAILS(pmalloc_create_pool("too large", &options), EINVAL);

  options.chunk_size = 0;
  options.backing = (enum pmalloc_backing)7;
  FAILS(pmalloc_create_pool("of nothing", &options), EINVAL);
  options.backing = PMALLOC_PRIVATE;
  options.flags = 1U << 31;
  FAILS(pmalloc_create_pool("unknown flag", &options), EINVAL);

  struct { /* of a header that is newer than the library */
    struct pmalloc_pool_options known;
    uintptr_t added[3];
  } newer = {PMALLOC_POOL_OPTIONS_INIT, {0, 0, 0}};
  newer.known.size = sizeof newer;
  pool = pmalloc_create_pool("newer, unused", &newer.known);
  CHECK(pool && pmalloc_destroy_pool(pool) == PMALLOC_OK);
  newer.added[1] = 1;
  FAILS(pmalloc_create_pool("newer, used", &newer.known), EINVAL);

  struct { /* of a header that is older: what lies behind it is not read */
    size_t size;
    size_t not_an_option;
  } older = {sizeof older.size, SIZE_MAX};
  pool = pmalloc_create_pool("older", (const struct pmalloc_pool_options *)hidden(&older));
  CHECK(pool && pmalloc_destroy_pool(pool) == PMALLOC_OK);
  for (size_t size = 0; size < sizeof(size_t); size++) {
    older.size = size;
    FAILS(pmalloc_create_pool("none", (const struct pmalloc_pool_options *)hidden(&older)), EINVAL);
  }
  older.size = SIZE_MAX;
  FAILS(pmalloc_create_pool("long", (const struct pmalloc_pool_options *)hidden(&older)), EINVAL);
}

static void test_names(void) {
  char name[257];
  memset(name, 'n', sizeof name);
  name[256] = 0;
  FAILS(pmalloc_create_pool(name, NULL), EINVAL);
  FAILS(pmalloc_create_pool(NULL, NULL), EINVAL);
  name[255] = 0;
  struct pmalloc_pool *pool = make(name);
  char *at = pmalloc(pool, 1), *copied = strdup(name);
  name[0] = 'x'; /* the pool has its own */
  CHECK(strcmp(pmalloc_name_of(at), copied) == 0);
  const char *kept = pmalloc_name_of(at);
  OK(pmalloc_destroy_pool(pool));
  CHECK(strcmp(pmalloc_name_of(at), copied) == 0 && strcmp(kept, copied) == 0);
  CHECK(pmalloc_name_of(copied) == NULL && pmalloc_name_of(NULL) == NULL);
  free(copied);
}

static void every_call_fails(struct pmalloc_pool *pool, enum pmalloc_status status, int number) {
  FAILS(pmalloc(pool, 8), number);
  FAILS(pzalloc(pool, 8), number);
  FAILS(pmalloc_array(pool, 8, 8), number);
  FAILS(pcalloc(pool, 8, 8), number);
  FAILS(pmalloc_aligned(pool, 64, 8), number);
  FAILS(pstrdup(pool, "text"), number);
  CHECK(pmalloc_prealloc(pool, 8) == status);
  CHECK(pmalloc_protect_pool(pool) == status);
}

static void test_no_pool(void) {
  static size_t other[64];
  struct pmalloc_pool *pool = make("pool");
  void *in_pool = pmalloc(pool, 64);
  void *no_pools[] = {NULL, other, (char *)other + 1, in_pool};
  for (size_t i = 0; i < sizeof no_pools / sizeof *no_pools; i++) {
    struct pmalloc_pool *none = hidden(no_pools[i]);
    every_call_fails(none, PMALLOC_ERR_INVALID, EINVAL);
    CHECK(pfree(none, in_pool) == PMALLOC_ERR_INVALID);
    CHECK(pfree(none, NULL) == PMALLOC_ERR_INVALID);
    CHECK(pmalloc_destroy_pool(none) == PMALLOC_ERR_INVALID);
  }
  OK(pfree(pool, in_pool));
  OK(pmalloc_destroy_pool(pool));
}

static void test_protected_pool(void) {
  struct pmalloc_pool *pool = make("protected");
  void *at = pmalloc(pool, 8);
  OK(pmalloc_protect_pool(pool));
  every_call_fails(pool, PMALLOC_ERR_PROTECTED, EROFS);
  OK(pfree(pool, at));
  CHECK(pfree(pool, at) == PMALLOC_ERR_DOUBLE_FREE);
  OK(pmalloc_destroy_pool(pool));
}

static void test_destroyed_pool(void) {
  enum { MANY = 300 };
  static struct pmalloc_pool *stale[MANY];
  static void *at[MANY];
  for (int i = 0; i < MANY; i++) {
    stale[i] = make("stale");
    at[i] = i % 3 ? pmalloc(stale[i], 8) : NULL; /* some never mapped anything */
    OK(pmalloc_destroy_pool(stale[i]));
  }
  for (int i = 0; i < MANY; i += 50) {
    every_call_fails(hidden(stale[i]), PMALLOC_ERR_DESTROYED, ESTALE);
    CHECK(pmalloc_destroy_pool(stale[i]) == PMALLOC_ERR_DESTROYED);
    CHECK(!at[i] || pfree(stale[i], at[i]) == PMALLOC_ERR_DESTROYED);
    CHECK(!is_pmalloc_object(at[i]) && !pmalloc_is_protected(at[i]));
    CHECK(!at[i] || pmalloc_check_object_size(at[i], 1) == PMALLOC_BOUNDS_BAD);
  }
}

static void write_it(void *at) { memset(at, 1, 1); }

static void test_seal(void) {
  struct pmalloc_pool *pool = make("sealed");
  char *at = pstrdup(pool, "text");
  CHECK(pmalloc_seal_pool(pool, PMALLOC_PLAIN) == PMALLOC_ERR_INVALID);
  CHECK(pmalloc_seal_pool(pool, (enum pmalloc_tier)9) == PMALLOC_ERR_INVALID);
  CHECK(pmalloc_seal_pool(pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_INVALID); /* not of a memfd */
  CHECK(pmalloc_seal_pool(NULL, PMALLOC_SEALED) == PMALLOC_ERR_INVALID);
  *at = 'T'; /* open still */
  enum pmalloc_status status = pmalloc_seal_pool(pool, PMALLOC_SEALED);
  if (status == PMALLOC_ERR_UNSUPPORTED) {
    puts("test_api: a sealed pool skipped, this kernel has no mseal");
    *at = 't';
    OK(pmalloc_protect_pool(pool));
    OK(pmalloc_destroy_pool(pool));
    return;
  }
  OK(status);
  CHECK(strcmp(at, "Text") == 0 && dies(write_it, at) == SIGSEGV);
  every_call_fails(pool, PMALLOC_ERR_PROTECTED, EROFS);
  CHECK(pmalloc_seal_pool(pool, PMALLOC_SEALED) == PMALLOC_ERR_PROTECTED);
  CHECK(pmalloc_destroy_pool(pool) == PMALLOC_ERR_SEALED);
  CHECK(is_pmalloc_object(at) && pmalloc_is_protected(at));
}

static void test_redzones(void) {
  struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
  struct pmalloc_corruption found = {"unset", NULL, 1, 1};
  options.flags = PMALLOC_REDZONES;
  struct pmalloc_pool *pool = pmalloc_create_pool("redzones", &options);
  char *at = hidden(pmalloc(pool, 20)); /* the compiler would see it, too */
  OK(pmalloc_check_pool(pool, &found));
  CHECK(found.what == NULL && found.size == 0);
  at[20] ^= 1;
  CHECK(pmalloc_check_pool(pool, NULL) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_check_pool(pool, &found) == PMALLOC_ERR_CORRUPT);
  CHECK(found.what && found.allocation == at && found.size == 20 && found.offset == 20);
  CHECK(pfree(pool, at) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_protect_pool(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(pmalloc_destroy_pool(pool) == PMALLOC_ERR_CORRUPT);
  CHECK(!pmalloc_is_protected(at) && is_pmalloc_object(at));
  at[20] ^= 1; /* nothing was done to it in between */
  OK(pfree(pool, at));
  at = hidden(pmalloc(pool, 1));
  at[-1] ^= 1;
  CHECK(pmalloc_check_pool(pool, &found) == PMALLOC_ERR_CORRUPT && found.offset == -1);
  OK(pmalloc_destroy_damaged_pool(pool));
  CHECK(pmalloc_destroy_damaged_pool(pool) == PMALLOC_ERR_DESTROYED);
  CHECK(pmalloc_check_pool(pool, NULL) == PMALLOC_ERR_DESTROYED);
  CHECK(pmalloc_check_pool(NULL, &found) == PMALLOC_ERR_INVALID && found.what == NULL);
  CHECK(pmalloc_destroy_damaged_pool(NULL) == PMALLOC_ERR_INVALID);
}

/* A hardened pool checks its own metadata; its handle, when it has ended, is an ended pool's. */
static void test_hardened(void) {
  struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
  struct pmalloc_pool *before = make("ended before"), *after = make("ended after");
  OK(pmalloc_destroy_pool(before));
  options.flags = PMALLOC_HARDENED;
  struct pmalloc_pool *pool = pmalloc_create_pool("hardened", &options);
  struct pmalloc_pool *empty = pmalloc_create_pool("hardened and empty", &options);
  char *at = pstrdup(pool, "text");
  OK(pmalloc_check_pool(pool, NULL));
  OK(pmalloc_destroy_pool(after));
  OK(pmalloc_protect_pool(pool));
  CHECK(strcmp(at, "text") == 0 && dies(poke, at) == SIGSEGV);
  OK(pmalloc_destroy_pool(pool));
  OK(pmalloc_destroy_pool(empty));
  struct pmalloc_pool *all[] = {before, after, pool, empty};
  for (int i = 0; i < 4; i++) {
    every_call_fails(all[i], PMALLOC_ERR_DESTROYED, ESTALE);
    CHECK(pmalloc_destroy_pool(all[i]) == PMALLOC_ERR_DESTROYED);
    CHECK(pmalloc_check_pool(all[i], NULL) == PMALLOC_ERR_DESTROYED);
  }
}

static void allocate_from(void *pool) {
  FAILS(pmalloc(pool, 8), EACCES);
  CHECK(pmalloc_prealloc(pool, 8) == PMALLOC_ERR_FORKED);
}

static void test_immutable(void) {
  struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
  options.backing = PMALLOC_MEMFD;
  struct pmalloc_pool *pool = pmalloc_create_pool("immutable", &options);
  char *at = pstrdup(pool, "text");
  CHECK(at != NULL && dies(allocate_from, pool) == 0);
  enum pmalloc_status status = pmalloc_seal_pool(pool, PMALLOC_IMMUTABLE);
  if (status == PMALLOC_ERR_UNSUPPORTED) {
    puts("test_api: an immutable pool skipped, this kernel has no mseal");
    return;
  }
  OK(status);
  CHECK(strcmp(at, "text") == 0 && dies(write_it, at) == SIGSEGV);
  CHECK(pmalloc_destroy_pool(pool) == PMALLOC_ERR_SEALED);
}

static void test_global(void) {
  struct pmalloc_pool *pool = pmalloc_global_pool();
  char *at = pmalloc(pool, 8);
  CHECK(at != NULL && pool == pmalloc_global_pool());
  CHECK(strcmp(pmalloc_name_of(at), "global") == 0);
  OK(pmalloc_protect_pool(pool));
  FAILS(pmalloc(pmalloc_global_pool(), 8), EROFS);
  OK(pmalloc_destroy_pool(pool));
  struct pmalloc_pool *anew = pmalloc_global_pool();
  CHECK(anew != pool && pmalloc(anew, 8) != NULL);
  FAILS(pmalloc(pool, 8), ESTALE);
  OK(pmalloc_destroy_pool(anew));
}

static void test_free(void) {
  struct pmalloc_pool *pool = make("free"), *other = make("other");
  char *a = pmalloc(pool, 40), *b = pmalloc(other, 40), *heap = malloc(40);
  CHECK(pfree(pool, b) == PMALLOC_ERR_FOREIGN);
  CHECK(pfree(pool, heap) == PMALLOC_ERR_FOREIGN);
  CHECK(pfree(pool, a + 1) == PMALLOC_ERR_FOREIGN);
  CHECK(pfree(pool, a + 16) == PMALLOC_ERR_FOREIGN);
  CHECK(pfree(pool, (void *)(uintptr_t)16) == PMALLOC_ERR_FOREIGN);
  CHECK(pfree(pool, (void *)UINTPTR_MAX) == PMALLOC_ERR_FOREIGN);
  OK(pfree(pool, a));
  CHECK(pfree(pool, a) == PMALLOC_ERR_DOUBLE_FREE);
  CHECK(pfree(pool, a + 16) == PMALLOC_ERR_FOREIGN);
  OK(pfree(other, b));
  OK(pmalloc_destroy_pool(pool));
  OK(pmalloc_destroy_pool(other));
  free(heap);
}

static void test_sizes(void) {
  struct pmalloc_pool *pool = make("sizes");
  FAILS(pmalloc(pool, huge(SIZE_MAX)), ENOMEM);
  FAILS(pzalloc(pool, huge(SIZE_MAX / 2)), ENOMEM);
  FAILS(pcalloc(pool, huge(SIZE_MAX / 2), 3), ENOMEM);
  FAILS(pmalloc_array(pool, huge((size_t)1 << 32), huge((size_t)1 << 32)), ENOMEM);
  FAILS(pmalloc_aligned(pool, 0, 8), EINVAL);
  FAILS(pmalloc_aligned(pool, 24, 8), EINVAL);
  FAILS(pmalloc_aligned(pool, (size_t)1 << 20, 8), EINVAL);
  CHECK(pmalloc_prealloc(pool, huge(SIZE_MAX)) == PMALLOC_ERR_NOMEM);
  CHECK(pmalloc(pool, 8) != NULL);
  OK(pmalloc_destroy_pool(pool));
}

static void test_out_of_memory(void) {
  struct pmalloc_pool *pool = make("limited");
  void *before = pmalloc(pool, 8);
  struct rlimit old, tight = {(rlim_t)1 << 26, 0};
  getrlimit(RLIMIT_AS, &old);
  tight.rlim_max = old.rlim_max;
  if (!SANITIZED && setrlimit(RLIMIT_AS, &tight) == 0) {
    FAILS(pmalloc(pool, huge((size_t)1 << 30)), ENOMEM);
    CHECK(pmalloc_prealloc(pool, (size_t)1 << 30) == PMALLOC_ERR_NOMEM);
    setrlimit(RLIMIT_AS, &old);
  }
  CHECK(pmalloc(pool, 8) != NULL && is_pmalloc_object(before));
  OK(pmalloc_destroy_pool(pool));
}

static void test_strings(void) {
  struct pmalloc_pool *pool = make("strings");
  CHECK(strcmp(pstrdup(pool, ""), "") == 0);
  FAILS(pstrdup(pool, hidden(NULL)), EINVAL);
  char *copy = pstrdup(pool, "gr\xc3\xbc\xc3\x9f"), *again = pstrdup(pool, copy);
  CHECK(again != copy && strcmp(again, "gr\xc3\xbc\xc3\x9f") == 0);
  CHECK(strcmp(pstrdup(pool, copy + 2), copy + 2) == 0);
  char *unended = pmalloc(pool, 32);
  memset(unended, 'a', 32);
  CHECK(pmalloc(pool, 16) != NULL); /* zeroes: where the string would end by luck */
  FAILS(pstrdup(pool, unended), EFAULT);
  FAILS(pstrdup(pool, unended + 31), EFAULT);
  OK(pfree(pool, unended));
  FAILS(pstrdup(pool, unended), EFAULT); /* freed: not one object's memory */
  OK(pmalloc_destroy_pool(pool));
  struct pmalloc_pool *next = make("next");
  FAILS(pstrdup(next, copy), EFAULT); /* destroyed: would fault */
  OK(pmalloc_destroy_pool(next));
}

static void test_questions(void) {
  struct pmalloc_pool *pool = make("questions");
  char stack[64], *heap = malloc(64), *a = pmalloc(pool, 40), *b = pmalloc(pool, 8);
  CHECK(b == a + 48); /* packed: an overrun of a would read b */
  CHECK(is_pmalloc_object(a) && is_pmalloc_object(a + 39) && !is_pmalloc_object(stack));
  CHECK(!is_pmalloc_object(heap) && !is_pmalloc_object(NULL));
  CHECK(!is_pmalloc_object((void *)UINTPTR_MAX));
  CHECK(pmalloc_check_object_size(a, 40) == PMALLOC_BOUNDS_GOOD);
  CHECK(pmalloc_check_object_size(a, 0) == PMALLOC_BOUNDS_GOOD);
  CHECK(pmalloc_check_object_size(a + 39, 1) == PMALLOC_BOUNDS_GOOD);
  CHECK(pmalloc_check_object_size(a, 41) == PMALLOC_BOUNDS_BAD);
  CHECK(pmalloc_check_object_size(a + 39, 2) == PMALLOC_BOUNDS_BAD);
  CHECK(pmalloc_check_object_size(a + 40, 1) == PMALLOC_BOUNDS_BAD);
  CHECK(pmalloc_check_object_size(a, 56) == PMALLOC_BOUNDS_BAD);
  CHECK(pmalloc_check_object_size(a - 1, 2) == PMALLOC_BOUNDS_BAD); /* from the guard page */
  CHECK(pmalloc_check_object_size(b, huge(SIZE_MAX)) == PMALLOC_BOUNDS_BAD);
  CHECK(pmalloc_check_object_size(stack, sizeof stack) == PMALLOC_BOUNDS_NOT_OURS);
  CHECK(pmalloc_check_object_size(heap, 64) == PMALLOC_BOUNDS_NOT_OURS);
  CHECK(pmalloc_check_object_size(stack, huge(SIZE_MAX)) == PMALLOC_BOUNDS_BAD);
  CHECK(strcmp(pmalloc_name_of(a), "questions") == 0);
  CHECK(strcmp(pmalloc_name_of(a - 1), "questions") == 0);
  OK(pmalloc_protect_pool(pool));
  CHECK(pmalloc_check_object_size(a, 40) == PMALLOC_BOUNDS_GOOD && is_pmalloc_object(a));
  OK(pmalloc_destroy_pool(pool));
  free(heap);
}

static void child(void *pool) {
  char *at = pmalloc(pool, 8);
  CHECK(at != NULL && pmalloc_protect_pool(pool) == PMALLOC_OK && pmalloc_is_protected(at));
  OK(pmalloc_destroy_pool(pool));
}

static void test_fork(void) {
  struct pmalloc_pool *pool = make("forked");
  char *at = pmalloc(pool, 8);
  CHECK(dies(child, pool) == 0);
  *at = 1; /* open here, whatever the child did */
  OK(pmalloc_protect_pool(pool));
  OK(pmalloc_destroy_pool(pool));
}

/* In a child: ends with 40, and 1 more where the memory counts as protected afterwards. */
static void write_under(void *policy) {
  struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
  options.on_violation = *(enum pmalloc_policy *)policy;
  if (!freopen("/dev/null", "w", stderr))
    _exit(1);
  struct pmalloc_pool *pool = pmalloc_create_pool("policy", &options);
  volatile char *at = pool ? pmalloc(pool, 8) : NULL;
  if (!at || pmalloc_protect_pool(pool) != PMALLOC_OK)
    _exit(2);
  *at = 7;
  _exit(*at == 7 ? 40 + pmalloc_is_protected((const void *)at) : 3);
}

static void test_policies(void) {
  static const struct {
    enum pmalloc_policy policy;
    int ends;
  } known[] = {{PMALLOC_POLICY_DEFAULT, SIGSEGV},
               {PMALLOC_OOPS, SIGSEGV},
               {PMALLOC_WARN, -40},
               {PMALLOC_AUDIT, -41},
               {PMALLOC_OFF, -40}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    enum pmalloc_policy policy = known[i].policy;
    CHECK(dies(write_under, &policy) == known[i].ends);
  }
  struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
  options.on_violation = (enum pmalloc_policy)5;
  FAILS(pmalloc_create_pool("unknown policy", &options), EINVAL);
}

int main(void) {
  test_version_and_texts();
  test_life();
  test_zero_bytes();
  test_options();
  test_policies();
  test_names();
  test_no_pool();
  test_protected_pool();
  test_destroyed_pool();
  test_seal();
  test_redzones();
  test_hardened();
  test_immutable();
  test_global();
  test_free();
  test_sizes();
  test_out_of_memory();
  test_strings();
  test_questions();
  test_fork();
  return finish("api");
}

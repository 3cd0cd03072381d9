/* Tests of the tiers: sealed and immutable pools, by what the kernel then refuses, by making every
 * call on the way there fail, and by those who may still write when nobody should.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "pool_internal.h"

#define SEAL_NUMBER 462

enum { PIECES = 5 };

struct scene {
  pmalloc_pool *pool;
  unsigned char *piece[PIECES];
  size_t size[PIECES];
  struct pmalloc_region region;
};

static int kernel_can_seal(void) { return syscall(SEAL_NUMBER, 0UL, 0UL, 0UL) == 0; }

static unsigned char pattern(int piece, size_t i) {
  return (unsigned char)(piece * 31 + i * 7 + 1);
}

/* Several chunks, with objects and a root. With chunks of one byte, which are of one page, foreign
 * mappings lie between them. */
static struct scene set_up(enum pmalloc_backing backing, size_t chunk_size) {
  struct pmalloc_options options = {.chunk_size = chunk_size, .backing = backing};
  size_t page = pages_page_size();
  struct scene s = {.size = {100, 4096, 1, 20000, 64}};
  OK(pmalloc_pool_create_with(&s.pool, "sealed", &options));
  for (int n = 0; n < PIECES; n++) {
    OK(pmalloc_pool_alloc(s.pool, s.size[n], 0, (void **)&s.piece[n]));
    if (chunk_size == 1)
      CHECK(mmap(NULL, page, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    for (size_t i = 0; i < s.size[n]; i++)
      s.piece[n][i] = pattern(n, i);
  }
  OK(pmalloc_pool_region(s.pool, 500, &s.region));
  pmalloc_region_mark(&s.region, s.region.base);
  memset(s.region.base, 5, 500);
  pmalloc_region_commit(s.pool, &s.region, 1);
  OK(pmalloc_pool_set_root(s.pool, s.region.base));
  return s;
}

static int intact(const struct scene *s) {
  int good = s->region.base[499] == 5;
  for (int n = 0; n < PIECES; n++) {
    for (size_t i = 0; i < s->size[n]; i++)
      good &= s->piece[n][i] == pattern(n, i);
  }
  return good;
}

/* What protect() refused left an open pool behind, in which everything still works. */
static void check_open(struct scene *s) {
  void *more;
  CHECK(pmalloc_pool_state(s->pool) == PMALLOC_OPEN && pmalloc_pool_tier(s->pool) == PMALLOC_PLAIN);
  CHECK(intact(s));
  for (int n = 0; n < PIECES; n++) {
    s->piece[n][0] ^= 1; /* a fault ends the test */
    s->piece[n][0] ^= 1;
  }
  s->region.base[0] = 5;
  OK(pmalloc_pool_alloc(s->pool, 9000, 0, &more));
  memset(more, 1, 9000);
  OK(pmalloc_pool_free(s->pool, more));
  OK(pmalloc_pool_set_root(s->pool, s->region.base));
  int fd;
  CHECK(pmalloc_pool_fileno(s->pool, &fd) == PMALLOC_ERR_INVALID);
}

static void inject_off(void) {
  for (int call = 0; call < PAGES_CALL_COUNT; call++)
    pages_inject((enum pages_call)call, -1, 0, 0);
}

/* ---- what holds ---- */

#define REFUSED(call) CHECK((long)(call) == -1 && (errno == EPERM || errno == EACCES))

/* Nothing can be done to the page that would let a store through or show other bytes. */
static void check_sealed_page(char *at) {
  size_t page = pages_page_size();
  REFUSED(mprotect(at, page, PROT_READ | PROT_WRITE));
  REFUSED(mprotect(at, page, PROT_NONE));
  REFUSED(munmap(at, page));
  REFUSED(mremap(at, page, 2 * page, MREMAP_MAYMOVE));
  REFUSED(mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
}

static void check_sealed(const struct scene *s, enum pmalloc_backing backing) {
  size_t page = pages_page_size();
  for (uint32_t n = 0; n < s->pool->cold->chunks; n++) {
    const struct pages *p = &cold_chunk_at(s->pool->cold, n)->pages;
    check_sealed_page(p->base);
    check_sealed_page(p->base + p->size - page);
    check_sealed_page(p->outer);
    check_sealed_page(p->base + p->size);
    READ_FAULTS(p->base - 1);
    READ_FAULTS(p->base + p->size);
    WRITE_FAULTS(p->base);
    WRITE_FAULTS(p->base + p->size - 1);
    if (backing == PMALLOC_PRIVATE)
      REFUSED(madvise(p->base, page, MADV_DONTNEED));
    else
      madvise(p->base, page, MADV_DONTNEED); /* the pages come back as they were */
  }
  for (const struct cold_slab *slab = s->pool->slabs; slab; slab = slab->older) {
    check_sealed_page(slab->pages.base);
    check_sealed_page(slab->pages.outer);
    check_sealed_page(slab->pages.base + slab->pages.size);
    WRITE_FAULTS(slab->pages.base);
    REFUSED(madvise(slab->pages.base, page, MADV_DONTNEED));
  }
  CHECK(intact(s));
}

static void write_through(void *arg) {
  int mem = open("/proc/self/mem", O_RDWR);
  CHECK(pwrite(mem, "x", 1, (off_t)(uintptr_t)arg) == -1 && errno == EIO);
}

static void check_immutable(const struct scene *s) {
  int fd, again;
  char path[40];
  OK(pmalloc_pool_fileno(s->pool, &fd));
  CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
  CHECK(pages_file_is_immutable(fd) == 1);
  CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  again = open(path, O_RDWR);
  if (again >= 0) {
    CHECK(pwrite(again, "x", 1, 4096) == -1 && errno == EPERM);
    CHECK(ftruncate(again, 0) == -1 && errno == EPERM);
    CHECK(fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20) == -1);
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) == MAP_FAILED);
    CHECK(errno == EPERM);
    close(again);
  }
  CHECK(dies(write_through, s->piece[3]) == 0);
  CHECK(intact(s));
}

static void check_the_end(struct scene *s, enum pmalloc_tier tier) {
  struct pmalloc_stats stats;
  void *more;
  CHECK(pmalloc_pool_state(s->pool) == PMALLOC_PROTECTED && pmalloc_pool_tier(s->pool) == tier);
  pmalloc_pool_stats(s->pool, &stats);
  CHECK(stats.tier == tier && stats.state == PMALLOC_PROTECTED && stats.allocations == PIECES);
  CHECK(pmalloc_pool_alloc(s->pool, 1, 0, &more) == PMALLOC_ERR_PROTECTED);
  for (int again = PMALLOC_PLAIN; again <= PMALLOC_IMMUTABLE; again++) {
    if (again != PMALLOC_IMMUTABLE || stats.backing == PMALLOC_MEMFD)
      CHECK(pmalloc_pool_protect_as(s->pool, (enum pmalloc_tier)again) == PMALLOC_ERR_PROTECTED);
  }
  void *root;
  CHECK(pmalloc_root_lookup("sealed", &root) == 1);
  if (tier != PMALLOC_PLAIN) {
    CHECK(pmalloc_pool_destroy(s->pool) == PMALLOC_ERR_SEALED);
    CHECK(pmalloc_pool_state(s->pool) == PMALLOC_PROTECTED);
    pmalloc_pool_forget(s->pool); /* does nothing: it is there */
    CHECK(intact(s));
  }
}

static void test_tiers(enum pmalloc_backing backing, size_t chunk_size) {
  for (int tier = PMALLOC_PLAIN; tier <= PMALLOC_IMMUTABLE; tier++) {
    struct scene s = set_up(backing, chunk_size);
    if (tier == PMALLOC_IMMUTABLE && backing == PMALLOC_PRIVATE) {
      CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_INVALID);
      CHECK(pmalloc_pool_protect_as(s.pool, (enum pmalloc_tier)3) == PMALLOC_ERR_INVALID);
      check_open(&s);
      OK(pmalloc_pool_destroy(s.pool));
      continue;
    }
    OK(pmalloc_pool_protect_as(s.pool, (enum pmalloc_tier)tier));
    if (tier != PMALLOC_PLAIN)
      check_sealed(&s, backing);
    if (tier == PMALLOC_IMMUTABLE)
      check_immutable(&s);
    check_the_end(&s, (enum pmalloc_tier)tier);
    if (tier == PMALLOC_PLAIN) {
      OK(pmalloc_pool_destroy(s.pool));
      READ_FAULTS(s.piece[0]);
      pmalloc_pool_forget(s.pool);
    }
  }
}

static void test_empty(void) {
  const struct pmalloc_options shared = {.backing = PMALLOC_MEMFD};
  pmalloc_pool *pool;
  int fd;
  OK(pmalloc_pool_create_with(&pool, "empty", &shared));
  OK(pmalloc_pool_protect_as(pool, PMALLOC_IMMUTABLE));
  OK(pmalloc_pool_fileno(pool, &fd));
  CHECK(pages_file_is_immutable(fd) == 1);
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_ERR_SEALED);
  OK(pmalloc_pool_create(&pool, "empty", 0));
  OK(pmalloc_pool_protect_as(pool, PMALLOC_SEALED));
  CHECK(pmalloc_pool_destroy(pool) == PMALLOC_ERR_SEALED);
}

static void test_options(void) {
  struct pmalloc_options bad = {.backing = (enum pmalloc_backing)2};
  pmalloc_pool *pool = NULL;
  CHECK(pmalloc_pool_create_with(&pool, "bad", &bad) == PMALLOC_ERR_INVALID);
  bad = (struct pmalloc_options){.flags = 1U << 31};
  CHECK(pmalloc_pool_create_with(&pool, "bad", &bad) == PMALLOC_ERR_INVALID);
  CHECK(pool == NULL);
  OK(pmalloc_pool_create_with(&pool, "good", NULL));
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

/* ---- what fails ---- */

/* Every call, every n-th time, on the way to each tier. */
static void test_all_or_nothing(void) {
  static const int errors[] = {ENOMEM, EPERM};
  int refused = 0, halves = 0;
  for (int call = 0; call < PAGES_CALL_COUNT; call++) {
    for (int kind = 0; kind < 3; kind++) { /* private sealed, memfd sealed, immutable */
      enum pmalloc_backing backing = kind == 0 ? PMALLOC_PRIVATE : PMALLOC_MEMFD;
      enum pmalloc_tier tier = kind == 2 ? PMALLOC_IMMUTABLE : PMALLOC_SEALED;
      for (int n = 0; n < 24; n += EMULATED ? 5 : 1) {
        struct scene s = set_up(backing, 1); /* strangers' mappings lie in between */
        size_t end = s.pool->file.end;
        enum pmalloc_status status = PMALLOC_ERR_NOMEM;
        for (int e = 0; e < 2 && status != PMALLOC_OK && status != PMALLOC_ERR_HALF_SEALED; e++) {
          pages_inject((enum pages_call)call, n, errors[e], n % 2);
          errno = 0;
          status = pmalloc_pool_protect_as(s.pool, tier);
          int reason = errno;
          inject_off();
          if (status == PMALLOC_OK)
            break;
          CHECK(reason == errors[e]);
          if (status == PMALLOC_ERR_HALF_SEALED)
            break;
          refused++;
          CHECK(status == PMALLOC_ERR_NOMEM || status == PMALLOC_ERR_SYSTEM ||
                status == PMALLOC_ERR_UNSUPPORTED);
          CHECK(s.pool->file.end == end);
          check_open(&s);
          end = s.pool->file.end;
        }
        if (status == PMALLOC_ERR_HALF_SEALED) {
          halves++;
          CHECK(pmalloc_pool_state(s.pool) == PMALLOC_PROTECTED);
          CHECK(pmalloc_pool_tier(s.pool) == PMALLOC_PLAIN && intact(&s));
          WRITE_FAULTS(s.piece[0]);
          WRITE_FAULTS(s.pool->cold);
          CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_PLAIN) == PMALLOC_ERR_PROTECTED);
          CHECK(pmalloc_pool_destroy(s.pool) == PMALLOC_ERR_SEALED);
        }
        if (status != PMALLOC_OK)
          OK(pmalloc_pool_protect_as(s.pool, tier));
        CHECK(pmalloc_pool_tier(s.pool) == tier && intact(&s));
        if (n == 0 && (!EMULATED || call % 4 == 0)) /* sealed pools stay: each fork() is dearer */
          check_sealed(&s, backing);
        if (tier == PMALLOC_IMMUTABLE && n < 4)
          check_immutable(&s);
      }
    }
  }
  CHECK(refused > (EMULATED ? 20 : 40) && halves > (EMULATED ? 1 : 5));
}

/* A kernel without mseal, without memfds, without seals: in the words of this library. */
static void test_missing(void) {
  const struct pmalloc_options shared = {.backing = PMALLOC_MEMFD};
  struct scene s = set_up(PMALLOC_MEMFD, 0);
  pages_inject(PAGES_CALL_MSEAL, 0, ENOSYS, 1);
  CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_SEALED) == PMALLOC_ERR_UNSUPPORTED);
  CHECK(errno == ENOSYS);
  check_open(&s);
  CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_UNSUPPORTED);
  inject_off();
  check_open(&s);
  pages_inject(PAGES_CALL_ADD_SEALS, 0, EINVAL, 1);
  CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_SYSTEM);
  inject_off();
  check_open(&s);
  /* Neither /proc nor a kernel that maps sealed files. */
  pages_inject(PAGES_CALL_REOPEN, 0, ENOENT, 1);
  pages_inject(PAGES_CALL_MEMFD, 0, ENOSYS, 1);
  CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_UNSUPPORTED);
  check_open(&s);
  /* /proc alone is missing. */
  inject_off();
  pages_inject(PAGES_CALL_REOPEN, 0, ENOENT, 1);
  OK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE));
  inject_off();
  check_sealed(&s, PMALLOC_MEMFD);
  check_immutable(&s);

  pmalloc_pool *pool;
  void *at;
  OK(pmalloc_pool_create_with(&pool, "none", &shared));
  pages_inject(PAGES_CALL_MEMFD, 0, ENOSYS, 1);
  CHECK(pmalloc_pool_alloc(pool, 1, 0, &at) == PMALLOC_ERR_UNSUPPORTED && errno == ENOSYS);
  pages_inject(PAGES_CALL_MEMFD, 0, EMFILE, 1);
  CHECK(pmalloc_pool_alloc(pool, 1, 0, &at) == PMALLOC_ERR_SYSTEM && errno == EMFILE);
  pages_inject(PAGES_CALL_MEMFD, -1, 0, 0);
  pages_inject(PAGES_CALL_FALLOCATE, 0, ENOSPC,
               1); /* vm.overcommit_memory=2, and no more to give */
  CHECK(pmalloc_pool_alloc(pool, 1, 0, &at) == PMALLOC_ERR_NOMEM && errno == ENOSPC);
  inject_off();
  pages_inject(PAGES_CALL_MEMFD, 0, EINVAL, 0); /* before Linux 6.3: one flag less */
  OK(pmalloc_pool_alloc(pool, 1, 0, &at));
  inject_off();
  OK(pmalloc_pool_destroy(pool));
  pmalloc_pool_forget(pool);
}

/* What is left on a kernel without mseal: the first tier, and two refusals after which it is there.
 */
static void test_no_mseal(void) {
  for (int backing = PMALLOC_PRIVATE; backing <= PMALLOC_MEMFD; backing++) {
    for (size_t chunk_size = 0; chunk_size < 2; chunk_size++) {
      struct scene s = set_up((enum pmalloc_backing)backing, chunk_size);
      errno = 0;
      CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_SEALED) == PMALLOC_ERR_UNSUPPORTED);
      CHECK(errno == ENOSYS);
      check_open(&s);
      CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) ==
            (backing == PMALLOC_MEMFD ? PMALLOC_ERR_UNSUPPORTED : PMALLOC_ERR_INVALID));
      check_open(&s);
      OK(pmalloc_pool_protect_as(s.pool, PMALLOC_PLAIN));
      CHECK(pmalloc_pool_tier(s.pool) == PMALLOC_PLAIN && intact(&s));
      for (int n = 0; n < PIECES; n++)
        WRITE_FAULTS(s.piece[n]);
      WRITE_FAULTS(s.region.base);
      WRITE_FAULTS(s.pool->cold);
      OK(pmalloc_pool_destroy(s.pool));
      READ_FAULTS(s.piece[0]);
      pmalloc_pool_forget(s.pool);
    }
  }
}

/* ---- who may still write ---- */

static void test_pinned(void) {
  struct scene s = set_up(PMALLOC_MEMFD, 0);
  int ends[2];
  char drain[4096];
  CHECK(pipe(ends) == 0);
  struct iovec part = {s.piece[3], 4096};
  CHECK(vmsplice(ends[1], &part, 1, 0) == 4096);
  CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_BUSY && errno == EBUSY);
  check_open(&s);
  CHECK(read(ends[0], drain, sizeof drain) == 4096);
  OK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE));
  check_immutable(&s);
  close(ends[0]);
  close(ends[1]);
}

static void test_fork(void) {
  struct scene s = set_up(PMALLOC_MEMFD, 0);
  int go[2], done[2], status;
  char byte;
  CHECK(pipe(go) == 0 && pipe(done) == 0);
  pid_t child = fork();
  if (child == 0) {
    void *at;
    struct pmalloc_region region;
    alarm(60);
    CHECK(pmalloc_pool_alloc(s.pool, 1, 0, &at) == PMALLOC_ERR_FORKED);
    CHECK(pmalloc_pool_prealloc(s.pool, 1 << 20) == PMALLOC_ERR_FORKED);
    CHECK(pmalloc_pool_region(s.pool, 8, &region) == PMALLOC_ERR_FORKED);
    CHECK(pmalloc_pool_set_root(s.pool, &s) == PMALLOC_ERR_FORKED);
    CHECK(pmalloc_pool_free(s.pool, s.piece[0]) == PMALLOC_ERR_FORKED);
    CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_FORKED);
    s.piece[0][0] = 77;
    CHECK(write(done[1], "", 1) == 1 && read(go[0], &byte, 1) == 1);
    OK(pmalloc_pool_protect_as(s.pool, PMALLOC_SEALED)); /* its own mappings are its own */
    WRITE_FAULTS(s.piece[0]);
    _exit(check_failed != 0);
  }
  CHECK(read(done[0], &byte, 1) == 1);
  CHECK(s.piece[0][0] == 77); /* shared, as promised */
  s.piece[0][0] = pattern(0, 0);
  CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_BUSY);
  check_open(&s);
  CHECK(write(go[1], "", 1) == 1);
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  OK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE));
  child = fork();
  if (child == 0) {
    check_sealed(&s, PMALLOC_MEMFD);
    check_immutable(&s);
    _exit(check_failed != 0);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

struct reader {
  const struct scene *scene;
  atomic_int stop;
  long rounds;
  int torn;
};

static void *read_on(void *arg) {
  struct reader *r = arg;
  while (!atomic_load(&r->stop)) {
    r->torn |= !intact(r->scene);
    r->rounds++;
  }
  return NULL;
}

/* Whoever reads while the mappings are replaced notices nothing. */
static void test_readers(void) {
  for (int round = 0; round < 20; round++) {
    struct scene s = set_up(PMALLOC_MEMFD, round % 2 ? 0 : 4096);
    struct reader readers[2] = {{.scene = &s}, {.scene = &s}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
      CHECK(pthread_create(&threads[i], NULL, read_on, &readers[i]) == 0);
    for (int failed = 0; failed < 5; failed++) { /* there and back again, a few times */
      pages_inject(PAGES_CALL_ADD_SEALS, 0, EBUSY, 0);
      CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_BUSY);
    }
    OK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE));
    for (int i = 0; i < 2; i++) {
      atomic_store(&readers[i].stop, 1);
      pthread_join(threads[i], NULL);
      CHECK(!readers[i].torn);
    }
  }
}

/* ---- descriptors, mappings, memory ---- */

/* The descriptor is closed behind the pool's back, and its number is a file of value. */
static void test_lost_descriptor(void) {
  struct scene s = set_up(PMALLOC_MEMFD, 4096);
  char name[] = "/tmp/pmalloc-test-XXXXXX";
  int number = s.pool->file.fd, precious = mkstemp(name);
  void *at;
  CHECK(precious >= 0 && unlink(name) == 0 && write(precious, "precious", 8) == 8);
  CHECK(dup2(precious, number) == number);
  CHECK(pmalloc_pool_alloc(s.pool, 5000, 0, &at) == PMALLOC_ERR_SYSTEM && errno == EBADF);
  CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_SYSTEM);
  CHECK(errno == EBADF && intact(&s) && pmalloc_pool_state(s.pool) == PMALLOC_OPEN);
  OK(pmalloc_pool_protect(s.pool));
  OK(pmalloc_pool_destroy(s.pool));
  char content[16];
  CHECK(pread(number, content, sizeof content, 0) == 8 && memcmp(content, "precious", 8) == 0);
  close(number);
  close(precious);
  pmalloc_pool_forget(s.pool);
}

static long open_descriptors(void) {
  long n = 0;
  for (int fd = 0; fd < 1000; fd++)
    n += fcntl(fd, F_GETFD) >= 0;
  return n;
}

static void test_nothing_is_left(void) {
  long before = -1, memory = 0;
  for (int round = 0; round < 400; round++) {
    struct scene s = set_up(PMALLOC_MEMFD, 0);
    pages_inject(PAGES_CALL_ADD_SEALS, 0, EBUSY, 0);
    CHECK(pmalloc_pool_protect_as(s.pool, PMALLOC_IMMUTABLE) == PMALLOC_ERR_BUSY);
    if (round % 2)
      OK(pmalloc_pool_protect(s.pool));
    OK(pmalloc_pool_destroy(s.pool));
    pmalloc_pool_forget(s.pool);
    if (round == 100)
      before = open_descriptors(), memory = resident();
  }
  CHECK(open_descriptors() == before);
  if (!SANITIZED)
    CHECK(resident() - memory < 1 << 20);
}

/* Not one mapping left, really: protect() still does what it can, or says no. */
static void run_out_of_mappings(void *arg) {
  int kind = *(int *)arg;
  struct scene s[30];
  size_t page = pages_page_size();
  for (int i = 0; i < 30; i++)
    s[i] = set_up(kind ? PMALLOC_MEMFD : PMALLOC_PRIVATE, 4096);
  char *last[100] = {NULL};
  size_t made = 0;
  for (int prot = 0;; prot = !prot) {
    char *more = mmap(NULL, page, prot ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (more == MAP_FAILED)
      break;
    last[made++ % 100] = more;
  }
  CHECK(errno == ENOMEM && made > 1000);
  int refused = 0, done = 0, half = 0;
  for (int i = 0; i < 30; i++) {
    for (int n = 0; i == 10 && n < 100; n++)
      munmap(last[n], page);
    enum pmalloc_status status =
        pmalloc_pool_protect_as(s[i].pool, kind == 2 ? PMALLOC_IMMUTABLE : PMALLOC_SEALED);
    CHECK(intact(&s[i]));
    if (status == PMALLOC_ERR_NOMEM) {
      refused++;
      s[i].piece[0][0] = s[i].piece[3][19999] = 1;
      s[i].region.base[0] = 1;
      CHECK(pmalloc_pool_state(s[i].pool) == PMALLOC_OPEN);
      pmalloc_pool_set_root(s[i].pool, &s[i]);
    } else if (status == PMALLOC_ERR_HALF_SEALED) {
      half++;
    } else {
      CHECK(status == PMALLOC_OK);
      done++;
    }
  }
  CHECK(refused >= 10 && done >= 10 && half == 0);
}

int main(void) {
  test_options();
  if (!kernel_can_seal()) {
    printf("test_seal: all but the first tier skipped, this kernel has no mseal\n");
    test_no_mseal();
    return finish("seal");
  }
  test_tiers(PMALLOC_PRIVATE, 0);
  test_tiers(PMALLOC_PRIVATE, 4096);
  test_tiers(PMALLOC_MEMFD, 0);
  test_tiers(PMALLOC_MEMFD, 4096);
  test_empty();
  test_missing();
  test_pinned();
  test_fork();
  test_readers();
  test_lost_descriptor();
  test_nothing_is_left();
  test_all_or_nothing();
  if (!SANITIZED) {
    for (int kind = 0; kind < 3; kind++)
      CHECK(dies(run_out_of_mappings, &kind) == 0);
  }
  return finish("seal");
}

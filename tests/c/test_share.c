/* Tests of sharing: what another process finds, and what a stranger's file can do (nothing).
 *
 *   test_share [seed [rounds]]
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "pages.h"
#include "share.h"

enum { ALL_SEALS = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

static uint64_t state = 88172645463325252;

static uint64_t random64(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static pmalloc_pool *immutable(const char *name, int allocations, int *fd) {
  const struct pmalloc_options options = {.backing = PMALLOC_MEMFD};
  pmalloc_pool *pool;
  OK(pmalloc_pool_create_with(&pool, name, &options));
  for (int i = 0; i < allocations; i++) {
    unsigned char *at;
    OK(pmalloc_pool_alloc(pool, (size_t)i * 37 % 5000 + 1, 0, (void **)&at));
    memset(at, i, (size_t)i * 37 % 5000 + 1);
  }
  OK(pmalloc_pool_protect_as(pool, PMALLOC_IMMUTABLE));
  OK(pmalloc_pool_fileno(pool, fd));
  return pool;
}

/* ---- two processes ---- */

static void send_descriptor(int to, int fd) {
  char room[CMSG_SPACE(sizeof fd)] = {0}, byte = 0;
  struct iovec part = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(header), &fd, sizeof fd);
  CHECK(sendmsg(to, &message, 0) == 1);
}

static int receive_descriptor(int from) {
  char room[CMSG_SPACE(sizeof(int))], byte;
  struct iovec part = {&byte, 1};
  struct msghdr message = {
      .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  int fd = -1;
  if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message))
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  return fd;
}

/* Born before the pool: nothing reaches it but the descriptor. */
static void be_the_other(int from) {
  pmalloc_shared *shared;
  const void *at = NULL;
  size_t size = 0;
  int fd = receive_descriptor(from);
  OK(pmalloc_shared_open(&shared, fd, PMALLOC_SHARED_SEAL));
  CHECK(pmalloc_shared_count(shared) == 300);
  CHECK(strcmp(pmalloc_shared_name(shared), "two processes") == 0);
  size_t sum = 0, wanted = 0;
  for (size_t n = 0; n < 300; n++) {
    OK(pmalloc_shared_get(shared, n, &at, &size));
    sum += size;
    wanted += n * 37 % 5000 + 1;
    const unsigned char *bytes = at;
    CHECK(bytes[0] == bytes[size - 1]);
    struct pmalloc_where where;
    CHECK(pmalloc_registry_find((uintptr_t)at + size - 1, &where) && where.place == PMALLOC_DATA);
    CHECK(where.protected_ && strcmp(where.pool_name, "two processes") == 0);
    CHECK(where.object_start == (uintptr_t)at && where.object_end == (uintptr_t)at + size);
  }
  CHECK(sum == wanted);
  CHECK(pmalloc_shared_get(shared, 300, &at, &size) == PMALLOC_ERR_FOREIGN);
  WRITE_FAULTS(at);
  void *page = (void *)((uintptr_t)at & -pages_page_size());
  CHECK(mprotect(page, 4096, PROT_READ | PROT_WRITE) == -1);
  CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
  if (pmalloc_shared_is_sealed(shared)) {
    CHECK(munmap(page, 4096) == -1 && errno == EPERM);
    CHECK(pmalloc_shared_close(shared) == PMALLOC_ERR_SEALED);
  }
  OK(pmalloc_shared_open(&shared, fd, 0));
  close(fd);
  OK(pmalloc_shared_get(shared, 7, &at, &size));
  CHECK(((const unsigned char *)at)[0] == ((const unsigned char *)at)[size - 1]);
  OK(pmalloc_shared_close(shared));
  READ_FAULTS(at);
  struct pmalloc_where where;
  CHECK(pmalloc_registry_find((uintptr_t)at, &where) && where.place == PMALLOC_DESTROYED);
  _exit(check_failed != 0);
}

static void test_two_processes(void) {
  int ends[2], fd, status;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  pid_t child = fork();
  if (child == 0)
    be_the_other(ends[1]);
  pmalloc_pool *pool = immutable("two processes", 300, &fd);
  send_descriptor(ends[0], fd);
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(pmalloc_pool_state(pool) == PMALLOC_PROTECTED);
  close(ends[0]);
  close(ends[1]);
}

/* ---- strangers' files ---- */

static int memfd_of(const void *content, size_t n) {
  int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  CHECK(fd >= 0 && write(fd, content, n) == (ssize_t)n);
  return fd;
}

/* Opens it in every way; whatever is believed must be readable to the last byte. 1: believed. */
static int try_file(int fd, int trusted) {
  pmalloc_shared *shared;
  enum pmalloc_status status =
      pmalloc_shared_open(&shared, fd, trusted ? PMALLOC_SHARED_TRUSTED : 0);
  if (status != PMALLOC_OK) {
    CHECK(status == PMALLOC_ERR_FORMAT || (!trusted && status == PMALLOC_ERR_MUTABLE));
    return 0;
  }
  struct stat s;
  CHECK(fstat(fd, &s) == 0 && pmalloc_shared_bytes(shared) == (size_t)s.st_size);
  volatile unsigned char sum = 0;
  for (size_t n = 0; n < pmalloc_shared_count(shared); n++) {
    const void *at;
    size_t size;
    OK(pmalloc_shared_get(shared, n, &at, &size));
    if (size) {
      sum = (unsigned char)(sum + *(const unsigned char *)at);
      sum = (unsigned char)(sum + ((const unsigned char *)at)[size - 1]);
    }
    struct pmalloc_where where;
    CHECK(pmalloc_registry_find((uintptr_t)at, &where));
  }
  CHECK(strlen(pmalloc_shared_name(shared)) <= PMALLOC_NAME_MAX);
  OK(pmalloc_shared_close(shared));
  return 1;
}

static void test_seals_are_asked_for(void) {
  int fd;
  immutable("seals", 3, &fd);
  CHECK(try_file(fd, 0) == 1);
  struct stat s;
  CHECK(fstat(fd, &s) == 0);
  char *content = malloc((size_t)s.st_size);
  CHECK(pread(fd, content, (size_t)s.st_size, 0) == s.st_size);
  for (int seals = 0; seals <= ALL_SEALS; seals++) {
    int copy = memfd_of(content, (size_t)s.st_size);
    if (seals & ~ALL_SEALS)
      continue;
    CHECK(fcntl(copy, F_ADD_SEALS, seals) == 0);
    CHECK(try_file(copy, 0) == (seals == ALL_SEALS));
    CHECK(try_file(copy, 1) == 1);
    close(copy);
  }
  /* F_SEAL_FUTURE_WRITE is no seal to trust: an older mapping still writes. */
  int copy = memfd_of(content, (size_t)s.st_size);
  CHECK(fcntl(copy, F_ADD_SEALS, (ALL_SEALS & ~F_SEAL_WRITE) | 0x10) != 0 ||
        try_file(copy, 0) == 0);
  close(copy);
  free(content);
}

static void test_no_pool_at_all(void) {
  static const char text[8192] = "no pool";
  pmalloc_shared *shared;
  int ends[2], directory = open("/", O_RDONLY | O_CLOEXEC);
  CHECK(pipe(ends) == 0);
  int others[] = {ends[0], directory, open("/dev/null", O_RDONLY | O_CLOEXEC)};
  for (int i = 0; i < 3; i++) {
    CHECK(pmalloc_shared_open(&shared, others[i], 0) == PMALLOC_ERR_MUTABLE);
    CHECK(pmalloc_shared_open(&shared, others[i], PMALLOC_SHARED_TRUSTED) == PMALLOC_ERR_FORMAT);
    close(others[i]);
  }
  close(ends[1]);
  CHECK(pmalloc_shared_open(&shared, -1, 0) == PMALLOC_ERR_SYSTEM && errno == EBADF);
  CHECK(pmalloc_shared_open(&shared, 12345, 0) == PMALLOC_ERR_SYSTEM && errno == EBADF);
  for (size_t n = 0; n <= sizeof text; n = n * 3 + 1) {
    int fd = memfd_of(text, n);
    CHECK(try_file(fd, 1) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, ALL_SEALS) == 0);
    CHECK(try_file(fd, 0) == 0);
    close(fd);
  }
}

/* Header and table say nonsense, at random and on purpose. */
static void test_forged(long rounds) {
  static const uint64_t nasty[] = {0,
                                   1,
                                   15,
                                   16,
                                   4095,
                                   4096,
                                   1 << 20,
                                   UINT32_MAX,
                                   INT64_MAX,
                                   (uint64_t)1 << 63,
                                   UINT64_MAX - 15,
                                   UINT64_MAX};
  int fd;
  immutable("forged", 20, &fd);
  struct stat s;
  CHECK(fstat(fd, &s) == 0);
  size_t size = (size_t)s.st_size, words = size / 8;
  uint64_t *good = malloc(size), *bad = malloc(size);
  CHECK(pread(fd, good, size, 0) == s.st_size);
  uint64_t table = good[2];
  CHECK(good[1] == size && table > 4096 && table < size);
  long believed = 0;
  for (long round = 0; round < rounds; round++) {
    memcpy(bad, good, size);
    for (uint64_t changes = 1 + random64() % 3; changes > 0; changes--) {
      /* Mostly the header, else an entry of the table. */
      size_t at = random64() % 2 ? random64() % 5 : table / 8 + random64() % (words - table / 8);
      if (random64() % 3 == 0)
        bad[at] ^= (uint64_t)1 << random64() % 64;
      else if (random64() % 2)
        bad[at] = nasty[random64() % (sizeof nasty / sizeof *nasty)];
      else
        bad[at] += random64() % 65 - 32;
    }
    size_t cut = random64() % 8 ? size : random64() % size;
    int forged = memfd_of(bad, cut);
    if (random64() % 2)
      CHECK(fcntl(forged, F_ADD_SEALS, ALL_SEALS) == 0);
    believed += try_file(forged, random64() % 2 != 0);
    close(forged);
  }
  CHECK(believed > 0 && believed < rounds);
  free(good);
  free(bad);
}

/* A trusted file changes after it was opened: what is handed out stays inside. */
static void test_changed_later(void) {
  int fd;
  immutable("later", 20, &fd);
  struct stat s;
  CHECK(fstat(fd, &s) == 0);
  char *content = malloc((size_t)s.st_size);
  CHECK(pread(fd, content, (size_t)s.st_size, 0) == s.st_size);
  uint64_t table, wrong[2] = {UINT64_MAX - 15, 64};
  memcpy(&table, content + 16, sizeof table);
  int copy = memfd_of(content, (size_t)s.st_size);
  pmalloc_shared *shared;
  const void *at;
  size_t size;
  OK(pmalloc_shared_open(&shared, copy, PMALLOC_SHARED_TRUSTED));
  OK(pmalloc_shared_get(shared, 3, &at, &size));
  CHECK(pwrite(copy, wrong, sizeof wrong, (off_t)(table + 3 * sizeof wrong)) == sizeof wrong);
  CHECK(pmalloc_shared_get(shared, 3, &at, &size) == PMALLOC_ERR_FORMAT);
  struct pmalloc_where where;
  CHECK(pmalloc_registry_find((uintptr_t)at, &where) == 1);
  OK(pmalloc_shared_close(shared));
  close(copy);
  free(content);
}

/* Every call of an open() fails once: nothing is left, nothing is half open. */
static void test_failing_open(void) {
  int fd;
  immutable("failing", 5, &fd);
  for (int call = 0; call < PAGES_CALL_COUNT; call++) {
    for (int n = 0; n < 4; n++) {
      pmalloc_shared *shared = NULL;
      pages_inject((enum pages_call)call, n, ENOMEM, 0);
      enum pmalloc_status status = pmalloc_shared_open(&shared, fd, 0);
      pages_inject((enum pages_call)call, -1, 0, 0);
      if (status == PMALLOC_OK)
        OK(pmalloc_shared_close(shared));
      else
        CHECK(shared == NULL && status == PMALLOC_ERR_NOMEM && errno == ENOMEM);
    }
  }
  pages_inject(PAGES_CALL_MSEAL, 0, ENOSYS, 1); /* a kernel without: open all the same */
  pmalloc_shared *shared;
  OK(pmalloc_shared_open(&shared, fd, PMALLOC_SHARED_SEAL));
  CHECK(!pmalloc_shared_is_sealed(shared));
  OK(pmalloc_shared_close(shared));
  pages_inject(PAGES_CALL_MSEAL, -1, 0, 0);
}

static void test_index(void) {
  const struct pmalloc_options options = {.backing = PMALLOC_MEMFD};
  pmalloc_pool *pool, *other;
  void *at, *objects;
  size_t index;
  struct pmalloc_region region;
  OK(pmalloc_pool_create_with(&pool, "index", &options));
  OK(pmalloc_pool_create(&other, "other", 0));
  OK(pmalloc_pool_alloc(other, 10, 0, &objects));
  OK(pmalloc_pool_alloc(pool, 10, 0, &at));
  OK(pmalloc_pool_region(pool, 100, &region));
  pmalloc_region_mark(&region, region.base);
  pmalloc_region_commit(pool, &region, 1);
  CHECK(pmalloc_pool_shared_index(pool, at, &index) == PMALLOC_ERR_INVALID);
  OK(pmalloc_pool_protect_as(pool, PMALLOC_IMMUTABLE));
  OK(pmalloc_pool_shared_index(pool, at, &index));
  CHECK(index == 0);
  CHECK(pmalloc_pool_shared_index(pool, NULL, &index) == PMALLOC_ERR_FOREIGN);
  CHECK(pmalloc_pool_shared_index(pool, objects, &index) == PMALLOC_ERR_FOREIGN);
  CHECK(pmalloc_pool_shared_index(pool, region.base, &index) == PMALLOC_ERR_FOREIGN);
  OK(pmalloc_pool_destroy(other));
  pmalloc_pool_forget(other);
}

int main(int argc, char **argv) {
  if (argc > 1)
    state = strtoull(argv[1], NULL, 0) | 1;
  if (syscall(462, 0UL, 0UL, 0UL) != 0) {
    printf("test_share: skipped, this kernel has no mseal: no pool can be shared\n");
    return 0;
  }
  test_two_processes();
  test_seals_are_asked_for();
  test_no_pool_at_all();
  test_forged(argc > 2 ? atol(argv[2]) : 20000);
  test_changed_later();
  test_failing_open();
  test_index();
  return finish("share");
}

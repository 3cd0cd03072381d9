/* attack_calls: system calls of somebody who runs code of his own in the process.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_TESTS_ATTACK_CALLS_H
#define PMALLOC_TESTS_ATTACK_CALLS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYS_MSEAL 462
#define UFFD_FOR_USERS 1 /* UFFD_USER_MODE_ONLY, Linux 5.11 */

enum { WORD = 7 };
#define GENUINE "genuine"
#define FORGED "mallory"

static inline size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static inline const char *error_name(int number) {
  static const struct {
    int number;
    const char *name;
  } known[] = {{EPERM, "EPERM"},   {EINVAL, "EINVAL"}, {ENOSYS, "ENOSYS"}, {EACCES, "EACCES"},
               {EFAULT, "EFAULT"}, {EBUSY, "EBUSY"},   {EIO, "EIO"},       {ENOMEM, "ENOMEM"},
               {EEXIST, "EEXIST"}, {ENOENT, "ENOENT"}, {EBADF, "EBADF"},   {ENOTSUP, "EOPNOTSUPP"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    if (known[i].number == number)
      return known[i].name;
  }
  return "?";
}

/* ---- what a reader finds ---- */

struct sight {
  int told;     /* 0: nobody has looked yet */
  int readable; /* 0: reading would fault */
  int may_go;   /* genuine, but the kernel may drop it at any time */
  int killed;   /* the signal that ended the child that was to look; 0: none */
  char bytes[WORD];
};

/* Reads as the process itself would: write(2) answers EFAULT for what cannot be read, and needs no
 * permission. */
static inline void see(const void *address, struct sight *sight) {
  int ends[2];
  *sight = (struct sight){.told = 1};
  if (pipe(ends) != 0)
    abort();
  sight->readable = syscall(SYS_write, ends[1], address, (size_t)WORD) == WORD &&
                    read(ends[0], sight->bytes, WORD) == WORD;
  close(ends[0]);
  close(ends[1]);
}

/* An ordinary store, by this thread. */
static inline void store(void *address, const char *word) {
  volatile char *to = address;
  for (int i = 0; i < WORD; i++)
    to[i] = word[i];
}

/* Anonymous private memory: at an address, over whatever is there, or (NULL) anywhere. */
static inline void *fresh(void *address) {
  return mmap(address, page(), PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | (address ? MAP_FIXED : 0), -1, 0);
}

/* The descriptor of the file that is mapped there, found as an attacker would; -1: none. */
static inline int file_behind(const void *address) {
  unsigned long low, high, inode = 0;
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "re");
  while (maps && fgets(line, sizeof line, maps)) {
    if (sscanf(line, "%lx-%lx %*s %*s %*s %lu", &low, &high, &inode) == 3 &&
        low <= (uintptr_t)address && (uintptr_t)address < high)
      break;
    inode = 0;
  }
  if (maps)
    fclose(maps);
  for (int fd = 3; inode && fd < 256; fd++) {
    struct stat s;
    if (fstat(fd, &s) == 0 && s.st_ino == inode)
      return fd;
  }
  return -1;
}

/* The memfd once more, open for writing: /proc lets its owner do that. -1 with errno. */
static inline int open_writable(int fd) {
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return open(path, O_RDWR | O_CLOEXEC);
}

static inline size_t size_of(int fd) {
  struct stat s;
  return fstat(fd, &s) == 0 ? (size_t)s.st_size : 0;
}

/* ---- /proc/self/mem ---- */

/* Why it does not write a page that is read-only: an errno, or 0 where it does. */
static inline int proc_mem_error(void) {
  char *at = fresh(NULL);
  int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  int reason = memory < 0 ? errno : 0;
  *at = 1; /* a page of its own */
  if (mprotect(at, page(), PROT_READ) != 0)
    abort();
  if (!reason && pwrite(memory, "x", 1, (off_t)(uintptr_t)at) != 1)
    reason = errno;
  if (memory >= 0)
    close(memory);
  munmap(at, page());
  return reason;
}

/* Takes it away: closes each descriptor of it, and lets no file be opened any more. */
static inline void shut_proc_mem(void) {
  const struct rlimit none = {0, 0};
  for (int fd = 3; fd < 1024; fd++) {
    char path[40], name[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, name, sizeof name);
    if (n > 4 && memcmp(name, "/proc", 5) == 0 && memcmp(name + n - 4, "/mem", 4) == 0)
      close(fd);
  }
  setrlimit(RLIMIT_NOFILE, &none);
}

/* ---- userfaultfd ---- */

/* Fills a page that is not present, without a store. */
static inline int uffd_copy(void *address, const char *word) {
  struct uffdio_api api = {.api = UFFD_API};
  struct uffdio_register range = {.range = {(uintptr_t)address, page()},
                                  .mode = UFFDIO_REGISTER_MODE_MISSING};
  void *room = fresh(NULL); /* the source is a whole page */
  struct uffdio_copy copy = {.dst = (uintptr_t)address, .src = (uintptr_t)room, .len = page()};
  int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_FOR_USERS);
  if (fd < 0)
    return -1;
  store(room, word);
  int done = ioctl(fd, UFFDIO_API, &api);
  if (done == 0)
    done = ioctl(fd, UFFDIO_REGISTER, &range);
  if (done == 0)
    done = ioctl(fd, UFFDIO_COPY, &copy);
  int reason = errno;
  close(fd);
  errno = reason;
  return done;
}

/* ---- io_uring ---- */

/* One with a registered buffer: pages pinned for writing. */
struct ring {
  int fd;
  struct io_uring_params params;
  char *submit, *complete;
  struct io_uring_sqe *entries;
};

static inline void *ring_part(int fd, size_t bytes, off_t offset) {
  return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

/* 0, or -1 with errno: the kernel has no io_uring, forbids it, or cannot pin the pages. */
static inline int ring_pin(struct ring *r, void *address, size_t bytes) {
  struct iovec span = {address, bytes};
  *r = (struct ring){.fd = -1};
  r->fd = (int)syscall(SYS_io_uring_setup, 4U, &r->params);
  if (r->fd < 0)
    return -1;
  r->submit = ring_part(r->fd, r->params.sq_off.array + r->params.sq_entries * sizeof(uint32_t),
                        IORING_OFF_SQ_RING);
  r->complete =
      ring_part(r->fd, r->params.cq_off.cqes + r->params.cq_entries * sizeof(struct io_uring_cqe),
                IORING_OFF_CQ_RING);
  r->entries =
      ring_part(r->fd, r->params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
  if (r->submit == MAP_FAILED || r->complete == MAP_FAILED || r->entries == MAP_FAILED)
    return -1;
  return (int)syscall(SYS_io_uring_register, r->fd, IORING_REGISTER_BUFFERS, &span, 1U);
}

static inline uint32_t *ring_word(char *part, uint32_t offset) {
  return (uint32_t *)(void *)(part + offset);
}

/* Lets the kernel read a file into the registered pages, whatever they are now. */
static inline int ring_read(struct ring *r, int file, void *address, size_t bytes) {
  struct io_uring_cqe done;
  r->entries[0] = (struct io_uring_sqe){.opcode = IORING_OP_READ_FIXED,
                                        .fd = file,
                                        .addr = (uintptr_t)address,
                                        .len = (uint32_t)bytes};
  *ring_word(r->submit, r->params.sq_off.array) = 0;
  __atomic_add_fetch(ring_word(r->submit, r->params.sq_off.tail), 1, __ATOMIC_RELEASE);
  if (syscall(SYS_io_uring_enter, r->fd, 1U, 1U, IORING_ENTER_GETEVENTS, NULL, 0UL) < 0)
    return -1;
  uint32_t head = __atomic_load_n(ring_word(r->complete, r->params.cq_off.head), __ATOMIC_ACQUIRE);
  head &= *ring_word(r->complete, r->params.cq_off.ring_mask);
  memcpy(&done, r->complete + r->params.cq_off.cqes + head * sizeof done, sizeof done);
  if (done.res >= 0)
    return 0;
  errno = -done.res;
  return -1;
}

/* ---- children ---- */

/* Runs work() in a forked child, and keeps what it saw, or the signal that killed it. Where `poke`
 * is not NULL, a debugger's write to the child's memory comes first. 0, or -1 with errno. */
static inline int in_child(void (*work)(void *, struct sight *), void *of, const char *poke,
                           struct sight *sight) {
  int ends[2], status = 0, reason = 0;
  if (pipe(ends) != 0)
    abort();
  pid_t child = fork();
  if (child == 0) {
    struct sight mine;
    if (poke && (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || raise(SIGSTOP) != 0))
      _exit(1);
    work(of, &mine);
    _exit(write(ends[1], &mine, sizeof mine) != sizeof mine);
  }
  close(ends[1]);
  if (poke) {
    long word = 0;
    memcpy(&word, poke, WORD);
    if (waitpid(child, &status, WUNTRACED) != child || !WIFSTOPPED(status))
      reason = EPERM;
    else if (ptrace(PTRACE_POKEDATA, child, *(void **)of, word) != 0)
      reason = errno;
    if (reason)
      kill(child, SIGKILL);
    else
      ptrace(PTRACE_CONT, child, NULL, NULL);
  }
  *sight = (struct sight){.told = 1};
  if (read(ends[0], sight, sizeof *sight) != sizeof *sight)
    sight->told = 1;
  close(ends[0]);
  waitpid(child, &status, 0);
  if (reason) {
    sight->told = 0;
    errno = reason;
    return -1;
  }
  if (WIFSIGNALED(status))
    sight->killed = WTERMSIG(status);
  return 0;
}

#endif

/* pages_file: the memfd that the chunks of a pool show, if the pool wants one.
 *
 *   | header page | chunk 0 | chunk 1 |  hole  | chunk 2, on 2 MiB | table of allocations |
 *   0             1 page                                                               end
 *
 * Chunks are appended; their pages are allocated (fallocate) before a mapping
 * shows them, so that no first touch is a SIGBUS. A hole takes no memory.
 *
 * A descriptor is a small number in writable memory, and programs that become
 * daemons close numbers they do not know. It may then be somebody else's file,
 * so before each use device and inode are compared with what we opened.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pages_internal.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

void pages_clean_name(char clean[PAGES_NAME_ROOM], const char *name) {
  snprintf(clean, PAGES_NAME_ROOM, "pmalloc:%s", name);
  for (char *c = clean; *c; c++) {
    if (*c < 0x20 || *c > 0x7e || strchr("[]\\$`", *c))
      *c = '_';
  }
}

int pages_call_fallocate(int fd, size_t offset, size_t bytes) {
  int done = pages_refused(PAGES_CALL_FALLOCATE) ? -2 : -1;
  while (done == -1) {
    done = fallocate(fd, 0, (off_t)offset, (off_t)bytes);
    if (done == -1 && errno != EINTR)
      break;
  }
  return done == 0 ? 0 : -1;
}

static ssize_t call_pwrite(int fd, const void *from, size_t n, size_t offset) {
  return pages_refused(PAGES_CALL_WRITE) ? -1 : pwrite(fd, from, n, (off_t)offset);
}

int pages_call_reopen(int fd) {
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return pages_refused(PAGES_CALL_REOPEN) ? -1 : open(path, O_RDONLY | O_CLOEXEC);
}

static int call_add_seals(int fd) {
  return pages_refused(PAGES_CALL_ADD_SEALS) ? -1 : fcntl(fd, F_ADD_SEALS, PAGES_IMMUTABLE_SEALS);
}

/* Beyond 0 to 2, which programs close and use without looking. */
static int keep(struct pages_file *file, int fd) {
  struct stat s;
  int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
  int reason = errno;
  if (fd >= 0)
    close(fd);
  errno = reason;
  if (high < 0)
    return -1;
  if (fstat(high, &s) != 0) {
    close(high);
    return -1;
  }
  file->fd = high;
  file->device = s.st_dev;
  file->inode = s.st_ino;
  return 0;
}

enum pmalloc_status pages_file_open(struct pages_file *file, const char *name) {
  char clean[PAGES_NAME_ROOM];
  struct pages_file made = {.end = pages_page_size()};
  pages_clean_name(clean, name);
  int fd = pages_call_memfd(clean, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
    fd = pages_call_memfd(clean, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (keep(&made, fd) != 0)
    return errno == ENOSYS || errno == EINVAL || errno == EPERM ? PMALLOC_ERR_UNSUPPORTED
                                                                : pages_from_errno();
  if (pages_call_fallocate(made.fd, 0, made.end) != 0) {
    int reason = errno;
    close(made.fd);
    errno = reason;
    return pages_from_errno();
  }
  *file = made;
  return PMALLOC_OK;
}

int pages_is_file(const struct pages_file *file, int fd) {
  struct stat s;
  return fstat(fd, &s) == 0 && s.st_dev == file->device && s.st_ino == file->inode;
}

int pages_file_check(const struct pages_file *file) {
  if (pages_is_file(file, file->fd))
    return 0;
  errno = EBADF;
  return -1;
}

enum pmalloc_status pages_file_write(struct pages_file *file, const void *from, size_t n,
                                     size_t offset) {
  if (pages_file_check(file) != 0)
    return pages_from_errno();
  for (size_t done = 0; done < n;) {
    ssize_t part = call_pwrite(file->fd, (const char *)from + done, n - done, offset + done);
    if (part <= 0)
      return pages_from_errno();
    done += (size_t)part;
  }
  if (file->end < offset + n)
    file->end = offset + n;
  return PMALLOC_OK;
}

int pages_file_poke(const struct pages_file *file, const struct pages *p, uintptr_t address,
                    const void *from, size_t n) {
  int kept = errno;
  size_t offset = p->offset + (address - (uintptr_t)p->base), done = 0;
  int mine = pages_file_check(file) == 0;
  while (mine && done < n) {
    ssize_t part = call_pwrite(file->fd, (const char *)from + done, n - done, offset + done);
    if (part <= 0)
      break;
    done += (size_t)part;
  }
  errno = kept;
  return mine && done == n ? 0 : -1;
}

static int try_poke(void) {
  struct pages_file probe = {0};
  struct pages p;
  char seven = 7;
  int works = 0;
  if (pages_file_open(&probe, "probe") != PMALLOC_OK)
    return 0;
  if (pages_map_file(&p, 1, 0, "probe", &probe) == PMALLOC_OK) {
    works = pages_protect(&p) == PMALLOC_OK &&
            pages_file_poke(&probe, &p, (uintptr_t)p.base, &seven, 1) == 0 &&
            *(volatile char *)p.base == 7;
    (void)pages_unmap(&p);
  }
  pages_file_close(&probe);
  return works;
}

int pages_file_poke_works(void) {
  static atomic_int known; /* 0: not tried; two threads that try it learn the same */
  int answer = atomic_load(&known);
  if (answer == 0) {
    int kept = errno;
    answer = try_poke() ? 1 : -1;
    errno = kept;
    atomic_store(&known, answer);
  }
  return answer > 0;
}

void pages_file_cut(struct pages_file *file, size_t end) {
  int kept = errno;
  if (pages_file_check(file) == 0 && ftruncate(file->fd, (off_t)end) == 0)
    file->end = end;
  errno = kept;
}

void pages_file_close(struct pages_file *file) {
  int kept = errno;
  if (file->inode && pages_is_file(file, file->fd))
    close(file->fd);
  if (file->reader && pages_is_file(file, file->reader))
    close(file->reader);
  *file = (struct pages_file){0};
  errno = kept;
}

int pages_file_is_immutable(int fd) {
  int seals = fcntl(fd, F_GET_SEALS);
  return seals < 0 ? -1 : (seals & PAGES_IMMUTABLE_SEALS) == PAGES_IMMUTABLE_SEALS;
}

enum pmalloc_status pages_file_seal(struct pages_file *file) {
  if (pages_file_check(file) != 0)
    return pages_from_errno();
  if (call_add_seals(file->fd) != 0)
    return errno == EBUSY ? PMALLOC_ERR_BUSY : pages_from_errno();
  if (file->reader && pages_is_file(file, file->reader)) {
    close(file->fd); /* what is handed out can't even be asked to write */
    file->fd = file->reader;
  }
  file->reader = 0;
  return PMALLOC_OK;
}

/* pages_ask: what can be known about an address without touching it.
 *
 * Nothing here alters anything. pages_peek() and pages_is_readonly() must give an answer about any
 * address at all, from a garbage pointer to a page that has gone: so it is the kernel that reads,
 * and says EFAULT where we would have been sent a signal.
 *
 *     pages_peek          process_vm_readv ---- refused? ----> write() into a pipe
 *     pages_is_readonly   process_vm_readv onto itself ------> /proc/self/maps
 *
 * ASYNC-SIGNAL-SAFE: pages_peek(), pages_peek_some().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pages_internal.h"

size_t pages_resident(const struct pages *p) {
  unsigned char present[1024];
  size_t page = pages_page_size(), bytes = 0;
  int kept = errno;
  for (size_t at = 0; at < p->size; at += sizeof present * page) {
    size_t part = p->size - at < sizeof present * page ? p->size - at : sizeof present * page;
    if (mincore(p->base + at, part, present) != 0)
      break;
    for (size_t i = 0; i < part / page; i++)
      bytes += present[i] & 1 ? page : 0;
  }
  errno = kept;
  return bytes;
}

/* What /proc/self/maps says about a page: 1 read-only, 0 writable, -1 unknown.
 * It does not show guard markers, but nobody asks about those. */
static int maps_say_readonly(uintptr_t address) {
  FILE *maps = fopen("/proc/self/maps", "re");
  char line[512];
  int answer = -1;
  if (!maps)
    return -1;
  while (answer < 0 && fgets(line, sizeof line, maps)) {
    unsigned long start, end;
    char mode[8];
    if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) != 3)
      continue; /* the rest of a very long line */
    if (address >= end)
      continue;
    /* The list is sorted: an address below this range is not mapped at all. */
    answer = address < start || mode[1] != 'w';
  }
  fclose(maps);
  return answer;
}

int pages_is_readonly(const void *address) {
  int kept = errno;
  /* The kernel copies the eight bytes onto themselves: it goes through the same
   * page tables as a store would, and answers with an error, not a signal. */
  ssize_t copied = pages_call_peek((void *)(uintptr_t)address, address, 8);
  int answer;
  if (copied == 8)
    answer = 0;
  else if (copied >= 0 || errno == EFAULT)
    answer = 1;
  else
    answer = maps_say_readonly((uintptr_t)address);
  errno = kept;
  return answer;
}

/* Where process_vm_readv is refused: write() answers EFAULT for what it cannot
 * read, so the bytes go through a pipe, a part at a time that always fits. Bare
 * system calls: the wrappers are cancellation points. */
static int peek_through_pipe(char *to, const char *from, size_t n) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
    return -1;
  while (n > 0) {
    size_t part = n < PIPE_BUF ? n : PIPE_BUF;
    if (syscall(SYS_write, ends[1], from, part) != (long)part ||
        syscall(SYS_read, ends[0], to, part) != (long)part)
      break;
    to += part;
    from += part;
    n -= part;
  }
  close(ends[0]);
  close(ends[1]);
  return n == 0 ? 0 : -1;
}

int pages_peek(void *to, const void *from, size_t n) {
  int kept = errno;
  ssize_t copied = pages_call_peek(to, from, n);
  int answer = copied == (ssize_t)n ? 0 : -1;
  if (copied < 0 && errno != EFAULT)
    answer = peek_through_pipe(to, from, n);
  errno = kept;
  return answer;
}

size_t pages_peek_some(void *to, uintptr_t from, size_t n) {
  size_t left = pages_page_size() - (from & (pages_page_size() - 1));
  if (pages_peek(to, (const void *)from, n) == 0)
    return n;
  return left < n && pages_peek(to, (const void *)from, left) == 0 ? left : 0;
}

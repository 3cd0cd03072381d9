/* pages: the verbs behind which the kernel's memory calls live.
 *
 * A mapping is one mmap with a guard page on either side:
 *
 *      outer        base                           base+size
 *        |  guard    |  usable                      |   guard   |
 *        +-----------+------------------------------+-----------+
 *   6.13+ ---------------- one mapping (VMA) --------------------   markers
 *   older  -- VMA --- ------------- VMA ------------ --- VMA ---    PROT_NONE
 *
 * Linux 6.13 can mark pages of a mapping as guards (MADV_GUARD_INSTALL): the
 * mark lives in the page table, survives mprotect and fork, and spares two of
 * the 65,530 mappings a process may have. Elsewhere, and for the mappings where
 * the kernel refuses (locked ones, for instance), guards are PROT_NONE.
 *
 * With markers a protect covers guards and all, so that the mapping stays in
 * one piece; the marks still answer every access with SIGSEGV.
 *
 * PROT_WRITE appears in two places: where a mapping is made, and where a
 * protect of several mappings failed half-way and is taken back.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

_Static_assert(sizeof(void *) == 8, "pmalloc supports 64-bit Linux only");

/* 0: not asked yet, 1: the kernel has guard markers, -1: it has not. */
static atomic_int guard_markers;

/* ---- the system calls, with the fault injection of the tests ---- */

#ifdef PMALLOC_FAULT_INJECTION
static struct {
  atomic_long countdown;
  int error;
  int sticky;
} injected[PAGES_CALL_COUNT] = {{-1, 0, 0}, {-1, 0, 0}, {-1, 0, 0}, {-1, 0, 0}, {-1, 0, 0}};

void pages_inject(enum pages_call call, long countdown, int error, int sticky) {
  injected[call].error = error;
  injected[call].sticky = sticky;
  atomic_store(&injected[call].countdown, countdown);
  if (call == PAGES_CALL_MADVISE)
    atomic_store(&guard_markers, 0); /* ask the kernel, or the injection, anew */
}

static int refused(enum pages_call call) {
  long now = atomic_load(&injected[call].countdown);
  if (now < 0)
    return 0;
  if (now > 0) {
    atomic_store(&injected[call].countdown, now - 1);
    return 0;
  }
  if (!injected[call].sticky)
    atomic_store(&injected[call].countdown, -1);
  errno = injected[call].error;
  return 1;
}
#else
#define refused(call) 0
#endif

static void *call_mmap(void *at, size_t bytes, int prot, int flags) {
  if (refused(PAGES_CALL_MMAP))
    return MAP_FAILED;
  return mmap(at, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static int call_mprotect(void *at, size_t bytes, int prot) {
  if (refused(PAGES_CALL_MPROTECT))
    return -1;
  return mprotect(at, bytes, prot);
}

static int call_munmap(void *at, size_t bytes) {
  if (refused(PAGES_CALL_MUNMAP))
    return -1;
  return munmap(at, bytes);
}

static int call_madvise(void *at, size_t bytes, int advice) {
  if (refused(PAGES_CALL_MADVISE))
    return -1;
  return madvise(at, bytes, advice);
}

/* Past libc's wrapper: a sanitizer would look at the bytes, which may not be there. */
static ssize_t call_peek(void *to, const void *from, size_t n) {
  if (refused(PAGES_CALL_PEEK))
    return -1;
  struct iovec local = {to, n};
  struct iovec remote = {(void *)(uintptr_t)from, n};
  return syscall(SYS_process_vm_readv, getpid(), &local, 1UL, &remote, 1UL, 0UL);
}

static enum pmalloc_status from_errno(void) {
  return errno == ENOMEM || errno == EAGAIN ? PMALLOC_ERR_NOMEM : PMALLOC_ERR_SYSTEM;
}

/* ---- sizes ---- */

size_t pages_page_size(void) {
  static atomic_size_t known;
  size_t size = atomic_load_explicit(&known, memory_order_relaxed);
  if (size == 0) {
    long answer = sysconf(_SC_PAGESIZE);
    size = answer > 0 ? (size_t)answer : 4096;
    atomic_store_explicit(&known, size, memory_order_relaxed);
  }
  return size;
}

size_t pages_round(size_t bytes) {
  size_t mask = pages_page_size() - 1;
  return bytes > SIZE_MAX - mask ? 0 : (bytes + mask) & ~mask;
}

/* ---- making a mapping ---- */

/* Gives a mapping its name. The kernel takes printable ASCII without []\$`, 79
 * bytes of it; what it would refuse becomes '_'. A kernel without names, or
 * without memory for one, costs us nothing but the name. */
static void give_name(char *outer, size_t outer_size, const char *name) {
  char clean[80];
  int kept = errno;
  snprintf(clean, sizeof clean, "pmalloc:%s", name);
  for (char *c = clean; *c; c++) {
    if (*c < 0x20 || *c > 0x7e || strchr("[]\\$`", *c))
      *c = '_';
  }
  prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, outer, outer_size, clean);
  errno = kept;
}

/* Marks the first and last page of the mapping as guards. */
static int guard(struct pages *p, size_t page) {
  char *last = p->outer + p->outer_size - page;
  if (atomic_load_explicit(&guard_markers, memory_order_relaxed) >= 0) {
    if (call_madvise(p->outer, page, MADV_GUARD_INSTALL) == 0 &&
        call_madvise(last, page, MADV_GUARD_INSTALL) == 0) {
      atomic_store_explicit(&guard_markers, 1, memory_order_relaxed);
      p->markers = 1;
      return 0;
    }
    /* Never seen to work here: do not ask for every mapping again. Where it
     * worked before, it is this one mapping that cannot have markers. */
    int unknown = 0;
    atomic_compare_exchange_strong(&guard_markers, &unknown, -1);
  }
  p->markers = 0;
  if (call_mprotect(p->outer, page, PROT_NONE) != 0)
    return -1;
  return call_mprotect(last, page, PROT_NONE);
}

/* Makes every usable page present now, so that no later first touch can fail
 * and no userfaultfd can slip contents in. */
static int prefault(struct pages *p, size_t page) {
  for (;;) {
    if (call_madvise(p->base, p->size, MADV_POPULATE_WRITE) == 0)
      return 0;
    if (errno == EINVAL || errno == ENOSYS || errno == EPERM)
      break; /* before Linux 5.14, or a sandbox */
    if (errno != EINTR && errno != EAGAIN)
      return -1;
#ifdef PMALLOC_FAULT_INJECTION
    if (atomic_load(&injected[PAGES_CALL_MADVISE].countdown) == 0)
      return -1; /* a sticky EINTR would spin for ever */
#endif
  }
  for (size_t at = 0; at < p->size; at += page)
    *(volatile char *)(p->base + at) = 0;
  return 0;
}

/* Finds room for the mapping. A 2 MiB-aligned base is cut out of a larger one. */
static int reserve(struct pages *p, size_t page, unsigned flags) {
  size_t outer_size = p->size + 2 * page;
  size_t whole_size = flags & PAGES_HUGE_OK ? outer_size + PAGES_HUGE : outer_size;
  char *whole = call_mmap(NULL, whole_size, PROT_READ | PROT_WRITE, 0);
  if (whole == MAP_FAILED)
    return -1;
  p->outer = whole;
  p->outer_size = whole_size;
  if (flags & PAGES_HUGE_OK) {
    uintptr_t lowest = (uintptr_t)whole + page;
    size_t head = (size_t)(-lowest & (PAGES_HUGE - 1));
    size_t tail = whole_size - head - outer_size;
    if (head != 0) {
      if (call_munmap(whole, head) != 0)
        return -1;
      p->outer = whole + head;
      p->outer_size = whole_size - head;
    }
    if (tail != 0) {
      if (call_munmap(p->outer + outer_size, tail) != 0)
        return -1;
      p->outer_size = outer_size;
    }
  }
  p->base = p->outer + page;
  return 0;
}

enum pmalloc_status pages_map(struct pages *out, size_t bytes, unsigned flags, const char *name) {
  size_t page = pages_page_size();
  struct pages p = {.size = pages_round(bytes)};
  if (bytes == 0)
    return PMALLOC_ERR_INVALID;
  if (p.size == 0 || p.size > (size_t)PTRDIFF_MAX - PAGES_HUGE - 2 * page) {
    errno = ENOMEM;
    return PMALLOC_ERR_NOMEM;
  }
  if (reserve(&p, page, flags) != 0)
    goto failed;
  give_name(p.outer, p.outer_size, name);
  if (guard(&p, page) != 0)
    goto failed;
  if (flags & PAGES_HUGE_OK) {
    int kept = errno; /* advice only: a kernel without huge pages will do */
    call_madvise(p.base, p.size, MADV_HUGEPAGE);
    errno = kept;
  }
  if (!(flags & PAGES_LAZY) && prefault(&p, page) != 0)
    goto failed;
  *out = p;
  return PMALLOC_OK;

failed:;
  int reason = errno;
  if (p.outer)
    munmap(p.outer, p.outer_size); /* nothing to be done where this fails too */
  errno = reason;
  return from_errno();
}

/* ---- protecting ---- */

static int set_protection(const struct pages *p, int prot) {
  return p->markers ? call_mprotect(p->outer, p->outer_size, prot)
                    : call_mprotect(p->base, p->size, prot);
}

enum pmalloc_status pages_protect(const struct pages *p) {
  return set_protection(p, PROT_READ) == 0 ? PMALLOC_OK : from_errno();
}

/* Mappings made one after the other usually lie side by side. Where their guards
 * are markers, a run of them takes one call: nothing lies in between. */
static size_t run_of(pages_nth nth, void *of, size_t i, struct pages *run) {
  const struct pages *p = nth(of, i++);
  *run = *p;
  if (!p->markers)
    return i;
  for (; (p = nth(of, i)) != NULL && p->markers; i++) {
    if (p->outer + p->outer_size == run->outer)
      run->outer = p->outer;
    else if (p->outer != run->outer + run->outer_size)
      break;
    run->outer_size += p->outer_size;
  }
  return i;
}

enum pmalloc_status pages_protect_all(pages_nth nth, void *of) {
  struct pages run;
  for (size_t i = 0; nth(of, i) != NULL;) {
    i = run_of(nth, of, i, &run);
    if (set_protection(&run, PROT_READ) == 0)
      continue;
    /* Back to how it was; the failed call may have done a part of its run. */
    int reason = errno;
    while (i-- > 0) {
      const struct pages *p = nth(of, i);
      mprotect(p->markers ? p->outer : p->base, p->markers ? p->outer_size : p->size,
               PROT_READ | PROT_WRITE);
    }
    errno = reason;
    return from_errno();
  }
  return PMALLOC_OK;
}

/* ---- giving back ---- */

enum pmalloc_status pages_retire(struct pages *p) {
  if (call_mmap(p->outer, p->outer_size, PROT_NONE, MAP_FIXED | MAP_NORESERVE) != MAP_FAILED)
    return PMALLOC_OK;
  /* At the limit of mappings the kernel refuses even a replacement. Closing
   * the mapping where it lies and dropping its memory needs no new one. */
  if (call_mprotect(p->outer, p->outer_size, PROT_NONE) != 0)
    return from_errno();
  call_madvise(p->base, p->size, MADV_DONTNEED);
  return PMALLOC_OK;
}

enum pmalloc_status pages_unmap(struct pages *p) {
  return call_munmap(p->outer, p->outer_size) == 0 ? PMALLOC_OK : from_errno();
}

void *pages_scratch(void *old, size_t old_bytes, size_t bytes) {
  size_t from = pages_round(old_bytes), to = pages_round(bytes);
  if (bytes == 0) {
    if (old != NULL)
      (void)call_munmap(old, from);
    return NULL;
  }
  if (to == 0) {
    errno = ENOMEM;
    return NULL;
  }
  void *p = old == NULL ? call_mmap(NULL, to, PROT_READ | PROT_WRITE, MAP_NORESERVE)
                        : mremap(old, from, to, MREMAP_MAYMOVE);
  if (p == MAP_FAILED)
    return NULL;
  if (to >= 2 * PAGES_HUGE)
    (void)call_madvise(p, to, MADV_HUGEPAGE); /* fewer faults; as good without */
  return p;
}

/* ---- asking ---- */

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
  ssize_t copied = call_peek((void *)(uintptr_t)address, address, 8);
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
  ssize_t copied = call_peek(to, from, n);
  int answer = copied == (ssize_t)n ? 0 : -1;
  if (copied < 0 && errno != EFAULT)
    answer = peek_through_pipe(to, from, n);
  errno = kept;
  return answer;
}

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
 * A mapping that shows a memfd has PROT_NONE guards everywhere: markers in file
 * mappings came later still (6.15), and mseal lets anybody remove them again.
 *
 *   memfd   | header page | chunk 0 | chunk 1 |  hole  | chunk 2, on 2 MiB | table |
 *
 * To make it immutable, nothing may be left that could write into it:
 *
 *   writable, shared  --MAP_FIXED-->  read-only  --F_ADD_SEALS-->  --mseal-->
 *
 * A read-only mapping made through a writable descriptor counts as a writer, for
 * mprotect could make it one, so it is made through a second descriptor, opened
 * read-only by way of /proc. Without /proc a private mapping of the same pages
 * stands in until the seals are on, and is then replaced by a shared one; Linux
 * 6.7 and later allow that, and before anything is done we look whether this
 * kernel does. A private one must not stay: /proc/self/mem writes through it.
 *
 * PROT_WRITE appears where a mapping is made, where a protect of several mappings
 * failed half-way and is taken back (twice each, private and shared), and where a
 * policy other than `oops` answers a violation: pages_let_write().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "pages_internal.h"

#include <errno.h>
#include <fcntl.h>
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
#ifndef SYS_mseal
#define SYS_mseal 462
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

_Static_assert(sizeof(void *) == 8, "pmalloc supports 64-bit Linux only");

/* 0: not asked yet, 1: the kernel has guard markers, -1: it has not. */
static atomic_int guard_markers;

/* Nothing is protected in this process, and nothing guarded: PMALLOC_RODATA=off. */
static atomic_int switched_off;

void pages_switch_off(void) { atomic_store(&switched_off, 1); }
int pages_are_off(void) { return atomic_load_explicit(&switched_off, memory_order_relaxed); }

/* ---- the system calls, with the fault injection of the tests ---- */

#ifdef PMALLOC_FAULT_INJECTION
static struct {
  atomic_long countdown;
  int error;
  int sticky;
} injected[PAGES_CALL_COUNT] = {[0 ... PAGES_CALL_COUNT - 1] = {-1, 0, 0}};

void pages_inject(enum pages_call call, long countdown, int error, int sticky) {
  injected[call].error = error;
  injected[call].sticky = sticky;
  atomic_store(&injected[call].countdown, countdown);
  if (call == PAGES_CALL_MADVISE)
    atomic_store(&guard_markers, 0); /* ask the kernel, or the injection, anew */
}

int pages_refused(enum pages_call call) {
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
#endif

static void *call_mmap(void *at, size_t bytes, int prot, int flags) {
  if (pages_refused(PAGES_CALL_MMAP))
    return MAP_FAILED;
  return mmap(at, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

static void *call_mmap_file(void *at, size_t bytes, int prot, int flags, int fd, size_t offset) {
  if (pages_refused(PAGES_CALL_MMAP))
    return MAP_FAILED;
  return mmap(at, bytes, prot, flags, fd, (off_t)offset);
}

static int call_mprotect(void *at, size_t bytes, int prot) {
  if (pages_refused(PAGES_CALL_MPROTECT))
    return -1;
  return mprotect(at, bytes, prot);
}

static int call_munmap(void *at, size_t bytes) {
  if (pages_refused(PAGES_CALL_MUNMAP))
    return -1;
  return munmap(at, bytes);
}

int pages_call_madvise(void *at, size_t bytes, int advice) {
  if (pages_refused(PAGES_CALL_MADVISE))
    return -1;
  return madvise(at, bytes, advice);
}

static int call_mseal(void *at, size_t bytes) {
  return pages_refused(PAGES_CALL_MSEAL) ? -1 : (int)syscall(SYS_mseal, at, bytes, 0UL);
}

int pages_call_memfd(const char *name, unsigned flags) {
  return pages_refused(PAGES_CALL_MEMFD) ? -1 : memfd_create(name, flags);
}

/* Past libc's wrapper: a sanitizer would look at the bytes, which may not be there. */
ssize_t pages_call_peek(void *to, const void *from, size_t n) {
  if (pages_refused(PAGES_CALL_PEEK))
    return -1;
  struct iovec local = {to, n};
  struct iovec remote = {(void *)(uintptr_t)from, n};
  return syscall(SYS_process_vm_readv, getpid(), &local, 1UL, &remote, 1UL, 0UL);
}

/* ENOSPC is how a memfd says that the system may not promise more memory. */
enum pmalloc_status pages_from_errno(void) {
  return errno == ENOMEM || errno == EAGAIN || errno == ENOSPC ? PMALLOC_ERR_NOMEM
                                                               : PMALLOC_ERR_SYSTEM;
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

/* A kernel without names, or without memory for one, costs us nothing but the name. */
static void give_name(char *outer, size_t outer_size, const char *name) {
  char clean[PAGES_NAME_ROOM];
  int kept = errno;
  pages_clean_name(clean, name);
  prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, outer, outer_size, clean);
  errno = kept;
}

/* Marks the first and last page of the mapping as guards. */
static int guard(struct pages *p, size_t page, unsigned flags) {
  p->markers = 0;
  if (flags & PAGES_BARE || pages_are_off())
    return 0; /* the outer pages are as the others, and nobody is handed them */
  char *last = p->outer + p->outer_size - page;
  if (atomic_load_explicit(&guard_markers, memory_order_relaxed) >= 0) {
    if (pages_call_madvise(p->outer, page, MADV_GUARD_INSTALL) == 0 &&
        pages_call_madvise(last, page, MADV_GUARD_INSTALL) == 0) {
      atomic_store_explicit(&guard_markers, 1, memory_order_relaxed);
      p->markers = 1;
      return 0;
    }
    /* Never seen to work here: do not ask for every mapping again. Where it
     * worked before, it is this one mapping that cannot have markers. */
    int unknown = 0;
    atomic_compare_exchange_strong(&guard_markers, &unknown, -1);
  }
  if (call_mprotect(p->outer, page, PROT_NONE) != 0)
    return -1;
  return call_mprotect(last, page, PROT_NONE);
}

/* Makes every usable page present now, so that no later first touch can fail
 * and no userfaultfd can slip contents in. */
static int prefault(const struct pages *p, size_t page) {
  for (;;) {
    if (pages_call_madvise(p->base, p->size, MADV_POPULATE_WRITE) == 0)
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
  for (size_t at = 0; at < p->size; at += page) {
    volatile char *byte = p->base + at;
    *byte = *byte;
  }
  return 0;
}

enum pmalloc_status pages_populate(const struct pages *p) {
  return pages_are_off() || prefault(p, pages_page_size()) == 0 ? PMALLOC_OK : pages_from_errno();
}

/* Finds room for the mapping. A 2 MiB-aligned base is cut out of a larger one. */
static int reserve(struct pages *p, size_t page, unsigned flags) {
  int prot = p->shared && !pages_are_off() ? PROT_NONE : PROT_READ | PROT_WRITE;
  size_t outer_size = p->size + 2 * page;
  size_t whole_size = flags & PAGES_HUGE_OK ? outer_size + PAGES_HUGE : outer_size;
  char *whole = call_mmap(NULL, whole_size, prot, p->shared ? MAP_NORESERVE : 0);
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

/* The file's part, in the middle of what is reserved. */
static int show(const struct pages *p, int prot, int flags, int fd) {
  void *at = call_mmap_file(p->base, p->size, prot, flags | MAP_FIXED, fd, p->offset);
  return at == MAP_FAILED ? -1 : 0;
}

static int fill(struct pages *p, size_t page, unsigned flags, const char *name, int fd) {
  if (reserve(p, page, flags) != 0)
    return -1;
  if (p->shared) {
    if (show(p, PROT_READ | PROT_WRITE, MAP_SHARED, fd) != 0)
      return -1;
  } else {
    give_name(p->outer, p->outer_size, name);
    if (guard(p, page, flags) != 0)
      return -1;
  }
  if (flags & PAGES_HUGE_OK) {
    int kept = errno; /* advice only: a kernel without huge pages will do */
    pages_call_madvise(p->base, p->size, MADV_HUGEPAGE);
    errno = kept;
  }
  return flags & PAGES_LAZY ? 0 : prefault(p, page);
}

/* Maps p->size bytes: private ones, or those of a file. */
static enum pmalloc_status make(struct pages *out, struct pages *p, unsigned flags,
                                const char *name, int fd) {
  size_t page = pages_page_size();
  if (p->size == 0 || p->size > (size_t)PTRDIFF_MAX - PAGES_HUGE - 2 * page) {
    errno = ENOMEM;
    return PMALLOC_ERR_NOMEM;
  }
  if (fill(p, page, flags, name, fd) == 0) {
    *out = *p;
    return PMALLOC_OK;
  }
  int reason = errno;
  if (p->outer)
    munmap(p->outer, p->outer_size); /* nothing to be done where this fails too */
  errno = reason;
  return pages_from_errno();
}

enum pmalloc_status pages_map(struct pages *out, size_t bytes, unsigned flags, const char *name) {
  struct pages p = {.size = pages_round(bytes)};
  return bytes == 0 ? PMALLOC_ERR_INVALID : make(out, &p, flags, name, -1);
}

/* ---- files ---- */

enum pmalloc_status pages_map_file(struct pages *out, size_t bytes, unsigned flags,
                                   const char *name, struct pages_file *file) {
  size_t unit = flags & PAGES_HUGE_OK ? PAGES_HUGE : pages_page_size();
  struct pages p = {.size = pages_round(bytes), .shared = 1};
  p.offset = (file->end + unit - 1) & ~(unit - 1);
  if (bytes == 0)
    return PMALLOC_ERR_INVALID;
  if (p.size == 0 || p.size > (size_t)PTRDIFF_MAX - p.offset) {
    errno = ENOMEM;
    return PMALLOC_ERR_NOMEM;
  }
  /* The file's pages are there before anything shows them: a first touch that
   * found no memory would be a SIGBUS. */
  if (pages_file_check(file) != 0 || pages_call_fallocate(file->fd, p.offset, p.size) != 0)
    return pages_from_errno();
  size_t before = file->end;
  file->end = p.offset + p.size;
  enum pmalloc_status status = make(out, &p, flags, name, file->fd);
  if (status != PMALLOC_OK)
    pages_file_cut(file, before);
  return status;
}

enum pmalloc_status pages_map_foreign(struct pages *out, int fd, size_t bytes) {
  struct pages p = {.size = pages_round(bytes), .shared = 1};
  if (p.size == 0 || p.size > (size_t)PTRDIFF_MAX - PAGES_HUGE)
    return PMALLOC_ERR_INVALID;
  if (reserve(&p, pages_page_size(), 0) != 0)
    return pages_from_errno();
  int done = pages_are_off() ? show(&p, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd)
                             : show(&p, PROT_READ, MAP_SHARED, fd);
  if (done != 0 && errno == EPERM) { /* before Linux 6.7, through a writable descriptor */
    int reader = pages_call_reopen(fd);
    if (reader >= 0) {
      done = show(&p, PROT_READ, MAP_SHARED, reader);
      close(reader);
    }
  }
  if (done == 0) {
    *out = p;
    return PMALLOC_OK;
  }
  int reason = errno;
  munmap(p.outer, p.outer_size);
  errno = reason;
  return pages_from_errno();
}

/* ---- protecting ---- */

int pages_set_protection(const struct pages *p, int prot) {
  if (pages_are_off())
    return 0;
  return p->markers ? call_mprotect(p->outer, p->outer_size, prot)
                    : call_mprotect(p->base, p->size, prot);
}

enum pmalloc_status pages_protect(const struct pages *p) {
  return pages_set_protection(p, PROT_READ) == 0 ? PMALLOC_OK : pages_from_errno();
}

/* Mappings made one after the other usually lie side by side. Where their guards
 * are markers, or guards are meant too, a run of them takes one call: nothing
 * lies in between. */
static size_t run_of(pages_nth nth, void *of, size_t i, int with_guards, struct pages *run) {
  const struct pages *p = nth(of, i++);
  *run = *p;
  if (!p->markers && !with_guards)
    return i;
  for (; (p = nth(of, i)) != NULL && (p->markers || with_guards); i++) {
    if (p->outer + p->outer_size == run->outer)
      run->outer = p->outer;
    else if (p->outer != run->outer + run->outer_size)
      break;
    run->outer_size += p->outer_size;
  }
  return i;
}

enum pmalloc_status pages_protect_all(pages_nth nth, void *of,
                                      enum pmalloc_status (*last)(void *)) {
  enum pmalloc_status status = PMALLOC_OK;
  struct pages run;
  size_t i = 0;
  while (status == PMALLOC_OK && nth(of, i) != NULL) {
    i = run_of(nth, of, i, 0, &run);
    if (pages_set_protection(&run, PROT_READ) != 0)
      status = pages_from_errno();
  }
  if (status == PMALLOC_OK && last)
    status = last(of);
  if (status == PMALLOC_OK)
    return status;
  /* Back to how it was; a failed call may have done a part of its run. */
  int reason = errno;
  while (i-- > 0 && !pages_are_off()) {
    const struct pages *p = nth(of, i);
    mprotect(p->markers ? p->outer : p->base, p->markers ? p->outer_size : p->size,
             PROT_READ | PROT_WRITE);
  }
  errno = reason;
  return status;
}

/* ---- a policy's answer to a violation ---- */

static void *page_of(uintptr_t address) {
  return (void *)(address & ~(uintptr_t)(pages_page_size() - 1));
}

int pages_let_write(uintptr_t address) {
  return call_mprotect(page_of(address), pages_page_size(), PROT_READ | PROT_WRITE);
}

int pages_protect_again(uintptr_t address) {
  return call_mprotect(page_of(address), pages_page_size(), PROT_READ);
}

int pages_wipe_on_fork(const struct pages *p) {
  return pages_call_madvise(p->base, p->size, MADV_WIPEONFORK);
}

/* ---- sealing ---- */

/* Sealing a part of a mapping splits it, and a guard may have become one with a
 * foreign mapping beside it: two splits for each run at the worst. There must be
 * room for them before the first is sealed, for a half can't be taken back. */
static int room_to_split(size_t runs) {
  size_t page = pages_page_size(), bytes = (2 * runs + 1) * page;
  char *room = call_mmap(NULL, bytes, PROT_NONE, MAP_NORESERVE);
  int made = room == MAP_FAILED ? -1 : 0;
  for (size_t i = 0; made == 0 && i < runs; i++)
    made = call_mprotect(room + (2 * i + 1) * page, page, PROT_READ);
  int reason = errno;
  if (room != MAP_FAILED)
    munmap(room, bytes);
  errno = reason;
  return made;
}

enum pmalloc_status pages_can_seal(pages_nth nth, void *of) {
  struct pages run;
  size_t runs = 0;
  if (pages_are_off())
    return PMALLOC_OK;
  if (call_mseal(NULL, 0) != 0)
    return PMALLOC_ERR_UNSUPPORTED;
  for (size_t i = 0; nth(of, i) != NULL; runs++)
    i = run_of(nth, of, i, 1, &run);
  return room_to_split(runs) == 0 ? PMALLOC_OK : pages_from_errno();
}

enum pmalloc_status pages_seal_all(pages_nth nth, void *of, int *sealed) {
  struct pages run;
  *sealed = 0;
  for (size_t i = 0; !pages_are_off() && nth(of, i) != NULL; *sealed = 1) {
    i = run_of(nth, of, i, 1, &run);
    if (call_mseal(run.outer, run.outer_size) != 0)
      return pages_from_errno();
  }
  return PMALLOC_OK;
}

/* ---- the immutable tier ---- */

/* Whether this kernel maps a file shared that is sealed already (Linux 6.7). */
static int maps_sealed_files(void) {
  struct pages_file probe;
  if (pages_file_open(&probe, "probe") != PMALLOC_OK)
    return 0;
  void *at = MAP_FAILED;
  if (fcntl(probe.fd, F_ADD_SEALS, PAGES_IMMUTABLE_SEALS) == 0)
    at = call_mmap_file(NULL, probe.end, PROT_READ, MAP_SHARED, probe.fd, 0);
  if (at != MAP_FAILED)
    munmap(at, probe.end);
  pages_file_close(&probe);
  return at != MAP_FAILED;
}

static void map_back(pages_nth nth, void *of, const struct pages_file *file) {
  const struct pages *p;
  int kept = errno;
  for (size_t i = 0; (p = nth(of, i)) != NULL; i++)
    mmap(p->base, p->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, file->fd,
         (off_t)p->offset);
  errno = kept;
}

enum pmalloc_status pages_close_all(pages_nth nth, void *of, struct pages_file *file, int bare,
                                    enum pmalloc_status (*rest)(void *)) {
  enum pmalloc_status status = PMALLOC_OK;
  const struct pages *p;
  if (pages_file_check(file) != 0)
    return pages_from_errno();
  int reader = pages_call_reopen(file->fd);
  if (reader >= 0 && !pages_is_file(file, reader)) { /* somebody's idea of a /proc */
    close(reader);
    reader = -1;
  }
  file->makeshift = reader < 0;
  if (file->makeshift && !bare && !maps_sealed_files())
    return PMALLOC_ERR_UNSUPPORTED;
  file->reader = file->makeshift ? 0 : reader;
  int flags = file->makeshift || bare ? MAP_PRIVATE : MAP_SHARED;
  int prot = bare ? PROT_READ | PROT_WRITE : PROT_READ;
  for (size_t i = 0; status == PMALLOC_OK && (p = nth(of, i)) != NULL; i++) {
    if (show(p, prot, flags | MAP_POPULATE, file->makeshift ? file->fd : reader) != 0)
      status = pages_from_errno();
  }
  if (status == PMALLOC_OK)
    status = rest(of);
  if (status == PMALLOC_OK)
    return status;
  map_back(nth, of, file);
  int reason = errno;
  if (!file->makeshift)
    close(reader);
  file->reader = file->makeshift = 0;
  errno = reason;
  return status;
}

enum pmalloc_status pages_settle_all(pages_nth nth, void *of, struct pages_file *file) {
  const struct pages *p;
  for (size_t i = 0; file->makeshift && (p = nth(of, i)) != NULL; i++) {
    if (show(p, PROT_READ, MAP_SHARED | MAP_POPULATE, file->fd) != 0)
      return pages_from_errno();
  }
  file->makeshift = 0;
  return PMALLOC_OK;
}

/* ---- giving back ---- */

enum pmalloc_status pages_retire(struct pages *p) {
  if (call_mmap(p->outer, p->outer_size, PROT_NONE, MAP_FIXED | MAP_NORESERVE) != MAP_FAILED)
    return PMALLOC_OK;
  /* At the limit of mappings the kernel refuses even a replacement. Closing
   * the mapping where it lies and dropping its memory needs no new one. */
  if (call_mprotect(p->outer, p->outer_size, PROT_NONE) != 0)
    return pages_from_errno();
  pages_call_madvise(p->base, p->size, MADV_DONTNEED);
  return PMALLOC_OK;
}

enum pmalloc_status pages_unmap(struct pages *p) {
  return call_munmap(p->outer, p->outer_size) == 0 ? PMALLOC_OK : pages_from_errno();
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
    (void)pages_call_madvise(p, to, MADV_HUGEPAGE); /* fewer faults; as good without */
  return p;
}

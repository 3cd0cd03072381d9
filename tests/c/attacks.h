/* attacks: the ways to alter a page that is protected, a few lines each.
 *
 * A function gets the target and tries. 0 where the calls went through; -1, with errno, where the
 * kernel refused one. What a reader finds afterwards is looked at by the caller, unless the
 * function has done so itself.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_TESTS_ATTACKS_H
#define PMALLOC_TESTS_ATTACKS_H

#include <sys/shm.h>

#include "attack_calls.h"
#include "pool.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

/* A page that starts with GENUINE. */
struct target {
  void *address; /* first: in_child() wants it there */
  int plain;     /* ordinary memory, not protected at all: the attack must work here */
  int file;      /* a descriptor of the memfd behind it; -1: none */
  struct ring *pin;
  pmalloc_pool *pool;
};

/* ---- stores ---- */

static int a_store(struct target *t, struct sight *s) {
  (void)s;
  store(t->address, FORGED);
  return 0;
}

static void store_and_look(void *target, struct sight *s) {
  store(((struct target *)target)->address, FORGED);
  see(((struct target *)target)->address, s);
}

static int a_store_by_a_child(struct target *t, struct sight *s) {
  return in_child(store_and_look, t, NULL, s);
}

static int a_read(struct target *t, struct sight *s) {
  int ends[2];
  (void)s;
  if (pipe(ends) != 0 || write(ends[1], FORGED, WORD) != WORD)
    abort();
  return syscall(SYS_read, ends[0], t->address, (size_t)WORD) == WORD ? 0 : -1;
}

/* ---- making it writable ---- */

static int an_mprotect(struct target *t, struct sight *s) {
  if (mprotect(t->address, page(), PROT_READ | PROT_WRITE) != 0)
    return -1;
  return a_store(t, s);
}

static int a_pkey_mprotect(struct target *t, struct sight *s) {
  if (pkey_mprotect(t->address, page(), PROT_READ | PROT_WRITE, -1) != 0)
    return -1;
  return a_store(t, s);
}

/* ---- putting something else there ---- */

static int a_munmap(struct target *t, struct sight *s) {
  if (munmap(t->address, page()) != 0 || fresh(t->address) == MAP_FAILED)
    return -1;
  return a_store(t, s);
}

static int an_mremap(struct target *t, struct sight *s) {
  void *room = fresh(NULL);
  if (mremap(t->address, page(), page(), MREMAP_MAYMOVE | MREMAP_FIXED, room) == MAP_FAILED ||
      fresh(t->address) == MAP_FAILED)
    return -1;
  return a_store(t, s);
}

static int an_mremap_over(struct target *t, struct sight *s) {
  void *room = fresh(NULL);
  (void)s;
  store(room, FORGED);
  void *at = mremap(room, page(), page(), MREMAP_MAYMOVE | MREMAP_FIXED, t->address);
  return at == MAP_FAILED ? -1 : 0;
}

static int a_fixed_map(struct target *t, struct sight *s) {
  if (fresh(t->address) == MAP_FAILED)
    return -1;
  return a_store(t, s);
}

static int a_shmat(struct target *t, struct sight *s) {
  int segment = shmget(IPC_PRIVATE, page(), IPC_CREAT | 0600);
  void *at = segment < 0 ? MAP_FAILED : shmat(segment, t->address, SHM_REMAP);
  int reason = errno;
  if (segment >= 0)
    shmctl(segment, IPC_RMID, NULL);
  errno = reason;
  return at == MAP_FAILED ? -1 : a_store(t, s);
}

/* Shows another page of the same file there; there is none behind private memory. */
static int a_remap_file_pages(struct target *t, struct sight *s) {
  (void)s;
  return remap_file_pages(t->address, page(), 0, 1, 0);
}

/* ---- taking the contents away ---- */

static int a_dontneed(struct target *t, struct sight *s) {
  (void)s;
  return madvise(t->address, page(), MADV_DONTNEED);
}

static int a_free(struct target *t, struct sight *s) {
  if (madvise(t->address, page(), MADV_FREE) != 0)
    return -1;
  /* The kernel drops the page when it is short of memory, or asked to look at this one. That it is
   * still there is luck. */
  (void)madvise(t->address, page(), 21 /* MADV_PAGEOUT */);
  see(t->address, s);
  s->may_go = s->readable && memcmp(s->bytes, GENUINE, WORD) == 0;
  return 0;
}

static int a_remove(struct target *t, struct sight *s) {
  (void)s;
  return madvise(t->address, page(), MADV_REMOVE);
}

static void only_look(void *target, struct sight *s) { see(((struct target *)target)->address, s); }

static int a_wipeonfork(struct target *t, struct sight *s) {
  if (madvise(t->address, page(), 18 /* MADV_WIPEONFORK */) != 0)
    return -1;
  return in_child(only_look, t, NULL, s);
}

static int a_dontfork(struct target *t, struct sight *s) {
  if (madvise(t->address, page(), MADV_DONTFORK) != 0)
    return -1;
  return in_child(only_look, t, NULL, s);
}

static int a_guard(struct target *t, struct sight *s) {
  (void)s;
  return madvise(t->address, page(), MADV_GUARD_INSTALL);
}

/* On a page that is there it is refused anyway: of ordinary memory it is taken away first. */
static int a_uffd_copy(struct target *t, struct sight *s) {
  (void)s;
  if (t->plain && madvise(t->address, page(), t->file < 0 ? MADV_DONTNEED : MADV_REMOVE) != 0)
    return -1;
  return uffd_copy(t->address, FORGED);
}

/* ---- going around the page's protection ---- */

static int a_proc_mem(struct target *t, struct sight *s) {
  int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  (void)s;
  return pwrite(memory, FORGED, WORD, (off_t)(uintptr_t)t->address) == WORD ? 0 : -1;
}

static int a_ptrace(struct target *t, struct sight *s) { return in_child(only_look, t, FORGED, s); }

static int a_vm_writev(struct target *t, struct sight *s) {
  char forged[] = FORGED;
  struct iovec here = {forged, WORD}, there = {t->address, WORD};
  (void)s;
  return process_vm_writev(getpid(), &here, 1, &there, 1, 0) == WORD ? 0 : -1;
}

static int an_io_uring(struct target *t, struct sight *s) {
  int source = memfd_create("forged", MFD_CLOEXEC);
  (void)s;
  if (write(source, FORGED, WORD) != WORD)
    return -1;
  return ring_read(t->pin, source, t->address, WORD);
}

/* ---- the file behind it ---- */

static int a_pwrite(struct target *t, struct sight *s) {
  int fd = open_writable(t->file);
  (void)s;
  for (size_t at = 0; at < size_of(t->file); at += page()) {
    if (pwrite(fd, FORGED, WORD, (off_t)at) != WORD)
      return -1;
  }
  return 0;
}

static int an_ftruncate(struct target *t, struct sight *s) {
  (void)s;
  return ftruncate(open_writable(t->file), 0);
}

static int a_hole(struct target *t, struct sight *s) {
  (void)s;
  return fallocate(open_writable(t->file), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                   (off_t)size_of(t->file));
}

static int a_writable_mapping(struct target *t, struct sight *s) {
  size_t size = size_of(t->file);
  char *alias = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, open_writable(t->file), 0);
  (void)s;
  if (alias == MAP_FAILED)
    return -1;
  void *at = memmem(alias, size, GENUINE, WORD);
  if (at)
    store(at, FORGED);
  return 0;
}

/* ---- the list ---- */

static const struct attack {
  const char *row, *name; /* the row of the table */
  int (*run)(struct target *, struct sight *);
  enum { NEEDS_NOTHING, NEEDS_PIN, NEEDS_FILE } needs; /* pinned beforehand; one behind the page */
} attacks[] = {
    {"store", "a store", a_store, NEEDS_NOTHING},
    {"store", "a store by a forked child", a_store_by_a_child, NEEDS_NOTHING},
    {"store", "read(2) into it", a_read, NEEDS_NOTHING},
    {"mprotect", "mprotect", an_mprotect, NEEDS_NOTHING},
    {"mprotect", "pkey_mprotect", a_pkey_mprotect, NEEDS_NOTHING},
    {"replace", "munmap", a_munmap, NEEDS_NOTHING},
    {"replace", "mremap", an_mremap, NEEDS_NOTHING},
    {"replace", "mremap of other memory over it", an_mremap_over, NEEDS_NOTHING},
    {"replace", "MAP_FIXED", a_fixed_map, NEEDS_NOTHING},
    {"replace", "shmat", a_shmat, NEEDS_NOTHING},
    {"replace", "remap_file_pages", a_remap_file_pages, NEEDS_NOTHING},
    {"discard", "MADV_DONTNEED", a_dontneed, NEEDS_NOTHING},
    {"discard", "MADV_FREE", a_free, NEEDS_NOTHING},
    {"discard", "MADV_REMOVE", a_remove, NEEDS_NOTHING},
    {"discard", "MADV_WIPEONFORK", a_wipeonfork, NEEDS_NOTHING},
    {"dontfork", "MADV_DONTFORK", a_dontfork, NEEDS_NOTHING},
    {"guard", "MADV_GUARD_INSTALL", a_guard, NEEDS_NOTHING},
    {"uffd", "UFFDIO_COPY", a_uffd_copy, NEEDS_NOTHING},
    {"proc-mem", "/proc/self/mem", a_proc_mem, NEEDS_NOTHING},
    {"proc-mem", "ptrace", a_ptrace, NEEDS_NOTHING},
    {"vm-writev", "process_vm_writev", a_vm_writev, NEEDS_NOTHING},
    {"pinned", "io_uring", an_io_uring, NEEDS_PIN},
    {"file", "pwrite", a_pwrite, NEEDS_FILE},
    {"file", "ftruncate", an_ftruncate, NEEDS_FILE},
    {"file", "punching a hole", a_hole, NEEDS_FILE},
    {"file", "a writable mapping", a_writable_mapping, NEEDS_FILE},
    {NULL, NULL, NULL, NEEDS_NOTHING},
};

#endif

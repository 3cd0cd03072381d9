/* pages_internal: what pages, pages_ask and pages_file need of each other.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_PAGES_INTERNAL_H
#define PMALLOC_PAGES_INTERNAL_H

#include <fcntl.h>
#include <sys/types.h>

#include "pages.h"

/* process_vm_readv within this process: the bytes copied, or -1 with errno. Async-signal-safe. */
ssize_t pages_call_peek(void *to, const void *from, size_t n);

/* memfd_create: a descriptor, or -1 with errno. */
int pages_call_memfd(const char *name, unsigned flags);

/* madvise and, for a mapping as pages_protect() takes it, mprotect: 0, or -1 with errno. */
int pages_call_madvise(void *at, size_t bytes, int advice);
int pages_set_protection(const struct pages *p, int prot);

/* The seals that make a file immutable. */
#define PAGES_IMMUTABLE_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* Allocates a file's bytes: 0, or -1 with errno. */
int pages_call_fallocate(int fd, size_t offset, size_t bytes);

/* A second descriptor of the same file, read-only, or -1 with errno. */
int pages_call_reopen(int fd);

/* Whether the descriptor is this very file. */
int pages_is_file(const struct pages_file *file, int fd);

/* "pmalloc:NAME" in the characters and the length that the kernel takes: printable ASCII without
 * []\$`, 79 bytes of it; what it would refuse becomes '_'. */
#define PAGES_NAME_ROOM 80
void pages_clean_name(char clean[PAGES_NAME_ROOM], const char *name);

/* The status that errno stands for. */
enum pmalloc_status pages_from_errno(void);

/* Whether the tests want this call to fail; sets errno then. */
#ifdef PMALLOC_FAULT_INJECTION
int pages_refused(enum pages_call call);
#else
#define pages_refused(call) 0
#endif

#endif

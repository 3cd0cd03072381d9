/* share: an immutable pool in another process.
 *
 * Who has the descriptor of its memfd (pmalloc_pool_fileno) sends it, by SCM_RIGHTS, by
 * inheritance or through /proc/PID/fd; who receives it opens it here, and finds the pool's
 * raw allocations by number. Both processes read the same pages; nobody can write them.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_SHARE_H
#define PMALLOC_SHARE_H

#include <stddef.h>
#include <stdint.h>

#include "pool.h"
#include "status.h"

typedef struct pmalloc_shared pmalloc_shared;

enum pmalloc_shared_flags {
  PMALLOC_SHARED_TRUSTED = 1, /* do not ask for the seals: a copy on a disk has none. Who can write
                                 that file can change what is read, or cut it off: SIGBUS */
  PMALLOC_SHARED_SEAL = 2     /* seal the mapping where the kernel can: it then stays for ever */
};

/* Maps a shared pool read-only. The descriptor is not kept; close it when you like. What is read
 * of the file is believed only as far as it is checked.
 *
 * PMALLOC_ERR_MUTABLE  the file is not sealed against writing, shrinking, growing and unsealing
 * PMALLOC_ERR_FORMAT   there is no directory in it, or one that does not fit the file
 * PMALLOC_ERR_NOMEM, PMALLOC_ERR_SYSTEM  the kernel refused; see errno */
enum pmalloc_status pmalloc_shared_open(pmalloc_shared **out, int fd, unsigned flags);

/* The pool's name as its maker said it: up to 255 bytes, NUL-terminated, of any content. */
const char *pmalloc_shared_name(const pmalloc_shared *shared);

/* How many allocations there are, the bytes of the file, and whether the mapping is sealed. */
size_t pmalloc_shared_count(const pmalloc_shared *shared);
size_t pmalloc_shared_bytes(const pmalloc_shared *shared);
int pmalloc_shared_is_sealed(const pmalloc_shared *shared);
uintptr_t pmalloc_shared_id(const pmalloc_shared *shared); /* in this process, as a pool's */

/* The n-th allocation. PMALLOC_ERR_FOREIGN where there is none of that number, PMALLOC_ERR_FORMAT
 * where a file that was trusted says nonsense about it by now. */
enum pmalloc_status pmalloc_shared_get(const pmalloc_shared *shared, size_t n, const void **at,
                                       size_t *size);

/* Ends it, as a pool is destroyed: the memory goes back, whoever still reads it faults. The handle
 * is gone then. PMALLOC_ERR_SEALED for a sealed one, which stays. */
enum pmalloc_status pmalloc_shared_close(pmalloc_shared *shared);

/* The number under which another process finds an allocation of this immutable pool.
 * PMALLOC_ERR_INVALID where the pool is not immutable, PMALLOC_ERR_FOREIGN where the address is no
 * allocation's start. */
enum pmalloc_status pmalloc_pool_shared_index(pmalloc_pool *pool, const void *allocation,
                                              size_t *out);

#endif

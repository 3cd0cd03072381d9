/* What every call of libpmalloc answers.
 *
 * A call either does all of its work and returns PMALLOC_OK, or does none of it
 * and returns the reason. Where the reason came from the kernel, errno is left
 * as the kernel set it. Nothing here ever aborts the process.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_STATUS_H
#define PMALLOC_STATUS_H

enum pmalloc_status {
  PMALLOC_OK = 0,
  PMALLOC_ERR_NOMEM,       /* no memory, no address space or no mapping left */
  PMALLOC_ERR_SYSTEM,      /* a system call failed; see errno */
  PMALLOC_ERR_INVALID,     /* an argument no pool could honour */
  PMALLOC_ERR_PROTECTED,   /* the pool is protected: nothing may be allocated or written */
  PMALLOC_ERR_DESTROYED,   /* the pool has ended */
  PMALLOC_ERR_FOREIGN,     /* the address was not handed out by this pool */
  PMALLOC_ERR_DOUBLE_FREE, /* the allocation was freed before */
  PMALLOC_ERR_SEALED,      /* the pool is sealed: it can't end */
  PMALLOC_ERR_UNSUPPORTED, /* this kernel has not what it takes, or a sandbox forbids it; see errno
                            */
  PMALLOC_ERR_BUSY,        /* somebody may still write the memory: pins, or another process */
  PMALLOC_ERR_HALF_SEALED, /* protected and sealed in part: ask again; see errno */
  PMALLOC_ERR_FORKED,      /* the pool was open at fork(): only its maker may fill it */
  PMALLOC_ERR_MUTABLE,     /* a file that may still change: its seals do not forbid it */
  PMALLOC_ERR_FORMAT       /* a file that no pool was shared by, or that is damaged */
};

/* One short English clause for a status, for messages. Never NULL. */
const char *pmalloc_status_text(enum pmalloc_status status);

#endif

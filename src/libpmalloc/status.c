/* status: the reasons, in words.
 *
 * The clauses are written to stand after a colon ("pool 'x': ..."), without a
 * capital and without a full stop.
 *
 * SPDX-License-Identifier: MIT
 */
#include "status.h"

#include <errno.h>

const char *pmalloc_status_text(enum pmalloc_status status) {
  switch (status) {
  case PMALLOC_OK:
    return "no error";
  case PMALLOC_ERR_NOMEM:
    return "out of memory, address space or mappings";
  case PMALLOC_ERR_SYSTEM:
    return "a system call failed";
  case PMALLOC_ERR_INVALID:
    return "an argument that no pool can honour";
  case PMALLOC_ERR_PROTECTED:
    return "the pool is protected";
  case PMALLOC_ERR_DESTROYED:
    return "the pool has been destroyed";
  case PMALLOC_ERR_FOREIGN:
    return "the address was not handed out by this pool";
  case PMALLOC_ERR_DOUBLE_FREE:
    return "the allocation was freed before";
  case PMALLOC_ERR_SEALED:
    return "the pool is sealed";
  case PMALLOC_ERR_UNSUPPORTED:
    return "this kernel does not have what it takes, or does not allow it";
  case PMALLOC_ERR_BUSY:
    return "its memory is pinned, or another process may still write it";
  case PMALLOC_ERR_HALF_SEALED:
    return "it is protected, but sealed only in part; ask again";
  case PMALLOC_ERR_FORKED:
    return "it was open when this process was forked; only its maker may fill it";
  case PMALLOC_ERR_MUTABLE:
    return "the file has not the seals that keep it from changing";
  case PMALLOC_ERR_FORMAT:
    return "the file is not that of an immutable pool, or it is damaged";
  case PMALLOC_ERR_CORRUPT:
    return "something wrote where only pmalloc may write";
  case PMALLOC_ERR_NOT_RARE:
    return "it is not write-rare memory";
  case PMALLOC_ERR_BOUNDS:
    return "it reaches beyond an allocation or an object";
  case PMALLOC_ERR_NESTED:
    return "an opening was found open";
  case PMALLOC_ERR_UNSETTLED:
    return "objects of an init phase that has not ended lie in it";
  case PMALLOC_ERR_SHARED_PAGE:
    return "it shares a page with other data; link the object with pmalloc.ld";
  }
  return "an unknown status";
}

int pmalloc_status_errno(enum pmalloc_status status) {
  switch (status) {
  case PMALLOC_OK:
  case PMALLOC_ERR_SYSTEM:
  case PMALLOC_ERR_UNSUPPORTED:
  case PMALLOC_ERR_HALF_SEALED:
    return 0;
  case PMALLOC_ERR_NOMEM:
    return ENOMEM;
  case PMALLOC_ERR_INVALID:
    return EINVAL;
  case PMALLOC_ERR_PROTECTED:
    return EROFS;
  case PMALLOC_ERR_DESTROYED:
    return ESTALE;
  case PMALLOC_ERR_FOREIGN:
    return EFAULT;
  case PMALLOC_ERR_DOUBLE_FREE:
    return EALREADY;
  case PMALLOC_ERR_SEALED:
    return EPERM;
  case PMALLOC_ERR_BUSY:
    return EBUSY;
  case PMALLOC_ERR_FORKED:
    return EACCES;
  case PMALLOC_ERR_MUTABLE:
    return ETXTBSY;
  case PMALLOC_ERR_FORMAT:
    return EBADMSG;
  case PMALLOC_ERR_CORRUPT:
    return EUCLEAN;
  case PMALLOC_ERR_NOT_RARE:
    return EACCES;
  case PMALLOC_ERR_BOUNDS:
    return ERANGE;
  case PMALLOC_ERR_NESTED:
    return EDEADLK;
  case PMALLOC_ERR_UNSETTLED:
    return EINPROGRESS;
  case PMALLOC_ERR_SHARED_PAGE:
    return ENOEXEC;
  }
  return EINVAL;
}

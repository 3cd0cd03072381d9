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
  }
  return "an unknown status";
}

int pmalloc_status_errno(enum pmalloc_status status) {
  switch (status) {
  case PMALLOC_OK:
  case PMALLOC_ERR_SYSTEM:
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
  }
  return EINVAL;
}

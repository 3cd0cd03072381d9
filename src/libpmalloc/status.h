/* What every call of libpmalloc answers: enum pmalloc_status, of the public header.
 *
 * A call either does all of its work and returns PMALLOC_OK, or does none of it
 * and returns the reason. Where the reason came from the kernel, errno is left
 * as the kernel set it. Nothing here ever aborts the process.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_STATUS_H
#define PMALLOC_STATUS_H

/* The library has no static data of the kind that it protects for others. */
#ifndef PMALLOC_NO_STATIC_DATA
#define PMALLOC_NO_STATIC_DATA
#endif
#include <pmalloc.h>

/* One short English clause for a status, for messages. Never NULL. */
const char *pmalloc_status_text(enum pmalloc_status status);

/* The errno that stands for a status; 0 where errno is the kernel's and says it already. */
int pmalloc_status_errno(enum pmalloc_status status);

#endif

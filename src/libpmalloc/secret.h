/* secret: a digest that only this process can make.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_SECRET_H
#define PMALLOC_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* Makes the key, the first time. Under the lock of the list of pools. */
enum pmalloc_status secret_ready(void);

/* The keyed digest of n bytes; the key must be there. */
uint64_t secret_digest(const void *data, size_t n);

#endif

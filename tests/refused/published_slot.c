/* A store to a published pointer beside wr_publish().
 *
 * C: read-only|const
 * C++: read-only|const
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

void change(struct pmalloc_published *at, const void *pointer);

#ifdef LEGAL
void change(struct pmalloc_published *at, const void *pointer) { wr_publish(at, pointer); }
#else
void change(struct pmalloc_published *at, const void *pointer) { at->slot[0] = pointer; }
#endif

/* An increment of write-rare memory.
 *
 * C: read-only|const
 * C++: read-only|const
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

struct limits {
  __wr_rare_type unsigned rate;
};
void change(struct limits *limits);

#ifdef LEGAL
void change(struct limits *limits) { wr_inc(limits->rate); }
#else
void change(struct limits *limits) { limits->rate++; }
#endif

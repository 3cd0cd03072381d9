/* A rare write to what everybody may write.
 *
 * C: declare the target __wr_rare_type
 * C++: declare the target __wr_rare_type
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

struct limits {
  __wr_rare_type unsigned rate;
  unsigned hits;
};
void change(struct limits *limits);

#ifdef LEGAL
void change(struct limits *limits) { rare_write(limits->rate, 0); }
#else
void change(struct limits *limits) { rare_write(limits->hits, 0); }
#endif

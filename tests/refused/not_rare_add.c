/* wr_add() to what everybody may write.
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
void change(struct limits *limits) { wr_add(limits->rate, 1); }
#else
void change(struct limits *limits) { wr_add(limits->hits, 1); }
#endif

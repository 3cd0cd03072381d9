/* The address of write-rare memory, as one to write to.
 *
 * C: discards.*qualifier
 * C++: invalid conversion|cannot initialize
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

struct limits {
  __wr_rare_type unsigned rate;
};
unsigned *door(struct limits *limits);
const unsigned *view(struct limits *limits);

#ifdef LEGAL
const unsigned *view(struct limits *limits) { return &limits->rate; }
#else
unsigned *door(struct limits *limits) { return &limits->rate; }
#endif

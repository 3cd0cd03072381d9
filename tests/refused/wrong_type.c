/* rare_write() of a value of another type.
 *
 * C: without a cast|incompatible
 * C++: invalid conversion|cannot initialize
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

struct limits {
  __wr_rare_type unsigned rate;
};
void change(struct limits *limits);

#ifdef LEGAL
void change(struct limits *limits) { rare_write(limits->rate, 'd'); }
#else
void change(struct limits *limits) { rare_write(limits->rate, "100"); }
#endif

/* wr_twin_publish() of a structure that is no twin.
 *
 * C: no member named .target
 * C++: no member named .target
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

struct limits {
  unsigned rate;
};
struct other {
  unsigned rate;
};
int reload(__wr_rare_type struct limits *limits, __wr_rare_type struct other *other);

#ifdef LEGAL
int reload(__wr_rare_type struct limits *limits, __wr_rare_type struct other *other) {
  (void)other;
  wr_twin(struct limits) twin;
  if (wr_twin_copy_out(twin, limits) != PMALLOC_OK)
    return 1;
  return wr_twin_publish(twin);
}
#else
int reload(__wr_rare_type struct limits *limits, __wr_rare_type struct other *other) {
  (void)limits;
  return wr_twin_publish(*other);
}
#endif

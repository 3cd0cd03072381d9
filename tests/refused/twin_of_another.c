/* A twin that is copied out of another type.
 *
 * C: a twin of another type
 * C++: a twin of another type
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
  return wr_twin_copy_out(twin, limits);
}
#else
int reload(__wr_rare_type struct limits *limits, __wr_rare_type struct other *other) {
  (void)limits;
  wr_twin(struct limits) twin;
  return wr_twin_copy_out(twin, other);
}
#endif

/* A twin whose members are write-rare themselves: the copy can't be edited.
 *
 * C: read-only|const
 * C++: deleted|read-only|const
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#ifdef LEGAL
#define MEMBER
#else
#define MEMBER __wr_rare_type
#endif

struct limits {
  MEMBER unsigned rate;
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
  twin.edit.rate = 1;
  return wr_twin_publish(twin);
}
#else
int reload(__wr_rare_type struct limits *limits, __wr_rare_type struct other *other) {
  (void)other;
  wr_twin(struct limits) twin;
  if (wr_twin_copy_out(twin, limits) != PMALLOC_OK)
    return 1;
  twin.edit.rate = 1;
  return wr_twin_publish(twin);
}
#endif

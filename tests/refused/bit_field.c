/* A rare write to a bit field, which has no address.
 *
 * C: bit-field
 * C++: bit-field
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

struct flags {
  __wr_rare_type unsigned on : 1;
  __wr_rare_type unsigned char all;
};
void change(struct flags *flags);

#ifdef LEGAL
void change(struct flags *flags) { rare_write(flags->all, 1); }
#else
void change(struct flags *flags) { rare_write(flags->on, 1); }
#endif

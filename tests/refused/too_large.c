/* rare_write() of a structure of more than 8 bytes.
 *
 * C: use wr_assign for more
 * C++: use wr_assign for more
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

struct box {
  long left, right, top;
};
struct window {
  __wr_rare_type struct box box;
};
void change(struct window *window, struct box to);

#ifdef LEGAL
void change(struct window *window, struct box to) { wr_assign(window->box, to); }
#else
void change(struct window *window, struct box to) { rare_write(window->box, to); }
#endif

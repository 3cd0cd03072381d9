/* wr_ptr() of what is no pointer.
 *
 * C: not a pointer
 * C++: not a pointer
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

struct other {
  int a;
};
struct node {
  struct node *__wr_rare_type next;
  __wr_rare_type unsigned long number;
};
void change(struct node *node, struct node *next, struct other *other);

#ifdef LEGAL
void change(struct node *node, struct node *next, struct other *other) {
  (void)next;
  (void)other;
  wr_ptr(node->next, NULL);
}
#else
void change(struct node *node, struct node *next, struct other *other) {
  (void)next;
  (void)other;
  wr_ptr(node->number, 0);
}
#endif

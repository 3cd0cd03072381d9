/* wr_ptr() to something of another type.
 *
 * C: a pointer to another type
 * C++: cannot convert|cannot initialize
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
  (void)other;
  wr_ptr(node->next, next);
}
#else
void change(struct node *node, struct node *next, struct other *other) {
  (void)next;
  wr_ptr(node->next, other);
}
#endif

/* wr_memcpy() over the end of a member.
 *
 * C: more bytes than the object has
 * C++: more bytes than the object has
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

struct table {
  __wr_rare_type char name[16];
  int behind;
};
void change(struct table *table);
extern const char text[32];

#ifdef LEGAL
void change(struct table *table) { wr_memcpy(table->name, text, 16); }
#else
void change(struct table *table) { wr_memcpy(table->name, text, 17); }
#endif

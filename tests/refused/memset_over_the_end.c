/* wr_memset() over the end of a member.
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

#ifdef LEGAL
void change(struct table *table) { wr_memset(table->name, 0, sizeof table->name); }
#else
void change(struct table *table) { wr_memset(table->name, 0, sizeof *table); }
#endif

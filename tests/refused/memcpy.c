/* memcpy() into write-rare memory.
 *
 * C: discards.*qualifier
 * C++: invalid conversion|no matching function
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <string.h>

struct table {
  __wr_rare_type char name[16];
  int behind;
};
void change(struct table *table);

#ifdef LEGAL
void change(struct table *table) { wr_memcpy(table->name, "name", 5); }
#else
void change(struct table *table) { memcpy(table->name, "name", 5); }
#endif

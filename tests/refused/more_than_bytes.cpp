/* wr_assign() of an object whose copy is more than its bytes.
 *
 * C++: more than its bytes is to be copied
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <string>

struct Rule {
  __wr_rare_type std::string name;
  __wr_rare_type int number;
};
void change(Rule *rule);

#ifdef LEGAL
void change(Rule *rule) { wr_assign(rule->number, 1); }
#else
void change(Rule *rule) { wr_assign(rule->name, std::string("a")); }
#endif

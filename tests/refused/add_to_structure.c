/* wr_add() to a structure.
 *
 * C: wr_add: not an integer
 * C++: wr_add: not an integer
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#ifdef __cplusplus
#define BOOL bool
#else
#define BOOL _Bool
#endif

struct other {
  int a;
};
struct sum {
  __wr_rare_type long number;
  __wr_rare_type double real;
  __wr_rare_type struct other whole;
  __wr_rare_type BOOL yes;
  int *__wr_rare_type at;
};
void change(struct sum *sum);

#ifdef LEGAL
void change(struct sum *sum) { wr_add(sum->number, 1); }
#else
void change(struct sum *sum) { wr_add(sum->whole, 1); }
#endif

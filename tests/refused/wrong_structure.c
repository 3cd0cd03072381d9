/* wr_assign() of another structure.
 *
 * C: invalid initializer|incompatible type
 * C++: conversion from|no viable conversion
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
struct other {
  long left, right, top;
};
void mix(struct window *window, struct other to);

#ifdef LEGAL
void change(struct window *window, struct box to) { wr_assign(window->box, to); }
#else
void mix(struct window *window, struct other to) { wr_assign(window->box, to); }
#endif

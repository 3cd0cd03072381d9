/* born: dicts and lists that are in a pool from the start, and are frozen where they are.
 *
 * Whoever says ro_after_init({...}) gets an ordinary dict at once, and other modules may import it
 * before it is filled. So it must be the same object after the end of init. Its header is born in
 * the pool; everything else it has is where the interpreter puts it. Until the end it is a dict
 * like any other: its type is dict itself, the garbage collector knows it, its table grows in the
 * heap.
 *
 *      init                                      after the end
 *
 *      pool            heap                      pool
 *      | gc | dict o-> | table ... |             | 0 | FrozenDict o |         never changes
 *                                                                 |
 *                                                | 0 | FrozenDict o-> table ... |   its body
 *
 * At the end all of a phase are frozen in one go, as freeze does it, by copying: for the dict there
 * is a copy in the new region, its body. But whatever refers to the dict goes on to refer to the
 * header that was born. Then the headers are exchanged: each becomes a copy of its body's header,
 * and what it had is handed to an ordinary dict, which is let go of when all is done. Nothing can
 * fail there. What cannot be frozen stays outside as it is, and is listed.
 *
 * The body's second word in front (of what would be its gc head) is the address of the header that
 * was born: a report that finds a byte of the body finds its way from there.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_BORN_H
#define PM_BORN_H

#include "freeze.h"
#include "pool_type.h"

enum pm_born { PM_BORN_NOT, PM_BORN_HERE, PM_BORN_ELSEWHERE };

/* The end of a phase. */
struct pm_settling {
  pm_map born;         /* the phase's: object -> its number in `all` */
  PyObject *all;       /* list, borrowed */
  PyObject *originals; /* list: what they were made of; borrowed */
  int strict;          /* nothing is done where something is held elsewhere, or refused */
  int settled;         /* the headers were exchanged */
  PyObject *held;      /* list of lists: see held.c */
  PyObject *inside;    /* capsule: all that belongs to the graph; where `held` is not empty */
  PyObject *refused;   /* list of (path, object, advice) */
  PyObject *leftovers; /* list: ordinary dicts and lists, which get what the born ones had */
  PyObject *snapshots; /* list: what was in the born ones; where Python code may run, else NULL */
};

/* Pool._born(value) and Pool._settle(names, originals, strict). */
PyObject *pm_pool_born(PyObject *pool, PyObject *value);
PyObject *pm_pool_settle(PyObject *pool, PyObject *args);

/* For discovery: whether the object was born in a pool, and is not settled. */
enum pm_born pm_settle_born(const pm_plan *p, PyObject *op);
/* After discovery: 1, 0: something stands against it, and the caller is strict; -1 with an
 * exception. */
int pm_settle_look(pm_plan *p, PyObject *names);
/* After all was written: whether the sources are as they were; -1 with an exception. */
int pm_settle_check(pm_plan *p);
/* Exchanges the headers. */
void pm_settle_flip(pm_plan *p);

/* held.c: fills settling->held and ->inside; -1 with an exception. */
int pm_find_held(pm_plan *p, struct pm_settling *s);
/* in_graph(inside, object): whether it belonged to what was looked through. */
PyObject *pm_in_graph(PyObject *module, PyObject *args);

#endif

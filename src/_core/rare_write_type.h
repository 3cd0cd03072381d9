/* rare_write() for Python: a copy to be edited, and what comes of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PM_RARE_WRITE_TYPE_H
#define PM_RARE_WRITE_TYPE_H

#include "pool_type.h"
#include "staging.h"

struct pmalloc_refusal;

#define PM_RARE_INSIDE 64 /* bytes that are kept in the object itself */

/* One with-statement. */
typedef struct {
  PyObject_HEAD PyObject *target; /* NULL once it is over */
  const char *what;               /* "allocation", "array", "memoryview" or "record" */
  uintptr_t address;              /* of the first byte that may change, */
  size_t n;                       /* and how many follow */
  PyObject *staged;               /* what the block has; NULL: it has not begun */
  PyObject *holder;               /* the bytearray that it shows; NULL for a record */
  char *edit;                     /* its bytes */
  char *base;                     /* the same, as they were; `inside`, or allocated */
  pm_stage stage;
  int is_over;
  char inside[PM_RARE_INSIDE];
} pm_rare_write_object;

extern PyTypeObject PmRareWrite_Type;

/* rare_write(target); METH_O. */
PyObject *pm_rare_write(PyObject *module, PyObject *target);
/* set_rare_log(log): log(target, pool name, address, stored, ranges, changes); METH_O. */
PyObject *pm_set_rare_log(PyObject *module, PyObject *log);

/* rare_write_target.c: which bytes they are; -1 with an exception. */
int pm_rare_find(pm_rare_write_object *self);
/* Makes what the block shall have, of the bytes in `base`; -1 with an exception. */
int pm_rare_stage(pm_rare_write_object *self);

/* rare_write_refused.c: raises what a refusal means for such a target; NULL. */
void *pm_raise_refusal(const struct pmalloc_refusal *refusal, const char *what);

#endif

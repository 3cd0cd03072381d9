/* fault_store: what a faulting instruction would store, and storing it by other means.
 *
 * Async-signal-safe, all of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_STORE_H
#define PMALLOC_FAULT_STORE_H

#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

/* What the interrupted instruction would store. */
struct pmalloc_store {
  uintptr_t address; /* lowest byte it writes */
  size_t size;       /* bytes from there; 0: not known */
  const char *name;  /* "mov", "lock add", "rep movs", "vmovups", ...: for reports */
  int has_bytes;     /* bytes[] holds what would be written (size <= 64) */
  unsigned char bytes[64];

  /* The rest is fault_store's own. */
  unsigned char form;   /* enum store_form */
  unsigned char op;     /* what an update does */
  unsigned char width;  /* bytes of its operand, or of one element of a string */
  unsigned char reg;    /* number of its register operand */
  unsigned char high;   /* that is AH, CH, DH or BH */
  unsigned char length; /* bytes of the instruction */
  uint64_t operand;     /* its other operand: a register's value or an immediate */
  uint64_t more;        /* the third operand of shld and shrd */
  uint64_t lanes;       /* vector store under a mask: a bit for each byte from `address` */
};

/* 1: decoded; 0: not a form that is known, or one that does not store to `fault_address`.
 * Changes nothing but *s. */
int pmalloc_store_decode(const ucontext_t *uc, uintptr_t fault_address, struct pmalloc_store *s);

/* Memory that is known to be readable: what a store would alter there is looked at without asking
 * the kernel. The chunk that whoever has the turn answers for; 0, 0: none. */
void pmalloc_store_readable(uintptr_t from, uintptr_t to);

/* Puts n bytes at an address that the thread itself may not write. 0: done, else nothing is. */
typedef int (*pmalloc_store_write_fn)(uintptr_t address, const void *bytes, size_t n);

/* Does what the instruction would have done: memory through `write`, registers, flags and pc in
 * the context, which must be the one that *s was decoded from. 0: done. -1: nothing was changed.
 * REP forms: a part may be done, then the pc stays, and the instruction goes on when the thread
 * does: it faults again, or no longer. */
int pmalloc_store_perform(const struct pmalloc_store *s, ucontext_t *uc,
                          pmalloc_store_write_fn write);

/* Asks the CPU, which may take long in a virtual machine, what the two above would ask it when they
 * first need it. Call it ahead, where that matters. */
void pmalloc_store_prepare(void);

#endif

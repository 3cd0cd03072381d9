/* fault_report: the words about a violation, written to stderr.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_REPORT_H
#define PMALLOC_FAULT_REPORT_H

#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "fault.h"
#include "fault_context.h"
#include "fault_store.h"
#include "fault_unwind.h"
#include "fault_writer.h"
#include "registry.h"

struct pmalloc_violation {
  const struct pmalloc_where *where;
  uintptr_t address;
  uintptr_t pc;
  enum pmalloc_access access;
  enum pmalloc_policy policy;
  const struct pmalloc_store *store; /* what the instruction stores; NULL: not known */
  int same_value;                    /* those bytes are there already: 1, 0, -1 not known: then
                                        it is looked up */
  const ucontext_t *uc;              /* for the native stack; or NULL */
  const struct pmalloc_fault_hooks *hooks;
};

/* What the text and the JSON both say, found out once. */
struct pmalloc_facts {
  int64_t time_ns; /* since 1970 */
  uintptr_t pid, tid;
  char thread[32];
  /* What was hit: a constant that says why nothing was, or NULL and what it is. */
  const char *nothing;
  uintptr_t object;
  int in_header;    /* the address lies below `object` */
  const char *part; /* then what lies there */
  size_t size;      /* of an allocation; 0: a built object */
  size_t old_size;  /* of the bytes that the store would replace; 0: not known */
  unsigned char old[64];
  size_t code_size;
  unsigned char code[16]; /* the instruction, and what follows it */
  uintptr_t extension;    /* an address in the library that wrote, 0: none */
  struct pmalloc_stack stack;
};

/* What somebody wants to keep of a report, with a NUL, as far as there is room. */
struct pmalloc_kept {
  char *text; /* all that went to stderr; or NULL */
  size_t text_room;
  char *stack; /* that of the layer above; or NULL */
  size_t stack_room;
};

/* All of it: the text, the stack of the layer above, and the JSON file where a directory for those
 * was set. `kept` may be NULL. Async-signal-safe, as are the next three. */
void pmalloc_report_violation(struct pmalloc_violation *v, const struct pmalloc_kept *kept);

/* Nothing but the stack of the layer above, for nobody but the caller. */
void pmalloc_report_stack(char *stack, size_t room);

/* "FrozenDict at 0x7f0010001218 + 24", "none (free space)": one part of it. */
void pmalloc_report_object(struct pmalloc_writer *w, const struct pmalloc_violation *v);

/* "\n  address      0x7f0010001230 (pool 'NAME', chunk 0, offset 0x1230)\n" */
void pmalloc_report_address(struct pmalloc_writer *w, const struct pmalloc_violation *v);

/* "0x7f0020001234 libc.so.6+0x1234 (memset+0x33)\n": where `pc` is; it lies in the function that
 * holds `inside`. */
void pmalloc_report_code(struct pmalloc_writer *w, uintptr_t pc, uintptr_t inside);

/* This thread's name, as the kernel has it; empty where it does not say. */
void pmalloc_report_thread_name(char *name, size_t room);

/* ---- for fault_json ------------------------------------------------------------- */

/* "read", "write" or "access". */
const char *pmalloc_report_access(enum pmalloc_access access);

/* An address inside the function that frame i is in: a return address may lie behind its end. */
uintptr_t pmalloc_report_inside(const struct pmalloc_stack *stack, size_t i);

/* Whether it is static data of a loaded object. */
int pmalloc_report_is_static(const struct pmalloc_where *where);

/* "FrozenDict", "allocation", "symbol 'table'". */
void pmalloc_report_what(struct pmalloc_writer *w, const struct pmalloc_violation *v,
                         const struct pmalloc_facts *f);

/* The first line without its "pmalloc: ". */
void pmalloc_report_headline(struct pmalloc_writer *w, const struct pmalloc_violation *v);

#endif

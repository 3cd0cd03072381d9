/* fault_report: the words about a violation, written to stderr.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_REPORT_H
#define PMALLOC_FAULT_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "fault_context.h"
#include "registry.h"

/* Collects text on the stack and hands it to write(2) when full or flushed. */
struct pmalloc_writer {
  size_t used;
  char text[512];
};

void pmalloc_writer_start(struct pmalloc_writer *w);
void pmalloc_writer_flush(struct pmalloc_writer *w);
/* Text from elsewhere: control characters come out as \xNN. */
void pmalloc_write_escaped(struct pmalloc_writer *w, const char *text);

struct pmalloc_violation {
  const struct pmalloc_where *where;
  uintptr_t address;
  uintptr_t pc;
  enum pmalloc_access access;
  pmalloc_describe_fn describe;   /* or NULL */
  pmalloc_preheader_fn preheader; /* or NULL */
};

/* Everything but the Python stack. Async-signal-safe. */
void pmalloc_report_violation(const struct pmalloc_violation *v);

#endif

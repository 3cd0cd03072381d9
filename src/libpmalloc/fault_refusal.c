/* fault_refusal: the words about a rare write that was refused, written to stderr.
 *
 *   pmalloc: rare write of 8 bytes refused: it is not write-rare memory
 *     address      0x7f0010001230 (pool 'NAME', chunk 0, offset 0x1230)
 *     object       allocation at 0x7f0010001200 + 48 (size 64)
 *     reason       the pool's mode is ro
 *     thread       4711/4712 'worker'
 *     caller       0x7f0030000456 fastmap.so+0x456 (reload+0x16)
 *
 * A rare write that is refused is a bug of the program, or an attacker who came to the
 * door; the caller is told, and callers forget to look.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_refusal.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "fault_report.h"
#include "fault_writer.h"
#include "status.h"

static const char *reason(const struct pmalloc_refusal *r) {
  const struct pmalloc_where *where = &r->where;
  if (r->freed)
    return "the allocation was freed";
  if (r->status == PMALLOC_ERR_BOUNDS)
    return where->place == PMALLOC_NOWHERE ? "it begins in front of a pool's memory"
           : where->object_end == 0 ? (pmalloc_report_is_static(where) ? "there is no variable"
                                                                       : "there is no allocation")
           : pmalloc_report_is_static(where)
               ? "it does not end where the variable does"
               : "it does not end where the allocation or object does";
  if (r->status != PMALLOC_ERR_NOT_RARE)
    return NULL;
  switch (where->place) {
  case PMALLOC_NOWHERE:
    return "no pool's memory";
  case PMALLOC_GUARD:
    return "a guard page";
  case PMALLOC_METADATA:
    return "metadata";
  case PMALLOC_DATA:
  case PMALLOC_DESTROYED:
  default:
    if (pmalloc_report_is_static(where))
      return "the variable is __ro_after_init";
    return where->mode == PMALLOC_MODE_AUTO_RO ? "the pool's mode is auto_ro"
                                               : "the pool's mode is ro";
  }
}

static void write_target(struct pmalloc_writer *w, const struct pmalloc_refusal *r) {
  static const struct pmalloc_fault_hooks none;
  const struct pmalloc_violation v = {
      .where = &r->where, .address = r->address, .access = PMALLOC_WRITE, .hooks = &none};
  if (r->where.place == PMALLOC_NOWHERE) {
    pmalloc_write_text(w, "\n  address      ");
    pmalloc_write_hex(w, r->address);
    pmalloc_write_text(w, "\n");
    return;
  }
  pmalloc_report_address(w, &v);
  if (r->where.place != PMALLOC_DATA)
    return;
  pmalloc_write_text(w, "  object       ");
  pmalloc_report_object(w, &v);
  pmalloc_write_text(w, "\n");
}

void pmalloc_refusal_report(const struct pmalloc_refusal *r, uintptr_t caller) {
  struct pmalloc_writer w;
  char name[32];
  pmalloc_writer_start(&w);
  pmalloc_write_text(&w, "pmalloc: rare write ");
  int has_target = r->address || r->size; /* an opening has none */
  if (has_target) {
    pmalloc_write_text(&w, "of ");
    pmalloc_write_dec(&w, r->size);
    pmalloc_write_text(&w, r->size == 1 ? " byte " : " bytes ");
  }
  pmalloc_write_text(&w, "refused: ");
  pmalloc_write_text(&w, pmalloc_status_text(r->status));
  if (has_target)
    write_target(&w, r);
  else
    pmalloc_write_text(&w, "\n");
  if (reason(r)) {
    pmalloc_write_text(&w, "  reason       ");
    pmalloc_write_text(&w, reason(r));
    pmalloc_write_text(&w, "\n");
  }
  pmalloc_write_text(&w, "  thread       ");
  pmalloc_write_dec(&w, (uintptr_t)syscall(SYS_getpid));
  pmalloc_write_text(&w, "/");
  pmalloc_write_dec(&w, (uintptr_t)syscall(SYS_gettid));
  pmalloc_report_thread_name(name, sizeof name);
  pmalloc_write_text(&w, " '");
  pmalloc_write_escaped(&w, name);
  pmalloc_write_text(&w, "'\n  caller       ");
  pmalloc_report_code(&w, caller, caller - 1);
  pmalloc_writer_flush(&w);
}

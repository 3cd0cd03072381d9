/* describe: what the report says about a Python object.
 *
 * ASYNC-SIGNAL-SAFE: describe() and preheader() run in the SIGSEGV handler. They
 * read through pages_peek() only, for the memory they are asked about may be
 * what an attacker just wrote to, and print through pmalloc_write_*() only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guards.h"

#include "../libpmalloc/fault.h"
#include "../libpmalloc/pages.h"
#include "cpython_instance.h"
#include "errors.h"

static int peek_type(uintptr_t start, PyTypeObject **type) {
  return pages_peek(type, (const char *)start + offsetof(PyObject, ob_type), sizeof *type);
}

static void describe(struct pmalloc_writer *w, uintptr_t start) {
  PyTypeObject *type;
  const char *name;
  char text[65];
  if (peek_type(start, &type) < 0 ||
      pages_peek(&name, (const char *)type + offsetof(PyTypeObject, tp_name), sizeof name) < 0) {
    pmalloc_write_text(w, "object of unreadable type");
    return;
  }
  size_t n = 0;
  while (n < sizeof text - 1 && pages_peek(text + n, name + n, 1) == 0 && text[n] >= ' ' &&
         text[n] <= '~')
    n++;
  text[n] = 0;
  const char *last = text;
  for (size_t i = 0; i < n; i++)
    if (text[i] == '.')
      last = text + i + 1;
  pmalloc_write_text(w, *last ? last : "object of unnamed type");
}

static size_t preheader(uintptr_t start, size_t before, const char **part) {
  PyTypeObject *type;
  unsigned long flags;
  static const char *const parts[] = {
      [PM_BEFORE_GC_HEAD] = "its GC header",
      [PM_BEFORE_DICT] =
          "its __dict__; if C code read that: pmalloc.register(..., linked_dict=True)",
      [PM_BEFORE_WEAKREFS] = "its weak references"};
  *part = parts[pm_what_is_before(before)];
  if (peek_type(start, &type) < 0 ||
      pages_peek(&flags, (const char *)type + offsetof(PyTypeObject, tp_flags), sizeof flags) < 0)
    return 0;
  return (flags & Py_TPFLAGS_HAVE_GC ? PM_GC_HEAD : 0) +
         (flags & Py_TPFLAGS_PREHEADER ? 2 * sizeof(void *) : 0);
}

int pm_handler_install(int stack_signal) {
  struct pmalloc_fault_hooks hooks = {
      .describe = describe, .preheader = preheader, .stack_signal = stack_signal};
  enum pmalloc_status status = pmalloc_fault_install(&hooks);
  if (status == PMALLOC_OK)
    return 0;
  pm_raise_status(status, "install the fault handler for", "*");
  return -1;
}

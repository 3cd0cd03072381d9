/* describe: what the report says about a Python object.
 *
 * Its type, what lies in front of it, and (describe_path.c) the way to it from the pool's root.
 *
 * ASYNC-SIGNAL-SAFE: all but pm_handler_install() and pm_path_of() runs in the SIGSEGV handler.
 * They read through pages_peek() only, for the memory they are asked about may be what an attacker
 * just wrote to, and print through pmalloc_write_*() only.
 *
 * SPDX-License-Identifier: MIT
 */
#include "guards.h"

#include "../libpmalloc/fault_writer.h"
#include "cpython_instance.h"
#include "describe.h"
#include "errors.h"
#include "violations.h"

/* ---- text --------------------------------------------------------------------- */

void pm_text_flush(struct pm_text *t) {
  t->text[t->used] = 0;
  if (t->used)
    t->flush(t->to, t->text);
  t->used = 0;
}

void pm_text_char(struct pm_text *t, char c) {
  if (t->used == sizeof t->text - 1)
    pm_text_flush(t);
  t->text[t->used++] = c;
}

void pm_text_add(struct pm_text *t, const char *text) {
  while (*text)
    pm_text_char(t, *text++);
}

static void put_number(struct pm_text *t, uint64_t n, unsigned radix) {
  char digits[20];
  size_t used = 0;
  do {
    digits[used++] = "0123456789abcdef"[n % radix];
    n /= radix;
  } while (n);
  while (used)
    pm_text_char(t, digits[--used]);
}

void pm_text_dec(struct pm_text *t, uint64_t n) { put_number(t, n, 10); }

void pm_text_hex(struct pm_text *t, uintptr_t n) {
  pm_text_add(t, "0x");
  put_number(t, n, 16);
}

void pm_text_escaped(struct pm_text *t, const char *text) {
  size_t unseen = 0;
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (unseen == 0)
      unseen = pmalloc_unseen(text);
    if (c >= 32 && c != 127 && unseen == 0) {
      pm_text_char(t, *text);
    } else {
      pm_text_add(t, "\\x");
      pm_text_char(t, "0123456789abcdef"[c >> 4]);
      pm_text_char(t, "0123456789abcdef"[c & 15]);
    }
    unseen -= unseen > 0;
  }
}

/* ---- types --------------------------------------------------------------------- */

void pm_peek_type_name(uintptr_t op, char name[PM_TYPE_NAME]) {
  uintptr_t type, at;
  char text[PM_TYPE_NAME];
  if (pm_peek_type(op, &type) < 0 || PM_PEEK(&at, type, PyTypeObject, tp_name) < 0) {
    strcpy(name, "object of unreadable type");
    return;
  }
  size_t n = 0;
  while (n < sizeof text - 1 && pm_peek(text + n, at + n, 1) == 0 && text[n] >= ' ' &&
         text[n] <= '~')
    n++;
  text[n] = 0;
  const char *last = text;
  for (size_t i = 0; i < n; i++)
    if (text[i] == '.')
      last = text + i + 1;
  strcpy(name, *last ? last : "object of unnamed type");
}

static void describe(struct pmalloc_writer *w, uintptr_t start) {
  char name[PM_TYPE_NAME];
  pm_peek_type_name(start, name);
  pmalloc_write_text(w, name);
}

static size_t preheader(uintptr_t start, size_t before, const char **part) {
  uintptr_t type;
  unsigned long flags;
  static const char *const parts[] = {
      [PM_BEFORE_GC_HEAD] = "its GC header",
      [PM_BEFORE_DICT] =
          "its __dict__; if C code read that: pmalloc.register(..., linked_dict=True)",
      [PM_BEFORE_WEAKREFS] = "its weak references"};
  *part = parts[pm_what_is_before(before)];
  if (pm_peek_type(start, &type) < 0 || PM_PEEK(&flags, type, PyTypeObject, tp_flags) < 0)
    return 0;
  return (flags & Py_TPFLAGS_HAVE_GC ? PM_GC_HEAD : 0) +
         (flags & Py_TPFLAGS_PREHEADER ? 2 * sizeof(void *) : 0);
}

/* Python itself, its own extensions, and this one: who called them is who wrote. */
static const char *const own_modules[] = {"python", "libpython", "/lib-dynload", "/pmalloc", NULL};

int pm_handler_install(int stack_signal, int stack_fd) {
  struct pmalloc_fault_hooks hooks = {.describe = describe,
                                      .preheader = preheader,
                                      .path = pm_path_write,
                                      .stack_signal = stack_signal,
                                      .stack_fd = stack_fd,
                                      .own_modules = own_modules,
                                      .line = pm_current_line,
                                      .notify = pm_violations_notify};
  enum pmalloc_status status = pmalloc_fault_install(&hooks);
  if (status == PMALLOC_OK)
    return 0;
  pm_raise_status(status, "install the fault handler for", "*");
  return -1;
}

/* ---- for tests: the path of an object, as a report shows it --------------------- */

struct answer {
  char *bytes;
  size_t used, room;
  int failed;
};

static void to_answer(void *to, const char *text) {
  struct answer *a = to;
  size_t n = strlen(text);
  if (a->failed)
    return;
  if (a->used + n > a->room) {
    size_t room = 2 * (a->used + n);
    char *more = PyMem_Realloc(a->bytes, room);
    if (more == NULL) {
      a->failed = 1;
      return;
    }
    a->bytes = more;
    a->room = room;
  }
  memcpy(a->bytes + a->used, text, n);
  a->used += n;
}

PyObject *pm_path_of(PyObject *module, PyObject *obj) {
  struct pmalloc_where where;
  struct answer a = {0};
  struct pm_text t = {.flush = to_answer, .to = &a};
  (void)module;
  if (!pmalloc_registry_find((uintptr_t)obj, &where) || where.place != PMALLOC_DATA ||
      where.kind != PMALLOC_OBJECTS || where.object_start != (uintptr_t)obj)
    Py_RETURN_NONE;
  struct pm_search *search = PyMem_Malloc(pm_search_bytes);
  if (search == NULL)
    return PyErr_NoMemory();
  pm_path_text(&t, search, &where, (uintptr_t)obj);
  pm_text_flush(&t);
  PyMem_Free(search);
  PyObject *text =
      a.failed ? PyErr_NoMemory() : PyUnicode_DecodeUTF8(a.bytes, (Py_ssize_t)a.used, "replace");
  PyMem_Free(a.bytes);
  return text;
}

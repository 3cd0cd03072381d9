/* fault_report: the words about a violation, written to stderr.
 *
 *   pmalloc: write to protected pool 'NAME'
 *     address      0x7f0010001230 (pool 'NAME', chunk 0, offset 0x1230)
 *                                        <- first write(2): needs no memory of
 *                                           anybody's but the registry's
 *     object       FrozenDict at 0x7f0010001218 + 24
 *     path         NAME['roles']['admin']
 *     thread       4711/4712 'worker'
 *                                        <- second: read the object, and /proc
 *     instruction  0x7f0020001234 libc.so.6+0x1234 (memset+0x33)
 *     policy       oops
 *     store        mov, 8 bytes: 02 00 00 00 00 00 00 00 -> 05 00 00 00 00 00 00 00
 *     created      app.py:12 at 2026-11-21 20:50:33 UTC
 *     protected    app.py:20 at 2026-11-21 20:50:34 UTC
 *     code         c5 fe 7f 07 c5 f8 77 c3 48 89 f8 c3 0f 1f 40 00
 *                                        <- third: read the loader's tables
 *     extension    fastmap.cpython-313-x86_64-linux-gnu.so
 *     native stack
 *       0x7f0020001234 libc.so.6+0x1234 (memset+0x33)
 *       0x7f0030000456 fastmap.cpython-313-x86_64-linux-gnu.so+0x456 (clear+0x16)
 *                                        <- fourth: walk the stack
 *     Python stack of this thread:       <- last, and from somebody else
 *
 * The process is about to die and what it knows may be broken, so the report
 * leaves in the order of what is hardest to lose. A fault in the middle of it
 * ends the process at once (SIGSEGV is blocked in its own handler), with
 * everything flushed so far already on stderr.
 *
 * ASYNC-SIGNAL-SAFE: raw system calls, pages_peek(), the registry, and the other
 * fault_* files.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_report.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fault_above.h"
#include "fault_json.h"
#include "fault_origin.h"
#include "fault_symbol.h"
#include "pages.h"
#include "pool.h"

/* An object's header can't reach further down than this: a collector's header
 * and two words for a dict and a weakref list. */
#define PREHEADER_MAX 32
#define GRANULE 8
#define SHOWN_BYTES 16 /* of a store: more is in the JSON */

/* ---- the facts --------------------------------------------------------------- */

/* The bytes just below an object's marked start may be a header of that object;
 * the registry, which knows starts only, gives them to the one before. */
static uintptr_t owner_of_header(const struct pmalloc_violation *v, const char **part) {
  uintptr_t next = (v->address / GRANULE + 1) * GRANULE;
  pmalloc_preheader_fn preheader = v->hooks->preheader;
  if (!preheader)
    return 0;
  for (; next - v->address <= PREHEADER_MAX; next += GRANULE)
    if (pmalloc_registry_is_start(next) &&
        preheader(next, next - v->address, part) >= next - v->address)
      return next;
  return 0;
}

static void find_object(const struct pmalloc_violation *v, struct pmalloc_facts *f) {
  const struct pmalloc_where *where = v->where;
  f->nothing = where->place == PMALLOC_GUARD       ? "guard page"
               : where->place == PMALLOC_METADATA  ? "metadata"
               : where->place == PMALLOC_DESTROYED ? "destroyed"
                                                   : NULL;
  if (f->nothing)
    return;
  if (where->kind == PMALLOC_OBJECTS) {
    f->object = owner_of_header(v, &f->part);
    f->in_header = f->object != 0;
  }
  if (f->in_header)
    return;
  f->object = where->object_start;
  if (!f->object || v->address >= where->object_end)
    f->nothing = "free space";
  else if (where->kind != PMALLOC_OBJECTS)
    f->size = where->object_end - where->object_start;
}

static size_t path_digits(char *to, unsigned long n) {
  char digits[24];
  size_t used = 0;
  do {
    digits[used++] = (char)('0' + n % 10);
    n /= 10;
  } while (n);
  for (size_t i = 0; i < used; i++)
    to[i] = digits[used - 1 - i];
  return used;
}

void pmalloc_report_thread_name(char *name, size_t room) {
  char path[64] = "/proc/self/task/";
  size_t used = strlen(path);
  used += path_digits(path + used, (unsigned long)syscall(SYS_gettid));
  memcpy(path + used, "/comm", sizeof "/comm");
  long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  long n = fd < 0 ? 0 : syscall(SYS_read, fd, name, room - 1);
  if (fd >= 0)
    (void)syscall(SYS_close, fd);
  if (n > 0 && name[n - 1] == '\n')
    n--;
  name[n > 0 ? n : 0] = 0;
}

static void find_thread(struct pmalloc_facts *f) {
  f->pid = (uintptr_t)syscall(SYS_getpid);
  f->tid = (uintptr_t)syscall(SYS_gettid);
  pmalloc_report_thread_name(f->thread, sizeof f->thread);
}

static void find_code(const struct pmalloc_violation *v, struct pmalloc_facts *f) {
  f->code_size = pages_peek_some(f->code, v->pc, sizeof f->code);
}

static void find_old(struct pmalloc_violation *v, struct pmalloc_facts *f) {
  const struct pmalloc_store *store = v->store;
  if (!store || store->size == 0 || store->size > sizeof f->old ||
      pages_peek(f->old, (const void *)store->address, store->size) != 0)
    return;
  f->old_size = store->size;
  if (v->same_value < 0 && store->has_bytes)
    v->same_value = memcmp(f->old, store->bytes, store->size) == 0;
}

static int begins_with(const char *text, const char *start) {
  return strncmp(text, start, strlen(start)) == 0;
}

/* Libraries that do what others tell them. */
static const char *const servants[] = {
    "libc.",     "libc-",      "libm.",       "libpthread", "ld-linux",  "libgcc_s.", "libffi.",
    "libstdc++", "linux-vdso", "libpmalloc.", "libasan.",   "libubsan.", "libtsan.",  NULL};

static int is_extension(const struct pmalloc_violation *v, const struct pmalloc_symbol *symbol) {
  const char *const *name;
  if (symbol->is_program)
    return 0;
  for (name = servants; *name; name++)
    if (begins_with(symbol->module, *name))
      return 0;
  for (name = v->hooks->own_modules; name && *name; name++)
    if (**name == '/' ? pmalloc_symbol_is_in_folder(symbol, *name + 1)
                      : begins_with(symbol->module, *name))
      return 0;
  return 1;
}

uintptr_t pmalloc_report_inside(const struct pmalloc_stack *stack, size_t i) {
  return stack->pc[i] - !(stack->exact >> i & 1);
}

static __attribute__((noinline)) void find_stack(const struct pmalloc_violation *v,
                                                 struct pmalloc_facts *f) {
  struct pmalloc_symbol symbol;
  if (!v->uc)
    return;
  pmalloc_unwind(v->uc, &f->stack);
  for (size_t i = 0; i < f->stack.depth && !f->extension; i++) {
    uintptr_t at = pmalloc_report_inside(&f->stack, i);
    if (pmalloc_symbol_module(at, &symbol) && is_extension(v, &symbol))
      f->extension = at;
  }
}

int pmalloc_report_is_static(const struct pmalloc_where *where) {
  return where->place == PMALLOC_DATA && where->kind == PMALLOC_STATIC;
}

/* ---- the lines ------------------------------------------------------------- */

static void write_pool(struct pmalloc_writer *w, const struct pmalloc_where *where) {
  pmalloc_write_text(w, pmalloc_report_is_static(where) ? "static data '" : "pool '");
  pmalloc_write_escaped(w, where->pool_name ? where->pool_name : "?");
  pmalloc_write_text(w, "'");
}

const char *pmalloc_report_access(enum pmalloc_access access) {
  return access == PMALLOC_WRITE ? "write" : access == PMALLOC_READ ? "read" : "access";
}

void pmalloc_report_headline(struct pmalloc_writer *w, const struct pmalloc_violation *v) {
  /* "write to" or "access to": protected memory can always be read. */
  const char *verb = v->access == PMALLOC_WRITE ? "write" : "access";
  switch (v->where->place) {
  case PMALLOC_GUARD:
    pmalloc_write_text(w, "guard page of ");
    write_pool(w, v->where);
    pmalloc_write_text(w, " hit (");
    pmalloc_write_text(w, pmalloc_report_access(v->access));
    pmalloc_write_text(w, ")");
    break;
  case PMALLOC_DESTROYED:
    pmalloc_write_text(w, "use after destroy of ");
    write_pool(w, v->where);
    pmalloc_write_text(w, " (");
    pmalloc_write_text(w, pmalloc_report_access(v->access));
    pmalloc_write_text(w, ")");
    break;
  case PMALLOC_METADATA:
    pmalloc_write_text(w, verb);
    pmalloc_write_text(w, " to metadata of ");
    write_pool(w, v->where);
    break;
  case PMALLOC_DATA:
  case PMALLOC_NOWHERE:
  default:
    /* Also while a protect is under way: this page is read-only already. */
    pmalloc_write_text(w, verb);
    pmalloc_write_text(w, " to protected ");
    write_pool(w, v->where);
    break;
  }
}

void pmalloc_report_address(struct pmalloc_writer *w, const struct pmalloc_violation *v) {
  const struct pmalloc_where *where = v->where;
  pmalloc_write_text(w, "\n  address      ");
  pmalloc_write_hex(w, v->address);
  pmalloc_write_text(w, " (");
  write_pool(w, where);
  if (where->place == PMALLOC_DATA) {
    if (!pmalloc_report_is_static(where)) {
      pmalloc_write_text(w, ", chunk ");
      pmalloc_write_dec(w, where->chunk_index);
    }
    pmalloc_write_text(w, ", offset ");
    pmalloc_write_hex(w, where->offset_in_chunk);
  } else if (where->place == PMALLOC_GUARD && where->chunk_end) {
    int above = v->address >= where->chunk_end;
    pmalloc_write_text(w, ", ");
    pmalloc_write_dec(w, above ? v->address - where->chunk_end : where->chunk_start - v->address);
    pmalloc_write_text(w, above ? " bytes past the end of chunk " : " bytes below chunk ");
    pmalloc_write_dec(w, where->chunk_index);
  } else if (where->place == PMALLOC_METADATA || where->place == PMALLOC_GUARD) {
    pmalloc_write_text(w, ", metadata");
  }
  pmalloc_write_text(w, ")\n");
}

void pmalloc_report_what(struct pmalloc_writer *w, const struct pmalloc_violation *v,
                         const struct pmalloc_facts *f) {
  if (f->size && pmalloc_report_is_static(v->where) && v->where->symbol) {
    pmalloc_write_text(w, "symbol '");
    pmalloc_write_peeked(w, (uintptr_t)v->where->symbol, PMALLOC_SYMBOL_TEXT);
    pmalloc_write_text(w, "'");
  } else if (f->size) {
    pmalloc_write_text(w, pmalloc_report_is_static(v->where) ? "unnamed data" : "allocation");
  } else if (v->hooks->describe) {
    v->hooks->describe(w, f->object);
  } else {
    pmalloc_write_text(w, "object");
  }
}

static void write_object(struct pmalloc_writer *w, const struct pmalloc_violation *v,
                         const struct pmalloc_facts *f) {
  if (f->nothing) {
    pmalloc_write_text(w, "none (");
    pmalloc_write_text(w, f->nothing);
    pmalloc_write_text(w, ")");
    return;
  }
  pmalloc_report_what(w, v, f);
  pmalloc_write_text(w, " at ");
  pmalloc_write_hex(w, f->object);
  pmalloc_write_text(w, f->in_header ? " - " : " + ");
  pmalloc_write_dec(w, f->in_header ? f->object - v->address : v->address - f->object);
  if (f->in_header) {
    pmalloc_write_text(w, " (");
    pmalloc_write_text(w, f->part);
    pmalloc_write_text(w, ")");
  } else if (f->size) {
    pmalloc_write_text(w, " (size ");
    pmalloc_write_dec(w, f->size);
    pmalloc_write_text(w, ")");
  }
}

void pmalloc_report_object(struct pmalloc_writer *w, const struct pmalloc_violation *v) {
  struct pmalloc_facts facts;
  memset(&facts, 0, sizeof facts);
  find_object(v, &facts);
  write_object(w, v, &facts);
}

/* Looking for the path takes a while, and reads much: what is known so far leaves first. */
static void write_path(struct pmalloc_writer *w, const struct pmalloc_violation *v,
                       const struct pmalloc_facts *f) {
  if (!v->hooks->path || f->nothing || f->size)
    return;
  pmalloc_writer_flush(w);
  pmalloc_write_text(w, "  path         ");
  v->hooks->path(w, v->where, f->object);
  pmalloc_write_text(w, "\n");
}

static void write_thread(struct pmalloc_writer *w, const struct pmalloc_facts *f) {
  pmalloc_write_text(w, "  thread       ");
  pmalloc_write_dec(w, f->pid);
  pmalloc_write_text(w, "/");
  pmalloc_write_dec(w, f->tid);
  if (f->thread[0]) {
    pmalloc_write_text(w, " '");
    pmalloc_write_escaped(w, f->thread);
    pmalloc_write_text(w, "'");
  }
  pmalloc_write_text(w, "\n");
}

static void write_store(struct pmalloc_writer *w, const struct pmalloc_violation *v,
                        const struct pmalloc_facts *f) {
  const struct pmalloc_store *store = v->store;
  if (!store)
    return;
  pmalloc_write_text(w, "  store        ");
  pmalloc_write_text(w, store->name);
  if (store->size) {
    pmalloc_write_text(w, ", ");
    pmalloc_write_dec(w, store->size);
    pmalloc_write_text(w, store->size == 1 ? " byte" : " bytes");
    if (store->address != v->address) { /* the first of them lie in front of the page */
      pmalloc_write_text(w, " at ");
      pmalloc_write_hex(w, store->address);
    }
  }
  if (v->same_value == 1) {
    pmalloc_write_text(w, ", same value");
  } else if (store->has_bytes && f->old_size && store->size <= SHOWN_BYTES) {
    pmalloc_write_text(w, ": ");
    pmalloc_write_bytes(w, f->old, f->old_size, " ");
    pmalloc_write_text(w, " -> ");
    pmalloc_write_bytes(w, store->bytes, store->size, " ");
  }
  pmalloc_write_text(w, "\n");
}

__attribute__((noinline)) void pmalloc_report_code(struct pmalloc_writer *w, uintptr_t pc,
                                                   uintptr_t inside) {
  struct pmalloc_symbol symbol;
  pmalloc_write_hex(w, pc);
  if (pmalloc_symbol_find(inside, &symbol)) {
    pmalloc_write_text(w, " ");
    pmalloc_write_escaped(w, symbol.module);
    pmalloc_write_text(w, "+");
    pmalloc_write_hex(w, symbol.offset + (pc - inside));
    if (symbol.name[0]) {
      pmalloc_write_text(w, " (");
      pmalloc_write_escaped(w, symbol.name);
      pmalloc_write_text(w, "+");
      pmalloc_write_hex(w, symbol.name_offset + (pc - inside));
      pmalloc_write_text(w, ")");
    }
  } else {
    pmalloc_write_text(w, " (in no mapped file)");
  }
  pmalloc_write_text(w, "\n");
}

static __attribute__((noinline)) void write_origin(struct pmalloc_writer *w,
                                                   const struct pmalloc_violation *v,
                                                   enum pmalloc_event event, const char *label) {
  struct pmalloc_origin origin;
  if (!pmalloc_origin_find(v->where->pool_id, event, &origin))
    return;
  pmalloc_write_text(w, label);
  pmalloc_write_escaped(w, origin.file);
  if (origin.line) {
    pmalloc_write_text(w, ":");
    pmalloc_write_dec(w, origin.line);
  }
  pmalloc_write_text(w, " at ");
  pmalloc_write_time(w, origin.time_ns, 1);
  pmalloc_write_text(w, "\n");
}

static __attribute__((noinline)) void write_extension(struct pmalloc_writer *w,
                                                      const struct pmalloc_facts *f) {
  struct pmalloc_symbol symbol;
  if (!f->extension || !pmalloc_symbol_module(f->extension, &symbol))
    return;
  pmalloc_write_text(w, "  extension    ");
  pmalloc_write_escaped(w, symbol.module);
  pmalloc_write_text(w, "\n");
}

static void write_stack(struct pmalloc_writer *w, const struct pmalloc_stack *stack) {
  if (!stack->depth)
    return;
  pmalloc_write_text(w, "  native stack\n");
  for (size_t i = 0; i < stack->depth; i++) {
    pmalloc_write_text(w, "    ");
    pmalloc_report_code(w, stack->pc[i], pmalloc_report_inside(stack, i));
  }
  if (stack->end) {
    pmalloc_write_text(w, "    not known further: ");
    pmalloc_write_text(w, stack->end);
    pmalloc_write_text(w, "\n");
  }
}

static void write_text(struct pmalloc_writer *w, struct pmalloc_violation *v,
                       struct pmalloc_facts *f) {
  pmalloc_write_text(w, "pmalloc: ");
  pmalloc_report_headline(w, v);
  pmalloc_report_address(w, v);
  pmalloc_writer_flush(w);

  find_object(v, f);
  pmalloc_write_text(w, "  object       ");
  write_object(w, v, f);
  pmalloc_write_text(w, "\n");
  write_path(w, v, f);
  find_thread(f);
  write_thread(w, f);
  pmalloc_writer_flush(w);

  pmalloc_write_text(w, "  instruction  ");
  pmalloc_report_code(w, v->pc, v->pc);
  pmalloc_write_text(w, "  policy       ");
  pmalloc_write_text(w, pmalloc_policy_name(v->policy));
  pmalloc_write_text(w, "\n");
  find_old(v, f);
  write_store(w, v, f);
  write_origin(w, v, PMALLOC_WAS_CREATED, "  created      ");
  write_origin(w, v, PMALLOC_WAS_PROTECTED, "  protected    ");
  find_code(v, f);
  if (f->code_size) {
    pmalloc_write_text(w, "  code         ");
    pmalloc_write_bytes(w, f->code, f->code_size, " ");
    pmalloc_write_text(w, "\n");
  }
  pmalloc_writer_flush(w);

  find_stack(v, f);
  write_extension(w, f);
  write_stack(w, &f->stack);
  pmalloc_writer_flush(w);
}

/* ---- the stack of the layer above ------------------------------------------------ */

/* faulthandler cuts names off after 500 characters: a file, a function, and words around them.
 * A line that is longer still is two. */
#define LINE 1152

/* To both places, line by line, and to who keeps it. */
static __attribute__((noinline)) void copy_lines(int fd, struct pmalloc_writer *w,
                                                 struct pmalloc_json *json,
                                                 const struct pmalloc_kept *kept) {
  size_t stacked = 0;
  char line[LINE];
  size_t used = 0;
  for (;;) {
    long n = syscall(SYS_read, fd, line + used, sizeof line - 1 - used);
    size_t have = used + (size_t)(n > 0 ? n : 0);
    if (have == 0)
      return;
    char *end = memchr(line, '\n', have);
    if (!end && n > 0 && have < sizeof line - 1) {
      used = have;
      continue;
    }
    /* A whole line, or as much as there will be, or as there is room for. */
    do {
      size_t length = end ? (size_t)(end - line) : have, whole = end ? length + 1 : length;
      line[length] = 0;
      pmalloc_write_text(w, line);
      pmalloc_write_text(w, "\n");
      if (kept && kept->stack && length + 1 < kept->stack_room - stacked) {
        memcpy(kept->stack + stacked, line, length);
        stacked += length;
        kept->stack[stacked++] = '\n';
        kept->stack[stacked] = 0;
      }
      pmalloc_json_stack_line(json, line);
      have -= whole;
      memmove(line, line + whole, have);
      end = memchr(line, '\n', have);
    } while (end);
    used = have;
    if (n <= 0 && used == 0)
      return;
  }
}

void pmalloc_report_stack(char *stack, size_t room) {
  const char *why;
  size_t used = 0;
  int fd = pmalloc_above_ask(&why);
  for (long n = 1; fd >= 0 && n > 0 && used < room - 1; used += n > 0 ? (size_t)n : 0)
    n = syscall(SYS_read, fd, stack + used, room - 1 - used);
  if (fd >= 0)
    (void)syscall(SYS_close, fd);
  stack[used] = 0;
}

static void write_above(struct pmalloc_writer *w, struct pmalloc_json *json,
                        const struct pmalloc_kept *kept) {
  const char *why;
  int fd = pmalloc_above_ask(&why);
  if (fd < 0 && !why)
    return;
  pmalloc_write_text(w, "  Python stack of this thread:");
  if (fd < 0) {
    pmalloc_write_text(w, " not known, ");
    pmalloc_write_text(w, why);
  }
  pmalloc_write_text(w, "\n");
  if (fd >= 0) {
    copy_lines(fd, w, json, kept);
    (void)syscall(SYS_close, fd);
  }
  pmalloc_writer_flush(w);
}

void pmalloc_report_violation(struct pmalloc_violation *v, const struct pmalloc_kept *kept) {
  struct pmalloc_writer w;
  struct pmalloc_facts facts;
  struct pmalloc_json json;
  struct timespec now = {0, 0};
  memset(&facts, 0, sizeof facts);
  (void)syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  facts.time_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
  pmalloc_writer_start(&w);
  if (kept && kept->text)
    pmalloc_writer_keep(&w, kept->text, kept->text_room);
  write_text(&w, v, &facts);
  pmalloc_json_start(&json, v, &facts);
  write_above(&w, &json, kept);
  pmalloc_json_finish(&json, &w);
  pmalloc_writer_flush(&w);
}

/* fault_json: the report for programs, a file for each violation.
 *
 *   PMALLOC_REPORT_DIR/                        set when the handler is installed, not asked for
 *     .pmalloc-4711-4712-....json.partial      when it runs
 *            |                                 O_EXCL, 0600: nobody else's file, nobody else's eyes
 *            v  renamed when it is whole
 *     pmalloc-4711-4712-20261121T205033.123456Z-1.json
 *
 * Whoever watches the directory never sees half a report, and the name of one is
 * never used again: process, thread, time, and a number that goes up.
 *
 * docs/report.md says what the fields mean. Addresses are strings of hexadecimal
 * digits, because numbers of that size are not safe in the JSON of many programs.
 * What is not known is null; no field is ever left out.
 *
 * A directory that is missing, full or not ours is said in a line on stderr.
 *
 * ASYNC-SIGNAL-SAFE.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault_elf.h"
#include "fault_origin.h"
#include "fault_symbol.h"
#include "pages.h"
#include "pool.h"

#define FORMAT 1
#define PARTIAL ".partial"

static char directory[4096];
static atomic_int has_directory;
static atomic_uint counter;

int pmalloc_json_use_directory(const char *path) {
  size_t n = path ? strlen(path) : 0;
  atomic_store(&has_directory, 0);
  if (n >= sizeof directory)
    return -1;
  if (path) {
    memcpy(directory, path, n + 1);
    atomic_store(&has_directory, 1);
  }
  return 0;
}

/* ---- values ------------------------------------------------------------------- */

static void put_key(struct pmalloc_json *j, const char *key) {
  if (j->comma)
    pmalloc_write_text(&j->w, ",");
  j->comma = 1;
  pmalloc_write_text(&j->w, j->depth <= 2 ? "\n" : " "); /* a frame of a stack is one line */
  for (int i = 0; i < j->depth && j->depth <= 2; i++)
    pmalloc_write_text(&j->w, "  ");
  if (key) {
    pmalloc_write_quote(&j->w);
    pmalloc_write_text(&j->w, key);
    pmalloc_write_unquote(&j->w);
    pmalloc_write_text(&j->w, ": ");
  }
}

static void put_open(struct pmalloc_json *j, const char *key, const char *bracket) {
  put_key(j, key);
  pmalloc_write_text(&j->w, bracket);
  j->comma = 0;
  j->depth++;
}

static void put_close(struct pmalloc_json *j, const char *bracket) {
  pmalloc_write_text(&j->w, bracket);
  j->comma = 1;
  j->depth--;
}

/* Constants of JSON: null, true, false. */
static void put_word(struct pmalloc_json *j, const char *key, const char *word) {
  put_key(j, key);
  pmalloc_write_text(&j->w, word);
}

static void put_text(struct pmalloc_json *j, const char *key, const char *text) {
  if (!text) {
    put_word(j, key, "null");
    return;
  }
  put_key(j, key);
  pmalloc_write_quote(&j->w);
  pmalloc_write_escaped(&j->w, text);
  pmalloc_write_unquote(&j->w);
}

static void put_dec(struct pmalloc_json *j, const char *key, uintmax_t n) {
  put_key(j, key);
  pmalloc_write_dec(&j->w, n);
}

static void put_signed(struct pmalloc_json *j, const char *key, uintptr_t from, uintptr_t to) {
  put_key(j, key);
  pmalloc_write_text(&j->w, to < from ? "-" : "");
  pmalloc_write_dec(&j->w, to < from ? from - to : to - from);
}

static void put_hex(struct pmalloc_json *j, const char *key, uintptr_t n) {
  put_key(j, key);
  pmalloc_write_quote(&j->w);
  pmalloc_write_hex(&j->w, n);
  pmalloc_write_unquote(&j->w);
}

static void put_bytes(struct pmalloc_json *j, const char *key, const unsigned char *bytes,
                      size_t n) {
  if (!n) {
    put_word(j, key, "null");
    return;
  }
  put_key(j, key);
  pmalloc_write_quote(&j->w);
  pmalloc_write_bytes(&j->w, bytes, n, NULL);
  pmalloc_write_unquote(&j->w);
}

static void put_time(struct pmalloc_json *j, const char *key, int64_t ns) {
  put_key(j, key);
  pmalloc_write_quote(&j->w);
  pmalloc_write_time(&j->w, ns, 0);
  pmalloc_write_unquote(&j->w);
}

/* ---- the fields ------------------------------------------------------------------ */

static __attribute__((noinline)) void put_origin(struct pmalloc_json *j, const char *key,
                                                 uintptr_t pool_id, enum pmalloc_event event) {
  struct pmalloc_origin origin;
  if (!pmalloc_origin_find(pool_id, event, &origin)) {
    put_word(j, key, "null");
    return;
  }
  put_open(j, key, "{");
  put_text(j, "file", origin.file);
  if (origin.line)
    put_dec(j, "line", origin.line);
  else
    put_word(j, "line", "null");
  put_time(j, "time", origin.time_ns);
  put_close(j, "}");
}

static void put_pool(struct pmalloc_json *j, const struct pmalloc_where *where) {
  static const char *const places[] = {"nowhere", "data", "guard", "metadata", "destroyed"};
  put_open(j, "pool", "{");
  put_text(j, "name", where->pool_name);
  put_dec(j, "id", where->pool_id);
  put_text(j, "place", places[where->place]);
  put_word(j, "static", pmalloc_report_is_static(where) ? "true" : "false");
  put_origin(j, "created", where->pool_id, PMALLOC_WAS_CREATED);
  put_origin(j, "protected", where->pool_id, PMALLOC_WAS_PROTECTED);
  put_close(j, "}");
  if (where->place == PMALLOC_DATA || (where->place == PMALLOC_GUARD && where->chunk_end)) {
    put_open(j, "chunk", "{");
    put_dec(j, "index", where->chunk_index);
    put_hex(j, "start", where->chunk_start);
    put_hex(j, "end", where->chunk_end);
    put_close(j, "}");
  } else {
    put_word(j, "chunk", "null");
  }
}

static void put_symbol(struct pmalloc_json *j, const struct pmalloc_where *where) {
  if (!pmalloc_report_is_static(where) || !where->symbol) {
    put_word(j, "symbol", "null");
    return;
  }
  put_key(j, "symbol");
  pmalloc_write_quote(&j->w);
  pmalloc_write_peeked(&j->w, (uintptr_t)where->symbol, 4096);
  pmalloc_write_unquote(&j->w);
}

static void put_object(struct pmalloc_json *j, const struct pmalloc_violation *v,
                       const struct pmalloc_facts *f) {
  put_text(j, "no_object", f->nothing);
  if (f->nothing) {
    put_word(j, "object", "null");
    put_word(j, "path", "null");
    return;
  }
  put_open(j, "object", "{");
  put_key(j, "what");
  pmalloc_write_quote(&j->w);
  pmalloc_report_what(&j->w, v, f);
  pmalloc_write_unquote(&j->w);
  put_symbol(j, v->where);
  put_hex(j, "start", f->object);
  put_signed(j, "offset", f->object, v->address);
  put_text(j, "part", f->part && f->in_header ? f->part : NULL);
  if (f->size)
    put_dec(j, "size", f->size);
  else
    put_word(j, "size", "null");
  put_close(j, "}");
  if (f->size || !v->hooks->path) {
    put_word(j, "path", "null");
    return;
  }
  put_key(j, "path");
  pmalloc_write_quote(&j->w);
  v->hooks->path(&j->w, v->where, f->object);
  pmalloc_write_unquote(&j->w);
}

static void put_store(struct pmalloc_json *j, const struct pmalloc_violation *v,
                      const struct pmalloc_facts *f) {
  const struct pmalloc_store *store = v->store;
  if (!store) {
    put_word(j, "store", "null");
    return;
  }
  put_open(j, "store", "{");
  put_text(j, "instruction", store->name);
  put_hex(j, "address", store->address);
  if (store->size)
    put_dec(j, "size", store->size);
  else
    put_word(j, "size", "null");
  put_word(j, "same_value", v->same_value < 0 ? "null" : v->same_value ? "true" : "false");
  put_bytes(j, "old", f->old, f->old_size);
  put_bytes(j, "new", store->bytes, store->has_bytes ? store->size : 0);
  put_close(j, "}");
}

/* The program's path, which the loader does not know. */
static __attribute__((noinline)) void put_program(struct pmalloc_json *j) {
  char path[1024];
  long n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof path - 1);
  int whole = n > 0 && (size_t)n < sizeof path - 1;
  path[whole ? n : 0] = 0;
  put_text(j, "path", whole ? path : NULL);
}

static void put_module(struct pmalloc_json *j, const struct pmalloc_symbol *symbol) {
  unsigned char id[PMALLOC_BUILD_ID];
  put_text(j, "module", symbol->module);
  if (symbol->is_program) {
    put_program(j);
  } else if (symbol->path) {
    put_key(j, "path");
    pmalloc_write_quote(&j->w);
    pmalloc_write_peeked(&j->w, symbol->path, 4096);
    pmalloc_write_unquote(&j->w);
  } else {
    put_word(j, "path", "null");
  }
  put_bytes(j, "build_id", id, symbol->header ? pmalloc_elf_build_id(symbol->header, id) : 0);
}

static __attribute__((noinline)) void put_code_address(struct pmalloc_json *j, uintptr_t pc,
                                                       uintptr_t inside) {
  struct pmalloc_symbol symbol;
  put_hex(j, "address", pc);
  if (!pmalloc_symbol_find(inside, &symbol)) {
    static const char *const unknown[] = {"module", "path",   "build_id",
                                          "offset", "symbol", "symbol_offset"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
      put_word(j, unknown[i], "null");
    return;
  }
  put_module(j, &symbol);
  put_hex(j, "offset", symbol.offset + (pc - inside));
  put_text(j, "symbol", symbol.name[0] ? symbol.name : NULL);
  if (symbol.name[0])
    put_hex(j, "symbol_offset", symbol.name_offset + (pc - inside));
  else
    put_word(j, "symbol_offset", "null");
}

static __attribute__((noinline)) void put_extension(struct pmalloc_json *j, uintptr_t address) {
  struct pmalloc_symbol symbol;
  if (!address || !pmalloc_symbol_module(address, &symbol)) {
    put_word(j, "extension", "null");
    return;
  }
  put_open(j, "extension", "{");
  put_module(j, &symbol);
  put_close(j, "}");
}

static void put_stack(struct pmalloc_json *j, const struct pmalloc_stack *stack) {
  put_open(j, "native_stack", "[");
  for (size_t i = 0; i < stack->depth; i++) {
    put_open(j, NULL, "{");
    put_code_address(j, stack->pc[i], pmalloc_report_inside(stack, i));
    put_word(j, "interrupted", stack->exact >> i & 1 ? "true" : "false");
    put_close(j, "}");
  }
  put_close(j, "]");
  put_text(j, "native_stack_ends", stack->end);
}

static void put_fields(struct pmalloc_json *j, const struct pmalloc_violation *v,
                       const struct pmalloc_facts *f) {
  put_dec(j, "format", FORMAT);
  put_time(j, "time", f->time_ns);
  put_key(j, "headline");
  pmalloc_write_quote(&j->w);
  pmalloc_report_headline(&j->w, v);
  pmalloc_write_unquote(&j->w);
  put_text(j, "policy", pmalloc_policy_name(v->policy));
  put_text(j, "access", pmalloc_report_access(v->access));
  put_hex(j, "address", v->address);
  put_store(j, v, f);
  put_pool(j, v->where);
  put_object(j, v, f);
  put_open(j, "thread", "{");
  put_dec(j, "pid", f->pid);
  put_dec(j, "tid", f->tid);
  put_text(j, "name", f->thread);
  put_close(j, "}");
  put_open(j, "instruction", "{");
  put_code_address(j, v->pc, v->pc);
  put_bytes(j, "code", f->code, f->code_size);
  put_close(j, "}");
  put_extension(j, f->extension);
  put_stack(j, &f->stack);
}

/* ---- the file ----------------------------------------------------------------------- */

/* Process, thread, time without punctuation, number. */
static void make_name(struct pmalloc_json *j, const struct pmalloc_facts *f) {
  struct pmalloc_writer *w = &j->w;
  size_t used = 0, time_from, time_to;
  pmalloc_writer_start_fd(w, -1); /* nothing is flushed: it is short */
  pmalloc_write_text(w, "pmalloc-");
  pmalloc_write_dec(w, f->pid);
  pmalloc_write_text(w, "-");
  pmalloc_write_dec(w, f->tid);
  pmalloc_write_text(w, "-");
  time_from = w->used;
  pmalloc_write_time(w, f->time_ns, 0);
  time_to = w->used;
  pmalloc_write_text(w, "-");
  pmalloc_write_dec(w, atomic_fetch_add(&counter, 1) + 1);
  pmalloc_write_text(w, ".json");
  for (size_t i = 0; i < w->used && used < sizeof j->name - 1; i++)
    if (i < time_from || i >= time_to || (w->text[i] != '-' && w->text[i] != ':'))
      j->name[used++] = w->text[i];
  j->name[used] = 0;
}

static void partial_name(const struct pmalloc_json *j, char to[PMALLOC_JSON_NAME + 16]) {
  size_t n = strlen(j->name);
  to[0] = '.';
  memcpy(to + 1, j->name, n);
  memcpy(to + 1 + n, PARTIAL, sizeof PARTIAL);
}

static int open_directory(void) {
  return (int)syscall(SYS_openat, AT_FDCWD, directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
}

static void fail(struct pmalloc_json *j, int error) {
  if (!j->failed)
    j->failed = error;
}

void pmalloc_json_start(struct pmalloc_json *j, const struct pmalloc_violation *v,
                        const struct pmalloc_facts *facts) {
  char partial[PMALLOC_JSON_NAME + 16];
  j->wanted = atomic_load(&has_directory);
  j->comma = 0;
  j->depth = 1;
  j->failed = 0;
  if (!j->wanted)
    return;
  make_name(j, facts);
  partial_name(j, partial);
  int at = open_directory();
  if (at < 0) {
    fail(j, errno);
    return;
  }
  int fd = (int)syscall(SYS_openat, at, partial,
                        O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    fail(j, errno);
  (void)syscall(SYS_close, at);
  if (j->failed)
    return;
  pmalloc_writer_start_fd(&j->w, fd);
  pmalloc_write_text(&j->w, "{");
  put_fields(j, v, facts);
  put_open(j, "python_stack", "[");
}

/* ---- the stack of the layer above --------------------------------------------------- */

/* `  File "NAME", line 12 in FUNCTION`, as faulthandler has it: NULL if it is not that, else the
 * function; file and function are cut out of the line. */
static char *cut_frame(char *line, char **file, uintmax_t *number) {
  static const char starts[] = "  File \"", middle[] = "\", line ", before[] = " in ";
  char *found = NULL, *at;
  if (strncmp(line, starts, sizeof starts - 1) != 0)
    return NULL;
  *file = line + sizeof starts - 1;
  for (at = *file; *at; at++) /* the last one: a file may be named like that */
    if (strncmp(at, middle, sizeof middle - 1) == 0)
      found = at;
  if (!found)
    return NULL;
  at = found + sizeof middle - 1;
  for (*number = 0; *at >= '0' && *at <= '9'; at++)
    *number = *number * 10 + (uintmax_t)(*at - '0');
  if (strncmp(at, before, sizeof before - 1) != 0)
    return NULL;
  *found = 0;
  return at + sizeof before - 1;
}

void pmalloc_json_stack_line(struct pmalloc_json *j, char *line) {
  char *file;
  uintmax_t number;
  if (!j->wanted || j->failed)
    return;
  const char *function = cut_frame(line, &file, &number);
  if (!function && strncmp(line, "Stack (", 7) == 0)
    return; /* its heading */
  put_open(j, NULL, "{");
  put_text(j, "file", function ? file : NULL);
  if (function)
    put_dec(j, "line", number);
  else
    put_word(j, "line", "null");
  put_text(j, "function", function ? function : line);
  put_close(j, "}");
}

/* ---- the end ------------------------------------------------------------------------- */

static const char *error_words(int error) {
  switch (error) {
  case ENOENT:
    return "it does not exist";
  case ENOTDIR:
    return "it is no directory";
  case EACCES:
  case EPERM:
    return "permission denied";
  case ENOSPC:
  case EDQUOT:
    return "no space left";
  case EROFS:
    return "read-only file system";
  case EMFILE:
  case ENFILE:
    return "no file descriptor is left";
  case EFBIG:
    return "larger than a file may be";
  default:
    return NULL;
  }
}

/* Once it is whole; a file of that name, which can only be another machine's, is left alone. */
static void give_name(struct pmalloc_json *j) {
  char partial[PMALLOC_JSON_NAME + 16];
  int at = open_directory();
  if (at < 0) {
    fail(j, errno);
    return;
  }
  partial_name(j, partial);
  if (!j->failed && syscall(SYS_renameat2, at, partial, at, j->name, RENAME_NOREPLACE) != 0) {
    int error = errno;
    /* Some file systems can't promise not to replace. */
    if ((error != EINVAL && error != ENOSYS) ||
        syscall(SYS_renameat2, at, partial, at, j->name, 0) != 0)
      fail(j, error);
  }
  if (j->failed)
    (void)syscall(SYS_unlinkat, at, partial, 0);
  (void)syscall(SYS_close, at);
}

void pmalloc_json_finish(struct pmalloc_json *j, struct pmalloc_writer *says) {
  if (!j->wanted)
    return;
  if (!j->failed) {
    pmalloc_write_text(&j->w, "]\n}\n");
    pmalloc_writer_flush(&j->w);
    if (j->w.failed)
      fail(j, j->w.failed);
    (void)syscall(SYS_close, j->w.fd);
    give_name(j);
  }
  pmalloc_write_text(says, "pmalloc: ");
  if (j->failed) {
    const char *words = error_words(j->failed);
    pmalloc_write_text(says, "the report could not be written to ");
    pmalloc_write_escaped(says, directory);
    pmalloc_write_text(says, ": ");
    pmalloc_write_text(says, words ? words : "errno ");
    if (!words)
      pmalloc_write_dec(says, (uintmax_t)j->failed);
  } else {
    pmalloc_write_text(says, "the report is in ");
    pmalloc_write_escaped(says, directory);
    pmalloc_write_text(says, "/");
    pmalloc_write_text(says, j->name);
  }
  pmalloc_write_text(says, "\n");
}

/* fault_report: the words about a violation, written to stderr.
 *
 *   pmalloc: write to protected pool 'NAME'
 *     address      0x7f0010001230 (pool 'NAME', chunk 0, offset 0x1230)
 *                                        <- first write(2): needs no memory of
 *                                           anybody's but the registry's
 *     object       FrozenDict at 0x7f0010001218 + 24
 *     thread       4711/4712 'worker'
 *                                        <- second: read the object, and /proc
 *     instruction  0x7f0020001234 libc.so.6+0x1234 (memset+0x33)
 *     policy       oops
 *                                        <- third: read the loader's tables
 *
 * The process is about to die and what it knows may be broken, so the report
 * leaves in the order of what is hardest to lose. A fault in the middle of it
 * ends the process at once (SIGSEGV is blocked in its own handler), with
 * everything flushed so far already on stderr.
 *
 * The writer lies on the stack, small enough for an alternate signal stack: a
 * static one would need a lock that a second faulting thread can't wait for.
 *
 * ASYNC-SIGNAL-SAFE: raw system calls (the libc wrappers are cancellation
 * points), pages_peek(), the registry, and fault_symbol.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_report.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault_symbol.h"

/* An object's header can't reach further down than this: a collector's header
 * and two words for a dict and a weakref list. */
#define PREHEADER_MAX 32
#define GRANULE 8

/* ---- the writer ------------------------------------------------------------ */

void pmalloc_writer_start(struct pmalloc_writer *w) { w->used = 0; }

void pmalloc_writer_flush(struct pmalloc_writer *w) {
  size_t done = 0;
  while (done < w->used) {
    long n = syscall(SYS_write, STDERR_FILENO, w->text + done, w->used - done);
    if (n > 0)
      done += (size_t)n;
    else if (n == 0 || errno != EINTR)
      break; /* nobody can be told */
  }
  w->used = 0;
}

static void put(struct pmalloc_writer *w, char c) {
  if (w->used == sizeof w->text)
    pmalloc_writer_flush(w);
  w->text[w->used++] = c;
}

void pmalloc_write_text(struct pmalloc_writer *w, const char *text) {
  while (*text)
    put(w, *text++);
}

static void put_digits(struct pmalloc_writer *w, uintmax_t n, unsigned radix) {
  char digits[24]; /* 2^64 has 20 decimal digits */
  size_t used = 0;
  do {
    digits[used++] = "0123456789abcdef"[n % radix];
    n /= radix;
  } while (n);
  while (used)
    put(w, digits[--used]);
}

void pmalloc_write_hex(struct pmalloc_writer *w, uintptr_t n) {
  pmalloc_write_text(w, "0x");
  put_digits(w, n, 16);
}

void pmalloc_write_dec(struct pmalloc_writer *w, uintmax_t n) { put_digits(w, n, 10); }

/* A name is data: it must not be able to move the cursor or forge a line. */
void pmalloc_write_escaped(struct pmalloc_writer *w, const char *text) {
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c >= 32 && c != 127) {
      put(w, *text);
    } else {
      pmalloc_write_text(w, "\\x");
      put(w, "0123456789abcdef"[c >> 4]);
      put(w, "0123456789abcdef"[c & 15]);
    }
  }
}

static void write_pool(struct pmalloc_writer *w, const struct pmalloc_where *where) {
  pmalloc_write_text(w, "pool '");
  pmalloc_write_escaped(w, where->pool_name ? where->pool_name : "?");
  pmalloc_write_text(w, "'");
}

/* ---- the lines ------------------------------------------------------------- */

static const char *const access_word[] = {"access", "read", "write"};

static void write_headline(struct pmalloc_writer *w, const struct pmalloc_violation *v) {
  /* "write to" or "access to": protected memory can always be read. */
  const char *verb = v->access == PMALLOC_WRITE ? "write" : "access";
  pmalloc_write_text(w, "pmalloc: ");
  switch (v->where->place) {
  case PMALLOC_GUARD:
    pmalloc_write_text(w, "guard page of ");
    write_pool(w, v->where);
    pmalloc_write_text(w, " hit (");
    pmalloc_write_text(w, access_word[v->access]);
    pmalloc_write_text(w, ")");
    break;
  case PMALLOC_DESTROYED:
    pmalloc_write_text(w, "use after destroy of ");
    write_pool(w, v->where);
    pmalloc_write_text(w, " (");
    pmalloc_write_text(w, access_word[v->access]);
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

static void write_address(struct pmalloc_writer *w, const struct pmalloc_violation *v) {
  const struct pmalloc_where *where = v->where;
  pmalloc_write_text(w, "\n  address      ");
  pmalloc_write_hex(w, v->address);
  pmalloc_write_text(w, " (");
  write_pool(w, where);
  if (where->place == PMALLOC_DATA) {
    pmalloc_write_text(w, ", chunk ");
    pmalloc_write_dec(w, where->chunk_index);
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

/* The bytes just below an object's marked start may be a header of that object;
 * the registry, which knows starts only, gives them to the one before. */
static uintptr_t owner_of_header(const struct pmalloc_violation *v, const char **part) {
  uintptr_t next = (v->address / GRANULE + 1) * GRANULE;
  if (!v->preheader)
    return 0;
  for (; next - v->address <= PREHEADER_MAX; next += GRANULE)
    if (pmalloc_registry_is_start(next) &&
        v->preheader(next, next - v->address, part) >= next - v->address)
      return next;
  return 0;
}

static void write_built_object(struct pmalloc_writer *w, const struct pmalloc_violation *v) {
  const struct pmalloc_where *where = v->where;
  const char *part = NULL;
  uintptr_t start = owner_of_header(v, &part);
  int in_header = start != 0;
  if (!in_header)
    start = where->object_start;
  if (!start || (!in_header && v->address >= where->object_end)) {
    pmalloc_write_text(w, "none (free space)");
    return;
  }
  if (v->describe)
    v->describe(w, start);
  else
    pmalloc_write_text(w, "object");
  pmalloc_write_text(w, " at ");
  pmalloc_write_hex(w, start);
  pmalloc_write_text(w, in_header ? " - " : " + ");
  pmalloc_write_dec(w, in_header ? start - v->address : v->address - start);
  if (in_header) {
    pmalloc_write_text(w, " (");
    pmalloc_write_text(w, part);
    pmalloc_write_text(w, ")");
  }
}

static void write_object(struct pmalloc_writer *w, const struct pmalloc_violation *v) {
  const struct pmalloc_where *where = v->where;
  pmalloc_write_text(w, "  object       ");
  if (where->place == PMALLOC_GUARD) {
    pmalloc_write_text(w, "none (guard page)");
  } else if (where->place == PMALLOC_METADATA) {
    pmalloc_write_text(w, "none (metadata)");
  } else if (where->place == PMALLOC_DESTROYED) {
    pmalloc_write_text(w, "none (destroyed)");
  } else if (where->kind == PMALLOC_OBJECTS) {
    write_built_object(w, v);
  } else if (!where->object_start || v->address >= where->object_end) {
    pmalloc_write_text(w, "none (free space)");
  } else {
    pmalloc_write_text(w, "allocation at ");
    pmalloc_write_hex(w, where->object_start);
    pmalloc_write_text(w, " + ");
    pmalloc_write_dec(w, v->address - where->object_start);
    pmalloc_write_text(w, " (size ");
    pmalloc_write_dec(w, where->object_end - where->object_start);
    pmalloc_write_text(w, ")");
  }
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

static void write_thread(struct pmalloc_writer *w) {
  long tid = syscall(SYS_gettid);
  char path[64] = "/proc/self/task/";
  char comm[32];
  size_t used = strlen(path);
  used += path_digits(path + used, (unsigned long)tid);
  memcpy(path + used, "/comm", sizeof "/comm");

  pmalloc_write_text(w, "\n  thread       ");
  pmalloc_write_dec(w, (uintmax_t)syscall(SYS_getpid));
  pmalloc_write_text(w, "/");
  pmalloc_write_dec(w, (uintmax_t)tid);
  long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd >= 0) {
    long n = syscall(SYS_read, fd, comm, sizeof comm - 1);
    (void)syscall(SYS_close, fd);
    if (n > 0 && comm[n - 1] == '\n')
      n--;
    if (n > 0) {
      comm[n] = 0;
      pmalloc_write_text(w, " '");
      pmalloc_write_escaped(w, comm);
      pmalloc_write_text(w, "'");
    }
  }
  pmalloc_write_text(w, "\n");
}

static void write_instruction(struct pmalloc_writer *w, uintptr_t pc) {
  struct pmalloc_symbol symbol;
  pmalloc_write_text(w, "  instruction  ");
  pmalloc_write_hex(w, pc);
  if (pmalloc_symbol_find(pc, &symbol)) {
    pmalloc_write_text(w, " ");
    pmalloc_write_escaped(w, symbol.module);
    pmalloc_write_text(w, "+");
    pmalloc_write_hex(w, symbol.offset);
    if (symbol.name[0]) {
      pmalloc_write_text(w, " (");
      pmalloc_write_escaped(w, symbol.name);
      pmalloc_write_text(w, "+");
      pmalloc_write_hex(w, symbol.name_offset);
      pmalloc_write_text(w, ")");
    }
  } else {
    pmalloc_write_text(w, " (in no mapped file)");
  }
}

void pmalloc_report_violation(const struct pmalloc_violation *v) {
  struct pmalloc_writer w;
  pmalloc_writer_start(&w);
  write_headline(&w, v);
  write_address(&w, v);
  pmalloc_writer_flush(&w);

  write_object(&w, v);
  write_thread(&w);
  pmalloc_writer_flush(&w);

  write_instruction(&w, v->pc);
  pmalloc_write_text(&w, "\n  policy       oops\n");
  pmalloc_writer_flush(&w);
}

/* fault_symbol: which library and which function a code address lies in.
 *
 * dladdr() would answer that, but it takes the loader's lock, and the thread
 * that faulted may hold it. So the handler asks in two ways that take none:
 *
 *   _dl_find_object()  glibc 2.35 and newer; promised to be async-signal-safe.
 *        |             Gives the link_map, whose dynamic section leads to the
 *        v             exported symbols:
 *   link_map -> .dynamic -> DT_SYMTAB  value, size, name of each function
 *                           DT_STRTAB  the names
 *                           DT_GNU_HASH (or DT_HASH): how many symbols there are
 *
 *   /proc/self/maps    everything else: module and offset only.
 *
 * A process that has just been caught writing where it should not may have
 * broken any of these tables as well. Each is copied out by pages_peek() before
 * it is looked at, must lie inside its module, and every walk is bounded.
 *
 * Only a function that really spans the address is named. The nearest exported
 * symbol below it is a guess, and a wrong name costs more time than none.
 *
 * ASYNC-SIGNAL-SAFE: raw system calls, pages_peek() and memory of its own.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_symbol.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fault_elf.h"
#include "pages.h"

/* struct dl_find_object of glibc 2.35, spelled out so that a build against an
 * older libc still finds it on a newer one. */
struct found_object {
  unsigned long long flags;
  void *map_start;
  void *map_end;
  struct link_map *map;
  void *eh_frame;
  unsigned long long reserved[8];
};
typedef int (*finder_fn)(void *, struct found_object *);

static _Atomic(finder_fn) finder;

void pmalloc_symbol_use_finder(void *dl_find_object) {
  finder_fn fn;
  /* ISO C has no cast from void * to a function; POSIX says the bits fit. */
  memcpy(&fn, &dl_find_object, sizeof fn);
  atomic_store(&finder, fn);
}

/* Text that may be unreadable: NULL where the next byte is, or after 4096. Read in blocks that end
 * on a boundary, so that none spans a page that is not there. */
struct text {
  uintptr_t from, base;
  size_t at, have;
  char block[64];
};

static const char *next_char(struct text *t) {
  if (t->at - t->base >= t->have || t->have == 0) {
    uintptr_t address = t->from + t->at;
    size_t n = sizeof t->block - (address & (sizeof t->block - 1));
    if (t->at >= 4096 || pages_peek(t->block, (const void *)address, n) != 0)
      return NULL;
    t->base = t->at;
    t->have = n;
  }
  return &t->block[t->at++ - t->base];
}

/* Copies the part of a path after its last slash out of `from`, which may be
 * unreadable; long names lose their end. */
static void copy_text(char *to, uintptr_t from, int basename_only) {
  struct text t = {.from = from};
  size_t used = 0;
  for (const char *c; (c = next_char(&t)) != NULL && *c;) {
    if (basename_only && *c == '/')
      used = 0;
    else if (used < PMALLOC_SYMBOL_TEXT - 1)
      to[used++] = *c;
    else if (!basename_only)
      break;
  }
  to[used] = 0;
}

int pmalloc_symbol_is_in_folder(const struct pmalloc_symbol *symbol, const char *name) {
  struct text t = {.from = symbol->path};
  char last[PMALLOC_SYMBOL_TEXT], now[PMALLOC_SYMBOL_TEXT];
  size_t used = 0;
  last[0] = 0;
  for (const char *c; symbol->path && (c = next_char(&t)) != NULL && *c;) {
    if (used < sizeof now - 1)
      now[used++] = *c;
    if (*c == '/') {
      now[used - 1] = 0;
      memcpy(last, now, used);
      used = 0;
    }
  }
  return strcmp(last, name) == 0;
}

/* The loader gives the main program no name. */
static void program_name(char *to) {
  char path[256];
  long n = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof path - 1);
  path[n > 0 ? n : 0] = 0;
  copy_text(to, (uintptr_t)path, 1);
}

/* ---- /proc/self/maps, one byte at a time --------------------------------- */

struct maps_line {
  uintptr_t start, end, offset;
  char name[PMALLOC_SYMBOL_TEXT];
  size_t name_used;
  int field; /* 0 start, 1 end, 2 permissions, 3 offset, 4 device, 5 inode, 6 path */
};

static uintptr_t push_hex(uintptr_t n, char c) {
  unsigned digit = c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
  return (n << 4) | (digit & 15);
}

static void maps_byte(struct maps_line *line, char c) {
  if (line->field == 0) {
    if (c == '-')
      line->field = 1;
    else
      line->start = push_hex(line->start, c);
  } else if (line->field < 6) {
    if (c == ' ')
      line->field++;
    else if (line->field == 1)
      line->end = push_hex(line->end, c);
    else if (line->field == 3)
      line->offset = push_hex(line->offset, c);
  } else if (c == '/') {
    line->name_used = 0;
  } else if ((c != ' ' || line->name_used) && line->name_used < PMALLOC_SYMBOL_TEXT - 1) {
    line->name[line->name_used++] = c;
  }
}

static int module_by_maps(uintptr_t address, struct pmalloc_symbol *out) {
  long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0)
    return 0;
  struct maps_line line;
  memset(&line, 0, sizeof line);
  uintptr_t base = 0; /* of the file whose mappings are passing by */
  char block[256];
  int found = 0, done = 0;
  for (long n; !done && (n = syscall(SYS_read, fd, block, sizeof block)) > 0;) {
    for (long i = 0; i < n && !done; i++) {
      if (block[i] != '\n') {
        maps_byte(&line, block[i]);
        continue;
      }
      if (line.offset == 0)
        base = line.start;
      if (line.start <= address && address < line.end) {
        line.name[line.name_used] = 0;
        memcpy(out->module, line.name, sizeof out->module);
        out->start = line.start;
        out->end = line.end;
        out->header = base ? base : line.start;
        out->offset = address - out->header;
        found = line.name_used != 0; /* generated code has no file */
        done = 1;
      }
      memset(&line, 0, sizeof line);
    }
  }
  (void)syscall(SYS_close, fd);
  return found;
}

/* ---- the dynamic section -------------------------------------------------- */

struct tables {
  uintptr_t low, high; /* the module */
  uintptr_t bias;      /* its load base */
  uintptr_t symbols, strings, gnu_hash, hash;
  uintptr_t strings_size;
};

static int peek(const struct tables *t, void *to, uintptr_t from, size_t n) {
  if (from < t->low || from > t->high || n > t->high - from)
    return -1;
  return pages_peek(to, (const void *)from, n);
}

static void read_dynamic(struct tables *t, uintptr_t dynamic) {
  for (size_t i = 0; i < 128; i++) {
    ElfW(Dyn) d;
    if (peek(t, &d, dynamic + i * sizeof d, sizeof d) != 0 || d.d_tag == DT_NULL)
      return;
    uintptr_t value = (uintptr_t)d.d_un.d_ptr;
    /* glibc has relocated these in place, except in a read-only section. */
    uintptr_t where = value < t->bias ? value + t->bias : value;
    switch (d.d_tag) {
    case DT_SYMTAB:
      t->symbols = where;
      break;
    case DT_STRTAB:
      t->strings = where;
      break;
    case DT_STRSZ:
      t->strings_size = value;
      break;
    case DT_GNU_HASH:
      t->gnu_hash = where;
      break;
    case DT_HASH:
      t->hash = where;
      break;
    default:
      break;
    }
  }
}

/* How many symbols there are is written nowhere: DT_HASH has one chain entry a
 * symbol; in DT_GNU_HASH the last symbol ends the chain of the highest bucket. */
static size_t count_symbols(const struct tables *t, size_t *first) {
  *first = 0;
  if (t->gnu_hash) {
    uint32_t head[4]; /* buckets, first symbol, bloom words, shift */
    if (peek(t, head, t->gnu_hash, sizeof head) != 0)
      return 0;
    uintptr_t buckets = t->gnu_hash + sizeof head + (uintptr_t)head[2] * sizeof(ElfW(Addr));
    uintptr_t chains = buckets + (uintptr_t)head[0] * 4;
    uint32_t last = 0;
    uint32_t block[64];
    for (uint32_t i = 0; i < head[0]; i += 64) {
      uint32_t n = head[0] - i < 64 ? head[0] - i : 64;
      if (peek(t, block, buckets + (uintptr_t)i * 4, n * 4) != 0)
        return 0;
      for (uint32_t k = 0; k < n; k++)
        last = block[k] > last ? block[k] : last;
    }
    if (last < head[1])
      return 0;
    for (uint32_t bound = 0; bound < 100000; bound++) {
      uint32_t chain;
      if (peek(t, &chain, chains + (uintptr_t)(last - head[1]) * 4, 4) != 0)
        return 0;
      last++;
      if (chain & 1)
        break;
    }
    *first = head[1];
    return last;
  }
  uint32_t head[2]; /* buckets, chain entries */
  if (t->hash && peek(t, head, t->hash, sizeof head) == 0)
    return head[1];
  return 0;
}

static void name_function(const struct tables *t, uintptr_t address, struct pmalloc_symbol *out) {
  size_t first;
  size_t count = count_symbols(t, &first);
  uintptr_t best = 0, best_name = 0;
  if (!t->symbols || !t->strings || count > 1000000)
    return;
  for (size_t i = first; i < count; i += 16) {
    ElfW(Sym) block[16];
    size_t n = count - i < 16 ? count - i : 16;
    if (peek(t, block, t->symbols + i * sizeof block[0], n * sizeof block[0]) != 0)
      return;
    for (size_t k = 0; k < n; k++) {
      const ElfW(Sym) *s = &block[k];
      uintptr_t start = t->bias + s->st_value;
      unsigned type = s->st_info & 15U;
      if (type != STT_FUNC || s->st_shndx == SHN_UNDEF || address < start ||
          address - start >= s->st_size || start < best || s->st_name >= t->strings_size)
        continue;
      best = start;
      best_name = t->strings + s->st_name;
    }
  }
  if (best && best_name >= t->low && best_name < t->high) {
    copy_text(out->name, best_name, 0);
    out->name_offset = address - best;
  }
}

/* The loader's span of a module has gaps where its segments are aligned to more than a page, as on
 * aarch64, and the kernel puts other mappings there: a pool, for instance. 0 where the module's own
 * headers say that the address is in none of its segments. */
static int in_a_segment(const struct tables *t, uintptr_t address) {
  ElfW(Ehdr) head;
  ElfW(Phdr) part;
  if (peek(t, &head, t->low, sizeof head) != 0 || memcmp(head.e_ident, ELFMAG, SELFMAG) != 0)
    return 1;
  for (size_t i = 0; i < head.e_phnum; i++) {
    if (peek(t, &part, t->low + head.e_phoff + i * sizeof part, sizeof part) != 0)
      return 1;
    if (part.p_type == PT_LOAD && address - (t->bias + part.p_vaddr) < part.p_memsz)
      return 1;
  }
  return 0;
}

static int module_by_loader(uintptr_t address, struct pmalloc_symbol *out, struct tables *t,
                            uintptr_t *dynamic) {
  finder_fn find = atomic_load(&finder);
  struct found_object object;
  struct link_map map;
  if (!find || find((void *)address, &object) != 0 || pages_peek(&map, object.map, sizeof map) != 0)
    return 0;
  t->low = out->start = (uintptr_t)object.map_start;
  t->high = out->end = (uintptr_t)object.map_end;
  t->bias = (uintptr_t)map.l_addr;
  if (!in_a_segment(t, address)) {
    memset(out, 0, sizeof *out);
    return 0;
  }
  out->offset = address - t->bias;
  out->header = t->low;
  *dynamic = (uintptr_t)map.l_ld;
  if (map.l_name)
    copy_text(out->module, (uintptr_t)map.l_name, 1);
  out->is_program = !out->module[0];
  if (out->is_program)
    program_name(out->module);
  else
    out->path = (uintptr_t)map.l_name;
  return 1;
}

int pmalloc_symbol_module(uintptr_t address, struct pmalloc_symbol *out) {
  struct tables t;
  uintptr_t dynamic;
  memset(&t, 0, sizeof t);
  memset(out, 0, sizeof *out);
  return module_by_loader(address, out, &t, &dynamic) || module_by_maps(address, out);
}

int pmalloc_symbol_find(uintptr_t address, struct pmalloc_symbol *out) {
  struct tables t;
  uintptr_t dynamic;
  memset(&t, 0, sizeof t);
  memset(out, 0, sizeof *out);
  if (!module_by_loader(address, out, &t, &dynamic))
    return module_by_maps(address, out);
  read_dynamic(&t, dynamic);
  name_function(&t, address, out);
  return 1;
}

uintptr_t pmalloc_symbol_unwind_index(uintptr_t address) {
  finder_fn find = atomic_load(&finder);
  struct found_object object;
  struct pmalloc_symbol symbol;
  if (find && find((void *)address, &object) == 0)
    return (uintptr_t)object.eh_frame;
  memset(&symbol, 0, sizeof symbol);
  return module_by_maps(address, &symbol) ? pmalloc_elf_unwind_index(symbol.header) : 0;
}

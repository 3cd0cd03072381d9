/* section_symbols: the names of variables, out of an object's file.
 *
 *     file   | Ehdr | Phdr ... | ... | .dynsym .dynstr | ... | .symtab .strtab | Shdr ... |
 *                 |                       exported            all of them          |
 *     memory      +-- the same? --- Phdr ...              (not in memory)   <------+
 *
 * Static variables are in .symtab only, which no program loads; so it is read from the file, when
 * the object is registered and the file is most likely still there. A file that was replaced since
 * it was loaded would name wrong variables: its program headers and its notes, the build id among
 * them, must be those in memory. Where .symtab was stripped, what is exported is known by .dynsym.
 *
 * The file is not trusted: each number is held against the file's or the section's size, and each
 * loop has a bound.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "section_symbols.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYMBOLS_MAX ((size_t)1 << 16) /* of one section */
#define SECTIONS_MAX 65536
#define NAME_MAX_BYTES 256
#define NOTES_BYTES 1024
#define BLOCK 64

struct found {
  uint64_t offset, size, name;
};

struct reader {
  int fd;
  const struct section_object *object;
  uintptr_t start; /* in memory */
  size_t size;
  struct found *found;
  size_t count, room;
  int no_memory;
};

static int read_at(const struct reader *r, void *to, size_t n, uint64_t at) {
  while (n > 0) {
    ssize_t got = at <= INT64_MAX ? pread(r->fd, to, n, (off_t)at) : -1;
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return -1;
    to = (char *)to + got;
    n -= (size_t)got;
    at += (uint64_t)got;
  }
  return 0;
}

/* ---- is it that file? ---- */

static int same_note(const struct reader *r, const ElfW(Phdr) * note) {
  char there[NOTES_BYTES];
  size_t n = note->p_filesz < sizeof there ? note->p_filesz : sizeof there;
  return read_at(r, there, n, note->p_offset) == 0 &&
         memcmp(there, (const void *)(r->object->bias + note->p_vaddr), n) == 0;
}

static int is_loaded_file(const struct reader *r, const ElfW(Ehdr) * head) {
  const struct section_object *object = r->object;
  if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_phentsize != sizeof(ElfW(Phdr)) ||
      head->e_phnum != object->segments)
    return 0;
  for (size_t i = 0; i < object->segments; i++) {
    ElfW(Phdr) segment;
    if (read_at(r, &segment, sizeof segment, head->e_phoff + i * sizeof segment) != 0 ||
        memcmp(&segment, &object->segment[i], sizeof segment) != 0 ||
        (segment.p_type == PT_NOTE && !same_note(r, &segment)))
      return 0;
  }
  return 1;
}

/* ---- symbols ---- */

static void add(struct reader *r, const ElfW(Sym) * symbol) {
  uint64_t at = symbol->st_value + r->object->bias - r->start;
  if ((symbol->st_info & 15U) != STT_OBJECT || symbol->st_shndx == SHN_UNDEF ||
      symbol->st_size == 0 || at >= r->size || symbol->st_size > r->size - at)
    return;
  if (r->count == r->room) {
    size_t room = r->room ? 2 * r->room : BLOCK;
    struct found *more = room <= SYMBOLS_MAX ? realloc(r->found, room * sizeof *more) : NULL;
    r->no_memory |= !more;
    if (!more)
      return;
    r->found = more;
    r->room = room;
  }
  r->found[r->count++] = (struct found){at, symbol->st_size, symbol->st_name};
}

static int read_symbols(struct reader *r, const ElfW(Shdr) * table) {
  ElfW(Sym) block[BLOCK];
  size_t count = table->sh_size / sizeof *block;
  if (table->sh_entsize != sizeof *block)
    return -1;
  for (size_t i = 0; i < count && !r->no_memory; i += BLOCK) {
    size_t n = count - i < BLOCK ? count - i : BLOCK;
    if (read_at(r, block, n * sizeof *block, table->sh_offset + i * sizeof *block) != 0)
      return -1;
    for (size_t k = 0; k < n; k++)
      add(r, &block[k]);
  }
  return r->no_memory ? -1 : 0;
}

/* By address; of those that begin together the longest first. */
static int compare(const void *a, const void *b) {
  const struct found *one = a, *other = b;
  if (one->offset != other->offset)
    return one->offset < other->offset ? -1 : 1;
  return one->size == other->size ? 0 : one->size > other->size ? -1 : 1;
}

/* Aliases, and what lies within another. */
static void drop_inner(struct reader *r) {
  size_t kept = 0;
  uint64_t end = 0;
  for (size_t i = 0; i < r->count; i++) {
    if (r->found[i].offset < end)
      continue;
    end = r->found[i].offset + r->found[i].size;
    r->found[kept++] = r->found[i];
  }
  r->count = kept;
}

static size_t read_name(const struct reader *r, const ElfW(Shdr) * strings, uint64_t at,
                        char name[NAME_MAX_BYTES]) {
  uint64_t left = at < strings->sh_size ? strings->sh_size - at : 0;
  size_t n = left < NAME_MAX_BYTES - 1 ? (size_t)left : NAME_MAX_BYTES - 1;
  memset(name, 0, NAME_MAX_BYTES);
  return read_at(r, name, n, strings->sh_offset + at) == 0 ? strlen(name) : 0;
}

/* A variable of C++ as people write it: _ZN12_GLOBAL__N_15limitE is (anonymous namespace)::limit.
 * What is more than a name in namespaces stays as it is: 0. */
static int readable(const char *mangled, char to[NAME_MAX_BYTES]) {
  static const char anonymous[] = "_GLOBAL__N_1", words[] = "(anonymous namespace)";
  const char *at = mangled + 2;
  size_t used = 0;
  if (strncmp(mangled, "_Z", 2) != 0)
    return 0;
  int nested = *at == 'N';
  at += nested || *at == 'L';
  do {
    size_t n = 0;
    at += nested && *at == 'L';
    while (*at >= '0' && *at <= '9' && n < NAME_MAX_BYTES)
      n = 10 * n + (size_t)(*at++ - '0');
    if (n == 0 || n > strlen(at) || used + n + sizeof words + 2 > NAME_MAX_BYTES)
      return 0;
    int hidden = n == sizeof anonymous - 1 && memcmp(at, anonymous, n) == 0;
    size_t length = hidden ? sizeof words - 1 : n;
    if (used > 0) {
      memcpy(to + used, "::", 2);
      used += 2;
    }
    memcpy(to + used, hidden ? words : at, length);
    used += length;
    at += n;
  } while (nested && *at && *at != 'E');
  to[used] = 0;
  return strcmp(at, nested ? "E" : "") == 0;
}

/* ---- the table ---- */

static struct cold_symbols *make_table(const struct reader *r, const ElfW(Shdr) * strings,
                                       int complete, size_t *bytes) {
  size_t names = sizeof(struct cold_symbols) + r->count * sizeof(struct cold_symbol);
  size_t room = names + r->count * NAME_MAX_BYTES;
  struct cold_symbols *table = calloc(1, room);
  if (!table)
    return NULL;
  table->complete = complete != 0;
  for (size_t i = 0; i < r->count; i++) {
    char name[NAME_MAX_BYTES], better[NAME_MAX_BYTES];
    size_t n = read_name(r, strings, r->found[i].name, name);
    if (readable(name, better)) {
      n = strlen(better);
      memcpy(name, better, n + 1);
    }
    table->of[table->count++] = (struct cold_symbol){(uint32_t)r->found[i].offset,
                                                     (uint32_t)r->found[i].size, (uint32_t)names};
    memcpy((char *)table + names, name, n + 1);
    names += n + 1;
  }
  *bytes = names;
  return table;
}

/* .symtab, else .dynsym, and the strings that belong to it. */
static int find_tables(const struct reader *r, const ElfW(Ehdr) * head, ElfW(Shdr) * symbols,
                       ElfW(Shdr) * strings) {
  ElfW(Shdr) section;
  int found = 0;
  if (head->e_shentsize != sizeof section || head->e_shoff == 0)
    return 0;
  for (size_t i = 0; i < head->e_shnum && i < SECTIONS_MAX; i++) {
    if (read_at(r, &section, sizeof section, head->e_shoff + i * sizeof section) != 0)
      return 0;
    if (section.sh_type != SHT_SYMTAB && (section.sh_type != SHT_DYNSYM || found))
      continue;
    *symbols = section;
    if (section.sh_link >= head->e_shnum ||
        read_at(r, strings, sizeof *strings, head->e_shoff + section.sh_link * sizeof section) != 0)
      return 0;
    found = 1;
    if (section.sh_type == SHT_SYMTAB)
      break;
  }
  return found;
}

struct cold_symbols *section_symbols(const struct section_object *object, uintptr_t start,
                                     size_t size, size_t *bytes) {
  struct reader r = {.fd = open(object->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK),
                     .object = object,
                     .start = start,
                     .size = size};
  ElfW(Ehdr) head;
  ElfW(Shdr) symbols, strings;
  int complete = 0;
  memset(&symbols, 0, sizeof symbols);
  memset(&strings, 0, sizeof strings);
  if (r.fd >= 0 && size <= UINT32_MAX && read_at(&r, &head, sizeof head, 0) == 0 &&
      is_loaded_file(&r, &head) && find_tables(&r, &head, &symbols, &strings)) {
    if (read_symbols(&r, &symbols) == 0)
      complete = symbols.sh_type == SHT_SYMTAB;
    else
      r.count = 0;
  }
  if (r.count > 0)
    qsort(r.found, r.count, sizeof *r.found, compare);
  drop_inner(&r);
  struct cold_symbols *table = make_table(&r, &strings, complete, bytes);
  free(r.found);
  if (r.fd >= 0)
    close(r.fd);
  return table;
}

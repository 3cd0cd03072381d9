/* fault_elf: what the headers of a loaded library say.
 *
 * The linker puts the ELF header and the program headers at the start of the first
 * segment, so they are in memory wherever the library is:
 *
 *   header --> +-----------------+
 *              | Ehdr            |      PT_LOAD          first one: how far the file was moved
 *              | Phdr Phdr Phdr  | ---> PT_GNU_EH_FRAME  index of the unwind tables
 *              +-----------------+      PT_NOTE          the build id, which tells two builds of
 *              | ...             |                       one library apart
 *
 * Everything is copied out by pages_peek() before it is looked at, and every walk
 * is bounded.
 *
 * ASYNC-SIGNAL-SAFE.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_elf.h"

#include <elf.h>
#include <link.h>
#include <string.h>

#include "pages.h"

#define PHDRS_MAX 32
#define NOTES_MAX 16

static int peek(void *to, uintptr_t from, size_t n) {
  return pages_peek(to, (const void *)from, n);
}

/* The header, and how far the file was moved from where it was linked to be. */
static int read_header(uintptr_t header, ElfW(Ehdr) * e, uintptr_t *bias) {
  ElfW(Phdr) p;
  if (peek(e, header, sizeof *e) != 0 || memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 ||
      e->e_phentsize != sizeof p)
    return 0;
  for (unsigned i = 0; i < e->e_phnum && i < PHDRS_MAX; i++) {
    if (peek(&p, header + e->e_phoff + i * sizeof p, sizeof p) != 0)
      return 0;
    if (p.p_type == PT_LOAD) {
      *bias = header - (p.p_vaddr - p.p_offset);
      return 1;
    }
  }
  return 0;
}

/* The n-th segment of a type: where it lies in memory. */
static int segment(uintptr_t header, uint32_t type, unsigned nth, uintptr_t *start, size_t *size) {
  ElfW(Ehdr) e;
  ElfW(Phdr) p;
  uintptr_t bias;
  if (!read_header(header, &e, &bias))
    return 0;
  for (unsigned i = 0; i < e.e_phnum && i < PHDRS_MAX; i++) {
    if (peek(&p, header + e.e_phoff + i * sizeof p, sizeof p) != 0)
      return 0;
    if (p.p_type == type && nth-- == 0) {
      *start = bias + p.p_vaddr;
      *size = p.p_memsz;
      return 1;
    }
  }
  return 0;
}

uintptr_t pmalloc_elf_unwind_index(uintptr_t header) {
  uintptr_t start;
  size_t size;
  return segment(header, PT_GNU_EH_FRAME, 0, &start, &size) ? start : 0;
}

size_t pmalloc_elf_build_id(uintptr_t header, unsigned char id[PMALLOC_BUILD_ID]) {
  uintptr_t at;
  size_t size;
  for (unsigned nth = 0; nth < 4 && segment(header, PT_NOTE, nth, &at, &size); nth++) {
    uintptr_t end = at + size;
    for (unsigned i = 0; i < NOTES_MAX && at < end; i++) {
      struct {
        ElfW(Nhdr) head;
        char name[4];
      } note;
      if (peek(&note, at, sizeof note) != 0)
        break;
      uintptr_t bytes = at + sizeof note.head + ((note.head.n_namesz + 3U) & ~3U);
      if (note.head.n_type == NT_GNU_BUILD_ID && note.head.n_namesz == 4 &&
          memcmp(note.name, "GNU", 4) == 0) {
        size_t n = note.head.n_descsz < PMALLOC_BUILD_ID ? note.head.n_descsz : PMALLOC_BUILD_ID;
        return peek(id, bytes, n) == 0 ? n : 0;
      }
      at = bytes + ((note.head.n_descsz + 3U) & ~3U);
    }
  }
  return 0;
}

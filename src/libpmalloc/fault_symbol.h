/* fault_symbol: which library and which function a code address lies in.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_SYMBOL_H
#define PMALLOC_FAULT_SYMBOL_H

#include <stddef.h>
#include <stdint.h>

#define PMALLOC_SYMBOL_TEXT 96

struct pmalloc_symbol {
  char module[PMALLOC_SYMBOL_TEXT]; /* file name without its folders; "" unknown */
  uintptr_t start, end;             /* addresses the module takes up */
  uintptr_t offset;                 /* address - load base */
  char name[PMALLOC_SYMBOL_TEXT];   /* exported function; "" unknown */
  uintptr_t name_offset;            /* address - start of that function */
  uintptr_t header;                 /* where the module's ELF header is mapped; 0 unknown */
  uintptr_t path;                   /* the loader's string of its path; 0: it has none */
  int is_program;                   /* the main program, as the loader says */
};

/* The address of the loader's _dl_find_object(), which whoever installs the
 * handler has looked up; NULL: there is none. */
void pmalloc_symbol_use_finder(void *dl_find_object);

/* Fills everything but the function. 1, or 0 where no mapped file holds the
 * address (generated code). Async-signal-safe. */
int pmalloc_symbol_module(uintptr_t address, struct pmalloc_symbol *out);

/* The same, and the exported function where there is one. Async-signal-safe. */
int pmalloc_symbol_find(uintptr_t address, struct pmalloc_symbol *out);

/* Whether the module lies in a folder of that name. Async-signal-safe. */
int pmalloc_symbol_is_in_folder(const struct pmalloc_symbol *symbol, const char *name);

/* Where the index of the unwind tables for the code at `address` lies, 0: there is none.
 * Async-signal-safe. */
uintptr_t pmalloc_symbol_unwind_index(uintptr_t address);

#endif

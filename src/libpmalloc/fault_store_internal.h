/* fault_store_internal: between the files of fault_store, most of it on x86-64.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_STORE_INTERNAL_H
#define PMALLOC_FAULT_STORE_INTERNAL_H

#include "fault_decode_x86.h"
#include "fault_store.h"

enum store_form {
  STORE_BYTES,  /* bytes[] go to `address` */
  STORE_LANES,  /* of bytes[], those that `lanes` has a bit for */
  STORE_UPDATE, /* what is there is read, altered and written back */
  STORE_STRING, /* movs and stos, with and without REP */
};

/* The bytes that are there now, s->size of them; 0, or -1 where they can't be read. */
int pmalloc_store_old(const struct pmalloc_store *s, void *bytes);

#if defined(__x86_64__)

/* Each: 1 where code->at is at the first opcode byte of one of its instructions and that stores to
 * memory; then *s is filled, `length` too. Whether the address is right is checked behind them. */
int pmalloc_store_integer(struct x86_code *code, struct pmalloc_store *s);
int pmalloc_store_vector(struct x86_code *code, struct pmalloc_store *s);
int pmalloc_store_string(struct x86_code *code, struct pmalloc_store *s);

/* What an update leaves besides memory. */
struct store_after {
  uint64_t flags;
  unsigned registers; /* how many of these */
  unsigned number[2];
  uint64_t value[2];
};

/* Works out what an update would write now, s->size bytes, from the memory and the context as they
 * are. 0, or -1: that memory cannot be read. */
int pmalloc_store_update(const struct pmalloc_store *s, const ucontext_t *uc, unsigned char *bytes,
                         struct store_after *after);

/* pmalloc_store_perform for strings; moves the pc when all is done. */
int pmalloc_store_string_perform(const struct pmalloc_store *s, ucontext_t *uc,
                                 pmalloc_store_write_fn write);

/* Behind the instruction. A fault sets RF in what it saves, which holds for this one only. */
static inline void store_advance(const struct pmalloc_store *s, ucontext_t *uc) {
  uc->uc_mcontext.gregs[REG_RIP] += s->length;
  uc->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)0x10000;
}

#ifdef PMALLOC_FAULT_INJECTION
/* Tests only: where the components of an XSAVE area lie, for a CPU that has AVX-512. */
void pmalloc_store_layout(const uint32_t offset[8]);
#endif

#endif
#endif

/* fault_cfi: what a library's .eh_frame says about the frames of its functions.
 *
 * Async-signal-safe, all of it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_CFI_H
#define PMALLOC_FAULT_CFI_H

#include <stddef.h>
#include <stdint.h>

/* DWARF's numbers for registers; those above are vectors, which no address is computed from. */
#if defined(__x86_64__)
#define CFI_REGISTERS 17
#define CFI_STACK_POINTER 7
#else
#define CFI_REGISTERS 33
#define CFI_LINK_REGISTER 30
#define CFI_STACK_POINTER 31
#endif

enum cfi_rule {
  CFI_SAME,       /* the callee left it alone */
  CFI_UNDEFINED,  /* lost; of the return address: there is no caller */
  CFI_AT,         /* in memory, so far from the frame's end */
  CFI_IS,         /* the frame's end plus this */
  CFI_REGISTER,   /* in another register */
  CFI_EXPRESSION, /* in memory, where a small program says */
  CFI_VALUE       /* what a small program says */
};

/* Where the caller's registers are, at one instruction of the callee. An expression is known by
 * its address. */
struct cfi_rules {
  uintptr_t end_expression; /* of the frame's end; 0: register + offset */
  int64_t end_offset;
  unsigned end_register;
  unsigned char rule[CFI_REGISTERS];
  int64_t value[CFI_REGISTERS];
};

struct cfi_function {
  uintptr_t start, end;           /* of its code */
  uintptr_t program, program_end; /* of its FDE */
  uintptr_t initial, initial_end; /* of its CIE */
  uint64_t code_align;
  int64_t data_align;
  unsigned return_register;
  unsigned encoding; /* of pointers in the FDE */
  int is_signal_frame;
};

/* The function that `pc` lies in. 0: no table that can be read has it. */
int pmalloc_cfi_find(uintptr_t pc, struct cfi_function *f);

/* The rules at `pc`, which lies in it. 0: the table says what nobody understands. */
int pmalloc_cfi_rules(const struct cfi_function *f, uintptr_t pc, struct cfi_rules *r);

/* What an expression computes from the callee's registers; `first` is what it starts with. */
int pmalloc_cfi_evaluate(uintptr_t expression, const uintptr_t *registers, uintptr_t first,
                         uintptr_t *result);

#endif

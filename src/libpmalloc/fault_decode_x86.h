/* fault_decode_x86: reads an interrupted x86-64 instruction.
 *
 * What the two that look at instructions share: fault_refcount, with its narrow rule, and
 * fault_store. Prefixes, ModRM operands, general registers; arithmetic with its flags is in
 * fault_alu_x86. All of it is async-signal-safe.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_DECODE_X86_H
#define PMALLOC_FAULT_DECODE_X86_H

#include <stdint.h>
#include <ucontext.h>

#if defined(__x86_64__)

/* The four bits of a REX prefix. */
enum { X86_REX_B = 1, X86_REX_X = 2, X86_REX_R = 4, X86_REX_W = 8 };

enum { X86_RSP = 4 }; /* also AH, where there is no REX */
enum { X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSI = 6, X86_RDI = 7 };

struct x86_code {
  const ucontext_t *uc;
  uintptr_t pc;
  unsigned char byte[40]; /* 15 and room: decoding looks ahead of its checks; zeros behind */
  unsigned fetched;       /* bytes that could be read */
  unsigned at;            /* the next one to look at */
  unsigned prefixes;      /* number of prefix bytes, REX not among them */
  unsigned rex;           /* its four bits; EVEX and VEX set them too */
  unsigned char has_rex;
  unsigned char lock;    /* F0 */
  unsigned char repeat;  /* F2 or F3, 0: none */
  unsigned char size16;  /* 66 */
  unsigned char addr32;  /* 67 */
  unsigned char segment; /* 64 or 65, FS or GS; the other four mean nothing in 64-bit code */
};

/* Fetches the instruction at the pc of `uc` and reads its prefixes: code->at is then the place of
 * the opcode's first byte. 0 where it cannot be read or its prefixes stand in an odd order. */
int pmalloc_x86_begin(struct x86_code *code, const ucontext_t *uc);

/* Reads the ModRM byte at code->at, and what belongs to it, up to the byte behind; `immediate`
 * bytes that follow there belong to the instruction. An 8-bit displacement counts units of `scale`
 * bytes (1 but for EVEX). 1 with the address of the memory operand; 0 where the operand is a
 * register, or the instruction is longer than what could be fetched. */
int pmalloc_x86_operand(struct x86_code *code, unsigned immediate, unsigned scale,
                        uintptr_t *address);

/* The three bits of ModRM, at code->at, that name a register or are part of the opcode. */
static inline unsigned x86_extension(const struct x86_code *code) {
  return (code->byte[code->at] >> 3) & 7;
}

/* n bytes (1, 2, 4 or 8), read as a signed number. */
int64_t pmalloc_x86_signed(const unsigned char *at, unsigned n);

/* General registers by their number in instructions. */
uint64_t pmalloc_x86_register(const ucontext_t *uc, unsigned number);
void pmalloc_x86_set_register(ucontext_t *uc, unsigned number, uint64_t value);

static inline uint64_t x86_flags(const ucontext_t *uc) {
  return (uint64_t)uc->uc_mcontext.gregs[REG_EFL];
}

static inline void x86_set_flags(ucontext_t *uc, uint64_t flags) {
  uc->uc_mcontext.gregs[REG_EFL] = (greg_t)flags;
}

#endif
#endif

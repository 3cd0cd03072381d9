/* fault_context: what the kernel saved when it interrupted a thread.
 *
 * The only place that knows how a CPU's registers lie in a ucontext_t. The
 * rest of the fault handler asks: where was it, where was its stack, did it
 * read or write.
 *
 * ASYNC-SIGNAL-SAFE: reads memory the kernel wrote, calls nothing.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_CONTEXT_H
#define PMALLOC_FAULT_CONTEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

enum pmalloc_access { PMALLOC_ACCESS, PMALLOC_READ, PMALLOC_WRITE };

#if defined(__x86_64__)

static inline uintptr_t context_pc(const ucontext_t *uc) {
  return (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
}

static inline uintptr_t context_sp(const ucontext_t *uc) {
  return (uintptr_t)uc->uc_mcontext.gregs[REG_RSP];
}

/* The page-fault error code the CPU pushed: bit 1 says write, bit 4 says that
 * an instruction was being fetched, which is neither. */
static inline enum pmalloc_access context_access(const ucontext_t *uc) {
  uint64_t error = (uint64_t)uc->uc_mcontext.gregs[REG_ERR];
  if (error & 16)
    return PMALLOC_ACCESS;
  return (error & 2) ? PMALLOC_WRITE : PMALLOC_READ;
}

/* The page fault for which this thread got its last SIGSEGV from the kernel, 0:
 * none. It stays in the thread, and shows in the frame of any later signal. */
static inline uintptr_t context_last_fault(const ucontext_t *uc) {
  const uint64_t page_fault = 14;
  if ((uint64_t)uc->uc_mcontext.gregs[REG_TRAPNO] != page_fault)
    return 0;
  return (uintptr_t)uc->uc_mcontext.gregs[REG_CR2];
}

/* Makes this frame no evidence of a fault any longer; the kernel never reads it. */
static inline void context_forget_fault(ucontext_t *uc) { uc->uc_mcontext.gregs[REG_TRAPNO] = 0; }

#elif defined(__aarch64__)

static inline uintptr_t context_pc(const ucontext_t *uc) { return uc->uc_mcontext.pc; }

static inline uintptr_t context_sp(const ucontext_t *uc) { return uc->uc_mcontext.sp; }

/* The exception syndrome is one of the records behind the registers. Class
 * 0x24/0x25 is a data abort, of which bit 6 (WnR) says write. */
static inline enum pmalloc_access context_access(const ucontext_t *uc) {
  const unsigned char *records = uc->uc_mcontext.__reserved;
  size_t size = sizeof uc->uc_mcontext.__reserved;
  for (size_t at = 0; at + 16 <= size;) {
    uint32_t magic, length;
    memcpy(&magic, records + at, 4);
    memcpy(&length, records + at + 4, 4);
    if (magic == 0 || length < 8 || length > size - at)
      break;
    if (magic == 0x45535201U) { /* ESR_MAGIC */
      uint64_t esr;
      memcpy(&esr, records + at + 8, 8);
      uint64_t class = (esr >> 26) & 0x3f;
      if (class != 0x24 && class != 0x25)
        return PMALLOC_ACCESS;
      return (esr & 64) ? PMALLOC_WRITE : PMALLOC_READ;
    }
    at += length;
  }
  return PMALLOC_ACCESS;
}

static inline uintptr_t context_last_fault(const ucontext_t *uc) {
  return uc->uc_mcontext.fault_address;
}

static inline void context_forget_fault(ucontext_t *uc) { uc->uc_mcontext.fault_address = 0; }

#else
#error "pmalloc's fault handler knows x86-64 and aarch64 only"
#endif

#endif

/* fault_elf: what the headers of a loaded library say.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_ELF_H
#define PMALLOC_FAULT_ELF_H

#include <stddef.h>
#include <stdint.h>

#define PMALLOC_BUILD_ID 32

/* Both are asked with the address at which the file's first byte is mapped. Async-signal-safe. */

/* Where the index of the unwind tables (.eh_frame_hdr) lies; 0: there is none. */
uintptr_t pmalloc_elf_unwind_index(uintptr_t header);

/* Copies the build id; bytes of it, 0: there is none. */
size_t pmalloc_elf_build_id(uintptr_t header, unsigned char id[PMALLOC_BUILD_ID]);

#endif

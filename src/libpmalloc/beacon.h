/* beacon: where a debugger, or `pmalloc maps PID`, finds the pools of another process.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_BEACON_H
#define PMALLOC_BEACON_H

#include <stdint.h>

/* Goes up when a reader of the number before would misread the struct itself. New fields in
 * the table do not count: a reader takes those it knows the names of. */
#define BEACON_FORMAT 1

#define BEACON_MAGIC "\x93pmalloc beacon" /* 16 bytes with its NUL */
#define BEACON_STATES 8
#define BEACON_TIERS 4
#define BEACON_FIELDS 64

struct beacon_field {
  char name[24]; /* "struct.member", or "struct" for the size of one of them */
  uint32_t offset;
  uint32_t size;
};

/* Fixed offsets: 0 magic, 16 format, 20 size, 24 self, 32 pools, 40 version, 56 field_size,
 * 60 field_count, 64 states, 192 tiers, 256 field table. Words as the machine has them. */
struct beacon {
  char magic[16];
  uint32_t format;
  uint32_t size;             /* bytes of this struct */
  const struct beacon *self; /* its own address: bytes that only look like it have another */
  const void *pools;         /* address of a word that points to the word that points to the
                                newest pool */
  char version[16];          /* of libpmalloc */
  uint32_t field_size;
  uint32_t field_count;
  char states[BEACON_STATES][16]; /* names of enum pmalloc_state */
  char tiers[BEACON_TIERS][16];   /* what a protected pool is called, by its tier */
  struct beacon_field fields[BEACON_FIELDS];
};

/* Does nothing; whoever calls it has the beacon linked in, from a static library, too. */
void beacon_keep(void);

#endif

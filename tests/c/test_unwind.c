/* The unwind tables are read by whoever was just shown that memory is not what it was: tables in
 * which bytes were changed by chance must be read to an end, soon, and without a fault.
 *
 *   test_unwind [SEED [ROUNDS]]     PMALLOC_TEST_SEED does for SEED
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "check.h"
#include "fault_cfi.h"
#include "fault_symbol.h"

static uint64_t state;

static uint64_t chance(void) { /* splitmix64 */
  uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

/* ---- a library of three functions --------------------------------------------------------- */

/* The memory of one: 4 KiB of tables, 4 KiB of code that is never run, then much that is zero and
 * may be read, as behind a real one other libraries are. */
#define TABLES 4096
#define SPAN ((size_t)256 << 20)
#define FUNCTIONS 3
#define FUNCTION_BYTES 64

static unsigned char *library;

struct found { /* struct dl_find_object */
  unsigned long long flags;
  void *start, *end, *map, *index;
  unsigned long long reserved[8];
};

static int find(void *address, struct found *out) {
  memset(out, 0, sizeof *out);
  if ((uintptr_t)address - (uintptr_t)library >= SPAN)
    return -1;
  out->index = library;
  return 0;
}

static size_t put4(size_t at, uint32_t word) {
  memcpy(library + at, &word, 4);
  return at + 4;
}

static size_t put(size_t at, const void *bytes, size_t n) {
  memcpy(library + at, bytes, n);
  return at + n;
}

static uintptr_t code_of(size_t i) { return (uintptr_t)library + TABLES + i * FUNCTION_BYTES; }

static size_t cie_at, fde_at[FUNCTIONS], tables_end;

static void make_library(void) {
  static const unsigned char head[] = {1, 0x1b, 3, 0x3b};
  /* version, "zR", code 1, data -8, return address 16; 1 byte: pcrel sdata4; the frame ends 8 above
   * register 7, the return address lies 8 below */
  static const unsigned char cie[] = {1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1};
  /* no augmentation; as a push, its undoing and a trampoline have it */
  static const unsigned char program[] = {0,    0x41, 0x0e, 16, 0x86, 2,    0x43, 0x0d, 6,
                                          0x0a, 0x48, 0x0c, 7,  8,    0x0b, 0x41, 0x0f, 11,
                                          0x77, 8,    0x80, 0,  0x3f, 0x1a, 0x3b, 0x2a, 0x33,
                                          0x24, 0x22, 0x10, 3,  2,    0x77, 0x18, 0,    0};
  memset(library, 0, TABLES);
  size_t at = put(0, head, sizeof head);
  at = put4(at, 0);
  at = put4(at, FUNCTIONS);
  size_t table = at;
  at += 8 * FUNCTIONS;
  cie_at = at;
  at = put4(at, 4 + sizeof cie);
  at = put4(at, 0);
  at = put(at, cie, sizeof cie);
  for (size_t i = 0; i < FUNCTIONS; i++) {
    fde_at[i] = at;
    (void)put4(table + 8 * i, (uint32_t)(code_of(i) - (uintptr_t)library));
    (void)put4(table + 8 * i + 4, (uint32_t)at);
    at = put4(at, 12 + sizeof program);
    at = put4(at, (uint32_t)(at - cie_at));
    at = put4(at, (uint32_t)(code_of(i) - ((uintptr_t)library + at)));
    at = put4(at, FUNCTION_BYTES);
    at = put(at, program, sizeof program);
  }
  tables_end = at;
}

/* ---- reading it ------------------------------------------------------------------------------ */

/* As an unwinder would; 1 where there were rules. */
static int read_at(uintptr_t pc) {
  struct cfi_function f;
  struct cfi_rules rules;
  uintptr_t registers[CFI_REGISTERS], result;
  for (size_t i = 0; i < CFI_REGISTERS; i++)
    registers[i] = (uintptr_t)library + TABLES + 8 * i;
  if (!pmalloc_cfi_find(pc, &f) || !pmalloc_cfi_rules(&f, pc, &rules))
    return 0;
  if (rules.end_expression)
    (void)pmalloc_cfi_evaluate(rules.end_expression, registers, 0, &result);
  for (size_t i = 0; i < CFI_REGISTERS; i++)
    if (rules.rule[i] == CFI_EXPRESSION || rules.rule[i] == CFI_VALUE)
      (void)pmalloc_cfi_evaluate((uintptr_t)rules.value[i], registers, 8, &result);
  return 1;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double slowest;

static int timed(uintptr_t pc) {
  double start = seconds();
  int answer = read_at(pc);
  double took = seconds() - start;
  slowest = took > slowest ? took : slowest;
  return answer;
}

static void read_right(void) {
  struct cfi_function f;
  struct cfi_rules r;
  for (size_t i = 0; i < FUNCTIONS; i++) {
    CHECK(pmalloc_cfi_find(code_of(i), &f) && f.start == code_of(i) && f.end == code_of(i + 1));
    CHECK(pmalloc_cfi_rules(&f, code_of(i), &r) && r.end_register == 7 && r.end_offset == 8);
    CHECK(r.rule[16] == CFI_AT && r.value[16] == -8 && r.rule[6] == CFI_SAME);
    CHECK(pmalloc_cfi_rules(&f, code_of(i) + 2, &r) && r.end_offset == 16);
    CHECK(r.rule[6] == CFI_AT && r.value[6] == -16);
    CHECK(pmalloc_cfi_rules(&f, code_of(i) + 5, &r) && r.end_register == 6);
    CHECK(pmalloc_cfi_rules(&f, code_of(i) + 40, &r) && r.end_expression && r.rule[3]);
  }
  CHECK(!pmalloc_cfi_find(code_of(FUNCTIONS), &f));
  CHECK(!pmalloc_cfi_find(code_of(0) - 1, &f));
}

/* Lengths of which the rest of memory is full of: nothing that a compiler makes is that long. */
static void read_long(void) {
  struct cfi_function f;
  (void)put4(fde_at[2], 0x0fffffff);
  slowest = 0;
  CHECK(!timed(code_of(2) + 63));
  CHECK(slowest < 1);
  make_library();
  (void)put4(cie_at, 0x0fffffff);
  CHECK(!pmalloc_cfi_find(code_of(1), &f));
  make_library();
  /* An augmentation that ends in front of where it begins. */
  library[cie_at + 15] = 0xff;
  memset(library + cie_at + 16, 0xff, 8);
  library[cie_at + 24] = 1;
  CHECK(!pmalloc_cfi_find(code_of(1), &f));
  make_library();
}

int main(int argc, char **argv) {
  const char *given = argc > 1 ? argv[1] : getenv("PMALLOC_TEST_SEED");
  unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 4000, understood = 0;
  uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003;

  int (*finder)(void *, struct found *) = find;
  void *as_data;
  state = seed;
  library =
      mmap(NULL, SPAN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(library != MAP_FAILED);
  memcpy(&as_data, &finder, sizeof as_data);
  pmalloc_symbol_use_finder(as_data);
  make_library();
  read_right();
  read_long();
  slowest = 0;
  for (unsigned i = 0; i < rounds; i++) {
    for (unsigned n = 1 + (unsigned)(chance() % 4); n > 0; n--)
      library[4 + chance() % (tables_end - 4)] = (unsigned char)chance();
    understood += (unsigned)timed(code_of(chance() % FUNCTIONS) + chance() % FUNCTION_BYTES);
    make_library();
  }
  printf("test_unwind: %u of %u were understood, the slowest took %.1f ms, seed %#llx\n",
         understood, rounds, slowest * 1e3, (unsigned long long)seed);
  CHECK(understood > 0 && understood < rounds);
  CHECK(slowest < 1);
  return finish("test_unwind");
}

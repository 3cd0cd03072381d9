/* movs and stos, with and without REP, up and down, against the CPU: overlapping sources, elements
 * across page boundaries, pools that begin or end in the middle, sources that cannot be read.
 *
 *   test_store_string [SEED [ROUNDS]]     ROUNDS a form; PMALLOC_TEST_SEED does for SEED
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdio.h>

#if !defined(__x86_64__)
int main(void) {
  puts("test_store_string: skipped, stores are decoded on x86-64 only");
  return 0;
}
#else

#include "fault_alu_x86.h"
#include "store_machine.h"

struct string {
  unsigned width, moves, repeats, down;
};

static size_t place_string(const struct string *s) {
  unsigned char code[8];
  size_t at = 0;
  if (s->width == 2)
    code[at++] = 0x66;
  if (s->repeats)
    code[at++] = s->repeats == 2 ? 0xf2 : 0xf3; /* F2 does the same */
  if (s->width == 8)
    code[at++] = 0x48;
  code[at++] = (unsigned char)((s->moves ? 0xa4 : 0xaa) | (s->width > 1));
  place(code, at);
  return at;
}

static const char *name_of(const struct string *s) {
  static char name[32];
  snprintf(name, sizeof name, "%s%s", s->repeats ? "rep " : "", s->moves ? "movs" : "stos");
  return name;
}

/* Registers for n elements of which the lowest byte written is view[at]. */
static void set_registers(const struct string *s, size_t at, uint64_t n) {
  uint64_t last = s->down && n ? (n - 1) * s->width : 0;
  machine_in.gpr[X86_RDI] = (uintptr_t)view + at + last;
  machine_in.gpr[X86_RCX] = n;
  if (s->down)
    machine_in.flags |= X86_DF;
}

/* A length: short ones often, such that end where blocks and pages do as well. */
static uint64_t choose_count(const struct string *s) {
  static const unsigned bytes[] = {64, 1024, 4096, 8192};
  unsigned most = bytes[below(4)];
  uint64_t n = below(4) ? below(most) / s->width : most / s->width;
  return s->repeats ? n : 1;
}

static void run_string(const struct string *s, int from_view) {
  unsigned first, last;
  char what[64];
  randomise();
  uint64_t n = choose_count(s);
  size_t size = (size_t)n * s->width;
  uintptr_t target = choose_target(size ? size : 1, 1, &first, &last);
  set_registers(s, target - (uintptr_t)view, n);
  if (s->moves && from_view) { /* overlapping, by less than an element even */
    int64_t distance = below(2) ? (int64_t)below(20) : (int64_t)below(3000);
    distance = below(2) ? distance : -distance;
    int64_t from = (int64_t)(target - (uintptr_t)view) + distance;
    if (from < 0 || (uint64_t)from + size > VIEW)
      distance = 0;
    machine_in.gpr[X86_RSI] = machine_in.gpr[X86_RDI] + (uint64_t)distance;
  } else if (s->moves) { /* what is in the program */
    static unsigned char source[VIEW + 64];
    for (size_t i = 0; i < sizeof source; i++)
      source[i] = (unsigned char)chance();
    machine_in.gpr[X86_RSI] = (uintptr_t)source + below(64) + (s->down && n ? size - s->width : 0);
  }
  trial.name = name_of(s);
  trial.size = 0;
  size_t whole = size;
  place_string(s);
  run_twice(first, last, 0);
  size_t at = target - (uintptr_t)view;
  int touches = whole && at / PAGE <= last && (at + whole - 1) / PAGE >= first;
  if (!touches != !trial.faults || trial.refusals)
    wrong("%d faults, %d refusals", trial.faults, trial.refusals);
  /* It knew how much was to come. */
  if (trial.faults && trial.first.address < (uintptr_t)view)
    wrong("stores below");
  if (trial.faults && !s->down && trial.first.address + trial.first.size != target + whole)
    wrong("stores up to %#lx", (long)(trial.first.address + trial.first.size));
  if (trial.faults && s->down && trial.first.address != target)
    wrong("stores down to %#lx", (long)trial.first.address);
  snprintf(what, sizeof what, "%s, %u wide, %s, %llu times%s", trial.name, s->width,
           s->down ? "down" : "up", (unsigned long long)n, from_view ? ", overlapping" : "");
  judge(what);
}

/* The pool is the middle page: `write` refuses what is outside, and the CPU stores that itself. */
static void run_across_pool(const struct string *s) {
  char what[64];
  randomise();
  size_t at = below(2 * PAGE);
  uint64_t n = (VIEW - at) / s->width;
  n = s->repeats ? 1 + below(n) : 1;
  set_registers(s, at, n);
  machine_in.gpr[X86_RSI] = machine_in.gpr[X86_RDI] - (below(2) ? at : 0);
  if (s->down)
    machine_in.gpr[X86_RSI] = machine_in.gpr[X86_RDI];
  trial.name = name_of(s);
  trial.size = 0;
  trial.limit_low = (uintptr_t)view + PAGE;
  trial.limit_high = (uintptr_t)view + 2 * PAGE;
  place_string(s);
  run_twice(1, 1, 0);
  /* Only an element that lies across a boundary is refused for good. */
  int straddles = s->width > 1 && (at % s->width != PAGE % s->width);
  if (trial.refusals > (straddles ? 2 : 0))
    wrong("%d refusals", trial.refusals);
  snprintf(what, sizeof what, "%s, %u wide, %s, across a pool", trial.name, s->width,
           s->down ? "down" : "up");
  judge(what);
  trial.limit_low = (uintptr_t)view;
  trial.limit_high = (uintptr_t)view + VIEW;
}

/* The source ends before the length does: all up to there is stored, then the CPU faults there. */
static void run_bad_source(const struct string *s) {
  char what[64];
  randomise();
  unsigned char *end = view + VIEW; /* nothing lies behind, nor below */
  uint64_t good = below(1500 / s->width), n = good + 1 + below(100);
  set_registers(s, 100 + (size_t)below(100), n);
  machine_in.gpr[X86_RSI] = (uintptr_t)end - good * s->width - below(s->width);
  if (s->down) {
    machine_in.gpr[X86_RDI] = (uintptr_t)view + VIEW - 100 - below(100);
    machine_in.gpr[X86_RSI] = (uintptr_t)view + (good ? good - 1 : 0) * s->width;
    if (good == 0)
      machine_in.gpr[X86_RSI] = (uintptr_t)view - s->width;
  }
  trial.name = name_of(s);
  trial.size = 0;
  place_string(s);
  run_twice(0, 2, 0);
  if (trial.honest != 1)
    wrong("%d faults at the source", trial.honest);
  snprintf(what, sizeof what, "%s, %u wide, %s, source ends", trial.name, s->width,
           s->down ? "down" : "up");
  judge(what);
}

/* Lengths that went wrong: no arithmetic may wrap. */
static void check_lengths(void) {
  struct string s = {1, 0, 1, 0};
  struct pmalloc_store store;
  ucontext_t uc;
  for (unsigned width = 1; width <= 8; width *= 2)
    for (unsigned down = 0; down < 2; down++) {
      s.width = width, s.down = down;
      memset(&uc, 0, sizeof uc);
      size_t length = place_string(&s);
      uintptr_t at = (uintptr_t)view + 64;
      uc.uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)code_page;
      uc.uc_mcontext.gregs[REG_RDI] = (greg_t)at;
      uc.uc_mcontext.gregs[REG_RCX] = -1;
      uc.uc_mcontext.gregs[REG_EFL] = down ? X86_DF : 0;
      CHECK(pmalloc_store_decode(&uc, at, &store) && store.length == length);
      if (down) {
        CHECK(store.address < width && store.address + store.size == at + width);
      } else {
        CHECK(store.address == at && 0 - store.size - at < width);
      }
      CHECK(!store.has_bytes);
      uc.uc_mcontext.gregs[REG_RCX] = 0;
      CHECK(!pmalloc_store_decode(&uc, at, &store));
      /* A long one is done a part at a time. */
      uc.uc_mcontext.gregs[REG_RCX] = (greg_t)(PAGE / width);
      CHECK(pmalloc_store_decode(&uc, at, &store));
      CHECK(!pmalloc_store_decode(&uc, down ? at + width : at - 1, &store));
    }
}

static size_t swallowed;
static int swallow(uintptr_t address, const void *bytes, size_t n) {
  (void)address, (void)bytes;
  swallowed += n;
  return 0;
}

/* One call does not keep signals waiting for as long as a big pool takes. */
static void check_parts(void) {
  struct string s = {8, 0, 1, 0};
  struct pmalloc_store store;
  ucontext_t uc;
  size_t bytes = (size_t)1 << 26, calls = 0;
  memset(&uc, 0, sizeof uc);
  size_t length = place_string(&s);
  uc.uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)code_page;
  uc.uc_mcontext.gregs[REG_RDI] = (greg_t)(uintptr_t)view;
  uc.uc_mcontext.gregs[REG_RCX] = (greg_t)(bytes / 8);
  uc.uc_mcontext.gregs[REG_EFL] = 0x10202; /* with RF, as a fault leaves it */
  while (uc.uc_mcontext.gregs[REG_RIP] == (greg_t)(uintptr_t)code_page && calls < 100000) {
    uintptr_t at = (uintptr_t)uc.uc_mcontext.gregs[REG_RDI];
    if (!pmalloc_store_decode(&uc, at, &store) || pmalloc_store_perform(&store, &uc, swallow) != 0)
      break;
    calls++;
    CHECK(swallowed <= calls << 20);
    CHECK((size_t)uc.uc_mcontext.gregs[REG_RDI] - (size_t)view == swallowed);
  }
  CHECK(calls == bytes >> 20);
  CHECK(swallowed == bytes && uc.uc_mcontext.gregs[REG_RCX] == 0);
  CHECK(uc.uc_mcontext.gregs[REG_RIP] == (greg_t)((uintptr_t)code_page + length));
  CHECK(uc.uc_mcontext.gregs[REG_EFL] == 0x202);
}

int main(int argc, char **argv) {
  unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : EMULATED ? 12 : 40, forms = 0;
  start_machine(argc, argv);
  for (unsigned width = 1; width <= 8; width *= 2)
    for (unsigned moves = 0; moves < 2; moves++)
      for (unsigned repeats = 0; repeats < 3; repeats++)
        for (unsigned down = 0; down < 2; down++) {
          struct string s = {width, moves, repeats, down};
          forms++;
          for (unsigned round = 0; round < rounds; round++) {
            run_string(&s, 0);
            if (moves)
              run_string(&s, 1);
            run_across_pool(&s);
            if (moves && repeats)
              run_bad_source(&s);
          }
        }
  printf("test_store_string: seed %#llx, %u forms, %u rounds each\n", (unsigned long long)seed,
         forms, rounds);
  check_lengths();
  check_parts();
  return finish_machine("test_store_string");
}
#endif

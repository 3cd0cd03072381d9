/* What readers see of memory that is written rarely: one thread reads without a pause, another
 * writes. See bench_rare.py.
 *
 *   rare_readers READS WRITES    for each size and place, until both were done, prints
 *                                DOOR SIZE OFFSET READS WRITES MIXTURES
 *
 * A value is one byte, repeated; a mixture is what holds two different ones. Words of up to 8 bytes
 * are read by one load, larger ones by as many as it takes, and are read in one go by nobody.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pmalloc_rare_write.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_int stop;
static const volatile char *target;
static size_t size;
static uint64_t reads_wanted;

struct seen {
  uint64_t reads, mixtures;
};

/* Loads in one instruction, also where it is not aligned: that is what is asked. */
#define READER(name, type)                                                                         \
  static void name(struct seen *seen) {                                                            \
    const type ones = (type)UINT64_C(0x0101010101010101);                                          \
    for (int i = 0; i < 1000; i++) {                                                               \
      type value;                                                                                  \
      __asm__ volatile("" ::: "memory");                                                           \
      memcpy(&value, (const char *)target, sizeof value);                                          \
      seen->mixtures += value != (type)(ones * (type)(value & 0xff));                              \
    }                                                                                              \
    seen->reads += 1000;                                                                           \
  }
READER(read_1, uint8_t)
READER(read_2, uint16_t)
READER(read_4, uint32_t)
READER(read_8, uint64_t)

static void read_more(struct seen *seen) {
  for (int i = 0; i < 1000; i++) {
    char value[64];
    __asm__ volatile("" ::: "memory");
    memcpy(value, (const char *)target, size);
    int mixed = 0;
    for (size_t k = 1; k < size; k++)
      mixed |= value[k] != value[0];
    seen->mixtures += (uint64_t)mixed;
  }
  seen->reads += 1000;
}

static void *reader(void *arg) {
  struct seen *seen = arg;
  void (*read_them)(struct seen *) = size == 1   ? read_1
                                     : size == 2 ? read_2
                                     : size == 4 ? read_4
                                     : size == 8 ? read_8
                                                 : read_more;
  while (!atomic_load_explicit(&stop, memory_order_relaxed) || seen->reads < reads_wanted)
    read_them(seen);
  return seen;
}

static void race(enum pmalloc_backing backing, size_t bytes, size_t offset, uint64_t writes) {
  struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
  struct seen seen = {0, 0};
  pthread_t thread;
  options.mode = PMALLOC_MODE_WR;
  options.backing = backing;
  struct pmalloc_pool *pool = pmalloc_create_pool("readers", &options);
  char *at = pool ? pmalloc_aligned(pool, 4096, 8192) : NULL;
  if (!at || pmalloc_protect_pool(pool) != PMALLOC_OK)
    exit(1);
  target = at + offset;
  size = bytes;
  atomic_store(&stop, 0);
  if (pthread_create(&thread, NULL, reader, &seen) != 0)
    exit(1);
  for (uint64_t i = 0; i < writes; i++) {
    char value[64];
    memset(value, (int)(i & 0x7f), size);
    if (pmalloc_wr_copy((const char *)target, value, size) != PMALLOC_OK)
      exit(1);
  }
  atomic_store(&stop, 1);
  pthread_join(thread, NULL);
  printf("%s %zu %zu %llu %llu %llu\n", backing == PMALLOC_MEMFD ? "memfd" : "proc_mem", bytes,
         offset, (unsigned long long)seen.reads, (unsigned long long)writes,
         (unsigned long long)seen.mixtures);
  (void)fflush(stdout);
  if (pmalloc_destroy_pool(pool) != PMALLOC_OK)
    exit(1);
}

int main(int argc, char **argv) {
  static const size_t sizes[] = {1, 2, 4, 8, 16, 32, 64};
  reads_wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000000;
  uint64_t writes = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
  for (int backing = PMALLOC_PRIVATE; backing <= PMALLOC_MEMFD; backing++) {
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
      race((enum pmalloc_backing)backing, sizes[i], 128, writes);
    race((enum pmalloc_backing)backing, 8, 131, writes);  /* not aligned, in one line */
    race((enum pmalloc_backing)backing, 8, 188, writes);  /* over the end of a line */
    race((enum pmalloc_backing)backing, 8, 4092, writes); /* over the end of a page */
  }
  return 0;
}

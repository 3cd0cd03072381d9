/* Stores of many kinds, for the tests of policies: each writes to `at`, and nothing else.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

void store_1(void *at) { *(volatile uint8_t *)at = 0xa1; }
void store_2(void *at) { *(volatile uint16_t *)at = 0xa2b2; }
void store_4(void *at) { *(volatile uint32_t *)at = 0xa4b4c4d4U; }
void store_8(void *at) { *(volatile uint64_t *)at = 0xa8b8c8d8e8f80818U; }

/* libc's own, and with a length that the compiler does not see. */
static volatile size_t length = 1000;
void store_memcpy(void *at) {
  static char from[1000] = "from";
  memcpy(at, from, length);
}
void store_memset(void *at) { memset(at, 0x5a, length); }

/* As many bytes as the caller likes, by libc's memcpy. */
void store_bytes(void *at, size_t n) {
  static char from[64] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-";
  length = n;
  memcpy(at, from, length);
  length = 1000;
}

/* A thread that no interpreter has heard of. */
static void *alone(void *at) {
  store_8(at);
  return NULL;
}
void store_native_thread(void *at) {
  pthread_t thread;
  pthread_create(&thread, NULL, alone, at);
  pthread_join(thread, NULL);
}

static void *count_up(void *at) {
  for (int i = 0; i < 2000; i++)
#if defined(__x86_64__)
    __asm__ volatile("lock incq (%0)" : : "r"(at) : "memory", "cc");
#else
    __atomic_fetch_add((uint64_t *)at, 1, __ATOMIC_SEQ_CST);
#endif
  return NULL;
}

/* Four threads count at `at`, `at + stride`, ... 2,000 times each. */
void store_threads(char *at, long stride) {
  pthread_t thread[4];
  for (int i = 0; i < 4; i++)
    pthread_create(&thread[i], NULL, count_up, at + i * stride);
  for (int i = 0; i < 4; i++)
    pthread_join(thread[i], NULL);
}

static void *volatile signalled;
static void on_signal(int number) {
  (void)number;
  store_8(signalled);
}
void store_signal(void *at) {
  signalled = at;
  signal(SIGUSR1, on_signal);
  raise(SIGUSR1);
}

#if defined(__x86_64__)

void store_16(void *at) { _mm_storeu_si128(at, _mm_set1_epi32(0x01020304)); }

__attribute__((target("avx"))) void store_avx_32(void *at) {
  _mm256_storeu_si256(at, _mm256_set1_epi32(0x05060708));
}
__attribute__((target("avx512f"))) void store_avx512_64(void *at) {
  _mm512_storeu_si512(at, _mm512_set1_epi32(0x090a0b0c));
}

/* These fault on an address that is not aligned. */
void store_movaps_16(void *at) { _mm_store_si128(at, _mm_set1_epi32(0x11121314)); }
__attribute__((target("avx"))) void store_avx_aligned_32(void *at) {
  _mm256_store_si256(at, _mm256_set1_epi32(0x15161718));
}
__attribute__((target("avx512f"))) void store_avx512_aligned_64(void *at) {
  _mm512_store_si512(at, _mm512_set1_epi32(0x191a1b1c));
}

void store_rep_stosb(void *at) {
  size_t n = 65536;
  __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(0x77) : "memory");
}
void store_rep_movsb(void *at) {
  static char from[65536] = "a long text";
  const char *source = from;
  size_t n = sizeof from;
  __asm__ volatile("rep movsb" : "+D"(at), "+S"(source), "+c"(n) : : "memory");
}

#define LOCKED(name, instruction)                                                                  \
  void store_##name(void *at) {                                                                    \
    __asm__ volatile(instruction                                                                   \
                     :                                                                             \
                     : "r"(at), "a"((uint64_t)0), "d"((uint64_t)0x1122)                            \
                     : "memory", "cc");                                                            \
  }
LOCKED(lock_add, "lock addq %%rdx, (%0)")
LOCKED(lock_or, "lock orq %%rdx, (%0)")
LOCKED(lock_inc, "lock incl (%0)")

void store_xchg(void *at) {
  uint64_t value = 0x3344;
  __asm__ volatile("xchgq %0, (%1)" : "+r"(value) : "r"(at) : "memory");
}
void store_cmpxchg(void *at) {
  uint64_t old = *(volatile uint64_t *)at;
  __asm__ volatile("lock cmpxchgq %2, (%1)"
                   : "+a"(old)
                   : "r"(at), "d"((uint64_t)0x5566)
                   : "memory", "cc");
}
/* Of no form that is emulated. */
void store_x87(void *at) { __asm__ volatile("fldpi\n\tfstpt (%0)" : : "r"(at) : "memory", "st"); }
void store_fxsave(void *at) { __asm__ volatile("fxsave (%0)" : : "r"(at) : "memory"); }

#endif

/* Tests of pages: mappings, guards, names, protecting, retiring, asking.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include <errno.h>
#include <sys/mman.h>

#include "pages.h"

static void inject_off(void) {
  for (int call = 0; call < PAGES_CALL_COUNT; call++)
    pages_inject((enum pages_call)call, -1, 0, 0);
}

static int all_zero(const char *at, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (at[i])
      return 0;
  }
  return 1;
}

static void test_rounding(void) {
  size_t page = pages_page_size();
  CHECK(page >= 4096 && page <= 65536 && (page & (page - 1)) == 0);
  CHECK(pages_round(0) == 0);
  CHECK(pages_round(1) == page);
  CHECK(pages_round(page) == page);
  CHECK(pages_round(page + 1) == 2 * page);
  CHECK(pages_round(SIZE_MAX) == 0);
  CHECK(pages_round(SIZE_MAX - page + 1) == SIZE_MAX - page + 1);
}

static void test_guards(void) {
  size_t page = pages_page_size();
  struct pages p;
  OK(pages_map(&p, 3 * page - 5, 0, "test"));
  CHECK(p.size == 3 * page && p.outer + page == p.base && p.outer_size == 5 * page);
  CHECK(all_zero(p.base, p.size));
  CHECK(pages_resident(&p) == 3 * page);
  WRITE_FAULTS(p.base - 1);
  WRITE_FAULTS(p.base + p.size);
  READ_FAULTS(p.outer);
  READ_FAULTS(p.outer + p.outer_size - 1);
  memset(p.base, 7, p.size);
  CHECK(pages_is_readonly(p.base) == 0);
  OK(pages_protect(&p));
  CHECK(pages_is_readonly(p.base) == 1);
  CHECK(pages_is_readonly(p.base + p.size - 8) == 1);
  CHECK(p.base[0] == 7 && p.base[p.size - 1] == 7);
  WRITE_FAULTS(p.base);
  WRITE_FAULTS(p.base + p.size - 1);
  READ_FAULTS(p.base - 1);
  READ_FAULTS(p.base + p.size);
  OK(pages_retire(&p));
  READ_FAULTS(p.base);
  READ_FAULTS(p.outer);
  char byte;
  CHECK(pages_peek(&byte, p.base, 1) == -1);
  /* Retired ranges are not handed out again. */
  for (int i = 0; i < 50; i++) {
    struct pages q;
    OK(pages_map(&q, page, 0, "test"));
    CHECK(q.outer + q.outer_size <= p.outer || q.outer >= p.outer + p.outer_size);
    OK(pages_unmap(&q));
  }
}

static void test_flags(void) {
  struct pages p;
  OK(pages_map(&p, (size_t)3 << 20, PAGES_HUGE_OK, "huge []\\$`\x01 caf\xc3\xa9"));
  CHECK((uintptr_t)p.base % PAGES_HUGE == 0 && p.size == (size_t)3 << 20);
  CHECK(pages_resident(&p) == p.size);
  WRITE_FAULTS(p.base - 1);
  WRITE_FAULTS(p.base + p.size);
  OK(pages_protect(&p));
  WRITE_FAULTS(p.base + 12345);
  READ_FAULTS(p.base + p.size);
  OK(pages_unmap(&p));
  READ_FAULTS(p.base);
  OK(pages_map(&p, (size_t)64 << 20, PAGES_LAZY, "lazy"));
  CHECK(pages_resident(&p) == 0);
  p.base[5 << 20] = 1;
  CHECK(pages_resident(&p) >= pages_page_size());
  CHECK(pages_resident(&p) <= PAGES_HUGE);
  OK(pages_unmap(&p));
  CHECK(pages_map(&p, 0, 0, "none") == PMALLOC_ERR_INVALID);
  CHECK(pages_map(&p, SIZE_MAX, 0, "all") == PMALLOC_ERR_NOMEM);
  CHECK(pages_map(&p, SIZE_MAX - (1 << 20), PAGES_HUGE_OK, "all") == PMALLOC_ERR_NOMEM);
  CHECK(pages_map(&p, (size_t)1 << 60, PAGES_LAZY, "all") == PMALLOC_ERR_NOMEM);
}

static void test_peek(void) {
  size_t page = pages_page_size();
  struct pages p;
  char copy[9000];
  for (int refused = 0; refused < 2; refused++) {
    pages_inject(PAGES_CALL_PEEK, refused ? 0 : -1, EPERM, 1);
    OK(pages_map(&p, 3 * page, 0, "peek"));
    memset(p.base, 9, p.size);
    CHECK(pages_peek(copy, p.base + 1, sizeof copy) == 0 && copy[0] == 9 && copy[8999] == 9);
    CHECK(pages_peek(copy, p.base + p.size - 4, 8) == -1);
    CHECK(pages_peek(copy, p.base - 8, 8) == -1);
    CHECK(pages_peek(copy, NULL, 8) == -1);
    CHECK(pages_peek(copy, (void *)0xdeadbeef0000, 8) == -1);
    CHECK(pages_peek(copy, (void *)UINTPTR_MAX, 1) == -1);
    CHECK(pages_is_readonly(p.base) == 0);
    OK(pages_protect(&p));
    CHECK(pages_is_readonly(p.base) == 1);
    CHECK(pages_is_readonly((const void *)8) == 1);
    int there = 0;
    CHECK(pages_is_readonly((const void *)((uintptr_t)&there & ~(uintptr_t)7)) == 0);
    errno = 77;
    pages_peek(copy, NULL, 8);
    pages_is_readonly(p.base);
    CHECK(errno == 77);
    OK(pages_unmap(&p));
  }
  inject_off();
}

/* Kernels that have not this call or that. */
static void test_old_kernels(void) {
  static const int errors[] = {EINVAL, ENOSYS};
  size_t page = pages_page_size();
  struct pages p;
  for (int i = 0; i < 2; i++) {
    pages_inject(PAGES_CALL_MADVISE, 0, errors[i], 1);
    OK(pages_map(&p, 2 * page, i ? PAGES_HUGE_OK : 0, "old"));
    CHECK(p.markers == 0);
    CHECK(pages_resident(&p) == 2 * page);
    WRITE_FAULTS(p.base - 1);
    WRITE_FAULTS(p.base + p.size);
    OK(pages_protect(&p));
    WRITE_FAULTS(p.base);
    READ_FAULTS(p.base - 1);
    READ_FAULTS(p.base + p.size);
    OK(pages_retire(&p));
    READ_FAULTS(p.base);
  }
  /* The second guard alone is refused: both become mappings. */
  pages_inject(PAGES_CALL_MADVISE, 1, EINVAL, 0);
  OK(pages_map(&p, page, 0, "half"));
  CHECK(p.markers == 0);
  READ_FAULTS(p.base - 1);
  READ_FAULTS(p.base + p.size);
  OK(pages_unmap(&p));
  inject_off();
}

static const struct pages *nth_of_three(void *of, size_t i) {
  return i < 3 ? (struct pages *)of + i : NULL;
}

static void test_all_or_none(void) {
  struct pages three[3];
  for (int i = 0; i < 3; i++)
    OK(pages_map(&three[i], 4096, 0, "three"));
  int calls = 0;
  for (;; calls++) {
    pages_inject(PAGES_CALL_MPROTECT, calls, ENOMEM, 0);
    errno = 0;
    if (pages_protect_all(nth_of_three, three, NULL) == PMALLOC_OK)
      break;
    CHECK(errno == ENOMEM);
    for (int i = 0; i < 3; i++) {
      CHECK(pages_is_readonly(three[i].base) == 0);
      READ_FAULTS(three[i].base - 1);
    }
  }
  inject_off();
  CHECK(calls >= 1 && calls <= 3); /* neighbours share a call */
  for (int i = 0; i < 3; i++)
    CHECK(pages_is_readonly(three[i].base) == 1);
  /* Retiring has a second way, which needs no new mapping. */
  pages_inject(PAGES_CALL_MMAP, 0, ENOMEM, 0);
  OK(pages_retire(&three[0]));
  READ_FAULTS(three[0].base);
  pages_inject(PAGES_CALL_MMAP, 0, ENOMEM, 0);
  pages_inject(PAGES_CALL_MPROTECT, 0, ENOMEM, 0);
  CHECK(pages_retire(&three[1]) == PMALLOC_ERR_NOMEM);
  CHECK(three[1].base[0] == 0);
  inject_off();
}

/* Every call of a map may fail, and nothing is left behind. */
static void test_failing_map(void) {
  static const int errors[] = {ENOMEM, EPERM, EFAULT, EINVAL};
  struct pages p;
  long before = -1;
  for (int round = 0; round < 3; round++) {
    for (int call = 0; call < PAGES_CALL_PEEK; call++) {
      for (int n = 0; n < 5; n++) {
        for (int e = 0; e < 4; e++) {
          pages_inject((enum pages_call)call, n, errors[e], n % 2);
          if (pages_map(&p, 1 << 16, e % 2 ? PAGES_HUGE_OK : 0, "failing") == PMALLOC_OK) {
            inject_off();
            p.base[0] = p.base[p.size - 1] = 1;
            OK(pages_unmap(&p));
          }
          inject_off();
        }
      }
    }
    long now_resident = resident();
    if (round > 0 && !SANITIZED)
      CHECK(now_resident - before < 1 << 18);
    before = now_resident;
  }
}

int main(void) {
  test_rounding();
  test_guards();
  test_flags();
  test_peek();
  test_old_kernels();
  test_all_or_none();
  test_failing_map();
  return finish("pages");
}

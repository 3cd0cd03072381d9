/* test_section: static data of this very program, protected as pmalloc_static.h says. What is
 * loaded and unloaded by dlopen() is tests/unit/test_static_data.py's.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <errno.h>

#include "check.h"
#include "pages.h"
#include "pool.h"
#include "rare_write.h"
#include "registry.h"

struct hooks {
  int (*check)(int);
  const char *name;
};

static int always(int n) { return n; }
static int never(int n) { return n - n; }

static struct hooks hooks __ro_after_init = {always, "always"};
static char text[24] __ro_after_init = "before";
static int zero __ro_after_init;
static unsigned limit __wr_after_init = 100;
static struct hooks changing __wr_after_init = {always, "always"};
static unsigned char odd[3] __wr_after_init = {1, 2, 3};
static char ordinary[64];

/* Nothing is known of it but its address. */
static void *hidden(void *at) {
  __asm__("" : "+r"(at));
  return at;
}

static struct pmalloc_static_data section(enum pmalloc_static_kind kind) {
  struct pmalloc_static_data data = {.size = sizeof data};
  for (unsigned long id = 0; pmalloc_next_static_data(id, &data); id = data.id)
    if (data.kind == kind && strstr(data.path, "test_section"))
      return data;
  CHECK(!"the section is known");
  return data;
}

static void known(void) {
  struct pmalloc_static_data ro = section(PMALLOC_STATIC_RO), wr = section(PMALLOC_STATIC_WR);
  size_t page = pages_page_size();
  CHECK(ro.state == PMALLOC_STATIC_OPEN && wr.state == PMALLOC_STATIC_OPEN);
  CHECK(ro.sequence == 1 && wr.sequence == 2 && ro.id < wr.id);
  CHECK((uintptr_t)ro.address % page == 0 && ro.bytes % page == 0 && ro.bytes > 0);
  CHECK((uintptr_t)wr.address % page == 0 && wr.bytes % page == 0 && wr.bytes > 0);
  CHECK(ro.path[0] == '/' && !ro.problem[0]);
  struct pmalloc_static_data small = {.size = 16};
  CHECK(!pmalloc_next_static_data(0, &small));
}

static int is_symbol(const void *at, const char *name, const void *start, size_t size) {
  struct pmalloc_where where;
  return pmalloc_registry_find((uintptr_t)at, &where) && where.kind == PMALLOC_STATIC &&
         where.symbol && strcmp(where.symbol, name) == 0 &&
         where.object_start == (uintptr_t)start && where.object_end == (uintptr_t)start + size;
}

static void bounds(void) {
  CHECK(is_pmalloc_object(&hooks) && is_pmalloc_object(&limit) && !is_pmalloc_object(ordinary));
  CHECK(is_symbol(&hooks, "hooks", &hooks, sizeof hooks));
  CHECK(is_symbol(&hooks.name, "hooks", &hooks, sizeof hooks));
  CHECK(is_symbol(&text[23], "text", text, sizeof text));
  CHECK(is_symbol(&zero, "zero", &zero, sizeof zero));
  CHECK(is_symbol(&odd[2], "odd", odd, sizeof odd));
  CHECK(pmalloc_check_object_size(text, sizeof text) == PMALLOC_BOUNDS_GOOD);
  CHECK(pmalloc_check_object_size(text, sizeof text + 1) == PMALLOC_BOUNDS_BAD);
  CHECK(pmalloc_check_object_size(text + 1, sizeof text) == PMALLOC_BOUNDS_BAD);
  CHECK(pmalloc_check_object_size(odd, 3) == PMALLOC_BOUNDS_GOOD);
  CHECK(pmalloc_check_object_size(odd, 4) == PMALLOC_BOUNDS_BAD);
  struct pmalloc_static_data ro = section(PMALLOC_STATIC_RO);
  const char *padding = (const char *)ro.address + ro.bytes - 1;
  CHECK(is_pmalloc_object(padding));
  CHECK(pmalloc_check_object_size(padding, 1) == PMALLOC_BOUNDS_BAD);
  CHECK(!is_pmalloc_object((const char *)ro.address - 1));
  CHECK(strstr(pmalloc_name_of(&hooks), ", __ro_after_init") != NULL);
  CHECK(strstr(pmalloc_name_of(&limit), ", __wr_after_init") != NULL);
}

static enum pmalloc_status refused(const void *to, size_t n) {
  struct pmalloc_refusal refusal;
  return pmalloc_rare_check(to, n, &refusal);
}

static void rare_writes(void) {
  CHECK(rare_write(wr_static(limit), 200) == 200 && limit == 200);
  OK(wr_add(wr_static(limit), 5));
  CHECK(limit == 205);
  OK(wr_assign(wr_static(changing), ((struct hooks){never, "never"})));
  CHECK(changing.check == never && strcmp(changing.name, "never") == 0);
  OK(wr_ptr(wr_static(changing).name, "once"));
  CHECK(strcmp(changing.name, "once") == 0);
  OK(pmalloc_wr_copy(odd, "abc", 3));
  CHECK(memcmp(odd, "abc", 3) == 0);
  CHECK(refused(&odd[2], 2) == PMALLOC_ERR_BOUNDS);
  CHECK(refused(&hooks, 8) == PMALLOC_ERR_NOT_RARE);
  CHECK(refused(text, 1) == PMALLOC_ERR_NOT_RARE);
  CHECK(refused(ordinary, 1) == PMALLOC_ERR_NOT_RARE);
  struct pmalloc_static_data wr = section(PMALLOC_STATIC_WR);
  CHECK(refused((const char *)wr.address + wr.bytes - 1, 1) == PMALLOC_ERR_BOUNDS);
}

static void open_as_yet(void) {
  strcpy(text, "init");
  zero = 7;
  hooks.check = never;
  limit = 100;
  CHECK(!pmalloc_is_protected(&hooks) && !pmalloc_is_protected(&limit));
  rare_writes();
}

static void store(void *at) { *(volatile char *)hidden(at) = 1; }

static void protected(void) {
  CHECK(section(PMALLOC_STATIC_RO).state == PMALLOC_STATIC_PROTECTED);
  CHECK(section(PMALLOC_STATIC_WR).state == PMALLOC_STATIC_PROTECTED);
  CHECK(pmalloc_is_protected(&hooks) && pmalloc_is_protected(&limit));
  CHECK(strcmp(text, "init") == 0 && zero == 7 && hooks.check(1) == 0);
  CHECK(dies(store, &hooks) == SIGSEGV);
  CHECK(dies(store, text) == SIGSEGV);
  CHECK(dies(store, &limit) == SIGSEGV);
  struct pmalloc_static_data wr = section(PMALLOC_STATIC_WR);
  CHECK(dies(store, (char *)(uintptr_t)wr.address + wr.bytes - 1) == SIGSEGV);
  CHECK(dies(store, (char *)(uintptr_t)wr.address + wr.bytes) == 0); /* .bss */
  CHECK(dies(store, ordinary) == 0);
}

/* A child has its own, as protected. */
static void child(void *unused) {
  (void)unused;
  CHECK(rare_write(wr_static(limit), 300) == 300);
  CHECK(pmalloc_is_protected(&hooks));
  OK(pmalloc_mark_rodata_ro());
}

static void forks(void) {
  unsigned before = limit;
  CHECK(dies(child, NULL) == 0);
  CHECK(limit == before);
}

/* An object that was linked without the script, by its descriptor. */
static void shares_a_page(void) {
  static char data[3 * 65536] = {1};
  const struct pmalloc_object object = {sizeof object, data + 8, data + 24, NULL, NULL};
  struct pmalloc_static_data found = {.size = sizeof found};
  OK(pmalloc_register_object(&object));
  OK(pmalloc_register_object(&object)); /* it is */
  unsigned long last = 0, count = 0;
  for (; pmalloc_next_static_data(last, &found); last = found.id)
    count++;
  CHECK(count == 3 && found.state == PMALLOC_STATIC_REFUSED && found.bytes == 16);
  CHECK(strstr(found.problem, "share their first page with ") != NULL);
  CHECK(strstr(found.problem, "pmalloc.ld") != NULL);
  CHECK(!is_pmalloc_object(data + 8));
  CHECK(pmalloc_protect_static_data(found.id) == PMALLOC_ERR_SHARED_PAGE);
  CHECK(pmalloc_protect_object(&object) == PMALLOC_ERR_SHARED_PAGE);
  CHECK(pmalloc_mark_rodata_ro() == PMALLOC_ERR_SHARED_PAGE);
  data[8] = 5;
  pmalloc_unregister_object(&object);
  CHECK(!pmalloc_next_static_data(found.id - 1, &found));
  CHECK(pmalloc_protect_object(&object) == PMALLOC_ERR_INVALID);
  const struct pmalloc_object none = {sizeof none, NULL, NULL, data, data};
  OK(pmalloc_register_object(&none));
  OK(pmalloc_protect_object(&none));
  const struct pmalloc_object bad = {8, data, data + 8, NULL, NULL};
  CHECK(pmalloc_register_object(&bad) == PMALLOC_ERR_INVALID);
  CHECK(pmalloc_register_object(NULL) == PMALLOC_ERR_INVALID);
  const struct pmalloc_object backward = {sizeof backward, data + 8, data, NULL, NULL};
  CHECK(pmalloc_register_object(&backward) == PMALLOC_ERR_INVALID);
}

/* Loaded at the same place again and again, as a plugin may be: nothing is left over. */
static void comes_and_goes(void) {
  static char data[5 * 65536];
  size_t page = pages_page_size();
  char *start = data + (page - (uintptr_t)data % page);
  const struct pmalloc_object object = {sizeof object, start, start + page, start + page,
                                        start + 2 * page};
  struct pmalloc_static_data found = {.size = sizeof found};
  unsigned long last = 0;
  while (pmalloc_next_static_data(last, &found))
    last = found.id;
  for (int round = 0; round < 50; round++) {
    OK(pmalloc_register_object(&object));
    CHECK(is_pmalloc_object(start) && is_pmalloc_object(start + page));
    CHECK(pmalloc_next_static_data(last, &found) && found.state == PMALLOC_STATIC_OPEN);
    start[page] = (char)round;
    if (round == 49) {
      OK(pmalloc_protect_object(&object));
      CHECK(pmalloc_protect_static_data(found.id) == PMALLOC_ERR_PROTECTED);
      CHECK(dies(store, start) == SIGSEGV);
    }
    pmalloc_unregister_object(&object);
    CHECK(!is_pmalloc_object(start) && !is_pmalloc_object(start + page));
    CHECK(!pmalloc_next_static_data(last, &found));
  }
  CHECK(dies(store, start) == SIGSEGV); /* unknown, and still protected */
}

/* Where the kernel refuses, it is open as before. */
static void refused_by_the_kernel(void) {
  struct pmalloc_static_data ro = section(PMALLOC_STATIC_RO);
  for (int n = 0; n < 2; n++) {
    pages_inject(PAGES_CALL_MPROTECT, n, ENOMEM, 1);
    CHECK(pmalloc_protect_static_data(ro.id) == PMALLOC_ERR_NOMEM && errno == ENOMEM);
    CHECK(pmalloc_mark_rodata_ro() == PMALLOC_ERR_NOMEM && errno == ENOMEM);
    pages_inject(PAGES_CALL_MPROTECT, -1, 0, 0);
    CHECK(section(PMALLOC_STATIC_RO).state == PMALLOC_STATIC_OPEN);
    hooks.check = always;
  }
}

/* What can't be made known for want of memory is not forgotten, but refused. */
static void no_memory_to_know_it(void) {
  static char data[3 * 65536];
  size_t page = pages_page_size();
  char *start = data + (page - (uintptr_t)data % page);
  const struct pmalloc_object object = {sizeof object, start, start + page, NULL, NULL};
  struct pmalloc_static_data found = {.size = sizeof found};
  pages_inject(PAGES_CALL_MMAP, 0, ENOMEM, 1);
  CHECK(pmalloc_register_object(&object) == PMALLOC_ERR_NOMEM);
  pages_inject(PAGES_CALL_MMAP, -1, 0, 0);
  CHECK(pmalloc_next_static_data(section(PMALLOC_STATIC_WR).id, &found));
  CHECK(found.state == PMALLOC_STATIC_REFUSED && strstr(found.problem, "out of memory"));
  CHECK(pmalloc_protect_static_data(found.id) == PMALLOC_ERR_NOMEM);
  CHECK(!is_pmalloc_object(start));
  pmalloc_unregister_object(&object);
  OK(pmalloc_register_object(&object));
  CHECK(is_pmalloc_object(start));
  pmalloc_unregister_object(&object);
  CHECK(!is_pmalloc_object(start));
}

int main(void) {
  known();
  bounds();
  open_as_yet();
  refused_by_the_kernel();
  no_memory_to_know_it();
  hooks.check = never;
  struct pmalloc_pool *global = pmalloc_global_pool();
  char *allocated = global ? pmalloc(global, 16) : NULL;
  CHECK(allocated != NULL);
  OK(pmalloc_mark_rodata_ro());
  CHECK(allocated && pmalloc_is_protected(allocated));
  OK(pmalloc_mark_rodata_ro());
  CHECK(pmalloc_protect_static_data(section(PMALLOC_STATIC_RO).id) == PMALLOC_ERR_PROTECTED);
  CHECK(pmalloc_protect_static_data(0) == PMALLOC_ERR_INVALID);
  OK(pmalloc_protect_this_object());
  protected();
  bounds();
  rare_writes();
  forks();
  shares_a_page();
  comes_and_goes();
  return finish("section");
}

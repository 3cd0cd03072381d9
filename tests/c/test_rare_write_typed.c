/* The typed forms of pmalloc_rare_write.h: what they yield, and that they store what they should.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "check.h"

struct node {
  struct node *__wr_rare_type next;
  __wr_rare_type unsigned char byte;
  __wr_rare_type short two;
  __wr_rare_type int four;
  __wr_rare_type long eight;
  __wr_rare_type double real;
  __wr_rare_type _Bool yes;
  __wr_rare_type struct pair {
    int a, b, c;
  } pair;
  __wr_rare_type char text[40];
  struct pmalloc_published published;
};

struct limits {
  int rate, burst;
  char name[5000];
};

static struct pmalloc_pool *pool;

static void *make(size_t size) {
  struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
  options.mode = PMALLOC_MODE_WR;
  pool = pmalloc_create_pool("typed", &options);
  CHECK(pool != NULL);
  void *at = pzalloc(pool, size);
  CHECK(at != NULL && pmalloc_protect_pool(pool) == PMALLOC_OK);
  return at;
}

static void test_scalars(void) {
  struct node *n = make(sizeof *n);
  CHECK(rare_write(n->byte, 200) == 200 && n->byte == 200);
  CHECK(rare_write(n->two, -3) == -3);
  CHECK(rare_write(n->four, 1 << 30) == 1 << 30);
  CHECK(rare_write(n->eight, -1L) == -1L);
  CHECK(rare_write(n->real, 0.5) == 0.5);
  CHECK(rare_write(n->yes, 1) == 1);
  CHECK(rare_write(n->next, n) == n);
  CHECK(wr_ptr(n->next, NULL) == PMALLOC_OK && !n->next);
  CHECK(wr_ptr(n->next, n) == PMALLOC_OK && n->next == n);
  OK(wr_inc(n->four));
  CHECK(n->four == (1 << 30) + 1);
  OK(wr_sub(n->four, 2));
  CHECK(n->four == (1 << 30) - 1);
  OK(wr_dec(n->two));
  CHECK(n->two == -4);
  OK(wr_add(n->byte, 100));
  CHECK(n->byte == 44); /* wrapped around, and its neighbour is as it was */
  CHECK(n->two == -4);
  OK(wr_assign(n->pair, ((struct pair){1, 2, 3})));
  CHECK(n->pair.a == 1 && n->pair.b == 2 && n->pair.c == 3);
  OK(wr_memcpy(n->text, "forty", 6));
  CHECK(strcmp(n->text, "forty") == 0);
  OK(wr_memset(n->text + 1, 'x', 3));
  CHECK(strcmp(n->text, "fxxxy") == 0);
  OK(pmalloc_make_pool_ro(pool));
  CHECK(rare_write(n->four, 5) == (1 << 30) - 1 && errno == EACCES); /* what it is then */
  CHECK(wr_inc(n->four) == PMALLOC_ERR_NOT_RARE);
  OK(pmalloc_destroy_pool(pool));
}

static void test_twins(void) {
  struct limits *limits = make(sizeof *limits);
  wr_twin(struct limits) twin;
  OK(wr_twin_copy_out(twin, limits));
  twin.edit.rate = 100;
  strcpy(twin.edit.name + 4990, "end");
  CHECK(limits->rate == 0);
  OK(pmalloc_wr_set(&limits->burst, 1, 4)); /* another's, meanwhile: it stays */
  OK(wr_twin_publish(twin));
  CHECK(limits->rate == 100 && limits->burst == 0x01010101);
  CHECK(strcmp(limits->name + 4990, "end") == 0);
  OK(pmalloc_destroy_pool(pool));
}

#define PUBLISHED 100000
static atomic_int stop;

static void *reader(void *arg) {
  const struct node *n = arg;
  long last = -1, mixed = 0;
  while (!atomic_load(&stop)) {
    const long *v = pmalloc_published_get(&n->published);
    if (!v)
      continue;
    mixed += v[0] != ~v[1] || v[0] < last;
    last = v[0];
  }
  return (void *)mixed;
}

static void test_publish(void) {
  static long values[PUBLISHED][2];
  struct node *n = make(sizeof *n);
  pthread_t readers[3];
  void *mixed;
  CHECK(pmalloc_published_get(&n->published) == NULL);
  for (int i = 0; i < 3; i++)
    CHECK(pthread_create(&readers[i], NULL, reader, n) == 0);
  for (long i = 0; i < PUBLISHED; i++) {
    values[i][0] = i;
    values[i][1] = ~i;
    OK(wr_publish(&n->published, values[i]));
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < 3; i++) {
    pthread_join(readers[i], &mixed);
    CHECK(mixed == NULL);
  }
  OK(pmalloc_destroy_pool(pool));
}

int main(void) {
  test_scalars();
  test_twins();
  test_publish();
  return finish("rare_write_typed");
}

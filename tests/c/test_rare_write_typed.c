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

enum colour { RED, GREEN };

struct __attribute__((packed)) tight {
  char front;
  __wr_rare_type int four;
  __wr_rare_type enum colour colour;
  __wr_rare_type signed char signed_byte;
};

/* Each argument once; one form within another's argument; what is not aligned. */
static void test_arguments(void) {
  struct list {
    __wr_rare_type int number[4];
    const char *__wr_rare_type name;
    struct tight tight;
  } *l = make(sizeof *l);
  int at = 0, value = 7;
  CHECK(rare_write(l->number[at++], value++) == 7);
  CHECK(at == 1 && value == 8 && l->number[0] == 7 && l->number[1] == 0);
  OK(wr_assign(l->number[at++], value++));
  CHECK(at == 2 && value == 9 && l->number[1] == 8);
  OK(wr_add(l->number[at++], value++));
  CHECK(at == 3 && value == 10 && l->number[2] == 9);
  OK(wr_sub(l->number[at++], value--));
  CHECK(at == 4 && value == 9 && l->number[3] == -10);
  CHECK(rare_write(l->number[0], rare_write(l->number[1], rare_write(l->number[2], 5))) == 5);
  CHECK(l->number[0] == 5 && l->number[1] == 5 && l->number[2] == 5);
  OK(wr_add(l->number[0], wr_inc(l->number[1]))); /* PMALLOC_OK is 0 */
  CHECK(l->number[0] == 5 && l->number[1] == 6);
  OK(wr_ptr(l->name, "a string"));
  CHECK(strcmp(l->name, "a string") == 0);
  CHECK(rare_write(l->tight.four, -70000) == -70000 && l->tight.four == -70000);
  CHECK(rare_write(l->tight.colour, GREEN) == GREEN);
  OK(wr_dec(l->tight.colour));
  OK(wr_add(l->tight.four, -1));
  CHECK(l->tight.colour == RED && l->tight.four == -70001 && l->tight.front == 0);
  CHECK(rare_write(l->tight.signed_byte, -128) == -128);
  OK(wr_dec(l->tight.signed_byte));
  CHECK(l->tight.signed_byte == 127);
  OK(pmalloc_destroy_pool(pool));
}

/* A twin of what is refused holds nothing, and is published nowhere. */
static void test_twin_of_nothing(void) {
  struct limits here = {.rate = 1};
  wr_twin(struct limits) twin = {.edit = {.rate = 5}};
  CHECK(wr_twin_copy_out(twin, &here) == PMALLOC_ERR_NOT_RARE);
  CHECK(twin.target == NULL && wr_twin_publish(twin) == PMALLOC_ERR_NOT_RARE && here.rate == 1);
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

#define PUBLISHED (EMULATED ? 5000 : 100000)
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
  test_arguments();
  test_twins();
  test_twin_of_nothing();
  test_publish();
  return finish("rare_write_typed");
}

/* reload: limits that change while threads read them, in memory that nobody can write beside.
 *
 *   reload             reads by four threads, reloads by one; says what was read
 *   reload --attack    the same, then a child process stores to the limits: it dies
 *
 *     pool "limits", write-rare      | current: slot[0] slot[1] sequence | switches |
 *                                                |       |
 *     pool "limits, version n"       | limits n  |<------+     read-only
 *
 * Two ways to change protected data. What belongs together gets a new version: a pool of its own,
 * filled, protected, and then published by one pointer, so that a reader has the old or the new.
 * Small things that stand for themselves are edited in place, by a twin or a typed store.
 *
 * Versions are kept: a reader may be at an old one for as long as it takes.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc_rare_write.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READERS = 4, RELOADS = 100 };

struct limits {
  unsigned version;
  unsigned rate, burst; /* burst is always ten times the rate */
};

struct switches {
  unsigned enabled, reloads;
};

struct state {
  struct pmalloc_published current;
  __wr_rare_type struct switches switches;
};

static atomic_int stop;

/* NULL: the pool or the kernel said no. */
static const struct limits *make_version(unsigned version) {
  char name[40];
  snprintf(name, sizeof name, "limits, version %u", version);
  struct pmalloc_pool *pool = pmalloc_create_pool(name, NULL);
  struct limits *limits = pool ? pmalloc(pool, sizeof *limits) : NULL;
  if (!limits)
    return NULL;
  *limits = (struct limits){.version = version, .rate = version, .burst = version * 10};
  return pmalloc_protect_pool(pool) == PMALLOC_OK ? limits : NULL;
}

static int publish(struct state *state, unsigned version) {
  const struct limits *limits = make_version(version);
  return limits && wr_publish(&state->current, limits) == PMALLOC_OK &&
         wr_inc(state->switches.reloads) == PMALLOC_OK;
}

/* How many mixtures it saw, or steps back. */
static void *read_limits(void *of) {
  const struct state *state = of;
  unsigned last = 0;
  size_t wrong = 0;
  while (!atomic_load(&stop)) {
    const struct limits *now = pmalloc_published_get(&state->current);
    wrong += now->burst != now->rate * 10 || now->version < last;
    last = now->version;
  }
  return (void *)wrong;
}

static struct state *start(void) {
  struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
  options.mode = PMALLOC_MODE_WR;
  struct pmalloc_pool *pool = pmalloc_create_pool("limits", &options);
  struct state *state = pool ? pzalloc(pool, sizeof *state) : NULL;
  return state && pmalloc_protect_pool(pool) == PMALLOC_OK && publish(state, 1) ? state : NULL;
}

/* Several small things at a time. */
static int enable(struct state *state) {
  wr_twin(struct switches) twin;
  if (wr_twin_copy_out(twin, &state->switches) != PMALLOC_OK)
    return 0;
  twin.edit.enabled = 1;
  return wr_twin_publish(twin) == PMALLOC_OK;
}

/* What a stray or malicious store comes to. */
static int attack(const struct state *state) {
  int status = 0;
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    memset((void *)(uintptr_t)&state->switches, 0, sizeof state->switches);
    _exit(0);
  }
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
    return 1;
  printf("the child was killed: %s; enabled: %u\n", strsignal(WTERMSIG(status)),
         state->switches.enabled);
  return 0;
}

int main(int argc, char **argv) {
  pthread_t readers[READERS];
  size_t wrong = 0;
  struct state *state = start();
  if (!state || !enable(state)) {
    perror("reload");
    return 2;
  }
  for (int i = 0; i < READERS; i++) {
    if (pthread_create(&readers[i], NULL, read_limits, state) != 0)
      return 2;
  }
  for (unsigned version = 2; version <= RELOADS + 1; version++) {
    if (!publish(state, version)) {
      perror("reload");
      return 2;
    }
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < READERS; i++) {
    void *seen;
    pthread_join(readers[i], &seen);
    wrong += (size_t)seen;
  }
  const struct limits *now = pmalloc_published_get(&state->current);
  printf("version %u after %u reloads, %zu wrong answers\n", now->version, state->switches.reloads,
         wrong);
  if (argc > 1 && strcmp(argv[1], "--attack") == 0)
    return attack(state);
  return wrong != 0;
}

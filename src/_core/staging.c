/* staging: see the header.
 *
 *     stagers --> pool 7 --> pool 9             a pool is here while somebody edits, or waits
 *                 owner: thread A
 *                 free:  0 <-------- thread B   waits, without the GIL
 *                 open --> bytes 0-99 --> bytes 200-299
 *
 * Who waits for a pool may own others, so threads can wait in a circle. That is
 * found before one waits: whose pool do I want, and whose does he wait for? The last
 * of the circle gets an exception.
 *
 * All of it belongs to who holds the GIL. A forked child has one thread: what others
 * edited is nobody's there. Semaphores, because a child can make them anew.
 *
 * SPDX-License-Identifier: MIT
 */
#include "staging.h"

#include "errors.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

struct pm_stager {
  struct pm_stager *next;
  uintptr_t pool_id;
  sem_t free;
  size_t users;        /* threads: the owner and those that wait */
  unsigned long owner; /* while something is open */
  pm_stage *open;
};

struct waiter {
  struct waiter *next;
  unsigned long thread;
  const struct pm_stager *pool;
};

static struct pm_stager *stagers, *idle;
static struct waiter *waiters;

static struct pm_stager *find(uintptr_t pool_id) {
  struct pm_stager *t = stagers;
  while (t != NULL && t->pool_id != pool_id)
    t = t->next;
  return t;
}

static struct pm_stager *add(uintptr_t pool_id) {
  struct pm_stager *t = idle;
  if (t != NULL) {
    idle = t->next;
  } else if ((t = PyMem_RawMalloc(sizeof *t)) == NULL) {
    PyErr_NoMemory();
    return NULL;
  } else {
    sem_init(&t->free, 0, 1);
  }
  t->pool_id = pool_id;
  t->users = 0;
  t->open = NULL;
  t->next = stagers;
  stagers = t;
  return t;
}

static void drop_user(struct pm_stager *t) {
  if (--t->users > 0)
    return;
  struct pm_stager **at = &stagers;
  while (*at != t)
    at = &(*at)->next;
  *at = t->next;
  t->next = idle;
  idle = t;
}

/* Whether the pool's owner, or who has what he waits for, and so on, is this thread. */
static int waits_for_itself(const struct pm_stager *t, unsigned long me) {
  for (int depth = 0; t != NULL && t->open != NULL && depth < 1000; depth++) {
    const struct waiter *w = waiters;
    if (t->owner == me)
      return 1;
    while (w != NULL && w->thread != t->owner)
      w = w->next;
    t = w == NULL ? NULL : w->pool;
  }
  return 0;
}

static int wait_for(struct pm_stager *t, unsigned long me, const char *pool_name) {
  int result, number = 0;
  if (sem_trywait(&t->free) == 0)
    return 0;
  if (waits_for_itself(t, me)) {
    PyErr_Format(
        PmError,
        "cannot rare-write pool '%s': the thread that does so waits for a pool that this "
        "one writes, and each would wait for the other; open pools in one order everywhere",
        pool_name);
    return -1;
  }
  struct waiter w = {waiters, me, t}, **at = &waiters;
  waiters = &w;
  do {
    Py_BEGIN_ALLOW_THREADS result = sem_wait(&t->free);
    number = errno;
    Py_END_ALLOW_THREADS
  } while (result != 0 && number == EINTR && PyErr_CheckSignals() == 0);
  while (*at != &w)
    at = &(*at)->next;
  *at = w.next;
  if (result != 0 && !PyErr_Occurred()) {
    errno = number;
    PyErr_SetFromErrno(PyExc_OSError);
  }
  return result;
}

int pm_stage_enter(pm_stage *s, uintptr_t pool_id, const char *pool_name, uintptr_t start,
                   uintptr_t end) {
  unsigned long me = PyThread_get_thread_ident();
  struct pm_stager *t = find(pool_id);
  if (t != NULL && t->open != NULL && t->owner == me) {
    for (const pm_stage *other = t->open; other != NULL; other = other->next)
      if (start < other->end && other->start < end)
        return 1;
  } else {
    if (t == NULL && (t = add(pool_id)) == NULL)
      return -1;
    t->users++;
    if (wait_for(t, me, pool_name) < 0) {
      drop_user(t);
      return -1;
    }
    t->owner = me;
  }
  *s = (pm_stage){t, t->open, start, end};
  t->open = s;
  return 0;
}

void pm_stage_leave(pm_stage *s) {
  struct pm_stager *t = s->pool;
  if (t == NULL)
    return;
  pm_stage **at = &t->open;
  while (*at != s)
    at = &(*at)->next;
  *at = s->next;
  s->pool = NULL;
  if (t->open == NULL) {
    sem_post(&t->free);
    drop_user(t);
  }
}

static void in_child(void) {
  unsigned long me = (unsigned long)pthread_self();
  waiters = NULL; /* they lay on stacks of threads that are no more */
  for (struct pm_stager *t = stagers, *next; t != NULL; t = next) {
    next = t->next;
    int mine = t->open != NULL && t->owner == me;
    sem_init(&t->free, 0, mine ? 0 : 1);
    t->users = 1;
    if (mine)
      continue;
    for (pm_stage *s = t->open; s != NULL; s = s->next)
      s->pool = NULL;
    t->open = NULL;
    drop_user(t);
  }
}

int pm_staging_init(void) {
  int number = pthread_atfork(NULL, NULL, in_child);
  if (number == 0)
    return 0;
  errno = number;
  PyErr_SetFromErrno(PyExc_OSError);
  return -1;
}

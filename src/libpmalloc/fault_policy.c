/* fault_policy: what is done about a violation that need not be the end.
 *
 *     warn     the page becomes writable, the instruction runs again. The first of a
 *              pool is reported; the pool is tainted from then on
 *     audit    the store takes effect while the page stays shut (fault_audit). Who
 *              writes for the first time is reported, and each write is in the log
 *
 * Only a store to the data of a protected pool is a matter of policy. Guard pages,
 * metadata and pools that were destroyed are never written by a program that is
 * merely out of date about what is read-only: that is always `oops`. So is a pool
 * in a tier where its policy can do nothing; the registry says so (pool_policy.c).
 *
 * The log is filled in either way: who, when, which bytes. Skipping the store and
 * going on is not offered. A program that finds its own write undone is in a state
 * that nobody designed, and an attacker can choose which one.
 *
 * ASYNC-SIGNAL-SAFE: raw system calls, and the fault_* files beside it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_policy.h"

#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fault_step.h"
#include "fault_store.h"
#include "fault_symbol.h"
#include "pages.h"

static _Atomic(uintptr_t (*)(void)) hook_line;
static void (*_Atomic hook_notify)(void);

void pmalloc_policy_use(uintptr_t (*line)(void), void (*notify)(void)) {
  atomic_store(&hook_line, line);
  atomic_store(&hook_notify, notify);
}

/* ---- the log ---- */

static void keep(char *to, size_t room, const char *text, size_t n) {
  n = n < room - 1 ? n : room - 1;
  memcpy(to, text, n);
  to[n] = 0;
}

/* What the first write of a writer tells. */
static void introduce(struct pmalloc_log_writer *writer, const struct pmalloc_violation *v,
                      const struct pmalloc_symbol *symbol) {
  struct pmalloc_writer w;
  struct timespec t = {0, 0};
  writer->pool_name = v->where->pool_name;
  writer->policy = v->policy;
  (void)syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
  writer->seconds = t.tv_sec;
  if (symbol) {
    keep(writer->module, sizeof writer->module, symbol->module, strlen(symbol->module));
    keep(writer->name, sizeof writer->name, symbol->name, strlen(symbol->name));
    writer->offset = symbol->offset;
    writer->name_offset = symbol->name_offset;
  }
  pmalloc_writer_start_fd(&w, -1); /* for nobody: what is kept of it matters */
  pmalloc_writer_keep(&w, writer->object, sizeof writer->object);
  pmalloc_report_object(&w, v);
  pmalloc_writer_flush(&w);
  pmalloc_report_thread_name(writer->thread_name, sizeof writer->thread_name);
}

/* A report waits for others: for stderr, a disk, a long look for the path. If it took more than
 * two seconds, another thread has taken the turn, and gone on. 1 where that was so; the turn is
 * this thread's again. */
static int lost_turn(void) {
  if (pmalloc_turn_is_mine())
    return 0;
  (void)pmalloc_step_take_turn(NULL);
  return 1;
}

static int is_there_still(const struct pmalloc_violation *v) {
  struct pmalloc_where now;
  return pmalloc_registry_find(v->address, &now) && now.place == PMALLOC_DATA &&
         now.pool_id == v->where->pool_id;
}

/* Finds who writes; a new one is written down, and reported if that is wanted. *slow: something
 * was, and the turn may be lost. */
static struct pmalloc_log_writer *find_writer(struct pmalloc_violation *v, int report, int *slow) {
  uintptr_t (*ask_line)(void) = atomic_load(&hook_line);
  uintptr_t line = ask_line ? ask_line() : 0, pool = v->where->pool_id;
  struct pmalloc_log_writer *writer = pmalloc_log_find(pool, v->pc, line);
  struct pmalloc_symbol symbol;
  int created = 0;
  if (!writer) {
    int known = pmalloc_symbol_find(v->pc, &symbol);
    uintptr_t code = !known ? v->pc : symbol.name[0] ? v->pc - symbol.name_offset : symbol.start;
    writer = pmalloc_log_writer(pool, v->pc, line, code, &created);
    if (created)
      introduce(writer, v, known ? &symbol : NULL);
  }
  if (report && created) {
    const struct pmalloc_kept kept = {writer->report, sizeof writer->report, writer->stack,
                                      sizeof writer->stack};
    pmalloc_report_violation(v, &kept);
  } else if (report && v->policy == PMALLOC_WARN) {
    pmalloc_report_violation(v, NULL);
  } else if (created) {
    pmalloc_report_stack(writer->stack, sizeof writer->stack);
  }
  if (created)
    pmalloc_log_publish(writer);
  *slow = created || (report && v->policy == PMALLOC_WARN);
  return writer;
}

static void count(const struct pmalloc_violation *v, struct pmalloc_log_writer *writer) {
  atomic_fetch_add(&v->where->tally->violations, 1);
  if (writer && atomic_fetch_add(&writer->count, 1) == 0) {
    void (*notify)(void) = atomic_load(&hook_notify);
    if (notify)
      notify();
  }
}

/* ---- the policies ---- */

static int warn(struct pmalloc_violation *v) {
  if (pages_let_write(v->address) != 0)
    return 0; /* at the limit of mappings, or sealed behind our back */
  int first = atomic_exchange(&v->where->tally->tainted, 1) == 0;
  int slow;
  struct pmalloc_log_writer *writer = find_writer(v, first, &slow);
  if (slow && lost_turn() && !is_there_still(v))
    return 1; /* as one will find who runs into it again */
  struct pmalloc_log_write *write = pmalloc_audit_begin(v, writer);
  if (write && v->store && v->store->has_bytes) {
    write->kept_after = write->kept_before;
    memcpy(write->after, v->store->bytes, write->kept_after);
  }
  if (write)
    atomic_store(&write->whole, 1);
  count(v, writer);
  return 1;
}

static int audit(struct pmalloc_violation *v, ucontext_t *uc) {
  if (pmalloc_step_is_on()) /* the same instruction, one page further on */
    return pmalloc_step_start(v->address, uc, NULL);
  int slow;
  struct pmalloc_log_writer *writer = find_writer(v, 1, &slow);
  if (slow && lost_turn())
    return 1; /* nothing was done: the instruction faults again, and its writer is known by then */
  if (!pmalloc_audit(v, uc, writer))
    return 0;
  count(v, writer);
  return 1;
}

/* Whether the bytes that a store brings are there already. */
static int is_same(const struct pmalloc_store *store, const struct pmalloc_where *where) {
  if (!store->has_bytes || store->size == 0 || store->address < where->chunk_start ||
      store->size > where->chunk_end - store->address)
    return -1;
  const volatile unsigned char *there = (const volatile unsigned char *)store->address;
  for (size_t i = 0; i < store->size; i++) {
    if (there[i] != store->bytes[i])
      return 0;
  }
  return 1;
}

int pmalloc_policy_answer(struct pmalloc_violation *v, ucontext_t *uc) {
  const struct pmalloc_where *where = v->where;
  struct pmalloc_store store;
  if (where->place != PMALLOC_DATA || v->access != PMALLOC_WRITE || !where->tally ||
      (where->policy != PMALLOC_WARN && where->policy != PMALLOC_AUDIT))
    return 0;
  v->policy = where->policy;
  pmalloc_store_readable(where->chunk_start, where->chunk_end);
  if (pmalloc_store_decode(uc, v->address, &store)) {
    v->store = &store;
    v->same_value = is_same(&store, where);
  }
  int done = v->policy == PMALLOC_WARN ? warn(v) : audit(v, uc);
  pmalloc_store_readable(0, 0);
  v->store = NULL;
  if (!done)
    v->policy = PMALLOC_OOPS;
  return done;
}

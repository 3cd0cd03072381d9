/* pool_policy: what is to follow a write to a protected pool.
 *
 * Who chooses. The operator, when he says `off`: then nothing is protected in this
 * process. Else the pool, else the operator, else `oops`.
 *
 *     on_violation=     PMALLOC_RODATA=  unset   oops    warn    audit   off
 *     (none)                             oops    oops    warn    audit   off
 *     oops                               oops    oops    oops    oops    off
 *     warn                               warn    warn    warn    warn    off
 *     audit                              audit   audit   audit   audit   off
 *     off                                off     off     off     off     off
 *
 * What becomes of it. `warn` makes a page writable, which a sealed mapping does not
 * allow. `audit` stores through /proc/self/mem, which takes private memory and does
 * not mind a seal, or else opens the page for one instruction. Where a policy can do
 * nothing, a violation must not go unanswered: it is `oops` then.
 *
 *                        oops    warn    audit                     off
 *     protected, private oops    warn    store; else single-step   nothing protected
 *     protected, memfd   oops    warn    single-step               nothing protected
 *     sealed, private    oops    oops    store; else oops          neither protected nor sealed
 *     sealed, memfd      oops    oops    oops                      neither protected nor sealed
 *     immutable          oops    oops    oops                      the file is sealed, this process
 *                                                                  has a writable copy
 *
 * The choice is made at protect and written to the metadata that becomes read-only
 * with the pool: an attacker who could turn `oops` into `warn` would not need to.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool_internal.h"

static const char *const names[] = {[PMALLOC_OOPS] = "oops",
                                    [PMALLOC_WARN] = "warn",
                                    [PMALLOC_AUDIT] = "audit",
                                    [PMALLOC_OFF] = "off"};

static enum pmalloc_policy of_process;
static const char *unknown; /* a value of the environment that is none */
static atomic_uint in_use;

const char *pmalloc_policy_name(enum pmalloc_policy policy) {
  return (unsigned)policy <= PMALLOC_OFF ? names[policy] : NULL;
}

enum pmalloc_policy pmalloc_policy_named(const char *name) {
  for (unsigned n = PMALLOC_OOPS; n <= PMALLOC_OFF; n++) {
    if (strcmp(name, names[n]) == 0)
      return (enum pmalloc_policy)n;
  }
  return PMALLOC_POLICY_DEFAULT;
}

/* A program in C has nobody to raise an exception, and must not start unprotected by a slip of the
 * pen; what Python does about it is Python's. */
static void complain(void) {
  static const char text[] =
      "pmalloc: PMALLOC_RODATA is none of oops, warn, audit, off: oops it is\n";
  (void)!write(STDERR_FILENO, text, sizeof text - 1);
}

static int silent;

void pool_policy_read(int ignored) {
  const char *value = ignored ? NULL : secure_getenv("PMALLOC_RODATA");
  if (!value || !*value)
    return;
  of_process = pmalloc_policy_named(value);
  if (of_process == PMALLOC_POLICY_DEFAULT) {
    unknown = strdup(value);
    of_process = PMALLOC_OOPS;
    if (!silent)
      complain();
  }
  if (of_process == PMALLOC_OFF) {
    atomic_fetch_or(&in_use, 1U << PMALLOC_OFF); /* before there is a pool: no handler for it */
    pages_switch_off();
  }
}

enum pmalloc_status pmalloc_process_policy(enum pmalloc_policy *policy, const char **value) {
  silent = 1; /* the caller says it better */
  pool_environment();
  *policy = of_process;
  *value = unknown;
  return unknown ? PMALLOC_ERR_INVALID : PMALLOC_OK;
}

enum pmalloc_policy pool_policy_chosen(enum pmalloc_policy wanted) {
  enum pmalloc_policy policy = of_process == PMALLOC_OFF              ? PMALLOC_OFF
                               : wanted != PMALLOC_POLICY_DEFAULT     ? wanted
                               : of_process != PMALLOC_POLICY_DEFAULT ? of_process
                                                                      : PMALLOC_OOPS;
  atomic_fetch_or(&in_use, 1U << policy);
  return policy;
}

unsigned pmalloc_policies_in_use(void) { return atomic_load(&in_use); }

#if defined(__x86_64__)
#define CAN_STEP 1
#else
#define CAN_STEP 0
#endif

enum pmalloc_policy pool_policy_for(const pmalloc_pool *pool, enum pmalloc_tier tier) {
  int can_store = pool->backing == PMALLOC_PRIVATE;
  switch (pool->policy) {
  case PMALLOC_WARN:
    return tier == PMALLOC_PLAIN ? PMALLOC_WARN : PMALLOC_OOPS;
  case PMALLOC_AUDIT:
    if (tier == PMALLOC_PLAIN && CAN_STEP)
      return PMALLOC_AUDIT;
    return can_store && pages_poke_ready() == 0 ? PMALLOC_AUDIT : PMALLOC_OOPS;
  default:
    return pool->policy;
  }
}

/* alloc_forms: the array, the copy, the string; and the pool that is everybody's.
 *
 *     array    n * size bytes, the product checked     pmalloc_array() of the kernel series
 *     copy     bytes that exist already
 *     strdup   ... up to their zero                    pstrdup()
 *
 * There is no zeroed form beside the plain one: fresh pages are zero, freed bytes are made so.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <string.h>

#include "pool_internal.h"
#include "usercopy.h"

enum pmalloc_status pmalloc_pool_array(pmalloc_pool *pool, size_t n, size_t size, void **out) {
  size_t bytes;
  if (__builtin_mul_overflow(n, size, &bytes)) {
    errno = ENOMEM;
    return PMALLOC_ERR_NOMEM;
  }
  return pmalloc_pool_alloc(pool, bytes, 0, out);
}

enum pmalloc_status pmalloc_pool_copy(pmalloc_pool *pool, const void *from, size_t size,
                                      void **out) {
  void *at;
  if (pmalloc_check_object_size(from, size) == PMALLOC_BOUNDS_BAD)
    return PMALLOC_ERR_INVALID; /* more than the source has */
  enum pmalloc_status status = pmalloc_pool_alloc(pool, size, 0, &at);
  if (status != PMALLOC_OK)
    return status;
  if (size > 0)
    memcpy(at, from, size);
  *out = at;
  return PMALLOC_OK;
}

enum pmalloc_status pmalloc_pool_strdup(pmalloc_pool *pool, const char *text, char **out) {
  void *at;
  enum pmalloc_status status = pmalloc_pool_copy(pool, text, strlen(text) + 1, &at);
  if (status == PMALLOC_OK)
    *out = at;
  return status;
}

/* No lock: fork() would have to know of it. Of two threads that make one, one takes its back. */
static _Atomic(pmalloc_pool *) global;

pmalloc_pool *pool_global_now(void) { return atomic_load(&global); }

enum pmalloc_status pmalloc_pool_global(pmalloc_pool **out) {
  pmalloc_pool *known = atomic_load(&global), *made;
  if (!known || pmalloc_pool_state(known) == PMALLOC_DESTROYED_STATE) {
    enum pmalloc_status status = pmalloc_pool_create(&made, "global", 0);
    if (status != PMALLOC_OK)
      return status;
    if (atomic_compare_exchange_strong(&global, &known, made))
      known = made;
    else
      pmalloc_pool_forget(made);
  }
  *out = known;
  return PMALLOC_OK;
}

/* rare_write_api: the functions of pmalloc_rare_write.h. A refusal is reported, by whoever asked to
 * be told of it.
 *
 * SPDX-License-Identifier: MIT
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "rare_write_internal.h"
#include "status.h"

#define CALLER ((uintptr_t)__builtin_return_address(0))
#define PIECE 4096

static _Atomic(pmalloc_refused_fn) on_refusal;

void pmalloc_rare_on_refusal(pmalloc_refused_fn fn) { atomic_store(&on_refusal, fn); }

static enum pmalloc_status answer(const struct pmalloc_refusal *refusal, uintptr_t caller) {
  pmalloc_refused_fn report = atomic_load(&on_refusal);
  int number = errno;
  if (report)
    report(refusal, caller);
  errno = pmalloc_status_errno(refusal->status) ? pmalloc_status_errno(refusal->status) : number;
  return refusal->status;
}

enum pmalloc_mechanism pmalloc_mechanism_of(struct pmalloc_pool *pool) {
  return pmalloc_pool_is(pool) ? pmalloc_rare_mechanism(pool) : PMALLOC_BY_NONE;
}

enum pmalloc_status pmalloc_make_pool_ro(struct pmalloc_pool *pool) {
  return !pmalloc_pool_is(pool)     ? PMALLOC_ERR_INVALID
         : pmalloc_rare_is_inside() ? PMALLOC_ERR_NESTED
                                    : pmalloc_pool_make_ro(pool);
}

enum pmalloc_status rare_write_begin(struct pmalloc_pool *pool) {
  enum pmalloc_status status = pmalloc_pool_is(pool) ? rare_open(pool) : PMALLOC_ERR_INVALID;
  if (status != PMALLOC_ERR_NESTED)
    return status;
  const struct pmalloc_refusal refusal = {.status = status};
  return answer(&refusal, CALLER);
}

enum pmalloc_status rare_write_end(struct pmalloc_pool *pool) {
  enum pmalloc_status status = rare_shut(pool);
  if (status == PMALLOC_OK)
    return status;
  const struct pmalloc_refusal refusal = {.status = status};
  return answer(&refusal, CALLER);
}

enum pmalloc_status pmalloc_wr_copy(const void *to, const void *from, size_t n) {
  struct pmalloc_refusal refusal;
  enum pmalloc_status status = pmalloc_rare_copy(to, from, n, &refusal);
  return status == PMALLOC_OK ? status : answer(&refusal, CALLER);
}

enum pmalloc_status pmalloc_wr_commit(const void *to, const void *base, const void *edit,
                                      size_t n) {
  struct pmalloc_refusal refusal;
  enum pmalloc_status status = pmalloc_rare_commit(to, base, edit, n, NULL, &refusal);
  return status == PMALLOC_OK ? status : answer(&refusal, CALLER);
}

enum pmalloc_status pmalloc_wr_set(const void *to, int byte, size_t n) {
  struct pmalloc_refusal refusal;
  struct rare_target t;
  char piece[PIECE];
  enum pmalloc_status status = rare_enter(&t, to, n, &refusal);
  if (status != PMALLOC_OK)
    return answer(&refusal, CALLER);
  memset(piece, byte, n < PIECE ? n : PIECE);
  for (size_t done = 0; status == PMALLOC_OK && done < n; done += PIECE)
    status = rare_store(&t, (uintptr_t)to + done, piece, n - done < PIECE ? n - done : PIECE);
  if (status == PMALLOC_OK)
    rare_count(&t, n);
  rare_leave(&t);
  refusal.status = status;
  return status == PMALLOC_OK ? status : answer(&refusal, CALLER);
}

enum pmalloc_status pmalloc_wr_add(const void *to, size_t width, uint64_t n) {
  struct pmalloc_refusal refusal;
  struct rare_target t;
  if (width != 1 && width != 2 && width != 4 && width != 8) {
    refusal = (struct pmalloc_refusal){
        .status = PMALLOC_ERR_INVALID, .address = (uintptr_t)to, .size = width};
    return answer(&refusal, CALLER);
  }
  enum pmalloc_status status = rare_enter(&t, to, width, &refusal);
  if (status != PMALLOC_OK)
    return answer(&refusal, CALLER);
  uint64_t value = 0;
  unsigned char *low = (unsigned char *)&value;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  low += sizeof value - width;
#endif
  memcpy(low, to, width);
  value += n;
  status = rare_store(&t, (uintptr_t)to, low, width);
  if (status == PMALLOC_OK)
    rare_count(&t, width);
  rare_leave(&t);
  refusal.status = status;
  return status == PMALLOC_OK ? status : answer(&refusal, CALLER);
}

enum pmalloc_status pmalloc_wr_read(void *to, const void *from, size_t n) {
  struct pmalloc_refusal refusal;
  enum pmalloc_status status = pmalloc_rare_read(to, from, n, &refusal);
  return status == PMALLOC_OK ? status : answer(&refusal, CALLER);
}

enum pmalloc_status wr_publish(const struct pmalloc_published *at, const void *pointer) {
  struct pmalloc_refusal refusal;
  struct rare_target t;
  enum pmalloc_status status = rare_enter(&t, at, sizeof *at, &refusal);
  if (status != PMALLOC_OK)
    return answer(&refusal, CALLER);
  uint64_t next = at->sequence + 1;
  status = rare_store(&t, (uintptr_t)&at->slot[next & 1], &pointer, sizeof pointer);
  atomic_thread_fence(memory_order_seq_cst); /* what it leads to, it, and then the number */
  if (status == PMALLOC_OK)
    status = rare_store(&t, (uintptr_t)&at->sequence, &next, sizeof next);
  if (status == PMALLOC_OK)
    rare_count(&t, sizeof pointer);
  rare_leave(&t);
  refusal.status = status;
  return status == PMALLOC_OK ? status : answer(&refusal, CALLER);
}

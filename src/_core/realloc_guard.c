/* realloc_guard: nobody resizes memory of a pool behind our back.
 *
 * list.extend(frozen, many) and its like go around FrozenList into list's own
 * code, and that hands the pool's pointer to PyMem_Realloc() before it writes
 * anything. The C library then finds no chunk of its own there and aborts the
 * process without a word about pools. So PyMem_Realloc() looks at the address
 * first: when it is a pool's, the guard makes the write that was about to
 * happen, and the one report there is gets printed.
 *
 * Only realloc is wrapped; malloc, calloc and free stay the functions they
 * were. tracemalloc puts its own functions over ours, and takes off what lies
 * over its own, so the guard may have to be put on again: each time with a
 * function of its own, for the same one twice in a chain would call itself.
 *
 *      PyMem_Realloc -> guard 1 -> tracemalloc -> guard 0 -> pymalloc
 *
 * SPDX-License-Identifier: MIT
 */
#include "guards.h"

#include "../libpmalloc/fault.h"
#include "../libpmalloc/registry.h"

#define LAYERS 4

static void *(*below[LAYERS])(void *ctx, void *ptr, size_t size);

static void *guarded(int layer, void *ctx, void *ptr, size_t size) {
  if (ptr != NULL && pmalloc_registry_owns((uintptr_t)ptr)) {
    pmalloc_fault_provoke(ptr);
    return NULL; /* the pool is not protected yet: the caller raises MemoryError */
  }
  return below[layer](ctx, ptr, size);
}

#define LAYER(n)                                                                                   \
  static void *guard_##n(void *ctx, void *ptr, size_t size) { return guarded(n, ctx, ptr, size); }
LAYER(0)
LAYER(1)
LAYER(2)
LAYER(3)

void pm_realloc_guard_install(void) {
  static void *(*const guards[LAYERS])(void *, void *, size_t) = {guard_0, guard_1, guard_2,
                                                                  guard_3};
  static int used;
  PyMemAllocatorEx allocator;
  PyMem_GetAllocator(PYMEM_DOMAIN_MEM, &allocator);
  for (int i = 0; i < used; i++)
    if (allocator.realloc == guards[i])
      return;
  if (used == LAYERS)
    return;
  below[used] = allocator.realloc;
  allocator.realloc = guards[used++];
  PyMem_SetAllocator(PYMEM_DOMAIN_MEM, &allocator);
}

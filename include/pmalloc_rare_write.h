/* pmalloc_rare_write.h: protected data that still changes, rarely.
 *
 * A policy is reloaded, a switch is thrown, a key rotates. Memory of a pool whose mode says so is
 * write-rare: the MMU refuses every store into it, and one door is left.
 *
 *     struct limits { __wr_rare_type unsigned rate; };     // const: an assignment does not compile
 *     static struct limits *limits;                        // in a pool of PMALLOC_MODE_WR
 *
 *     if (rare_write(limits->rate, 100) != 100)            // yields what the variable is then
 *       ...                                                // refused: reported on stderr
 *
 * Every rare write looks its target up and is refused, with nothing changed, where that is not
 * write-rare: a read-only pool, ordinary memory, a constant, a guard page, a freed allocation, what
 * reaches over the end of an allocation or an object. A refusal is reported on stderr. Memory of
 * a write-rare pool that is still open is written like any other.
 *
 * How it is done. Through /proc/self/mem, which the kernel lets a process write whatever the
 * protection of the page; for a pool that is a memfd, by pwrite() to that; so no page becomes
 * writable, for nobody. Only where neither is to be had, the chunk is made writable for the moment:
 * a window, see docs/threat-model.md. Where not even that is possible (a sealed pool), the write is
 * refused with PMALLOC_ERR_UNSUPPORTED.
 *
 * Who excludes whom. Rare writes to one pool exclude each other. Readers are not excluded: an
 * aligned word of up to 8 bytes was never seen half written, but nothing promises it; what is
 * longer, or not aligned, may be. For readers that must not see a mixture there is wr_publish().
 *
 * Context: any thread; not a signal handler: one that interrupts a rare write of its own thread is
 * refused with PMALLOC_ERR_NESTED. fork() waits for rare writes; a child writes its own memory.
 *
 * Origin: rare_write() of the hardening patches for Linux by Kees Cook (2017), after PaX'
 * pax_open_kernel(), and the typed functions of Igor Stoppa's (2018).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_RARE_WRITE_H
#define PMALLOC_RARE_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include <pmalloc.h>

#ifdef __cplusplus
#include <type_traits>
extern "C" {
#endif

/* ---- rare write: mechanisms ---- */

/* How a pool's memory is written. */
enum pmalloc_mechanism {
  PMALLOC_BY_NONE = 0,     /* it is not: the pool is not write-rare, or nothing works here */
  PMALLOC_BY_STORE = 1,    /* its policy is off: nothing is protected */
  PMALLOC_BY_PROC_MEM = 2, /* through /proc/self/mem */
  PMALLOC_BY_MEMFD = 3,    /* through its memfd */
  PMALLOC_BY_WINDOW = 4,   /* its chunk is made writable for the moment: the last resort */
  PMALLOC_BY_KEY = 5       /* by a hardware key; kept for a later version */
};

/* What a pool would be written by, now and in this process. Every mechanism was really tried.
 *
 * Returns: PMALLOC_BY_NONE also where `pool` is no pool. */
PMALLOC_API enum pmalloc_mechanism pmalloc_mechanism_of(struct pmalloc_pool *pool);

/* ---- rare write: openings ---- */

/* Begins an opening: several rare writes to one pool, one after the other, with no other thread's
 * in between. Signals are blocked for this thread until rare_write_end(), but those that its own
 * instructions raise; nothing is writable meanwhile but through the functions below. Whoever
 * wants to write to the pool waits for its end, so nothing in it may wait for another: what makes,
 * fills, protects or ends a pool, this or another, is refused with PMALLOC_ERR_NESTED (EDEADLK);
 * fork() is not to be called. A pool that is empty yet may be opened like any other.
 *
 * Returns: PMALLOC_OK; PMALLOC_ERR_NESTED: this thread has an opening already, which is a bug and
 *   reported; PMALLOC_ERR_INVALID: no pool; _DESTROYED; _NOT_RARE: its mode has no rare write;
 *   _NOMEM; _CORRUPT: see pmalloc_check_pool().
 * Origin: rare_write_begin() of the kernel series. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status rare_write_begin(struct pmalloc_pool *pool);

/* Ends it. PMALLOC_ERR_NESTED, and a report: this thread has none for that pool. */
PMALLOC_API enum pmalloc_status rare_write_end(struct pmalloc_pool *pool);

/* From write-rare to read-only, for good. The pool is protected already.
 *
 * Returns: PMALLOC_OK; PMALLOC_ERR_INVALID: no pool, or one that is not protected; _NOT_RARE: it is
 *   not write-rare; _DESTROYED; or, the pool being as before, what the kernel said.
 * Origin: pmalloc_make_pool_ro() of the kernel series. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status pmalloc_make_pool_ro(struct pmalloc_pool *pool);

/* ---- rare write: stores ---- */

/* Stores n bytes. All or nothing.
 *
 * to: write-rare memory; const, because for everybody else it is.
 * Returns: PMALLOC_OK; else it is reported and nothing was changed: PMALLOC_ERR_NOT_RARE, _BOUNDS,
 *   _DESTROYED, _NESTED, _FORKED (a memfd that is the parent's, too), _UNSUPPORTED (nothing works
 *   here), _NOMEM or _SYSTEM (the kernel refused a window).
 * Origin: wr_memcpy() of the kernel series. */
PMALLOC_API enum pmalloc_status pmalloc_wr_copy(const void *to, const void *from, size_t n);

/* Stores n times the same byte. As pmalloc_wr_copy(). */
PMALLOC_API enum pmalloc_status pmalloc_wr_set(const void *to, int byte, size_t n);

/* Adds to an integer of 1, 2, 4 or 8 bytes, wrapping around; no other rare write comes in between.
 * As pmalloc_wr_copy(); PMALLOC_ERR_INVALID for another width. */
PMALLOC_API enum pmalloc_status pmalloc_wr_add(const void *to, size_t width, uint64_t n);

/* Stores the bytes in which `edit` differs from `base`, n bytes each, a page's in one go. What
 * another rare write changed since `base` was copied stays, where `edit` does not change it, too.
 * As pmalloc_wr_copy(); where the kernel refuses a page, those before it are stored. */
PMALLOC_API enum pmalloc_status pmalloc_wr_commit(const void *to, const void *base,
                                                  const void *edit, size_t n);

/* Copies n bytes out of write-rare memory, with no rare write in between: a snapshot. Errors: as
 * pmalloc_wr_copy(). */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status pmalloc_wr_read(void *to, const void *from,
                                                                 size_t n);

/* A pointer that readers see either before or after, whatever the kernel's way of storing: the one
 * that is not read is written, and then the number says that it is read from now on. It lies in
 * write-rare memory, all zero in the beginning: NULL.
 *
 *     reader      sequence = 6: slot[0]      slot[0] -----> policy 6
 *                                            slot[1] -----> policy 5, or 7 half written
 *
 * What was published before may have readers for as long as any reader takes. */
struct pmalloc_published {
  const void *const slot[2];
  const uint64_t sequence;
};

/* Publishes a pointer. What it leads to is seen whole by whoever gets it.
 *
 * Errors: as pmalloc_wr_copy(). Origin: rcu_assign_pointer(), seqlock's latch. */
PMALLOC_API enum pmalloc_status wr_publish(const struct pmalloc_published *at, const void *pointer);

/* What was published last. Any context, no lock, never a mixture. */
static inline const void *pmalloc_published_get(const struct pmalloc_published *at) {
  for (;;) {
    uint64_t before = __atomic_load_n(&at->sequence, __ATOMIC_ACQUIRE);
    const void *pointer = __atomic_load_n(&at->slot[before & 1], __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&at->sequence, __ATOMIC_ACQUIRE) == before)
      return pointer;
  }
}

#ifdef __cplusplus
}
#endif

/* ---- typed ---- */

#if defined(__GNUC__)

/* The type of what is write-rare: const to everybody. */
#define __wr_rare_type const

/* Inlined into whoever writes, with its type, and so its length, known to the compiler: no function
 * that stores any value of any length anywhere is made of them beside the ones above. The target
 * is a variable of a type that is __wr_rare_type, or it does not compile; no bit field, which has
 * no address, and no volatile. Every argument is evaluated once.
 *
 *     rare_write(var, value)   a scalar of at most 8 bytes; yields what it is then
 *     wr_assign(var, value)    of any type, structures too (C++: trivially copyable)
 *     wr_ptr(var, value)       a pointer, to the same type or NULL
 *     wr_add(var, n)           an integer, no boolean; wr_sub, wr_inc(var), wr_dec(var)
 *     wr_memcpy(to, from, n)   bytes; an array or member whose size the compiler knows is not
 *                              overrun, as far as it optimises
 *     wr_memset(to, byte, n)
 *
 * All but the first yield an enum pmalloc_status. */
#define rare_write(var, value)                                                                     \
  PMALLOC_WR_WRITE(var, value, PMALLOC_WR_NAME(pmalloc_at_), PMALLOC_WR_NAME(pmalloc_new_),        \
                   PMALLOC_WR_NAME(pmalloc_loose_))
#define PMALLOC_WR_WRITE(var, value, at, new_value, loose)                                         \
  __extension__({                                                                                  \
    PMALLOC_WR_IS_RARE(var);                                                                       \
    PMALLOC_WR_ASSERT(sizeof(var) <= sizeof(uint64_t), "rare_write: use wr_assign for more");      \
    const void *const at = (const void *)&(var);                                                   \
    const PMALLOC_WR_TYPE(var) new_value = (value);                                                \
    (void)pmalloc_wr_copy(at, &new_value, sizeof new_value);                                       \
    PMALLOC_WR_NOW(var, at, loose);                                                                \
  })

#define wr_assign(var, value) PMALLOC_WR_ASSIGN(var, value, PMALLOC_WR_NAME(pmalloc_new_))
#define PMALLOC_WR_ASSIGN(var, value, new_value)                                                   \
  __extension__({                                                                                  \
    PMALLOC_WR_IS_RARE(var);                                                                       \
    const PMALLOC_WR_TYPE(var) new_value = (value);                                                \
    pmalloc_wr_copy((const void *)&(var), &new_value, sizeof new_value);                           \
  })

#define wr_ptr(var, value) PMALLOC_WR_PTR(var, value, PMALLOC_WR_NAME(pmalloc_new_))
#define PMALLOC_WR_PTR(var, value, new_value)                                                      \
  __extension__({                                                                                  \
    PMALLOC_WR_IS_RARE(var);                                                                       \
    PMALLOC_WR_IS_POINTER(var, value);                                                             \
    const PMALLOC_WR_TYPE(var) new_value = (value);                                                \
    pmalloc_wr_copy((const void *)&(var), &new_value, sizeof new_value);                           \
  })

#define wr_add(var, n) PMALLOC_WR_ADD(var, PMALLOC_WR_ADDEND(n))
#define wr_sub(var, n) PMALLOC_WR_ADD(var, 0 - PMALLOC_WR_ADDEND(n))
#define wr_inc(var) wr_add(var, 1)
#define wr_dec(var) wr_sub(var, 1)
#define PMALLOC_WR_ADD(var, addend)                                                                \
  __extension__({                                                                                  \
    PMALLOC_WR_IS_RARE(var);                                                                       \
    PMALLOC_WR_ASSERT(PMALLOC_WR_IS_INTEGER(var), "wr_add: not an integer");                       \
    PMALLOC_WR_ASSERT(sizeof(var) <= sizeof(uint64_t), "wr_add: more than 8 bytes");               \
    pmalloc_wr_add((const void *)&(var), sizeof(var), addend);                                     \
  })

#define wr_memcpy(to, from, n)                                                                     \
  __extension__({                                                                                  \
    PMALLOC_WR_FITS(to, n, 1);                                                                     \
    PMALLOC_WR_FITS(from, n, 0);                                                                   \
    pmalloc_wr_copy(to, from, n);                                                                  \
  })
#define wr_memset(to, byte, n)                                                                     \
  __extension__({                                                                                  \
    PMALLOC_WR_FITS(to, n, 1);                                                                     \
    pmalloc_wr_set(to, byte, n);                                                                   \
  })

/* Twins: a structure is copied out, edited in ordinary memory, and published: only what was edited
 * is stored. Its members can't be __wr_rare_type, since the copy is to be edited; the pointer that
 * leads to it is: `__wr_rare_type struct limits *limits`.
 *
 *     wr_twin(struct limits) twin;
 *     if (wr_twin_copy_out(twin, limits) == PMALLOC_OK) {
 *       twin.edit.rate = 100;
 *       status = wr_twin_publish(twin);
 *     } */
#define wr_twin(type)                                                                              \
  struct {                                                                                         \
    const type *target;                                                                            \
    type base, edit;                                                                               \
  }
#define wr_twin_copy_out(twin, from) PMALLOC_WR_OUT(twin, from, PMALLOC_WR_NAME(pmalloc_read_))
#define PMALLOC_WR_OUT(twin, from, status)                                                         \
  __extension__({                                                                                  \
    PMALLOC_WR_IS_SAME((twin).base, *(from));                                                      \
    (twin).target = (from);                                                                        \
    const enum pmalloc_status status =                                                             \
        pmalloc_wr_read((void *)&(twin).base, (twin).target, sizeof(twin).base);                   \
    if (status == PMALLOC_OK)                                                                      \
      __builtin_memcpy((void *)&(twin).edit, (const void *)&(twin).base, sizeof(twin).base);       \
    else                                                                                           \
      (twin).target = NULL;                                                                        \
    status;                                                                                        \
  })
#define wr_twin_publish(twin)                                                                      \
  pmalloc_wr_commit((twin).target, &(twin).base, &(twin).edit, sizeof(twin).base)

/* ---- what these are made of ---- */

/* A name of its own for each use: one may stand in another's argument. */
#define PMALLOC_WR_NAME(name) PMALLOC_WR_JOIN(name, __COUNTER__)
#define PMALLOC_WR_JOIN(name, number) PMALLOC_WR_GLUE(name, number)
#define PMALLOC_WR_GLUE(name, number) name##number

#ifdef __cplusplus
extern "C++" {
template <typename T> struct pmalloc_wr_plain {
  typedef T type;
  static const bool rare = false, pointer = false;
};
template <typename T> struct pmalloc_wr_plain<const T> : pmalloc_wr_plain<T> {
  static const bool rare = true;
};
template <typename T> struct pmalloc_wr_plain<T &> : pmalloc_wr_plain<T> {};
template <typename T> struct pmalloc_wr_plain<T *> {
  typedef T *type;
  static const bool rare = false, pointer = true;
};
template <typename A, typename B> struct pmalloc_wr_same {
  static const bool yes = false;
};
template <typename A> struct pmalloc_wr_same<A, A> {
  static const bool yes = true;
};
/* What lies there, aligned or not. */
template <typename T> inline T pmalloc_wr_now(const void *at) {
  T now;
  __builtin_memcpy(&now, at, sizeof now);
  return now;
}
template <typename T> inline uint64_t pmalloc_wr_addend(T n) {
  static_assert(T(0.5) == T(0), "wr_add: what is added is not an integer");
  return uint64_t(n);
}
}
#define PMALLOC_WR_ASSERT(condition, text) static_assert(condition, text)
#define PMALLOC_WR_OF(var) pmalloc_wr_plain<decltype((var))>
#define PMALLOC_WR_TYPE(var) typename PMALLOC_WR_OF(var)::type
#define PMALLOC_WR_IS_RARE(var)                                                                    \
  PMALLOC_WR_ASSERT(PMALLOC_WR_OF(var)::rare, "rare write: declare the target __wr_rare_type");    \
  PMALLOC_WR_ASSERT(__is_trivially_copyable(PMALLOC_WR_TYPE(var)),                                 \
                    "rare write: more than its bytes is to be copied")
#define PMALLOC_WR_IS_POINTER(var, value)                                                          \
  PMALLOC_WR_ASSERT(PMALLOC_WR_OF(var)::pointer, "wr_ptr: not a pointer")
#define PMALLOC_WR_IS_SAME(a, b)                                                                   \
  PMALLOC_WR_ASSERT((pmalloc_wr_same<PMALLOC_WR_TYPE(a), PMALLOC_WR_TYPE(b)>::yes) &&              \
                        __is_trivially_copyable(PMALLOC_WR_TYPE(a)),                               \
                    "wr_twin: a twin of another type")
#define PMALLOC_WR_IS_INTEGER(var)                                                                 \
  (std::is_enum<PMALLOC_WR_TYPE(var)>::value ||                                                    \
   (std::is_integral<PMALLOC_WR_TYPE(var)>::value && !(PMALLOC_WR_IS_BOOLEAN(var))))
#define PMALLOC_WR_IS_BOOLEAN(var) std::is_same<PMALLOC_WR_TYPE(var), bool>::value
#define PMALLOC_WR_ADDEND(n) pmalloc_wr_addend(n)
#define PMALLOC_WR_NOW(var, at, loose) pmalloc_wr_now<PMALLOC_WR_TYPE(var)>(at)
#else
#define PMALLOC_WR_ASSERT(condition, text) _Static_assert(condition, text)
#define PMALLOC_WR_TYPE(var) __typeof__(var)
#define PMALLOC_WR_IS_RARE(var)                                                                    \
  PMALLOC_WR_ASSERT(__builtin_types_compatible_p(__typeof__(var) *, const __typeof__(var) *),      \
                    "rare write: declare the target __wr_rare_type")
/* An array is a pointer here, and a string may be one to const. */
#define PMALLOC_WR_IS_POINTER(var, value)                                                          \
  PMALLOC_WR_ASSERT(__builtin_classify_type(var) == 5, "wr_ptr: not a pointer");                   \
  PMALLOC_WR_ASSERT(__builtin_types_compatible_p(__typeof__(var), __typeof__((void)0, (value))) || \
                        __builtin_types_compatible_p(void *, __typeof__((void)0, (value))) ||      \
                        (__builtin_types_compatible_p(const char *, __typeof__(var)) &&            \
                         __builtin_types_compatible_p(char *, __typeof__((void)0, (value)))),      \
                    "wr_ptr: a pointer to another type")
#define PMALLOC_WR_IS_SAME(a, b)                                                                   \
  PMALLOC_WR_ASSERT(__builtin_types_compatible_p(__typeof__(a), __typeof__(b)),                    \
                    "wr_twin: a twin of another type")
/* 1: an integer, a character, an enumeration (3 for some) or a boolean. */
#define PMALLOC_WR_IS_INTEGER(var)                                                                 \
  ((__builtin_classify_type(var) == 1 || __builtin_classify_type(var) == 3) &&                     \
   !__builtin_types_compatible_p(__typeof__(var), _Bool))
#define PMALLOC_WR_ADDEND(n)                                                                       \
  __extension__({                                                                                  \
    PMALLOC_WR_ASSERT(PMALLOC_WR_IS_INTEGER(n), "wr_add: what is added is not an integer");        \
    (uint64_t)(n);                                                                                 \
  })
/* What lies there, aligned or not. */
#define PMALLOC_WR_NOW(var, at, loose)                                                             \
  typedef __typeof__(var) loose __attribute__((aligned(1)));                                       \
  *(const volatile loose *)at
#endif

/* A call that is left in the program is an error at compile time. A compiler that does not optimise
 * leaves them all. */
#if defined(__OPTIMIZE__) && defined(__has_attribute)
#if __has_attribute(error)
#define PMALLOC_WR_CAN_MEASURE
#endif
#endif
#ifdef PMALLOC_WR_CAN_MEASURE
extern void pmalloc_wr_overruns_(void)
    __attribute__((error("rare write: more bytes than the object has")));
#define PMALLOC_WR_FITS(at, n, kind)                                                               \
  do {                                                                                             \
    if (__builtin_constant_p(n) && (size_t)(n) > __builtin_object_size(at, kind))                  \
      pmalloc_wr_overruns_();                                                                      \
  } while (0)
#else
#define PMALLOC_WR_FITS(at, n, kind) (void)0
#endif

#endif

#endif

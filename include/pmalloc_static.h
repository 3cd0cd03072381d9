/* pmalloc_static.h: static data that is read-only once the program has started.
 *
 *     static struct hooks hooks __ro_after_init;              // filled in while it starts
 *     static unsigned limit __wr_after_init = 100;            // changed later by rare write only
 *
 *     hooks.check = check;                                    // before: like any other variable
 *     if (pmalloc_mark_rodata_ro() != PMALLOC_OK) ...         // the end of init, of all of them
 *     rare_write(wr_static(limit), 200);                      // after
 *
 * The attributes put a variable into a section of its own kind. Link the executable or library that
 * has such variables with the linker script pmalloc.ld, which lies beside this header: it gives the
 * sections pages of their own. Where they have not, protecting them is refused, and pmalloc says
 * how many bytes of what else would have become read-only too.
 *
 *     cc -shared routes.c -Wl,-T,$(pkg-config --variable=linker_script pmalloc) -lpmalloc
 *
 *          .data | pad | pmalloc_ro_after_init | pad | pmalloc_wr_after_init | pad | .bss
 *                      |<------ pages ------------>|<-------- pages ------------>|
 *
 * A constructor in this header makes the sections known when the object is loaded, by the program
 * or by dlopen(), and a destructor makes them unknown when dlclose() unloads it. Each source file
 * that includes this header has it; of an object's, one does something. It calls libpmalloc, so who
 * includes the header links with that; who has no static data of this kind may define
 * PMALLOC_NO_STATIC_DATA before, and does without.
 *
 * No object with such data is to be loaded or unloaded in an opening (rare_write_begin()).
 *
 * Where the compiler can see all uses of a variable that is never written, it may do without the
 * variable. A constant is no static data of this kind: declare it without const.
 *
 * Idea: __ro_after_init of Linux (Kees Cook, 2016), after PaX' __read_only; __wr_after_init of the
 * kernel series of Igor Stoppa (2018).
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_STATIC_H
#define PMALLOC_STATIC_H

#include <stddef.h>

#include <pmalloc.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- static data: what is known ---- */

/* What one executable or library has of it; made by this header, one an object. */
struct pmalloc_object {
  size_t size;             /* sizeof(struct pmalloc_object) */
  const void *ro, *ro_end; /* its __ro_after_init data; NULL: none */
  const void *wr, *wr_end; /* its __wr_after_init data; NULL: none */
};

enum pmalloc_static_kind { PMALLOC_STATIC_RO = 0, PMALLOC_STATIC_WR = 1 };

enum pmalloc_static_state {
  PMALLOC_STATIC_OPEN = 0,      /* as yet */
  PMALLOC_STATIC_PROTECTED = 1, /* read-only */
  PMALLOC_STATIC_REFUSED = 2    /* it can't be protected: `problem` says why */
};

/* One section of one object. */
struct pmalloc_static_data {
  size_t size;            /* sizeof(struct pmalloc_static_data): set it before the call */
  unsigned long id;       /* unique in this process, never used again, goes up */
  unsigned long sequence; /* the n-th that was ever made known, from 1 */
  enum pmalloc_static_kind kind;
  enum pmalloc_static_state state;
  const void *address;
  size_t bytes;
  char path[4096];    /* of the object */
  char problem[1024]; /* one sentence: why it is refused; else empty */
};

/* The section that was made known next after that with the id `after`; 0: the first one.
 *
 * out: filled in; its `size` says how long it is.
 * Returns: 1; 0 where there is none. */
PMALLOC_API int pmalloc_next_static_data(unsigned long after, struct pmalloc_static_data *out);

/* ---- static data: the end of init ---- */

/* Ends init: protects all static data that is known, and the global pool where there is one. May be
 * called again, as for objects that were loaded since: what is protected already stays so.
 *
 * The caller makes sure that no other thread is still writing to them.
 *
 * Returns: PMALLOC_OK; else the first reason why something could not be protected, all else being
 *   protected: PMALLOC_ERR_SHARED_PAGE: an object was linked without pmalloc.ld, see
 *   pmalloc_next_static_data(); _CORRUPT, _NOMEM or _SYSTEM as pmalloc_protect_pool(); _UNSETTLED:
 *   Python objects of its init phase lie in the global pool, and Python's mark_rodata_ro() ends
 *   that; _NESTED: in an opening nothing is protected.
 * Origin: mark_rodata_ro() of Linux. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status pmalloc_mark_rodata_ro(void);

/* Protects the static data of one object: the end of its own init, where it was loaded late.
 *
 * Returns: as pmalloc_mark_rodata_ro(); PMALLOC_OK also where it has none; PMALLOC_ERR_INVALID: it
 *   is not known. */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status
pmalloc_protect_object(const struct pmalloc_object *object);

/* Protects one section; PMALLOC_ERR_PROTECTED where it is, PMALLOC_ERR_INVALID where there is none
 * of that id. Else as pmalloc_mark_rodata_ro(). */
PMALLOC_API PMALLOC_MUST_USE enum pmalloc_status pmalloc_protect_static_data(unsigned long id);

/* ---- static data: registration ---- */

/* What the constructor of this header calls, as often as it likes. Reads the object's symbol table
 * from its file, where there is one, so that reports and bounds know the variables.
 *
 * Returns: PMALLOC_OK, also where there is no data; PMALLOC_ERR_INVALID, _NOMEM or _SYSTEM. */
PMALLOC_API enum pmalloc_status pmalloc_register_object(const struct pmalloc_object *object);

/* What the destructor calls: the object is about to be unloaded. It stays protected until then. */
PMALLOC_API void pmalloc_unregister_object(const struct pmalloc_object *object);

#ifdef __cplusplus
}
#endif

/* ---- the attributes ---- */

#if defined(__GNUC__) && defined(__ELF__)

#define __ro_after_init __attribute__((section("pmalloc_ro_after_init")))
#define __wr_after_init __attribute__((section("pmalloc_wr_after_init")))

/* The variable as rare_write(), wr_assign() and the others want it: const, as it is to everybody
 * after init. */
#define wr_static(var) (*(const __typeof__(var) *)&(var))

#ifndef PMALLOC_NO_STATIC_DATA

/* pmalloc_protect_object() for the object that the caller is in. */
#define pmalloc_protect_this_object() pmalloc_protect_object(&pmalloc_this_object)

#ifdef __cplusplus
extern "C" {
#endif

/* The linker defines them where there is such a section. */
#define PMALLOC_EDGE extern char __attribute__((weak, visibility("hidden")))
PMALLOC_EDGE __start_pmalloc_ro_after_init[], __stop_pmalloc_ro_after_init[];
PMALLOC_EDGE __start_pmalloc_wr_after_init[], __stop_pmalloc_wr_after_init[];
#undef PMALLOC_EDGE

/* Weak and hidden: of those of all files of an object the linker takes one, and no other object
 * sees it. */
#define PMALLOC_ONE __attribute__((weak, visibility("hidden")))
extern const struct pmalloc_object pmalloc_this_object PMALLOC_ONE;
const struct pmalloc_object pmalloc_this_object = {
    sizeof(struct pmalloc_object), __start_pmalloc_ro_after_init, __stop_pmalloc_ro_after_init,
    __start_pmalloc_wr_after_init, __stop_pmalloc_wr_after_init};

/* 101: before all others of the object, and after them. */
void pmalloc_object_loaded_(void) PMALLOC_ONE __attribute__((constructor(101)));
void pmalloc_object_loaded_(void) {
  if (pmalloc_this_object.ro != pmalloc_this_object.ro_end ||
      pmalloc_this_object.wr != pmalloc_this_object.wr_end)
    (void)pmalloc_register_object(&pmalloc_this_object);
}
void pmalloc_object_unloaded_(void) PMALLOC_ONE __attribute__((destructor(101)));
void pmalloc_object_unloaded_(void) {
  if (pmalloc_this_object.ro != pmalloc_this_object.ro_end ||
      pmalloc_this_object.wr != pmalloc_this_object.wr_end)
    pmalloc_unregister_object(&pmalloc_this_object);
}
#undef PMALLOC_ONE

#ifdef __cplusplus
}
#endif

#endif
#endif

#endif

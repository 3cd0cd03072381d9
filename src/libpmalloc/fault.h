/* fault: what happens when somebody writes to protected memory.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_H
#define PMALLOC_FAULT_H

#include <stddef.h>
#include <stdint.h>

#include "registry.h"
#include "status.h"

/* Writes to stderr, async-signal-safe. The describer below is handed one. */
struct pmalloc_writer;
void pmalloc_write_text(struct pmalloc_writer *w, const char *text);
void pmalloc_write_hex(struct pmalloc_writer *w, uintptr_t n);
void pmalloc_write_dec(struct pmalloc_writer *w, uintmax_t n);

/* Layers above may say what an object is: prints e.g. "FrozenDict" for the object
 * that starts at `start`. Must be async-signal-safe, must read memory by
 * pages_peek() only, and must not print a newline. */
typedef void (*pmalloc_describe_fn)(struct pmalloc_writer *w, uintptr_t start);
/* Bytes an object's header reaches below its marked start (a GC header), 0 if none; and what the
 * part of it `before` bytes in front of the start is, for the report: a constant string. */
typedef size_t (*pmalloc_preheader_fn)(uintptr_t start, size_t before, const char **part);

/* Prints the way from the pool's root to the object at `start`, behind the pool's name, e.g.
 * config['roles']['admin'][3], or what else there is to say: "path not found within N levels".
 * Must be async-signal-safe, must read memory by pages_peek() only, and must not print a newline.
 */
typedef void (*pmalloc_path_fn)(struct pmalloc_writer *w, const struct pmalloc_where *where,
                                uintptr_t start);

struct pmalloc_fault_hooks {
  pmalloc_describe_fn describe;
  pmalloc_preheader_fn preheader;
  pmalloc_path_fn path;
  /* A signal that makes the layer above print the Python stack of the thread it is sent to
   * (faulthandler.register); 0: none. */
  int stack_signal;
  /* The file descriptor that it prints to. For the time of a report it is made to stand for a pipe,
   * so it must be one that nobody else uses: not stderr. */
  int stack_fd;
  /* File names of libraries that belong to the layer above: "NAME" is the start of one, "/NAME" the
   * folder it is in. Whatever else wrote is an extension. NULL at the end; or NULL. */
  const char *const *own_modules;
  /* A number for the Python line that this thread is at: where it is another one, it may be another
   * line. 0: in no line. Async-signal-safe; may be NULL. */
  uintptr_t (*line)(void);
  /* Something new is in the log: async-signal-safe, does no more than wake somebody. May be NULL.
   */
  void (*notify)(void);
};

/* Installs the SIGSEGV handler, or puts it back on top of one that was
 * installed after it; cheap, called at every protect. Hooks may be NULL to keep those set. Gets
 * ready for what the policies of the pools there are will need of it; where `off` is the only one
 * of them, nothing is installed. */
enum pmalloc_status pmalloc_fault_install(const struct pmalloc_fault_hooks *hooks);

/* A caller inside the process found out, without a fault, that `address` in protected memory is
 * about to be written by other means (realloc of a protected pointer): makes the real store, so
 * that the one report there is gets printed, and names the caller's module. Does not return on
 * protected memory. */
static inline void pmalloc_fault_provoke(const void *address) {
  volatile char *byte = (volatile char *)(uintptr_t)address;
  *byte = *byte;
}

#endif

/* fault_json: the report for programs, a file for each violation.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_JSON_H
#define PMALLOC_FAULT_JSON_H

#include "fault_report.h"

/* The directory that reports go to, absolute, for the program may change its own before the handler
 * runs; NULL: none are written. 0, or -1 where the path is too long: then none are, either. */
int pmalloc_json_use_directory(const char *path);

#define PMALLOC_JSON_NAME 96

/* A file that is being written. */
struct pmalloc_json {
  struct pmalloc_writer w;
  int wanted;                   /* there is a directory */
  int depth;                    /* of brackets that are open */
  int comma;                    /* something was written at this level */
  int failed;                   /* errno of what could not be done, or 0 */
  char name[PMALLOC_JSON_NAME]; /* of the file, once it is whole */
};

/* These are async-signal-safe. The first writes all but the stack of the layer above, whose lines
 * are added one by one; the last gives the file its name, and says on stderr where it is, or why
 * it is not. */
void pmalloc_json_start(struct pmalloc_json *j, const struct pmalloc_violation *v,
                        const struct pmalloc_facts *facts);
void pmalloc_json_stack_line(struct pmalloc_json *j, char *line); /* which is cut up */
void pmalloc_json_finish(struct pmalloc_json *j, struct pmalloc_writer *says);

#endif

/* fault_above: the stack of the layer above, which prints it when a signal asks it to.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_ABOVE_H
#define PMALLOC_FAULT_ABOVE_H

#include "fault_writer.h"

/* The signal that asks, and the descriptor that the answer is written to. What it stands for now
 * is remembered: if the program closes it, its number may become somebody else's file. */
void pmalloc_above_use(int signal, int fd);

/* Asks. A descriptor to read the answer from, which the caller closes; -1 where there is none:
 * then *why is a sentence for the report, or NULL if there is nothing to say. */
int pmalloc_above_ask(const char **why);

#endif

/* fault_signal: the SIGSEGV handler itself.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PMALLOC_FAULT_SIGNAL_H
#define PMALLOC_FAULT_SIGNAL_H

#include <signal.h>

#include "fault.h"

/* The handler, for sigaction(). Async-signal-safe. */
void pmalloc_fault_on_signal(int signal, siginfo_t *info, void *context);

/* What it asks of the layers above. Set before it is installed, or later. */
void pmalloc_fault_set_hooks(const struct pmalloc_fault_hooks *hooks);

/* Who gets what is not ours, and what is ours after the report. Told to it
 * before it goes on top of `previous`. One caller at a time. */
void pmalloc_fault_set_previous(const struct sigaction *previous);

/* How many handlers that were there before us are remembered. */
#define PMALLOC_HISTORY 8

/* Those, newest first, and how many there are. Not for signal handlers. */
size_t pmalloc_fault_previous(struct sigaction out[PMALLOC_HISTORY]);

#endif

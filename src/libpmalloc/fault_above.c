/* fault_above: the stack of the layer above, which prints it when a signal asks it to.
 *
 * Only Python can walk its own frames, and the only public means to have that done
 * in a signal handler (faulthandler.register) prints to a file descriptor that was
 * fixed when it was registered. So that descriptor stands for nothing much, and for
 * the time of one report for a pipe:
 *
 *   at rest      fd --> a pipe without readers, known by its device and inode
 *
 *   asked        fd --> [ our pipe ] --> the report on stderr, and the JSON file
 *                 ^
 *            tgkill(this thread): its handler has run when the call returns
 *
 * A pipe of one's own for each report, because what stays open is shared with the
 * children of fork(), and two that fault at once would read each other's stacks.
 * Nobody reads while it is written, so a stack longer than the pipe (64 KiB) is
 * cut off, not waited for.
 *
 * A program that closes all descriptors takes this one, too, and may then open a
 * file of its own by that number. It is looked at before it is used.
 *
 * ASYNC-SIGNAL-SAFE but for pmalloc_above_use(), which is called ahead.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_above.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int ask_signal;
static atomic_int ask_fd = -1;
static _Atomic uint64_t ask_device, ask_inode;

void pmalloc_above_use(int signal, int fd) {
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) {
    atomic_store(&ask_signal, 0);
    return;
  }
  atomic_store(&ask_fd, fd);
  atomic_store(&ask_device, (uint64_t)status.st_dev);
  atomic_store(&ask_inode, (uint64_t)status.st_ino);
  atomic_store(&ask_signal, signal);
}

static int is_ours(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && (uint64_t)status.st_dev == atomic_load(&ask_device) &&
         (uint64_t)status.st_ino == atomic_load(&ask_inode);
}

/* Without its handler the signal would kill instead of print. */
static int has_handler(int signal) {
  struct sigaction action;
  return sigaction(signal, NULL, &action) == 0 &&
         ((action.sa_flags & SA_SIGINFO) ||
          (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN));
}

static void send_to_self(int signal) {
  sigset_t wanted, before;
  (void)sigemptyset(&wanted);
  (void)sigaddset(&wanted, signal);
  (void)pthread_sigmask(SIG_UNBLOCK, &wanted, &before);
  (void)syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), signal);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int pmalloc_above_ask(const char **why) {
  int signal = atomic_load(&ask_signal), fd = atomic_load(&ask_fd);
  int ends[2];
  *why = NULL;
  if (signal == 0)
    return -1;
  if (!has_handler(signal)) {
    *why = "its signal handler was removed";
    return -1;
  }
  if (!is_ours(fd)) {
    *why = "its file descriptor was closed";
    return -1;
  }
  long kept = syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
  if (kept < 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    if (kept >= 0)
      (void)syscall(SYS_close, kept);
    *why = "no file descriptor is left";
    return -1;
  }
  if (syscall(SYS_dup3, ends[1], fd, O_CLOEXEC) >= 0) {
    send_to_self(signal);
    (void)syscall(SYS_dup3, kept, fd, O_CLOEXEC);
  }
  (void)syscall(SYS_close, ends[1]);
  (void)syscall(SYS_close, kept);
  return ends[0];
}

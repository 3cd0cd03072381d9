/* init: the first and only program of the machines that tools/kernels.sh boots.
 *
 *   kernel --> init --> /tests/test_alloc    exit status 0, or not
 *                   --> /tests/test_attacks
 *                   --> ...                  one after the other, by name
 *                   --> power off
 *
 * It mounts what programs expect to be there, runs every file of /tests, or those that the kernel's
 * command line names, and says on the console how each ended. The last line has the sum; a log
 * without it is that of a machine that died.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 600 /* for one program */

static void show(const char *type, const char *where) {
  (void)mkdir(where, 0755);
  if (mount(type, where, type, 0, NULL) != 0)
    printf("kernels: %s: %s\n", where, strerror(errno));
}

static void set(const char *file, const char *value) {
  int fd = open(file, O_WRONLY);
  if (fd >= 0)
    (void)!write(fd, value, strlen(value));
  if (fd >= 0)
    close(fd);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Its status as waitpid() gives it; the signal is SIGALRM where its time was up. */
static int run(const char *path) {
  int status = -1;
  pid_t child = fork();
  if (child == 0) {
    (void)setsid();
    (void)alarm(SECONDS); /* survives execv() */
    (void)execl(path, path, (char *)NULL);
    printf("kernels: %s: %s\n", path, strerror(errno));
    fflush(stdout);
    _exit(127);
  }
  /* Orphans of the tests end up here as well. */
  for (;;) {
    pid_t ended = waitpid(-1, &status, 0);
    if (ended == child)
      break;
    if (ended < 0 && errno == ECHILD)
      return -1;
  }
  (void)kill(-child, SIGKILL);
  return status;
}

/* Whether the kernel's command line has it run: only=NAME,NAME; without that, everything is. */
static int is_wanted(const char *name) {
  const char *only = getenv("only");
  size_t n = strlen(name);
  if (!only)
    return 1;
  for (const char *at = only; (at = strstr(at, name)) != NULL; at += n) {
    if ((at == only || at[-1] == ',') && (at[n] == ',' || at[n] == 0))
      return 1;
  }
  return 0;
}

static int run_all(int *passed) {
  struct dirent **files;
  int failed = 0, n = scandir("/tests", &files, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    char path[300];
    if (files[i]->d_name[0] == '.' || !is_wanted(files[i]->d_name))
      continue;
    snprintf(path, sizeof path, "/tests/%s", files[i]->d_name);
    double start = now();
    int status = run(path);
    printf("kernels: %s: ", files[i]->d_name);
    if (WIFSIGNALED(status))
      printf("died of signal %d", WTERMSIG(status));
    else
      printf("exit status %d", WEXITSTATUS(status));
    printf(", %.1f s\n", now() - start);
    *(status == 0 ? passed : &failed) += 1;
  }
  return failed;
}

int main(void) {
  struct utsname name;
  int passed = 0, failed;
  show("devtmpfs", "/dev");
  int console = open("/dev/console", O_RDWR);
  for (int fd = 0; fd < 3; fd++)
    (void)dup2(console, fd);
  setvbuf(stdout, NULL, _IOLBF, 0);
  show("proc", "/proc");
  show("tmpfs", "/tmp");
  (void)chmod("/tmp", 01777);
  set("/proc/sys/vm/max_map_count", "8192");   /* a test uses them up: of 65530, that takes long */
  set("/proc/sys/debug/exception-trace", "0"); /* many die here: no line of the log for each */
  (void)uname(&name);
  printf("\nkernels: %s %s, %s\n", name.sysname, name.release, name.machine);
  failed = run_all(&passed);
  printf("kernels: %d programs passed, %d failed\n", passed, failed);
  fflush(NULL);
  sync();
  (void)reboot(RB_POWER_OFF);
  return 0;
}

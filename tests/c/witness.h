/* witness: runs a crime in a child process, and says what it wrote and how it ended. */
#ifndef PMALLOC_TESTS_WITNESS_H
#define PMALLOC_TESTS_WITNESS_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct witness {
  int status;      /* as waitpid() gives it */
  char text[8192]; /* what went to stderr; of more, the beginning */
};

static int witness_passed, witness_failed;

static inline void expect_(int truth, const char *what, const char *detail, int line) {
  if (truth) {
    witness_passed++;
    return;
  }
  witness_failed++;
  printf("line %d: %s\n%s%s", line, what, detail, *detail ? "\n" : "");
}
#define EXPECT(truth) expect_((truth) != 0, #truth, "", __LINE__)
#define EXPECT_SAYS(w, wanted)                                                                     \
  expect_(strstr((w).text, (wanted)) != NULL, "stderr lacks: " wanted, (w).text, __LINE__)
#define EXPECT_SILENT_ON(w, unwanted)                                                              \
  expect_(strstr((w).text, (unwanted)) == NULL, "stderr has: " unwanted, (w).text, __LINE__)
#define EXPECT_SIGNAL(w, number)                                                                   \
  expect_(WIFSIGNALED((w).status) && WTERMSIG((w).status) == (number), "died of " #number,         \
          (w).text, __LINE__)
#define EXPECT_EXIT(w, code)                                                                       \
  expect_(WIFEXITED((w).status) && WEXITSTATUS((w).status) == (code), "exit code " #code,          \
          (w).text, __LINE__)

/* On an emulated CPU (tools/kernels.sh): the same tests, fewer rounds. */
#if defined(PMALLOC_EMULATED)
enum { WITNESS_EMULATED = 1, WITNESS_SECONDS = 100 };
#else
enum { WITNESS_EMULATED = 0, WITNESS_SECONDS = 10 };
#endif

/* The crime returns: exit code 0. One that hangs is ended by SIGALRM. */
static inline struct witness witness(void (*crime)(void)) {
  struct witness w = {0, ""};
  int ends[2];
  size_t used = 0;
  fflush(NULL);
  if (pipe(ends) != 0)
    abort();
  pid_t child = fork();
  if (child == 0) {
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGSEGV, SIG_DFL); /* sanitizers have a handler of their own there */
    dup2(ends[1], 2);
    close(ends[0]);
    close(ends[1]);
    alarm(WITNESS_SECONDS);
    crime();
    _exit(0);
  }
  close(ends[1]);
  for (ssize_t n; used < sizeof w.text - 1 &&
                  (n = read(ends[0], w.text + used, sizeof w.text - 1 - used)) > 0;)
    used += (size_t)n;
  w.text[used] = 0;
  for (char rest[4096]; read(ends[0], rest, sizeof rest) > 0;)
    ;
  close(ends[0]);
  while (waitpid(child, &w.status, 0) < 0)
    ;
  return w;
}

static inline size_t count_of(const char *text, const char *what) {
  size_t n = 0;
  for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
    n++;
  return n;
}

static inline int witness_done(void) {
  printf("%d passed, %d failed\n", witness_passed, witness_failed);
  return witness_failed != 0;
}

#endif

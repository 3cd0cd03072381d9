/* policy: who may do what, read from a file once and never changed again.
 *
 *   policy FILE USER ACTION    says "allowed" or "denied"; exit status 0 or 1
 *   policy FILE --attack       lets a child process overwrite the first rule: it dies
 *
 * A line of the file is "USER ACTION", '*' stands for anybody or anything, '#' begins a comment.
 *
 *     pool "policy"   | struct policy | rules[0] rules[1] ... | "ada" | "read" | ...
 *                            |              ^      |               ^
 *                            +--------------+      +---------------+
 *
 * Rules, the strings they point to, and the struct that says how many there are lie in one pool:
 * what decides is writable in no part. The pointer to it is handed from function to function and
 * stored in no global variable, where a stray write could turn it to another policy.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pmalloc.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct rule {
  const char *user, *action;
};

struct policy {
  size_t rules;
  struct rule *rule;
};

static int is_comment(const char *line) {
  line += strspn(line, " \t\n");
  return *line == 0 || *line == '#';
}

/* Reads the rules into the pool. NULL with errno: the file or the pool said no. */
static struct policy *read_policy(struct pmalloc_pool *pool, FILE *file) {
  char line[256], user[100], action[100], more[2];
  struct policy *policy = pzalloc(pool, sizeof *policy);
  size_t lines = 0;
  while (fgets(line, sizeof line, file))
    lines += !is_comment(line);
  rewind(file);
  if (policy)
    policy->rule = pcalloc(pool, lines, sizeof *policy->rule);
  if (!policy || !policy->rule)
    return NULL;
  while (policy->rules < lines && fgets(line, sizeof line, file)) {
    if (is_comment(line))
      continue;
    if (sscanf(line, "%99s %99s %1s", user, action, more) != 2) {
      errno = EINVAL;
      return NULL;
    }
    struct rule *rule = &policy->rule[policy->rules++];
    if (!(rule->user = pstrdup(pool, user)) || !(rule->action = pstrdup(pool, action)))
      return NULL;
  }
  return policy;
}

/* The policy, in protected memory; NULL after a message. */
static const struct policy *load(const char *path) {
  struct pmalloc_pool *pool = pmalloc_create_pool("policy", NULL);
  FILE *file = pool ? fopen(path, "r") : NULL;
  struct policy *policy = file ? read_policy(pool, file) : NULL;
  if (!policy)
    fprintf(stderr, "policy: %s: %s\n", path, strerror(errno));
  if (file)
    fclose(file);
  if (policy) {
    enum pmalloc_status status = pmalloc_protect_pool(pool);
    if (status == PMALLOC_OK)
      return policy;
    fprintf(stderr, "policy: cannot protect the rules: %s\n", pmalloc_strerror(status));
  }
  if (pool)
    pmalloc_destroy_pool(pool);
  return NULL;
}

static int allowed(const struct policy *policy, const char *user, const char *action) {
  for (size_t i = 0; i < policy->rules; i++) {
    const struct rule *rule = &policy->rule[i];
    if ((strcmp(rule->user, "*") == 0 || strcmp(rule->user, user) == 0) &&
        (strcmp(rule->action, "*") == 0 || strcmp(rule->action, action) == 0))
      return 1;
  }
  return 0;
}

/* What a stray or malicious store comes to. */
static int attack(const struct policy *policy) {
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    policy->rule[0].user = "*"; /* anybody: the store faults, and is reported */
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) {
    perror("policy: fork");
    return 2;
  }
  if (!WIFSIGNALED(status)) {
    puts("the child overwrote a rule");
    return 1;
  }
  printf("the child was killed: %s\n", strsignal(WTERMSIG(status)));
  printf("rule 0 is for: %s\n", policy->rule[0].user);
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 4 && !(argc == 3 && strcmp(argv[2], "--attack") == 0)) {
    fputs("usage: policy FILE USER ACTION\n       policy FILE --attack\n", stderr);
    return 2;
  }
  const struct policy *policy = load(argv[1]);
  if (!policy)
    return 2;
  if (argc == 3)
    return policy->rules > 0 ? attack(policy) : 2;
  int yes = allowed(policy, argv[2], argv[3]);
  puts(yes ? "allowed" : "denied");
  return !yes;
}

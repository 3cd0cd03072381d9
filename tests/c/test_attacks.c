/* The attack table of docs/threat-model.md, every attempt of it made here, in C.
 *
 *   this process --fork--> child: makes a pool of the tier, attacks it, reads it back
 *                <--pipe-- struct told, or nothing: it was killed
 *
 * Before that, the same attack is made on ordinary memory, which nothing protects. One that does
 * not work there is `not here`, and proves nothing. The tables are printed, and the exit status is
 * 1 where a cell is not what the threat model says although the machine has what it takes.
 *
 * `pmalloc doctor --attack` does the same in Python; tests/unit/test_attacks_in_c.py compares the
 * two. This one runs where there is no Python: on the kernels of tools/kernels.sh.
 *
 * SPDX-License-Identifier: MIT
 */
#include "check.h"

#include <pmalloc_rare_write.h>
#include <sys/utsname.h>

#include "attacks.h"

/* ---- the words of the table ---- */

#define STOPS "stops"
#define NO "no"
#define DENIAL "no (denial, no change)"
#define NO_EFFECT "no effect"
#define MIXED "no effect, or stops"
#define YES "yes"
#define NO_FILE "no file"
#define BY_MEM "by /proc/self/mem only"
#define NEVER "never again"
#define NOT_HERE "not here"

enum { TIERS = 3 };
static const char *const heads[TIERS] = {"`protect()`", "`protect(seal=True)`",
                                         "`protect(immutable=True)`"};

static const struct row {
  const char *key, *title, *expected[TIERS];
} rows[] = {
    {"store", "any store by code in the process", {STOPS, STOPS, STOPS}},
    {"mprotect", "`mprotect`, `pkey_mprotect` back", {NO, STOPS, STOPS}},
    {"replace",
     "`munmap`, `mremap`, `MAP_FIXED` over it, `shmat`, `remap_file_pages`",
     {NO, STOPS, STOPS}},
    {"discard",
     "`MADV_DONTNEED`, `MADV_FREE`, `MADV_REMOVE`, `MADV_WIPEONFORK`",
     {NO, STOPS, MIXED}},
    {"dontfork", "`MADV_DONTFORK`", {DENIAL, STOPS, DENIAL}},
    {"guard", "`MADV_GUARD_INSTALL`", {DENIAL, STOPS, DENIAL}},
    {"uffd", "`UFFDIO_COPY`", {STOPS, STOPS, STOPS}},
    {"proc-mem", "`/proc/self/mem`, ptrace", {NO, NO, STOPS}},
    {"vm-writev", "`process_vm_writev`", {STOPS, STOPS, STOPS}},
    {"pinned", "pages pinned for writing beforehand (io_uring)", {NO, NO, STOPS}},
    {"file",
     "the file behind it: `pwrite`, `ftruncate`, punching a hole, a writable mapping",
     {NO_FILE, NO_FILE, STOPS}},
    {"rare-write", "rare write possible", {YES, BY_MEM, NEVER}},
    {"shared", "shared with unrelated processes", {NO, NO, YES}},
    {"destroy", "can be destroyed", {YES, NO, NO}},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* ---- targets ---- */

static void make_plain(struct target *t, int shared) {
  *t = (struct target){.plain = 1, .file = -1};
  if (shared) {
    t->file = memfd_create("plain", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (ftruncate(t->file, (off_t)(2 * page())) != 0)
      abort();
  }
  t->address = mmap(NULL, page(), PROT_READ | PROT_WRITE,
                    shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, t->file, 0);
  memcpy(t->address, GENUINE, WORD);
}

static enum pmalloc_status make_of_mode(struct target *t, enum pmalloc_tier tier,
                                        enum pmalloc_mode mode) {
  const struct pmalloc_options options = {.chunk_size = page(),
                                          .backing = tier == PMALLOC_IMMUTABLE ? PMALLOC_MEMFD
                                                                               : PMALLOC_PRIVATE,
                                          .mode = mode};
  *t = (struct target){.file = -1};
  enum pmalloc_status status = pmalloc_pool_create_with(&t->pool, "attacked", &options);
  if (status == PMALLOC_OK)
    status = pmalloc_pool_alloc(t->pool, page(), 0, (void **)&t->address);
  if (status == PMALLOC_OK)
    memcpy(t->address, GENUINE, WORD);
  return status;
}

static enum pmalloc_status make_protected(struct target *t, enum pmalloc_tier tier) {
  return make_of_mode(t, tier, PMALLOC_MODE_RO);
}

static enum pmalloc_status protect(struct target *t, enum pmalloc_tier tier) {
  enum pmalloc_status status = pmalloc_pool_protect_as(t->pool, tier);
  if (status == PMALLOC_OK && tier == PMALLOC_IMMUTABLE)
    t->file = file_behind(t->address);
  return status;
}

/* ---- one attack in one child ---- */

struct told {
  enum { NOTHING, TRIED, MISSING, REFUSED, FAILED } how; /* NOTHING: the attempt told nothing */
  int error;                                             /* errno, 0: none */
  int signal;                                            /* that killed the attempt, 0: none */
  struct sight seen;
  char detail[200];
};

struct attempt {
  const struct attack *attack;
  int plain, shared; /* on ordinary memory; else on a pool */
  enum pmalloc_tier tier;
};

static void attempt(const void *arg, struct told *told) {
  const struct attempt *a = arg;
  struct target t;
  struct ring ring;
  enum pmalloc_status status = PMALLOC_OK;
  if (a->plain)
    make_plain(&t, a->shared);
  else
    status = make_protected(&t, a->tier);
  if (status == PMALLOC_OK && a->attack->needs == NEEDS_PIN) {
    if (ring_pin(&ring, t.address, page()) != 0) {
      told->how = MISSING;
      told->error = errno;
      return;
    }
    t.pin = &ring;
  }
  if (status == PMALLOC_OK && !a->plain)
    status = protect(&t, a->tier);
  if (status != PMALLOC_OK) {
    told->how = t.pin ? REFUSED : FAILED;
    snprintf(told->detail, sizeof told->detail, "protect refuses: %s", pmalloc_status_text(status));
    see(t.address, &told->seen);
    return;
  }
  errno = 0;
  told->error = a->attack->run(&t, &told->seen) == 0 ? 0 : errno;
  told->how = told->error && a->plain ? MISSING : TRIED;
  if (!told->seen.told)
    see(t.address, &told->seen);
}

/* Runs work() in a child that may die. Nothing it prints is seen, and it has half a minute, more on
 * an emulated CPU. */
static struct told in_arena(void (*work)(const void *, struct told *), const void *arg) {
  struct told told = {.how = NOTHING};
  int ends[2], status;
  fflush(NULL);
  if (pipe(ends) != 0)
    abort();
  pid_t child = fork();
  if (child == 0) {
    const struct rlimit none = {0, 0};
    int null = open("/dev/null", O_RDWR);
    dup2(null, 1);
    dup2(null, 2);
    setrlimit(RLIMIT_CORE, &none);
    alarm(EMULATED ? 300 : 30);
    work(arg, &told);
    _exit(write(ends[1], &told, sizeof told) != sizeof told);
  }
  close(ends[1]);
  if (read(ends[0], &told, sizeof told) != sizeof told)
    told = (struct told){.how = NOTHING};
  close(ends[0]);
  if (waitpid(child, &status, 0) == child && WIFSIGNALED(status))
    told.signal = WTERMSIG(status);
  return told;
}

/* ---- the judge ---- */

struct came {
  const char *name, *verdict;
  char detail[200];
};

static struct came judge(const char *name, const struct told *told) {
  struct came c = {.name = name, .verdict = NOT_HERE};
  int killed = told->signal ? told->signal : told->seen.killed;
  int intact = told->seen.readable && memcmp(told->seen.bytes, GENUINE, WORD) == 0;
  if (killed) {
    c.verdict = killed == SIGSEGV ? STOPS : NOT_HERE;
    snprintf(c.detail, sizeof c.detail, killed == SIGSEGV ? "SIGSEGV" : "died of signal %d",
             killed);
  } else if (told->how == NOTHING) {
    snprintf(c.detail, sizeof c.detail, "the attempt told nothing");
  } else if (told->how == MISSING) {
    snprintf(c.detail, sizeof c.detail, "%s", error_name(told->error));
  } else if (told->how == FAILED || told->how == REFUSED) {
    if (told->how == REFUSED)
      c.verdict = intact ? STOPS : NO;
    memcpy(c.detail, told->detail, sizeof c.detail);
  } else if (!told->seen.readable) {
    c.verdict = DENIAL;
    snprintf(c.detail, sizeof c.detail, "can't be read any more");
  } else if (!intact || told->seen.may_go) {
    c.verdict = NO;
    snprintf(c.detail, sizeof c.detail, intact ? "may go at any time" : "changed");
  } else if (told->error) {
    c.verdict = STOPS;
    snprintf(c.detail, sizeof c.detail, "%s", error_name(told->error));
  } else {
    c.verdict = NO_EFFECT;
    snprintf(c.detail, sizeof c.detail, "accepted");
  }
  return c;
}

/* ---- what is asked, not attacked ---- */

static void ask_destroy(const void *arg, struct told *told) {
  const enum pmalloc_tier tier = *(const enum pmalloc_tier *)arg;
  struct target t;
  if (make_protected(&t, tier) != PMALLOC_OK || protect(&t, tier) != PMALLOC_OK)
    return;
  told->how = TRIED;
  told->error = (int)pmalloc_pool_destroy(t.pool);
  snprintf(told->detail, sizeof told->detail, "%s", pmalloc_status_text(told->error));
}

/* A process that has nothing of this one but the descriptor: this program, started anew. */
static int finds_genuine(int fd) {
  struct stat s;
  if (fstat(fd, &s) != 0)
    return 0;
  char *at = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_SHARED, fd, 0);
  return at != MAP_FAILED && memmem(at, (size_t)s.st_size, GENUINE, WORD) != NULL;
}

static void ask_shared(const void *arg, struct told *told) {
  const enum pmalloc_tier tier = *(const enum pmalloc_tier *)arg;
  struct target t;
  int fd, status = -1;
  char number[16];
  if (make_protected(&t, tier) != PMALLOC_OK || protect(&t, tier) != PMALLOC_OK)
    return;
  told->how = TRIED;
  told->error = (int)pmalloc_pool_fileno(t.pool, &fd);
  snprintf(told->detail, sizeof told->detail, "%s", pmalloc_status_text(told->error));
  if (told->error != PMALLOC_OK)
    return;
  snprintf(number, sizeof number, "%d", fd);
  pid_t child = fork();
  if (child == 0) {
    (void)fcntl(fd, F_SETFD, 0);
    (void)execl("/proc/self/exe", "test_attacks", "--find", number, (char *)NULL);
    _exit(127);
  }
  told->error = waitpid(child, &status, 0) == child && status == 0 ? PMALLOC_OK : -1;
  snprintf(told->detail, sizeof told->detail, "by file descriptor");
}

/* Whether a rare write is let through, and lands. */
static int is_rare(struct target *t) {
  static char text[2][WORD] = {FORGED, "malice"};
  static int turn;
  turn = !turn;
  enum pmalloc_status status = pmalloc_wr_copy(t->address, text[turn], WORD);
  if ((status == PMALLOC_OK) != (memcmp(t->address, text[turn], WORD) == 0))
    abort(); /* it lies */
  return status == PMALLOC_OK;
}

static void is_never(enum pmalloc_tier tier, struct told *told) {
  struct target wr, ro;
  if (make_of_mode(&wr, tier, PMALLOC_MODE_WR) != PMALLOC_OK ||
      make_protected(&ro, tier) != PMALLOC_OK || protect(&ro, tier) != PMALLOC_OK)
    return;
  int possible = protect(&wr, tier) != PMALLOC_ERR_INVALID || is_rare(&ro);
  told->how = TRIED;
  snprintf(told->detail, sizeof told->detail, "%s", possible ? YES : NEVER);
}

/* Of a pool that is write-rare: now, and once /proc/self/mem can't be had any more. */
static void ask_rare_write(const void *arg, struct told *told) {
  const enum pmalloc_tier tier = *(const enum pmalloc_tier *)arg;
  struct target t;
  if (tier == PMALLOC_IMMUTABLE) {
    is_never(tier, told);
    return;
  }
  if (make_of_mode(&t, tier, PMALLOC_MODE_WR) != PMALLOC_OK || protect(&t, tier) != PMALLOC_OK)
    return;
  told->how = TRIED;
  if (proc_mem_error() != 0 && tier != PMALLOC_PLAIN) {
    told->how = MISSING;
    snprintf(told->detail, sizeof told->detail, "/proc/self/mem: %s", error_name(proc_mem_error()));
    return;
  }
  const int now = is_rare(&t);
  shut_proc_mem();
  const int then = is_rare(&t);
  snprintf(told->detail, sizeof told->detail, "%s", now && then ? YES : now ? BY_MEM : NO);
}

static void ask_make_ro(const void *arg, struct told *told) {
  const enum pmalloc_tier tier = *(const enum pmalloc_tier *)arg;
  struct target t;
  if (make_of_mode(&t, tier, PMALLOC_MODE_WR) != PMALLOC_OK || protect(&t, tier) != PMALLOC_OK)
    return;
  if (proc_mem_error() != 0 && tier != PMALLOC_PLAIN) {
    told->how = MISSING;
    snprintf(told->detail, sizeof told->detail, "/proc/self/mem: %s", error_name(proc_mem_error()));
    return;
  }
  int possible = pmalloc_pool_make_ro(t.pool) != PMALLOC_OK || is_rare(&t);
  told->how = TRIED;
  snprintf(told->detail, sizeof told->detail, "%s", possible ? YES : NEVER);
}

/* What is asked for the row of rare writes answers with a word of the table. */
static struct came asked_rare(const char *name, void (*ask)(const void *, struct told *),
                              enum pmalloc_tier tier) {
  static const char *const words[] = {YES, NO, NEVER, BY_MEM};
  const struct told told = in_arena(ask, &tier);
  struct came c = {.name = name, .verdict = NOT_HERE};
  if (told.how != TRIED)
    snprintf(c.detail, sizeof c.detail, "%s",
             told.how == MISSING ? told.detail : "the attempt was killed");
  for (size_t i = 0; told.how == TRIED && i < sizeof words / sizeof *words; i++) {
    if (strcmp(told.detail, words[i]) == 0)
      c.verdict = words[i];
  }
  return c;
}

static struct came asked(const char *name, void (*ask)(const void *, struct told *),
                         enum pmalloc_tier tier) {
  const struct told told = in_arena(ask, &tier);
  struct came c = {.name = name, .verdict = NOT_HERE};
  if (told.how == TRIED)
    c.verdict = told.error == PMALLOC_OK ? YES : NO;
  memcpy(c.detail, told.how == TRIED ? told.detail : "the attempt was killed",
         told.how == TRIED ? sizeof c.detail : sizeof "the attempt was killed");
  return c;
}

/* ---- the table ---- */

enum { MOST = 8 };

struct cell {
  char verdict[300];
  int here, n;
  struct came came[MOST];
};
static struct cell cells[ROWS][TIERS];

/* The worst of what came, NULL where nothing of it is here. */
static const char *worst(const struct cell *c) {
  const char *one = NULL;
  int stops = 0, no_effect = 0, denial = 0;
  for (int i = 0; i < c->n; i++) {
    const char *verdict = c->came[i].verdict;
    if (strcmp(verdict, NO) == 0)
      return NO;
    denial |= strcmp(verdict, DENIAL) == 0;
    stops |= strcmp(verdict, STOPS) == 0;
    no_effect |= strcmp(verdict, NO_EFFECT) == 0;
    if (strcmp(verdict, NOT_HERE) != 0)
      one = verdict;
  }
  return denial ? DENIAL : stops && no_effect ? MIXED : one;
}

static void fill(struct cell *c, const struct row *row, enum pmalloc_tier tier) {
  const int shared = tier == PMALLOC_IMMUTABLE;
  for (const struct attack *a = attacks; a->name; a++) {
    if (strcmp(a->row, row->key) != 0 || (a->needs == NEEDS_FILE && !shared))
      continue;
    const struct attempt control = {a, 1, shared, tier}, real = {a, 0, 0, tier};
    struct told told = in_arena(attempt, &control);
    struct came came = judge(a->name, &told);
    if (strcmp(came.verdict, NOT_HERE) != 0) {
      told = in_arena(attempt, &real);
      came = judge(a->name, &told);
    }
    c->came[c->n++] = came;
  }
  if (strcmp(row->key, "rare-write") == 0) {
    c->came[c->n++] = asked_rare("rare_write", ask_rare_write, tier);
    if (!shared)
      c->came[c->n++] = asked_rare("rare_write after make_ro()", ask_make_ro, tier);
  } else if (strcmp(row->key, "destroy") == 0)
    c->came[c->n++] = asked("destroy()", ask_destroy, tier);
  else if (strcmp(row->key, "shared") == 0)
    c->came[c->n++] = asked("file descriptor", ask_shared, tier);
  if (c->n == 0)
    c->came[c->n++] = (struct came){.name = "any", .verdict = NO_FILE};
  /* After make_ro() it is never, or the cell is wrong. */
  const int wrong_after = c->n == 2 && strcmp(c->came[1].verdict, YES) == 0;
  const char *verdict = strcmp(row->key, "rare-write") != 0         ? worst(c)
                        : strcmp(c->came[0].verdict, NOT_HERE) == 0 ? NULL
                        : wrong_after                               ? "yes, after make_ro() too"
                                                                    : c->came[0].verdict;
  const struct came first = c->came[0]; /* a copy: the compiler can't see that they don't overlap */
  c->here = verdict != NULL;
  if (verdict)
    snprintf(c->verdict, sizeof c->verdict, "%s", verdict);
  else
    snprintf(c->verdict, sizeof c->verdict, NOT_HERE ": %s: %s", first.name, first.detail);
}

static void make_one(const void *arg, struct told *told) {
  const enum pmalloc_tier tier = *(const enum pmalloc_tier *)arg;
  struct target t;
  enum pmalloc_status status = make_protected(&t, tier);
  if (status == PMALLOC_OK)
    status = protect(&t, tier);
  told->how = status == PMALLOC_OK ? TRIED : FAILED;
  snprintf(told->detail, sizeof told->detail, "%s", pmalloc_status_text(status));
}

static void seal_one(const void *arg, struct told *told) {
  (void)arg;
  void *at = mmap(NULL, page(), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  told->how = TRIED;
  told->error = syscall(SYS_MSEAL, at, page(), 0UL) == 0 ? 0 : errno;
}

/* Why this machine cannot make a pool of the tier; NULL where it can. */
static const char *unavailable(enum pmalloc_tier tier) {
  static char why[250];
  const struct told made = in_arena(make_one, &tier);
  if (made.how == TRIED && !made.signal)
    return NULL;
  snprintf(why, sizeof why, "%s", made.how == FAILED ? made.detail : "the attempt was killed");
  const struct told seal = in_arena(seal_one, NULL);
  if (tier != PMALLOC_PLAIN && seal.how == TRIED && seal.error == ENOSYS)
    return "no mseal in this kernel";
  if (tier != PMALLOC_PLAIN && seal.how == TRIED && seal.error)
    snprintf(why, sizeof why, "mseal is refused: %s", error_name(seal.error));
  return why;
}

static void print_rows(void) {
  printf("| attack | %s | %s | %s |\n|---|---|---|---|\n", heads[0], heads[1], heads[2]);
  for (int r = 0; r < ROWS; r++) {
    printf("| %s |", rows[r].title);
    for (int tier = 0; tier < TIERS; tier++) {
      const struct cell *c = &cells[r][tier];
      int surprising = c->here && strcmp(c->verdict, rows[r].expected[tier]) != 0;
      if (surprising)
        printf(" %s !! expected: %s |", c->verdict, rows[r].expected[tier]);
      else
        printf(" %s |", c->verdict);
      CHECK(!surprising);
    }
    printf("\n");
  }
}

static void print_attempts(void) {
  printf("| attempt | tier | came |\n|---|---|---|\n");
  for (int r = 0; r < ROWS; r++) {
    for (int tier = 0; tier < TIERS; tier++) {
      for (int i = 0; i < cells[r][tier].n; i++) {
        const struct came *came = &cells[r][tier].came[i];
        printf("| %s | %s | %s%s%s%s |\n", came->name, heads[tier], came->verdict,
               *came->detail ? " (" : "", came->detail, *came->detail ? ")" : "");
      }
    }
  }
}

int main(int argc, char **argv) {
  struct utsname name;
  if (argc == 3 && strcmp(argv[1], "--find") == 0)
    return !finds_genuine(atoi(argv[2]));
  signal(SIGSEGV, SIG_DFL); /* sanitizers have a handler of their own there */
  signal(SIGBUS, SIG_DFL);
  for (int tier = 0; tier < TIERS; tier++) {
    const char *missing = unavailable((enum pmalloc_tier)tier);
    CHECK(tier != PMALLOC_PLAIN || !missing);
    for (int r = 0; r < ROWS; r++) {
      if (missing)
        snprintf(cells[r][tier].verdict, sizeof cells[r][tier].verdict, "%s", missing);
      else
        fill(&cells[r][tier], &rows[r], (enum pmalloc_tier)tier);
    }
  }
  uname(&name);
  printf("%s %s, %s: what is stopped, tried just now\n", name.sysname, name.release, name.machine);
  print_rows();
  printf("\n");
  print_attempts();
  return finish("attacks");
}

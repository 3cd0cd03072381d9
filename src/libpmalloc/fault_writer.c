/* fault_writer: text from inside the handler, for people or as JSON.
 *
 *   pmalloc_write_text("a")  \                         +-> stderr
 *   pmalloc_write_escaped(x)  >--> put() --> text[512] |
 *   pmalloc_write_hex(n)     /      |                  +-> the JSON file
 *                                   +-- quoting? then as JSON wants it
 *
 * Whoever writes need not know which of the two it is: the layer above describes
 * an object with the same calls for both.
 *
 * Names are data. In the text they must not be able to move the cursor or forge a
 * line; in a JSON string nothing may end the string or be anything but UTF-8, or
 * no program would read the file. A byte that is no part of a UTF-8 character is
 * \xNN in both: JSON has no way to say it.
 *
 * A writer lies on the stack, small enough for an alternate signal stack: a
 * static one would need a lock that a second faulting thread can't wait for.
 *
 * ASYNC-SIGNAL-SAFE: raw system calls (the libc wrappers are cancellation
 * points) and pages_peek().
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_writer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pages.h"

static const char hex_digits[] = "0123456789abcdef";

void pmalloc_writer_start_fd(struct pmalloc_writer *w, int fd) {
  w->fd = fd;
  w->failed = 0;
  w->quoting = 0;
  w->partial_used = 0;
  w->copy = NULL;
  w->used = 0;
}

void pmalloc_writer_start(struct pmalloc_writer *w) { pmalloc_writer_start_fd(w, STDERR_FILENO); }

void pmalloc_writer_keep(struct pmalloc_writer *w, char *copy, size_t room) {
  w->copy = copy;
  w->copy_used = 0;
  w->copy_room = room;
  *copy = 0;
}

static void keep_copy(struct pmalloc_writer *w) {
  size_t left = w->copy_room - 1 - w->copy_used;
  size_t n = w->used < left ? w->used : left;
  memcpy(w->copy + w->copy_used, w->text, n);
  w->copy_used += n;
  w->copy[w->copy_used] = 0;
}

/* The signals with which the kernel underlines an error of write(): nobody reads the pipe, the file
 * is as large as it may be. They are blocked in the handler, and would end a program that is to go
 * on, as soon as it does. */
static uint64_t underlines(void) {
  uint64_t pending = 0;
  (void)syscall(SYS_rt_sigpending, &pending, sizeof pending);
  return pending & (UINT64_C(1) << (SIGPIPE - 1) | UINT64_C(1) << (SIGXFSZ - 1));
}

/* Takes back what was not pending before. */
static void take_back(uint64_t before) {
  const struct timespec at_once = {0, 0};
  uint64_t ours = underlines() & ~before;
  if (ours)
    (void)syscall(SYS_rt_sigtimedwait, &ours, NULL, &at_once, sizeof ours);
}

/* Others may have made stderr non-blocking, for it is their terminal, too. For a second at most. */
static int waits_for_room(int fd) {
  struct pollfd wanted = {.fd = fd, .events = POLLOUT};
  struct timespec second = {1, 0}; /* the kernel writes into it what is left */
  return syscall(SYS_ppoll, &wanted, 1L, &second, NULL, sizeof(uint64_t)) == 1;
}

/* 0, or an error that is one. */
static int failure(const struct pmalloc_writer *w, int error, uint64_t before) {
  if (error == EPIPE || error == EFBIG)
    take_back(before);
  return error == EINTR || (error == EAGAIN && waits_for_room(w->fd)) ? 0 : error;
}

void pmalloc_writer_flush(struct pmalloc_writer *w) {
  size_t done = 0;
  uint64_t before = w->used && !w->failed ? underlines() : 0;
  if (w->copy)
    keep_copy(w);
  while (done < w->used && !w->failed) {
    long n = syscall(SYS_write, w->fd, w->text + done, w->used - done);
    if (n > 0)
      done += (size_t)n;
    else
      w->failed = n == 0 ? EIO : failure(w, errno, before);
  }
  w->used = 0;
}

static void put(struct pmalloc_writer *w, char c) {
  if (w->used == sizeof w->text)
    pmalloc_writer_flush(w);
  w->text[w->used++] = c;
}

static void put_all(struct pmalloc_writer *w, const char *text) {
  while (*text)
    put(w, *text++);
}

static void put_byte(struct pmalloc_writer *w, const char *before, unsigned char c) {
  put_all(w, before);
  put(w, hex_digits[c >> 4]);
  put(w, hex_digits[c & 15]);
}

/* Bytes of the UTF-8 character that `s` begins with, 0: none begins here. */
static size_t utf8_character(const unsigned char *s) {
  size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
  if (s[0] > 0xf4)
    return 0;
  for (size_t i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80) /* a NUL, too */
      return 0;
  /* Longer than need be, half of a surrogate pair, beyond the last character. */
  if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
      (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
    return 0;
  return n;
}

size_t pmalloc_unseen(const char *text) {
  const unsigned char *s = (const unsigned char *)text;
  if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0)
    return 2; /* U+0080 to U+009F: terminals obey these controls too */
  if (s[0] == 0xd8 && s[1] == 0x9c)
    return 2; /* U+061C, and below the others that put what is around them in another order */
  if (s[0] == 0xe2 && s[1] == 0x80 &&
      (s[2] == 0x8e || s[2] == 0x8f || (s[2] >= 0xaa && s[2] <= 0xae)))
    return 3;
  return s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9 ? 3 : 0;
}

/* One character, or one byte where there is none; answers how many bytes it took. */
static size_t put_character(struct pmalloc_writer *w, const unsigned char *s) {
  size_t n = utf8_character(s);
  if (n == 0) {
    put_byte(w, w->quoting ? "\\\\x" : "\\x", s[0]);
    return 1;
  }
  if (n == 1 && (s[0] < 32 || s[0] == 127)) {
    put_byte(w, w->quoting ? "\\u00" : "\\x", s[0]);
    return 1;
  }
  if (!w->quoting && pmalloc_unseen((const char *)s)) {
    for (size_t i = 0; i < n; i++)
      put_byte(w, "\\x", s[i]);
    return n;
  }
  if (w->quoting && (s[0] == '"' || s[0] == '\\'))
    put(w, '\\');
  for (size_t i = 0; i < n; i++)
    put(w, (char)s[i]);
  return n;
}

/* Whether the text ends in the middle of what may be a character. */
static int is_cut_off(const unsigned char *s) {
  size_t wanted = s[0] < 0xc2 || s[0] > 0xf4 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
  size_t n = 1;
  if (wanted == 0)
    return 0;
  while (n < wanted && (s[n] & 0xc0) == 0x80)
    n++;
  return n < wanted && s[n] == 0;
}

/* Texts that belong together may be cut anywhere, by somebody's buffer that was full. */
static const unsigned char *take_partial(struct pmalloc_writer *w, const unsigned char *s) {
  unsigned char whole[5];
  size_t before = w->partial_used, n = before;
  memcpy(whole, w->partial, n);
  while (n < 4 && (*s & 0xc0) == 0x80)
    whole[n++] = *s++;
  whole[n] = 0;
  if (is_cut_off(whole) && *s == 0) {
    memcpy(w->partial, whole, n);
    w->partial_used = n;
    return s;
  }
  w->partial_used = 0;
  for (const unsigned char *c = whole; *c;)
    c += put_character(w, c);
  return s;
}

void pmalloc_write_escaped(struct pmalloc_writer *w, const char *text) {
  const unsigned char *s = (const unsigned char *)text;
  if (w->partial_used && *s)
    s = take_partial(w, s);
  while (*s) {
    if (w->quoting && is_cut_off(s)) {
      w->partial_used = strlen((const char *)s);
      memcpy(w->partial, s, w->partial_used);
      return;
    }
    s += put_character(w, s);
  }
}

void pmalloc_write_text(struct pmalloc_writer *w, const char *text) {
  if (w->quoting)
    pmalloc_write_escaped(w, text);
  else
    put_all(w, text);
}

void pmalloc_write_quote(struct pmalloc_writer *w) {
  put(w, '"');
  w->quoting = 1;
}

void pmalloc_write_unquote(struct pmalloc_writer *w) {
  for (size_t i = 0; i < w->partial_used; i++)
    put_byte(w, "\\\\x", w->partial[i]);
  w->partial_used = 0;
  w->quoting = 0;
  put(w, '"');
}

void pmalloc_write_peeked(struct pmalloc_writer *w, uintptr_t text, size_t n) {
  char block[32 + 1];
  while (n > 0) {
    /* Up to the next boundary, so that no block spans a page that is not there. */
    size_t part = 32 - (text & 31);
    part = part < n ? part : n;
    if (pages_peek(block, (const void *)text, part) != 0)
      return;
    block[part] = 0;
    pmalloc_write_escaped(w, block);
    if (memchr(block, 0, part) != NULL)
      return;
    text += part;
    n -= part;
  }
}

static void put_digits(struct pmalloc_writer *w, uintmax_t n, unsigned radix, size_t width) {
  char digits[24]; /* 2^64 has 20 decimal digits */
  size_t used = 0;
  do {
    digits[used++] = hex_digits[n % radix];
    n /= radix;
  } while (n || used < width);
  while (used)
    put(w, digits[--used]);
}

void pmalloc_write_hex(struct pmalloc_writer *w, uintptr_t n) {
  pmalloc_write_text(w, "0x");
  put_digits(w, n, 16, 1);
}

void pmalloc_write_dec(struct pmalloc_writer *w, uintmax_t n) { put_digits(w, n, 10, 1); }

void pmalloc_write_bytes(struct pmalloc_writer *w, const unsigned char *bytes, size_t n,
                         const char *between) {
  for (size_t i = 0; i < n; i++)
    put_byte(w, i && between ? between : "", bytes[i]);
}

/* Days since 1970-01-01 to a date of the Gregorian calendar; Howard Hinnant's algorithm: years that
 * begin in March put the leap day last. */
static void date_of(int64_t days, unsigned *year, unsigned *month, unsigned *day) {
  uint64_t z = (uint64_t)(days + 719468), era = z / 146097, of_era = z % 146097;
  uint64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  uint64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
  *day = (unsigned)(of_year - (153 * m + 2) / 5 + 1);
  *month = (unsigned)(m < 10 ? m + 3 : m - 9);
  *year = (unsigned)(y + era * 400 + (*month <= 2));
}

void pmalloc_write_time(struct pmalloc_writer *w, int64_t ns, int for_people) {
  unsigned year, month, day;
  uint64_t us = ns > 0 ? (uint64_t)ns / 1000 : 0, second = us / 1000000 % 86400;
  date_of((int64_t)(us / 1000000 / 86400), &year, &month, &day);
  put_digits(w, year, 10, 4);
  put(w, '-');
  put_digits(w, month, 10, 2);
  put(w, '-');
  put_digits(w, day, 10, 2);
  put(w, for_people ? ' ' : 'T');
  put_digits(w, second / 3600, 10, 2);
  put(w, ':');
  put_digits(w, second / 60 % 60, 10, 2);
  put(w, ':');
  put_digits(w, second % 60, 10, 2);
  if (for_people) {
    put_all(w, " UTC");
  } else {
    put(w, '.');
    put_digits(w, us % 1000000, 10, 6);
    put(w, 'Z');
  }
}

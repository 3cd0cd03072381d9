/* The parts of a report that need no violation: text and JSON strings cut anywhere, dates, and
 * what is remembered of pools. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdint.h>
#include <unistd.h>

#include "fault_origin.h"
#include "fault_writer.h"
#include "witness.h"

static char said[4096];

/* What a writer hands to its descriptor. */
static const char *collect(void (*work)(struct pmalloc_writer *w)) {
  struct pmalloc_writer w;
  int ends[2];
  if (pipe(ends) != 0)
    abort();
  pmalloc_writer_start_fd(&w, ends[1]);
  work(&w);
  pmalloc_writer_flush(&w);
  close(ends[1]);
  ssize_t n = read(ends[0], said, sizeof said - 1);
  said[n > 0 ? n : 0] = 0;
  close(ends[0]);
  return said;
}
#define EXPECT_TEXT(work, wanted) expect_(strcmp(collect(work), wanted) == 0, #work, said, __LINE__)

static const char *text;
static void escaped(struct pmalloc_writer *w) { pmalloc_write_escaped(w, text); }
static void quoted(struct pmalloc_writer *w) {
  pmalloc_write_quote(w);
  pmalloc_write_escaped(w, text);
  pmalloc_write_unquote(w);
}
/* A byte at a time, as a buffer that is full may cut it. */
static void quoted_in_pieces(struct pmalloc_writer *w) {
  pmalloc_write_quote(w);
  for (const char *c = text; *c; c++) {
    const char piece[2] = {*c, 0};
    pmalloc_write_text(w, piece);
  }
  pmalloc_write_unquote(w);
}

static const struct {
  const char *text, *for_people, *json;
} names[] = {
    {"plain", "plain", "\"plain\""},
    {"", "", "\"\""},
    {"a\"b\\c", "a\"b\\c", "\"a\\\"b\\\\c\""},
    {"a\nb\x1b[31m\x7f", "a\\x0ab\\x1b[31m\\x7f", "\"a\\u000ab\\u001b[31m\\u007f\""},
    {"d\xc3\xa9j\xc3\xa0", "d\xc3\xa9j\xc3\xa0", "\"d\xc3\xa9j\xc3\xa0\""},
    {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""},
    {"cut \xe2\x82", "cut \\xe2\\x82", "\"cut \\\\xe2\\\\x82\""},
    {"cut \xf0\x9f\x98", "cut \\xf0\\x9f\\x98", "\"cut \\\\xf0\\\\x9f\\\\x98\""},
    {"\xe2\x82 on", "\\xe2\\x82 on", "\"\\\\xe2\\\\x82 on\""},
    {"\xff\xfe", "\\xff\\xfe", "\"\\\\xff\\\\xfe\""},
    {"\xc0\x80", "\\xc0\\x80", "\"\\\\xc0\\\\x80\""},                 /* longer than need be */
    {"\xed\xa0\x80", "\\xed\\xa0\\x80", "\"\\\\xed\\\\xa0\\\\x80\""}, /* half of a pair */
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\"\\\\xf4\\\\x90\\\\x80\\\\x80\""},
    {"a\u202eb\u2069\u061c", "a\\xe2\\x80\\xaeb\\xe2\\x81\\xa9\\xd8\\x9c",
     "\"a\u202eb\u2069\u061c\""}, /* what follows would be read from the right */
    {"\u202f\u2070", "\u202f\u2070", "\"\u202f\u2070\""}, /* their neighbours */
    {"\xc2\x9b", "\\xc2\\x9b", "\"\xc2\x9b\""},           /* a terminal takes it for an escape */
    {"\xc3\xc3\xa9", "\\xc3\xc3\xa9", "\"\\\\xc3\xc3\xa9\""},
};

static void test_names(void) {
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    text = names[i].text;
    EXPECT_TEXT(escaped, names[i].for_people);
    EXPECT_TEXT(quoted, names[i].json);
    EXPECT_TEXT(quoted_in_pieces, names[i].json);
  }
}

static char long_name[2000];
static void peeked(struct pmalloc_writer *w) {
  pmalloc_write_peeked(w, (uintptr_t)text, sizeof long_name);
}

static void test_peeked(void) {
  memset(long_name, 'x', sizeof long_name - 1);
  for (size_t at = 0; at < 70; at++) {
    text = long_name + at;
    EXPECT_TEXT(peeked, text);
  }
  text = (const char *)(uintptr_t)8; /* nothing there */
  EXPECT_TEXT(peeked, "");
}

static int64_t when;
static void dated(struct pmalloc_writer *w) { pmalloc_write_time(w, when, 0); }
static void dated_for_people(struct pmalloc_writer *w) { pmalloc_write_time(w, when, 1); }

static void test_dates(void) {
  when = 0;
  EXPECT_TEXT(dated, "1970-01-01T00:00:00.000000Z");
  when = INT64_C(951782399999999999); /* the last moment before a leap day */
  EXPECT_TEXT(dated, "2000-02-28T23:59:59.999999Z");
  when += 1000;
  EXPECT_TEXT(dated, "2000-02-29T00:00:00.000000Z");
  when = INT64_C(1795294233123456789);
  EXPECT_TEXT(dated, "2026-11-21T20:50:33.123456Z");
  EXPECT_TEXT(dated_for_people, "2026-11-21 20:50:33 UTC");
  when = INT64_C(4107542400000000000); /* no leap year */
  EXPECT_TEXT(dated, "2100-03-01T00:00:00.000000Z");
}

static void test_origins(void) {
  struct pmalloc_origin origin;
  char path[1000];
  EXPECT(!pmalloc_origin_find(1, PMALLOC_WAS_CREATED, &origin));
  pmalloc_origin_note(1, PMALLOC_WAS_CREATED, "a.py", 12, 34);
  EXPECT(pmalloc_origin_find(1, PMALLOC_WAS_CREATED, &origin) && origin.line == 12 &&
         origin.time_ns == 34 && strcmp(origin.file, "a.py") == 0);
  EXPECT(!pmalloc_origin_find(1, PMALLOC_WAS_PROTECTED, &origin));
  pmalloc_origin_note(1, PMALLOC_WAS_PROTECTED, "b.py", 56, 78);
  EXPECT(pmalloc_origin_find(1, PMALLOC_WAS_PROTECTED, &origin) && origin.line == 56);
  EXPECT(pmalloc_origin_find(1, PMALLOC_WAS_CREATED, &origin) && origin.line == 12);

  /* As many as there is room for; those alive are never pushed out. */
  for (uintptr_t id = 2; id < 10000; id++)
    pmalloc_origin_note(id, PMALLOC_WAS_CREATED, "many.py", 1, 1);
  EXPECT(pmalloc_origin_find(2048, PMALLOC_WAS_CREATED, &origin));
  EXPECT(!pmalloc_origin_find(9999, PMALLOC_WAS_CREATED, &origin));
  EXPECT(pmalloc_origin_find(1, PMALLOC_WAS_CREATED, &origin) && origin.line == 12);
  pmalloc_origin_expire(1);
  EXPECT(pmalloc_origin_find(1, PMALLOC_WAS_CREATED, &origin));
  pmalloc_origin_note(2048 * 5 + 1, PMALLOC_WAS_CREATED, "new.py", 2, 2);
  EXPECT(pmalloc_origin_find(2048 * 5 + 1, PMALLOC_WAS_CREATED, &origin) && origin.line == 2);
  EXPECT(!pmalloc_origin_find(1, PMALLOC_WAS_CREATED, &origin));

  /* The end of a path says more than its beginning; and never half a character. */
  memset(path, 0, sizeof path);
  for (size_t i = 0; i < 400; i++)
    strcat(path, "\xc3\xa9");
  for (size_t i = 0; i < 4; i++) {
    strcat(path, "x");
    pmalloc_origin_note(2, PMALLOC_WAS_CREATED, path, 1, 1);
    EXPECT(pmalloc_origin_find(2, PMALLOC_WAS_CREATED, &origin));
    EXPECT(strncmp(origin.file, "...\xc3\xa9", 5) == 0);
    EXPECT(strlen(origin.file) >= sizeof origin.file - 2);
    EXPECT(strcmp(origin.file + 3, path + strlen(path) - strlen(origin.file) + 3) == 0);
  }
}

int main(void) {
  test_names();
  test_peeked();
  test_dates();
  test_origins();
  return witness_done();
}

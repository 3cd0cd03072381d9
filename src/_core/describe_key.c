/* describe_key: keys and names, as repr() would write them.
 *
 * freeze_path.c spells the path of an UnfreezableError with repr(); this is the same for memory
 * that nobody may trust, and for a place where no Python code may run. What would take more than a
 * line of text is "<key 3>", the fourth key of its dict: so are long keys in both, and here complex
 * numbers and floats with more than 15 digits too.
 *
 * ASYNC-SIGNAL-SAFE: pages_peek(), and _PyUnicode_IsPrintable(), which looks into a table.
 *
 * SPDX-License-Identifier: MIT
 */
#include "describe.h"

/* A repr() longer than this is not shown; the same number as in freeze_path.c. */
#define REPR_MAX 80

static const char hex_digit[] = "0123456789abcdef";

static void put_hex(struct pm_text *t, uint32_t n, int digits) {
  while (digits-- > 0)
    pm_text_char(t, hex_digit[n >> (4 * digits) & 15]);
}

/* ---- str and bytes -------------------------------------------------------- */

/* Characters that were copied out of a str or bytes. */
struct characters {
  size_t n;
  unsigned kind; /* bytes in one */
  int is_bytes;
  unsigned char data[4 * REPR_MAX];
};

static uint32_t character(const struct characters *c, size_t i) {
  uint16_t two;
  uint32_t four;
  switch (c->kind) {
  case 1:
    return c->data[i];
  case 2:
    memcpy(&two, c->data + 2 * i, sizeof two);
    return two;
  default:
    memcpy(&four, c->data + 4 * i, sizeof four);
    return four;
  }
}

static int is_plain(const struct characters *c, uint32_t ch) {
  if (ch < 0x7f)
    return ch >= ' ';
  return !c->is_bytes && ch <= 0x10ffff && Py_UNICODE_ISPRINTABLE(ch);
}

/* Writes one character; `quote` 0: not in quotes. Returns how many characters that is; with t NULL
 * it is only counted. */
static size_t put_character(struct pm_text *t, const struct characters *c, uint32_t ch,
                            uint32_t quote) {
  static const char letters[] = "\tt\nn\rr";
  const char *letter = NULL;
  for (size_t i = 0; i < sizeof letters - 1; i += 2)
    if (ch == (uint32_t)letters[i])
      letter = &letters[i + 1];
  if (letter != NULL || ch == '\\' || (quote != 0 && ch == quote)) {
    if (t != NULL) {
      pm_text_char(t, '\\');
      pm_text_char(t, letter != NULL ? *letter : (char)ch);
    }
    return 2;
  }
  if (!is_plain(c, ch)) {
    int digits = ch <= 0xff ? 2 : ch <= 0xffff ? 4 : 8;
    if (t != NULL) {
      pm_text_char(t, '\\');
      pm_text_char(t, digits == 2 ? 'x' : digits == 4 ? 'u' : 'U');
      put_hex(t, ch, digits);
    }
    return 2 + (size_t)digits;
  }
  if (t == NULL)
    return 1;
  if (ch < 0x80) {
    pm_text_char(t, (char)ch);
  } else if (ch < 0x800) {
    pm_text_char(t, (char)(0xc0 | ch >> 6));
    pm_text_char(t, (char)(0x80 | (ch & 0x3f)));
  } else if (ch < 0x10000) {
    pm_text_char(t, (char)(0xe0 | ch >> 12));
    pm_text_char(t, (char)(0x80 | (ch >> 6 & 0x3f)));
    pm_text_char(t, (char)(0x80 | (ch & 0x3f)));
  } else {
    pm_text_char(t, (char)(0xf0 | ch >> 18));
    pm_text_char(t, (char)(0x80 | (ch >> 12 & 0x3f)));
    pm_text_char(t, (char)(0x80 | (ch >> 6 & 0x3f)));
    pm_text_char(t, (char)(0x80 | (ch & 0x3f)));
  }
  return 1;
}

/* The characters of a str: 0; -1 where there are more than `most`, or none to be read. */
static int str_characters(struct characters *c, uintptr_t str, size_t most) {
  PyASCIIObject head;
  if (pm_peek(&head, str, sizeof head) < 0 || !head.state.compact || head.length < 0 ||
      (size_t)head.length > most)
    return -1;
  c->n = (size_t)head.length;
  c->kind = head.state.kind;
  c->is_bytes = 0;
  if (c->kind != 1 && c->kind != 2 && c->kind != 4)
    return -1;
  return pm_peek(c->data, str + pm_str_head((PyObject *)&head), c->n * c->kind);
}

static int bytes_characters(struct characters *c, uintptr_t bytes, size_t most) {
  Py_ssize_t size;
  if (PM_PEEK(&size, bytes, PyVarObject, ob_size) < 0 || size < 0 || (size_t)size > most)
    return -1;
  c->n = (size_t)size;
  c->kind = c->is_bytes = 1;
  return pm_peek(c->data, bytes + offsetof(PyBytesObject, ob_sval), c->n);
}

/* repr(): 1, or 0 where it is too long and nothing was written. */
static int put_quoted(struct pm_text *t, const struct characters *c) {
  int single = 0, two = 0;
  size_t length = 2 + (size_t)c->is_bytes;
  for (size_t i = 0; i < c->n; i++) {
    single |= character(c, i) == '\'';
    two |= character(c, i) == '"';
  }
  char quote = single && !two ? '"' : '\'';
  for (size_t i = 0; i < c->n; i++)
    length += put_character(NULL, c, character(c, i), (uint32_t)quote);
  if (length > REPR_MAX)
    return 0;
  if (c->is_bytes)
    pm_text_char(t, 'b');
  pm_text_char(t, quote);
  for (size_t i = 0; i < c->n; i++)
    (void)put_character(t, c, character(c, i), (uint32_t)quote);
  pm_text_char(t, quote);
  return 1;
}

/* ---- numbers ---------------------------------------------------------------- */

#define DIGITS_MAX 9 /* of 30 bits each: more are more than REPR_MAX characters */
#define TEN_TO_9 1000000000u

static int put_int(struct pm_text *t, uintptr_t op) {
  PyLongObject head;
  uint32_t value[DIGITS_MAX], group[DIGITS_MAX + 1];
  size_t groups = 0, length = 0;
  if (pm_peek(&head, op, sizeof head) < 0)
    return 0;
  size_t n = pm_long_digits(&head);
  if (n > DIGITS_MAX ||
      pm_peek(value, op + offsetof(PyLongObject, long_value.ob_digit), n * sizeof *value) < 0)
    return 0;
  int negative = (head.long_value.lv_tag & 3) == 2;
  /* Nine decimal digits at a time, the last ones first. */
  while (n > 0) {
    uint64_t rest = 0;
    for (size_t i = n; i-- > 0;) {
      rest = rest << 30 | (value[i] & 0x3fffffff);
      value[i] = (uint32_t)(rest / TEN_TO_9);
      rest %= TEN_TO_9;
    }
    group[groups++] = (uint32_t)rest;
    while (n > 0 && value[n - 1] == 0)
      n--;
  }
  if (groups == 0)
    group[groups++] = 0;
  for (uint32_t first = group[groups - 1]; first > 0; first /= 10)
    length++;
  if (length + 9 * (groups - 1) + (size_t)negative > REPR_MAX)
    return 0;
  if (negative)
    pm_text_char(t, '-');
  pm_text_dec(t, group[--groups]);
  while (groups-- > 0)
    for (uint32_t unit = TEN_TO_9 / 10; unit > 0; unit /= 10)
      pm_text_char(t, (char)('0' + group[groups] / unit % 10));
  return 1;
}

/* A number with up to 15 digits is exactly the one double that is nearest, and the division of two
 * whole numbers gives it: so the first try that comes out is what repr() shows. */
static int put_float(struct pm_text *t, uintptr_t op) {
  double value, unit = 1;
  uint64_t bits;
  if (PM_PEEK(&value, op, PyFloatObject, ob_fval) < 0)
    return 0;
  memcpy(&bits, &value, sizeof bits);
  int negative = (int)(bits >> 63);
  double size = negative ? -value : value;
  if (size != size) {
    pm_text_add(t, "nan");
    return 1;
  }
  if (size > 1e308 && size / 2 == size) {
    pm_text_add(t, negative ? "-inf" : "inf");
    return 1;
  }
  if (size != 0 && size < 1e-4) /* written with an exponent */
    return 0;
  for (unsigned decimals = 0; decimals <= 18; decimals++, unit *= 10) {
    double scaled = size * unit + 0.5;
    if (!(scaled < 1e15))
      return 0;
    uint64_t whole = (uint64_t)scaled, one = (uint64_t)unit;
    if ((double)whole / unit != size)
      continue;
    if (negative)
      pm_text_char(t, '-');
    pm_text_dec(t, whole / one);
    pm_text_char(t, '.');
    if (decimals == 0)
      pm_text_char(t, '0');
    while (one > 1) {
      one /= 10;
      pm_text_char(t, (char)('0' + whole / one % 10));
    }
    return 1;
  }
  return 0;
}

/* ---- both ------------------------------------------------------------------ */

void pm_key_text(struct pm_text *t, uintptr_t key, size_t number) {
  struct characters c;
  uintptr_t type;
  int done = 0;
  if (key == (uintptr_t)Py_None || key == (uintptr_t)Py_True || key == (uintptr_t)Py_False) {
    pm_text_add(t, key == (uintptr_t)Py_None   ? "None"
                   : key == (uintptr_t)Py_True ? "True"
                                               : "False");
    return;
  }
  if (pm_peek_type(key, &type) == 0) {
    if (type == (uintptr_t)&PyUnicode_Type)
      done = str_characters(&c, key, REPR_MAX) == 0 && put_quoted(t, &c);
    else if (type == (uintptr_t)&PyBytes_Type)
      done = bytes_characters(&c, key, REPR_MAX) == 0 && put_quoted(t, &c);
    else if (type == (uintptr_t)&PyLong_Type)
      done = put_int(t, key);
    else if (type == (uintptr_t)&PyFloat_Type)
      done = put_float(t, key);
  }
  if (done)
    return;
  pm_text_add(t, "<key ");
  pm_text_dec(t, number);
  pm_text_char(t, '>');
}

void pm_attribute_text(struct pm_text *t, uintptr_t name) {
  struct characters c;
  uintptr_t type;
  pm_text_char(t, '.');
  if (pm_peek_type(name, &type) < 0 || type != (uintptr_t)&PyUnicode_Type ||
      str_characters(&c, name, REPR_MAX) < 0) {
    pm_text_add(t, "<attribute>");
    return;
  }
  for (size_t i = 0; i < c.n; i++)
    (void)put_character(t, &c, character(&c, i), 0);
}

/* freeze_scalars: str, bytes (and bytearray), int, float, complex.
 *
 * A scalar is copied as it lies, then its header is made immortal, and whatever
 * a later read would write into it is written now: the hash, and for a str that
 * is not ASCII its UTF-8 form, which PyUnicode_AsUTF8() would otherwise hang
 * into the object.
 *
 *    str, not ASCII   | header, hash, state | utf8 --+ | characters 0 | utf-8 form 0 |
 *                                                    +-----------------^
 *
 * Interning writes a mark into a str. Where a canonical interned string exists
 * (one of the interpreter's own, or the source itself, which we then keep), the
 * copy carries no mark: interning it finds that one. All others are marked as
 * interned already; interning them answers themselves, and of two equal ones
 * each answers itself. A debug build has all marked.
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"

/* Bytes of the UTF-8 form without its zero, or -1: lone surrogates have none. */
static Py_ssize_t utf8_length(PyObject *op) {
  Py_ssize_t n = PM_STR(op)->length, bytes = 0;
  const void *data = (char *)op + pm_str_head(op);
  switch (PM_STR(op)->state.kind) {
  case 1: {
    const Py_UCS1 *s = data;
    for (Py_ssize_t i = 0; i < n; i++)
      bytes += 1 + (s[i] >> 7);
    return bytes;
  }
  case 2: {
    const Py_UCS2 *s = data;
    for (Py_ssize_t i = 0; i < n; i++) {
      if (s[i] >= 0xd800 && s[i] <= 0xdfff)
        return -1;
      bytes += 1 + (s[i] >= 0x80) + (s[i] >= 0x800);
    }
    return bytes;
  }
  default: {
    const Py_UCS4 *s = data;
    for (Py_ssize_t i = 0; i < n; i++) {
      if (s[i] >= 0xd800 && s[i] <= 0xdfff)
        return -1;
      bytes += 1 + (s[i] >= 0x80) + (s[i] >= 0x800) + (s[i] >= 0x10000);
    }
    return bytes;
  }
  }
}

static void write_utf8(PyObject *op, char *to) {
  Py_ssize_t n = PM_STR(op)->length;
  int kind = (int)PM_STR(op)->state.kind;
  const void *data = (char *)op + pm_str_head(op);
  for (Py_ssize_t i = 0; i < n; i++) {
    Py_UCS4 c = PyUnicode_READ(kind, data, i);
    if (c < 0x80) {
      *to++ = (char)c;
    } else if (c < 0x800) {
      *to++ = (char)(0xc0 | c >> 6);
      *to++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
      *to++ = (char)(0xe0 | c >> 12);
      *to++ = (char)(0x80 | (c >> 6 & 0x3f));
      *to++ = (char)(0x80 | (c & 0x3f));
    } else {
      *to++ = (char)(0xf0 | c >> 18);
      *to++ = (char)(0x80 | (c >> 12 & 0x3f));
      *to++ = (char)(0x80 | (c >> 6 & 0x3f));
      *to++ = (char)(0x80 | (c & 0x3f));
    }
  }
  *to = 0;
}

size_t pm_str_size(PyObject *src) {
  size_t size = pm_str_head(src) + pm_str_data(src);
  if (!PM_STR(src)->state.ascii) {
    Py_ssize_t utf8 = utf8_length(src);
    if (utf8 >= 0)
      size += (size_t)utf8 + 1;
  }
  return size;
}

void pm_emit_str(PyObject *src, PyObject *to, unsigned mark) {
  size_t size = pm_str_head(src) + pm_str_data(src);
  memcpy(to, src, size);
  pm_immortal_header(to, &PyUnicode_Type);
  /* A debug build aborts where a str is immortal without a mark. */
  PM_STR(to)->state.interned = (pm_debug_build ? PM_STR_INTERNED_IMMORTAL : mark) & 3;
  PM_STR(to)->state.statically_allocated = 0;
  if (PM_STR(to)->hash == -1)
    PM_STR(to)->hash = PyObject_Hash(src); /* never fails for an exact str */
  if (!PM_STR(src)->state.ascii) {
    PyCompactUnicodeObject *str = (PyCompactUnicodeObject *)to;
    Py_ssize_t utf8 = utf8_length(src);
    str->utf8 = NULL;
    str->utf8_length = 0;
    if (utf8 >= 0) {
      str->utf8 = (char *)to + size;
      str->utf8_length = utf8;
      write_utf8(src, str->utf8);
    }
  }
}

size_t pm_scalar_size(const pm_node *node) {
  PyObject *src = node->src;
  switch (pm_node_kind(node)) {
  case PM_KIND_STR:
    return pm_str_size(src);
  case PM_KIND_INT:
    return pm_long_size((PyLongObject *)src);
  case PM_KIND_BYTES:
    return offsetof(PyBytesObject, ob_sval) + (size_t)Py_SIZE(src) + 1;
  case PM_KIND_BYTEARRAY:
    return offsetof(PyBytesObject, ob_sval) + (size_t)PyByteArray_GET_SIZE(src) + 1;
  case PM_KIND_FLOAT:
    return sizeof(PyFloatObject);
  case PM_KIND_DECIMAL:
    return pm_value_size(src, PM_KIND_DECIMAL);
  default:
    return sizeof(PyComplexObject);
  }
}

/* The mark the copy of a str gets; see above. -1 with an exception. */
static int interned_mark(pm_plan *p, PyObject *src) {
  if (PM_STR(src)->state.interned)
    return PyList_Append(p->keep, src);
  if (PM_STR(src)->state.ascii) {
    int is_static = pm_str_is_static(src);
    if (is_static != 0)
      return is_static < 0 ? -1 : 0;
  }
  return PM_STR_INTERNED_IMMORTAL;
}

/* A bytearray becomes what it would be if it could not change. */
static int emit_bytearray(PyObject *src, PyObject *to) {
  pm_immortal_header(to, &PyBytes_Type);
  ((PyVarObject *)to)->ob_size = PyByteArray_GET_SIZE(src);
  memcpy(PyBytes_AS_STRING(to), PyByteArray_AS_STRING(src), (size_t)PyByteArray_GET_SIZE(src));
  _Py_COMP_DIAG_PUSH _Py_COMP_DIAG_IGNORE_DEPR_DECLS((PyBytesObject *)to)->ob_shash = -1;
  _Py_COMP_DIAG_POP return PyObject_Hash(to) == -1 ? -1 : 0;
}

int pm_emit_scalar(pm_plan *p, const pm_node *node, PyObject *to) {
  PyObject *src = node->src;
  int kind = pm_node_kind(node);
  if (kind == PM_KIND_STR) {
    int mark = interned_mark(p, src);
    if (mark < 0)
      return -1;
    pm_emit_str(src, to, (unsigned)mark);
    return 0;
  }
  if (kind == PM_KIND_BYTEARRAY)
    return emit_bytearray(src, to);
  if (kind == PM_KIND_DECIMAL)
    return pm_emit_decimal(src, to);
  if (kind == PM_KIND_BYTES && PyObject_Hash(src) == -1) /* caches it in the source */
    return -1;
  memcpy(to, src, pm_scalar_size(node));
  pm_immortal_header(to, Py_TYPE(src));
  return 0;
}

/* freeze_values: dates, times and Decimals, which are C structures of known shape.
 *
 *   date, timedelta   | header, hash, fields                  |
 *   time, datetime    | header, hash, fields | zone, if any   |   the zone stays outside
 *   Decimal           | header, hash, mpd: flags .. *data, small | large coefficient |
 *                                              +-------------^ or ^
 *
 * All keep their very types, which have no way to be changed. What they cache is
 * their hash; that of a time with a zone asks the zone, which may be Python code, so
 * it waits for pm_finish_hashes().
 *
 * SPDX-License-Identifier: MIT
 */
#include "freeze.h"

#include <datetime.h>

/* ---- dates and times ------------------------------------------------------ */

/* For the fault handler, which follows no pointer that can be written. */
static uintptr_t datetime_type, time_type;

int pm_time_init(void) {
  if (PyDateTimeAPI == NULL)
    PyDateTime_IMPORT;
  if (PyDateTimeAPI == NULL)
    return -1;
  datetime_type = (uintptr_t)PyDateTimeAPI->DateTimeType;
  time_type = (uintptr_t)PyDateTimeAPI->TimeType;
  return 0;
}

size_t pm_time_zone_offset(uintptr_t type) {
  return type == 0               ? 0
         : type == datetime_type ? offsetof(PyDateTime_DateTime, tzinfo)
         : type == time_type     ? offsetof(PyDateTime_Time, tzinfo)
                                 : 0;
}

static int has_zone(PyObject *op) {
  return (PyDateTime_Check(op) || PyTime_Check(op)) && _PyDateTime_HAS_TZINFO(op);
}

PyObject **pm_time_zone(PyObject *op) {
  if (!has_zone(op))
    return NULL;
  return PyDateTime_Check(op) ? &((PyDateTime_DateTime *)op)->tzinfo
                              : &((PyDateTime_Time *)op)->tzinfo;
}

static size_t time_size(PyObject *op) {
  if (PyDelta_Check(op))
    return sizeof(PyDateTime_Delta);
  if (PyDateTime_Check(op))
    return has_zone(op) ? sizeof(PyDateTime_DateTime) : sizeof(_PyDateTime_BaseDateTime);
  if (PyTime_Check(op))
    return has_zone(op) ? sizeof(PyDateTime_Time) : sizeof(_PyDateTime_BaseTime);
  return sizeof(PyDateTime_Date);
}

void pm_emit_time(PyObject *src, PyObject *zone, PyObject *to) {
  memcpy(to, src, time_size(src));
  pm_immortal_header(to, Py_TYPE(src));
  if (zone != NULL)
    *pm_time_zone(to) = zone;
}

static PyObject *copy_time(PyObject *op) {
  PyObject *zone = has_zone(op) ? *pm_time_zone(op) : Py_None;
  if (PyDelta_Check(op))
    return PyDelta_FromDSU(PyDateTime_DELTA_GET_DAYS(op), PyDateTime_DELTA_GET_SECONDS(op),
                           PyDateTime_DELTA_GET_MICROSECONDS(op));
  if (PyDateTime_Check(op))
    return PyDateTimeAPI->DateTime_FromDateAndTimeAndFold(
        PyDateTime_GET_YEAR(op), PyDateTime_GET_MONTH(op), PyDateTime_GET_DAY(op),
        PyDateTime_DATE_GET_HOUR(op), PyDateTime_DATE_GET_MINUTE(op),
        PyDateTime_DATE_GET_SECOND(op), PyDateTime_DATE_GET_MICROSECOND(op), zone,
        PyDateTime_DATE_GET_FOLD(op), PyDateTimeAPI->DateTimeType);
  if (PyTime_Check(op))
    return PyDateTimeAPI->Time_FromTimeAndFold(
        PyDateTime_TIME_GET_HOUR(op), PyDateTime_TIME_GET_MINUTE(op),
        PyDateTime_TIME_GET_SECOND(op), PyDateTime_TIME_GET_MICROSECOND(op), zone,
        PyDateTime_TIME_GET_FOLD(op), PyDateTimeAPI->TimeType);
  return PyDate_FromDate(PyDateTime_GET_YEAR(op), PyDateTime_GET_MONTH(op), PyDateTime_GET_DAY(op));
}

/* ---- Decimal -------------------------------------------------------------- */

static size_t coefficient_bytes(PyObject *op) {
  const pm_decimal *d = (pm_decimal *)op;
  return (size_t)(d->words > 0 ? d->words : 0) * sizeof *d->data;
}

static int is_small(PyObject *op) {
  return coefficient_bytes(op) <= sizeof((pm_decimal *)op)->small;
}

int pm_emit_decimal(PyObject *src, PyObject *to) {
  const pm_decimal *from = (pm_decimal *)src;
  pm_decimal *d = (pm_decimal *)to;
  memcpy(d, from, sizeof *d);
  pm_immortal_header(to, Py_TYPE(src));
  d->data = is_small(src) ? d->small : (uint64_t *)(void *)(d + 1);
  d->allocated = is_small(src) ? PM_DECIMAL_SMALL : from->words;
  memcpy(d->data, from->data, coefficient_bytes(src));
  d->flags = (uint8_t)((from->flags & ~PM_DECIMAL_DATA_FLAGS) |
                       (is_small(src) ? PM_DECIMAL_INSIDE : PM_DECIMAL_CONST));
  return PyObject_Hash(to) == -1 ? -1 : 0;
}

/* A signalling NaN has no hash, and each try to get it stores that there is none. */
int pm_is_signalling(PyObject *decimal) {
  return (((pm_decimal *)decimal)->flags & PM_DECIMAL_SNAN) != 0;
}

/* copy_sign(itself) is the one operation that copies all bits and asks no context. */
static PyObject *copy_decimal(PyObject *op) {
  PyObject *name = PyUnicode_InternFromString("copy_sign");
  PyObject *copy = name == NULL ? NULL : PyObject_CallMethodOneArg(op, name, op);
  Py_XDECREF(name);
  return copy;
}

/* ---- both ----------------------------------------------------------------- */

size_t pm_value_size(PyObject *src, int kind) {
  if (kind == PM_KIND_TIME)
    return time_size(src);
  return sizeof(pm_decimal) + (is_small(src) ? 0 : coefficient_bytes(src));
}

PyObject *pm_copy_value(PyObject *src, int kind) {
  return kind == PM_KIND_TIME ? copy_time(src) : copy_decimal(src);
}

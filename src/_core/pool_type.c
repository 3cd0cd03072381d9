/* Pool: a named group of chunks that are protected together.
 *
 * The Python class pmalloc.Pool adds what needs no C: the register of live
 * pools and the context manager.
 *
 * SPDX-License-Identifier: MIT
 */
#include "pool_type.h"

#include "born.h"
#include "errors.h"
#include "freeze.h"
#include "guards.h"
#include "record.h"

#include "../libpmalloc/rare_write.h"

#include <errno.h>

static const char *name_of(const pm_pool *self) { return PyUnicode_AsUTF8(self->name); }

enum pmalloc_state pm_pool_state(const pm_pool *self) { return pmalloc_pool_state(self->pool); }

/* Raises what the pool answered. */
static PyObject *refuse(pm_pool *self, enum pmalloc_status status, const char *verb) {
  return status == PMALLOC_ERR_CORRUPT ? pm_raise_corrupt(self->pool, verb)
                                       : pm_raise_status(status, verb, name_of(self));
}

static PyObject *new_(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  static char *keywords[] = {"name",         "chunk_size", "backing", "redzones", "hardened",
                             "on_violation", "mode",       "_global", NULL};
  PyObject *name;
  Py_ssize_t chunk_size = 0, length;
  const char *backing = "private", *policy = NULL, *mode = "ro";
  int redzones = 0, hardened = 0, global = 0;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "U|$nsppzsp:Pool", keywords, &name, &chunk_size,
                                   &backing, &redzones, &hardened, &policy, &mode, &global))
    return NULL;
  const char *text = PyUnicode_AsUTF8AndSize(name, &length);
  if (text == NULL)
    return NULL;
  if (length < 1 || length > PMALLOC_NAME_MAX || strlen(text) != (size_t)length)
    return PyErr_Format(PyExc_ValueError,
                        "a pool's name has 1 to %d bytes of UTF-8 and no zero in it, not %zd",
                        PMALLOC_NAME_MAX, length);
  if (chunk_size < 0)
    return PyErr_Format(PyExc_ValueError, "chunk_size of pool '%U' is negative: %zd", name,
                        chunk_size);
  struct pmalloc_options options = {.chunk_size = (size_t)chunk_size};
  options.flags = (redzones ? PMALLOC_REDZONES : 0U) | (hardened ? PMALLOC_HARDENED : 0U);
  if (strcmp(backing, pm_backing_names[PMALLOC_MEMFD]) == 0)
    options.backing = PMALLOC_MEMFD;
  else if (strcmp(backing, pm_backing_names[PMALLOC_PRIVATE]) != 0)
    return PyErr_Format(PyExc_ValueError, "backing of pool '%U' is 'private' or 'memfd', not '%s'",
                        name, backing);
  if (policy != NULL && (options.policy = pmalloc_policy_named(policy)) == PMALLOC_POLICY_DEFAULT)
    return PyErr_Format(PyExc_ValueError,
                        "on_violation of pool '%U' is 'oops', 'warn', 'audit' or 'off', not '%s'",
                        name, policy);
  if (!pmalloc_mode_named(mode, &options.mode))
    return PyErr_Format(PyExc_ValueError,
                        "mode of pool '%U' is 'ro', 'wr', 'auto_ro', 'auto_wr' or 'start_wr', not "
                        "'%s'",
                        name, mode);
  if (options.mode == PMALLOC_MODE_START_WR && options.flags)
    return PyErr_Format(PyExc_ValueError,
                        "pool '%U' cannot have redzones in mode 'start_wr': its memory is "
                        "read-only from the first byte",
                        name);
  pm_pool *self = (pm_pool *)type->tp_alloc(type, 0);
  if (self == NULL)
    return NULL;
  self->name = Py_NewRef(name);
  self->keep = PyList_New(0);
  self->weakrefs = PyList_New(0);
  self->global = global;
  enum pmalloc_status status = self->keep == NULL || self->weakrefs == NULL ? PMALLOC_ERR_NOMEM
                               : global ? pmalloc_pool_global(&self->pool)
                                        : pmalloc_pool_create_with(&self->pool, text, &options);
  if (status != PMALLOC_OK) {
    Py_DECREF(self);
    return pm_raise_status(status, "create", text);
  }
  return (PyObject *)self;
}

static void dealloc(PyObject *op) {
  pm_pool *self = (pm_pool *)op;
  if (self->pool != NULL) {
    struct pmalloc_stats stats;
    pmalloc_pool_stats(self->pool, &stats);
    /* Memory that was handed out stays for ever: nobody knows who still reads it. */
    if (stats.chunks == 0 || stats.state == PMALLOC_DESTROYED_STATE) {
      if (!self->global) /* C code may have the handle of that one */
        pmalloc_pool_forget(self->pool);
      Py_XDECREF(self->keep);
      Py_XDECREF(self->weakrefs);
    }
  } else {
    Py_XDECREF(self->keep);
    Py_XDECREF(self->weakrefs);
  }
  Py_XDECREF(self->name);
  Py_TYPE(op)->tp_free(op); /* a subclass's own dealloc lets go of the subclass */
}

/* Raises unless the pool is open. */
static int need_open(pm_pool *self, const char *verb) {
  enum pmalloc_state state = pm_pool_state(self);
  if (state == PMALLOC_OPEN)
    return 0;
  pm_raise_status(state == PMALLOC_PROTECTED ? PMALLOC_ERR_PROTECTED : PMALLOC_ERR_DESTROYED, verb,
                  name_of(self));
  return -1;
}

/* An int as PyNumber_AsSsize_t has it, an exact one in a few instructions. */
static int as_ssize(PyObject *arg, Py_ssize_t *out) {
  *out =
      PyLong_CheckExact(arg) ? PyLong_AsSsize_t(arg) : PyNumber_AsSsize_t(arg, PyExc_OverflowError);
  return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

/* (size, *, align=16), by hand: parsing took longer than allocating. */
static int alloc_arguments(PyObject *const *args, Py_ssize_t count, PyObject *names,
                           Py_ssize_t *size, Py_ssize_t *align) {
  Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
  PyObject *sized = count > 0 ? args[0] : NULL, *aligned = NULL;
  if (count > 1) {
    PyErr_Format(PyExc_TypeError, "alloc() takes 1 positional argument (%zd given)", count);
    return -1;
  }
  for (Py_ssize_t i = 0; i < named; i++) {
    PyObject *name = PyTuple_GET_ITEM(names, i);
    PyObject **slot = PyUnicode_CompareWithASCIIString(name, "align") == 0  ? &aligned
                      : PyUnicode_CompareWithASCIIString(name, "size") == 0 ? &sized
                                                                            : NULL;
    if (slot == NULL || *slot != NULL) {
      PyErr_Format(PyExc_TypeError,
                   slot == NULL ? "alloc() got an unexpected keyword argument '%U'"
                                : "alloc() got two values for argument '%U'",
                   name);
      return -1;
    }
    *slot = args[count + i];
  }
  if (sized == NULL) {
    PyErr_SetString(PyExc_TypeError, "alloc() needs a size, in bytes");
    return -1;
  }
  return as_ssize(sized, size) < 0 || (aligned != NULL && as_ssize(aligned, align) < 0) ? -1 : 0;
}

/* _need_open(verb): raises as alloc() does. */
static PyObject *need_open_(PyObject *op, PyObject *verb) {
  const char *text = PyUnicode_AsUTF8(verb);
  return text == NULL || need_open((pm_pool *)op, text) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *alloc(PyObject *op, PyObject *const *args, Py_ssize_t count, PyObject *names) {
  pm_pool *self = (pm_pool *)op;
  Py_ssize_t size, align = 16;
  if (alloc_arguments(args, count, names, &size, &align) < 0)
    return NULL;
  if (size < 0 || align < 0)
    return pm_raise_status(PMALLOC_ERR_INVALID, "allocate from", name_of(self));
  void *address;
  enum pmalloc_status status =
      pmalloc_pool_alloc(self->pool, (size_t)size, (size_t)align, &address);
  if (status != PMALLOC_OK)
    return refuse(self, status, "allocate from");
  PyObject *allocation = pm_allocation_new(self, address, size);
  if (allocation == NULL)
    (void)pmalloc_pool_free(self->pool, address);
  return allocation;
}

/* The same, as the base of an array. */
static PyObject *array_memory(PyObject *op, PyObject *arg) {
  pm_pool *self = (pm_pool *)op;
  Py_ssize_t size;
  void *address;
  if (as_ssize(arg, &size) < 0)
    return NULL;
  enum pmalloc_status status =
      size < 0 ? PMALLOC_ERR_INVALID : pmalloc_pool_alloc(self->pool, (size_t)size, 64, &address);
  if (status != PMALLOC_OK)
    return refuse(self, status, "allocate from");
  PyObject *data = pm_array_data_new(self, address, size);
  if (data == NULL)
    (void)pmalloc_pool_free(self->pool, address);
  return data;
}

/* Copies what a buffer shows into a new allocation, which may be read-only already. */
static int fill(pm_pool *self, void *address, const Py_buffer *from) {
  if (pmalloc_pool_mode(self->pool) != PMALLOC_MODE_START_WR)
    return PyBuffer_ToContiguous(address, from, from->len, 'C');
  struct pmalloc_refusal refusal;
  char *bytes = PyMem_Malloc(from->len > 0 ? (size_t)from->len : 1);
  int done = -1;
  if (bytes == NULL)
    PyErr_NoMemory();
  else if (PyBuffer_ToContiguous(bytes, from, from->len, 'C') == 0) {
    if (pmalloc_rare_copy(address, bytes, (size_t)from->len, &refusal) == PMALLOC_OK)
      done = 0;
    else
      pm_raise_status(refusal.status, "copy into", name_of(self));
  }
  PyMem_Free(bytes);
  return done;
}

/* The copy and the array; both are an alloc() and a check before it. */
static PyObject *copy(PyObject *op, PyObject *source) {
  pm_pool *self = (pm_pool *)op;
  Py_buffer from;
  void *address;
  if (PyObject_GetBuffer(source, &from, PyBUF_FULL_RO) < 0)
    return NULL;
  PyObject *allocation = NULL;
  enum pmalloc_status status = pmalloc_pool_alloc(self->pool, (size_t)from.len, 0, &address);
  if (status != PMALLOC_OK)
    refuse(self, status, "copy into");
  else if (fill(self, address, &from) < 0 ||
           (allocation = pm_allocation_new(self, address, from.len)) == NULL)
    (void)pmalloc_pool_free(self->pool, address);
  PyBuffer_Release(&from);
  return allocation;
}

static PyObject *array(PyObject *op, PyObject *args) {
  pm_pool *self = (pm_pool *)op;
  Py_ssize_t n, itemsize;
  if (!PyArg_ParseTuple(args, "nn:array", &n, &itemsize))
    return NULL;
  if (n < 0 || itemsize < 1)
    return PyErr_Format(PyExc_ValueError,
                        "cannot allocate from pool '%U': an array has 0 or more items of 1 byte or "
                        "more, not %zd of %zd",
                        self->name, n, itemsize);
  void *address;
  enum pmalloc_status status =
      pmalloc_pool_array(self->pool, (size_t)n, (size_t)itemsize, &address);
  if (status != PMALLOC_OK)
    return refuse(self, status, "allocate from");
  PyObject *allocation = pm_allocation_new(self, address, n * itemsize);
  if (allocation == NULL)
    (void)pmalloc_pool_free(self->pool, address);
  return allocation;
}

static PyObject *free_(PyObject *op, PyObject *arg) {
  pm_pool *self = (pm_pool *)op;
  if (!Py_IS_TYPE(arg, &PmAllocation_Type))
    return PyErr_Format(PyExc_TypeError,
                        "cannot free from pool '%U': an Allocation is needed, not %s", self->name,
                        Py_TYPE(arg)->tp_name);
  pm_allocation *allocation = (pm_allocation *)arg;
  if (allocation->pool != self)
    return PyErr_Format(PyExc_ValueError,
                        "cannot free from pool '%U': the allocation belongs to pool '%U'",
                        self->name, allocation->pool->name);
  if (allocation->freed)
    return pm_raise_status(PMALLOC_ERR_DOUBLE_FREE, "free from", name_of(self));
  if (allocation->views > 0)
    return PyErr_Format(PyExc_BufferError,
                        "cannot free from pool '%U': %zd view(s) of the allocation are alive; "
                        "release them first",
                        self->name, allocation->views);
  enum pmalloc_status status = pmalloc_pool_free(self->pool, allocation->address);
  if (status != PMALLOC_OK)
    return refuse(self, status, "free from");
  allocation->freed = 1;
  Py_RETURN_NONE;
}

static PyObject *check(PyObject *op, PyObject *unused) {
  (void)unused;
  pm_pool *self = (pm_pool *)op;
  enum pmalloc_status status = pmalloc_pool_check(self->pool);
  if (status != PMALLOC_OK)
    return refuse(self, status, "vouch for");
  Py_RETURN_NONE;
}

static PyObject *prealloc(PyObject *op, PyObject *arg) {
  pm_pool *self = (pm_pool *)op;
  Py_ssize_t bytes = PyNumber_AsSsize_t(arg, PyExc_OverflowError);
  if (bytes == -1 && PyErr_Occurred())
    return NULL;
  enum pmalloc_status status =
      bytes < 0 ? PMALLOC_ERR_INVALID : pmalloc_pool_prealloc(self->pool, (size_t)bytes);
  if (status != PMALLOC_OK)
    return refuse(self, status, "preallocate in");
  Py_RETURN_NONE;
}

/* A type, or a tuple of types, as a tuple of types; NULL with an exception. */
PyObject *pm_types_of(PyObject *given) {
  PyObject *types = PyType_Check(given) ? PyTuple_Pack(1, given) : PySequence_Tuple(given);
  for (Py_ssize_t i = 0; types != NULL && i < PyTuple_GET_SIZE(types); i++)
    if (!PyType_Check(PyTuple_GET_ITEM(types, i))) {
      PyErr_Format(PyExc_TypeError, "externals= takes types, not %s",
                   Py_TYPE(PyTuple_GET_ITEM(types, i))->tp_name);
      Py_CLEAR(types);
    }
  return types;
}

static PyObject *freeze(PyObject *op, PyObject *args, PyObject *kwargs) {
  static char *keywords[] = {"", "externals", NULL};
  pm_pool *self = (pm_pool *)op;
  PyObject *obj, *given = NULL, *externals = NULL;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O:freeze", keywords, &obj, &given))
    return NULL;
  if (need_open(self, "freeze into") < 0)
    return NULL;
  if (pmalloc_pool_mode(self->pool) == PMALLOC_MODE_START_WR)
    return PyErr_Format(PmError,
                        "cannot freeze into pool '%U': its memory is read-only from the first "
                        "byte; use mode 'wr'",
                        self->name);
  if (given != NULL && (externals = pm_types_of(given)) == NULL)
    return NULL;
  pm_realloc_guard_install();
  PyObject *frozen = pm_is_frozen(obj)
                         ? obj
                         : pm_freeze(self->pool, op, obj, self->keep, self->weakrefs, externals);
  Py_XDECREF(externals);
  if (frozen == NULL)
    return NULL;
  enum pmalloc_status status = pmalloc_pool_set_root(self->pool, frozen);
  if (status != PMALLOC_OK)
    return refuse(self, status, "set the root of");
  return Py_NewRef(frozen);
}

static const char *const protect_verbs[] = {"protect", "seal", "make immutable"};

static PyObject *protect(PyObject *op, PyObject *args, PyObject *kwargs) {
  static char *keywords[] = {"revoke", "seal", "immutable", NULL};
  pm_pool *self = (pm_pool *)op;
  int revoke = 0, seal = 0, immutable = 0;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p$pp:protect", keywords, &revoke, &seal,
                                   &immutable))
    return NULL;
  struct pmalloc_stats stats;
  pmalloc_pool_stats(self->pool, &stats);
  if (immutable && stats.backing != PMALLOC_MEMFD)
    return PyErr_Format(PyExc_ValueError,
                        "cannot make pool '%U' immutable: its memory is private; create it with "
                        "backing='memfd'",
                        self->name);
  if (immutable && pmalloc_mode_is_rare(stats.mode))
    return PyErr_Format(PyExc_ValueError,
                        "cannot make pool '%U' immutable: its mode is '%s', and what is immutable "
                        "can never be written again",
                        self->name, pmalloc_mode_name(stats.mode));
  if (stats.state == PMALLOC_OPEN && self->writable_views > 0 && !revoke)
    return PyErr_Format(PyExc_BufferError,
                        "cannot protect pool '%U': %zd writable view(s) of its allocations are "
                        "alive; release them, or pass revoke=True and no longer write to them",
                        self->name, self->writable_views);
  pm_realloc_guard_install();
  enum pmalloc_tier tier = immutable ? PMALLOC_IMMUTABLE : seal ? PMALLOC_SEALED : PMALLOC_PLAIN;
  enum pmalloc_status status = pmalloc_pool_protect_as(self->pool, tier);
  if (status != PMALLOC_OK)
    return refuse(self, status, protect_verbs[tier]);
  Py_RETURN_NONE;
}

static PyObject *make_ro(PyObject *op, PyObject *unused) {
  (void)unused;
  pm_pool *self = (pm_pool *)op;
  enum pmalloc_status status = pmalloc_pool_make_ro(self->pool);
  if (status == PMALLOC_OK)
    Py_RETURN_NONE;
  if (status == PMALLOC_ERR_NOT_RARE)
    return PyErr_Format(PmProtectedError, "cannot make pool '%U' read-only: its mode is '%s'",
                        self->name, pmalloc_mode_name(pmalloc_pool_mode(self->pool)));
  if (status == PMALLOC_ERR_INVALID)
    return PyErr_Format(PmError, "cannot make pool '%U' read-only: it is open; protect() it first",
                        self->name);
  if (status == PMALLOC_ERR_UNSUPPORTED) { /* that word is as sealed as the rest */
    PyObject *text = PyUnicode_FromFormat(
        "cannot make pool '%U' read-only: it is sealed, and /proc/self/mem can't be written here; "
        "it stays write-rare",
        self->name);
    PyObject *args = text == NULL ? NULL : Py_BuildValue("(iN)", EOPNOTSUPP, text);
    if (args != NULL)
      PyErr_SetObject(PyExc_OSError, args);
    Py_XDECREF(args);
    return NULL;
  }
  return refuse(self, status, "make read-only");
}

static PyObject *fileno_(PyObject *op, PyObject *unused) {
  const pm_pool *self = (pm_pool *)op;
  int fd;
  (void)unused;
  enum pmalloc_status status = pmalloc_pool_fileno(self->pool, &fd);
  if (status == PMALLOC_ERR_INVALID)
    return PyErr_Format(PmError,
                        "cannot share pool '%U': it is not immutable; create it with "
                        "backing='memfd' and call protect(immutable=True)",
                        self->name);
  if (status != PMALLOC_OK)
    return PyErr_SetFromErrno(PyExc_OSError);
  return PyLong_FromLong(fd);
}

/* How many of the pool's arrays nobody has but the frozen objects that were made with them. */
static Py_ssize_t frozen_arrays(const pm_pool *self) {
  Py_ssize_t n = 0;
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(self->keep); i++) {
    PyObject *kept = PyList_GET_ITEM(self->keep, i);
    PyObject *base = pm_has_one_owner(kept) && PyObject_HasAttrString(kept, "base")
                         ? PyObject_GetAttrString(kept, "base")
                         : NULL;
    n += base != NULL && Py_IS_TYPE(base, &PmArrayData_Type);
    Py_XDECREF(base);
  }
  PyErr_Clear();
  return n;
}

/* Raises unless the pool can be destroyed. */
static int need_unused(pm_pool *self, int force) {
  struct pmalloc_stats stats;
  pmalloc_pool_stats(self->pool, &stats);
  size_t objects = stats.objects;
  if (pm_pool_state(self) == PMALLOC_DESTROYED_STATE) {
    pm_raise_status(PMALLOC_ERR_DESTROYED, "destroy", name_of(self));
    return -1;
  }
  if (pmalloc_pool_tier(self->pool) != PMALLOC_PLAIN) {
    pm_raise_status(PMALLOC_ERR_SEALED, "destroy", name_of(self));
    return -1;
  }
  if (self->views > 0) {
    PyErr_Format(PyExc_BufferError,
                 "cannot destroy pool '%U': %zd view(s) of its allocations are alive; "
                 "release them first",
                 self->name, self->views);
    return -1;
  }
  if (self->arrays > 0 && (objects == 0 || force) &&
      self->arrays > (objects > 0 ? frozen_arrays(self) : 0)) {
    PyErr_Format(PyExc_BufferError,
                 "cannot destroy pool '%U': %zd array(s) whose data lies in it are alive; "
                 "drop them, and views of them, first",
                 self->name, self->arrays);
    return -1;
  }
  if (objects > 0 && !force) {
    pm_raise_frozen_objects(self, objects);
    return -1;
  }
  return 0;
}

/* What frozen objects keep alive outside may point into the pool in turn, and be garbage without
 * it: it goes while that memory can be read. Its finalisers may do anything. */
static int release_kept(pm_pool *self) {
  int externals = 0; /* the rest are strs, which point to nothing */
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(self->keep); i++)
    externals |= !PyUnicode_CheckExact(PyList_GET_ITEM(self->keep, i));
  if (!externals)
    return 0;
  if (PyList_SetSlice(self->keep, 0, PyList_GET_SIZE(self->keep), NULL) < 0)
    return -1;
  PyGC_Collect();
  return 0;
}

static PyObject *destroy(PyObject *op, PyObject *args, PyObject *kwargs) {
  static char *keywords[] = {"force", NULL};
  pm_pool *self = (pm_pool *)op;
  int force = 0;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|p:destroy", keywords, &force))
    return NULL;
  if (need_unused(self, force) < 0 || release_kept(self) < 0 || need_unused(self, force) < 0)
    return NULL;
  /* Where a frozen str was the name of an attribute that somebody asked for, the cache of such
   * look-ups holds it, and would let go of it some day. */
  (void)PyType_ClearCache();
  enum pmalloc_status status =
      force ? pmalloc_pool_destroy_damaged(self->pool) : pmalloc_pool_destroy(self->pool);
  if (status != PMALLOC_OK)
    return refuse(self, status, "destroy");
  pm_weakrefs_bury(self->weakrefs);
  return PyList_SetSlice(self->keep, 0, PyList_GET_SIZE(self->keep), NULL) < 0 ? NULL
                                                                               : Py_NewRef(Py_None);
}

#define KEYWORDS(f) ((PyCFunction)(void (*)(void))(f))
static PyMethodDef methods[] = {
    {"alloc", KEYWORDS(alloc), METH_FASTCALL | METH_KEYWORDS,
     "alloc($self, size, *, align=16)\n--\n\nAn Allocation of `size` zeroed bytes."},
    {"_need_open", need_open_, METH_O,
     "_need_open($self, verb, /)\n--\n\nRaises unless the pool is open."},
    {"_array_memory", array_memory, METH_O,
     "_array_memory($self, size, /)\n--\n\nZeroed bytes for an array, 64-byte aligned."},
    {"copy", copy, METH_O, "copy($self, data, /)\n--\n\nAn Allocation with the bytes of `data`."},
    {"array", array, METH_VARARGS,
     "array($self, n, itemsize, /)\n--\n\nAn Allocation of n times itemsize zeroed bytes."},
    {"_references", pm_references, METH_O,
     "_references($self, limit, /)\n--\n\nHow many words lead into the pool, and some of them."},
    {"_reaches", pm_reaches, METH_NOARGS,
     "_reaches($self, /)\n--\n\n(number, name, protected) of pools its own words lead into."},
    {"free", free_, METH_O,
     "free($self, allocation, /)\n--\n\nTakes an allocation back; its memory is used again."},
    {"check", check, METH_NOARGS,
     "check($self, /)\n--\n\nLooks whether redzones, and links where it is hardened, are intact."},
    {"prealloc", prealloc, METH_O,
     "prealloc($self, nbytes, /)\n--\n\nMakes room for `nbytes` more, now."},
    {"freeze", KEYWORDS(freeze), METH_VARARGS | METH_KEYWORDS,
     "freeze($self, obj, /, *, externals=())\n--\n\nDeep-copies obj into the pool as live "
     "objects."},
    {"_place", pm_record_place, METH_O,
     "_place($self, record, /)\n--\n\nThe live copy of an ordinary Record in the pool."},
    {"_born", pm_pool_born, METH_O,
     "_born($self, value, /)\n--\n\nA dict or list like value whose header lies in the pool."},
    {"_settle", pm_pool_settle, METH_VARARGS,
     "_settle($self, names, originals, strict, /)\n--\n\nFreezes all that were born in it, where "
     "they are."},
    {"protect", KEYWORDS(protect), METH_VARARGS | METH_KEYWORDS,
     "protect($self, revoke=False, *, seal=False, immutable=False)\n--\n\nMakes the pool "
     "read-only. There is no way back."},
    {"make_ro", make_ro, METH_NOARGS,
     "make_ro($self, /)\n--\n\nTurns a protected pool that is write-rare into one that is "
     "read-only, for good."},
    {"fileno", fileno_, METH_NOARGS,
     "fileno($self, /)\n--\n\nThe descriptor of an immutable pool's memory, to be sent."},
    {"destroy", KEYWORDS(destroy), METH_VARARGS | METH_KEYWORDS,
     "destroy($self, force=False)\n--\n\nEnds the pool; a later use of its memory faults."},
    {"stats", pm_pool_stats, METH_NOARGS, "stats($self, /)\n--\n\nSizes and counts, as a dict."},
    {NULL, NULL, 0, NULL}};

PyTypeObject PmPool_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc._core.Pool",
    .tp_doc = PyDoc_STR("A named group of chunks that are protected together."),
    .tp_basicsize = sizeof(pm_pool),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = new_,
    .tp_dealloc = dealloc,
    .tp_repr = pm_pool_repr,
    .tp_methods = methods,
    .tp_getset = pm_pool_getset,
};

/* numpy_handler: NumPy allocates the data of its arrays in a pool.
 *
 * NumPy asks a handler for the memory of an array (its NEP 49), and keeps the handler with the
 * array, so that the one that gave takes back, wherever and whenever that is:
 *
 *     ndarray --mem_handler--> capsule --> struct handler --> Pool
 *        |                     as long as     malloc, calloc,
 *        +--data----------+    an array or    realloc, free
 *                         |    a `with` has it
 *                         v
 *     pool's chunk  | ... block ... |
 *
 * Which handler makes an array is said by a context variable of NumPy's; _numpy_context.py sets it.
 *
 * protect() has to find the arrays, to take their WRITEABLE flag. Nobody lists them: but each has
 * the address of its data in its header, and that is a word in writable memory. The search of
 * scan.c finds all such words; one that lies where the data field of a live ndarray lies is an
 * array or a view. From then on the array is what Pool.ndarray() makes: it does not own its data,
 * but refers to an ArrayData, which is asked when somebody sets WRITEABLE again, and NumPy does not
 * clear the items of an array of objects in memory that cannot be written any more:
 *
 *     ndarray --base--> ArrayData --> Pool
 *
 * This is the only file that knows how NumPy lays out things. Nothing of NumPy is needed to build
 * it: the functions are in a table that NumPy publishes for extensions, at indices that never
 * change, and the fields are looked at once in an array whose values are known.
 *
 * malloc, free and the like may be called by any thread, NumPy says with the GIL; they need none.
 *
 * SPDX-License-Identifier: MIT
 */
#include "numpy_handler.h"

#include "errors.h"

#include "../libpmalloc/pages.h"
#include "../libpmalloc/scan.h"

#include <errno.h>
#include <stdatomic.h>

/* ---- NumPy ---- */

#define CAPSULE "mem_handler"
enum { OF_VERSION = 211, OF_NDARRAY = 2, OF_SET_HANDLER = 304, OF_GET_HANDLER = 305 };
enum { FIRST_VERSION = 0xf }; /* of the table, that has handlers: NumPy 1.22 */
enum { OWNDATA = 0x4, WRITEABLE = 0x400 };
enum { TYPE_DOUBLE = 12, TYPE_OBJECT = 17 };
enum { MAX_DIMENSIONS = 64 };

struct numpy_array {
  PyObject_HEAD char *data;
  int nd;
  Py_ssize_t *dimensions, *strides;
  PyObject *base;
  struct numpy_dtype *dtype;
  int flags;
  PyObject *weakrefs;
  void *buffer_info;
  PyObject *mem_handler;
};

struct numpy_dtype {
  PyObject_HEAD PyTypeObject *scalar;
  char kind, type, byteorder, flags;
  int number;
};

struct numpy_handler {
  char name[127];
  uint8_t version;
  void *context;
  void *(*malloc)(void *context, size_t size);
  void *(*calloc)(void *context, size_t count, size_t size);
  void *(*realloc)(void *context, void *block, size_t size);
  void (*free)(void *context, void *block, size_t size);
};

static PyObject *(*set_handler)(PyObject *);
static PyObject *(*get_handler)(void);
static PyTypeObject *ndarray;

static struct numpy_array *array_of(PyObject *op) { return (struct numpy_array *)op; }

/* ---- what NumPy calls ---- */

struct handler {
  struct numpy_handler numpy;
  pm_pool *pool; /* owned */
  _Atomic size_t blocks;
  _Atomic size_t refusals;
  _Atomic int status, reason; /* of the latest one, and its errno */
};

/* Below this malloc's own alignment does: what is smaller would leave gaps. */
#define LARGE ((size_t)1024)
#define LINE ((size_t)64)

static void *taken(struct handler *h, enum pmalloc_status status, void *block) {
  if (status == PMALLOC_OK) {
    atomic_fetch_add(&h->blocks, 1);
    pm_pool_count_arrays(h->pool, 1);
    return block;
  }
  atomic_store(&h->reason, errno);
  atomic_store(&h->status, (int)status);
  atomic_fetch_add(&h->refusals, 1);
  return NULL;
}

static size_t alignment(size_t size) { return size < LARGE ? 0 : LINE; }

static void *take(void *context, size_t size) {
  struct handler *h = context;
  void *block = NULL;
  enum pmalloc_status status =
      pmalloc_pool_alloc_to_fill(h->pool->pool, size, alignment(size), &block);
  return taken(h, status, block);
}

static void *take_zeroed(void *context, size_t count, size_t size) {
  struct handler *h = context;
  void *block = NULL;
  size_t bytes;
  enum pmalloc_status status = PMALLOC_ERR_NOMEM;
  if (__builtin_mul_overflow(count, size, &bytes))
    errno = ENOMEM;
  else
    status = pmalloc_pool_alloc(h->pool->pool, bytes, alignment(bytes), &block);
  return taken(h, status, block);
}

static void give(void *context, void *block, size_t size) {
  struct handler *h = context;
  (void)size;
  if (block == NULL)
    return;
  /* Where that is refused the bytes stay handed out; nothing else comes of it. */
  (void)pmalloc_pool_free(h->pool->pool, block);
  atomic_fetch_sub(&h->blocks, 1);
  pm_pool_count_arrays(h->pool, -1);
}

static void *resize(void *context, void *block, size_t size) {
  struct handler *h = context;
  size_t before;
  if (block == NULL)
    return take(context, size);
  enum pmalloc_status status = pmalloc_pool_size_of(h->pool->pool, block, &before);
  if (status != PMALLOC_OK)
    return taken(h, status, NULL);
  void *moved = take(context, size);
  if (moved != NULL) {
    memcpy(moved, block, before < size ? before : size);
    give(context, block, before);
  }
  return moved;
}

/* ---- a pool's handler ---- */

static void forget(PyObject *capsule) {
  struct handler *h = PyCapsule_GetPointer(capsule, CAPSULE);
  h->pool->numpy_handler = NULL;
  Py_DECREF(h->pool);
  PyMem_RawFree(h);
}

/* "pmalloc:" and the pool's name, cut between two characters. */
static void name_it(char *out, size_t room, const char *pool_name) {
  int n = snprintf(out, room, "pmalloc:%s", pool_name);
  if (n < (int)room)
    return;
  size_t end = room - 1;
  while ((pool_name[end - strlen("pmalloc:")] & 0xC0) == 0x80) /* the middle of one */
    end--;
  memset(out + end, 0, room - end);
}

static struct handler *handler_of(const pm_pool *pool) {
  return pool->numpy_handler == NULL ? NULL : PyCapsule_GetPointer(pool->numpy_handler, CAPSULE);
}

/* numpy_handler(pool): the capsule; made where there is none. */
static PyObject *numpy_handler(PyObject *module, PyObject *op) {
  (void)module;
  pm_pool *pool = (pm_pool *)op;
  if (pool->numpy_handler != NULL)
    return Py_NewRef(pool->numpy_handler);
  struct handler *h = PyMem_RawCalloc(1, sizeof *h);
  if (h == NULL)
    return PyErr_NoMemory();
  name_it(h->numpy.name, sizeof h->numpy.name, pmalloc_pool_name(pool->pool));
  h->numpy.version = 1;
  h->numpy.context = h;
  h->numpy.malloc = take;
  h->numpy.calloc = take_zeroed;
  h->numpy.realloc = resize;
  h->numpy.free = give;
  PyObject *capsule = PyCapsule_New(h, CAPSULE, forget);
  if (capsule == NULL) {
    PyMem_RawFree(h);
    return NULL;
  }
  h->pool = (pm_pool *)Py_NewRef(pool);
  pool->numpy_handler = capsule; /* borrowed: arrays have it */
  return capsule;
}

/* The handler that an array's memory came from, where it is one of ours. */
static struct handler *ours(PyObject *capsule) {
  struct handler *h = capsule != NULL && PyCapsule_IsValid(capsule, CAPSULE)
                          ? PyCapsule_GetPointer(capsule, CAPSULE)
                          : NULL;
  return h != NULL && h->numpy.free == give ? h : NULL;
}

static int is_array(PyObject *op) { return ndarray != NULL && PyObject_TypeCheck(op, ndarray); }

const void *pm_numpy_data(PyObject *op) { return is_array(op) ? array_of(op)->data : NULL; }

/* numpy_owner(array): the Pool whose handler gave the memory that the array owns, or None. */
static PyObject *numpy_owner(PyObject *module, PyObject *op) {
  (void)module;
  const struct handler *h =
      is_array(op) && array_of(op)->flags & OWNDATA ? ours(array_of(op)->mem_handler) : NULL;
  return Py_NewRef(h == NULL ? Py_None : (PyObject *)h->pool);
}

/* numpy_swap(capsule): makes it the context's handler, None NumPy's own; answers the one before. */
static PyObject *numpy_swap(PyObject *module, PyObject *capsule) {
  (void)module;
  return set_handler(capsule == Py_None ? NULL : capsule);
}

/* numpy_current(): the context's handler. */
static PyObject *numpy_current(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return get_handler();
}

/* numpy_blocks(pool): how many blocks its handler gave and has not back. */
static PyObject *numpy_blocks(PyObject *module, PyObject *op) {
  (void)module;
  struct handler *h = handler_of((pm_pool *)op);
  return PyLong_FromSize_t(h == NULL ? 0 : atomic_load(&h->blocks));
}

/* numpy_refusals(pool): how often it gave nothing, and the exception that says why, or None. */
static PyObject *numpy_refusals(PyObject *module, PyObject *op) {
  (void)module;
  pm_pool *pool = (pm_pool *)op;
  struct handler *h = handler_of(pool);
  size_t n = h == NULL ? 0 : atomic_load(&h->refusals);
  if (n == 0)
    return Py_BuildValue("(nO)", (Py_ssize_t)0, Py_None);
  enum pmalloc_status status = (enum pmalloc_status)atomic_load(&h->status);
  errno = atomic_load(&h->reason);
  if (status == PMALLOC_ERR_CORRUPT)
    pm_raise_corrupt(pool->pool, "allocate an array in");
  else
    pm_raise_status(status, "allocate an array in", pmalloc_pool_name(pool->pool));
  return Py_BuildValue("(nN)", (Py_ssize_t)n, PyErr_GetRaisedException());
}

/* ---- the arrays there are ---- */

struct search {
  PyTypeObject **types; /* ndarray and what is derived from it */
  Py_ssize_t type_count;
  PyObject **found; /* not counted yet */
  size_t count, room;
  int no_memory;
};

static int is_one_of(const struct search *search, const PyTypeObject *type) {
  for (Py_ssize_t i = 0; i < search->type_count; i++)
    if (search->types[i] == type)
      return 1;
  return 0;
}

static void look_at(void *context, uintptr_t at, uintptr_t to, uintptr_t start) {
  struct search *search = context;
  struct numpy_array head;
  const void *where = (const void *)(at - offsetof(struct numpy_array, data));
  (void)start;
  if (pages_peek(&head, where, sizeof head) != 0 ||
      !is_one_of(search, ((PyObject *)&head)->ob_type) || !pm_is_alive((PyObject *)&head) ||
      (uintptr_t)head.data != to || head.nd < 0 || head.nd > MAX_DIMENSIONS)
    return;
  if (search->count == search->room) {
    size_t room = search->room ? search->room * 2 : 256;
    PyObject **more = PyMem_RawRealloc(search->found, room * sizeof(PyObject *));
    if (more == NULL) {
      search->no_memory = 1;
      return;
    }
    search->found = more;
    search->room = room;
  }
  search->found[search->count++] = (PyObject *)where;
}

/* numpy_find(pool, types): the arrays and views of these types whose data is the pool's. */
static PyObject *numpy_find(PyObject *module, PyObject *args) {
  (void)module;
  pm_pool *pool;
  PyObject *types, *list = NULL;
  if (!PyArg_ParseTuple(args, "O!O!", &PmPool_Type, &pool, &PyTuple_Type, &types))
    return NULL;
  struct search search = {.types = (PyTypeObject **)((PyTupleObject *)types)->ob_item,
                          .type_count = PyTuple_GET_SIZE(types)};
  enum pmalloc_status status = pmalloc_pool_visit_references(pool->pool, look_at, &search);
  if (status == PMALLOC_ERR_UNSUPPORTED)
    PyErr_SetFromErrno(PyExc_OSError);
  else if (status != PMALLOC_OK)
    pm_raise_status(status, "search for arrays of", pmalloc_pool_name(pool->pool));
  else if (search.no_memory)
    PyErr_NoMemory();
  else
    list = PyList_New((Py_ssize_t)search.count);
  for (size_t i = 0; list != NULL && i < search.count; i++)
    PyList_SET_ITEM(list, (Py_ssize_t)i, Py_NewRef(search.found[i]));
  PyMem_RawFree(search.found);
  return list;
}

/* ---- what becomes of them ---- */

/* numpy_lock(pool, arrays): takes their WRITEABLE. Answers which had it, and pairs of those that
 * own their data and of what is to own it. */
static PyObject *numpy_lock(PyObject *module, PyObject *args) {
  (void)module;
  pm_pool *pool;
  PyObject *arrays;
  if (!PyArg_ParseTuple(args, "O!O!", &PmPool_Type, &pool, &PyList_Type, &arrays))
    return NULL;
  PyObject *writeable = PyList_New(0), *owners = PyList_New(0);
  int bad = writeable == NULL || owners == NULL;
  for (Py_ssize_t i = 0; !bad && i < PyList_GET_SIZE(arrays); i++) {
    PyObject *op = PyList_GET_ITEM(arrays, i);
    const struct numpy_array *array = array_of(op);
    if (!is_array(op))
      continue;
    if (array->flags & WRITEABLE)
      bad = PyList_Append(writeable, op) < 0;
    const struct handler *h = array->flags & OWNDATA ? ours(array->mem_handler) : NULL;
    if (bad || h == NULL || h->pool != pool || array->base != NULL)
      continue;
    PyObject *data = pm_array_data_new(pool, NULL, 0);
    PyObject *pair = data == NULL ? NULL : PyTuple_Pack(2, op, data);
    bad = pair == NULL || PyList_Append(owners, pair) < 0;
    Py_XDECREF(data);
    Py_XDECREF(pair);
  }
  for (Py_ssize_t i = 0; !bad && i < PyList_GET_SIZE(writeable); i++)
    array_of(PyList_GET_ITEM(writeable, i))->flags &= ~WRITEABLE;
  PyObject *both = bad ? NULL : PyTuple_Pack(2, writeable, owners);
  Py_XDECREF(writeable);
  Py_XDECREF(owners);
  return both;
}

/* numpy_unlock(arrays): gives it back. */
static PyObject *numpy_unlock(PyObject *module, PyObject *arrays) {
  (void)module;
  for (Py_ssize_t i = 0; PyList_Check(arrays) && i < PyList_GET_SIZE(arrays); i++)
    if (is_array(PyList_GET_ITEM(arrays, i)))
      array_of(PyList_GET_ITEM(arrays, i))->flags |= WRITEABLE;
  Py_RETURN_NONE;
}

/* The array's memory is its base's from now on. */
static void hand_over(struct numpy_array *array, PyObject *data) {
  PyObject *capsule = array->mem_handler;
  struct handler *h = array->flags & OWNDATA ? ours(capsule) : NULL;
  size_t size;
  if (h == NULL || array->base != NULL ||
      pmalloc_pool_size_of(h->pool->pool, array->data, &size) != PMALLOC_OK)
    return;
  int objects = array->dtype->number == TYPE_OBJECT;
  pm_array_data_take_over(data, array->data, (Py_ssize_t)size, objects);
  array->base = Py_NewRef(data);
  array->flags &= ~(OWNDATA | WRITEABLE);
  array->mem_handler = NULL;
  atomic_fetch_sub(&h->blocks, 1);
  pm_pool_count_arrays(h->pool, -1);
  Py_DECREF(capsule);
}

/* numpy_settle(owners): the pool is protected. Cannot fail. */
static PyObject *numpy_settle(PyObject *module, PyObject *owners) {
  (void)module;
  for (Py_ssize_t i = 0; PyList_Check(owners) && i < PyList_GET_SIZE(owners); i++) {
    PyObject *pair = PyList_GET_ITEM(owners, i);
    hand_over(array_of(PyTuple_GET_ITEM(pair, 0)), PyTuple_GET_ITEM(pair, 1));
  }
  Py_RETURN_NONE;
}

/* ---- the beginning ---- */

/* Whether numpy.zeros(3), with its data at `at`, is laid out as this file believes. */
static int is_as_known(const struct numpy_array *probe, const void *at) {
  PyObject *handler = get_handler();
  int known = handler != NULL && probe->data == at && probe->nd == 1 && probe->dimensions[0] == 3 &&
              probe->strides[0] == (Py_ssize_t)sizeof(double) && probe->base == NULL &&
              (probe->flags & (OWNDATA | WRITEABLE)) == (OWNDATA | WRITEABLE) &&
              probe->weakrefs == NULL && probe->mem_handler == handler &&
              PyCapsule_IsValid(handler, CAPSULE) && probe->dtype->number == TYPE_DOUBLE;
  Py_XDECREF(handler);
  return known;
}

/* numpy_init(table, ndarray, zeros, address): once, before the others. */
static PyObject *numpy_init(PyObject *module, PyObject *args) {
  (void)module;
  PyObject *capsule, *type, *probe, *address;
  if (!PyArg_ParseTuple(args, "OO!OO!", &capsule, &PyType_Type, &type, &probe, &PyLong_Type,
                        &address))
    return NULL;
  void **table = PyCapsule_GetPointer(capsule, NULL);
  void *at = PyLong_AsVoidPtr(address);
  if (PyErr_Occurred())
    return NULL;
  if (table[OF_NDARRAY] == type && Py_TYPE(probe) == (PyTypeObject *)type &&
      ((unsigned (*)(void))table[OF_VERSION])() >= FIRST_VERSION) {
    set_handler = (PyObject * (*)(PyObject *)) table[OF_SET_HANDLER];
    get_handler = (PyObject * (*)(void)) table[OF_GET_HANDLER];
    if (is_as_known(array_of(probe), at)) {
      ndarray = (PyTypeObject *)type;
      Py_RETURN_NONE;
    }
  }
  PyErr_Clear();
  PyErr_SetString(PyExc_ImportError,
                  "this NumPy is not one that pmalloc knows: Pool.numpy() needs 1.22 or later, "
                  "whose arrays are laid out as those of 2.x; Pool.ndarray() works with any");
  return NULL;
}

static PyMethodDef functions[] = {
    {"numpy_init", numpy_init, METH_VARARGS,
     "numpy_init($module, table, ndarray, zeros, address, /)\n--\n\nMakes sure of NumPy."},
    {"numpy_handler", numpy_handler, METH_O,
     "numpy_handler($module, pool, /)\n--\n\nThe pool's handler, for numpy_swap()."},
    {"numpy_swap", numpy_swap, METH_O,
     "numpy_swap($module, handler, /)\n--\n\nSets the context's; returns the one before."},
    {"numpy_current", numpy_current, METH_NOARGS,
     "numpy_current($module, /)\n--\n\nThe context's handler."},
    {"numpy_owner", numpy_owner, METH_O,
     "numpy_owner($module, array, /)\n--\n\nThe pool that the array's own data lies in, or None."},
    {"numpy_blocks", numpy_blocks, METH_O,
     "numpy_blocks($module, pool, /)\n--\n\nHow many blocks arrays have of its handler."},
    {"numpy_refusals", numpy_refusals, METH_O,
     "numpy_refusals($module, pool, /)\n--\n\nHow often it gave none, and why at last."},
    {"numpy_find", numpy_find, METH_VARARGS,
     "numpy_find($module, pool, types, /)\n--\n\nThe arrays and views with data in the pool."},
    {"numpy_lock", numpy_lock, METH_VARARGS,
     "numpy_lock($module, pool, arrays, /)\n--\n\nMakes them non-writeable; what was, who owns."},
    {"numpy_unlock", numpy_unlock, METH_O,
     "numpy_unlock($module, arrays, /)\n--\n\nMakes them writeable again."},
    {"numpy_settle", numpy_settle, METH_O,
     "numpy_settle($module, owners, /)\n--\n\nThe pool is protected, and owns their data."},
    {NULL, NULL, 0, NULL}};

int pm_numpy_add_functions(PyObject *module) { return PyModule_AddFunctions(module, functions); }

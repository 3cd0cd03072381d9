/* Cell: a protected reference to a frozen graph, which is exchanged by storing one pointer.
 *
 *   pool 'policy', write-rare        pool 'policy@3', read-only
 *   +-----------------+              +----------------------------------------------+
 *   | Cell            |              | FrozenDict ... its graph ...      Version    |
 *   |   current  o----+--------------+----------------------------->     number 3   |
 *   +-----------------+              |      ^                            value o--+  |
 *                                    |      +-------------------------------------+  |
 *                                    +----------------------------------------------+
 *
 * The Cell is a live object in the protected page, with the slot inside: no ordinary memory holds
 * the slot's address, so there is none to be overwritten on the way from the Cell to the graph.
 * What belongs to it and is ordinary, locks, callbacks, the list of versions, lies in _cell.py and
 * is found by the Cell's address; nothing that reads asks it.
 *
 * A version's number and its value hang on the one pointer together: whoever reads that once, reads
 * both as they belong together. The store is 8 aligned bytes, by rare write, with the GIL held.
 *
 * SPDX-License-Identifier: MIT
 */
#include "cell_type.h"

#include "errors.h"
#include "freeze.h"
#include "guards.h"
#include "pool_type.h"

#include "../libpmalloc/rare_write.h"

typedef struct {
  PyObject_HEAD PyObject *value;
  Py_ssize_t number;
} pm_version;

typedef struct {
  PyObject_HEAD pm_version *current; /* the slot */
} pm_cell;

/* Nobody counts references to what lies in a pool. */
static void never(PyObject *op) { (void)op; }

PyTypeObject PmVersion_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc._core.Version",
    .tp_doc = PyDoc_STR("What a Cell's slot leads to: a frozen object and its number."),
    .tp_basicsize = sizeof(pm_version),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = never,
};

/* An object with nothing but its header, in an open pool; NULL with an exception. What classes of
 * Python code make has the garbage collector's header in front: zeroes, it is not tracked. */
static PyObject *place(pm_pool *pool, PyTypeObject *type) {
  struct pmalloc_region region;
  size_t in_front = pm_preheader(type);
  enum pmalloc_status status =
      pmalloc_pool_region(pool->pool, in_front + (size_t)type->tp_basicsize, &region);
  if (status != PMALLOC_OK)
    return pm_raise_status(status, "make an object in", pmalloc_pool_name(pool->pool));
  PyObject *op = (PyObject *)(void *)(region.base + in_front);
  pm_immortal_header(op, type);
  pmalloc_region_mark(&region, op);
  pmalloc_region_commit(pool->pool, &region, 1);
  return op;
}

static int set_root(pm_pool *pool, PyObject *root) {
  enum pmalloc_status status = pmalloc_pool_set_root(pool->pool, root);
  if (status != PMALLOC_OK)
    pm_raise_status(status, "set the root of", pmalloc_pool_name(pool->pool));
  return status == PMALLOC_OK ? 0 : -1;
}

PyObject *pm_freeze_version(PyObject *module, PyObject *args) {
  pm_pool *pool;
  PyObject *obj, *given;
  Py_ssize_t number;
  (void)module;
  if (!PyArg_ParseTuple(args, "O!OnO:freeze_version", &PmPool_Type, &pool, &obj, &number, &given))
    return NULL;
  PyObject *externals = pm_types_of(given);
  if (externals == NULL)
    return NULL;
  pm_realloc_guard_install();
  PyObject *value = pm_is_frozen(obj) ? obj
                                      : pm_freeze(pool->pool, (PyObject *)pool, obj, pool->keep,
                                                  pool->weakrefs, externals);
  Py_DECREF(externals);
  pm_version *version = value == NULL ? NULL : (pm_version *)(void *)place(pool, &PmVersion_Type);
  if (version == NULL || set_root(pool, value) < 0)
    return NULL;
  version->value = value;
  version->number = number;
  return (PyObject *)version;
}

/* ---- the cell ---- */

static pm_version *current(PyObject *op) {
  return __atomic_load_n(&((pm_cell *)op)->current, __ATOMIC_ACQUIRE);
}

static int need_version(PyObject *op) {
  if (Py_IS_TYPE(op, &PmVersion_Type))
    return 0;
  PyErr_Format(PyExc_TypeError, "a version is needed, not %s", Py_TYPE(op)->tp_name);
  return -1;
}

static PyObject *new_(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  pm_pool *pool;
  PyObject *version;
  if (type->tp_basicsize != sizeof(pm_cell) || pm_type_preheader(type) > PM_GC_HEAD)
    return PyErr_Format(PyExc_TypeError, "%s objects do not fit into a protected slot",
                        type->tp_name);
  if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) ||
      !PyArg_ParseTuple(args, "O!O:Cell", &PmPool_Type, &pool, &version) ||
      need_version(version) < 0)
    return NULL;
  PyObject *op = place(pool, type);
  if (op == NULL || set_root(pool, op) < 0)
    return NULL;
  Py_INCREF(type); /* for ever */
  ((pm_cell *)op)->current = (pm_version *)version;
  return op;
}

static PyObject *get(PyObject *op, PyObject *unused) {
  (void)unused;
  return Py_NewRef(current(op)->value);
}

static PyObject *get_versioned(PyObject *op, PyObject *unused) {
  (void)unused;
  const pm_version *version = current(op);
  return Py_BuildValue("(nO)", version->number, version->value);
}

static PyObject *get_version(PyObject *op, void *unused) {
  (void)unused;
  return PyLong_FromSsize_t(current(op)->number);
}

static PyObject *get_slot(PyObject *op, void *unused) {
  (void)unused;
  const pm_version *version = current(op);
  return Py_BuildValue("(y#N)", (const char *)&version, (Py_ssize_t)sizeof version,
                       PyLong_FromVoidPtr(&((pm_cell *)op)->current));
}

static PyObject *swap(PyObject *op, PyObject *version) {
  pm_cell *self = (pm_cell *)op;
  struct pmalloc_refusal refusal;
  if (need_version(version) < 0)
    return NULL;
  if (pmalloc_rare_copy(&self->current, &version, sizeof self->current, &refusal) != PMALLOC_OK) {
    struct pmalloc_where where;
    const char *name = pmalloc_registry_find((uintptr_t)op, &where) ? where.pool_name : "?";
    return pm_raise_status(refusal.status, "publish in", name);
  }
  Py_RETURN_NONE;
}

/* The type's name without its module. */
static const char *short_name(PyObject *op) {
  const char *name = Py_TYPE(op)->tp_name, *dot = strrchr(name, '.');
  return dot ? dot + 1 : name;
}

static PyObject *refuse_reduce(PyObject *op, PyObject *unused) {
  (void)unused;
  return PyErr_Format(PyExc_TypeError,
                      "cannot copy or pickle a %s: it is one place in protected memory of this "
                      "process; copy or pickle what get() returns",
                      short_name(op));
}

static int refuse_setattr(PyObject *op, PyObject *name, PyObject *value) {
  PyErr_Format(PmProtectedError,
               "cannot %s attribute %R of a %s: it is protected; publish() is "
               "what changes it",
               value ? "set" : "delete", name, short_name(op));
  return -1;
}

static PyMethodDef methods[] = {
    {"get", get, METH_NOARGS,
     "get($self, /)\n--\n\nThe object of the current version; the pointer is read from the "
     "protected page."},
    {"get_versioned", get_versioned, METH_NOARGS,
     "get_versioned($self, /)\n--\n\n(number, object) of the current version, as they belong "
     "together."},
    {"_swap", swap, METH_O, "_swap($self, version, /)\n--\n\nThe one store."},
    {"__reduce_ex__", refuse_reduce, METH_O, "Raises TypeError: it is one place."},
    {"__reduce__", refuse_reduce, METH_NOARGS, "Raises TypeError: it is one place."},
    {"__copy__", refuse_reduce, METH_NOARGS, "Raises TypeError: it is one place."},
    {"__deepcopy__", refuse_reduce, METH_O, "Raises TypeError: it is one place."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "For annotations."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef getset[] = {
    {"version", get_version, NULL, "The number of the current version (int).", NULL},
    {"_slot", get_slot, NULL, "The pointer (bytes), and where it lies (int).", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyTypeObject PmCell_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pmalloc._core.Cell",
    .tp_doc = PyDoc_STR("A protected reference to a frozen graph."),
    .tp_basicsize = sizeof(pm_cell),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = new_,
    .tp_dealloc = never,
    .tp_setattro = refuse_setattr,
    .tp_methods = methods,
    .tp_getset = getset,
};

PyObject *pm_cell_own_get(PyObject *module, PyObject *type) {
  (void)module;
  if (!PyType_Check(type) || !PyType_IsSubtype((PyTypeObject *)type, &PmCell_Type))
    return PyErr_Format(PyExc_TypeError, "a type of cells is needed");
  PyObject *method = PyDescr_NewMethod((PyTypeObject *)type, &methods[0]);
  int bad = method == NULL ? -1 : PyObject_SetAttrString(type, "get", method);
  Py_XDECREF(method);
  return bad < 0 ? NULL : Py_NewRef(Py_None);
}

PyObject *pm_write_unraisable(PyObject *module, PyObject *args) {
  PyObject *error, *obj;
  (void)module;
  if (!PyArg_ParseTuple(args, "O!O:write_unraisable", PyExc_BaseException, &error, &obj))
    return NULL;
  PyErr_SetRaisedException(Py_NewRef(error));
  PyErr_WriteUnraisable(obj);
  Py_RETURN_NONE;
}

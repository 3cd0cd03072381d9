/* selftest: wrong layouts must never reach a user.
 *
 * At import a small graph with one object of every kind is built through the
 * public API and frozen, and the two are compared: field by field where the
 * structures are ours to write, and through the interpreter's own eyes. Then a
 * round of reads must leave every byte of the frozen copy as it was; on
 * protected pages it would have been a fault.
 *
 * SPDX-License-Identifier: MIT
 */
#include "selftest.h"

#include "errors.h"
#include "freeze.h"
#include "frozen_types.h"

static int differs(const char *what) {
  PyErr_Format(PyExc_ImportError,
               "pmalloc's self-test failed on this Python build (%s): the frozen copy of %s is not "
               "what the interpreter builds; please report it, and do not use pmalloc here",
               Py_GetVersion(), what);
  return -1;
}

/* One of every kind; dicts twice of one shape, one with a removed key. */
static PyObject *sample(void) {
  static const char source[] =
      "(lambda pair: {'none': None, 'bools': (True, False), 'small': 7, 'negative': -70000,\n"
      " 'big': -(3**200), 'float': 2.5, 'complex': 1-2j, 'ascii': 'ascii text', 'empty': '',\n"
      " 'latin': 'Z\\xfcrich', 'bmp': '\\u6771\\u4eac', 'astral': '\\U0001f512 lock',\n"
      " 'lone': 'x\\ud800', 'bytes': b'\\0bytes', 'range': range(3, 10**20, 7),\n"
      " 'tuple': (1, ('nested', (2.0,)), ()), 'list': [1, [2, [3]], []],\n"
      " 'records': [{'id': i, 'name': str(i)} for i in range(3)], 5: 'int key', (6, 'k'): "
      "'tuple',\n"
      " 'set': {1, 'two', 3.0}, 'large set': set(range(40)), 'frozenset': frozenset('abc'),\n"
      " 'same': [pair, pair], 'wide': {str(i): i for i in range(300)}})(['shared'])";
  PyObject *globals = PyDict_New();
  PyObject *graph = NULL;
  if (globals != NULL && PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0) {
    PyObject *code = Py_CompileString(source, "<pmalloc self-test>", Py_eval_input);
    graph = code == NULL ? NULL : PyEval_EvalCode(code, globals, globals);
    Py_XDECREF(code);
  }
  Py_XDECREF(globals);
  if (graph != NULL && PyDict_Check(graph)) {
    PyObject *removed = PyDict_GetItemString(graph, "wide"); /* leaves a gap in the table */
    if (removed == NULL || PyDict_DelItemString(removed, "7") < 0)
      Py_CLEAR(graph);
  }
  return graph;
}

static int same_str(PyObject *a, PyObject *b) {
  Py_ssize_t n = 0, m = 0;
  const char *x, *y;
  if (PyUnicode_GET_LENGTH(a) != PyUnicode_GET_LENGTH(b) ||
      PyUnicode_KIND(a) != PyUnicode_KIND(b) || PyUnicode_IS_ASCII(a) != PyUnicode_IS_ASCII(b) ||
      !PyUnicode_IS_COMPACT(b) ||
      memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b), pm_str_data(a)) != 0 ||
      PyObject_Hash(a) != PyObject_Hash(b))
    return 0;
  x = PyUnicode_AsUTF8AndSize(a, &n);
  if (x == NULL) { /* a lone surrogate: both must refuse */
    PyErr_Clear();
    y = PyUnicode_AsUTF8AndSize(b, &m);
    PyErr_Clear();
    return y == NULL;
  }
  y = PyUnicode_AsUTF8AndSize(b, &m);
  return y != NULL && n == m && memcmp(x, y, (size_t)n + 1) == 0;
}

static int same_dict(PyObject *a, PyObject *b) {
  PyObject *fresh = PyDict_New(); /* no gaps in it, as in ours */
  int same =
      fresh != NULL && PyDict_Update(fresh, a) == 0 && PyDict_GET_SIZE(a) == PyDict_GET_SIZE(b);
  if (same && !pm_dict_is_split(b)) {
    const pm_keys *x = pm_dict_keys(fresh), *y = pm_dict_keys(b);
    same = x->nentries == y->nentries && x->kind == y->kind && y->usable == 0;
    if (same && x->log2_size == y->log2_size)
      same = x->log2_index_bytes == y->log2_index_bytes &&
             memcmp(x->indices, y->indices, (size_t)1 << x->log2_index_bytes) == 0;
  }
  Py_ssize_t i = 0, j = 0;
  PyObject *k1, *v1, *k2, *v2;
  while (same && PyDict_Next(a, &i, &k1, &v1))
    same = PyDict_Next(b, &j, &k2, &v2) && PyObject_RichCompareBool(k1, k2, Py_EQ) == 1 &&
           PyDict_GetItemWithError(b, k1) == v2;
  Py_XDECREF(fresh);
  return same;
}

static int same_object(PyObject *a, PyObject *b) {
  if (!pm_is_immortal(b))
    return 0;
  switch (pm_kind_of(Py_TYPE(a))) {
  case PM_KIND_STR:
    return PyUnicode_CheckExact(b) && same_str(a, b);
  case PM_KIND_INT:
    return PyLong_CheckExact(b) &&
           pm_long_digits((PyLongObject *)a) == pm_long_digits((PyLongObject *)b);
  case PM_KIND_DICT:
    return Py_IS_TYPE(b, &PmFrozenDict_Type) && same_dict(a, b);
  case PM_KIND_LIST:
    return Py_IS_TYPE(b, &PmFrozenList_Type) && Py_SIZE(a) == Py_SIZE(b);
  case PM_KIND_SET:
    return Py_IS_TYPE(b, &PmFrozenSet_Type) && PyObject_RichCompareBool(a, b, Py_EQ) == 1;
  case -1:
    return a == b; /* None, True, False */
  default:
    return Py_IS_TYPE(b, Py_TYPE(a));
  }
}

static int compare(PyObject *graph, PyObject *frozen) {
  Py_ssize_t i = 0;
  PyObject *key, *value;
  if (!same_object(graph, frozen))
    return differs("a dict");
  while (PyDict_Next(graph, &i, &key, &value)) {
    PyObject *copy = PyDict_GetItemWithError(frozen, key);
    if (copy == NULL || !same_object(value, copy) ||
        PyObject_IsTrue(value) != PyObject_IsTrue(copy))
      return PyErr_Occurred() ? -1 : differs(Py_TYPE(value)->tp_name);
    if (PyList_Check(value))
      for (Py_ssize_t k = 0; k < PyList_GET_SIZE(value); k++)
        if (!same_object(PyList_GET_ITEM(value, k), PyList_GET_ITEM(copy, k)))
          return differs("an item of a list");
    if (PyObject_IS_GC(copy) && PyObject_GC_IsTracked(copy))
      return differs("a garbage collector header");
    if (PyObject_RichCompareBool(value, copy, Py_EQ) != 1)
      return PyErr_Occurred() ? -1 : differs(Py_TYPE(value)->tp_name);
  }
  PyObject *same = PyDict_GetItemString(frozen, "same");
  if (same == NULL || PyList_GET_ITEM(same, 0) != PyList_GET_ITEM(same, 1))
    return differs("an object with two owners");
  return 0;
}

/* Reads of every sort; none may leave a trace. */
static int read_all(PyObject *frozen) {
  PyObject *text = PyObject_Repr(frozen);
  PyObject *copy = PyDict_Copy(frozen);
  PyObject *thawed = pm_thaw(frozen);
  int bad = text == NULL || copy == NULL || thawed == NULL ||
            PyDict_SetItemString(copy, "more", Py_None) < 0 ||
            PyObject_RichCompareBool(thawed, frozen, Py_EQ) != 1;
  Py_ssize_t i = 0;
  PyObject *key, *value;
  while (!bad && PyDict_Next(frozen, &i, &key, &value)) {
    PyObject *shallow = PyDict_Check(value) ? PyDict_Copy(value) : NULL;
    bad = PyDict_Check(value) && (shallow == NULL || PyDict_SetItemString(shallow, "x", key) < 0);
    Py_XDECREF(shallow);
    if (PyObject_Hash(value) == -1)
      PyErr_Clear();
  }
  Py_XDECREF(text);
  Py_XDECREF(copy);
  Py_XDECREF(thawed);
  return bad ? -1 : 0;
}

int pm_selftest(void) {
  pmalloc_pool *pool = NULL;
  PyObject *graph = sample(), *keep = PyList_New(0), *weakrefs = PyList_New(0), *frozen = NULL;
  char *before = NULL;
  int bad = -1;
  if (graph == NULL || keep == NULL || weakrefs == NULL)
    goto done;
  enum pmalloc_status status = pmalloc_pool_create(&pool, "self-test", 0);
  if (status != PMALLOC_OK) {
    pm_raise_status(status, "create", "self-test");
    goto done;
  }
  frozen = pm_freeze(pool, NULL, graph, keep, weakrefs, NULL);
  if (frozen == NULL || compare(graph, frozen) < 0)
    goto done;
  struct pmalloc_where where;
  if (!pmalloc_registry_find((uintptr_t)frozen, &where) || where.place != PMALLOC_DATA ||
      where.object_start != (uintptr_t)frozen) {
    differs("an entry of the registry");
    goto done;
  }
  size_t size = where.chunk_end - where.chunk_start;
  before = PyMem_RawMalloc(size);
  if (before == NULL) {
    PyErr_NoMemory();
    goto done;
  }
  memcpy(before, (void *)where.chunk_start, size);
  if (read_all(frozen) < 0)
    goto done;
  if (memcmp(before, (void *)where.chunk_start, size) != 0) {
    differs("an object that was only read");
    goto done;
  }
  bad = 0;
done:
  PyMem_RawFree(before);
  if (pool != NULL && pmalloc_pool_destroy(pool) == PMALLOC_OK)
    pmalloc_pool_forget(pool);
  if (weakrefs != NULL)
    pm_weakrefs_bury(weakrefs);
  Py_XDECREF(graph);
  Py_XDECREF(keep);
  Py_XDECREF(weakrefs);
  return bad;
}

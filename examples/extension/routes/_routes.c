/* routes: a table of longest prefixes that nothing can change once it is made.
 *
 *      Table (a Python object, in ordinary memory)
 *        | pool, table
 *        v
 *      struct table {n} | {prefix, target} {prefix, target} ... | "/api" "10.0.0.7" ...
 *      `------------------- one pool, read-only -----------------------------------'
 *
 * It links with -lpmalloc and without a run path: `import routes` imports pmalloc before this
 * module, and the loader gives it the library that is there. So there is one registry of pools in
 * the process, and one handler that reports violations, whoever made the pool.
 *
 * SPDX-License-Identifier: MIT
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <pmalloc.h>

#include <errno.h>
#include <string.h>

struct route {
  const char *prefix, *target;
  size_t length;
};

struct table {
  size_t n;
  struct route route[];
};

typedef struct {
  PyObject_HEAD struct pmalloc_pool *pool;
  const struct table *table;
} TableObject;

/* pmalloc says why in errno; Python says it in an exception. */
static void *raise_errno(const char *name) {
  return errno == ENOMEM ? PyErr_NoMemory() : PyErr_SetFromErrnoWithFilename(PyExc_OSError, name);
}

static const char *copy_text(struct pmalloc_pool *pool, PyObject *text, const char *name) {
  const char *utf8 = PyUnicode_AsUTF8(text); /* TypeError where it is no str */
  const char *copy = utf8 ? pstrdup(pool, utf8) : NULL;
  return copy || !utf8 ? copy : raise_errno(name);
}

static struct table *build(struct pmalloc_pool *pool, PyObject *routes, const char *name) {
  size_t n = (size_t)PyDict_Size(routes);
  struct table *table = pzalloc(pool, sizeof *table + n * sizeof *table->route);
  PyObject *key, *value;
  Py_ssize_t at = 0;
  if (!table)
    return raise_errno(name);
  while (PyDict_Next(routes, &at, &key, &value)) {
    struct route *route = &table->route[table->n++];
    if (!(route->prefix = copy_text(pool, key, name)) ||
        !(route->target = copy_text(pool, value, name)))
      return NULL;
    route->length = strlen(route->prefix);
  }
  return table;
}

static PyObject *table_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
  static char *keywords[] = {"routes", "name", NULL};
  PyObject *routes;
  const char *name = "routes";
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!|s:Table", keywords, &PyDict_Type, &routes,
                                   &name))
    return NULL;
  TableObject *self = (TableObject *)type->tp_alloc(type, 0);
  if (!self)
    return NULL;
  self->pool = pmalloc_create_pool(name, NULL);
  if (!self->pool)
    raise_errno(name);
  else
    self->table = build(self->pool, routes, name);
  if (self->table) {
    enum pmalloc_status status = pmalloc_protect_pool(self->pool);
    if (status == PMALLOC_OK)
      return (PyObject *)self;
    PyErr_Format(PyExc_OSError, "cannot protect pool '%s': %s", name, pmalloc_strerror(status));
  }
  Py_DECREF(self);
  return NULL;
}

static void table_dealloc(PyObject *op) {
  TableObject *self = (TableObject *)op;
  PyTypeObject *type = Py_TYPE(op);
  if (self->pool)
    pmalloc_destroy_pool(self->pool); /* nobody else holds a pointer into it */
  type->tp_free(op);
  Py_DECREF(type);
}

static PyObject *lookup(PyObject *op, PyObject *path) {
  const struct table *table = ((TableObject *)op)->table;
  const struct route *best = NULL;
  const char *text = PyUnicode_AsUTF8(path);
  if (!text)
    return NULL;
  for (const struct route *route = table->route; route < table->route + table->n; route++) {
    if ((!best || route->length > best->length) && strncmp(text, route->prefix, route->length) == 0)
      best = route;
  }
  if (!best)
    Py_RETURN_NONE;
  return PyUnicode_FromString(best->target);
}

static PyObject *damage(PyObject *op, PyObject *unused) {
  (void)unused;
  const struct table *table = ((TableObject *)op)->table;
  ((struct route *)table->route)[0].length = 0; /* the store faults */
  Py_RETURN_NONE;
}

static PyObject *owns(PyObject *module, PyObject *address) {
  (void)module;
  void *at = PyLong_AsVoidPtr(address);
  return at == NULL && PyErr_Occurred() ? NULL : PyBool_FromLong(is_pmalloc_object(at));
}

static PyObject *get_address(PyObject *op, void *unused) {
  (void)unused;
  return PyLong_FromVoidPtr((void *)((TableObject *)op)->table);
}

static PyMethodDef table_methods[] = {
    {"lookup", lookup, METH_O, "The target of the longest prefix of a path; None where none is."},
    {"damage", damage, METH_NOARGS, "A bug, to see what becomes of it: overwrites a route."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef table_getset[] = {
    {"address", get_address, NULL, "Where the table lies (int).", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot table_slots[] = {
    {Py_tp_doc, "Table(routes, name='routes')\n--\n\nPrefixes and their targets, read-only."},
    {Py_tp_new, table_new},
    {Py_tp_dealloc, table_dealloc},
    {Py_tp_methods, table_methods},
    {Py_tp_getset, table_getset},
    {0, NULL}};

static PyType_Spec table_spec = {.name = "routes.Table",
                                 .basicsize = sizeof(TableObject),
                                 .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                 .slots = table_slots};

static int exec(PyObject *module) {
  PyObject *type = PyType_FromModuleAndSpec(module, &table_spec, NULL);
  int bad = !type || PyModule_AddObjectRef(module, "Table", type) < 0;
  Py_XDECREF(type);
  return bad ? -1 : 0;
}

static PyMethodDef methods[] = {
    {"owns", owns, METH_O, "Whether an address lies in a pool, of whoever made it."},
    {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, exec}, {0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "routes._routes",
                                        .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__routes(void) { return PyModuleDef_Init(&definition); }

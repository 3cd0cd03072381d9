/* pmalloc._core: the extension module.
 *
 * SPDX-License-Identifier: MIT
 */
#include "../libpmalloc/fault_origin.h"
#include "born.h"
#include "cell_type.h"
#include "errors.h"
#include "freeze.h"
#include "frozen_types.h"
#include "guards.h"
#include "in_sight.h"
#include "init_function.h"
#include "numpy_handler.h"
#include "object_size.h"
#include "pool_type.h"
#include "rare_probe.h"
#include "rare_write_type.h"
#include "record.h"
#include "selftest.h"
#include "shared_type.h"
#include "staging.h"
#include "static_data.h"
#include "violations.h"

static PyObject *thaw(PyObject *module, PyObject *obj) {
  (void)module;
  return pm_thaw(obj);
}

/* An array, a memoryview: the memory they show counts. NumPy shows dates to nobody, but an array
 * of them has a base. */
static int find_shown(PyObject *obj, struct pmalloc_where *where) {
  Py_buffer view;
  /* Those that own their bytes own ordinary ones. */
  if (!PyObject_CheckBuffer(obj) || PyBytes_Check(obj) || PyByteArray_Check(obj) ||
      Py_IS_TYPE(obj, &PmAllocation_Type))
    return 0;
  const void *data = pm_numpy_data(obj);
  if (data != NULL)
    return pmalloc_registry_find((uintptr_t)data, where) && where->place == PMALLOC_DATA;
  if (PyObject_GetBuffer(obj, &view, PyBUF_FULL_RO) == 0) {
    int found = pmalloc_registry_find((uintptr_t)view.buf, where) && where->place == PMALLOC_DATA;
    PyBuffer_Release(&view);
    return found;
  }
  PyErr_Clear();
  PyObject *base = PyObject_GetAttrString(obj, "base");
  int found = base != NULL && base != obj && Py_EnterRecursiveCall("") == 0;
  if (found) {
    found = find_shown(base, where);
    Py_LeaveRecursiveCall();
  }
  PyErr_Clear();
  Py_XDECREF(base);
  return found;
}

static int find(PyObject *obj, struct pmalloc_where *where) {
  uintptr_t at = Py_IS_TYPE(obj, &PmAllocation_Type) ? (uintptr_t)((pm_allocation *)obj)->address
                                                     : (uintptr_t)obj;
  if (pmalloc_registry_find(at, where) && where->place == PMALLOC_DATA)
    return 1;
  return find_shown(obj, where);
}

static PyObject *is_protected(PyObject *module, PyObject *obj) {
  (void)module;
  struct pmalloc_where where;
  return PyBool_FromLong(find(obj, &where) && pmalloc_registry_is_kept(&where));
}

/* The bits of the policies that pools were created with. */
static PyObject *policies_in_use(PyObject *module, PyObject *unused) {
  (void)module;
  (void)unused;
  return PyLong_FromUnsignedLong(pmalloc_policies_in_use());
}

static PyObject *pool_id_of(PyObject *module, PyObject *obj) {
  (void)module;
  struct pmalloc_where where;
  if (!find(obj, &where))
    Py_RETURN_NONE;
  return PyLong_FromSize_t(where.pool_id);
}

static PyObject *is_frozen(PyObject *module, PyObject *obj) {
  (void)module;
  return PyBool_FromLong(pm_is_frozen(obj));
}

static PyObject *root(PyObject *module, PyObject *name) {
  (void)module;
  const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
  if (text == NULL) {
    if (!PyErr_Occurred())
      PyErr_SetString(PyExc_TypeError, "root() needs the name of a pool, a str");
    return NULL;
  }
  void *object = NULL;
  int found = pmalloc_root_lookup(text, &object);
  if (found > 0)
    return Py_NewRef((PyObject *)object);
  if (found == 0)
    PyErr_SetObject(PyExc_KeyError, name);
  else
    PyErr_Format(PmCorruptionError,
                 "the metadata of pool '%U' is not what pmalloc wrote there: something in this "
                 "process forged it; do not trust its root",
                 name);
  return NULL;
}

static PyObject *preview(PyObject *module, PyObject *args) {
  PyObject *obj, *given;
  Py_ssize_t limit;
  (void)module;
  if (!PyArg_ParseTuple(args, "OOn", &obj, &given, &limit))
    return NULL;
  PyObject *externals = pm_types_of(given);
  PyObject *result = externals == NULL ? NULL : pm_preview(obj, externals, limit);
  Py_XDECREF(externals);
  return result;
}

static PyObject *set_resolver(PyObject *module, PyObject *args) {
  (void)module;
  PyObject *resolver, *make_twin;
  if (!PyArg_ParseTuple(args, "OO", &resolver, &make_twin))
    return NULL;
  pm_classes_set_resolver(resolver, make_twin);
  Py_RETURN_NONE;
}

static PyObject *forget_class(PyObject *module, PyObject *type) {
  (void)module;
  if (!PyType_Check(type))
    return PyErr_Format(PyExc_TypeError, "a type is needed, not %s", Py_TYPE(type)->tp_name);
  pm_class_forget((PyTypeObject *)type);
  Py_RETURN_NONE;
}

static PyObject *install_handler(PyObject *module, PyObject *args) {
  (void)module;
  int stack_signal, stack_fd;
  if (!PyArg_ParseTuple(args, "ii", &stack_signal, &stack_fd) ||
      pm_handler_install(stack_signal, stack_fd) < 0)
    return NULL;
  Py_RETURN_NONE;
}

static PyObject *note_origin(PyObject *module, PyObject *args) {
  (void)module;
  Py_ssize_t pool_id;
  unsigned line;
  int event;
  const char *file;
  long long time_ns;
  if (!PyArg_ParseTuple(args, "niyIL", &pool_id, &event, &file, &line, &time_ns))
    return NULL;
  pmalloc_origin_note((uintptr_t)pool_id, event ? PMALLOC_WAS_PROTECTED : PMALLOC_WAS_CREATED, file,
                      line, time_ns);
  Py_RETURN_NONE;
}

static PyObject *expire_origin(PyObject *module, PyObject *arg) {
  (void)module;
  size_t pool_id = PyLong_AsSize_t(arg);
  if (pool_id == (size_t)-1 && PyErr_Occurred())
    return NULL;
  pmalloc_origin_expire(pool_id);
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"thaw", thaw, METH_O, "thaw($module, obj, /)\n--\n\nA plain, mutable deep copy."},
    {"is_protected", is_protected, METH_O,
     "is_protected($module, obj, /)\n--\n\nWhether the object lies in a protected pool."},
    {"is_frozen", is_frozen, METH_O,
     "is_frozen($module, obj, /)\n--\n\nWhether the object lies in a pool."},
    {"pool_id_of", pool_id_of, METH_O,
     "pool_id_of($module, obj, /)\n--\n\nNumber of the object's pool, or None."},
    {"root", root, METH_O, "root($module, name, /)\n--\n\nThe root of the pool of that name."},
    {"preview", preview, METH_VARARGS,
     "preview($module, obj, externals, limit, /)\n--\n\nWhat freeze would do, as a dict."},
    {"freeze_version", pm_freeze_version, METH_VARARGS,
     "freeze_version($module, pool, obj, number, externals, /)\n--\n\nWhat a cell's slot is to "
     "lead "
     "to."},
    {"memory_lock", pm_memory_lock, METH_VARARGS,
     "memory_lock($module, pool, objects, /)\n--\n\nMakes memoryviews of its arrays read-only."},
    {"memory_unlock", pm_memory_unlock, METH_O,
     "memory_unlock($module, views, /)\n--\n\nUndoes it."},
    {"clear_stack", pm_clear_stack, METH_NOARGS,
     "clear_stack($module, /)\n--\n\nPuts zeroes where returned functions had their variables."},
    {"write_unraisable", pm_write_unraisable, METH_VARARGS,
     "write_unraisable($module, error, obj, /)\n--\n\nHands it to sys.unraisablehook."},
    {"cell_own_get", pm_cell_own_get, METH_O,
     "cell_own_get($module, type, /)\n--\n\nMakes get() a method of the type itself."},
    {"set_resolver", set_resolver, METH_VARARGS,
     "set_resolver($module, resolver, make_twin, /)\n--\n\nWho knows about classes."},
    {"forget_class", forget_class, METH_O,
     "forget_class($module, type, /)\n--\n\nAsk the resolver anew about a type and its "
     "subclasses."},
    {"instance_copy", pm_instance_copy, METH_O,
     "instance_copy($module, obj, /)\n--\n\nAn ordinary instance, shallow."},
    {"instance_deepcopy", pm_instance_deepcopy, METH_VARARGS,
     "instance_deepcopy($module, obj, memo, /)\n--\n\nAn ordinary instance, deep."},
    {"instance_reduce", pm_instance_reduce, METH_O,
     "instance_reduce($module, obj, /)\n--\n\nWhat pickle wants to know."},
    {"instance_dict_of", pm_instance_dict_of, METH_O,
     "instance_dict_of($module, obj, /)\n--\n\nIts __dict__."},
    {"instance_refuse", pm_instance_refuse, METH_VARARGS,
     "instance_refuse($module, obj, name, value=..., /)\n--\n\nRaises: attributes cannot be set."},
    {"check_object_size", (PyCFunction)(void (*)(void))pm_check_object_size, METH_FASTCALL,
     "check_object_size($module, obj, size=None, /)\n--\n\nWhether bytes are one thing of a pool."},
    {"rare_write", pm_rare_write, METH_O,
     "rare_write($module, target, /)\n--\n\nA context manager that gives a copy of the target to "
     "be "
     "edited, and writes what changed."},
    {"set_rare_log", pm_set_rare_log, METH_O,
     "set_rare_log($module, log, /)\n--\n\nWho is told of rare writes; None: nobody."},
    {"record_finish", pm_record_finish, METH_VARARGS,
     "record_finish($module, cls, fields, changes, /)\n--\n\nGives a new class its layout."},
    {"memoryviews", pm_memoryviews, METH_NOARGS,
     "memoryviews($module, /)\n--\n\nAll that the garbage collector knows."},
    {"in_sight", pm_in_sight, METH_VARARGS,
     "in_sight($module, kind, known, more, /)\n--\n\nThe instances of a type, and memoryviews, "
     "that "
     "somebody refers to."},
    {"close_function", pm_close_function, METH_VARARGS,
     "close_function($module, function, explain, /)\n--\n\nFrom now on each call raises "
     "explain(function)."},
    {"install_handler", install_handler, METH_VARARGS,
     "install_handler($module, stack_signal, stack_fd, /)\n--\n\nPuts the SIGSEGV handler on "
     "top."},
    {"note_origin", note_origin, METH_VARARGS,
     "note_origin($module, pool_id, event, file, line, time_ns, /)\n--\n\nWhere and when a pool "
     "was created (0) or protected (1)."},
    {"expire_origin", expire_origin, METH_O,
     "expire_origin($module, pool_id, /)\n--\n\nThe pool was destroyed."},
    {"path_of", pm_path_of, METH_O,
     "path_of($module, obj, /)\n--\n\nThe path of a frozen object as a report shows it, or None."},
    {"policies_in_use", policies_in_use, METH_NOARGS,
     "policies_in_use($module, /)\n--\n\nBit 1 << n for each policy of a pool, as numbered in C."},
    {"violations", pm_violations, METH_NOARGS,
     "violations($module, /)\n--\n\nThe log: lists of writers and of writes."},
    {"set_violation_signal", pm_set_violation_signal, METH_O,
     "set_violation_signal($module, number, /)\n--\n\nWhat the main thread is woken by."},
    {"in_graph", pm_in_graph, METH_VARARGS,
     "in_graph($module, inside, obj, /)\n--\n\nWhether Pool._settle() met the object."},
    {"handler_state", pm_handler_state, METH_NOARGS,
     "handler_state($module, /)\n--\n\nWho gets SIGSEGV, as a dict."},
    {"segv_blocked", pm_segv_blocked, METH_NOARGS,
     "segv_blocked($module, /)\n--\n\nWhether this thread has SIGSEGV blocked."},
    {"rare_probe", pm_rare_probe, METH_VARARGS,
     "rare_probe($module, allocation, data, times, /)\n--\n\nRare writes to its start; seconds."},
    {"window_probe", pm_window_probe, METH_VARARGS,
     "window_probe($module, size, times, /)\n--\n\nThe same by a window, on a mapping of its "
     "own; seconds."},
    {"sections", pm_sections, METH_NOARGS,
     "sections($module, /)\n--\n\nThe static data of loaded objects, as a list of tuples."},
    {"protect_section", pm_protect_section, METH_O,
     "protect_section($module, id, /)\n--\n\nMakes one of them read-only."},
    {"open_shared", (PyCFunction)(void (*)(void))pm_open_shared, METH_VARARGS | METH_KEYWORDS,
     "open_shared($module, fd, *, verify=True, seal=True)\n--\n\nAnother process's pool."},
    {NULL, NULL, 0, NULL}};

/* Adds a new reference, or passes on an exception. */
static int add_new(PyObject *module, const char *name, PyObject *value) {
  int bad = value == NULL ? -1 : PyModule_AddObjectRef(module, name, value);
  Py_XDECREF(value);
  return bad;
}

/* python -E and -I: no variable of the environment counts. */
static int heed_flags(void) {
  PyObject *flags = PySys_GetObject("flags"); /* borrowed */
  PyObject *ignore = flags == NULL ? NULL : PyObject_GetAttrString(flags, "ignore_environment");
  int ignored = ignore == NULL ? -1 : PyObject_IsTrue(ignore);
  Py_XDECREF(ignore);
  if (ignored > 0)
    pmalloc_ignore_environment();
  return ignored < 0 ? -1 : 0;
}

/* A word that is none must not be taken for one. */
static int heed_policy(void) {
  enum pmalloc_policy policy;
  const char *value;
  if (pmalloc_process_policy(&policy, &value) == PMALLOC_OK)
    return 0;
  PyErr_Format(PyExc_ImportError,
               "PMALLOC_RODATA is '%.100s'; it takes oops, warn, audit or off: set it to one of "
               "these, or not at all",
               value);
  return -1;
}

static int exec(PyObject *module) {
  if (heed_flags() < 0 || heed_policy() < 0 || pm_layout_check() < 0 ||
      pm_errors_init(module) < 0 || pm_frozen_types_ready() < 0)
    return -1;
  if (PyModule_AddType(module, &PmPool_Type) < 0 ||
      PyModule_AddType(module, &PmAllocation_Type) < 0 ||
      PyModule_AddType(module, &PmArrayData_Type) < 0 ||
      PyModule_AddType(module, &PmCell_Type) < 0 || PyType_Ready(&PmVersion_Type) < 0 ||
      PyModule_AddType(module, &PmRareWrite_Type) < 0 ||
      PyModule_AddType(module, &PmRecord_Type) < 0 ||
      PyModule_AddType(module, &PmRecordClass_Type) < 0 ||
      PyModule_AddType(module, &PmField_Type) < 0 || pm_staging_init() < 0 ||
      PyModule_AddType(module, &PmShared_Type) < 0 || PyType_Ready(&PmSharedView_Type) < 0 ||
      PyModule_AddObjectRef(module, "FrozenDict", (PyObject *)&PmFrozenDict_Type) < 0 ||
      PyModule_AddObjectRef(module, "FrozenList", (PyObject *)&PmFrozenList_Type) < 0 ||
      PyModule_AddObjectRef(module, "FrozenSet", (PyObject *)&PmFrozenSet_Type) < 0 ||
      PyModule_AddObjectRef(module, "FrozenInstance", (PyObject *)&PmFrozenInstance_Type) < 0 ||
      pm_numpy_add_functions(module) < 0 ||
      add_new(module, "instance_dict", pm_instance_dict_descriptor()) < 0)
    return -1;
  return pm_selftest();
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, exec},
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
    {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pmalloc._core",
    .m_doc = PyDoc_STR("The part of pmalloc that has to be C; import pmalloc instead."),
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }

/* cpython_instance: see the header.
 *
 * SPDX-License-Identifier: MIT
 */
#define Py_BUILD_CORE 1
#include "cpython_instance.h"

#include "errors.h"

#include "internal/pycore_dict.h"
#include "internal/pycore_object.h"

#if !PM_SHARED_KEYS
_Static_assert(sizeof(struct _dictvalues) == sizeof(PyObject *), "values on 3.12");
#else
_Static_assert(MANAGED_DICT_OFFSET == -3 * (Py_ssize_t)sizeof(PyObject *), "__dict__ word");
#endif
_Static_assert(MANAGED_WEAKREF_OFFSET == -4 * (Py_ssize_t)sizeof(PyObject *), "weakrefs word");

/* ---- the values of a frozen instance ------------------------------------- */

void *pm_attributes_init(char *block, size_t n, PyObject *const *values, const uint8_t *order,
                         size_t ordered) {
  char *start = block + pm_attribute_start(n);
  memcpy(start, values, n * sizeof *values);
#if PM_SHARED_KEYS
  pm_values *v = (pm_values *)(void *)block;
  v->capacity = (uint8_t)n;
  v->size = (uint8_t)ordered;
  v->embedded = v->valid = 1;
  memcpy(&v->values[n], order, ordered);
  return v;
#else
  uint8_t *end = (uint8_t *)start;
  end[-1] = (uint8_t)pm_attribute_start(n);
  end[-2] = (uint8_t)ordered;
  for (size_t i = 0; i < ordered; i++)
    end[-3 - (Py_ssize_t)i] = order[i];
  return start;
#endif
}

#define ALWAYS_LINKED (PY_VERSION_HEX >= 0x030D0000 && PY_VERSION_HEX < 0x030E0000)

void pm_managed_init(PyObject *op, PyObject *dict, void *values, int linked) {
  if (linked || ALWAYS_LINKED || values == NULL)
    *pm_managed_dict(op) = dict;
  else
    *pm_managed_dict(op) = PM_SHARED_KEYS ? NULL : (PyObject *)(void *)((char *)values - 1);
}

/* ---- attributes of an ordinary instance ----------------------------------- */

PyObject *pm_attributes_dict(PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  if (PyType_HasFeature(type, Py_TPFLAGS_MANAGED_DICT)) {
    PyObject *word = *pm_managed_dict(op);
#if !PM_SHARED_KEYS
    if ((uintptr_t)word & 1)
      return NULL;
#endif
    return word;
  }
  if (type->tp_dictoffset > 0)
    return *(PyObject **)(void *)((char *)op + type->tp_dictoffset);
  return NULL;
}

void pm_attributes_of(PyObject *op, pm_attributes *a) {
  PyTypeObject *type = Py_TYPE(op);
  *a = (pm_attributes){.dict = pm_attributes_dict(op)};
  if (a->dict != NULL || !PyType_HasFeature(type, PM_INLINE_FLAG))
    return;
#if PM_SHARED_KEYS
  pm_values *v = (pm_values *)(void *)_PyObject_InlineValues(op);
  if (!v->valid)
    return;
  a->values = v;
#else
  PyObject *word = *pm_managed_dict(op);
  if (word == NULL)
    return;
  a->values = (char *)word + 1;
#endif
  a->keys = pm_class_keys(type);
}

int pm_attributes_next_slot(pm_attributes *a, PyObject **name, PyObject ***slot) {
  if (a->values == NULL)
    return 0;
#if PM_SHARED_KEYS
  pm_values *v = a->values;
  if (a->at >= v->size)
    return 0;
  uint8_t i = ((const uint8_t *)&v->values[v->capacity])[a->at++];
  *slot = &v->values[i];
#else
  const uint8_t *end = a->values;
  if (a->at >= end[-2])
    return 0;
  uint8_t i = end[-3 - a->at++];
  *slot = &((PyObject **)a->values)[i];
#endif
  *name = ((pm_unicode_entry *)pm_keys_entries(a->keys))[i].key;
  return 1;
}

int pm_attributes_next(pm_attributes *a, PyObject **name, PyObject **value) {
  PyObject **slot;
  if (a->dict != NULL)
    return PyDict_Next(a->dict, &a->at, name, value);
  if (!pm_attributes_next_slot(a, name, &slot))
    return 0;
  *value = *slot;
  return 1;
}

/* ---- classes -------------------------------------------------------------- */

int pm_is_python_class(PyTypeObject *type) {
  /* Exceptions made by PyErr_NewException() are classes like those of a class statement. */
  return PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
         type->tp_dealloc == ((PyTypeObject *)PmError)->tp_dealloc;
}

PyTypeObject *pm_solid_base(PyTypeObject *type) {
  static PyTypeObject *namespace_type;
  if (namespace_type == NULL) {
    PyObject *sys_namespace = PySys_GetObject("implementation");
    if (sys_namespace != NULL)
      namespace_type = Py_TYPE(sys_namespace);
  }
  while (type != NULL && type != &PyBaseObject_Type) {
    PyTypeObject *base = type->tp_base;
    if (type == &PyDict_Type || type == &PyList_Type || type == &PyTuple_Type ||
        type == namespace_type)
      return type;
    /* A C type that adds no storage, as typing.Generic, is nothing to know about. */
    if (!pm_is_python_class(type) &&
        (type->tp_basicsize != base->tp_basicsize || type->tp_itemsize != base->tp_itemsize))
      return NULL;
    type = base;
  }
  return type;
}

int pm_slots_of(PyTypeObject *type, PyTypeObject *solid, int known, Py_ssize_t **offsets,
                size_t *n) {
  size_t room = (size_t)(type->tp_basicsize - solid->tp_basicsize) / sizeof(PyObject *);
  size_t hidden = 0;
  *n = 0;
  *offsets = NULL;
  if (room == 0)
    return type->tp_basicsize == solid->tp_basicsize ? 0 : -1;
  Py_ssize_t *found = PyMem_RawMalloc(room * sizeof *found);
  if (found == NULL) {
    PyErr_NoMemory();
    return -1;
  }
  for (PyTypeObject *at = type; at != solid; at = at->tp_base) {
    if (!(known || pm_is_python_class(at)) || at->tp_members == NULL)
      continue;
    for (const PyMemberDef *m = at->tp_members; m->name != NULL; m++) {
      /* Looks like a slot and holds a number, which is not taken along: it is computed anew. */
      if (strcmp(m->name, "__msgspec_cached_hash__") == 0) {
        hidden = 1;
        continue;
      }
      int of_object = m->type == Py_T_OBJECT_EX && m->offset >= solid->tp_basicsize;
      for (size_t i = 0; of_object && i < *n; i++)
        of_object = found[i] != m->offset;
      if (of_object && *n < room)
        found[(*n)++] = m->offset;
    }
  }
  /* A __weakref__ or __dict__ in between, of a class that is not managed, is not ours to write. */
  if (*n + hidden != room) {
    PyMem_RawFree(found);
    *n = 0;
    return -1;
  }
  *offsets = found;
  return 0;
}

const char *pm_slot_name(PyTypeObject *type, Py_ssize_t offset) {
  for (PyTypeObject *at = type; at != NULL; at = at->tp_base) {
    if (!PyType_HasFeature(at, Py_TPFLAGS_HEAPTYPE) || at->tp_members == NULL)
      continue;
    for (const PyMemberDef *m = at->tp_members; m->name != NULL; m++)
      if (m->offset == offset && m->type == Py_T_OBJECT_EX)
        return m->name;
  }
  return "?";
}

pm_keys *pm_class_finish(PyTypeObject *frozen, PyObject *const *names, size_t n) {
  if (PyType_HasFeature(frozen, Py_TPFLAGS_MANAGED_DICT)) {
    /* In ordinary memory: the interpreter numbers the versions of a class's keys in them. */
    pm_keys *keys = PyMem_RawCalloc(1, pm_keys_size(n, 1));
    if (keys == NULL) {
      PyErr_NoMemory();
      return NULL;
    }
    pm_keys_init(keys, n, PM_KEYS_SPLIT);
    for (size_t i = 0; i < n; i++) {
      ((pm_unicode_entry *)pm_keys_entries(keys))[i].key = Py_NewRef(names[i]);
      pm_keys_index(keys, PyObject_Hash(names[i]), i);
    }
    /* The old table, without a key, stays for good: only the interpreter can free one. */
    ((PyHeapTypeObject *)frozen)->ht_cached_keys = (struct _dictkeysobject *)keys;
  }
  frozen->tp_weaklistoffset = 0;
  PyType_Modified(frozen);
  return pm_class_keys(frozen);
}

/* ---- sizes ------------------------------------------------------------------ */

static size_t table_bytes(PyObject *dict) {
  const pm_keys *k = pm_dict_keys(dict);
  if (pm_dict_is_split(dict))
    return (size_t)k->nentries * (sizeof(PyObject *) + 1) + sizeof(PyObject *);
  if (k == pm_empty_keys())
    return 0;
  return sizeof *k + ((size_t)1 << k->log2_index_bytes) +
         (((size_t)2 << k->log2_size) / 3) *
             (k->kind == PM_KEYS_GENERAL ? sizeof(pm_entry) : sizeof(pm_unicode_entry));
}

static size_t attribute_bytes(PyObject *op) {
  PyObject *dict = pm_attributes_dict(op);
  if (dict != NULL)
    return pm_preheader(&PyDict_Type) + sizeof(PyDictObject) + table_bytes(dict);
  if (!PyType_HasFeature(Py_TYPE(op), PM_INLINE_FLAG))
    return 0;
  return pm_attribute_bytes((size_t)pm_class_keys(Py_TYPE(op))->nentries);
}

size_t pm_ordinary_bytes(PyObject *op) {
  PyTypeObject *type = Py_TYPE(op);
  size_t bytes = pm_type_preheader(type) + (size_t)type->tp_basicsize;
  if (PyUnicode_CheckExact(op))
    bytes = pm_str_head(op) + pm_str_data(op);
  else if (PyLong_CheckExact(op))
    bytes = pm_long_size((PyLongObject *)op);
  else if (PyTuple_Check(op) || PyBytes_Check(op))
    bytes += (size_t)Py_SIZE(op) * (size_t)type->tp_itemsize;
  else if (PyList_Check(op))
    bytes += (size_t)((PyListObject *)op)->allocated * sizeof(PyObject *);
  else if (PyDict_Check(op))
    bytes += table_bytes(op);
  else if (PyAnySet_Check(op))
    bytes += pm_set_table_bytes(op);
  else if (PyByteArray_Check(op))
    bytes += (size_t)((PyByteArrayObject *)op)->ob_alloc;
  if (type->tp_dictoffset != 0)
    bytes += attribute_bytes(op);
  return (bytes + 15) & ~(size_t)15; /* as the allocator rounds */
}

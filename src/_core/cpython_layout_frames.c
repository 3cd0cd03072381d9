/* cpython_layout_frames: references that Python frames hold, when an object becomes immortal.
 *
 * Since 3.14 a frame's locals and its stack hold tagged references. The lowest bit says that nobody
 * counts this one: it was borrowed, or the object was immortal when the reference was made. Where
 * the bit is clear the interpreter counts up and down without asking the object, also when it has
 * become immortal meanwhile, and its page read-only. Such a store is harmless and would be let pass
 * like one of an old extension (fault_refcount.c), but each would be a fault, and main() may hold a
 * table all day. So when a born dict or list becomes immortal, all references that frames hold to
 * it are told.
 *
 *   frame   | code | previous | ... | stackpointer --.  | locals ... | stack ... |
 *                                                    '----------------------->^
 *
 * Frames are those of every thread, of generators and coroutines, and those that outlived their
 * call, in a traceback for one.
 *
 * SPDX-License-Identifier: MIT
 */
#define Py_BUILD_CORE 1
#include "cpython_layout.h"

#if PY_VERSION_HEX >= 0x030E0000
#include "internal/pycore_frame.h"
#include "internal/pycore_genobject.h"
#include "internal/pycore_interpframe.h"
#include "internal/pycore_interpframe_structs.h"

struct errand {
  int (*is_one)(PyObject *op, void *of);
  void *of;
};

static void tell_frame(struct _PyInterpreterFrame *frame, const struct errand *e) {
  if (frame->owner >= FRAME_OWNED_BY_INTERPRETER)
    return; /* of C code: it holds plain pointers */
  PyObject *code = PyStackRef_AsPyObjectBorrow(frame->f_executable);
  if (code == NULL || !PyCode_Check(code))
    return;
  _PyStackRef *end = frame->localsplus + ((PyCodeObject *)code)->co_nlocalsplus;
  if (frame->stackpointer != NULL && frame->stackpointer > end)
    end = frame->stackpointer;
  for (_PyStackRef *ref = frame->localsplus; ref < end; ref++) {
    uintptr_t bits = (uintptr_t)ref->bits;
    if (bits != 0 && (bits & Py_INT_TAG) == 0 && e->is_one((PyObject *)bits, e->of)) // NOLINT
      ref->bits |= Py_TAG_REFCNT;
  }
}

static int tell_object(PyObject *op, void *of) {
  const struct errand *e = of;
  if (PyGen_CheckExact(op) || PyCoro_CheckExact(op) || PyAsyncGen_CheckExact(op)) {
    PyGenObject *gen = (PyGenObject *)op;
    if (!FRAME_STATE_FINISHED(gen->gi_frame_state))
      tell_frame(&gen->gi_iframe, e);
  } else if (PyFrame_Check(op)) {
    PyFrameObject *frame = (PyFrameObject *)op;
    if (frame->f_frame != NULL && frame->f_frame->owner == FRAME_OWNED_BY_FRAME_OBJECT)
      tell_frame(frame->f_frame, e);
  }
  return 1;
}

void pm_frames_tell(int (*is_one)(PyObject *op, void *of), void *of) {
  struct errand e = {is_one, of};
  PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Get());
  for (; thread != NULL; thread = PyThreadState_Next(thread))
    for (struct _PyInterpreterFrame *f = thread->current_frame; f != NULL; f = f->previous)
      tell_frame(f, &e);
  PyUnstable_GC_VisitObjects(tell_object, &e);
}

#else /* frames hold plain pointers, and who counts asks the object */

void pm_frames_tell(int (*is_one)(PyObject *op, void *of), void *of) {
  (void)is_one;
  (void)of;
}

#endif

/* cpython_layout_line: at which place of a program a thread is.
 *
 * One word tells two places apart: the address of the bytecode instruction that the
 * innermost Python frame is at. Which line that is, the dump of the Python stack
 * says; this only says whether it is a new one, and takes nanoseconds.
 *
 * ASYNC-SIGNAL-SAFE: reads what belongs to the thread that asks, with the GIL or
 * without.
 *
 * SPDX-License-Identifier: MIT
 */
#define Py_BUILD_CORE 1
#include "cpython_layout.h"

#if PY_VERSION_HEX >= 0x030E0000
#include "internal/pycore_interpframe.h"
#else
#include "internal/pycore_frame.h"
#endif

uintptr_t pm_current_line(void) {
  const PyThreadState *thread = PyGILState_GetThisThreadState();
  if (thread == NULL)
    return 0;
#if PY_VERSION_HEX >= 0x030D0000
  const struct _PyInterpreterFrame *frame = thread->current_frame;
  return frame == NULL ? 0 : (uintptr_t)frame->instr_ptr;
#else
  const _PyInterpreterFrame *frame = thread->cframe == NULL ? NULL : thread->cframe->current_frame;
  return frame == NULL ? 0 : (uintptr_t)frame->prev_instr;
#endif
}

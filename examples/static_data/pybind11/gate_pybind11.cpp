/* gate_pybind11: a pybind11 module whose static data is protected at the end of init.
 *
 *      hooks   __ro_after_init   which checks there are: registered while the program starts
 *      limit   __wr_after_init   a number that an operator may change later, by rare write only
 *
 * Its data is plain: what a std::vector points to lies in the heap, and would stay writable.
 *
 * SPDX-License-Identifier: MIT
 */
#include <pybind11/pybind11.h>

#include <array>
#include <stdexcept>
#include <string>

#include <pmalloc_rare_write.h>

namespace py = pybind11;

namespace {

struct Hooks {
  std::size_t n;
  std::array<long, 8> below; // a request is refused by the first hook whose number it is not below
};

Hooks hooks __ro_after_init;
unsigned limit __wr_after_init = 100;

/* What pmalloc says of a rare write, as an exception. */
void check(pmalloc_status status) {
  if (status == PMALLOC_OK)
    return;
  PyErr_Format(PyExc_PermissionError, "refused: %s", pmalloc_strerror(status));
  throw py::error_already_set();
}

void add_hook(long below) {
  if (hooks.n == hooks.below.size())
    throw std::overflow_error("there are 8 hooks already");
  hooks.below[hooks.n++] = below; // init: an ordinary store; later it faults
}

bool allows(long request) {
  for (std::size_t i = 0; i < hooks.n; i++) {
    if (request >= hooks.below[i])
      return false;
  }
  return request < long(limit);
}

} // namespace

PYBIND11_MODULE(gate_pybind11, m) {
  m.def("add_hook", add_hook, "Registers a hook: requests below a number pass it.");
  m.def("allows", allows, "Whether all hooks, and the limit, let a request pass.");
  m.def("limit", [] { return limit; }, "The limit.");
  m.def(
      "set_limit", [](unsigned to) { check(wr_assign(wr_static(limit), to)); },
      "Changes the limit, at any time.");
  m.def(
      "scribble", [](unsigned to) { limit = to; },
      "A bug: changes the limit by an ordinary store.");
  m.def(
      "rewrite_hooks", [] { check(pmalloc_wr_set(&hooks, 0, sizeof hooks)); },
      "A bug: a rare write to read-only data.");
  m.def(
      "overrun", [] { check(pmalloc_wr_set(&limit, 0, sizeof limit + 1)); },
      "A bug: a rare write over the end of a variable.");
}

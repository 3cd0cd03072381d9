# cython: language_level=3
"""A Cython module whose static data is protected at the end of init.

Cython's own variables bear no attributes: those that are to be protected are declared in C, in the
same file, and used like any others.
"""

from libc.stddef cimport size_t

cdef extern from "pmalloc_rare_write.h":
    enum pmalloc_status:
        PMALLOC_OK
    const char *pmalloc_strerror(pmalloc_status status)
    pmalloc_status pmalloc_wr_set(const void *to, int byte, size_t n)

cdef extern from *:
    """
    #include <pmalloc_rare_write.h>

    static struct hooks {
      size_t n;
      long below[8]; /* a request is refused by the first hook whose number it is not below */
    } hooks __ro_after_init;

    static unsigned limit __wr_after_init = 100;

    /* The macros of pmalloc_rare_write.h need the variable itself. */
    static enum pmalloc_status assign_limit(unsigned n) {
      return wr_assign(wr_static(limit), n);
    }
    """
    struct Hooks "hooks":
        size_t n
        long below[8]
    Hooks hooks
    unsigned limit_ "limit"
    pmalloc_status assign_limit(unsigned n)


cdef int check(pmalloc_status status) except -1:
    """What pmalloc says of a rare write, as an exception."""
    if status != PMALLOC_OK:
        raise PermissionError("refused: " + pmalloc_strerror(status).decode())
    return 0


def add_hook(long below):
    """Registers a hook: requests below a number pass it."""
    if hooks.n == 8:
        raise OverflowError("there are 8 hooks already")
    hooks.below[hooks.n] = below  # init: an ordinary store; later it faults
    hooks.n += 1


def allows(long request):
    """Whether all hooks, and the limit, let a request pass."""
    cdef size_t i
    for i in range(hooks.n):
        if request >= hooks.below[i]:
            return False
    return request < <long>limit_


def limit():
    """The limit."""
    return limit_


def set_limit(unsigned to):
    """Changes the limit, at any time."""
    check(assign_limit(to))


def scribble(unsigned to):
    """A bug: changes the limit by an ordinary store."""
    global limit_
    limit_ = to


def rewrite_hooks():
    """A bug: a rare write to read-only data."""
    check(pmalloc_wr_set(&hooks, 0, sizeof(hooks)))


def overrun():
    """A bug: a rare write over the end of a variable."""
    check(pmalloc_wr_set(&limit_, 0, sizeof(limit_) + 1))

"""Runs a piece of a test in a forked child, for what may kill or exhaust the process."""

import os
import traceback
from collections.abc import Callable


def in_child(work: Callable[[], object]) -> None:
    """Runs work() in a forked child; fails with its traceback or the signal it died of."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc()[-60_000:].encode(errors="replace"))
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, f"exit status {status}\n{text}"

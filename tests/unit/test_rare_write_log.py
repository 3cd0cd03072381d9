"""log_rare_writes(): who wrote what, where."""

import contextlib
import inspect
import logging
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Annotated

import pytest

import pmalloc
from pmalloc import _rare, rare_write


class Switches(pmalloc.Record):
    enabled: bool = True
    limit: pmalloc.u32 = 100
    name: Annotated[str, pmalloc.size(100)]


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    found: list[logging.LogRecord] = []
    logger = logging.Logger("test", logging.INFO)
    handler = logging.Handler()
    handler.emit = found.append
    logger.addHandler(handler)
    pmalloc.log_rare_writes(logger)
    yield found
    pmalloc.log_rare_writes(False)


def line() -> int:
    return inspect.currentframe().f_back.f_lineno


def test_one_line_for_a_write(name: str, records: list):
    pool = pmalloc.Pool(name, mode="wr")
    switches = pool.new(Switches)
    pool.protect()
    here = line() + 1
    with rare_write(switches) as staged:
        staged.limit = 500
        staged.enabled = False
    [record] = records
    where = id(switches) + Switches.enabled.offset
    assert record.getMessage() == (
        f"pool '{name}': 3 bytes of Switches.enabled, Switches.limit at {where:#x}, by MainThread "
        f"at {__file__}:{here}: +0: 01 -> 00; +4: 64 00 -> f4 01"
    )
    assert (record.pathname, record.lineno, record.funcName) == (
        *(__file__, here),
        "test_one_line_for_a_write",
    )
    assert record.levelno == logging.INFO and record.threadName == "MainThread"
    assert record.pmalloc_pool == name and record.pmalloc_bytes == 3
    assert record.pmalloc_target == "Switches.enabled, Switches.limit"
    assert record.pmalloc_address == where
    assert record.pmalloc_changes == [(0, 1, b"\1", b"\0"), (4, 2, b"\x64\0", b"\xf4\1")]


def test_what_is_not_stored_is_not_logged(name: str, records: list):
    pool = pmalloc.Pool(name, mode="wr")
    switches = pool.new(Switches)
    pool.protect()
    with rare_write(switches) as staged:
        staged.limit = 100
    with contextlib.suppress(KeyError), rare_write(switches) as staged:
        staged.limit = 1
        raise KeyError
    with pytest.raises(pmalloc.ProtectedError), rare_write(switches) as staged:  # noqa: PT012
        staged.limit = 1
        pool.make_ro()
    assert records == []


def test_other_threads_and_ways(name: str, records: list):
    pool = pmalloc.Pool(name, mode="wr")
    allocation = pool.alloc(10)

    def work() -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(rare_write(allocation))[3] = 7

    thread = threading.Thread(target=work, name="the writer")
    thread.start()
    thread.join()
    [record] = records
    assert record.threadName == "the writer" and record.pathname == __file__
    assert record.funcName == "work"
    assert re.search(
        r"1 byte of Allocation at .*, by the writer at .*: \+3: 00 -> 07$", record.getMessage()
    )


def test_bounds(name: str, records: list):
    pool = pmalloc.Pool(name, mode="wr")
    allocation = pool.alloc(10_000)
    with rare_write(allocation) as staged:
        staged[::20] = b"x" * 500
    with rare_write(allocation) as staged:
        staged[:1000] = b"y" * 1000
    many, long = records
    assert len(many.pmalloc_changes) == 64 and many.pmalloc_bytes == 500
    assert many.getMessage().endswith("and 484 more")
    assert many.pmalloc_changes[1] == (20, 1, b"\0", b"x")
    [(offset, length, before, after)] = long.pmalloc_changes
    assert (offset, length, len(before), after) == (0, 1000, 64, b"y" * 64)
    assert long.getMessage().endswith("79 79...")


def test_an_array(name: str, records: list):
    np = pytest.importorskip("numpy")
    pool = pmalloc.Pool(name, mode="wr")
    array = pool.copy_array(np.arange(6, dtype="u1").reshape(2, 3))
    with rare_write(array[:, ::-1]) as staged:
        staged[0, 0] = 9
    [record] = records
    assert record.pmalloc_address == array.ctypes.data
    assert record.pmalloc_changes == [(2, 1, b"\2", b"\x09")]


def test_levels_and_loggers(name: str, caplog: pytest.LogCaptureFixture):
    pool = pmalloc.Pool(name, mode="wr")
    switches = pool.new(Switches)

    def write(value: int) -> int:
        caplog.clear()
        with rare_write(switches) as staged:
            staged.limit = value
        return len(caplog.records)

    caplog.set_level(logging.INFO)
    try:
        assert write(1) == 0
        pmalloc.log_rare_writes()
        assert write(2) == 1 and caplog.records[0].name == "pmalloc.rare_write"
        pmalloc.log_rare_writes("audit.trail", logging.WARNING)
        assert write(3) == 1
        assert (caplog.records[0].name, caplog.records[0].levelname) == ("audit.trail", "WARNING")
        pmalloc.log_rare_writes("audit.trail", logging.DEBUG)
        assert write(4) == 0
    finally:
        pmalloc.log_rare_writes(False)
    assert write(5) == 0 and switches.limit == 5


def test_a_handler_that_fails_does_not_undo_the_write(name: str, records: list, monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    pool = pmalloc.Pool(name, mode="wr")
    switches = pool.new(Switches)

    class Bad(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise ValueError("full")

    _rare._sink.logger.addFilter(Bad())
    with rare_write(switches) as staged:
        staged.limit = 7
    assert switches.limit == 7 and str(seen[0].exc_value) == "full"
    with rare_write(switches):
        pass


def test_a_handler_that_writes_rarely_itself(name: str, records: list):
    pool = pmalloc.Pool(name, mode="wr")
    switches, count = pool.new(Switches), pool.new(Switches, limit=0)

    def emit(record: logging.LogRecord) -> None:
        pmalloc.log_rare_writes(False)
        with rare_write(count) as staged:
            staged.limit += 1

    _rare._sink.logger.handlers[0].emit = emit
    for value in (1, 2):
        with rare_write(switches) as staged:
            staged.limit = value
    assert (switches.limit, count.limit) == (2, 1)


def test_publishing(name: str, records: list, monkeypatch):
    cell = pmalloc.Cell([1], name=name)
    records.clear()
    here = line() + 1
    cell.publish([2])
    [record] = records
    assert (record.pathname, record.lineno) == (__file__, here)
    assert record.pmalloc_target == "Cell.current (version 2)"
    assert record.pmalloc_pool == name
    [(offset, size, before, after)] = record.pmalloc_changes
    assert (offset, size) == (0, 8) and before != after
    assert record.pmalloc_bytes == sum(a != b for a, b in zip(before, after))

    def fail(record: logging.LogRecord) -> bool:
        raise ValueError("full")

    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    _rare._sink.logger.addFilter(fail)
    cell.publish([3])
    assert cell.get() == [3] and cell.version == 3 and str(seen[0].exc_value) == "full"
    pmalloc.log_rare_writes(False)
    cell.publish([4])
    assert len(records) == len(seen) == 1


def test_logging_is_loaded_by_who_asks_for_it():
    program = """
        import sys, pmalloc
        class Switches(pmalloc.Record):
            limit: pmalloc.u32
        switches = pmalloc.Pool("x", mode="wr").new(Switches)
        with pmalloc.rare_write(switches) as staged:
            staged.limit = 4
        assert "logging" not in sys.modules
        pmalloc.log_rare_writes()
        assert "logging" in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)

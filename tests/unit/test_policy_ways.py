"""Every way in which Python and what it loads write, under every policy.

Stores of each kind are in test_policy_stores.py; here is who makes them: ctypes, NumPy, struct,
threads, signal handlers, atexit handlers, forked children. What the policy promises is the same
each time, and so is what is looked at.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pmalloc

PAGE = os.sysconf("SC_PAGESIZE")
POLICIES = ["oops", "warn", "audit", "off"]
COMPILER = (
    shlex.split(os.environ.get("CC", ""))
    or [cc for cc in ("cc", "gcc", "clang") if shutil.which(cc)][:1]
)
WRITEABLE = 0x400  # NPY_ARRAY_WRITEABLE
ROOM = 16 * PAGE

# What a way leaves behind: distance from where the allocation starts -> the eight bytes there.
Effect = dict[int, bytes]
Way = Callable[[pmalloc.Pool, pmalloc.Allocation], Iterator[Effect]]


def word(n: int) -> bytes:
    return n.to_bytes(8, sys.byteorder)


# ---- the ways: what is done before protect(), a yield, what is done after ----


def by_ctypes(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    cell = ctypes.c_uint64.from_address(memory.address + 64)
    yield {64: word(7)}
    cell.value = 7  # by_ctypes


def by_memmove(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    yield {64: b"abcdefgh"}
    ctypes.memmove(memory.address + 64, b"abcdefgh", 8)  # by_memmove


def by_numpy(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    pytest.importorskip("numpy")
    array = pool.ndarray((ROOM // 8,))
    start = array.ctypes.data - memory.address
    yield {start + at: struct.pack("=d", 1.5) for at in range(0, ROOM, 8)}
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.flags.writeable = True
    # Nobody gets it by asking; it is a bit of this int in the object.
    flags = ctypes.c_int.from_address(id(array) + object.__basicsize__ + 6 * 8)
    assert not flags.value & WRITEABLE
    flags.value |= WRITEABLE
    assert array.flags.writeable
    array += 1.5  # by_numpy


def by_pack_into(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    view = memoryview(memory)
    yield {64: word(0x1122334455667788)}
    struct.pack_into("=Q", view, 64, 0x1122334455667788)  # by_pack_into
    view.release()


def store_many(address: int) -> None:
    cell = ctypes.c_uint64.from_address(address)
    for n in range(1, 51):
        cell.value = n  # store_many


def in_threads(memory: pmalloc.Allocation, stride: int) -> Iterator[Effect]:
    yield {n * stride: word(50) for n in range(4)}
    threads = [
        threading.Thread(target=store_many, args=(memory.address + n * stride,)) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def in_threads_on_one_page(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    return in_threads(memory, 64)


def in_threads_on_pages(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    return in_threads(memory, 4 * PAGE)


def in_c_threads(memory: pmalloc.Allocation, stride: int) -> Iterator[Effect]:
    count = library().store_threads
    yield {n * stride: word(2000) for n in range(4)}
    count(ctypes.c_void_p(memory.address), ctypes.c_long(stride))


def in_c_threads_on_one_page(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    return in_c_threads(memory, 64)


def in_c_threads_on_pages(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    return in_c_threads(memory, 4 * PAGE)


def in_a_c_thread(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    store = library().store_native_thread
    yield {64: word(0xA8B8C8D8E8F80818)}
    store(ctypes.c_void_p(memory.address + 64))


def in_a_signal_handler(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    def handler(number: int, frame: object) -> None:
        ctypes.c_uint64.from_address(memory.address + 64).value = 7  # in_a_signal_handler

    signal.signal(signal.SIGUSR1, handler)
    yield {64: word(7)}
    signal.raise_signal(signal.SIGUSR1)


def in_a_c_signal_handler(pool: pmalloc.Pool, memory: pmalloc.Allocation) -> Iterator[Effect]:
    store = library().store_signal
    yield {64: word(0xA8B8C8D8E8F80818)}
    store(ctypes.c_void_p(memory.address + 64))  # in_a_c_signal_handler


@dataclass
class Expected:
    """What is not the same for all.

    Attributes:
        function: of the line of Python that wrote; "" where there is none.
        mark: the comment that the line ends in, if it has not the way's name.
        count: writes that the log of `audit` has; 0: as many as there are, at least one.
        pages: that are opened under `warn`.
        alone: it is the main thread that writes.
    """

    function: str = ""
    mark: str = ""
    count: int = 0
    pages: int = 1
    alone: bool = True


WAYS: dict[Way, Expected] = {
    by_ctypes: Expected("by_ctypes", count=1),
    by_memmove: Expected("by_memmove"),
    by_numpy: Expected("by_numpy", pages=ROOM // PAGE),
    by_pack_into: Expected("by_pack_into"),
    in_threads_on_one_page: Expected("store_many", "store_many", count=200, alone=False),
    in_threads_on_pages: Expected("store_many", "store_many", 200, pages=4, alone=False),
    in_c_threads_on_one_page: Expected(count=8000, alone=False),
    in_c_threads_on_pages: Expected(count=8000, pages=4, alone=False),
    in_a_c_thread: Expected(count=1, alone=False),
    in_a_signal_handler: Expected("handler", count=1),
    in_a_c_signal_handler: Expected("in_a_c_signal_handler", count=1),
}

_library: list[ctypes.CDLL] = []


def library() -> ctypes.CDLL:
    return _library[0]


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    if not COMPILER:
        pytest.skip("needs a C compiler")
    target = tmp_path_factory.mktemp("stores") / "stores.so"
    source = Path(__file__).with_name("stores.c")
    command = [*COMPILER, "-O1", "-shared", "-fPIC", str(source), "-o", str(target), "-lpthread"]
    subprocess.run(command, check=True)
    _library[:] = [ctypes.CDLL(str(target))]


# ---- one run ----


def read(memory: pmalloc.Allocation, at: int) -> bytes:
    return ctypes.string_at(memory.address + at, 8)


def told(pool: pmalloc.Pool, memory: pmalloc.Allocation, effect: Effect) -> dict[str, Any]:
    """All there is to see afterwards, in the process that wrote."""
    violations = pmalloc.violations()
    return {
        "effect": [read(memory, at) == after for at, after in effect.items()],
        "protected": pmalloc.is_protected(memory),
        "stats": pool.stats(),
        "writes": [
            (w.thread, w.address - memory.address, w.size) for v in violations for w in v.writes
        ],
        "lines": sorted({(Path(v.filename).name, v.lineno) for v in violations}),
        "functions": sorted({v.frames[0].function if v.frames else "" for v in violations}),
        "pid": os.getpid(),
    }


def commit(way: Way, policy: str, answer: int, in_a_child: bool) -> None:
    """Does it in this process, and writes what is to see into the file `answer`."""
    faulthandler.disable()  # pytest's, which is before ours
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(100)  # a hang ends here
    caught: list[tuple[str, int]] = []
    warnings.simplefilter("always")
    warnings.showwarning = lambda m, c, f, n, *_: caught.append((c.__name__, n))
    pool = pmalloc.Pool("ways", on_violation=policy)  # type: ignore[arg-type]
    memory = pool.alloc(ROOM, align=PAGE)
    doing = way(pool, memory)
    effect = next(doing)
    pool.protect(revoke=True)
    child = os.fork() if in_a_child else 0
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        # Of what it wrote nothing is here.
        assert not any(any(read(memory, at)) for at in effect) and pmalloc.violations() == []
        assert pmalloc.is_protected(memory) == (policy != "off")
        assert not pool.stats()["tainted"] and pool.stats()["violations"] == 0
        if status < 0:
            os.kill(os.getpid(), -status)
        os._exit(status)
    for _ in doing:
        raise AssertionError("a way yields once")
    os.write(answer, json.dumps(told(pool, memory, effect) | {"warnings": caught}).encode())


def run(way: Way, policy: str, in_a_child: bool) -> tuple[int, str, dict[str, Any]]:
    """Exit status, stderr, and what was to see."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as answer:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(said.fileno(), 2)
                commit(way, policy, answer.fileno(), in_a_child)
                status = 0
            except pytest.skip.Exception:
                status = 77
            except BaseException as e:
                os.write(2, f"{type(e).__name__}: {e}\n".encode())
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        answer.seek(0)
        return status, said.read().decode(), json.loads(answer.read() or b"{}")


def line_of(mark: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.endswith(f"  # {mark}"))


@pytest.mark.parametrize("in_a_child", [False, True], ids=["here", "in a forked child"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_way(way: Way, policy: str, in_a_child: bool):
    expected = WAYS[way]
    status, said, seen = run(way, policy, in_a_child)
    if status == 77:
        pytest.skip("needs NumPy")
    line = line_of(expected.mark or way.__name__) if expected.function else 0

    # The report: one for a writer, none under `off`, and it names the line.
    if policy == "off":
        assert said == ""
    else:
        assert said.startswith("pmalloc: write to protected pool 'ways'\n"), said
        assert f"\n  policy       {policy}\n" in said
        stack = said.split("\n  Python stack of this thread:\n", 1)[1]
        if expected.function:
            [_, first] = stack.splitlines()[:2]
            assert first == f'  File "{__file__}", line {line} in {expected.function}', said
        else:
            assert not stack.startswith("Stack "), said
    if policy == "oops":
        assert status == -signal.SIGSEGV, said
        assert said.count("pmalloc: ") == 1 and seen == {}
        return

    assert status == 0, said
    assert seen["effect"] and all(seen["effect"])  # nothing was lost
    stats = seen["stats"]
    assert stats["policy"] == policy and seen["protected"] == (policy == "audit")
    assert stats["tainted"] == (policy == "warn")
    assert stats["violations_stepped"] == 0
    if policy == "off":
        assert stats["violations"] == 0 and seen["writes"] == [] and seen["warnings"] == []
        return
    assert len(seen["writes"]) + stats["violations_dropped"] == stats["violations"]
    assert stats["violations_dropped"] == 0
    assert seen["functions"] == [expected.function]
    assert seen["lines"] == [[Path(__file__).name if line else "", line]]
    assert ({thread for thread, *_ in seen["writes"]} == {seen["pid"]}) == expected.alone
    if policy == "audit":
        assert seen["warnings"] == []
        assert stats["violations"] == (expected.count or len(seen["writes"])) >= 1
        written = {at + i for _, at, size in seen["writes"] for i in range(size)}
        assert len(written) == 8 * len(seen["effect"])  # the log has every byte
    else:
        # A second thread may have been on its way to the page while it was opened.
        threads = 1 if expected.alone or way is in_a_c_thread else 4
        assert expected.pages <= stats["violations"] <= expected.pages * threads
        assert {category for category, _ in seen["warnings"]} == {"ProtectionWarning"}
        if expected.function:
            assert {number for _, number in seen["warnings"]} == {line}


# ---- at exit ----

AT_EXIT = """
import atexit, ctypes, sys
import pmalloc

pool = pmalloc.Pool("ways", on_violation=sys.argv[1])
memory = pool.alloc(80)
pool.protect()

@atexit.register
def late():
    ctypes.c_uint64.from_address(memory.address).value = 7  # here
    stats = pool.stats()
    print(bytes(memory)[0], stats["violations"], stats["tainted"], pmalloc.is_protected(memory))
"""


@pytest.mark.parametrize("policy", POLICIES)
def test_at_exit(policy: str, tmp_path: Path):
    program = tmp_path / "at_exit.py"
    program.write_text(AT_EXIT)
    here = AT_EXIT[: AT_EXIT.index("  # here")].count("\n") + 1
    done = subprocess.run(
        [sys.executable, str(program), policy],
        env={k: v for k, v in os.environ.items() if k != "PMALLOC_RODATA"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    assert done.returncode == (-signal.SIGSEGV if policy == "oops" else 0), done.stderr
    assert (
        done.stdout
        == {
            "oops": "",
            "warn": "7 1 True False\n",
            "audit": "7 1 False True\n",
            "off": "7 0 False False\n",
        }[policy]
    )
    assert ("\n  policy       " in done.stderr) == (policy != "off")
    assert (f'  File "{program}", line {here} in late\n' in done.stderr) == (policy != "off")
    warned = f"{program}:{here}: ProtectionWarning: " in done.stderr
    assert warned == (policy == "warn"), done.stderr

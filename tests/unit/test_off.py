"""PMALLOC_RODATA=off, the operator's way out: what the kernel is asked for, by strace, is nothing.

Where strace is missing, or may not trace, these tests skip and say so; with REQUIRE_STRACE=1 in the
environment, as in CI, they fail.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NoReturn

import pytest
from child import in_child

import pmalloc

PAGE = os.sysconf("SC_PAGESIZE")
# All that a program does with pools: raw, frozen, in each tier, shared, of its own policy.
PROGRAM = """
import os, sys
os.write(2, b"-- import\\n")
import pmalloc
os.write(2, b"-- use\\n")
if sys.argv[1:]:
    pmalloc.open_shared(int(sys.argv[1]))
pool = pmalloc.Pool("raw", on_violation="audit")
memory = pool.alloc(100)
pool.free(pool.alloc(70_000))
pool.protect()
try:
    pool.alloc(1)
except pmalloc.ProtectedError:
    print("protected")
pmalloc.freeze({"a": [1, 2, "x" * 50]}, name="frozen")
try:
    pmalloc.freeze({"a": [1, 2, "x" * 50]}, name="sealed", seal=True)
    shared = pmalloc.Pool("shared", backing="memfd", on_violation="warn")
    shared.copy(b"promised")
    shared.protect(immutable=True)
    print(bytes(pmalloc.open_shared(shared.fileno())[0]))
except OSError as error:  # a kernel that cannot seal
    print(error)
pool.destroy()
os.write(2, b"-- end\\n")
"""


def lacking(why: str) -> NoReturn:
    if os.environ.get("REQUIRE_STRACE"):
        pytest.fail(why)
    pytest.skip(why)


def traced(policy: str, log: Path) -> list[list[str]]:
    """The system calls of the start, while pmalloc is imported, while it is in use, at the end."""
    strace = shutil.which("strace") or lacking("strace is not installed: apt install strace")
    try:
        theirs = pmalloc.Pool(f"theirs-{policy}", backing="memfd")
        theirs.protect(immutable=True)
        shared = [theirs.fileno()]
    except OSError:  # a kernel that cannot seal
        shared = []
    done = subprocess.run(
        [strace, "-f", "-o", str(log), sys.executable, "-c", PROGRAM, *map(str, shared)],
        pass_fds=shared,
        env=os.environ | {"PMALLOC_RODATA": policy},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "ptrace" in done.stderr.lower():
        lacking(f"strace may not trace here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "protected"
    assert second == "b'promised'" or policy != "off"
    told = log.read_text().splitlines()
    marks = [n for n, line in enumerate(told) if re.search(r'write\(2, "-- \w+\\n"', line)]
    assert len(marks) == 3
    calls = [re.sub(r"^\d+ +", "", line) for line in told]
    return [calls[begin:end] for begin, end in zip([0, *marks], [*marks, None], strict=True)]


def handlers(calls: list[str]) -> list[str]:
    """Signals that got a handler."""
    found = (re.match(r"rt_sigaction\((\w+), \{sa_handler=0x", call) for call in calls)
    return [m[1] for m in found if m]


def shut(calls: list[str], mapped: list[str]) -> list[str]:
    """Calls that make memory read-only or seal it, but for what the loader does in files."""
    files: list[tuple[int, int]] = []
    for call in mapped:
        if m := re.match(r"mmap\(.*, (\d+), [A-Z_|]+, [A-Z_|]+, (\d+), \w+\) += (0x\w+)", call):
            start = int(m[3], 16)
            files.append((start, start + int(m[1])))
    found = []
    for call in calls:
        if re.match(r"(mseal|syscall_0x1ce|pkey_mprotect)\(", call):
            found.append(call)
        elif m := re.match(r"mprotect\((0x\w+), (\d+), ([A-Z_|]+)\)", call):
            inside = any(start <= int(m[1], 16) < end for start, end in files)
            if m[3] != "PROT_READ|PROT_WRITE" and not inside:
                found.append(call)
    return found


def test_off_asks_for_nothing(tmp_path: Path):
    """Acceptance: no handler is installed, no page made read-only, from the import to the end."""
    start, imported, used, end = traced("off", tmp_path / "log")
    assert handlers([*imported, *used, *end]) == []
    assert shut([*imported, *used, *end], [*start, *imported, *used, *end]) == []
    assert [call for call in used if call.startswith("mprotect")] == []


def test_that_would_be_seen(tmp_path: Path):
    start, imported, used, end = traced("oops", tmp_path / "log")
    assert "SIGSEGV" in handlers(used)
    assert shut(used, [*start, *imported, *used])
    assert handlers(imported) == []  # the first pool installs it
    assert end


@pytest.mark.parametrize("size", [1, 16, 100, 5000, 70_000])
def test_what_is_used_again_is_zero(size: int, name: str):
    pool = pmalloc.Pool(name, on_violation="off")
    kept = pool.alloc(size)
    for _ in range(3):
        memory = pool.alloc(size)
        where = memory.address
        ctypes.memset(where, 0xFF, size)
        pool.free(memory)
        again = pool.alloc(size)
        assert (again.address, bytes(again)) == (where, bytes(size))
        pool.free(again)
    assert bytes(kept) == bytes(size)


def test_import_takes_what_it_needs():
    """What most programs never ask for is loaded when somebody asks."""
    code = """
    import sys
    before = set(sys.modules)
    import pmalloc
    pool = pmalloc.Pool("p")
    pool.protect()
    heavy = {"dataclasses", "inspect", "pathlib", "threading"}
    if sys.version_info >= (3, 13):  # before, typing takes it
        heavy.add("re")
    print(*sorted(heavy & set(sys.modules) - before))
    assert set(pmalloc.__all__) <= set(dir(pmalloc))
    assert all(getattr(pmalloc, name) is getattr(pmalloc, name) for name in pmalloc.__all__)
    try:
        pmalloc.nothing
    except AttributeError as error:
        print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("\nmodule 'pmalloc' has no attribute 'nothing'\n", "")


@pytest.mark.parametrize("policy", ["warn", "audit"])
def test_nothing_is_loaded_at_a_violation(policy: str):
    """By then the program may have another root, or no descriptor left."""

    def work() -> None:
        pool = pmalloc.Pool("late", on_violation=policy)  # type: ignore[arg-type]
        memory = pool.alloc(PAGE)
        pool.protect()
        loaded = set(sys.modules)
        sys.path.clear()
        sys.path_importer_cache.clear()
        ctypes.memset(memory.address, 1, 1)
        [violation] = pmalloc.violations()
        assert violation.policy == policy
        assert set(sys.modules) == loaded

    in_child(work)

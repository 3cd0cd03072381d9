"""Messages of docs/guide.md that no other test brings about: each is brought about here.

Each maker runs in a process, or a forked child, of its own and ends with the exception. What it
says is held against the row of the guide, word by word; capitals stand for what differs.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import resource
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import sandbox

import pmalloc

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
PAGE = os.sysconf("SC_PAGESIZE")
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def rows() -> dict[str, str]:
    """Message and exception of each row of the guide's table."""
    text = GUIDE.read_text().partition("\n## Errors\n")[2]
    return dict(re.findall(r"^\| `(.+?)`[^|]*\| (.+?) \|", text, re.MULTILINE))


def pattern(message: str) -> str:
    """A message of the guide: words in capitals stand for any text, and N does."""
    return re.sub(r"(?<![\w.])(?:[A-Z]{3,}|N)(?![\w.])", ".+", re.escape(message))


def check(message: str, kind: str, said: str) -> None:
    assert f"`{kind}`" in rows()[message]
    assert re.match(pattern(message), said), said


def told(work: Callable[[], object]) -> tuple[str, str]:
    """Name and words of the exception that a forked child ends with."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work()
        except Exception as error:
            text = error.strerror if isinstance(error, OSError) and error.errno else str(error)
            os.write(writer, f"{type(error).__name__}\0{text}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        name, _, text = pipe.read().partition("\0")
    os.waitpid(child, 0)
    return name, text


# ---- pools ----


def seal_where_there_is_none() -> None:
    sandbox.refuse("mseal")
    pmalloc.Pool("old-kernel").protect(seal=True)


def seal_half() -> None:
    """The kernel refuses one of several mappings; its length depends on its neighbours."""

    def refused(pages: int) -> None:
        pool = pmalloc.Pool("half", chunk_size=PAGE)
        for size in (1, 64, 8):
            pool.alloc(size * PAGE)
        sandbox.refuse("mseal", errno.ENOMEM, second=pages * PAGE)
        pool.protect(seal=True)

    for pages in range(10, 200):
        _, text = told(lambda pages=pages: refused(pages))
        if "sealing takes" in text:
            break
        if "to the end" in text:
            raise OSError(text)
    raise LookupError("no mseal here")


def destroy_sealed() -> None:
    pool = pmalloc.Pool("sealed")
    pool.alloc(1)
    pool.protect(seal=True)
    pool.destroy()


def fill_in_a_child() -> None:
    pool = pmalloc.Pool("parents", backing="memfd")
    pool.alloc(1)
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            pool.alloc(1)
        except pmalloc.PmallocError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    raise pmalloc.PmallocError(os.read(reader, 1000).decode())


def no_maps() -> None:
    libc = ctypes.CDLL(None)
    pool = pmalloc.Pool("searched")
    pool.alloc(1)
    try:
        os.unshare(os.CLONE_NEWNS)
    except PermissionError:
        sandbox_away()
    libc.mount(b"none", b"/", None, ctypes.c_ulong(1 << 18 | 1 << 14), None)
    if libc.mount(b"none", b"/proc", b"tmpfs", ctypes.c_ulong(0), None) != 0:
        sandbox_away()
    pool.references()


def sandbox_away() -> None:
    raise LookupError("nothing may be mounted here")


def forged_bounds() -> None:
    memory = pmalloc.Pool("forged").alloc(8)
    words = (ctypes.c_size_t * 8).from_address(id(memory))
    words[list(words).index(memory.address)] = 4096  # where no pool is
    memoryview(memory)


def no_bounds() -> None:
    pmalloc.check_object_size(1.5, 8)  # type: ignore[arg-type]


def tampered_root() -> None:
    """Something made the metadata writable again."""
    pool = pmalloc.Pool("tampered")
    pool.freeze([1])
    pool.protect()
    assert pool.root == [1]
    libc = ctypes.CDLL(None)
    for line in Path("/proc/self/maps").read_text().splitlines():
        m = re.match(r"(\w+)-(\w+) r--p 0+ 00:00 0 +(?:\[anon:pmalloc.*)?$", line)
        if m:
            start, end = (int(word, 16) for word in m.groups())
            libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(end - start), 3)
    _ = pool.root


# ---- shared pools ----


def shared_garbage() -> None:
    fd = os.memfd_create("garbage", os.MFD_ALLOW_SEALING)
    os.write(fd, bytes(2 * PAGE))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    pmalloc.open_shared(fd)


def immutable(size: int) -> pmalloc.Pool:
    pool = pmalloc.Pool("theirs", backing="memfd")
    pool.alloc(size)
    pool.protect(immutable=True)
    return pool


def shared_without_room() -> None:
    pool = immutable(64 << 20)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
    resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20),) * 2)
    pmalloc.open_shared(pool)


def shared_and_changed() -> None:
    content = os.pread(immutable(8).fileno(), 1 << 20, 0)
    fd = os.memfd_create("copy")
    os.write(fd, content)
    shared = pmalloc.open_shared(fd, verify=False, seal=False)
    os.pwrite(fd, b"\xff" * 8, len(content) - 16)  # where the last allocation lies
    _ = shared[0]


# ---- NumPy ----


def array_of_objects() -> None:
    pytest.importorskip("numpy")
    pmalloc.Pool("objects").ndarray(3, dtype=object)


def masked_array() -> None:
    numpy = pytest.importorskip("numpy")
    pmalloc.Pool("masked").copy_array(numpy.ma.array([1, 2], mask=[0, 1]))


def no_numpy() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "numpy"]:
        del sys.modules[name]
    sys.modules["numpy"] = None  # type: ignore[assignment]
    sys.modules.pop("pmalloc._numpy", None)
    pmalloc.Pool("bare").ndarray(3)


MADE: dict[str, Callable[[], object]] = {
    "cannot VERB pool 'NAME': it is sealed, and stays for the life of the process": destroy_sealed,
    "cannot VERB pool 'NAME': this kernel cannot do it, or a sandbox forbids it (REASON): sealing "
    "takes Linux 6.10; the pool is as it was": seal_where_there_is_none,
    "cannot VERB pool 'NAME' to the end (REASON): it is protected, and sealed in part; call it "
    "again with the same arguments": seal_half,
    "cannot VERB pool 'NAME': it was open when this process was forked, and its memory is the "
    "parent's too; only the process that made it may fill it": fill_in_a_child,
    "cannot open descriptor N as a shared pool: it is not the memory of an immutable pool, or it "
    "is damaged": shared_garbage,
    "cannot open descriptor N as a shared pool: out of memory, address space or "
    "mappings": shared_without_room,
    "allocation N does not lie in the shared pool: the file was changed": shared_and_changed,
    "cannot put an array of dtype TYPE into pool 'NAME': its items are pointers to Python objects "
    "or strings outside; use a dtype of fixed size, or freeze() a list": array_of_objects,
    "cannot copy TYPE into pool 'NAME': a plain numpy.ndarray is needed; numpy.asarray() makes "
    "one": masked_array,
    "arrays in a pool need NumPy: pip install 'pmalloc[numpy]'": no_numpy,
    "cannot search for references to pool 'NAME': /proc/self/maps cannot be read (REASON)": no_maps,
    "no view of N bytes at ADDRESS in pool 'NAME': they are not within one of its allocations; "
    "something in this process forged their bounds": forged_bounds,
    "check_object_size() needs an address (int) or a buffer, not TYPE": no_bounds,
    "the root of pool 'NAME' was tampered with": tampered_root,
}


@pytest.mark.parametrize("message", MADE)
def test_message(message: str):
    kind, said = told(MADE[message])
    if kind == "OSError" and "sealing takes" in said and "sealing" not in message:
        pytest.skip(said)  # this kernel cannot seal
    if kind in {"Skipped", "LookupError"} and "here" in said:
        pytest.skip(said)
    check(message, kind, said)


# ---- at import: what is not as it was when pmalloc was compiled, by other hands ----

# Offsets in a type: tp_basicsize, tp_richcompare.
IMPORTS = {
    "pmalloc does not know the object layouts of this Python build; rebuild pmalloc against it": """
        word(id(complex) + HEAD + 8).value += 8
    """,
    "pmalloc: the interpreter's own strings are not where they were when pmalloc was compiled; "
    "rebuild pmalloc against this Python": """
        text = sys.intern("keys")
        ctypes.c_char.from_address(id(text) + sys.getsizeof("") - 1 + 4).value = b"9"
    """,
    "pmalloc's self-test failed on this Python build (VERSION): the frozen copy of TYPE is not "
    "what the interpreter builds; please report it, and do not use pmalloc here": """
        word(id(range) + HEAD + 176).value = 0
    """,
}
FORGE = """
import abc, collections, contextlib, ctypes, faulthandler, functools, io, reprlib, signal, sys
import typing
import collections.abc, operator, warnings, time, os, itertools, types
word = ctypes.c_ssize_t.from_address
HEAD = object.__basicsize__ + 8  # of a type: then its name
"""


@pytest.mark.parametrize("message", IMPORTS)
def test_message_at_import(message: str):
    program = FORGE + textwrap.dedent(IMPORTS[message]) + "import pmalloc\n"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    kind, _, said = done.stderr.strip().splitlines()[-1].partition(": ")
    check(message, kind, said)


WRONG = (
    "pmalloc was compiled for CPython VERSION and cannot build objects for VERSION; install the "
    "wheel of this version"
)


def test_message_of_another_python(tmp_path: Path):
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "other.c").write_text("const unsigned long Py_Version = 0x030b02f0;\n")
    library = tmp_path / "other.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "other.c"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", "import pmalloc"],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == 0:
        pytest.skip("this Python is linked in a way that hides its version")
    kind, _, said = done.stderr.strip().splitlines()[-1].partition(": ")
    check(WRONG, kind, said)

"""Policies: who chooses, what becomes of the choice in each tier and backing, and what is said."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import platform
import re
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable

import pytest
from child import in_child

import pmalloc

POLICIES = ["oops", "warn", "audit", "off"]
PAGE = os.sysconf("SC_PAGESIZE")
CAN_STEP = platform.machine() == "x86_64"


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={k: v for k, v in os.environ.items() if k != "PMALLOC_RODATA"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# ---- who chooses: the table is read by test_policy_tables.py ----

CHOOSE = """
import pmalloc
asked = [None, "oops", "warn", "audit", "off"]
print(*[pmalloc.Pool(f"p{n}", on_violation=word).stats()["on_violation"]
        for n, word in enumerate(asked)])
"""


def test_unknown_word_of_the_process():
    done = python("import pmalloc", PMALLOC_RODATA="of")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: PMALLOC_RODATA is 'of'; it takes oops, warn, audit or off: set it to one of "
        "these, or not at all"
    )


@pytest.mark.parametrize("flag", ["-E", "-I"])
def test_the_environment_is_ignored(flag: str):
    done = subprocess.run(
        [sys.executable, flag, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{CHOOSE}"],
        env=os.environ | {"PMALLOC_RODATA": "nonsense"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("oops oops warn audit off", "")


def test_unknown_word_of_a_pool(name: str):
    with pytest.raises(ValueError, match=re.escape(
        f"on_violation of pool '{name}' is 'oops', 'warn', 'audit' or 'off', not 'skip'"
    )):  # fmt: skip
        pmalloc.Pool(name, on_violation="skip")  # type: ignore[arg-type]
    assert pmalloc.Pool(name, on_violation=None).stats()["on_violation"] == "oops"


def test_freeze_has_a_policy():
    def work() -> None:
        frozen = pmalloc.freeze(["a" * 10], name="frozen", on_violation="audit")
        pool = pmalloc.pool_of(frozen)
        assert pool is not None and pool.stats()["policy"] == "audit"

    in_child(work)


# ---- what becomes of it: that table, too ----


def test_immutable_off_is_still_what_others_were_promised(name: str):
    """They get the bytes as they were; this process has a copy it may write."""
    pool = pmalloc.Pool(name, backing="memfd", on_violation="off")
    memory = pool.copy(b"promised")
    pool.protect(immutable=True)
    ctypes.memset(memory.address, 0, 8)
    assert bytes(memory) == bytes(8)
    shared = pmalloc.open_shared(pool.fileno(), seal=False)
    assert bytes(shared[0]) == b"promised"
    shared.close()
    with pytest.raises(pmalloc.SealedError):
        pool.destroy()


def test_what_no_policy_lets_pass():
    """Guard pages, metadata and pools that were destroyed."""

    def crime(policy: str, what: str) -> Callable[[], None]:
        def work() -> None:
            faulthandler.disable()
            pool = pmalloc.Pool("gone", on_violation=policy)  # type: ignore[arg-type]
            memory = pool.alloc(PAGE)
            guard = memory.address & -PAGE
            pool.protect()
            if what == "destroyed":
                address = memory.address
                del memory
                pool.destroy()
            else:
                address = guard - 8
            ctypes.memset(address, 1, 1)

        return work

    for policy in ("warn", "audit"):
        for what in ("guard", "destroyed"):
            with pytest.raises(AssertionError, match=f"exit status -{int(signal.SIGSEGV)}\n"):
                in_child(crime(policy, what))


# ---- what is said ----


def write(address: int, byte: int = 1) -> None:
    ctypes.memset(address, byte, 1)


def test_a_warning_comes_with_the_line_that_wrote():
    def work() -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pool = pmalloc.Pool("warned", on_violation="warn")
            memory = pool.alloc(3 * PAGE, align=PAGE)
            pool.protect()
            write(memory.address)
            for page in (1, 2):
                write(memory.address + page * PAGE)  # the same writer: counted
        [warning] = caught
        assert warning.category is pmalloc.ProtectionWarning
        assert issubclass(warning.category, RuntimeWarning)
        assert warning.filename == __file__
        assert warning.lineno == write.__code__.co_firstlineno + 1
        assert "write to protected pool 'warned': " in str(warning.message)
        [violation] = pmalloc.violations()
        assert violation.count == 3 == pool.stats()["violations"]
        assert violation.policy == "warn" and violation.lineno == warning.lineno
        assert [frame.function for frame in violation.frames[:2]] == ["write", "work"]
        assert violation.report.startswith("pmalloc: write to protected pool 'warned'\n")

    in_child(work)


def test_a_warning_of_a_thread_comes_in_the_main_thread():
    def work() -> None:
        where: list[threading.Thread] = []
        pool = pmalloc.Pool("warned", on_violation="warn")
        memory = pool.alloc(PAGE)
        pool.protect()
        warnings.showwarning = lambda *_: where.append(threading.current_thread())
        thread = threading.Thread(target=write, args=(memory.address,))
        thread.start()
        thread.join()
        assert where == [threading.main_thread()]
        signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    in_child(work)


def test_a_warning_can_be_an_exception():
    def work() -> None:
        warnings.simplefilter("error", pmalloc.ProtectionWarning)
        pool = pmalloc.Pool("warned", on_violation="warn")
        memory = pool.alloc(PAGE)
        pool.protect()
        with pytest.raises(pmalloc.ProtectionWarning):
            write(memory.address)
        assert bytes(memory)[0] == 1

    in_child(work)


def test_an_exception_keeps_no_other_warning_back():
    def work() -> None:
        addresses: list[int] = []
        for n in range(3):
            pool = pmalloc.Pool(f"warned {n}", on_violation="warn")
            addresses.append(pool.alloc(PAGE).address)
            pool.protect()
        warnings.simplefilter("error", pmalloc.ProtectionWarning)
        with pytest.raises(pmalloc.ProtectionWarning, match="'warned 0'"):
            list(map(ctypes.memset, addresses, [1] * 3, [1] * 3))  # no Python code between
        for n in (1, 2):
            with pytest.raises(pmalloc.ProtectionWarning, match=f"'warned {n}'"):
                pmalloc.Pool(f"next {n}", on_violation="warn")

    in_child(work)


def test_a_warning_that_nobody_waited_for_comes_at_exit():
    done = python("""
        import ctypes, threading, pmalloc
        def work():
            pool = pmalloc.Pool("warned", on_violation="warn")
            memory = pool.alloc(1)
            pool.protect()
            ctypes.memset(memory.address, 1, 1)
        thread = threading.Thread(target=work)  # where no signal can be listened for
        thread.start()
        thread.join()
        print("done")
    """)
    assert (done.stdout, done.returncode) == ("done\n", 0)
    assert "<string>:7: ProtectionWarning: write to protected pool 'warned': " in done.stderr


def test_a_child_has_a_log_of_its_own():
    def work() -> None:
        pool = pmalloc.Pool("forked", on_violation="audit")
        memory = pool.alloc(PAGE)
        pool.protect()
        write(memory.address, 1)
        assert len(pmalloc.violations()) == 1

        def in_the_child() -> None:
            assert pmalloc.violations() == []
            write(memory.address, 2)
            assert bytes(memory)[0] == 2
            [violation] = pmalloc.violations()
            assert violation.writes[0].thread == os.getpid()
            assert violation.frames[0].function == "write"

        in_child(in_the_child)
        # What the child wrote, it wrote to its own memory.
        assert bytes(memory)[0] == 1
        assert len(pmalloc.violations()) == 1

    in_child(work)


def test_same_value_and_records():
    def work() -> None:
        pool = pmalloc.Pool("records", on_violation="audit")
        memory = pool.copy(b"abcdefgh")
        pool.protect()
        write(memory.address + 2, ord("c"))
        write(memory.address + 3, ord("D"))
        [violation] = pmalloc.violations()
        first, second = violation.writes
        assert (first.before, first.after, first.same_value) == (b"c", b"c", True)
        assert (second.before, second.after, second.same_value) == (b"d", b"D", False)
        assert first.address == memory.address + 2 and first.object == memory.address
        assert first.thread == os.getpid() and first.size == 1
        assert violation.object.startswith("allocation at 0x")
        assert violation.module.startswith("libc.")
        assert (violation.pool, violation.policy, violation.count) == ("records", "audit", 2)

    in_child(work)


def test_the_log_is_bounded():
    def work() -> None:
        pool = pmalloc.Pool("bounded", on_violation="audit")
        memory = pool.alloc(PAGE)
        pool.protect()
        cell = ctypes.c_uint64.from_address(memory.address)
        for n in range(17_000):
            cell.value = n
        stats = pool.stats()
        [violation] = pmalloc.violations()
        assert violation.count == stats["violations"] == 17_000
        assert len(violation.writes) == 16_384
        assert stats["violations_dropped"] == 17_000 - 16_384

    in_child(work)


def test_a_daemon_closes_what_it_does_not_know():
    """Neither the bytes of a store nor the stack end up in the file that has the number now."""

    def work() -> None:
        pool = pmalloc.Pool("daemon", on_violation="audit")
        memory = pool.alloc(PAGE)
        pool.protect()
        write(memory.address, 1)
        os.closerange(3, 4096)
        files = [os.memfd_create(str(n)) for n in range(20)]
        for n in range(500, 520):
            os.dup2(files[0], n)
        write(memory.address, 2)
        assert bytes(memory)[0] == 2
        assert [os.fstat(fd).st_size for fd in files] == [0] * 20

    in_child(work)

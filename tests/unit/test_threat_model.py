"""The table of docs/threat-model.md, row by row, on the kernel that runs here.

Each attack is tried by a forked child on a protected pool of one page. It prints what the
call returned and what the page says afterwards. A row that says "does not stop" is tested
as well: the documentation must not promise less than there is either.
"""

import os
import platform
import signal
import subprocess
import sys
import textwrap

import pytest

SETUP = """
import ctypes
import mmap
import os

import pmalloc

libc = ctypes.CDLL(None, use_errno=True)
P, N, I = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
libc.mmap.argtypes, libc.mmap.restype = (P, N, I, I, I, ctypes.c_long), P
libc.mremap.argtypes, libc.mremap.restype = (P, N, N, I, P), P
libc.mprotect.argtypes = libc.madvise.argtypes = (P, N, I)
libc.munmap.argtypes = (P, N)
PAGE = mmap.PAGESIZE
pool = pmalloc.Pool("target", chunk_size=PAGE)
target = pool.alloc(PAGE)
with memoryview(target) as view:
    view[:7] = b"genuine"
pool.protect()
at = target.address


class Span(ctypes.Structure):
    _fields_ = (("base", P), ("length", N))


def error():
    return os.strerror(ctypes.get_errno())


def tell(result):
    print(result, ctypes.string_at(at, 7), flush=True)

"""


def attack(code: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", SETUP + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONFAULTHANDLER"},
    )
    return done.returncode, done.stdout.strip(), done.stderr


def outcome(code: str) -> str:
    status, told, errors = attack(code)
    assert status == 0, errors
    return told


STORE = "ctypes.memset(at, 0, 1)"


def test_a_store_is_stopped():
    status, told, errors = attack(STORE)
    assert (status, told) == (-signal.SIGSEGV, "")
    assert errors.startswith("pmalloc: write to protected pool 'target'\n")


def test_a_store_in_a_thread_is_stopped():
    status, _, errors = attack(
        f"import threading\nt = threading.Thread(target=lambda: {STORE})\nt.start()\nt.join()"
    )
    assert status == -signal.SIGSEGV
    assert errors.startswith("pmalloc: write to protected pool 'target'\n")


def test_a_store_in_a_child_is_stopped():
    told = outcome(
        f"""
        pid = os.fork()
        if pid == 0:
            {STORE}
        tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    assert told == f"{-signal.SIGSEGV} b'genuine'"


def test_a_system_call_is_stopped():
    told = outcome(
        """
        reading, writing = os.pipe()
        os.write(writing, b"mallory")
        tell((libc.read(reading, P(at), 7), error()))
        """
    )
    assert told == "(-1, 'Bad address') b'genuine'"


def test_process_vm_writev_is_stopped():
    told = outcome(
        """
        forged = ctypes.create_string_buffer(b"mallory")
        here, there = Span(ctypes.addressof(forged), 7), Span(at, 7)
        spans = ctypes.byref(here), 1, ctypes.byref(there), 1
        result = libc.process_vm_writev(os.getpid(), *spans, 0)
        tell((result, error()))
        """
    )
    if "Bad address" not in told:
        pytest.skip(f"process_vm_writev is refused here altogether: {told}")
    assert told == "(-1, 'Bad address') b'genuine'"


def test_mprotect_back_is_not_stopped():
    told = outcome("r = libc.mprotect(at, PAGE, 3)\nctypes.memmove(at, b'mallory', 7)\ntell(r)")
    assert told == "0 b'mallory'"


def test_proc_mem_is_not_stopped():
    told = outcome(
        """
        try:
            memory = os.open("/proc/self/mem", os.O_RDWR)
            tell(os.pwrite(memory, b"mallory", at))
        except OSError:
            print("refused by this kernel")
        """
    )
    assert told in {"7 b'mallory'", "refused by this kernel"}


def test_mapping_over_it_is_not_stopped():
    told = outcome("tell(libc.mmap(at, PAGE, 3, 0x32, -1, 0) == at)")  # private, fixed, anonymous
    assert told == r"True b'\x00\x00\x00\x00\x00\x00\x00'"


def test_moving_and_unmapping_are_not_stopped():
    assert outcome("print(libc.munmap(at, PAGE))") == "0"
    told = outcome(
        """
        room = libc.mmap(None, PAGE, 0, 0x22, -1, 0)
        moved = libc.mremap(at, PAGE, PAGE, 3, room)  # may move, fixed
        print(moved == room, ctypes.string_at(room, 7))
        """
    )
    assert told == "True b'genuine'"


def test_dropping_the_pages_is_not_stopped():
    assert outcome("tell(libc.madvise(at, PAGE, 4))") == r"0 b'\x00\x00\x00\x00\x00\x00\x00'"
    assert outcome("print(libc.madvise(at, PAGE, 8))") == "0"  # MADV_FREE: later, or never


def test_wiping_on_fork_is_not_stopped():
    told = outcome(
        """
        result = libc.madvise(at, PAGE, 18)
        pid = os.fork()
        if pid == 0:
            tell(result)
            os._exit(0)
        os.waitpid(pid, 0)
        """
    )
    assert told == r"0 b'\x00\x00\x00\x00\x00\x00\x00'"


def test_guard_install_takes_away_and_cannot_change():
    status, told, errors = attack(
        "r = libc.madvise(at, PAGE, 102)\nprint(r, flush=True)\nctypes.string_at(at, 7)"
    )
    if told == "-1":
        pytest.skip(f"no MADV_GUARD_INSTALL before Linux 6.13, and this is {platform.release()}")
    assert status == -signal.SIGSEGV, errors


def test_small_ints_are_not_protected():
    """Hole 3 of the list."""
    told = outcome(
        """
        frozen = pmalloc.freeze([7])
        ctypes.c_uint32.from_address(id(7) + 24).value = 8
        print(frozen[0] == 8)
        """
    )
    assert told == "True"


def test_a_blocked_signal_leaves_no_report_and_no_store():
    status, _, errors = attack(
        f"import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGSEGV])\n{STORE}"
    )
    assert status == -signal.SIGSEGV
    assert "pmalloc:" not in errors


def test_a_forged_root_is_found_out():
    """The root's word, made writable by somebody who can, and pointed at another object."""
    told = outcome(
        """
        frozen = pmalloc.freeze(["genuine"], name="policy")
        forged = pmalloc.freeze(["forged"], name="other")
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        words = []
        for line in open("/proc/self/maps"):
            span, mode, _, _, inode, *_ = line.split()
            low, high = (int(x, 16) for x in span.split("-"))
            for page in range(low, high, PAGE) if (mode, inode) == ("r--p", "0") else ():
                try:
                    at_root = os.pread(memory, PAGE, page).find(id(frozen).to_bytes(8, "little"))
                except OSError:  # a guard page
                    continue
                if at_root >= 0:
                    words.append(page + at_root)
        [word] = words
        page = word & -PAGE
        libc.mprotect(page, PAGE, 3)
        ctypes.c_void_p.from_address(word).value = id(forged)
        libc.mprotect(page, PAGE, 1)
        try:
            pmalloc.root("policy")
        except pmalloc.CorruptionError as error:
            print(error)
        """
    )
    assert told == (
        "the metadata of pool 'policy' is not what pmalloc wrote there: something in this "
        "process forged it; do not trust its root"
    )

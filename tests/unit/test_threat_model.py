"""What docs/threat-model.md says besides its attack table: reports, and the list of holes.

The table itself is tried cell by cell in test_cli_attacks.py. Here each program attacks a
protected pool of one page, and prints what the call returned and what the page says
afterwards. Holes are tested as well: the documentation must not promise less than there is.
"""

import os
import signal
import subprocess
import sys
import textwrap

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

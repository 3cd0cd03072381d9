"""Where rare writes have no door but a window: said once, why, and they work."""

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from child import in_child

from pmalloc import PmallocError, Pool, _core, _rare_fallback

HERE = Path(__file__).parent
O_MEM = os.O_RDWR | os.O_CLOEXEC
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
WINDOW = (
    "each rare write makes its chunk writable for a moment, for other threads, too; sealed, the "
    "pool could not be written any more"
)

# What a process says and does whose way is another: a fresh one, in which nothing is open yet.
PROGRAM = """
import ctypes, os, sys, warnings
sys.path.insert(0, {here!r})
from pmalloc import Pool, PmallocError, _core
from sandbox import refuse

def write(pool, data=b"changed"):
    allocation = pool.copy(b"genuine")
    pool.protect()
    _core.rare_probe(allocation, data, 1)
    with memoryview(allocation) as view:
        assert view == data and view.readonly
    return pool.stats()["rare_write"]

def became(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

"""


def run(code: str) -> tuple[list[str], str]:
    """What a program printed, and its warnings."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "always",
            "-c",
            PROGRAM.format(here=str(HERE)) + textwrap.dedent(code),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_nothing_is_said_where_nothing_is_wrong(recwarn):
    def work() -> None:
        for mode in ("ro", "wr", "auto_ro", "auto_wr", "start_wr"):
            Pool(f"fine {mode}", mode=mode)
            Pool(f"fine {mode} memfd", mode=mode, backing="memfd")
        assert [str(w.message) for w in recwarn] == []

    in_child(work)


def test_a_sandbox_that_refuses_it():
    told, errors = run(
        f"""
        refuse("openat", {errno.EACCES}, third={O_MEM})
        print(write(Pool("first", mode="wr")))
        print(write(Pool("second", mode="auto_wr")))
        print(write(Pool("in a file", mode="wr", backing="memfd")))
        """
    )
    assert told == ["mprotect", "mprotect", "memfd"]
    warning = errors.splitlines()[0]  # from 3.13 on the source follows
    assert warning.startswith("<string>:") and warning.endswith(
        "RuntimeWarning: pool 'first' is write-rare, and /proc/self/mem can't be opened: "
        f"Permission denied: {WINDOW}; make the first write-rare pool before the process gives up "
        "its privileges or enters a sandbox (what is open stays good), or use backing='memfd'"
    ), warning
    assert errors.count("RuntimeWarning") == 1, errors


def test_a_sandbox_that_is_entered_later():
    told, errors = run(
        f"""
        pool = Pool("before", mode="wr")
        refuse("openat", {errno.EACCES}, third={O_MEM})
        print(write(pool))
        print(write(Pool("after", mode="wr")))
        """
    )
    assert (told, errors) == (["proc_mem", "proc_mem"], "")


def test_a_sealed_pool_has_no_way_then():
    told, errors = run(
        f"""
        refuse("openat", {errno.EACCES}, third={O_MEM})
        pool = Pool("sealed", mode="wr")
        allocation = pool.copy(b"genuine")
        try:
            pool.protect(seal=True)
        except OSError as error:
            print(error.errno)
            sys.exit()
        import pmalloc

        def rarely():
            with pmalloc.rare_write(allocation) as staged:
                staged[:] = b"changed"

        for call in (rarely, pool.make_ro):
            try:
                call()
            except OSError as error:
                print(error)
        with memoryview(allocation) as view:
            print(bytes(view), pool.stats()["rare_write"], pool.stats()["rare_writes"])
        """
    )
    if told == [str(errno.ENOSYS)]:
        pytest.skip("no mseal in this kernel")
    refused = (
        f"[Errno {errno.EOPNOTSUPP}] cannot rare-write this allocation of pool 'sealed': no way to "
        "write a sealed pool works here (Operation not supported): neither /proc/self/mem nor its "
        "memfd can be written; pmalloc doctor says more"
    )
    kept = (
        f"[Errno {errno.EOPNOTSUPP}] cannot make pool 'sealed' read-only: it is sealed, and "
        "/proc/self/mem can't be written here; it stays write-rare"
    )
    assert told == [refused, kept, "b'genuine' none 0"]
    assert errors.count("RuntimeWarning") == 1


def test_a_warning_that_is_an_exception_leaves_nothing_behind():
    told, _ = run(
        f"""
        refuse("openat", {errno.EACCES}, third={O_MEM})
        warnings.simplefilter("error")
        for _ in range(2):
            try:
                Pool("twice", mode="wr")
            except RuntimeWarning as warning:
                print(str(warning)[:27])
        import pmalloc
        print(pmalloc.pools())
        warnings.simplefilter("ignore")
        print(write(Pool("twice", mode="wr")))
        """
    )
    assert told == ["pool 'twice' is write-rare,"] * 2 + ["[]", "mprotect"]


@as_root
def test_a_chroot_without_proc():
    told, errors = run(
        """
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            os.chroot(folder)
            os.chdir("/")
            print(write(Pool("confined", mode="wr")))
            os._exit(sys.stdout.flush() or 0)
        """
    )
    assert told == ["mprotect"]
    assert (
        f"pool 'confined' is write-rare, and there is no /proc: {WINDOW}; mount it before the "
        "first write-rare pool is made, or use backing='memfd'\n" in errors
    )


@as_root
def test_a_process_that_gives_up_its_privileges():
    """It is not dumpable then: its own /proc/self/mem is root's. What was open stays good, and a
    child, which needs one of its own, takes the window."""
    told, errors = run(
        """
        pool = Pool("early", mode="wr")
        allocation = pool.copy(b"genuine")
        pool.protect()
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        print(pool.stats()["rare_write"], flush=True)
        pid = os.fork()
        if pid == 0:
            _core.rare_probe(allocation, b"childs!", 1)
            with memoryview(allocation) as view:
                assert view == b"childs!" and view.readonly
            print(pool.stats()["rare_write"], pool.stats()["rare_writes"], flush=True)
            os._exit(0)
        print(became(pid))
        with memoryview(allocation) as view:
            print(bytes(view))
        """
    )
    assert told == ["proc_mem", "mprotect 1", "0", "b'genuine'"]
    assert errors == ""


@pytest.mark.parametrize(
    ("answer", "reason", "remedy"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "can't be opened: Permission",
            "befor",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "can't be opened: Too many", "before"),
        (None, "the kernel lets /proc/self/mem write no page", "proc_mem.force_override=always"),
    ],
)
def test_why(monkeypatch, answer, reason, remedy):
    def opened(path: str, flags: int) -> int:
        assert (path, flags) == ("/proc/self/mem", os.O_RDWR)
        if answer is not None:
            raise answer
        return os.dup(2)

    monkeypatch.setattr(_rare_fallback.os, "open", opened)
    said, help_ = _rare_fallback.why("private")
    assert reason in said
    assert remedy in help_
    assert "memfd" in _rare_fallback.why("memfd")[0]


def test_probes_are_no_door(name: str):
    """What the doctor measures with is judged as anybody is."""
    pool = Pool(name, mode="wr")
    allocation = pool.copy(b"genuine")
    fixed = Pool(name + " ro").copy(b"genuine")
    pool.protect()
    assert _core.rare_probe(allocation, b"changed", 2) > 0
    refused: list[Callable[[], object]] = [
        lambda: _core.rare_probe(allocation, b"x" * 100, 1),
        lambda: _core.rare_probe(fixed, b"changed", 1),
        lambda: _core.window_probe(0, 1),
    ]
    for call in refused:
        with pytest.raises(PmallocError, match=r"^rare write: "):
            call()
    with memoryview(allocation) as view:
        assert view == b"changed"
    with memoryview(fixed) as view:
        assert view == b"genuine"
    for bad in ((), (1, b"", 1), (allocation, "text", 1)):
        with pytest.raises(TypeError):
            _core.rare_probe(*bad)
    assert _core.window_probe(4096, 3) > 0
    pool.destroy()

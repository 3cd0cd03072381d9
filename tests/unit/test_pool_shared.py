"""Sharing an immutable pool by its descriptor, with real second processes."""

import array
import gc
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from child import in_child
from tiers import needs_seal

import pmalloc

pytestmark = needs_seal

OTHER = """
import ctypes, mmap, os, socket, sys
import pmalloc
"""


def other(code: str, *arguments: object, fds: tuple[int, ...] = ()) -> tuple[int, str, str]:
    """Runs a second Python, started afresh: exit status, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-c", OTHER + textwrap.dedent(code), *map(str, arguments)],
        pass_fds=fds,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={k: v for k, v in os.environ.items() if k != "PYTHONFAULTHANDLER"},
    )
    return done.returncode, done.stdout, done.stderr


def immutable(name: str, *contents: bytes) -> tuple[pmalloc.Pool, list[pmalloc.Allocation]]:
    pool = pmalloc.Pool(name, backing="memfd")
    allocations = [pool.copy(content) for content in contents]
    pool.protect(immutable=True)
    return pool, allocations


# ---- how it gets there ---------------------------------------------------------------------------


READ = """
shared = pmalloc.open_shared(fd)
os.close(fd)
print(shared, shared.name, len(shared), shared.sealed, [bytes(view) for view in shared])
"""
SAID = "<pmalloc.SharedPool '{0}': 2 allocations> {0} 2 True [b'one', b'second']\n"


def test_inherited(name):
    pool, _ = immutable(name, b"one", b"second")
    told = other("fd = int(sys.argv[1])" + READ, pool.fileno(), fds=(pool.fileno(),))
    assert told == (0, SAID.format(name), "")


def test_sent_through_a_socket(name, tmp_path):
    pool, _ = immutable(name, b"one", b"second")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                OTHER
                + textwrap.dedent("""
                    client = socket.socket(socket.AF_UNIX)
                    client.connect(sys.argv[1])
                    [fd] = socket.recv_fds(client, 1, 1)[1]
                """)
                + READ,
                str(tmp_path / "socket"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        connection, _ = server.accept()
        with connection:
            socket.send_fds(connection, [b"!"], [pool.fileno()])
            told, _ = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, SAID.format(name))


def test_found_in_proc(name):
    pool, _ = immutable(name, b"one", b"second")
    path = f"/proc/{os.getpid()}/fd/{pool.fileno()}"
    told = other("fd = os.open(sys.argv[1], os.O_RDONLY)" + READ, path)
    assert told == (0, SAID.format(name), "")


def spawned(connection) -> None:
    from multiprocessing.reduction import recv_handle

    shared = pmalloc.open_shared(recv_handle(connection))
    connection.send((shared.name, [bytes(view) for view in shared.views]))


def test_multiprocessing_spawn(name):
    from multiprocessing.reduction import send_handle

    pool, _ = immutable(name, b"one", b"second")
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=spawned, args=(there,))
    process.start()
    send_handle(here, pool.fileno(), process.pid)
    assert here.recv() == (name, [b"one", b"second"])
    process.join()
    assert process.exitcode == 0


# ---- what it may not do --------------------------------------------------------------------------


ATTACKS = """
fd = int(sys.argv[1])
shared = pmalloc.open_shared(fd)
def refused(call, *arguments):
    try:
        call(*arguments)
    except (OSError, TypeError, BufferError, ValueError) as error:
        return type(error).__name__
    return "DONE"
again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
mem = os.open("/proc/self/mem", os.O_RDWR)
def at(view):
    import numpy
    return numpy.frombuffer(view, dtype="u1").ctypes.data
print(refused(shared[0].__setitem__, 0, 1))
print(refused(lambda: mmap.mmap(fd, mmap.PAGESIZE)), refused(lambda: mmap.mmap(again, 4096)))
print(refused(os.pwrite, again, b"x", 4096), refused(os.ftruncate, again, 0))
print(refused(os.ftruncate, again, 1 << 30), refused(os.posix_fallocate, again, 0, 1 << 30))
print(refused(os.pwrite, mem, b"x", at(shared[0])))
libc = ctypes.CDLL(None, use_errno=True)
page = ctypes.c_void_p(at(shared[0]) & -mmap.PAGESIZE)
for code in (libc.mprotect(page, mmap.PAGESIZE, 3), libc.munmap(page, mmap.PAGESIZE)):
    print(code, end=" ")
print(bytes(shared[0]), flush=True)
ctypes.memset(at(shared[0]) + 1, 0, 1)
"""


def test_nothing_the_other_process_does_changes_a_byte(name):
    pytest.importorskip("numpy")
    pool, [allocation] = immutable(name, b"genuine")
    status, told, errors = other(ATTACKS, pool.fileno(), fds=(pool.fileno(),))
    assert told.splitlines() == [
        "TypeError",
        "PermissionError PermissionError",
        "PermissionError PermissionError",
        "PermissionError PermissionError",
        "OSError",
        "-1 -1 b'genuine'",
    ], errors
    assert status == -signal.SIGSEGV
    assert errors.startswith(f"pmalloc: write to protected pool '{name}'\n")
    assert " + 1 (size 7)\n" in errors
    assert bytes(allocation) == b"genuine"


# ---- what it sees --------------------------------------------------------------------------------


def test_numbers(name):
    """Allocation.shared_index leads to the same bytes over there, whatever was freed before."""
    pool = pmalloc.Pool(name, backing="memfd")
    kept: dict[int, tuple[pmalloc.Allocation, bytes]] = {}
    for n in range(2000):
        content = str(n).encode() * (n % 700 + 1)
        allocation = pool.copy(content)
        assert allocation.shared_index is None
        if n % 3:
            kept[n] = allocation, content
        else:
            pool.free(allocation)
    frozen = pool.freeze({"objects": ["are", "not", "listed"]})
    pool.protect(immutable=True)
    shared = pmalloc.open_shared(pool, seal=False)
    assert len(shared) == len(kept)
    numbers = set()
    for allocation, content in kept.values():
        assert allocation.shared_index is not None
        numbers.add(allocation.shared_index)
        assert shared[allocation.shared_index] == content
    assert numbers == set(range(len(kept)))
    assert frozen["objects"][2] == "listed"
    shared.close()


def test_a_sequence_of_views(name):
    pool, _ = immutable(name, b"one", b"", b"three" * 10_000)
    shared = pmalloc.open_shared(pool, seal=False)
    assert len(shared) == len(list(shared)) == len(shared.views) == 3
    assert shared[-1] == shared[2] == b"three" * 10_000
    for view in shared:
        assert isinstance(view, memoryview)
        assert view.readonly
        with pytest.raises(TypeError, match="cannot modify read-only memory"):
            view[0] = 1
    for wrong in (3, -4, 1 << 40):
        with pytest.raises(IndexError, match="a shared pool of 3 allocations has none of number"):
            shared[wrong]
    for wrong in ("0", None, 1.5, slice(2)):
        with pytest.raises(TypeError):
            shared[wrong]
    with pytest.raises(TypeError):
        shared[0] = b"x"
    assert shared.name == name
    assert shared.nbytes == os.fstat(pool.fileno()).st_size
    assert not shared.sealed
    assert not shared.closed
    assert pmalloc.is_protected(shared) is False


def test_arrays(name):
    numpy = pytest.importorskip("numpy")
    numbers = array.array("d", [1.5, 2.5, -3.5])
    pool, _ = immutable(name, bytes(numbers), b"")
    shared = pmalloc.open_shared(pool)
    seen = numpy.frombuffer(shared[0], dtype="f8")
    assert seen.tolist() == numbers.tolist()
    assert not seen.flags.writeable
    with pytest.raises(ValueError):
        seen.flags.writeable = True
    assert shared[0].cast("d").tolist() == numbers.tolist()


def test_views_keep_it_open(name):
    pool, _ = immutable(name, b"kept")
    shared = pmalloc.open_shared(pool, seal=False)
    view = shared[0]
    with pytest.raises(BufferError) as caught:
        shared.close()
    assert str(caught.value) == (
        "cannot close this shared pool: 1 view(s) of its allocations are alive; release them first"
    )
    copy = memoryview(view)
    view.release()
    with pytest.raises(BufferError, match=r"1 view\(s\)"):
        shared.close()
    copy.release()
    shared.close()
    shared.close()
    assert shared.closed
    assert repr(shared) == "<pmalloc.SharedPool, closed>"
    assert (len(shared), shared.nbytes) == (0, 0)
    for use in (lambda: shared[0], lambda: shared.views, lambda: shared.name):
        with pytest.raises(pmalloc.DestroyedError, match=r"^this shared pool was closed$"):
            use()


def test_a_view_outlives_the_shared_pool(name):
    pool, _ = immutable(name, b"kept")
    view = pmalloc.open_shared(pool, seal=False)[0]
    gc.collect()
    assert bytes(view) == b"kept"


def test_a_sealed_one_stays(name):
    pool, _ = immutable(name, b"kept")
    shared = pmalloc.open_shared(pool)
    assert shared.sealed
    with pytest.raises(pmalloc.SealedError) as caught:
        shared.close()
    assert str(caught.value) == (
        "cannot close this shared pool: its mapping is sealed, and stays for the life of the "
        "process; open it with seal=False to close it later"
    )
    assert shared[0] == b"kept"
    del shared
    gc.collect()
    assert pmalloc.open_shared(pool)[0] == b"kept"


def test_forked_children_inherit_it(name):
    pool, _ = immutable(name, b"kept")
    shared = pmalloc.open_shared(pool)

    def work() -> None:
        assert shared[0] == b"kept"
        assert pmalloc.open_shared(pool.fileno())[0] == b"kept"

    in_child(work)


def test_an_empty_pool(name):
    pool, _ = immutable(name)
    shared = pmalloc.open_shared(pool)
    assert (len(shared), list(shared), shared.views, shared.name) == (0, [], (), name)


@pytest.mark.parametrize("text", ["x" * 255, "ü\n'🔒", "/etc"])
def test_names(text):
    pool = pmalloc.Pool(text, backing="memfd")
    pool.copy(b"x")
    pool.protect(immutable=True)
    assert pmalloc.open_shared(pool).name == text
    assert repr(pmalloc.open_shared(pool)) == f"<pmalloc.SharedPool '{text}': 1 allocations>"


# ---- what it is not ------------------------------------------------------------------------------


def test_a_file_that_may_change_is_refused(name, tmp_path):
    pool, _ = immutable(name, b"content")
    path = tmp_path / "copy"
    path.write_bytes(Path(f"/proc/self/fd/{pool.fileno()}").read_bytes())
    with path.open("rb") as file:
        with pytest.raises(pmalloc.PmallocError) as caught:
            pmalloc.open_shared(file)
        assert type(caught.value) is pmalloc.PmallocError
        assert str(caught.value) == (
            f"cannot open descriptor {file.fileno()} as a shared pool: the file can still be "
            "changed; ask its owner to protect(immutable=True), or pass verify=False if you trust "
            "whoever can write it"
        )
        shared = pmalloc.open_shared(file, verify=False, seal=False)
        assert bytes(shared[0]) == b"content"
        assert shared.name == name
        shared.close()


def test_a_pool_that_is_only_protected_is_refused(name):
    pool = pmalloc.Pool(name, backing="memfd")
    pool.copy(b"x")
    pool.protect(seal=True)
    with pytest.raises(pmalloc.PmallocError, match="it is not immutable"):
        pool.fileno()
    with pytest.raises(pmalloc.PmallocError, match="it is not immutable"):
        pmalloc.open_shared(pool)


def sealed_file(content: bytes) -> int:
    import fcntl

    fd = os.memfd_create("forged", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0xF)
    return fd


def test_forged_files_are_refused(name):
    pool, _ = immutable(name, b"content", b"more")
    genuine = Path(f"/proc/self/fd/{pool.fileno()}").read_bytes()
    table = struct.unpack_from("<Q", genuine, 16)[0]
    forgeries = {
        "empty": b"",
        "short": genuine[:100],
        "other magic": b"PMALLOC\1" + genuine[8:],
        "other version": b"pmalloc\2" + genuine[8:],
        "cut off": genuine[:-1],
        "longer": genuine + b"\0",
        "table outside": genuine[:16] + struct.pack("<Q", len(genuine) + 8) + genuine[24:],
        "table wraps": genuine[:16] + struct.pack("<Q", 2**64 - 8) + genuine[24:],
        "many": genuine[:24] + struct.pack("<Q", 2**60) + genuine[32:],
        "offset outside": genuine[:table] + struct.pack("<QQ", 2**40, 1) + genuine[table + 16 :],
        "in the table": genuine[:table] + struct.pack("<QQ", table, 16) + genuine[table + 16 :],
        "header": genuine[:table] + struct.pack("<QQ", 0, 8) + genuine[table + 16 :],
        "size wraps": genuine[:table] + struct.pack("<QQ", 4096, 2**64 - 1) + genuine[table + 16 :],
    }
    for what, content in forgeries.items():
        fd = sealed_file(content)
        with pytest.raises(pmalloc.PmallocError) as caught:
            pmalloc.open_shared(fd)
        message = f"cannot open descriptor {fd} as a shared pool: it is not the memory of an "
        assert str(caught.value) == message + "immutable pool, or it is damaged", what
        os.close(fd)
    fd = sealed_file(genuine)
    assert bytes(pmalloc.open_shared(fd)[0]) == b"content"
    os.close(fd)


def test_no_file_at_all(name):
    with pytest.raises(OSError) as caught:
        pmalloc.open_shared(12345)
    assert str(caught.value) == (
        "[Errno 9] cannot open descriptor 12345 as a shared pool: Bad file descriptor"
    )
    for wrong in ("path", None, 1.5):
        with pytest.raises(TypeError):
            pmalloc.open_shared(wrong)
    with pytest.raises((ValueError, OverflowError)):
        pmalloc.open_shared(-1)
    reader, writer = os.pipe()
    for fd in (reader, writer):
        with pytest.raises(pmalloc.PmallocError, match="can still be changed"):
            pmalloc.open_shared(fd)
        with pytest.raises(pmalloc.PmallocError, match="not the memory of an immutable pool"):
            pmalloc.open_shared(fd, verify=False)
        os.close(fd)


def test_a_truncated_copy_that_was_trusted(name, tmp_path):
    """What the docstring warns of: the reader of a file that somebody cuts off dies of SIGBUS."""
    pool, _ = immutable(name, b"x" * 100_000)
    path = tmp_path / "copy"
    path.write_bytes(Path(f"/proc/self/fd/{pool.fileno()}").read_bytes())
    status, told, _ = other(
        """
        file = open(sys.argv[1], "r+b")
        shared = pmalloc.open_shared(file, verify=False)
        print(shared[0][:3].tobytes(), flush=True)
        os.ftruncate(file.fileno(), 0)
        bytes(shared[0])
        """,
        path,
    )
    assert (status, told) == (-signal.SIGBUS, "b'xxx'\n")

"""Redzones and the hardened mode, as a program sees them."""

import ctypes
import os
import subprocess
import sys

import pytest
from tiers import needs_no_redzones

import pmalloc
from pmalloc import CorruptionError, Pool


def damage(address: int) -> int:
    """Makes a byte another one; answers what it was."""
    byte = ctypes.c_ubyte.from_address(address)
    before = byte.value
    byte.value = 0
    return before


@pytest.mark.parametrize("option", ["redzones", "hardened"])
@pytest.mark.parametrize("size", [1, 16, 100, 5000])
def test_nothing_half_done(name: str, option: str, size: int):
    pool = Pool(name, **{option: True})
    pool.alloc(10)
    hit = pool.alloc(size)
    pool.alloc(10)
    with memoryview(hit) as view:
        view[:] = b"x" * size
    pool.check()
    stats = pool.stats()
    for offset in (-1, size):
        before = damage(hit.address + offset)
        side = "over the end of" if offset > 0 else "in front of"
        for verb, call in (
            ("vouch for", pool.check),
            ("free from", lambda: pool.free(hit)),
            ("protect", pool.protect),
            ("destroy", pool.destroy),
        ):
            with pytest.raises(CorruptionError) as caught:
                call()
            error = caught.value
            assert str(error) == (
                f"cannot {verb} pool '{name}': a redzone was hit: something wrote {side} the "
                f"allocation of {size} bytes at {hit.address:#x}, the first bad byte is at offset "
                f"{offset}"
            )
            assert (error.address, error.size, error.offset) == (hit.address, size, offset)
            assert pool.stats() == stats
            assert not hit.freed
        ctypes.c_ubyte.from_address(hit.address + offset).value = before
    assert bytes(hit) == b"x" * size
    pool.free(hit)
    pool.protect()
    pool.check()
    pool.destroy()
    with pytest.raises(pmalloc.DestroyedError):
        pool.check()


def test_force(name: str):
    pool = Pool(name, redzones=True)
    damage(pool.alloc(5).address + 5)
    with pytest.raises(CorruptionError):
        pool.destroy()
    assert pmalloc.pools()[-1] is pool
    pool.destroy(force=True)
    assert pool.state == "destroyed"


@needs_no_redzones
def test_without(name: str):
    pool = Pool(name)
    damage(pool.alloc(5).address + 5)
    pool.check()
    pool.protect()


def test_with_block(name: str):
    """The exception of the block is the one to see; the pool stays, and says why."""
    pool = Pool(name, redzones=True)

    def fail() -> None:
        with pool:
            damage(pool.alloc(5).address + 5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert any("a redzone was hit" in note for note in caught.value.__notes__)
    assert pool.state == "open"
    pool.destroy(force=True)


def test_arrays_too(name: str):
    np = pytest.importorskip("numpy")
    pool = Pool(name, redzones=True)
    array = pool.ndarray(10, "i1")
    assert array.ctypes.data % 64 == 0
    ctypes.memset(array.ctypes.data + array.nbytes, 1, 1)
    with pytest.raises(CorruptionError, match="allocation of 10 bytes"):
        pool.protect()
    assert array.flags.writeable and np.all(array == 0)
    del array  # cannot be freed: it stays for whoever looks
    with pytest.raises(CorruptionError):
        pool.check()


def test_size_of_a_redzone_is_out_of_bounds(name: str):
    at = Pool(name, redzones=True).alloc(20).address
    assert pmalloc.check_object_size(at, 20) == "good"
    assert pmalloc.check_object_size(at - 16, 16) == "bad"
    assert pmalloc.check_object_size(at + 32, 8) == "bad"


def test_other_calls_have_no_details():
    error = CorruptionError("x")
    assert error.address is error.size is error.offset is None


PROGRAM = """
import ctypes, pmalloc
pool = pmalloc.Pool("p")
ctypes.memset(pool.alloc(5).address + 5, 0, 1)
try:
    pool.protect()
except pmalloc.CorruptionError:
    print("hardened")
else:
    print("plain")
"""


@pytest.mark.parametrize(
    ("value", "options", "mode"),
    [
        ("1", [], "hardened"),
        ("yes", [], "hardened"),
        ("0", [], "plain"),
        ("", [], "plain"),
        (None, [], "plain"),
        ("1", ["-E"], "plain"),
        ("1", ["-I"], "plain"),
    ],
)
def test_environment(value: str | None, options: list[str], mode: str):
    environment = {k: v for k, v in os.environ.items() if k != "PMALLOC_HARDENED"}
    if value is not None:
        environment["PMALLOC_HARDENED"] = value
    paths = f"import sys; sys.path[:] = {sys.path!r}\n"  # -I takes PYTHONPATH away
    done = subprocess.run(
        [sys.executable, *options, "-c", paths + PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == mode

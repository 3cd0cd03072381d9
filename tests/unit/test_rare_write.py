"""rare_write(): a copy that is edited, and what of it is stored."""

import ctypes
import gc
import random
import sys
from typing import Annotated

import pytest

import pmalloc
from pmalloc import rare_write

np = pytest.importorskip("numpy")

RARE = ["wr", "auto_wr", "start_wr"]


class Switches(pmalloc.Record):
    enabled: bool = True
    limit: pmalloc.u32 = 100
    count: int
    name: Annotated[str, pmalloc.size(16)] = "first"


def make(name: str, mode: str = "wr", **options) -> pmalloc.Pool:
    return pmalloc.Pool(name, mode=mode, **options)


def written(pool: pmalloc.Pool) -> int:
    return pool.stats()["rare_bytes"]


# ---- what is stored ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", RARE)
@pytest.mark.parametrize("backing", ["private", "memfd"])
@pytest.mark.parametrize("policy", ["oops", "off"])
def test_each_target_in_each_mode(name: str, mode: str, backing: str, policy: str):
    pool = make(name, mode, backing=backing, on_violation=policy)
    allocation = pool.copy(b"hello world")
    record = pool.new(Switches, limit=7)
    array = pool.ndarray((3, 4), "i4")
    for state in ("open", "protected"):
        with rare_write(allocation) as staged:
            assert isinstance(staged, memoryview) and not staged.readonly
            staged[:5] = b"HELLO" if state == "open" else b"Hello"
        with rare_write(record) as staged:
            assert type(staged) is Switches and not pmalloc.is_protected(staged)
            staged.limit += 1
        with rare_write(array) as staged:
            assert type(staged) is np.ndarray and staged.flags.writeable
            staged[1] += 1
        if pool.state == "open":
            pool.protect()
    assert bytes(allocation) == b"Hello world"
    assert record.limit == 9
    assert array.tolist() == [[0] * 4, [2] * 4, [0] * 4]


def test_exactly_the_bytes_that_changed(name: str):
    pool = make(name)
    allocation = pool.copy(bytes(range(256)) * 64)
    pool.protect()
    expected = bytearray(allocation)
    before = written(pool)
    with rare_write(allocation) as staged:
        for at in (0, 1, 4095, 4096, 9000):
            staged[at] ^= 0xFF
            expected[at] ^= 0xFF
    assert bytes(allocation) == expected
    # A run of pages that changed goes in one: as it is, where it did not change.
    assert 5 <= written(pool) - before <= 9008
    before = written(pool)
    with rare_write(allocation) as staged:
        staged[16000] ^= 0xFF
    assert written(pool) - before == 8  # the word
    with rare_write(allocation) as staged:
        staged[:] = bytes(staged)
    assert written(pool) - before == 8  # nothing


def test_what_others_stored_meanwhile_stays_where_the_block_changed_nothing(name: str):
    pool = make(name)
    array = pool.ndarray(64, "u1")
    pool.protect()
    with rare_write(array) as staged:
        with rare_write(array[:0]) as nothing:
            assert nothing.size == 0
        staged[0] = 1
        # As a C library would: who excludes whom is Python's affair.
        copy = ctypes.CDLL(pmalloc._core.__file__).pmalloc_wr_copy
        copy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        value = (ctypes.c_ubyte * 1)(9)
        assert copy(array.ctypes.data + 3, ctypes.addressof(value), 1) == 0
    assert array[:4].tolist() == [1, 0, 0, 9]


def test_an_exception_discards_all(name: str):
    pool = make(name)
    allocation, record = pool.copy(b"hello"), pool.new(Switches)
    array = pool.copy_array(np.arange(4))
    pool.protect()
    for target in (allocation, record, array):
        with pytest.raises(KeyError, match="out"), rare_write(target) as staged:  # noqa: PT012
            if target is record:
                staged.limit = 1
            else:
                staged[:] = staged[::-1]
            raise KeyError("out")
        with rare_write(target):
            pass  # and it can be opened again
    assert bytes(allocation) == b"hello" and record.limit == 100
    assert array.tolist() == [0, 1, 2, 3]
    assert written(pool) == 0


def test_nothing_is_writable_meanwhile(name: str):
    pool = make(name)
    allocation = pool.copy(b"hello")
    pool.protect()
    with rare_write(allocation) as staged:
        staged[0] = 0
        assert bytes(allocation) == b"hello"
        with open("/proc/self/maps") as maps:
            [flags] = [
                line.split()[1]
                for line in maps
                for low, high in [line.split()[0].split("-")]
                if int(low, 16) <= allocation.address < int(high, 16)
            ]
        assert flags.startswith("r-")
    assert bytes(allocation) == b"\0ello"


def test_the_view_is_released_and_other_copies_are_ordinary(name: str):
    pool = make(name)
    allocation, record, array = pool.copy(b"hello"), pool.new(Switches), pool.ndarray(3)
    pool.protect()
    with rare_write(allocation) as view:
        part = view[1:3]
    with pytest.raises(ValueError, match="released"):
        view[0] = 1
    part[0] = 7
    with rare_write(allocation) as view:
        numbers = np.frombuffer(view, "u1")
        numbers[0] = 65
    numbers[0] = 66
    with rare_write(record) as staged:
        pass
    staged.limit = 5
    with rare_write(array) as copy:
        pass
    copy[0] = 5
    assert bytes(allocation) == b"Aello" and record.limit == 100 and array[0] == 0


VIEWS = {
    "all": lambda a: a,
    "a row": lambda a: a[1],
    "a column": lambda a: a[:, 2],
    "every second, backwards": lambda a: a[::2, ::-2],
    "transposed": lambda a: a.T,
    "one item": lambda a: a[1:2, 1:2],
    "no dimension": lambda a: a[1, 1, ...],
    "none": lambda a: a[:0],
    "other dtype": lambda a: a.view("u1"),
    "field": lambda a: a.view([("low", "<i4"), ("high", "<i4")])["high"],
    "dates": lambda a: a.view("M8[s]"),
    "fixed strings": lambda a: a.view("S8"),
    "big-endian": lambda a: a.view(">i8"),
    "read-only flag": lambda a: np.lib.stride_tricks.as_strided(a, writeable=False),
}


@pytest.mark.parametrize("which", VIEWS)
@pytest.mark.parametrize("order", ["C", "F"])
def test_views_of_arrays(name: str, which: str, order: str):
    if order == "F" and which in ("other dtype", "field"):
        pytest.skip("NumPy shows no such view")
    pool = make(name)
    array = pool.ndarray((6, 8), "i8", order=order)
    array[...] = np.arange(48).reshape(6, 8)
    pool.protect()
    model = array.copy(order="K")
    view = VIEWS[which](array)
    mirror = VIEWS[which](model)
    if which == "read-only flag":
        mirror = model
    with rare_write(view) as staged:
        assert staged.shape == view.shape and staged.dtype == view.dtype
        assert np.array_equal(staged, view)
        assert not np.shares_memory(staged, array)
        new = np.array(staged[::-1] if staged.ndim else staged)
        staged[...] = new
        mirror[...] = new
    assert array.tobytes("K") == model.tobytes("K")


def test_memoryviews(name: str):
    pool = make(name)
    allocation = pool.copy(bytes(64))
    pool.protect()
    view = memoryview(allocation)
    with rare_write(view[2:5]) as staged:
        staged[:] = b"abc"
    assert bytes(allocation)[:6] == b"\0\0abc\0"
    for other in (view[::2], view.cast("I"), view.cast("B", (8, 8))):
        with pytest.raises(TypeError, match="has to show bytes"), rare_write(other):
            pytest.fail("entered")
    view.release()
    with pytest.raises(ValueError, match="released"), rare_write(view):
        pytest.fail("entered")


def test_a_large_array(name: str):
    """More than is kept in the object, and than one page of changes."""
    pool = make(name)
    array = pool.ndarray(1 << 20, "u8")
    pool.protect()
    with rare_write(array) as staged:
        staged[::1000] = np.arange(0, 1 << 20, 1000)
    model = np.zeros(1 << 20, "u8")
    model[::1000] = np.arange(0, 1 << 20, 1000)
    assert np.array_equal(array, model)


# ---- what is refused -----------------------------------------------------------------------------


class Slotted:
    __slots__ = ("x",)


def test_targets_of_a_wrong_kind():
    frozen = pmalloc.freeze({"a": [1]})
    for target in (b"bytes", bytearray(3), 5, None, Slotted, "text", [1]):
        with (
            pytest.raises(TypeError, match="takes an Allocation, a NumPy array or a Record"),
            rare_write(target),
        ):
            pytest.fail("entered")
    for target in (frozen, frozen["a"]):
        with pytest.raises(TypeError, match="publish it in a Cell"), rare_write(target):
            pytest.fail("entered")


def test_ordinary_memory():
    for target, advice in (
        (np.zeros(3), r"store into it, or make it with Pool.ndarray\(\)"),
        (memoryview(bytearray(3)), "store into it"),
        (Switches(), "assign to its fields"),
    ):
        with pytest.raises(ValueError, match=advice), rare_write(target):
            pytest.fail("entered")


def test_a_subclass_of_ndarray(name: str):
    array = make(name).ndarray((2, 2)).view(np.matrix)
    with pytest.raises(TypeError, match=r"a plain numpy\.ndarray"), rare_write(array):
        pytest.fail("entered")


@pytest.mark.parametrize("mode", ["ro", "auto_ro"])
def test_modes_without_rare_write(name: str, mode: str):
    pool = make(name, mode)
    targets = [pool.copy(b"hello"), pool.new(Switches), pool.ndarray(3)]
    for target in targets:
        with (
            pytest.raises(pmalloc.ProtectedError, match=f"mode is '{mode}', and it is open"),
            rare_write(target),
        ):
            pytest.fail("entered")
    pool.protect()
    for target in targets:
        with (
            pytest.raises(pmalloc.ProtectedError, match="mode is 'ro', and what it protects"),
            rare_write(target),
        ):
            pytest.fail("entered")
    assert bytes(targets[0]) == b"hello"


def test_a_pool_that_was_made_read_only(name: str):
    pool = make(name)
    record, allocation = pool.new(Switches), pool.copy(b"hello")
    pool.protect()
    with pytest.raises(pmalloc.ProtectedError, match="'ro'"), rare_write(record) as staged:  # noqa: PT012
        staged.limit = 1
        pool.make_ro()
    assert record.limit == 100
    with pytest.raises(pmalloc.ProtectedError, match="'ro'"), rare_write(allocation):
        pytest.fail("entered")


def test_a_freed_allocation(name: str):
    pool = make(name)
    one, other = pool.copy(b"hello"), pool.copy(b"other")
    pool.free(one)
    with pytest.raises(ValueError, match="it was freed"), rare_write(one):
        pytest.fail("entered")
    pool.protect()
    with pytest.raises(ValueError, match="it was freed"), rare_write(other) as staged:  # noqa: PT012
        staged[0] = 0
        pool.free(other)
    with pytest.raises(ValueError, match="it was freed"), rare_write(other):
        pytest.fail("entered")


def test_a_destroyed_pool(name: str):
    pool = make(name)
    allocation = pool.copy(b"hello")
    pool.protect()
    with pytest.raises(pmalloc.DestroyedError, match="destroyed"), rare_write(allocation):
        pool.destroy()
    with pytest.raises(pmalloc.DestroyedError, match="destroyed"), rare_write(allocation):
        pytest.fail("entered")


def test_a_view_that_reaches_over_its_end(name: str):
    pool = make(name)
    array = pool.ndarray(8, "u1")
    other = pool.ndarray(64, "u1")
    pool.protect()
    wide = np.lib.stride_tricks.as_strided(array, shape=(200,), strides=(1,))
    with pytest.raises(ValueError, match="not within one allocation"), rare_write(wide):
        pytest.fail("entered")
    assert not other.any()


def test_one_with_statement_each(name: str):
    record = make(name).new(Switches)
    once = rare_write(record)
    with pytest.raises(pmalloc.PmallocError, match="was not entered"):
        once.__exit__(None, None, None)
    with once, pytest.raises(pmalloc.PmallocError, match="one with-statement"):
        once.__enter__()
    with pytest.raises(pmalloc.PmallocError, match="one with-statement"), once:
        pytest.fail("entered")
    with pytest.raises(pmalloc.PmallocError, match="is over"):
        once.__exit__(None, None, None)
    with pytest.raises(TypeError):
        type(once)()


# ---- for long ------------------------------------------------------------------------------------


def test_many_rounds(name: str):
    """Protected from the first to the last; no memory is lost on the way."""
    pool = make(name)
    record, allocation, array = pool.new(Switches), pool.alloc(100), pool.ndarray((3, 5), "i2")
    pool.protect()
    model = bytearray(100)
    chance = random.Random(5)
    blocks = 0
    for turn in range(12_000):
        at, value = chance.randrange(100), chance.randrange(256)
        with rare_write(record) as staged:
            staged.count = turn
            staged.name = f"turn {turn % 1000}"
        with rare_write(allocation) as view:
            view[at] = model[at] = value
        if turn % 4 == 0:
            with rare_write(array[:, turn % 5]) as column:
                column += 1
        if turn == 2_000:
            gc.collect()
            blocks = sys.getallocatedblocks()
        assert record.count == turn and record.name == f"turn {turn % 1000}"
    gc.collect()
    assert bytes(allocation) == model
    assert array.sum() == 3_000 * 3
    assert sys.getallocatedblocks() < blocks + 500

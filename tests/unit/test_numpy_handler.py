"""`with pool.numpy():` NumPy allocates in the pool, and what becomes of the arrays."""

import gc
import io
import sys
import threading
import tracemalloc
from typing import Any

import pytest
from child import in_child

import pmalloc
from pmalloc import Pool, _core

np = pytest.importorskip("numpy")
handler_name = np._core.multiarray.get_handler_name


def lies_in(pool: Pool, array: Any) -> bool:
    word = pmalloc.check_object_size(array.__array_interface__["data"][0], max(1, array.nbytes))
    return word == "good" and _core.numpy_owner(array) is pool


# ---- made in the pool ----------------------------------------------------------------------------

WAYS = {
    "empty": lambda: np.empty(100),
    "zeros": lambda: np.zeros((10, 10)),
    "zero-dimensional": lambda: np.array(5),
    "nothing": lambda: np.zeros((0, 3)),
    "arithmetic": lambda: np.ones(100) * 2 + 1,
    "ufunc": lambda: np.sin(PLAIN),
    "copy": lambda: PLAIN.copy(),
    "astype": lambda: PLAIN.astype("f4"),
    "concatenate": lambda: np.concatenate([PLAIN, PLAIN]),
    "indexed": lambda: PLAIN[[1, 2, 3]],
    "sorted": lambda: np.sort(PLAIN[::-1]),
    "fromiter": lambda: np.fromiter(range(1000), int),
    "loadtxt": lambda: np.loadtxt(io.StringIO("1 2\n3 4")),
    "strings": lambda: np.array(["a", "bcd"]),
    "records": lambda: np.zeros(5, [("a", "i4"), ("b", "f8")]),
    "dates": lambda: np.array(["2020-01-01"], "M8[D]"),
    "matrix multiplied": lambda: np.ones((20, 20)) @ np.ones((20, 20)),
    "masked": lambda: np.ma.masked_array([1, 2, 3], [0, 1, 0]).data.base,
    "large": lambda: np.zeros(1 << 20),
}
PLAIN = np.arange(100.0)


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_lies_in_the_pool_and_is_the_same(name: str, way: Any):
    pool, expected = Pool(name), way()
    with pool.numpy() as same:
        array = way()
    assert same is pool
    assert lies_in(pool, array) and pool._arrays >= 1
    assert handler_name(array) == f"pmalloc:{name}"
    assert type(array) is type(expected) and array.dtype == expected.dtype
    if "empty" not in str(way):
        assert array.shape == expected.shape
    assert handler_name() == "default_allocator" == handler_name(np.zeros(3))
    pool.protect()
    assert not array.flags.writeable
    del array
    assert pool._arrays == pool.stats()["allocations"] == 0
    pool.destroy()


def test_load(name: str, tmp_path: Any):
    np.save(tmp_path / "a.npy", PLAIN.reshape(10, 10))
    np.savez(tmp_path / "b.npz", one=PLAIN, two=PLAIN * 2)
    pool = Pool(name)
    with pool.numpy():
        a = np.load(tmp_path / "a.npy")
        with np.load(tmp_path / "b.npz") as file:
            b = dict(file)
    pool.protect()
    assert (a == PLAIN.reshape(10, 10)).all() and (b["two"] == PLAIN * 2).all()
    for array in (a, *b.values()):
        assert pmalloc.pool_of(array) is pool and not array.flags.writeable


def test_large_arrays_are_aligned(name: str):
    with Pool(name).numpy():
        for n in (1024, 5000, 1 << 20):
            assert np.empty(n, "u1").ctypes.data % 64 == 0


def test_empty_array_is_zeroed_memory_or_its_own(name: str):
    """What was another array's before shows nothing of it."""
    pool = Pool(name)
    with pool.numpy():
        first = np.full(10_000, 7.0)
        at = first.ctypes.data
        del first
        second = np.empty(10_000)
    assert second.ctypes.data == at and not second.any()


def test_calloc_is_zeroed_although_a_dangling_pointer_wrote(name: str):
    import ctypes

    pool = Pool(name)
    with pool.numpy():
        first = np.ones(1000)
        at = first.ctypes.data
        del first
        ctypes.memset(at, 0xFF, 8000)
        second = np.zeros(1000)
    assert second.ctypes.data == at and not second.any()


def test_overflow_is_a_memory_error(name: str):
    pool = Pool(name)
    with pytest.raises(MemoryError) as caught, pool.numpy():
        np.zeros(1 << 59, "u1")
    assert "Unable to allocate 512. PiB" in str(caught.value)
    assert caught.value.__notes__[0].startswith(
        f"MemoryError: cannot allocate an array in pool '{name}'"
    )
    assert pool._arrays == 0


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_which_pool(name: str, way: Any):
    """Of dates too, which NumPy shows to nobody."""
    pool = Pool(name)
    with pool.numpy():
        array = way()
    view = array[...]
    assert pmalloc.pool_of(array) is pmalloc.pool_of(view) is pool
    assert not pmalloc.is_protected(view)
    pool.protect()
    assert pmalloc.pool_of(array) is pool and pmalloc.is_protected(view)
    assert pmalloc.pool_of(way()) is None and not pmalloc.is_protected(way())


def test_frozen_with_the_rest(name: str):
    """freeze() copies arrays, those of the pool as well."""
    pool = Pool(name)
    with pool.numpy():
        array = np.arange(5.0)
        frozen = pool.freeze({"a": array, "b": [array[1:]]})
    assert not np.shares_memory(frozen["a"], array) and frozen["b"][0].tolist() == [1, 2, 3, 4]
    del array
    pool.protect()
    assert pmalloc.pool_of(frozen["a"]) is pool and not frozen["a"].flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        frozen["a"][0] = 1


# ---- given back ----------------------------------------------------------------------------------


def test_dropped_arrays_are_used_again(name: str):
    pool = Pool(name)
    with pool.numpy():
        for _ in range(50):
            big = np.ones(1 << 20)
            big = big * 2  # two at a time
    assert pool.stats()["reserved_bytes"] < 4 * big.nbytes
    del big
    assert pool.stats()["used_bytes"] == 0 == _core.numpy_blocks(pool)


def test_resize(name: str):
    pool = Pool(name)
    with pool.numpy():
        array = np.arange(10)
        for size in (10_000, 50, 100_000, 3, 0, 7):
            array.resize(size, refcheck=False)
            assert lies_in(pool, array)
    assert array.tolist() == [0] * 7
    # outside of the block too: the array knows whose its memory is
    array.resize(20, refcheck=False)
    assert lies_in(pool, array) and pool._arrays == 1
    pool.protect()
    with pytest.raises(ValueError, match="does not own its data"):
        array.resize(30, refcheck=False)


def test_freed_anywhere(name: str):
    pool = Pool(name)
    with pool.numpy():
        arrays = [np.ones(100) for _ in range(1000)]
    threads = [threading.Thread(target=arrays.clear)] + [
        threading.Thread(target=lambda: [arrays.pop() for _ in range(100)]) for _ in range(4)
    ]
    for thread in reversed(threads):
        thread.start()
        thread.join()
    assert pool._arrays == 0 and pool.stats()["allocations"] == 0


def test_freed_after_protect(name: str):
    pool = Pool(name)
    with pool.numpy():
        one, two = np.ones(10), np.ones(10)
    pool.protect()
    del one
    assert pool.stats()["allocations"] == 1 and two.sum() == 10
    with pytest.raises(BufferError, match="1 array"):
        pool.destroy()
    del two
    pool.destroy()


def test_destroy_refuses_while_arrays_live(name: str):
    pool = Pool(name)
    with pool.numpy():
        view = np.ones((10, 10))[2:]
    with pytest.raises(BufferError) as caught:
        pool.destroy(force=True)
    assert str(caught.value) == (
        f"cannot destroy pool '{name}': 1 array(s) whose data lies in it are alive; drop them, "
        "and views of them, first"
    )
    assert view.sum() == 80
    del view
    pool.destroy()
    with pytest.raises(pmalloc.DestroyedError), pool.numpy():
        pass


def test_exception_in_a_pools_block(name: str):
    """The arrays are in the traceback: so the pool is protected, not destroyed."""
    kept = []

    def fail() -> None:
        with pool, pool.numpy():
            kept.append(np.ones(3))
            kept[0][0] = 1 // 0

    pool = Pool(name)
    with pytest.raises(ZeroDivisionError):
        fail()
    [array] = kept
    assert handler_name() == "default_allocator"
    assert pool.state == "protected" and not array.flags.writeable


def test_tracemalloc_counts_them(name: str):
    pool = Pool(name)
    tracemalloc.start()
    try:
        domain = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
        with pool.numpy():
            array = np.ones(1 << 16)
        taken = tracemalloc.take_snapshot().filter_traces([domain])
        pool.protect()
        del array
        after = tracemalloc.take_snapshot().filter_traces([domain])
    finally:
        tracemalloc.stop()
    assert sum(trace.size for trace in taken.traces) >= 1 << 19
    assert sum(trace.size for trace in after.traces) == 0


def test_hardened_pool(name: str):
    pool = Pool(name, hardened=True)
    with pool.numpy():
        arrays = [np.full(n, n) for n in range(1, 200)]
        del arrays[::2]
        arrays += [a * 2 for a in arrays]
    pool.check()
    pool.protect()
    assert all(not a.flags.writeable for a in arrays)


def test_overrun_is_found_at_protect(name: str):
    import ctypes

    pool = Pool(name, redzones=True)
    with pool.numpy():
        array = np.ones(4)
    ctypes.memset(array.ctypes.data + 32, 0, 1)
    with pytest.raises(pmalloc.CorruptionError):
        pool.protect()
    assert array.flags.writeable and array.flags.owndata and array.base is None


def test_memfd_pool(name: str):
    pool = Pool(name, backing="memfd")
    with pool.numpy():
        array = np.arange(1000)
    try:
        pool.protect(immutable=True)
    except OSError:
        pool.protect()
    assert not array.flags.writeable and array.sum() == 499_500


# ---- after protect -------------------------------------------------------------------------------


class Sub(np.ndarray):
    pass


def test_protect_finds_every_array(name: str):
    """Not only what the garbage collector or a variable refers to."""
    pool, plain = Pool(name), np.zeros(3)
    with pool.numpy():
        hidden = np.empty(3, object)
        hidden[0] = np.ones((4, 4))
        hidden[1] = hidden[0][1:, ::-1].T
        hidden[2] = np.ones((2, 3)).view(Sub)
        in_a_buffer = memoryview(np.ones(3)).toreadonly()
        scalar = np.array(4.5)
        overlay = np.frombuffer(np.ones(5).data, "u1")
        window = np.lib.stride_tricks.sliding_window_view(np.arange(9.0), 3, writeable=True)
    later = np.ones(3)
    pool.protect()
    for array in (*hidden, hidden, in_a_buffer.obj, scalar, overlay, window, hidden[1].base):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1
        if array is overlay:  # of a memoryview, which NumPy asks, and which asks nobody
            continue
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag to True"):
            array.flags.writeable = True
    assert plain.flags.writeable and later.flags.writeable


def test_protected_array_is_as_before(name: str):
    pool = Pool(name)
    with pool.numpy():
        array = np.arange(12.0).reshape(3, 4).copy()
    expected = array.copy()
    count = sys.getrefcount(array)
    pool.protect()
    assert sys.getrefcount(array) == count
    assert (array == expected).all() and (array[1:] == expected[1:]).all()
    assert not array.flags.owndata and array.base.pool is pool
    assert pmalloc.is_protected(array) and pmalloc.pool_of(array) is pool
    assert (array * 2).flags.writeable and pmalloc.pool_of(array * 2) is None


def test_memoryview_stops_protect(name: str):
    pool = Pool(name)
    with pool.numpy():
        array = np.ones(4)
    view = memoryview(array)
    with pytest.raises(BufferError, match=r"1 writable memoryview\(s\) of its arrays"):
        pool.protect()
    array[0] = 5
    view.release()
    pool.protect()
    assert array[0] == 5


def test_failed_protect_gives_everything_back(name: str):
    pool = Pool(name)
    with pool.numpy():
        array = np.ones((4, 4))
        view = array[1:]
        fixed = np.ones(3)
        fixed.flags.writeable = False
    allocation = pool.alloc(8)
    with memoryview(allocation), pytest.raises(BufferError, match="writable view"):
        pool.protect()
    array[0] = view[0] = 2
    assert array.flags.owndata and array.base is None and not fixed.flags.writeable
    pool.protect()
    assert not array.flags.writeable and not view.flags.writeable


def test_without_proc(name: str, monkeypatch: pytest.MonkeyPatch):
    """Then those are found that containers and variables refer to."""
    pool = Pool(name)
    with pool.numpy():
        array = np.ones((4, 4))
        view = np.arange(9)[3:]

    def refuse(*_: object) -> list[Any]:
        raise OSError(2, "no /proc/self/maps")

    monkeypatch.setattr(_core, "numpy_find", refuse)
    pool.protect()
    for each in (array, view, view.base):
        assert not each.flags.writeable and not each.flags.owndata
    del array
    assert pool._arrays == 1


def test_pool_with_both_kinds_of_arrays(name: str):
    pool = Pool(name)
    one = pool.ndarray(3)
    with pool.numpy():
        two = one + 1
        three = pool.copy_array(two)
    assert pool._arrays == 3
    pool.protect()
    for array in (one, two, three):
        assert not array.flags.writeable and pmalloc.pool_of(array) is pool


class Counted:
    alive = 0

    def __init__(self) -> None:
        Counted.alive += 1

    def __del__(self) -> None:
        Counted.alive -= 1


@pytest.mark.parametrize("protect", [False, True])
def test_arrays_of_objects(name: str, protect: bool):
    """NumPy would clear the items in place; they are let go of all the same."""
    pool = Pool(name)
    with pool.numpy():
        array = np.array([Counted() for _ in range(10)] + [None, "x"], object)
        view = array[3:]
    if protect:
        pool.protect()
        assert not array.flags.writeable and not view.flags.writeable
    assert Counted.alive == 10 and isinstance(array[9], Counted)
    del array
    assert Counted.alive == 10 and view[-1] == "x"
    del view
    gc.collect()
    assert Counted.alive == 0 == pool._arrays
    pool.destroy()


def test_other_dtypes_with_references(name: str):
    pool = Pool(name)
    with pool.numpy():
        records = np.zeros(3, [("a", "i4"), ("b", object)])
        records["b"] = [[1], "two", None]
        strings = np.array(["short", "long " * 1000], np.dtypes.StringDType())
    pool.protect()
    assert records["b"].tolist() == [[1], "two", None] and strings[1] == "long " * 1000
    assert not records.flags.writeable and not strings.flags.writeable
    del records, strings
    assert pool._arrays == 0
    pool.destroy()


def test_allocation_in_a_protected_pool(name: str):
    pool = Pool(name)

    def fail() -> None:
        with pool.numpy():
            array = np.ones(3)
            pool.protect()
            array + 1

    with pytest.raises(MemoryError) as caught:
        fail()
    assert "Unable to allocate 8 bytes" in str(caught.value)
    [note] = caught.value.__notes__
    assert note == (
        f"ProtectedError: cannot allocate an array in pool '{name}': it is protected, and there is "
        "no way back; use a new pool, or leave `with pool.numpy()` before it is protected"
    )
    with pytest.raises(pmalloc.ProtectedError, match="cannot allocate arrays in pool"):
        pool.numpy()


def test_context_of_a_pool_that_was_protected_meanwhile(name: str):
    pool = Pool(name)
    context = pool.numpy()
    pool.protect()
    with pytest.raises(pmalloc.ProtectedError), context:
        pass
    assert handler_name() == "default_allocator"


def test_other_memory_errors_get_no_note(name: str):
    with pytest.raises(MemoryError) as caught, Pool(name).numpy():
        raise MemoryError
    assert not hasattr(caught.value, "__notes__")


# ---- refused, off, elsewhere ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto_ro", "auto_wr", "start_wr"])
def test_modes_that_close_memory_early(name: str, mode: Any):
    with pytest.raises(pmalloc.PmallocError, match=f"in mode '{mode}' memory becomes read-only"):
        Pool(name, mode=mode).numpy()


def test_write_rare_pool(name: str):
    pool = Pool(name, mode="wr")
    with pool.numpy():
        array = np.arange(5.0)
    pool.protect()
    with pmalloc.rare_write(array) as staged:
        staged[2] = 50
    assert array.tolist() == [0, 1, 50, 3, 4] and not array.flags.writeable


def test_off_pool_leaves_numpy_alone(name: str):
    pool = Pool(name, on_violation="off")
    with pool.numpy():
        assert handler_name() == "default_allocator"
        array = np.ones(3)
    assert handler_name(array) == "default_allocator" and pool._arrays == 0
    pool.protect()


def test_off_pool_within_another(name: str):
    outer, inner = Pool(name), Pool(name + "-off", on_violation="off")
    with outer.numpy():
        with inner.numpy():
            assert handler_name(np.ones(3)) == "default_allocator"
        assert handler_name(np.ones(3)) == f"pmalloc:{name}"
    assert handler_name() == "default_allocator"


OFF = """\
import numpy as np, pmalloc
pool = pmalloc.Pool("p")
with pool.numpy():
    a = np.ones(3)
    print(np._core.multiarray.get_handler_name(), np._core.multiarray.get_handler_name(a))
pool.protect()
print(pool._arrays)
"""


def test_off_process():
    import os
    import subprocess

    out = subprocess.run(
        [sys.executable, "-c", OFF],
        env={**os.environ, "PMALLOC_RODATA": "off"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.split() == ["default_allocator", "default_allocator", "0"]


def test_without_numpy(name: str, monkeypatch: pytest.MonkeyPatch):
    from pmalloc import _numpy_context

    monkeypatch.setattr(_numpy_context, "_ready", False)
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r"arrays in a pool need NumPy: pip install 'pmalloc"):
        Pool(name).numpy()


def test_unknown_numpy(name: str):
    """The layout is looked at before anything is believed."""
    table = np._core._multiarray_umath._ARRAY_API
    probe = np.zeros(3)
    at = probe.__array_interface__["data"][0]
    for bad in (
        (table, list, probe, at),
        (table, np.ndarray, probe, at + 8),
        (table, np.ndarray, np.zeros(4), at),
        (table, np.ndarray, probe[:], at),
        (object(), np.ndarray, probe, at),
    ):
        with pytest.raises((ImportError, ValueError)):
            _core.numpy_init(*bad)
    _core.numpy_init(table, np.ndarray, probe, at)


@pytest.mark.parametrize("long", ["x" * 255, "ä" * 127, "a" + "ä" * 127])
def test_long_names(long: str):
    pool = Pool(long)
    with pool.numpy():
        told = handler_name()
    assert told.startswith("pmalloc:") and f"pmalloc:{long}".startswith(told)
    assert 124 <= len(told.encode()) <= 126
    pool.destroy()


def test_handler_lives_as_long_as_its_arrays(name: str):
    pool = Pool(name)
    with pool.numpy():
        array = np.ones(3)
    count = sys.getrefcount(pool)
    with pool.numpy():
        pass
    assert sys.getrefcount(pool) == count
    del array
    assert sys.getrefcount(pool) == count - 1


def test_child_allocates_in_its_own_copy(name: str):
    pool = Pool(name)
    with pool.numpy():
        mine = np.ones(1000)

        def work() -> None:
            made = mine * 2
            assert lies_in(pool, made) and made.sum() == 2000
            mine[:] = 5
            pool.protect()
            assert not made.flags.writeable and not mine.flags.writeable

        in_child(work)
    assert mine.flags.writeable and mine.sum() == 1000


def test_child_of_an_open_memfd_pool_is_refused(name: str):
    pool = Pool(name, backing="memfd")
    with pool.numpy():
        mine = np.ones(1000)

    def work() -> None:
        with pytest.raises(MemoryError) as caught, pool.numpy():
            mine * 2
        assert "it was open when this process was forked" in caught.value.__notes__[0]

    in_child(work)
    assert mine.sum() == 1000

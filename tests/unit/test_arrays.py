"""NumPy arrays whose data lies in a pool: made, read, kept from being written, and let go."""

import gc
import io
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from child import in_child

import pmalloc
from pmalloc import Pool

np = pytest.importorskip("numpy")

ROUNDS = 20_000
RECORD = np.dtype([("id", "i4"), ("score", "f8"), ("tag", "U4"), ("when", "M8[s]")])


def store(array: Any) -> None:
    array[...] = 1


# ---- made ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    "dtype", ["f8", "u1", ">i4", "?", "c16", "f2", "M8[ns]", "m8[D]", "S5", "U3", "V7", RECORD]
)
@pytest.mark.parametrize("shape", [(), 7, (3,), (2, 3, 4), (0, 5), (5, 0), (1, 1), (1000, 7)])
def test_as_zeros(name: str, shape: Any, dtype: Any, order: Any):
    array = Pool(name).ndarray(shape, dtype, order=order)
    plain = np.zeros(shape, dtype, order=order)
    assert type(array) is np.ndarray
    assert (array.shape, array.dtype) == (plain.shape, plain.dtype)
    assert array.strides == plain.strides or array.size == 0
    assert array.tobytes() == plain.tobytes()
    assert array.ctypes.data % 64 == 0
    assert array.flags.writeable and not array.flags.owndata
    for flag in ("c_contiguous", "f_contiguous", "aligned"):
        assert getattr(array.flags, flag) == getattr(plain.flags, flag)


def test_default_is_float(name: str):
    assert Pool(name).ndarray(3).dtype == np.dtype(float)


def test_large(name: str):
    array = Pool(name).ndarray((1 << 20, 4), "i2")
    array += 3
    assert array.sum() == 3 << 22


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (((2,), object), TypeError, "array of dtype object into pool 'NAME': its items are point"),
        (((2,), [("a", "i4"), ("b", "O")]), TypeError, "into pool 'NAME': its items are pointers"),
        (((2,), np.dtypes.StringDType()), TypeError, "into pool 'NAME': its items are pointers"),
        (((2, -1), "f8"), ValueError, "cannot be negative: (2, -1)"),
        (((1 << 40, 1 << 40), "f8"), ValueError, "is too big"),
        (((1 << 61,), "u1"), MemoryError, "cannot allocate from pool 'NAME'"),
        (((2,), "no such type"), TypeError, "not understood"),
        (((2.5,), "f8"), TypeError, "cannot be interpreted as an integer"),
    ],
)
def test_refused(name: str, arguments: Any, error: type[Exception], text: str):
    pool = Pool(name)
    with pytest.raises(error) as caught:
        pool.ndarray(*arguments)
    assert text.replace("NAME", name) in str(caught.value)
    assert pool.stats()["allocations"] == 0


def test_order_is_checked(name: str):
    with pytest.raises(ValueError, match="order is 'C' or 'F', not 'K'"):
        Pool(name).ndarray(3, order="K")


def test_only_open_pools(name: str):
    pool = Pool(name)
    pool.protect()
    with pytest.raises(pmalloc.ProtectedError):
        pool.ndarray(3)
    pool.destroy()
    with pytest.raises(pmalloc.DestroyedError):
        pool.ndarray(3)


def test_without_numpy(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r"arrays in a pool need NumPy: pip install 'pmalloc"):
        Pool(name).ndarray(3)


# ---- copied --------------------------------------------------------------------------------------

BASE = np.arange(60.0).reshape(3, 4, 5)
SAMPLES = {
    "scalar": np.array(5),
    "C": BASE,
    "F": np.asfortranarray(BASE),
    "transposed": BASE.transpose(1, 2, 0),
    "strided": BASE[::2, 1:, ::-2],
    "broadcast": np.broadcast_to(np.arange(4), (3, 4)),
    "empty": np.zeros((0, 3)),
    "records": np.array([(1, 2.5, "ab", 10), (2, -1, "äöü", 11)], RECORD),
    "dates": np.array(["2020-01-01", "NaT"], "M8[D]"),
    "swapped": np.arange(5, dtype=">u4"),
    "nan": np.frombuffer(b"\x01\0\0\0\0\0\xf8\x7f" * 2),
    "text": np.array(["a", "bcd"]),
    "bool": np.array([True, False]),
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))
def test_copy(name: str, sample: Any):
    pool = Pool(name)
    copy, plain = pool.copy_array(sample), sample.copy(order="K")
    assert type(copy) is np.ndarray and not np.shares_memory(copy, sample)
    assert (copy.shape, copy.dtype) == (sample.shape, sample.dtype)
    assert copy.tobytes() == sample.tobytes()
    if sample.size > 1:
        assert copy.strides == plain.strides
    assert pmalloc.check_object_size(copy.ctypes.data, copy.nbytes) == "good"
    pool.protect()
    assert not copy.flags.writeable


@pytest.mark.parametrize(
    "array", [np.ma.array([1, 2], mask=[0, 1]), np.matrix([[1]]), np.rec.array([(1, 2)]), [1, 2]]
)
def test_only_plain_arrays_are_copied(name: str, array: Any):
    with pytest.raises(TypeError, match=f"cannot copy {type(array).__name__} into pool '{name}'"):
        Pool(name).copy_array(array)


def test_objects_are_not_copied(name: str):
    with pytest.raises(TypeError, match="use a dtype of fixed size, or freeze"):
        Pool(name).copy_array(np.array([{}, 1.5], object))


def test_failed_copy_leaves_nothing(name: str):
    pool = Pool(name)
    with pytest.raises(ValueError, match="could not broadcast"):
        pool.ndarray((2, 3))[...] = np.zeros((4, 5))
    gc.collect()
    assert pool.stats()["allocations"] == pool._arrays == 0


# ---- protected -----------------------------------------------------------------------------------


class Holder:
    __slots__ = ("array",)


def test_protect_makes_arrays_and_views_read_only(name: str):
    pool = Pool(name)
    array = pool.ndarray((6, 6))
    other = pool.copy_array(BASE)
    holder = Holder()
    holder.array = array[:, 0]
    in_closure = array.ravel()
    generator = (view for view in [array[1]])
    held = {
        "dict": {"v": array[1:]},
        "tuple": (array.T,),
        "nested": ((({"deep": array[2]},),),),
        "list": [array[::2][1]],
        "holder": holder,
        "dtype": array.view("i8"),
        "function": lambda: in_closure,
        "default": (lambda view=array[3]: view),
        "record": array.view([("a", "f8"), ("b", "f8")])["b"],
        "frombuffer": np.frombuffer(memoryview(array).toreadonly()),
        "subclass": array.view(np.matrix),
        "view of view": array[1:][1:][1:],
    }
    gc.collect()  # takes dicts and tuples of arrays out of the collector's sight
    local = array[4:]
    started = threading.Event()
    end = threading.Event()

    def elsewhere() -> None:
        in_thread = array[5]
        seen.append(weakref.ref(in_thread))
        started.set()
        end.wait(60)

    seen: list[Any] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    started.wait()
    pool.protect()
    views = [array, other, local, seen[0](), holder.array, in_closure, next(generator)]
    views += [held["dict"]["v"], held["tuple"][0], held["nested"][0][0][0]["deep"]]  # type: ignore[index]
    views += [held["list"][0], held["dtype"], held["default"](), held["record"]]  # type: ignore[index,operator]
    views += [held["frombuffer"], held["subclass"], held["view of view"]]
    end.set()
    thread.join()
    for view in views:
        assert not view.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            store(view)
        if view is not held["frombuffer"]:
            with pytest.raises(ValueError, match="cannot set WRITEABLE flag to True"):
                view.flags.writeable = True
    assert not array[1:].flags.writeable
    assert array.sum() == 0


def test_nothing_else_changes(name: str):
    pool, second = Pool(name), Pool(name + "-second")
    array, not_yet, plain = pool.ndarray(4), second.ndarray(4), np.zeros(4)
    pool.protect()
    assert not array.flags.writeable
    store(not_yet)
    store(plain)
    assert not_yet.sum() == plain.sum() == 4


def test_protect_keeps_no_reference(name: str):
    pool = Pool(name)
    array = pool.ndarray(4)
    view = weakref.ref(array)
    pool.protect()
    plain = np.zeros(4)
    assert sys.getrefcount(array) == sys.getrefcount(plain)
    del array
    assert view() is None
    pool.destroy()


def test_memoryview_of_an_array_stops_protect(name: str):
    pool = Pool(name)
    array = pool.ndarray(4)
    view = memoryview(array)
    with pytest.raises(BufferError) as caught:
        pool.protect()
    assert str(caught.value) == (
        f"cannot protect pool '{name}': 1 writable memoryview(s) of its arrays are alive; release "
        "them, or pass revoke=True and no longer write to them"
    )
    assert pool.state == "open"
    store(array)
    read_only = view.toreadonly()
    view.release()
    pool.protect()
    assert read_only[0] == 1


def test_protect_that_fails_gives_the_flag_back(name: str):
    pool = Pool(name)
    array = pool.ndarray((4, 4))
    view = array[1:]
    allocation = pool.alloc(8)
    with memoryview(allocation), pytest.raises(BufferError, match="writable view"):
        pool.protect()
    store(array)
    store(view)
    already = array[2:]
    already.flags.writeable = False
    with memoryview(allocation), pytest.raises(BufferError, match="writable view"):
        pool.protect()
    assert not already.flags.writeable and view.flags.writeable
    pool.protect()
    assert not view.flags.writeable


def test_with_block(name: str):
    with Pool(name) as pool:
        array = pool.ndarray(3)
        array[:] = [1, 2, 3]
    assert not array.flags.writeable and array.tolist() == [1, 2, 3]


# ---- let go --------------------------------------------------------------------------------------


def test_dropped_array_gives_its_memory_back(name: str):
    pool = Pool(name)
    array = pool.ndarray(100)
    store(array)
    at, view = array.ctypes.data, array[1:]
    del array
    assert pool.stats()["allocations"] == 1
    del view
    assert pool.stats()["allocations"] == pool._arrays == 0
    again = pool.ndarray(100)
    assert again.ctypes.data == at and again.sum() == 0


def test_dropped_in_a_protected_pool(name: str):
    pool = Pool(name)
    array = pool.ndarray(100)
    pool.protect()
    del array
    assert pool.stats()["allocations"] == 0
    pool.destroy()


@pytest.mark.parametrize("protect", [False, True])
def test_destroy_with_a_live_array(name: str, protect: bool):
    pool = Pool(name)
    array = pool.ndarray(4)
    if protect:
        pool.protect()
    view = array[1:]
    del array
    for force in (False, True):
        with pytest.raises(BufferError) as caught:
            pool.destroy(force=force)
        assert str(caught.value) == (
            f"cannot destroy pool '{name}': 1 array(s) whose data lies in it are alive; drop them, "
            "and views of them, first"
        )
    assert view.sum() == 0
    del view
    pool.destroy()


def test_many_arrays(name: str):
    pool = Pool(name)
    kept = []
    for number in range(2000):
        array = pool.ndarray(number % 50)
        array[...] = number
        if number % 10 == 0:
            kept.append(array)
    del array
    assert pool._arrays == pool.stats()["allocations"] == len(kept)
    pool.protect()
    for n, array in enumerate(kept):
        assert not array.flags.writeable and (array == 10 * n).all()


# ---- handed on -----------------------------------------------------------------------------------


def test_which_pool(name: str):
    pool = Pool(name)
    array = pool.ndarray(4)
    assert pmalloc.pool_of(array) is pmalloc.pool_of(array[1:]) is pool
    assert not pmalloc.is_protected(array)
    pool.protect()
    assert pmalloc.is_protected(array[2:]) and pmalloc.is_protected(memoryview(array))
    assert pmalloc.pool_of(np.zeros(4)) is None
    assert array.base.pool is pool
    assert repr(array.base).startswith("<pmalloc.ArrayData of 32 bytes at 0x")


def test_dlpack_keeps_read_only(name: str):
    """NumPy signals it to a consumer of DLPack 1.0, and refuses an older one."""
    pool = Pool(name)
    array = pool.ndarray(4)
    assert np.from_dlpack(array).flags.writeable
    pool.protect()
    taken = np.from_dlpack(array)
    assert np.shares_memory(taken, array)
    assert not taken.flags.writeable
    with pytest.raises(BufferError, match="readonly"):
        array.__dlpack__()
    del array
    with pytest.raises(BufferError):
        pool.destroy()
    del taken
    pool.destroy()


def test_pickle_and_copies_are_ordinary(name: str):
    pool = Pool(name)
    array = pool.copy_array(BASE)
    pool.protect()
    # From protocol 5 on NumPy pickles that an array is read-only.
    for copy in (pickle.loads(pickle.dumps(array, 4)), array.copy(), np.array(array), array + 0):
        assert (copy == BASE).all() and pmalloc.pool_of(copy) is None
        store(copy)
    assert (array == BASE).all()


def test_child_reads_and_may_not_write(name: str):
    pool = Pool(name)
    array = pool.copy_array(BASE)
    pool.protect()

    def work() -> None:
        assert array.sum() == BASE.sum()
        with pytest.raises(ValueError, match="read-only"):
            store(array)

    in_child(work)


# ---- read ----------------------------------------------------------------------------------------

MATRIX = np.arange(1.0, 26.0).reshape(5, 5) + np.eye(5)
INTS = np.array([5, 3, 8, 1, 9, 2, 7, 3], "i4")
RECORDS = np.array([(n, n / 2, f"t{n}", n) for n in range(4)], RECORD)
DATES = np.array(["2020-01-01", "2021-06-15", "NaT"], "M8[D]")
WORDS = np.array(["pear", "fig", "apple"])
FLAGS = np.array([True, False, True, True, False, True, False, True])


def saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# m: a matrix of floats, i: ints, r: records, d: dates, w: words, b: booleans
READS: dict[str, Callable[..., Any]] = {
    "item": lambda m, i, r, d, w, b: (m[1, 2], i[3], m.item(3), i[-1]),
    "row": lambda m, i, r, d, w, b: m[2],
    "slice": lambda m, i, r, d, w, b: m[1:4, ::2],
    "fancy index": lambda m, i, r, d, w, b: (m[[0, 2]], i[i[1:4] % 8]),
    "mask": lambda m, i, r, d, w, b: i[b],
    "take": lambda m, i, r, d, w, b: m.take([1, 2], axis=1),
    "iterate": lambda m, i, r, d, w, b: [x for row in m for x in row],
    "nditer": lambda m, i, r, d, w, b: sum(int(x) for x in np.nditer(i)),
    "flat": lambda m, i, r, d, w, b: list(m.flat)[:7],
    "tolist": lambda m, i, r, d, w, b: (m.tolist(), r.tolist(), d.tolist()),
    "tobytes": lambda m, i, r, d, w, b: (m.tobytes(), m.T.tobytes()),
    "add": lambda m, i, r, d, w, b: (m + 1, i + i, -m),
    "multiply into": lambda m, i, r, d, w, b: np.multiply(m, 2, out=np.empty((5, 5))),
    "matmul": lambda m, i, r, d, w, b: m @ m,
    "dot": lambda m, i, r, d, w, b: np.dot(i, i),
    "einsum": lambda m, i, r, d, w, b: np.einsum("ij,jk->ik", m, m),
    "solve": lambda m, i, r, d, w, b: np.linalg.solve(m, m[0]).round(6),
    "sum": lambda m, i, r, d, w, b: (m.sum(), m.sum(axis=0), i.sum()),
    "mean and std": lambda m, i, r, d, w, b: (m.mean(axis=1), m.std()),
    "min and max": lambda m, i, r, d, w, b: (i.min(), i.max(), i.argmin(), m.argmax()),
    "cumsum": lambda m, i, r, d, w, b: np.cumsum(i),
    "sort": lambda m, i, r, d, w, b: (np.sort(i), i.argsort(kind="stable"), np.sort(w)),
    "partition": lambda m, i, r, d, w, b: np.partition(i, 3)[3],
    "unique": lambda m, i, r, d, w, b: np.unique(i, return_counts=True),
    "searchsorted": lambda m, i, r, d, w, b: np.searchsorted(m[0], [2.5, 4]),
    "where": lambda m, i, r, d, w, b: (np.where(b, i, -i), np.nonzero(b)),
    "compare": lambda m, i, r, d, w, b: (m > 5, i == 3, (m == m).all()),
    "logic": lambda m, i, r, d, w, b: (b & ~b, np.logical_or(b, b), b.any(), b.all()),
    "bits": lambda m, i, r, d, w, b: (i & 3, i << 1, np.packbits(b)),
    "astype": lambda m, i, r, d, w, b: (m.astype("f4"), i.astype(">i8"), i.astype(str)),
    "copy": lambda m, i, r, d, w, b: (m.copy(), np.array(i), np.ascontiguousarray(m.T)),
    "reshape": lambda m, i, r, d, w, b: (m.reshape(-1), m.T, m.ravel(), i.reshape(2, 4)),
    "stack": lambda m, i, r, d, w, b: (np.concatenate([i, i]), np.stack([m, m]), np.tile(i, 2)),
    "split": lambda m, i, r, d, w, b: np.split(i, 4),
    "view": lambda m, i, r, d, w, b: (i.view("u1"), m.view("i8")),
    "memoryview": lambda m, i, r, d, w, b: (memoryview(m).tolist(), bytes(memoryview(i))),
    "ufuncs": lambda m, i, r, d, w, b: (np.sqrt(m), np.exp(-m), np.maximum(i, 4)),
    "reduceat": lambda m, i, r, d, w, b: np.add.reduceat(i, [0, 3, 5]),
    "broadcast": lambda m, i, r, d, w, b: m - m.mean(axis=0),
    "records": lambda m, i, r, d, w, b: (r["score"], r[1], r["tag"][2], r[["id", "tag"]]),
    "sorted records": lambda m, i, r, d, w, b: np.sort(r, order="score")["id"],
    "dates": lambda m, i, r, d, w, b: (d[1] - d[0], np.isnat(d), d.astype("M8[M]")),
    "words": lambda m, i, r, d, w, b: (np.char.upper(w), w == "fig", w[0]),
    "percentile": lambda m, i, r, d, w, b: np.percentile(i, [25, 50]),
    "histogram": lambda m, i, r, d, w, b: np.histogram(i, bins=3),
    "bincount": lambda m, i, r, d, w, b: np.bincount(i),
    "repr": lambda m, i, r, d, w, b: (str(i[:3]), repr(b[:2])),
    "save": lambda m, i, r, d, w, b: saved(i),
    "pickle": lambda m, i, r, d, w, b: pickle.loads(pickle.dumps(m, 5)),
    "attributes": lambda m, i, r, d, w, b: (m.shape, m.strides, i.dtype, m.nbytes, r.ndim),
    "membership": lambda m, i, r, d, w, b: (8 in i, np.isin(i, [1, 2]), len(m)),
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b) or a != a


@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
def test_read(name: str, read: Callable[..., Any]):
    plain = (MATRIX, INTS, RECORDS, DATES, WORDS, FLAGS)
    expected = read(*plain)
    pool = Pool(name)
    arrays = [pool.copy_array(array) for array in plain]
    pool.protect()
    assert all(pmalloc.is_protected(array) for array in arrays)

    def work() -> None:
        result = None
        for _ in range(ROUNDS):
            result = read(*arrays)
        assert same(result, expected)

    in_child(work)


def test_there_are_enough_reads():
    assert len(READS) >= 30


# ---- in frozen objects -----------------------------------------------------------------------


def test_arrays_freeze_with_what_holds_them():
    source = {
        "a": np.arange(70_000, dtype=np.int32).reshape(7, 10_000),
        "f": np.asfortranarray(np.eye(3)),
        "s": np.array([(1, 2.5)], dtype=[("id", "i4"), ("x", "f8")]),
    }
    source["again"] = source["a"]
    frozen = pmalloc.freeze(source, name="arrays in objects")
    for name, array in source.items():
        assert type(frozen[name]) is np.ndarray
        assert np.array_equal(frozen[name], array)
        assert frozen[name].dtype == array.dtype
        assert frozen[name].flags.f_contiguous == array.flags.f_contiguous
        with pytest.raises(ValueError, match="read-only"):
            frozen[name][0] = array[0]
        with pytest.raises(ValueError, match="WRITEABLE"):
            frozen[name].flags.writeable = True
        assert pmalloc.check_object_size(frozen[name].ctypes.data, array.nbytes) == "good"
    assert frozen["again"] is frozen["a"]
    thawed = pmalloc.thaw(frozen)
    thawed["a"][0, 0] = 5
    assert thawed["again"] is thawed["a"]
    assert frozen["a"][0, 0] == 0
    assert np.array_equal(pickle.loads(pickle.dumps(frozen))["s"], source["s"])


def test_arrays_that_do_not_freeze():
    for culprit, advice in (
        (np.array([object()]), "its items are Python objects; freeze x.tolist()"),
        (np.float32(1), "it is a NumPy scalar; freeze x.item()"),
        (np.ma.array([1]), "it is a subclass of numpy.ndarray; freeze numpy.asarray(x)"),
    ):
        before = pmalloc.pools()
        with pytest.raises(pmalloc.UnfreezableError) as caught:
            pmalloc.freeze({"a": [np.arange(5), culprit]})
        assert caught.value.path == "['a'][1]"
        assert str(caught.value).endswith(f" at ['a'][1]: {advice}")
        del caught
        assert pmalloc.pools() == before


def test_a_pool_of_frozen_arrays_can_be_destroyed():
    frozen = pmalloc.freeze({"a": np.arange(1000)}, name="gone arrays")
    pool = pmalloc.pool_of(frozen)
    assert pool is not None
    kept = frozen["a"]
    with pytest.raises(pmalloc.PmallocError, match="frozen objects live in it"):
        pool.destroy()
    with pytest.raises(BufferError, match=r"1 array\(s\)"):
        pool.destroy(force=True)
    assert kept[999] == 999
    del kept, frozen
    pool.destroy(force=True)
    assert pool.state == "destroyed"

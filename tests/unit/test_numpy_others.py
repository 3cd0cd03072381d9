"""What stands on NumPy's arrays, and on buffers: pandas, Arrow, torch; where it is installed."""

import faulthandler
import gc
import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import pmalloc
from pmalloc import Pool

np = pytest.importorskip("numpy")

# ---- Arrow ---------------------------------------------------------------------------------------


def test_arrow_buffers(name: str):
    pa = pytest.importorskip("pyarrow")
    pool = Pool(name)
    with pool.numpy():
        array = np.arange(10.0)
    allocation, view = pool.copy(array), pool.array("d", range(10))
    pool.protect()
    for source in (array, allocation, view):
        buffer = pa.py_buffer(source)
        assert not buffer.is_mutable and buffer.is_cpu
        assert pmalloc.check_object_size(buffer.address, buffer.size) == "good"
        made = pa.Array.from_buffers(pa.float64(), 10, [None, buffer])
        assert made.to_pylist() == list(range(10))
        assert made.buffers()[1].address == buffer.address
        shown = made.to_numpy()
        assert not shown.flags.writeable and pmalloc.pool_of(shown) is pool
        table = pa.table({"x": made})
        assert table.column("x").chunk(0).buffers()[1].address == buffer.address
        assert table.slice(2, 3).column("x").to_pylist() == [2, 3, 4]
        with pytest.raises(BufferError, match="destroy pool"):
            pool.destroy()
        del buffer, made, shown, table
    assert pa.array(array).buffers()[1].address == array.ctypes.data  # without a copy
    del array, allocation, view, source
    gc.collect()
    pool.destroy()


def test_arrow_buffer_of_an_open_pool(name: str):
    """One of an allocation may write, and is in protect()'s way; one of an array is not."""
    pa = pytest.importorskip("pyarrow")
    pool = Pool(name)
    allocation = pool.copy(b"x" * 16)
    buffer = pa.py_buffer(allocation)
    assert buffer.is_mutable
    with pytest.raises(BufferError, match="1 writable view"):
        pool.protect()
    del buffer
    pool.protect()
    assert not pa.py_buffer(allocation).is_mutable


# ---- pandas --------------------------------------------------------------------------------------


def frame(pd: Any) -> Any:
    made = pd.DataFrame(
        {
            "id": np.arange(1000),
            "price": np.linspace(0, 1, 1000),
            "name": pd.Series([f"n{i % 13}" for i in range(1000)], dtype=object),
            "count": np.arange(1000) % 7,
            "when": pd.date_range("2020", periods=1000),
        }
    )
    made["double"] = made["price"] * 2
    return made


READS: dict[str, Callable[[Any, Any], object]] = {
    "loc": lambda pd, df: df.loc[5],
    "iloc": lambda pd, df: df.iloc[3:50:2],
    "sum": lambda pd, df: df["price"].sum(),
    "groupby": lambda pd, df: df.groupby("name")[["price", "double"]].agg(["sum", "median"]),
    "merge": lambda pd, df: df.merge(df[["id", "price"]], on="id"),
    "sort": lambda pd, df: df.sort_values("price", ascending=False),
    "mask": lambda pd, df: df[df["price"] > 0.5],
    "describe": lambda pd, df: df.describe(),
    "records": lambda pd, df: df.to_dict("records"),
    "csv": lambda pd, df: df.to_csv(),
    "transposed": lambda pd, df: df.T,
    "copy": lambda pd, df: df.copy(),
    "concat": lambda pd, df: pd.concat([df, df]),
    "rolling": lambda pd, df: df["price"].rolling(3).mean(),
    "dates": lambda pd, df: df.set_index("when")["price"].resample("W").sum(),
    "unique": lambda pd, df: df["name"].unique(),
    "pivot": lambda pd, df: df.pivot_table(index="name", columns="count", values="price"),
    "repr": lambda pd, df: repr(df),
}


def test_pandas_columns(name: str):
    pd = pytest.importorskip("pandas")
    pool, plain = Pool(name), frame(pd)
    with pool.numpy():
        made = frame(pd)
    # pandas keeps books of which column lies where, in arrays too, and wants to write to those.
    made = pd.DataFrame(dict(made.items()), copy=False)
    pool.protect()
    for column in ("id", "price", "name", "count", "when", "double"):
        values = made[column].to_numpy()
        assert pmalloc.pool_of(values) is pool and not values.flags.writeable
    for what, read in READS.items():
        assert str(read(pd, made)) == str(read(pd, plain)), what
    with pytest.raises(ValueError, match="read-only"):
        made.loc[3, "price"] = 5.0
    with pytest.raises(ValueError, match="read-only"):
        made["price"].to_numpy()[3] = 5.0
    copy = made.copy()
    copy.loc[3, "price"] = 5.0
    assert made["price"][3] == plain["price"][3] and copy["price"][3] == 5
    del made, values, copy
    gc.collect()
    left = pool._arrays
    assert left == 0
    pool.destroy()


def test_pandas_gives_temporaries_back(name: str):
    pd = pytest.importorskip("pandas")
    pool = Pool(name)
    sizes = []
    with pool.numpy():
        for _ in range(30):
            made = frame(pd).sort_values("price").groupby("name")["double"].sum()
            sizes.append(pool.stats()["reserved_bytes"])
    assert sizes[-1] == sizes[5]
    del made


# ---- torch, DLPack -------------------------------------------------------------------------------


def store_in_child(tensor: Any) -> int:
    """How a child ends that writes to it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has threads
        child = os.fork()
    if child == 0:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            tensor[0] = 5
        finally:
            os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_torch_ignores_the_flag(name: str):
    """Tensors cannot be read-only: torch warns, here and there; a store is a violation."""
    torch = pytest.importorskip("torch")
    pool = Pool(name)
    with pool.numpy():
        array = np.arange(8, dtype="f4")
    allocation = pool.copy(array)
    pool.protect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tensors = [
            torch.from_numpy(array),
            torch.frombuffer(allocation, dtype=torch.float32),
            torch.frombuffer(array, dtype=torch.float32),
            torch.from_dlpack(array),
            torch.asarray(array),
        ]
    for tensor in tensors:
        assert tensor.data_ptr() in (array.ctypes.data, allocation.address)
        assert float(tensor.sum()) == 28
        assert store_in_child(tensor) == -signal.SIGSEGV
    assert store_in_child(torch.tensor(array)) == 7  # a copy
    with pytest.raises(BufferError):
        pool.destroy()


def test_dlpack_carries_the_flag(name: str):
    pool = Pool(name)
    with pool.numpy():
        array = np.arange(8.0)
    pool.protect()
    taken = np.from_dlpack(array)
    assert np.shares_memory(taken, array) and not taken.flags.writeable
    with pytest.raises(BufferError, match="readonly"):
        array.__dlpack__()  # older than DLPack 1.0, where nobody can say so

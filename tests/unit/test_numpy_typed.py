"""ctypes structures and typed arrays in a pool: Pool.struct and Pool.array."""

import array
import ctypes
import gc
from typing import Any, ClassVar

import pytest

import pmalloc
from pmalloc import Pool


class Point(ctypes.Structure):
    _fields_: ClassVar = [("x", ctypes.c_int32), ("y", ctypes.c_double), ("tag", ctypes.c_char * 6)]


class Swapped(ctypes.BigEndianStructure):
    _fields_: ClassVar = [("n", ctypes.c_uint32)]


class Either(ctypes.Union):
    _fields_: ClassVar = [("number", ctypes.c_uint64), ("bytes", ctypes.c_uint8 * 8)]


class Nested(ctypes.Structure):
    _fields_: ClassVar = [("points", Point * 3), ("next", ctypes.POINTER(Point))]


# ---- struct --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Point, Swapped, Either, Nested, ctypes.c_int * 10, Point * 2])
def test_structure_is_zeroed_and_in_the_pool(name: str, cls: Any):
    pool = Pool(name)
    made = pool.struct(cls)
    assert type(made) is cls and bytes(made) == bytes(cls())
    assert pmalloc.check_object_size(ctypes.addressof(made), ctypes.sizeof(cls)) == "good"
    assert pmalloc.pool_of(made) is pool and not pmalloc.is_protected(made)
    pool.protect()
    assert bytes(made) == bytes(cls()) and pmalloc.is_protected(made)
    del made
    gc.collect()
    pool.destroy()


def test_arguments_are_the_classes(name: str):
    pool = Pool(name)
    point = pool.struct(Point, 3, tag=b"abc", y=4.5)
    point.x += 1
    numbers = pool.struct(ctypes.c_int * 4, 1, 2, 3)
    nested = pool.struct(Nested)
    nested.points[1].y = 2.5
    nested.next = ctypes.pointer(point)
    pool.protect()
    assert (point.x, point.y, point.tag) == (4, 4.5, b"abc")
    assert list(numbers) == [1, 2, 3, 0] and nested.points[1].y == 2.5
    assert nested.next.contents.x == 4


def test_protect_does_not_wait_for_structures(name: str):
    pool = Pool(name)
    one = pool.struct(Point, 1)
    part = pool.struct(Nested).points
    pool.protect()
    assert one.x == 1 and part[2].x == 0


def test_structure_keeps_its_memory(name: str):
    pool = Pool(name)
    points = pool.struct(Point * 10)
    one = points[3]
    del points
    gc.collect()
    with pytest.raises(BufferError, match="drop them, and views of them, first"):
        pool.destroy()
    one.x = 7
    assert pool.stats()["allocations"] == 1
    del one
    gc.collect()
    assert pool.stats()["allocations"] == 0
    pool.destroy()


@pytest.mark.parametrize(
    ("cls", "told"),
    [
        (ctypes.c_int, "c_int"),
        (int, "int"),
        (ctypes.Structure, "Structure"),
        (ctypes.Array, "Array"),
        (ctypes.POINTER(Point), "LP_Point"),
        (Point(), "an object of Point"),
        ("Point", "an object of str"),
    ],
)
def test_other_types_are_refused(name: str, cls: Any, told: str):
    pool = Pool(name)
    with pytest.raises(TypeError) as caught:
        pool.struct(cls)
    assert str(caught.value) == (
        f"cannot make a structure in pool '{name}': a class derived from ctypes.Structure or "
        f"ctypes.Union, or an array type, is needed, not {told}"
    )


def test_bad_arguments_leave_nothing(name: str):
    pool = Pool(name)
    with pytest.raises(TypeError):
        pool.struct(Point, "no number")
    with pytest.raises(TypeError, match="too many initializers"):
        pool.struct(Point, 1, 2, b"", 4)
    gc.collect()
    assert pool.stats()["allocations"] == 0


def test_only_open_pools(name: str):
    pool = Pool(name)
    pool.protect()
    with pytest.raises(pmalloc.ProtectedError):
        pool.struct(Point)
    with pytest.raises(pmalloc.ProtectedError):
        pool.array("d", [1])
    pool.destroy()
    with pytest.raises(pmalloc.DestroyedError):
        pool.struct(Point)
    with pytest.raises(pmalloc.DestroyedError):
        pool.array("d", [1])


# ---- array ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
def test_every_type_code(name: str, code: str):
    pool, expected = Pool(name), array.array(code, [1, 2, 3])
    for view in (pool.array(code, [1, 2, 3]), pool.array(code, expected), pool.array(expected)):
        assert (view.format, view.itemsize) == (code, expected.itemsize)
        assert view.tolist() == expected.tolist() and view == memoryview(expected)
        assert not view.readonly and pmalloc.pool_of(view) is pool
        view[1] = 9
        assert view[1] == 9


def test_values(name: str):
    pool = Pool(name)
    assert pool.array("i", range(5)).tolist() == [0, 1, 2, 3, 4]
    assert pool.array("d", (x / 2 for x in range(3))).tolist() == [0, 0.5, 1]
    assert pool.array("H", b"\x01\0\x02\0").tolist() == [1, 2]
    assert pool.array("d", array.array("i", [1, 2])).tolist() == [1, 2]
    for empty in (pool.array("d"), pool.array("d", []), pool.array(array.array("d"))):
        assert (len(empty), empty.format, empty.tolist()) == (0, "d", [])
    assert isinstance(pool.array(3, 8), pmalloc.Allocation)


def test_read_only_after_protect(name: str):
    pool, other = Pool(name), Pool(name + "-other")
    view, elsewhere = pool.array("d", [1, 2, 3]), other.array("d", [1])
    part, as_bytes, held = view[1:], view.cast("B"), [view[::2]]
    pool.protect()
    for each in (view, part, as_bytes, held[0]):
        assert each.readonly
        with pytest.raises(TypeError, match="cannot modify read-only memory"):
            each[0] = 1
    with pytest.raises(TypeError, match="not writable"):
        ctypes.c_double.from_buffer(view)
    elsewhere[0] = 5
    assert view.tolist() == [1, 2, 3] and pmalloc.is_protected(view)


def test_failed_protect_gives_the_right_back(name: str):
    pool = Pool(name)
    view, allocation = pool.array("d", [1]), pool.alloc(8)
    with memoryview(allocation), pytest.raises(BufferError, match="writable view"):
        pool.protect()
    view[0] = 2
    pool.protect()
    assert view[0] == 2 and view.readonly


def test_memory_comes_back(name: str):
    pool = Pool(name)
    view = pool.array("q", range(100))
    part = view[50:]
    del view
    with pytest.raises(BufferError, match="1 array"):
        pool.destroy()
    assert pool.stats()["allocations"] == 1 and part[0] == 50
    del part
    assert pool.stats()["allocations"] == 0
    pool.destroy()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("x", [1]), ValueError, "bad typecode"),
        (("dd", [1]), (TypeError, ValueError), None),  # the latter since 3.15
        (("i", ["a"]), TypeError, None),
        (("b", [1000]), OverflowError, None),
        (("d", 5), TypeError, None),
        (("u", "text"), TypeError, "there is no memoryview of type code 'u'"),
        ((array.array("i", [1]), 3), TypeError, "takes an array.array alone"),
        ((1.5, 8), TypeError, None),
        ((), TypeError, None),
        ((3,), TypeError, None),
    ],
)
def test_refused(name: str, arguments: Any, error: Any, text: str | None):
    pool = Pool(name)
    with pytest.raises(error, match=text):
        pool.array(*arguments)
    assert pool.stats()["allocations"] == 0

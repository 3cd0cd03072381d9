"""Record: fields of fixed widths in a live object."""

import copy
import ctypes
import gc
import math
import pickle
import struct
import sys
import threading
import time
import weakref
from typing import Annotated, ClassVar

import pytest

import pmalloc
from pmalloc import Record, f32, f64, i8, i16, i32, i64, rare_write, size, u8, u16, u32, u64

MODES = ["ro", "wr", "auto_ro", "auto_wr", "start_wr"]
type Percent = u8


class Every(Record):
    """One field of each kind."""

    flag: bool
    tiny: i8
    small: i16
    middle: i32
    wide: i64
    number: int
    utiny: u8
    usmall: u16
    umiddle: u32
    uwide: u64
    share: Percent
    single: f32
    double: f64
    ratio: float
    name: Annotated[str, size(9)]
    key: Annotated[bytes, size(5)]
    policy: dict | None
    shared: ClassVar[int] = 3

    def half(self) -> float:
        return self.number / 2

    @property
    def twice(self) -> int:
        return self.number * 2


FIRST = {
    "flag": False,
    **dict.fromkeys(
        ("tiny", "small", "middle", "wide", "number", "utiny", "usmall", "umiddle", "uwide"), 0
    ),
    "share": 0,
    "single": 0.0,
    "double": 0.0,
    "ratio": 0.0,
    "name": "",
    "key": bytes(5),
    "policy": None,
}
RANGES = {
    "tiny": (-(2**7), 2**7 - 1),
    "small": (-(2**15), 2**15 - 1),
    "middle": (-(2**31), 2**31 - 1),
    "wide": (-(2**63), 2**63 - 1),
    "number": (-(2**63), 2**63 - 1),
    "utiny": (0, 2**8 - 1),
    "usmall": (0, 2**16 - 1),
    "umiddle": (0, 2**32 - 1),
    "uwide": (0, 2**64 - 1),
    "share": (0, 2**8 - 1),
}


def values(record: Record) -> dict[str, object]:
    return {name: getattr(record, name) for name in FIRST}


# ---- fields --------------------------------------------------------------------------------------


def test_what_fields_are_at_first():
    assert values(Every()) == FIRST
    assert Every.shared == 3 and Every().twice == 0


@pytest.mark.parametrize("field", RANGES)
def test_ranges_of_ints(field: str):
    record = Every()
    low, high = RANGES[field]
    for value in (low, low + 1, -1 if low else 1, 0, high - 1, high):
        setattr(record, field, value)
        assert getattr(record, field) == value
    setattr(record, field, True)
    for value in (low - 1, high + 1, 2**64, 2**70, -(2**70)):
        with pytest.raises(OverflowError, match=f"Every.{field} takes {low} to {high}, not"):
            setattr(record, field, value)
    for value in (1.0, "1", None):
        with pytest.raises(TypeError, match=f"Every.{field} takes an int, not"):
            setattr(record, field, value)
    assert {k: v for k, v in values(record).items() if k != field} == {
        k: v for k, v in FIRST.items() if k != field
    }
    assert getattr(record, field) == 1


def test_floats():
    record = Every(single=0.1, double=0.1, ratio=3)
    assert record.single == struct.unpack("f", struct.pack("f", 0.1))[0]
    assert record.double == 0.1 and record.ratio == 3.0
    for value, narrow in ((math.inf, math.inf), (-math.inf, -math.inf), (1e-50, 0.0), (1.5, 1.5)):
        record.single = record.double = value
        assert (record.double, record.single) == (value, narrow)
    record.single = math.nan
    assert math.isnan(record.single)
    with pytest.raises(OverflowError, match=r"Every\.single takes a float of 32 bits"):
        record.single = 1e39
    with pytest.raises(TypeError, match=r"Every\.ratio takes a float, not str"):
        record.ratio = "1"
    assert math.isnan(record.single) and record.ratio == 3.0


def test_bools():
    record = Every(flag=True)
    assert record.flag is True
    for value in (1, 0, None, "yes"):
        with pytest.raises(TypeError, match=r"Every\.flag takes True or False"):
            record.flag = value
    record.flag = False
    assert record.flag is False


def test_text():
    record = Every(name="123456789")
    for value in ("", "ab", "äöü", "日本語"):
        record.name = value
        assert record.name == value
    with pytest.raises(ValueError, match="up to 9 bytes of UTF-8, not 12"):
        record.name = "日本語で"
    with pytest.raises(ValueError, match="ends at the first zero"):
        record.name = "a\0b"
    with pytest.raises(TypeError, match="takes a str, not bytes"):
        record.name = b"a"
    with pytest.raises(UnicodeEncodeError):
        record.name = "\ud800"
    assert record.name == "日本語"


def test_bytes():
    record = Every(key=b"12345")
    record.key = bytearray(b"ab\0\0\0")
    assert record.key == b"ab\0\0\0" and type(record.key) is bytes
    for value in (b"", b"1234", b"123456"):
        with pytest.raises(ValueError, match=f"Every.key takes 5 bytes, not {len(value)}"):
            record.key = value
    with pytest.raises(TypeError, match="takes bytes, not str"):
        record.key = "12345"


def test_references(name: str):
    record = Every()
    frozen = pmalloc.freeze({"a": [1]})
    record.policy = frozen
    assert record.policy is frozen
    other = pmalloc.Pool(name).new(Every)
    for immortal in (None, True, 5, (), other, int):
        record.policy = immortal
        assert record.policy is immortal
    for mortal in ({}, [1], str(10 ** len(name)), Every(), 10 ** (20 + len(name))):
        with pytest.raises(TypeError, match=rf"freeze\(\) the {type(mortal).__name__} first"):
            record.policy = mortal
    assert record.policy is int


def test_layout():
    fields = [getattr(Every, name) for name in FIRST]
    end = 0
    for field in fields:
        assert field.offset >= end
        assert field.kind in ("bytes", "str") or field.offset % field.size == 0
        end = field.offset + field.size
    assert Every.flag.offset == Every.__basicsize__
    assert sys.getsizeof(Every()) >= end
    record = Every(umiddle=0x01020304)
    where = id(record) + Every.umiddle.offset
    assert ctypes.c_uint32.from_address(where).value == 0x01020304
    assert (
        repr(Every.umiddle)
        == f"<field Every.umiddle: u32 of 4 bytes at offset {Every.umiddle.offset}>"
    )
    assert Every.umiddle.__objclass__ is Every and Every.umiddle.__name__ == "umiddle"


def test_what_a_field_refuses():
    record = Every(number=4)
    with pytest.raises(TypeError, match=r"cannot delete Every.number: a Record has all its fields"):
        del record.number
    with pytest.raises(AttributeError):
        record.unknown = 1
    with pytest.raises(TypeError, match=r"Every\.number is no field of dict"):
        Every.number.__get__({})
    with pytest.raises(TypeError, match=r"Every\.number is no field of Switch"):
        Every.number.__set__(Switch(), 1)
    with pytest.raises(TypeError, match="has no field 'unknown'"):
        Every(unknown=1)
    with pytest.raises(TypeError, match="has no field 'half'"):
        Every(half=1)
    with pytest.raises(TypeError, match="by name only"):
        Every(1)
    assert record.number == 4 and record.half() == 2 and record.twice == 8


class Switch(Record):
    on: bool = True


class Heavy:
    pass


# ---- in a pool -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("policy", ["oops", "off"])
def test_in_each_mode(name: str, mode: str, policy: str):
    pool = pmalloc.Pool(name, mode=mode, on_violation=policy)
    frozen = pmalloc.freeze({"a": 1})
    some = [pool.new(Every, number=n, name=f"n{n}", policy=frozen) for n in range(200)]
    assert pmalloc.pool_of(some[0]) is pool and pool.stats()["objects"] == 200
    if mode in ("ro", "wr"):
        some[0].number = 1000
        some[0].number = 0
    pool.protect()
    assert pmalloc.is_protected(some[7]) == (policy != "off")
    for n, record in enumerate(some):
        assert (record.number, record.name, record.policy) == (n, f"n{n}", frozen)
        with pytest.raises(
            pmalloc.ProtectedError, match=f"cannot assign to Every.name: pool '{name}'"
        ):
            record.name = "x"
        with pytest.raises(pmalloc.ProtectedError, match=r"cannot delete Every\.name"):
            del record.name
        with pytest.raises(pmalloc.ProtectedError):
            record.__init__(number=3)
        assert values(record.snapshot()) == values(record)
    if mode in ("wr", "auto_wr", "start_wr"):
        with rare_write(some[3]) as staged:
            staged.policy = None
            staged.number = -3
        assert (some[3].policy, some[3].number) == (None, -3)
        assert (some[2].number, some[4].number) == (2, 4)


@pytest.mark.parametrize("mode", ["auto_ro", "auto_wr"])
def test_full_chunks_close(name: str, mode: str):
    pool = pmalloc.Pool(name, mode=mode, chunk_size=4096)
    some = [pool.new(Every, number=n) for n in range(100)]
    assert pool.state == "open" and pool.stats()["chunks"] > 2
    some[-1].number = 5
    with pytest.raises(pmalloc.ProtectedError, match="cannot assign to Every"):
        some[0].number = 5
    if mode == "auto_wr":
        for record in (some[0], some[-1]):
            with rare_write(record) as staged:
                staged.number = 6
        assert some[0].number == some[-1].number == 6
    assert [record.number for record in some[1:-1]] == list(range(1, 99))


def test_what_the_message_advises(name: str):
    pool = pmalloc.Pool(name, mode="wr")
    record = pool.new(Switch)
    pool.protect()
    with pytest.raises(
        pmalloc.ProtectedError,
        match=rf"^cannot assign to Switch.on: pool '{name}' is protected; "
        r"use pmalloc.rare_write\(\)$",
    ):
        record.on = False
    pool.make_ro()
    with pytest.raises(pmalloc.ProtectedError, match="its mode is 'ro'; a pool of mode 'wr' lets"):
        record.on = False
    assert record.on is True


def test_what_new_refuses(name: str):
    pool = pmalloc.Pool(name)
    for cls in (dict, Heavy, int):
        with pytest.raises(TypeError, match=r"a class derived from .* is needed"):
            pool.new(cls)
    with pytest.raises(OverflowError):
        pool.new(Every, utiny=300)
    assert pool.stats()["objects"] == 0
    pool.protect()
    with pytest.raises(pmalloc.ProtectedError, match="cannot make a record in pool"):
        pool.new(Every)
    pool.destroy()
    with pytest.raises(pmalloc.DestroyedError):
        pool.new(Every)


def test_a_pool_keeps_the_class_and_says_so_at_its_end(name: str):
    def make(pool: pmalloc.Pool) -> weakref.ref:
        class Local(Record):
            x: int = 5

        pool.new(Local)
        pool.new(Switch)
        pool.new(Local)
        return weakref.ref(Local)

    pool = pmalloc.Pool(name)
    ref = make(pool)
    gc.collect()
    assert ref() is not None
    with pytest.raises(pmalloc.PmallocError, match="3 frozen objects live in it"):
        pool.destroy()
    pool.protect()
    pool.destroy(force=True)
    gc.collect()
    assert ref() is None


def test_frozen_objects_refer_to_records(name: str):
    pool = pmalloc.Pool(name, mode="wr")
    record = pool.new(Every, number=4)
    graph = pool.freeze({"switches": record, "more": [record, (record,)]})
    assert graph["switches"] is record and graph["more"][1][0] is record
    assert pool.freeze(record) is record
    pool.protect()
    with rare_write(record) as staged:
        staged.number = 5
    assert graph["more"][0].number == 5
    thawed = pmalloc.thaw(graph)
    assert thawed["switches"] is thawed["more"][0] and not pmalloc.is_protected(thawed["switches"])
    thawed["switches"].number = 6
    assert record.number == 5
    with pytest.raises(pmalloc.UnfreezableError, match=r"make it with Pool.new\(\)"):
        pmalloc.freeze([Every()])


@pytest.mark.parametrize("protected", [False, True])
def test_copies(name: str, protected: bool):
    pool = pmalloc.Pool(name, mode="wr")
    frozen = pmalloc.freeze({"a": 1})
    record = pool.new(Every, number=4, name="x", key=b"12345", policy=frozen)
    if protected:
        pool.protect()
    for other in (
        copy.copy(record),
        copy.deepcopy(record),
        pmalloc.thaw(record),
        record.snapshot(),
    ):
        assert other is not record and type(other) is Every and values(other) == values(record)
        other.number = 9
    if sys.version_info >= (3, 13):
        assert copy.replace(record, number=8).number == 8
    assert record.number == 4
    with pytest.raises(TypeError, match="refers to a frozen FrozenDict"):
        pickle.dumps(record)
    with rare_write(record) as staged:
        staged.policy = None
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert values(pickle.loads(pickle.dumps(record, protocol))) == values(record)
    assert record != record.snapshot() and hash(record) == hash(record)


def test_snapshots_are_of_one_moment(name: str):
    """Two fields that always change together, beside a writer: four readers, 10,000 times and more
    together, until each has seen the writer at work."""

    class Pair(Record):
        one: u64
        pad: Annotated[bytes, size(200)]
        other: u64

    pool = pmalloc.Pool(name, mode="wr")
    pair = pool.new(Pair)
    pool.protect()
    stop = threading.Event()
    mixtures: list[tuple[int, int]] = []

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            with rare_write(pair) as staged:
                staged.one = staged.other = n

    def read() -> None:
        seen, rounds = set(), 0
        while rounds < 2_600 or len(seen) < 10:
            now = pair.snapshot()
            if now.one != now.other:
                mixtures.append((now.one, now.other))
            seen.add(now.one)
            rounds += 1
            if rounds % 100 == 0:
                time.sleep(0.0001)  # the writer's turn

    writer = threading.Thread(target=write)
    readers = [threading.Thread(target=read) for _ in range(4)]
    writer.start()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    stop.set()
    writer.join()
    assert mixtures == []
    assert pair.one > 10


def test_the_collector_leaves_them_alone(name: str):
    pool = pmalloc.Pool(name, mode="start_wr")
    some = [pool.new(Every, number=n) for n in range(1_000)]
    pool.protect()
    for turn in range(12_000):
        record = some[turn % 1_000]
        assert record.number == turn % 1_000 and not record.flag and record.name == ""
        if turn % 1_000 == 0:
            gc.collect()
    assert not any(gc.is_tracked(record) for record in some)
    assert sys.getrefcount(some[0]) > 1 << 29

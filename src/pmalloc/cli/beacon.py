"""Reads the pools of a process from the outside, by libpmalloc's beacon.

src/libpmalloc/beacon.c says what stands where. All of it is data of another process, which
may run on, be broken, or lie: each word is checked, each loop has a bound, and what does not
fit together is said, pool by pool, instead of being believed.
"""

from __future__ import annotations

import dataclasses
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from .process import (
    Mapping,
    Mappings,
    Memory,
    Process,
    ProcessError,
    Unreadable,
    pids,
    read_exactly,
)

# In two parts: this file must not be mistaken for a library.
MAGIC = b"\x93pmalloc" + b" beacon\0"
FORMAT = 1

_HEAD = struct.Struct("<16sIIQQ16sII")
_STATES_AT, _STATES, _WORD_BYTES = 64, 8, 16
_FIELDS_AT, _FIELD = 256, struct.Struct("<24sII")
_ALIGN = 16

_MOST_FIELDS = 4096
_LARGEST_STRUCT = 1 << 20
_MOST_POOLS = 1 << 18
_MOST_CHUNKS = 1 << 18  # of all pools together; a process may have 65,530 mappings
_MOST_SLABS = 64
_MOST_SEGMENTS = 64
_NAME_BYTES = 256
_PROTECTED = 1
_COLD_MAGIC = 0x636F6C64706D616C
_LARGEST_MAPPING_SEARCHED = 64 << 20
_TRIES = 6
_SEALED = ("sealed", "immutable")
_POLICIES = ("", "oops", "warn", "audit", "off")  # as numbered in pmalloc.h
_MODES = ("ro", "wr", "auto_ro", "auto_wr", "start_wr")  # as numbered in pmalloc.h
_KINDS = ("raw", "objects", "static")  # as numbered in registry.h
_MOST_SYMBOLS = 1 << 16  # of one section
_OFF = "off"
_TALLY = ("pool.record", "record", "record.violations", "record.tainted")

_NEEDED = (
    *(f"pool.{m}" for m in ("older", "state", "id", "cold", "slabs", "name")),
    *(f"cold.{m}" for m in ("magic", "id", "state", "chunks", "segment", "name", "first_segment")),
    *(f"chunk.{m}" for m in ("pages", "kind", "used")),
    *("slab.pages", "slab.older", "pages.base", "pages.size"),
    *("pool", "cold", "chunk", "slab", "pages"),
)


class BeaconError(Exception):
    """A beacon that this version cannot use."""


class Broken(Exception):  # noqa: N818 - a finding, which is reported
    """What a pool says cannot be."""


@dataclass(frozen=True, slots=True)
class Beacon:
    """Where the pools are, and what one looks like."""

    address: int
    version: str
    pools: int
    states: list[str]
    tiers: list[str]
    fields: dict[str, tuple[int, int]]  # name: offset and bytes

    def word(self, raw: bytes, name: str, base: int = 0) -> int:
        """An unsigned field of a struct whose bytes are `raw`."""
        offset, size = self.fields[name]
        data = raw[base + offset : base + offset + size]
        if len(data) != size or size not in {1, 2, 4, 8}:
            raise Broken(f"{name} is not there")
        return int.from_bytes(data, "little")

    def state(self, raw: bytes) -> str:
        """The word for the state of a pool, and for the tier of a protected one."""
        words, number = self.states, self.word(raw, "pool.state")
        if number == _PROTECTED and "pool.tier" in self.fields:
            words, number = self.tiers, self.word(raw, "pool.tier")
        if number >= len(words) or not words[number]:
            raise Broken(f"its state is {number}, and there is no such state")
        return words[number]


@dataclass(slots=True)
class Symbol:
    """A variable of static data."""

    address: int
    bytes: int
    name: str


@dataclass(slots=True)
class Chunk:
    """One mapping of a pool."""

    index: int
    address: int
    bytes: int
    kind: str  # "raw", "objects" or "static"
    used_bytes: int  # handed out from the front, holes included
    mode: str  # what the kernel says: "r--p", "rw-p"; "?" where it is not mapped
    backing: str  # "private", "memfd"
    sealed: bool | None  # by mseal, says the kernel; None: it says nothing
    closed: bool = False  # read-only, says the pool, although the pool is open
    symbols: list[Symbol] = field(default_factory=list[Symbol])  # of static data, where known


@dataclass(slots=True)
class PoolSeen:
    """A pool, as far as it could be read."""

    address: int
    id: int
    name: str
    state: str  # open, protected, sealed, immutable, destroyed: what the pool says of itself
    backing: str = "none"
    bytes: int = 0  # of all chunks, guard pages not counted
    used_bytes: int | None = None
    allocations: int | None = None
    objects: int | None = None
    metadata_bytes: int = 0
    policy: str = ""  # what follows a violation; "" where that version does not say
    tainted: bool = False  # `warn` made a page of it writable
    violations: int | None = None  # writes that its policy let happen
    mode: str = ""  # ro, wr, auto_ro, auto_wr, start_wr; "" where that version does not say
    rare_writes: int | None = None  # that were made
    chunks: list[Chunk] = field(default_factory=list[Chunk])
    problems: list[str] = field(default_factory=list[str])

    def outline(self) -> tuple[object, ...]:
        """What two readings of a process at rest have in common."""
        return (
            *(self.address, self.id, self.name, self.state, tuple(self.problems)),
            *((chunk.address, chunk.bytes) for chunk in self.chunks),
        )


@dataclass(slots=True)
class ProcessSeen:
    """All pools of a process, oldest first."""

    pid: int
    command: str
    versions: list[str]  # of each libpmalloc in it
    pools: list[PoolSeen]
    changing: bool  # it changed during each of the readings; this is the last one
    problems: list[str]


# ---- finding it ----


def parse(data: bytes, address: int) -> Beacon:
    """Takes a beacon's bytes apart.

    Raises:
        BeaconError: it is of a version this one does not know.
        Broken: it is none, or damaged.
    """
    if len(data) < _FIELDS_AT:
        raise Broken("a beacon is longer")
    magic, form, size, self_, pools, version, field_size, count = _HEAD.unpack_from(data)
    if magic != MAGIC or self_ != address:
        raise Broken("no beacon")
    said = _text(version)
    if form != FORMAT:
        raise BeaconError(
            f"the process uses pmalloc {said}, whose beacon has format {form}; this pmalloc "
            f"reads format {FORMAT}: use the pmalloc command of that version"
        )
    if not (
        field_size == _FIELD.size
        and count <= _MOST_FIELDS
        and _FIELDS_AT + count * field_size <= size
    ):
        raise Broken("the beacon's table has an impossible size")
    table = data[_FIELDS_AT : _FIELDS_AT + count * field_size]
    fields = {
        _text(name): (offset, size)
        for name, offset, size in _FIELD.iter_unpack(table[: len(table) // 32 * 32])
        if name[0] and offset < _LARGEST_STRUCT and size < _LARGEST_STRUCT
    }
    if missing := [name for name in _NEEDED if name not in fields]:
        raise BeaconError(
            f"the process uses pmalloc {said}, which does not say where {missing[0]} is; use the "
            "pmalloc command of that version"
        )
    words = [
        _text(data[at : at + _WORD_BYTES]) for at in range(_STATES_AT, _FIELDS_AT, _WORD_BYTES)
    ]
    return Beacon(address, said, pools, words[:_STATES], words[_STATES:], fields)


def find(memory: Memory, mappings: Mappings) -> tuple[list[Beacon], list[str]]:
    """The beacons of a process, and why some of them cannot be used.

    Looks into pmalloc's own files first, and where there is none, into all others: a program
    may have libpmalloc linked in.
    """
    likely: list[Mapping] = []
    others: list[Mapping] = []
    for mapping in mappings:
        if mapping.inode and mapping.mode[0] == "r" and mapping.mode[2:] == "-p":
            (likely if is_ours(mapping.path) else others).append(mapping)
    for candidates in (likely, others):
        beacons: list[Beacon] = []
        refused: list[str] = []
        for address in _magics(memory, candidates):
            head = memory.read_some(address, _FIELDS_AT)
            size = min(int.from_bytes(head[20:24], "little"), _LARGEST_STRUCT)
            try:
                beacons.append(parse(memory.read_some(address, size), address))
            except BeaconError as error:
                refused.append(str(error))
            except Broken:
                continue
        if beacons or refused:
            return beacons, refused
    return [], []


def is_ours(path: str) -> bool:
    """Whether a mapped file is pmalloc's extension or the C library, by its name."""
    folder, _, name = path.rpartition("/")
    return name.startswith("libpmalloc.so") or (
        name.startswith("_core.") and folder.endswith("/pmalloc")
    )


def _magics(memory: Memory, mappings: list[Mapping]) -> Iterator[int]:
    for mapping in mappings:
        size = mapping.end - mapping.start
        if size > _LARGEST_MAPPING_SEARCHED:
            continue
        data = memory.read_some(mapping.start, size)
        at = data.find(MAGIC)
        while at >= 0:
            if at % _ALIGN == 0:
                yield mapping.start + at
            at = data.find(MAGIC, at + 1)


# ---- reading pools ----


def read_pools(memory: Memory, beacon: Beacon, mappings: Mappings) -> list[PoolSeen]:
    """One reading of the list of pools, oldest first.

    Raises:
        Unreadable: the list leads nowhere.
        Broken: the list is no list.
    """
    pools: list[PoolSeen] = []
    seen: set[int] = set()
    room = _MOST_CHUNKS
    size = beacon.fields["pool"][1]
    at = _pointer(memory, _pointer(memory, beacon.pools))
    while at:
        if at in seen or len(pools) >= _MOST_POOLS:
            raise Broken("the list of pools has no end")
        seen.add(at)
        raw = read_exactly(memory, at, size)
        pool = _pool(memory, beacon, mappings, at, raw, room)
        room -= len(pool.chunks)
        pools.append(pool)
        at = beacon.word(raw, "pool.older")
    pools.reverse()
    return pools


def _pool(
    memory: Memory, beacon: Beacon, mappings: Mappings, at: int, raw: bytes, room: int
) -> PoolSeen:
    pool = PoolSeen(at, beacon.word(raw, "pool.id"), "", "?")
    try:
        pool.name = _string(memory, at + beacon.fields["pool.name"][0])
        pool.state = beacon.state(raw)
        for name in ("used_bytes", "allocations", "objects"):
            if f"pool.{name}" in beacon.fields:
                setattr(pool, name, beacon.word(raw, f"pool.{name}"))
        pool.mode = _mode(beacon, raw, "pool.mode")
        cold = beacon.word(raw, "pool.cold")
        known = all(name in beacon.fields for name in _TALLY)
        if known and (record := beacon.word(raw, "pool.record")):
            tally = read_exactly(memory, record, beacon.fields["record"][1])
            pool.violations = beacon.word(tally, "record.violations")
            pool.tainted = beacon.word(tally, "record.tainted") != 0
            if "record.rare_writes" in beacon.fields:
                pool.rare_writes = beacon.word(tally, "record.rare_writes")
        if cold:
            _cold(memory, beacon, mappings, pool, cold, room)
            _slabs(memory, beacon, pool, beacon.word(raw, "pool.slabs"))
    except (Broken, Unreadable) as error:
        pool.problems.append(f"its metadata is damaged: {error}")
    return pool


def _cold(
    memory: Memory, beacon: Beacon, mappings: Mappings, pool: PoolSeen, at: int, room: int
) -> None:
    """What the pool's protected metadata says: bounds of chunks, and once more who it is."""
    raw = read_exactly(memory, at, beacon.fields["cold"][1])
    if beacon.word(raw, "cold.magic") != _COLD_MAGIC:
        raise Broken(f"there is none at {at:#x}")
    name = raw[beacon.fields["cold.name"][0] :].partition(b"\0")[0][:_NAME_BYTES]
    if beacon.word(raw, "cold.id") != pool.id or printable(name) != pool.name:
        raise Broken(f"it belongs to pool {printable(name)!r}")
    if "cold.policy" in beacon.fields:
        number = beacon.word(raw, "cold.policy")
        if number >= len(_POLICIES):
            raise Broken(f"its policy is {number}, and there is no such policy")
        pool.policy = _POLICIES[number]
    mode = _mode(beacon, raw, "cold.mode")
    if mode != pool.mode and pool.state != "open":
        pool.problems.append(f"its mode is {pool.mode}, and its protected metadata says {mode}")
    count = beacon.word(raw, "cold.chunks")
    if count > room:
        raise Broken(f"it has {count} chunks")
    segments_at, segments_bytes = beacon.fields["cold.segment"]
    first_size = beacon.fields["cold.first_segment"][0]
    if not 0 < first_size <= _MOST_CHUNKS:
        raise Broken("its segments have no size")
    stride = beacon.fields["chunk"][1]
    for number in range(min(segments_bytes // 8, _MOST_SEGMENTS)):
        wanted = min(first_size << number, count - len(pool.chunks))
        if wanted <= 0:
            break
        offset = segments_at + 8 * number
        segment = int.from_bytes(raw[offset : offset + 8], "little")
        chunks = read_exactly(memory, segment, wanted * stride)
        for base in range(0, wanted * stride, stride):
            _chunk(beacon, mappings, pool, chunks, base)
            if pool.chunks[-1].kind == "static":
                pool.chunks[-1].symbols = _symbols(memory, beacon, pool.chunks[-1], chunks, base)
    if len(pool.chunks) < count:
        raise Broken(f"it has {count} chunks, and segments for {len(pool.chunks)}")


def _mode(beacon: Beacon, raw: bytes, name: str) -> str:
    if name not in beacon.fields:
        return ""
    number = beacon.word(raw, name)
    if number >= len(_MODES):
        raise Broken(f"its mode is {number}, and there is no such mode")
    return _MODES[number]


def _chunk(beacon: Beacon, mappings: Mappings, pool: PoolSeen, raw: bytes, base: int) -> None:
    pages = base + beacon.fields["chunk.pages"][0]
    address = beacon.word(raw, "pages.base", pages)
    size = beacon.word(raw, "pages.size", pages)
    kind = beacon.word(raw, "chunk.kind", base)
    if kind >= len(_KINDS):
        raise Broken(f"a chunk's kind is {kind}, and there is no such kind")
    used = beacon.word(raw, "chunk.used", base) * (16 if _KINDS[kind] == "raw" else 8)
    index = len(pool.chunks)
    if used > size:
        pool.problems.append(f"chunk {index} has more used bytes than bytes")
        used = size
    chunk = Chunk(index, address, size, _KINDS[kind], used, "?", "?", None)
    if "chunk.closed" in beacon.fields:
        chunk.closed = beacon.word(raw, "chunk.closed", base) != 0
    pool.chunks.append(chunk)
    pool.bytes += size
    covering = mappings.of(address, size) if size else None
    if not covering:
        pool.problems.append(f"chunk {index} is not mapped at {address:#x}")
        return
    modes = sorted({mapping.mode for mapping in covering})
    chunk.mode = " ".join(modes)
    chunk.backing = covering[0].backing
    if mappings.tell_seals:
        chunk.sealed = all(mapping.sealed for mapping in covering)
        if pool.state in _SEALED and not chunk.sealed and pool.policy != _OFF:
            pool.problems.append(f"chunk {index} is not sealed, and the pool is {pool.state}")
    pool.backing = chunk.backing
    writable = any(mode[1] == "w" for mode in modes)
    if not writable or pool.state == "destroyed" or pool.tainted or pool.policy == _OFF:
        return
    if pool.state != "open":
        pool.problems.append(f"chunk {index} is writable, and the pool is {pool.state}")
    elif chunk.closed:
        pool.problems.append(f"chunk {index} is writable, and it was closed")


def _symbols(memory: Memory, beacon: Beacon, chunk: Chunk, raw: bytes, base: int) -> list[Symbol]:
    """The variables of static data, as its metadata names them."""
    size = beacon.word(raw, "chunk.symbols_bytes", base)
    head, stride = beacon.fields["symbols"][1], beacon.fields["symbol"][1]
    if not head <= size <= _MOST_SYMBOLS * (stride + _NAME_BYTES):
        raise Broken("its table of symbols has an impossible size")
    table = read_exactly(memory, beacon.word(raw, "chunk.symbols", base), size)
    count = beacon.word(table, "symbols.count")
    if head + count * stride > size:
        raise Broken(f"its table of symbols has {count} of them")
    found: list[Symbol] = []
    for at in range(head, head + count * stride, stride):
        offset, length, name = (
            beacon.word(table, f"symbol.{member}", at) for member in ("offset", "size", "name")
        )
        if offset + length > chunk.bytes or name >= size:
            raise Broken("a symbol lies outside of it")
        found.append(Symbol(chunk.address + offset, length, _text(table[name:])))
    return found


def _slabs(memory: Memory, beacon: Beacon, pool: PoolSeen, at: int) -> None:
    """Adds up the mappings of the metadata itself."""
    for _ in range(_MOST_SLABS):
        if not at:
            return
        raw = read_exactly(memory, at, beacon.fields["slab"][1])
        pool.metadata_bytes += beacon.word(raw, "pages.size", beacon.fields["slab.pages"][0])
        at = beacon.word(raw, "slab.older")
    raise Broken("its slabs have no end")


def _pointer(memory: Memory, address: int) -> int:
    return int.from_bytes(read_exactly(memory, address, 8), "little")


def _string(memory: Memory, address: int) -> str:
    """Bytes up to the NUL; the memory may end right behind it."""
    raw, end, _ = memory.read_some(address, _NAME_BYTES).partition(b"\0")
    if not end:
        raise Broken("its name has no end")
    return printable(raw)


def printable(raw: bytes) -> str:
    """UTF-8 as text; what is none, or would move a terminal's cursor, as escapes."""
    text = raw.decode(errors="backslashreplace")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _text(raw: bytes) -> str:
    return printable(raw.partition(b"\0")[0])


# ---- a process ----


def look(pid: int) -> ProcessSeen:
    """The pools of a process, read while it runs.

    Two readings that agree make an answer. A process that changes during each of several
    readings gets the last of them, marked `changing`. A problem counts when it is still there in
    the last of them: the process may wait for a CPU in the middle of a protect or a destroy.

    Raises:
        ProcessError: it is not there, may not be read, or has no pmalloc this version knows.
    """
    with Process(pid) as process:
        beacons, refused = find(process, process.mappings())
        if not beacons:
            process.check_alive()
            if refused:
                raise ProcessError("other-version", f"process {pid}: {refused[0]}")
            raise ProcessError(
                "no-pmalloc",
                f"process {pid} has not loaded pmalloc (no beacon in any file it has mapped)",
            )
        before: object = None
        pools: list[PoolSeen] = []
        problems: list[str] = []
        changing = False
        for attempt in range(_TRIES):
            sealed = any(pool.state in _SEALED for pool in pools)
            pools, problems = _reading(process, beacons, sealed)
            outline = ([pool.outline() for pool in pools], problems)
            changing = outline != before
            if not changing and not problems and not any(pool.problems for pool in pools):
                break
            before = outline
            time.sleep(0.001 * 2**attempt)
        process.check_alive()
        return ProcessSeen(
            pid,
            printable(process.command().encode(errors="backslashreplace")),
            [beacon.version for beacon in beacons],
            pools,
            changing,
            problems + refused,
        )


def _reading(
    process: Process, beacons: list[Beacon], seals: bool
) -> tuple[list[PoolSeen], list[str]]:
    mappings = process.mappings(seals=seals)
    pools: list[PoolSeen] = []
    problems: list[str] = []
    for beacon in beacons:
        try:
            pools += read_pools(process, beacon, mappings)
        except (Broken, Unreadable) as error:
            process.check_alive()
            problems.append(f"the list of pools is damaged: {error}")
    return pools, problems


def look_everywhere() -> list[ProcessSeen]:
    """Every process that has loaded pmalloc and may be read, but for this one."""
    found: list[ProcessSeen] = []
    for pid in pids():
        if pid == os.getpid():
            continue
        try:
            with Process(pid) as process:
                ours = any(is_ours(mapping.path) for mapping in process.mappings())
            if ours:
                found.append(look(pid))
        except ProcessError:
            continue
    return found


def as_dict(seen: ProcessSeen) -> dict[str, object]:
    """For JSON."""
    return dataclasses.asdict(seen)

"""Cell: a protected reference to a frozen graph, and what of it lies in ordinary memory."""

from __future__ import annotations

import gc
import os
import threading
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Never, final

from . import _core, _rare
from ._fair_lock import FairLock
from ._pools import Pool, _live, give_up, pools

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._objects import Externals
    from ._pools import Policy
    from ._references import Reference

_numbers = count(1)
_SUFFIX = 20  # bytes of a pool's name that are kept for "@" and a version's number
_PAGE = 4096


class CellVersion(NamedTuple):
    """One version of a cell.

    Attributes:
        number: 1, 2, 3 and so on; now and then one is left out.
        pool: the name of its pool.
        bytes: of its own objects, in that pool; 0 once it is retired.
        objects: how many these are.
        shares_with: the numbers of the versions that it points into: they can't be retired while
            this one lives.
        shares_with_pools: the names of pools that are none of this cell's, and that it points into.
        current: whether `Cell.get` returns it.
        retired: whether it was.
    """

    number: int
    pool: str
    bytes: int
    objects: int
    shares_with: tuple[int, ...]
    shares_with_pools: tuple[str, ...]
    current: bool
    retired: bool


class _Version:
    """What is known of one version; nothing in it leads to its objects."""

    __slots__ = ("bytes", "number", "objects", "pool", "reached")

    def __init__(self, number: int, pool: Pool, reached: list[tuple[int, str, bool]]) -> None:
        stats = pool.stats()
        self.number = number
        self.pool = pool
        self.bytes = stats["used_bytes"]
        self.objects = stats["objects"] - 1  # but for what holds the number
        self.reached = reached

    @property
    def retired(self) -> bool:
        return self.pool.state == "destroyed"


class _Event:
    """A publish whose callbacks have not been called yet."""

    __slots__ = ("new", "old", "thread")

    def __init__(self, old: int, new: int) -> None:
        self.old = old
        self.new = new
        self.thread = threading.get_ident()


class _Book:
    """What belongs to one cell and is no secret: who overwrites it misleads no reader."""

    def __init__(
        self, name: str, pool: Pool, externals: Externals, seal: bool, policy: Policy | None
    ) -> None:
        self.name = name
        self.pool = pool
        self.externals: Externals = externals if isinstance(externals, type) else tuple(externals)
        self.seal = seal
        self.policy: Policy | None = policy
        self.versions: dict[int, _Version] = {}
        self.lock = FairLock()  # publishers exclude each other
        self.busy = False  # ... and what runs inside of one
        self.callbacks: list[Callable[[Any, int, int], object]] = []
        self.turn = threading.Condition(threading.Lock())  # of calling them; after `lock`
        self.events: deque[_Event] = deque()
        self.calling: int | None = None  # the thread that is calling them

    def make(self, obj: object, compact: bool) -> tuple[_Version, object]:
        """A new version beside the others, protected; and what the slot is to lead to."""
        number = next(reversed(self.versions), 0) + 1
        while f"{self.name}@{number}" in _live:
            number += 1
        if compact:
            obj = _core.thaw(obj)
        pool = Pool(f"{self.name}@{number}", on_violation=self.policy)
        try:
            version: object = _core.freeze_version(pool, obj, number, self.externals)
        except BaseException as error:
            give_up(pool, error)
            raise
        try:
            made = _Version(number, pool, pool._reaches())
            self._judge(made, compact)
            pool.protect(seal=self.seal)
        except BaseException as error:
            version = None  # not in the traceback
            _discard(pool, error)
            raise
        return made, version

    def _judge(self, made: _Version, compact: bool) -> None:
        """Raises unless all that the new version points into is as protected as itself."""
        slots = {book.pool._id for book in _books.values()}
        for number, name, protected in made.reached:
            if not protected:
                raise _core.PmallocError(
                    f"cannot publish in cell {self.name!r}: a part of the object lies in pool "
                    f"{name!r}, which is open; protect it first"
                )
            if compact and number not in slots and name != "shared keys":
                raise _core.PmallocError(
                    f"cannot publish a compact version of cell {self.name!r}: its copy still "
                    f"points into pool {name!r}"
                )

    def forget_events(self) -> None:
        """After an exception: those of this thread, lest others wait for it."""
        me = threading.get_ident()
        with self.turn:
            if self.calling != me:  # else it is a callback's own publish that failed
                self.events = deque(event for event in self.events if event.thread != me)
                self.turn.notify_all()

    def held_by(self, version: _Version) -> tuple[list[int], list[str]]:
        """Which other versions, and which pools of others, point into a version; looked up now."""
        own = {other.pool._id: other.number for other in self.versions.values()}
        numbers: list[int] = []
        names: list[str] = []
        for pool in pools():
            if pool is version.pool or pool is self.pool or pool.state == "destroyed":
                continue
            if any(number == version.pool._id for number, _, _ in pool._reaches()):
                if pool._id in own:
                    numbers.append(own[pool._id])
                else:
                    names.append(pool.name)
        return numbers, names

    def shares(self, version: _Version) -> tuple[tuple[int, ...], tuple[str, ...]]:
        own = {other.pool._id: other.number for other in self.versions.values()}
        reached = version.reached
        numbers = sorted(own[number] for number, _, _ in reached if number in own)
        names = sorted(
            name
            for number, name, _ in reached
            if number not in own and number != self.pool._id and name != "shared keys"
        )
        return tuple(numbers), tuple(names)


def _discard(pool: Pool, error: BaseException) -> None:
    """Ends a pool whose objects nobody has seen."""
    try:
        pool.destroy(force=True)
    except (_core.PmallocError, BufferError) as reason:
        error.add_note(f"pool {pool.name!r} was left {pool.state}: {reason}")


# By the cell's address: a cell is there for ever, or as long as its pool.
_books: dict[int, _Book] = {}
_books_lock = threading.RLock()
_forking: list[_Book] = []


def _before_fork() -> None:
    _books_lock.acquire()
    _forking[:] = _books.values()
    for book in _forking:
        book.lock.acquire()
        book.turn.acquire()


def _after_fork() -> None:
    for book in _forking:
        book.turn.release()
        book.lock.release()
    _books_lock.release()


def _after_fork_in_child() -> None:
    me = threading.get_ident()
    for book in _forking:
        # The other threads are gone, and with them who would have called.
        book.turn = threading.Condition(threading.Lock())
        book.events = deque(event for event in book.events if event.thread == me)
        book.calling = me if book.calling == me else None
        book.lock.alone()
        book.lock.release()
    _books_lock.release()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
)


def _overwrite_dead_frames(depth: int = 60) -> None:
    """Puts zeroes where returned functions had their variables: the search would take them."""
    # 32 variables that are never set; a frame's are cleared when it begins
    if depth < 0:
        a = b = c = d = e = f = g = h = i = j = k = m = n = o = p = q = depth
        r = s = t = u = v = w = x = y = z = aa = bb = cc = dd = ee = ff = q
        del a, b, c, d, e, f, g, h, i, j, k, m, n, o, p, r, s, t, u, v, w, x, y, z
        del aa, bb, cc, dd, ee, ff
    if depth > 0:
        _overwrite_dead_frames(depth - 1)


def _free_name() -> str:
    """'cell-1', or the next number no live pool has."""
    while (name := f"cell-{next(_numbers)}") in _live:
        pass
    return name


def _listed(numbers: list[int]) -> str:
    texts = [str(number) for number in sorted(numbers)]
    if len(texts) == 1:
        return f"version {texts[0]}"
    return f"versions {', '.join(texts[:-1])} and {texts[-1]}"


def _named(references: list[Reference]) -> str:
    # Known owners first: a word that nobody is known to own may be left over in free memory.
    shown = [
        f"{one.target} at {one.target_address:#x} from {one.address:#x} "
        f"({one.owner or one.mapping or 'memory'})"
        for one in sorted(references, key=lambda one: not one.owner)[:5]
    ]
    more = len(references) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


@final
class Cell[T](_core.Cell[T]):
    """A protected reference to a frozen graph, which can be exchanged for another one.

    For data that is read all the time and replaced now and then: a policy, a routing table, a
    model. ::

        POLICY = pmalloc.Cell(load_policy(), name="policy")
        POLICY.get()["roles"]["admin"]              # as fast as an attribute

        changed = dict(POLICY.get())                # a plain dict, whose values are frozen
        changed["roles"] = load_roles()
        POLICY.publish(changed)                     # 2; only what is new was copied

    Reading is free, publishing is dear. `get` is a call that loads two pointers: it takes no lock,
    copies nothing, counts nothing. For that, `publish` pays: it copies what is new into a pool of
    its own, with pages and system calls; other threads of the interpreter stand still while objects
    are copied; and, because nothing counts readers, memory of old versions is kept until somebody
    who knows that nobody reads them any more calls `retire`. Publish what changes seldom, in one
    piece; do not count requests in a cell.

    The object is frozen as `freeze` does it, as version 1 in a pool named ``NAME@1``. The cell is
    itself an object in a protected page, of a pool named NAME whose mode is "wr": no store reaches
    the pointer but that of `publish`, through the door of rare writes. `pmalloc.root` (NAME) is the
    cell, where a variable that should hold it may have been overwritten. What it does not keep
    out: who can call `publish`, or has the methods of this class replaced, can publish.

    What is published is a whole: whoever reads sees the old version or the new one, all of it.
    Two calls of `get` may see two versions: call it once for what belongs together.

    A cell is there for the life of the process. It can be put into what is frozen, and stays the
    same cell there. It can't be copied, pickled, subclassed or weakly referenced.

    Args:
        obj: what can be frozen; also None, and a number. What is frozen already is not copied: its
            pool stays whose it was, and must outlive the version.
        name: of the pools, at most 235 bytes of UTF-8; ``cell-1`` and so on without.
        externals: as for `freeze`, for all versions.
        seal: make the protection of the cell and of all versions irrevocable. They can't be
            retired then: memory grows with each. Publishing needs /proc/self/mem.
        on_violation: what follows a write to the cell or a version, as for `Pool`.

    Raises:
        UnfreezableError: something in the object does not freeze; `path` says where.
        PmallocError: a part of it lies in a pool that is open.
        ValueError: a live pool has that name, or no pool can.
        MemoryError, OSError: there is no cell, and nothing is left behind.

    Idea: ``persistent_term`` of Erlang (Sverker Eriksson, 2018); read-copy-update of Linux (Paul
    McKenney).
    """

    __slots__ = ()

    def __new__(
        cls,
        obj: T,
        *,
        name: str | None = None,
        externals: Externals = (),
        seal: bool = False,
        on_violation: Policy | None = None,
    ) -> Cell[T]:
        if name is None:
            name = _free_name()
        elif len(name.encode("utf-8", "surrogatepass")) > 255 - _SUFFIX:
            raise ValueError(
                f"a cell's name has at most {255 - _SUFFIX} bytes of UTF-8: '@' and the number of "
                f"a version follow it"
            )
        pool = Pool(name, mode="wr", chunk_size=_PAGE, on_violation=on_violation)
        try:
            book = _Book(name, pool, externals, seal, on_violation)
            made, version = book.make(obj, False)
        except BaseException as error:
            _discard(pool, error)
            raise
        try:
            self = super().__new__(cls, pool, version)
            try:
                pool.protect(seal=seal)
            except BaseException:
                del self
                raise
        except BaseException as error:
            del version  # not in the traceback
            _discard(pool, error)
            _discard(made.pool, error)
            raise
        book.versions[made.number] = made
        with _books_lock:
            _books[id(self)] = book
        return self

    def __init_subclass__(cls) -> Never:
        raise TypeError("Cell can't be subclassed: an instance has room for one pointer")

    @property
    def name(self) -> str:
        """The name of its pool; those of the versions are ``NAME@1`` and so on."""
        return _books[id(self)].name

    def publish(self, obj: T, *, compact: bool = False) -> int:
        """Makes an object the current version.

        It is frozen beside the current version, into a pool ``NAME@N``; then one pointer is
        stored. Parts that are frozen already, taken from `get` for one, are not copied: the new
        version points to them, and the version they are of can't be retired before this one. So
        the price is that of what is new, and of the containers that hold old parts: copying a
        dict of a million frozen items copies a million pointers.

        All or nothing: after an exception the cell is as it was; but for that of a callback.
        Publishers exclude each other, readers never wait. A child of ``fork`` has a cell of its
        own from then on: what it publishes, the parent does not see, and the other way round.

        Args:
            obj: as for the constructor. The very object that is current makes one more version,
                which points into that.
            compact: copy everything, what is frozen already too: the new version points into no
                other, and those can be retired.

        Returns:
            The number of the new version.

        Raises:
            UnfreezableError, ValueError, MemoryError, OSError: as the constructor.
            PmallocError: a part of it lies in an open pool; or this thread is publishing already:
                freezing ran code, a ``__hash__`` for one, that published.
            ExceptionGroup: callbacks raised. The version is published, and all were called.
        """
        book = _books[id(self)]
        try:
            number, told = self._publish(book, obj, compact)
            try:
                if _rare._sink is not None:
                    _rare.note(book.name, self._slot[1], f"Cell.current (version {number})", *told)
            except Exception as error:  # noqa: BLE001 - as in a block of rare_write()
                _core.write_unraisable(error, self)
            self._call_back(book)
        except BaseException:
            book.forget_events()
            raise
        return number

    def _publish(self, book: _Book, obj: T, compact: bool) -> tuple[int, tuple[bytes, bytes]]:
        """The new version's number; the slot's bytes before and after."""
        with book.lock:
            if book.busy:
                raise _core.PmallocError(
                    f"cannot publish in cell {book.name!r}: this thread is publishing in it already"
                )
            book.busy = True
            try:
                old = self.version
                made, version = book.make(obj, compact)
                before = self._slot[0]
                try:
                    self._swap(version)
                except BaseException as error:
                    version = None
                    _discard(made.pool, error)
                    raise
                version = None
                book.versions[made.number] = made
                event = _Event(old, made.number)
                with book.turn:
                    book.events.append(event)
                return made.number, (before, self._slot[0])
            finally:
                book.busy = False

    def _call_back(self, book: _Book) -> None:
        """Calls the callbacks for what this thread published, when those before have returned."""
        me = threading.get_ident()
        errors: list[Exception] = []
        published: list[int] = []
        if book.calling == me:
            return  # published by a callback: its turn comes when that has returned
        while True:
            with book.turn:
                if all(event.thread != me for event in book.events):
                    break
                while book.calling is not None or book.events[0].thread != me:
                    book.turn.wait()
                book.calling = me
                event = book.events[0]
                callbacks = tuple(book.callbacks)
            published.append(event.new)
            try:
                for callback in callbacks:
                    try:
                        callback(self, event.old, event.new)
                    except Exception as error:  # noqa: BLE001 - raised below
                        errors.append(error)
            finally:
                with book.turn:
                    book.events.popleft()
                    book.calling = None
                    book.turn.notify_all()
        if errors:
            raise ExceptionGroup(
                f"{_listed(published)} of cell {book.name!r} is published, but callbacks failed",
                errors,
            )

    def on_publish[F: Callable[[Any, int, int], object]](self, callback: F) -> F:
        """Has a function called after each publish, as ``callback(cell, old, new)``; a decorator.

        `old` and `new` are version numbers. Callbacks are called by the thread that published,
        before its `publish` returns, in the order in which they were added and versions were
        published; no lock is held meanwhile, so `get` in a callback may find a version that is
        newer still. What a callback publishes is told of when it has returned. A callback must not
        wait for another thread's `publish`.

        What callbacks raise does not undo the publish: all others are called, then `publish`
        raises an ExceptionGroup. KeyboardInterrupt and the like pass at once.

        Returns:
            The callback.
        """
        book = _books[id(self)]
        with book.turn:
            book.callbacks.append(callback)
        return callback

    def remove_on_publish(self, callback: Callable[[Any, int, int], object], /) -> None:
        """Takes a callback back.

        Raises:
            ValueError: it is none.
        """
        book = _books[id(self)]
        with book.turn:
            if callback not in book.callbacks:
                raise ValueError(f"{callback!r} is no callback of cell {book.name!r}")
            book.callbacks.remove(callback)

    def versions(self) -> list[CellVersion]:
        """All versions there ever were, oldest first, with what their memory takes."""
        book = _books[id(self)]
        with book.lock:
            current = self.version
            listed: list[CellVersion] = []
            for number, version in book.versions.items():
                retired = version.retired
                shares: tuple[tuple[int, ...], tuple[str, ...]] = (
                    ((), ()) if retired else book.shares(version)
                )
                listed.append(
                    CellVersion(
                        number,
                        version.pool.name,
                        0 if retired else version.bytes,
                        0 if retired else version.objects,
                        *shares,
                        number == current,
                        retired,
                    )
                )
            return listed

    def retire(self, version: int, *, force: bool = False) -> None:
        """Ends an old version: its memory goes back, and whoever still uses it faults.

        Nothing counts who reads a version. So this looks: through all other pools, for what
        points into the version; then through all writable memory of the process, as
        `Pool.references` does, which takes about a second for a gigabyte. That search is
        conservative: what was freed and not overwritten yet looks like a reference, too.

        Args:
            version: its number.
            force: retire although words in ordinary memory lead into it. You know then that these
                are none that anybody follows.

        Raises:
            ValueError: the cell never had that version.
            DestroyedError: it was retired before.
            PmallocError: it is the current version; or other versions, or pools, point into it:
                `force` does not help there, `publish` with `compact` does; or, without `force`,
                ordinary memory does, and the message says where.
            SealedError: the cell is sealed.
            BufferError: arrays whose data lies in it are alive.
            OSError: there is no /proc/self/maps to be read, and `force` is false.
        """
        book = _books[id(self)]
        gc.collect()
        _overwrite_dead_frames()
        _core.clear_stack()
        with book.lock:
            found = book.versions.get(version)
            if found is None:
                had = _listed(list(book.versions))
                raise ValueError(f"cell {book.name!r} has no version {version}; it has {had}")
            verb = f"cannot retire version {version} of cell {book.name!r}"
            if found.retired:
                raise _core.DestroyedError(f"{verb}: it was retired before")
            if version == self.version:
                raise _core.PmallocError(
                    f"{verb}: it is the current one; publish another one first"
                )
            if found.pool.state == "sealed":
                raise _core.SealedError(f"{verb}: it is sealed, and stays for the process's life")
            numbers, names = book.held_by(found)
            if numbers:
                point, that = ("points", "that") if len(numbers) == 1 else ("point", "those")
                raise _core.PmallocError(
                    f"{verb}: {_listed(numbers)} still {point} into it; retire {that} first; "
                    f"publish(..., compact=True) makes a version that points into no other"
                )
            if names:
                raise _core.PmallocError(
                    f"{verb}: what lies in pool {', '.join(map(repr, names))} still points into it"
                )
            if not force:
                self._need_unused(found, verb)
            found.pool.destroy(force=True)

    @staticmethod
    def _need_unused(found: _Version, verb: str) -> None:
        references = found.pool.references()
        if references:
            many = "at least " if len(references) >= 100 else ""
            raise _core.PmallocError(
                f"{verb}: a search found {many}{len(references)} words in ordinary memory that "
                f"lead into it; if surely nobody follows them, pass force=True: "
                f"{_named(references)}"
            )

    def __repr__(self) -> str:
        book = _books[id(self)]
        kept = [one for one in book.versions.values() if not one.retired]
        return (
            f"<pmalloc.Cell {book.name!r}: version {self.version}, {len(kept)} kept, "
            f"{sum(one.bytes for one in kept)} bytes>"
        )


_core.cell_own_get(Cell)

"""Several publishers of a Cell, its readers, callbacks and forked children."""

import itertools
import os
import sys
import threading
import time
from typing import ClassVar

import pytest
from test_cell import drop_old

import pmalloc
from pmalloc import Cell


def test_callbacks_are_called_in_order(name: str) -> None:
    cell: Cell[object] = Cell(0, name=name)
    seen: list[tuple[str, int, int, object]] = []

    @cell.on_publish
    def first(which: Cell[object], old: int, new: int) -> None:
        assert which is cell
        seen.append(("first", old, new, which.get()))

    def second(which: Cell[object], old: int, new: int) -> None:
        seen.append(("second", old, new, which.get()))
        if new == 3:
            assert which.publish("from a callback") == 4
            seen.append(("returned", 3, 4, None))

    assert cell.on_publish(second) is second
    cell.publish(1)
    cell.publish(2)
    assert seen == [
        ("first", 1, 2, 1),
        ("second", 1, 2, 1),
        ("first", 2, 3, 2),
        ("second", 2, 3, 2),
        ("returned", 3, 4, None),
        ("first", 3, 4, "from a callback"),
        ("second", 3, 4, "from a callback"),
    ]
    cell.remove_on_publish(first)
    with pytest.raises(ValueError, match="is no callback"):
        cell.remove_on_publish(first)
    seen.clear()
    cell.publish(5)
    assert seen == [("second", 4, 5, 5)]


def test_callbacks_that_raise_do_not_undo(name: str) -> None:
    cell: Cell[object] = Cell(0, name=name)
    called: list[int] = []

    @cell.on_publish
    def bad(which: Cell[object], old: int, new: int) -> None:
        raise LookupError(f"{which.name} {old} {new}")

    @cell.on_publish
    def good(which: Cell[object], old: int, new: int) -> None:
        called.append(new)

    with pytest.raises(ExceptionGroup, match=f"version 2 of cell {name!r} is published") as raised:
        cell.publish(1)
    assert [str(error) for error in raised.value.exceptions] == [f"{name} 1 2"]
    assert (cell.get(), cell.version, called) == (1, 2, [2])
    cell.remove_on_publish(bad)

    def interrupt(which: Cell[object], old: int, new: int) -> None:
        raise KeyboardInterrupt

    cell.on_publish(interrupt)
    with pytest.raises(KeyboardInterrupt):
        cell.publish(2)
    assert cell.version == 3
    cell.remove_on_publish(interrupt)
    assert cell.publish(3) == 4
    assert called == [2, 3, 4]


class Publishing:
    """Its hash, which freezing asks for, publishes."""

    cell: "Cell[object] | None" = None
    errors: ClassVar[list[BaseException]] = []

    def __hash__(self) -> int:
        if type(self).cell is not None:
            try:
                type(self).cell.publish("inner")  # type: ignore[union-attr]
            except pmalloc.PmallocError as error:
                type(self).errors.append(error)
        return 1


def test_publishing_while_publishing_is_refused(name: str) -> None:
    cell: Cell[object] = Cell(0, name=name)
    obj = {Publishing(): 1}
    Publishing.cell = cell
    try:
        cell.publish(obj)
    finally:
        Publishing.cell = None
    assert [str(error) for error in Publishing.errors][:1] == [
        f"cannot publish in cell {name!r}: this thread is publishing in it already"
    ]
    assert cell.version == 2


def test_four_readers_beside_a_writer_see_no_mixture(name: str) -> None:
    def graph(n: int) -> dict[str, object]:
        return {"n": n, "list": [n] * 20, "deep": {"n": [n, {"n": n}]}, "text": str(n)}

    cell = Cell(graph(0), name=name)
    stop = threading.Event()
    bad: list[object] = []
    reads = [0] * 4

    def read(number: int) -> None:
        last = 0
        while not stop.is_set():
            for _ in range(100):
                got = cell.get()
                n = got["n"]
                version, again = cell.get_versioned()
                if got != graph(n) or again["n"] != version - 1 or n < last:  # type: ignore[operator, arg-type]
                    bad.append((n, version, got))
                last = n  # type: ignore[assignment]
                reads[number] += 1

    readers = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    for thread in readers:
        thread.start()
    try:
        end_at = time.monotonic() + 3
        n = 0
        while time.monotonic() < end_at:
            n += 1
            assert cell.publish(graph(n)) == n + 1
    finally:
        stop.set()
        for thread in readers:
            thread.join()
        sys.setswitchinterval(interval)
    assert bad == []
    assert n > 10
    assert all(count >= 100 for count in reads)
    assert cell.get() == graph(n)
    assert [version.number for version in cell.versions()] == list(range(1, n + 2))
    drop_old(cell)  # type: ignore[arg-type]


def test_publishers_exclude_each_other_and_are_told_of_in_order(name: str) -> None:
    cell: Cell[object] = Cell(0, name=name)
    told: list[tuple[int, int]] = []
    mine: dict[int, list[int]] = {}

    @cell.on_publish
    def tell(which: Cell[object], old: int, new: int) -> None:
        told.append((old, new))
        time.sleep(0.0005)

    def publish(number: int) -> None:
        for n in range(25):
            version = cell.publish([number, n])
            assert (version - 1, version) in told  # called before publish returns
            mine.setdefault(number, []).append(version)

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [(n, n + 1) for n in range(1, 101)]
    assert sorted(itertools.chain.from_iterable(mine.values())) == list(range(2, 102))


FORK = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


@FORK
def test_a_child_publishes_for_itself(name: str) -> None:
    cell: Cell[object] = Cell({"who": "parent"}, name=name)
    cell.publish({"who": "parent", "n": 2})
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            cell.publish({"who": "child"})
            text = f"{cell.version} {cell.get()['who']} {len(cell.versions())}"  # type: ignore[index]
        except BaseException as error:
            text = repr(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "3 child 3"
    assert os.waitpid(child, 0)[1] == 0
    assert cell.get() == {"who": "parent", "n": 2}
    assert cell.version == 2
    assert cell.publish(3) == 3


@FORK
def test_forks_beside_a_publisher(name: str) -> None:
    cell: Cell[object] = Cell([0], name=name)
    stop = threading.Event()

    def publish() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            cell.publish([n])
            time.sleep(0.0005)  # each version is a mapping or four, and fork() copies them all

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                try:
                    version = cell.publish("child")
                    os._exit(0 if cell.get_versioned() == (version, "child") else 1)
                except BaseException:
                    os._exit(2)
            assert os.waitpid(child, 0)[1] == 0
            assert cell.get() != "child"
    finally:
        stop.set()
        publisher.join()
    drop_old(cell)

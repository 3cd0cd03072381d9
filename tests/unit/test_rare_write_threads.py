"""Rare writes of several threads, and of forked children: who excludes whom."""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from test_rare_write import Switches, make

import pmalloc
from pmalloc import rare_write

# ---- who excludes whom ---------------------------------------------------------------------------


def test_overlapping_targets_of_one_thread(name: str):
    pool, other = make(name), make(name + "-other")
    array, record = pool.ndarray((4, 4)), pool.new(Switches)
    elsewhere = other.new(Switches)
    with rare_write(array[::2]), pytest.raises(pmalloc.PmallocError, match="already open"):
        rare_write(array[1::2]).__enter__()  # they are apart, but within one another
    with rare_write(array[:2]) as upper:
        for target in (array, array[1], array[:2], array[1::2]):
            with (
                pytest.raises(pmalloc.PmallocError, match="already open in this thread"),
                rare_write(target),
            ):
                pytest.fail("entered")
        with rare_write(array[2:]) as lower, rare_write(record) as staged:
            with rare_write(elsewhere) as far:
                far.limit = 3
            upper[...], lower[...], staged.limit = 1, 2, 3
        assert record.limit == 3 and array[3, 3] == 2 and array[0, 0] == 0
    assert array[0, 0] == 1 and elsewhere.limit == 3


def test_threads_take_turns(name: str):
    """Each adds to what it read: none is lost."""
    pool = make(name)
    record, array = pool.new(Switches), pool.ndarray(8, "i8")
    pool.protect()
    rounds, n = 3_000, 4

    def work(number: int) -> None:
        for turn in range(rounds):
            if turn % 2:
                with rare_write(record) as staged:
                    value = staged.count
                    if turn % 100 == 1:
                        time.sleep(0)
                    staged.count = value + 1
            else:
                with rare_write(array[number % 2 :: 2]) as staged:
                    staged += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert record.count == rounds * n // 2
    assert array.tolist() == [rounds * n // 4] * 8


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Jobs in the background ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_who_waits_can_be_interrupted(name: str):
    record = make(name).new(Switches)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with rare_write(record) as staged:
            staged.limit = 1
            entered.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait()
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt), rare_write(record):
        pytest.fail("entered")
    leave.set()
    thread.join()
    with rare_write(record) as staged:
        staged.count = 5
    assert (record.limit, record.count) == (1, 5)


def test_a_circle_of_threads_is_an_exception(name: str):
    one, other = make(name).new(Switches), make(name + "-other").new(Switches)
    first, done = threading.Barrier(2), []

    def work(mine: Switches, his: Switches) -> None:
        try:
            with rare_write(mine) as staged:
                first.wait()
                with rare_write(his):
                    staged.count = 1
            done.append("stored")
        except pmalloc.PmallocError as error:
            done.append(str(error).split(", and ")[1].split(";")[0])

    threads = [threading.Thread(target=work, args=pair) for pair in ((one, other), (other, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == ["each would wait for the other", "stored"]
    assert one.count + other.count == 1


def test_a_dropped_one_lets_the_next_in(name: str):
    record = make(name).new(Switches)
    dropped = rare_write(record)
    dropped.__enter__().limit = 3
    del dropped
    gc.collect()
    with rare_write(record) as staged:
        assert staged.limit == 100


def in_child(work) -> int:
    """Exit status of a forked child; 77: it hung."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(77))
        signal.alarm(10)
        try:
            work()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_is_free_of_other_threads(name: str):
    pool = make(name)
    record = pool.new(Switches)
    allocation = pool.copy(b"mine")
    pool.protect()
    entered, leave = threading.Event(), threading.Event()
    waiting = threading.Event()

    def hold() -> None:
        with rare_write(record) as staged:
            staged.limit = 1
            entered.set()
            leave.wait()

    def wait() -> None:
        waiting.set()
        with rare_write(record) as staged:
            staged.count += 1

    threads = [threading.Thread(target=hold), threading.Thread(target=wait)]
    threads[0].start()
    entered.wait()
    threads[1].start()
    waiting.wait()
    time.sleep(0.05)

    def child() -> None:
        for _ in range(3):
            with rare_write(record) as staged, rare_write(allocation) as also:
                staged.limit += 7
                also[0] = 88
        assert record.limit == 121 and bytes(allocation) == b"Xine"

    for _ in range(20):
        assert in_child(child) == 0
    leave.set()
    for thread in threads:
        thread.join()
    assert (record.limit, record.count) == (1, 1)
    assert bytes(allocation) == b"mine"


def test_a_child_goes_on_with_its_own(name: str):
    pool = make(name)
    record = pool.new(Switches)
    pool.protect()
    with rare_write(record) as staged:
        staged.limit = 1

        def child() -> None:
            with (
                pytest.raises(pmalloc.PmallocError, match="already open"),
                rare_write(record),
            ):
                pytest.fail("entered")
            staged.limit = 2

        pid = os.fork()
        if pid == 0:
            child()
    if pid == 0:
        os._exit(record.limit)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    assert record.limit == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forks_while_threads_write(name: str):
    pool = make(name)
    record = pool.new(Switches)
    pool.protect()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            with rare_write(record) as staged:
                staged.count += 1

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()

    def child() -> None:
        with rare_write(record) as staged:
            staged.count = -1
        assert record.count == -1

    try:
        for _ in range(50):
            assert in_child(child) == 0
            assert record.count >= 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()

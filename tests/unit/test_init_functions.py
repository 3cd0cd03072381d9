"""@init: what is marked runs during init only, by whatever way it is called.

The names of the ways are in `ways`. Each is run more than 10,000 times before the end, so that the
interpreter has specialised every call in it, and must then raise before the first statement.
"""

import asyncio
import ctypes
import functools
import gc
import inspect
import operator
import sys
import threading
import traceback
import types
import weakref

import pytest
from child import in_child

import pmalloc

ROUNDS = 12_000
OVER = r"init function, and init is over; do it before pmalloc.mark_rodata_ro\(\)"


runs = [0]


def run() -> int:
    """The first statement of what is marked."""
    runs[0] += 1
    return 1


def marked_ways():
    """By name: a function that calls something marked; new marked objects each time."""

    @pmalloc.init
    def plain(a=1, *rest, b=2, **more):
        return run()

    def outer(x):
        @pmalloc.init
        def inner():
            return run() + x

        return inner

    inner = outer(1)

    class Marked:
        @pmalloc.init
        def __init__(self, a=1):
            self.a = run()

    class Base:
        def __init__(self, a):
            self.a = a

    class Methods(Base):
        """Made by ways that stay open: object.__new__."""

        @pmalloc.init
        def method(self, a=1):
            return run()

        @classmethod
        @pmalloc.init
        def of_class(cls):
            return run()

        @pmalloc.init
        @classmethod
        def of_class_above(cls):
            return run()

        @staticmethod
        @pmalloc.init
        def static():
            return run()

        @pmalloc.init
        @property
        def getter(self):
            return run()

        @property
        def both(self):
            return 1

        @both.setter
        @pmalloc.init
        def both(self, value):
            run()

        @pmalloc.init
        def __call__(self):
            return run()

        @pmalloc.init
        def __getitem__(self, i):
            return run()

        @pmalloc.init
        def __len__(self):
            return run()

        @pmalloc.init
        def __eq__(self, other):
            return bool(run())

        __hash__ = None

        @pmalloc.init
        def __iter__(self):
            run()
            return iter(())

        @pmalloc.init
        def __enter__(self):
            return run()

        def __exit__(self, *error):
            pass

        @pmalloc.init
        def __getattr__(self, name):
            return run()

        @pmalloc.init
        def __add__(self, other):
            return run()

        @pmalloc.init
        def __set_name__(self, owner, name):
            run()

    thing = Methods(1)
    bound = thing.method
    partial = functools.partial(plain, 1)

    def enter():
        with thing:
            pass

    def set_both():
        thing.both = 1

    def unpack():
        return plain(*[1], b=2)

    return {
        "direct": lambda: plain(),
        "arguments": lambda: plain(1, 2, b=3, c=4),
        "wrong arguments": lambda: inner(),
        "unpacked": unpack,
        "closure": lambda: inner(),
        "__init__": lambda: Marked(),
        "__init__ with arguments": lambda: Marked(a=2),
        "method": lambda: thing.method(),
        "bound": lambda: bound(),
        "by its class": lambda: Methods.method(thing),
        "classmethod": lambda: Methods.of_class(),
        "classmethod above": lambda: thing.of_class_above(),
        "staticmethod": lambda: Methods.static(),
        "getter": lambda: thing.getter,
        "setter": set_both,
        "__call__": lambda: thing(),
        "__getitem__": lambda: thing[1],
        "__len__": lambda: len(thing),
        "__eq__": lambda: thing == 1,
        "__iter__": lambda: [*thing],
        "__enter__": enter,
        "__getattr__": lambda: thing.missing,
        "__add__": lambda: thing + 1,
        "partial": lambda: partial(),
        "map": lambda: list(map(plain, (1,))),
        "sort key": lambda: [1, 2].sort(key=plain),
        "reduce": lambda: functools.reduce(plain, (1, 2, 3)),
        "methodcaller": lambda: operator.methodcaller("method")(thing),
    }


WAYS = [
    "direct",
    "arguments",
    "wrong arguments",
    "unpacked",
    "closure",
    "__init__",
    "__init__ with arguments",
    "method",
    "bound",
    "by its class",
    "classmethod",
    "classmethod above",
    "staticmethod",
    "getter",
    "setter",
    "__call__",
    "__getitem__",
    "__len__",
    "__eq__",
    "__iter__",
    "__enter__",
    "__getattr__",
    "__add__",
    "partial",
    "map",
    "sort key",
    "reduce",
    "methodcaller",
]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_calling_raises_before_the_first_statement(way):
    def work() -> None:
        ways = marked_ways()
        assert list(ways) == WAYS
        call = ways[way]

        def loop(rounds):
            refused = 0
            for _ in range(rounds):
                try:
                    call()
                except pmalloc.InitError:
                    refused += 1
            return refused

        assert loop(ROUNDS) == 0
        assert runs[0] >= ROUNDS
        before = runs[0]
        pmalloc.mark_rodata_ro()
        assert loop(ROUNDS) == ROUNDS
        assert runs[0] == before
        with pytest.raises(pmalloc.InitError, match=OVER):
            call()

    in_child(work)


def test_the_traceback_ends_in_the_line_that_calls():
    def work() -> None:
        @pmalloc.init
        def load():
            run()

        pmalloc.mark_rodata_ro()
        with pytest.raises(pmalloc.InitError, match=f"cannot call {__name__}[.]") as info:
            load()
        assert [frame.name for frame in traceback.extract_tb(info.tb)] == ["work"]

    in_child(work)


def test_from_a_thread_and_by_ctypes():
    def work() -> None:
        @pmalloc.init
        def load():
            run()

        callback = ctypes.CFUNCTYPE(None)(load)
        callback()
        assert runs[0] == 1
        pmalloc.mark_rodata_ro()
        errors = []
        sys.unraisablehook = lambda args: errors.append(args.exc_value)
        callback()
        threading.excepthook = lambda args: errors.append(args.exc_value)
        thread = threading.Thread(target=load)
        thread.start()
        thread.join()
        assert [type(error) for error in errors] == [pmalloc.InitError] * 2
        assert runs[0] == 1

    in_child(work)


def test_what_is_async_or_a_generator_raises_at_the_call():
    def work() -> None:
        @pmalloc.init
        def gen():
            run()
            yield 1

        @pmalloc.init
        async def coro():
            return run()

        @pmalloc.init
        async def agen():
            run()
            yield 1

        async def during():
            assert [x async for x in agen()] == [1]
            return await coro()

        for _ in range(3000):
            assert list(gen()) == [1]
        asyncio.run(during())
        before = runs[0]
        pmalloc.mark_rodata_ro()
        for each in (gen, coro, agen):
            with pytest.raises(pmalloc.InitError, match=OVER):
                each()
        assert inspect.isgeneratorfunction(gen)
        assert inspect.iscoroutinefunction(coro)
        assert inspect.isasyncgenfunction(agen)
        assert runs[0] == before

    in_child(work)


def test_what_was_made_in_init_and_not_started_never_starts():
    def work() -> None:
        @pmalloc.init
        def gen():
            run()
            yield 1

        @pmalloc.init(drop=True)
        async def coro():
            return run()

        @pmalloc.init
        async def agen():
            run()
            yield 1

        waiting = gen(), coro(), agen()
        begun = gen()
        assert next(begun) == 1
        ended = list(gen())
        before = runs[0]
        with pytest.raises(pmalloc.InitError, match=r"generator .*gen\(\) at .*, not started"):
            pmalloc.mark_rodata_ro(strict=True)
        report = pmalloc.mark_rodata_ro()
        texts = sorted(text.split()[0] + text.rpartition(",")[2] for text in report.pending)
        assert texts == [
            "async not started",
            "coroutine not started",
            "generator not started",
            "generator suspended",
        ]
        for start in (
            lambda: next(waiting[0]),
            lambda: waiting[1].send(None),
            lambda: waiting[2].__anext__().send(None),
        ):
            with pytest.raises(pmalloc.InitError, match=r"cannot start .*: it is of an init"):
                start()
        assert runs[0] == before
        assert list(begun) == [] and ended == [1]

    in_child(work)


def test_they_end_where_all_places_of_sys_monitoring_are_taken():
    def work() -> None:
        @pmalloc.init
        def gen():
            run()
            yield 1

        waiting = gen()
        for number in range(6):
            if sys.monitoring.get_tool(number) is None:
                sys.monitoring.use_tool_id(number, "somebody")
            elif sys.monitoring.get_tool(number) == "pmalloc":
                sys.monitoring.free_tool_id(number)
                sys.monitoring.use_tool_id(number, "somebody")
        pmalloc.mark_rodata_ro()
        assert list(waiting) == []
        assert runs[0] == 0

    in_child(work)


def test_it_is_the_same_function_and_looks_the_same():
    def work() -> None:
        def load(a, /, b: int = 2, *rest, c, **more) -> str:
            """What it does."""
            x = 1
            return lambda: (a, x)

        marked = pmalloc.init(load)
        assert marked is load
        before = inspect.signature(load), inspect.getsource(load), load.__doc__
        pmalloc.mark_rodata_ro()
        assert (inspect.signature(load), inspect.getsource(load), load.__doc__) == before
        assert load.__code__.co_flags & 0x0F == 0x0F
        with pytest.raises(pmalloc.InitError):
            load(1, c=2)

    in_child(work)


def test_the_stub_raises_too_and_its_frame_can_be_looked_at():
    def work() -> None:
        def outer(x):
            @pmalloc.init
            def inner(a, *rest):
                y = x
                return lambda: (y, a)

            return inner

        inner = outer(1)
        pmalloc.mark_rodata_ro()
        copy = types.FunctionType(inner.__code__, {}, "copy", None, inner.__closure__)
        with pytest.raises(pmalloc.InitError) as info:
            copy(1, 2)
        frame = info.tb.tb_next.tb_frame if info.tb.tb_next else info.tb.tb_frame
        assert frame.f_locals["a"] == 1
        assert frame.f_lineno == inner.__code__.co_firstlineno

    in_child(work)


class Big:
    """A constant that can be referred to weakly."""


def test_dropped_code_is_freed_and_other_code_is_kept():
    def work() -> None:
        for drop in (True, False):
            namespace = {}
            exec("def load(): return 'constant'", namespace)
            load = namespace["load"]
            big = Big()
            watched = weakref.ref(big)
            load.__code__ = load.__code__.replace(co_consts=(None, big))
            del big
            code = weakref.ref(load.__code__)
            with pmalloc.late_init(f"drop-{drop}"):
                pmalloc.init(load, drop=drop)
            gc.collect()
            assert (code() is None) == (watched() is None) == drop
            with pytest.raises(pmalloc.InitError):
                load()
            del load, namespace  # a plugin is unloaded: nothing of pmalloc's holds it
            gc.collect()
            assert code() is None

    in_child(work)


def test_one_that_runs_when_init_ends_goes_on():
    def work() -> None:
        @pmalloc.init
        def main():
            pmalloc.mark_rodata_ro()
            return run()

        assert main() == 1
        with pytest.raises(pmalloc.InitError):
            main()

    in_child(work)


@pytest.mark.parametrize(
    "target",
    [
        len,
        functools.partial(print),
        3,
        [].append,
        functools.lru_cache(lambda: 1),
    ],
    ids=repr,
)
def test_what_cannot_be_marked(target):
    def work() -> None:
        with pytest.raises(TypeError, match=r"cannot mark .* put @pmalloc.init below them"):
            pmalloc.init(target)

    in_child(work)


def test_after_the_end_nothing_can_be_marked():
    def work() -> None:
        pmalloc.mark_rodata_ro()
        message = (
            rf"cannot register function {__name__}.*load for module {__name__}: init is over; "
            "import the module before"
        )
        with pytest.raises(pmalloc.InitError, match=message):

            @pmalloc.init
            def load():
                pass

        with pytest.raises(pmalloc.InitError, match=r"cannot register type .*Big"):
            pmalloc.init(Big)

    in_child(work)

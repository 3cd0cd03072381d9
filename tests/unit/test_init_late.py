"""late_init(): phases that end on their own, before and after the end of init."""

import asyncio
import contextvars
import sys
import threading

import pytest
from child import in_child

import pmalloc


def test_what_is_registered_in_the_block_ends_with_it():
    def work() -> None:
        before = pmalloc.ro_after_init({}, name="before")
        with pmalloc.late_init("plugin") as phase:
            hooks = pmalloc.ro_after_init([], name="hooks")
            hooks.append("hook")
            assert pmalloc.pool_of(hooks) is phase.pool
            assert phase.report is None and not phase.over
        assert phase.over
        assert isinstance(hooks, pmalloc.FrozenList)
        assert phase.pool.name == "plugin" and phase.pool.state == "protected"
        assert pmalloc.root("plugin") == {"hooks": ["hook"]}
        assert phase.report.phase == "plugin" and phase.report.entries == ("hooks",)
        assert type(before) is dict
        report = pmalloc.mark_rodata_ro()
        assert report.entries == ("before",) and report.pools == ("global",)

    in_child(work)


def test_after_the_end_of_init():
    def work() -> None:
        pmalloc.mark_rodata_ro()
        with pmalloc.late_init("plugin") as phase:
            table = pmalloc.ro_after_init({"a": [1]}, name="table")

            @pmalloc.init
            def load():
                return 1

            load()
        assert pmalloc.is_protected(table)
        assert phase.report.functions == 1
        message = (
            "cannot call .*: it is an init function, and the late init phase 'plugin' is over; do "
            "it in its block"
        )
        with pytest.raises(pmalloc.InitError, match=message):
            load()
        with pytest.raises(pmalloc.InitError, match="init is over"):
            pmalloc.ro_after_init({})

    in_child(work)


def test_blocks_nest():
    def work() -> None:
        with pmalloc.late_init("outer") as outer:
            a = pmalloc.ro_after_init({}, name="a")
            with pmalloc.late_init("inner") as inner:
                b = pmalloc.ro_after_init({}, name="b")
            assert isinstance(b, pmalloc.FrozenDict)
            assert type(a) is dict
            c = pmalloc.ro_after_init({}, name="c")
        assert inner.report.entries == ("b",)
        assert outer.report.entries == ("a", "c")
        assert isinstance(c, pmalloc.FrozenDict)

    in_child(work)


def test_names_come_again():
    def work() -> None:
        for expected in ("plugin", "plugin@2", "plugin@3"):
            with pmalloc.late_init("plugin") as phase:
                pmalloc.ro_after_init([1])
            assert phase.name == "plugin"
            assert phase.pool.name == expected
        pmalloc.Pool("taken")
        with pytest.raises(ValueError, match="'taken'"):
            pmalloc.late_init("taken").__enter__()
        with pytest.raises(ValueError, match="1 to 255 bytes"):
            pmalloc.late_init("").__enter__()

    in_child(work)


def test_one_without_data_leaves_no_pool():
    def work() -> None:
        for _ in range(3):
            with pmalloc.late_init("plugin") as phase:
                pass
            assert phase.report.pools == ()
            assert phase.report.policy == "oops"
            assert "plugin" not in [pool.name for pool in pmalloc.pools()]

    in_child(work)


def test_a_block_is_entered_once():
    def work() -> None:
        phase = pmalloc.late_init("plugin")
        with pytest.raises(pmalloc.InitError, match="has no pool before its block"):
            print(phase.pool)
        with pytest.raises(pmalloc.InitError, match="never begun"):
            phase.end()
        with phase, pytest.raises(pmalloc.InitError, match="begun before"), phase:
            pass
        with pytest.raises(pmalloc.InitError, match="begun before"), phase:
            pass
        assert phase.end() is phase.report

    in_child(work)


def test_an_exception_abandons_the_block():
    def work() -> None:
        phase = pmalloc.late_init("plugin")
        with pytest.raises(KeyError) as info, phase:  # noqa: PT012
            table = pmalloc.ro_after_init({}, name="table")

            @pmalloc.init
            def load():
                return 1

            raise KeyError("plugin")
        assert "abandoned" in info.value.__notes__[0]
        assert phase.over and phase.report is None
        table["a"] = 1
        assert load() == 1
        with pytest.raises(pmalloc.InitError, match="abandoned"):
            phase.end()
        assert pmalloc.mark_rodata_ro().open_phases == ()
        with pmalloc.late_init("plugin") as again:
            pmalloc.ro_after_init({"b": 1}, name="table")
        assert again.pool.name == "plugin@2"

    in_child(work)


def test_an_exception_before_anything_was_registered():
    def work() -> None:
        phase = pmalloc.late_init("plugin")
        with pytest.raises(KeyError), phase:  # noqa: PT012
            phase.pool.alloc(8)
            raise KeyError("plugin")
        assert phase.pool.state == "destroyed"

    in_child(work)


def test_a_block_that_is_never_left_is_named():
    def work() -> None:
        def load():
            with pmalloc.late_init("plugin"):
                yield

        loading = load()
        next(loading)
        assert pmalloc.mark_rodata_ro().open_phases == ("plugin",)
        with pytest.raises(StopIteration):
            next(loading)

    in_child(work)


def test_hooks_belong_to_their_phase():
    def work() -> None:
        calls = []
        pmalloc.after_mark_rodata_ro(lambda: calls.append("main"))
        with pmalloc.late_init("plugin") as phase:
            table = pmalloc.ro_after_init({})

            @pmalloc.before_mark_rodata_ro
            def fill():
                table["a"] = 1
                calls.append("before")

            @pmalloc.after_mark_rodata_ro
            def check():
                assert isinstance(table, pmalloc.FrozenDict)
                calls.append("after")

        assert calls == ["before", "after"]
        assert table == {"a": 1}
        assert phase.report.failures == ()
        pmalloc.mark_rodata_ro()
        assert calls == ["before", "after", "main"]

    in_child(work)


def test_strict_is_refused_and_can_be_tried_again():
    def work() -> None:
        held = [1]
        phase = pmalloc.late_init("plugin", strict=True)
        with pytest.raises(
            pmalloc.InitError, match=r"plugin\['t'\]\['held'\]: local variable held"
        ):
            with phase:
                table = pmalloc.ro_after_init({"held": held}, name="t")
        assert type(table) is dict and not phase.over
        del held
        report = phase.end(strict=True)
        assert report is phase.report and report.held == ()
        assert isinstance(table, pmalloc.FrozenDict)

    in_child(work)


def test_it_does_not_count_for_other_threads():
    def work() -> None:
        results = []

        def other():
            results.append(pmalloc.pool_of(pmalloc.ro_after_init({}, name="other")).name)

        with pmalloc.late_init("plugin") as phase:
            # 3.14 can be told to let threads inherit; a context of its own is empty anyway.
            thread = threading.Thread(target=contextvars.Context().run, args=(other,))
            thread.start()
            thread.join()
            inherited = threading.Thread(target=contextvars.copy_context().run, args=(mine,))
            inherited.start()
            inherited.join()
        assert results == ["global"]
        assert phase.report.entries == ("mine",)

    def mine():
        pmalloc.ro_after_init({}, name="mine")

    in_child(work)


def test_phases_of_threads_do_not_mix():
    def work() -> None:
        barrier = threading.Barrier(8)
        reports = {}

        def load(name):
            barrier.wait()
            with pmalloc.late_init(name) as phase:
                for n in range(50):
                    pmalloc.ro_after_init({"of": name}, name=f"{name}-{n}")
            reports[name] = phase.report

        threads = [threading.Thread(target=load, args=(f"plugin-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(reports) == 8
        for name, report in reports.items():
            assert report.entries == tuple(f"{name}-{n}" for n in range(50))

    in_child(work)


def test_tasks_of_asyncio():
    def work() -> None:
        async def plugin(name):
            with pmalloc.late_init(name) as phase:
                for n in range(5):
                    await asyncio.sleep(0)
                    pmalloc.ro_after_init({}, name=f"{name}-{n}")
            return phase.report.entries

        async def late():
            await asyncio.sleep(0.01)
            with pytest.raises(pmalloc.InitError, match="the late init phase 'block' is over"):
                pmalloc.ro_after_init({})

        async def main():
            found = await asyncio.gather(*(plugin(f"p{n}") for n in range(20)))
            assert found == [tuple(f"p{n}-{m}" for m in range(5)) for n in range(20)]
            with pmalloc.late_init("block"):
                task = asyncio.create_task(late())
            await task
            with pytest.raises(pmalloc.InitError, match="init is over"):
                pmalloc.ro_after_init({})

        pmalloc.mark_rodata_ro()
        asyncio.run(main())

    in_child(work)


def test_a_block_that_ends_in_another_context():
    def work() -> None:
        def generator():
            with pmalloc.late_init("plugin") as phase:
                yield phase

        loading = generator()
        phase = contextvars.copy_context().run(next, loading)
        with pytest.raises(StopIteration):
            next(loading)
        assert phase.over
        assert pmalloc.pool_of(pmalloc.ro_after_init({})).name == "global"

    in_child(work)


def test_init_can_end_within_a_block():
    def work() -> None:
        main = pmalloc.ro_after_init({}, name="main")
        with pmalloc.late_init("plugin"):
            late = pmalloc.ro_after_init({}, name="late")
            report = pmalloc.mark_rodata_ro()
            assert report.entries == ("main",) and report.open_phases == ("plugin",)
            assert isinstance(main, pmalloc.FrozenDict) and type(late) is dict
        assert isinstance(late, pmalloc.FrozenDict)

    in_child(work)


def test_it_does_not_begin_when_the_interpreter_is_finalised(monkeypatch):
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    with pytest.raises(pmalloc.InitError, match="being finalised"):
        pmalloc.late_init("plugin").__enter__()

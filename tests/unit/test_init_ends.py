"""When and where mark_rodata_ro() is called, and what happens if something fails on the way."""

import gc
import importlib
import os
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from child import in_child

import pmalloc


def run_program(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


def test_two_threads_get_one_report():
    def work() -> None:
        pmalloc.ro_after_init({}, name="x")
        barrier = threading.Barrier(8)
        calls, reports = [], []
        pmalloc.before_mark_rodata_ro(lambda: (time.sleep(0.05), calls.append(1)))

        def end():
            barrier.wait()
            reports.append(pmalloc.mark_rodata_ro())

        threads = [threading.Thread(target=end) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(reports) == 8
        assert all(report is reports[0] for report in reports)
        assert calls == [1]

    in_child(work)


def test_threads_that_register_while_it_ends():
    """Each is either in time, and is frozen, or gets InitError."""

    def work() -> None:
        taken, refused = [], []
        begun = threading.Event()

        def register(number):
            for n in range(2000):
                if n == 50:
                    begun.set()
                try:
                    taken.append(pmalloc.ro_after_init({n: number}, name=f"{number}-{n}"))
                except pmalloc.InitError:
                    refused.append(number)
                    return

        threads = [threading.Thread(target=register, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        begun.wait()
        report = pmalloc.mark_rodata_ro()
        for thread in threads:
            thread.join()
        assert len(report.entries) == len(taken)
        assert all(isinstance(each, pmalloc.FrozenDict) for each in taken)
        assert len(refused) + len(taken) // 2000 >= 4 or len(taken) == 8000

    in_child(work)


@pytest.mark.parametrize("before", [True, False])
def test_a_hook_that_ends_init(before):
    def work() -> None:
        add = pmalloc.before_mark_rodata_ro if before else pmalloc.after_mark_rodata_ro
        add(pmalloc.mark_rodata_ro)
        with pytest.raises(pmalloc.InitFailures) as info:
            pmalloc.mark_rodata_ro()
        (error,) = info.value.exceptions
        assert type(error) is pmalloc.InitError
        assert "cannot end init: this thread is ending it" in str(error)
        assert "raised by the hook pmalloc._init.mark_rodata_ro" in error.__notes__

    in_child(work)


def test_hooks_are_called_in_order_and_may_register_more():
    def work() -> None:
        calls = []

        @pmalloc.before_mark_rodata_ro
        def first():
            calls.append("first")
            pmalloc.ro_after_init({"by": "hook"}, name="by hook")
            pmalloc.before_mark_rodata_ro(lambda: calls.append("third"))

        pmalloc.before_mark_rodata_ro(lambda: calls.append("second"))

        @pmalloc.after_mark_rodata_ro
        def last():
            assert pmalloc.is_protected(pmalloc.root("global"))
            calls.append("last")
            with pytest.raises(pmalloc.InitError):
                pmalloc.ro_after_init({})

        assert pmalloc.mark_rodata_ro().entries == ("by hook",)
        assert calls == ["first", "second", "third", "last"]

    in_child(work)


def test_what_cannot_be_called_is_no_hook():
    with pytest.raises(TypeError, match="int cannot"):
        pmalloc.before_mark_rodata_ro(1)


def test_failures_are_collected_and_tried_again():
    def work() -> None:
        settings = pmalloc.ro_after_init({}, name="settings")
        viewed = pmalloc.Pool("viewed")
        view = memoryview(pmalloc.ro_after_init(viewed.alloc(8)))
        fine = pmalloc.ro_after_init(pmalloc.Pool("fine"))
        calls = []

        @pmalloc.before_mark_rodata_ro
        def bad():
            calls.append("bad")
            if len(calls) == 1:
                raise KeyError("first")

        @pmalloc.init
        def load():
            pass

        with pytest.raises(ExceptionGroup, match="init is over, but not all") as info:
            pmalloc.mark_rodata_ro()
        group = info.value
        assert type(group) is pmalloc.InitFailures
        assert [type(error) for error in group.exceptions] == [KeyError, BufferError]
        assert "viewed" in str(group.exceptions[1])
        report = group.report
        assert len(report.failures) == 2
        assert isinstance(settings, pmalloc.FrozenDict)
        assert fine.state == "protected" and viewed.state == "open"
        assert "viewed" not in report.pools
        with pytest.raises(pmalloc.InitError):
            load()
        with pytest.raises(pmalloc.InitError):
            pmalloc.ro_after_init({})
        with pytest.raises(pmalloc.InitFailures) as info:
            pmalloc.mark_rodata_ro()
        assert [type(error) for error in info.value.exceptions] == [BufferError]
        info = group = None
        view.release()
        again = pmalloc.mark_rodata_ro()
        assert again.failures == ()
        assert viewed.state == "protected"
        assert sorted(again.pools) == ["fine", "global", "viewed"]
        assert again.functions == 1
        assert calls == ["bad", "bad"]
        assert pmalloc.mark_rodata_ro() is again

    in_child(work)


def test_a_part_of_the_group_has_the_report():
    def work() -> None:
        def bad():
            raise KeyError

        pmalloc.after_mark_rodata_ro(bad)
        try:
            pmalloc.mark_rodata_ro()
        except* KeyError as part:
            assert part.report.phase == "global"  # noqa: PT017

    in_child(work)


def test_an_interrupt_passes_at_once_and_nothing_is_lost():
    def work() -> None:
        calls = []

        @pmalloc.before_mark_rodata_ro
        def interrupted():
            calls.append(1)
            if len(calls) == 1:
                raise KeyboardInterrupt

        table = pmalloc.ro_after_init({})
        with pytest.raises(KeyboardInterrupt):
            pmalloc.mark_rodata_ro()
        pmalloc.ro_after_init({}, name="more")
        assert type(table) is dict
        report = pmalloc.mark_rodata_ro()
        assert len(report.entries) == 2 and calls == [1, 1]

    in_child(work)


def test_strict_refuses_and_changes_nothing():
    def work() -> None:
        roles = ["admin"]
        calls = []
        table = pmalloc.ro_after_init({"roles": roles}, name="table")
        pmalloc.before_mark_rodata_ro(lambda: calls.append(1))

        @pmalloc.init
        def load():
            return 1

        message = (
            r"cannot end init strictly: global\['table'\]\['roles'\]: local variable roles of "
            r".*; nothing was changed, and it goes on"
        )
        for _ in range(3):
            with pytest.raises(pmalloc.InitError, match=message):
                pmalloc.mark_rodata_ro(strict=True)
        assert type(table) is dict
        assert load() == 1
        assert pmalloc.global_pool().state == "open"
        table["more"] = pmalloc.ro_after_init([1], name="more")
        del roles
        report = pmalloc.mark_rodata_ro(strict=True)
        assert report.held == () and calls == [1]
        assert table == {"roles": ["admin"], "more": [1]}

    in_child(work)


def test_strict_refuses_where_a_hook_raised():
    def work() -> None:
        @pmalloc.before_mark_rodata_ro
        def bad():
            raise KeyError("x")

        table = pmalloc.ro_after_init({})
        with pytest.raises(pmalloc.InitError, match="1 hook raised") as info:
            pmalloc.mark_rodata_ro(strict=True)
        assert type(info.value.__cause__.exceptions[0]) is KeyError
        assert type(table) is dict

    in_child(work)


def test_an_original_that_is_held_diverges_only_with_a_word():
    def work() -> None:
        mine = {"a": 1}
        table = pmalloc.ro_after_init(mine, name="table")
        (held,) = pmalloc.mark_rodata_ro().held
        mine["a"] = 2
        assert table["a"] == 1
        assert held.path == "global['table']" and held.type == "dict"
        assert "local variable mine of" in held.holders[0]

    in_child(work)


# ---- processes ----


def test_many_originals_that_are_held():
    """Ten thousand paths; and a refusal has a message that can be read."""

    def work() -> None:
        table = pmalloc.ro_after_init({}, name="table")
        kept = [[number] for number in range(10_000)]
        table.update(enumerate(kept))
        with pytest.raises(pmalloc.InitError, match=r"; and 9,990 more; nothing was") as caught:
            pmalloc.mark_rodata_ro(strict=True)
        assert len(str(caught.value)) < 2000
        report = pmalloc.mark_rodata_ro()
        assert [each.path for each in report.held] == [
            f"global['table'][{number}]" for number in range(10_000)
        ]
        (holder,) = report.held[3].holders
        assert holder.startswith("item [3] of local variable kept of test_many_originals_that_are_")

    in_child(work)


def test_a_child_ends_its_own_copy():
    def work() -> None:
        table = pmalloc.ro_after_init({"a": [1]}, name="table")

        def child():
            table["child"] = 1
            report = pmalloc.mark_rodata_ro()
            assert report.entries == ("table",)
            assert isinstance(table, pmalloc.FrozenDict)

        in_child(child)
        assert type(table) is dict and "child" not in table
        table["parent"] = 1
        pmalloc.mark_rodata_ro()

        def later():
            assert isinstance(table, pmalloc.FrozenDict) and pmalloc.is_protected(table)
            with pytest.raises(pmalloc.InitError):
                pmalloc.ro_after_init({})
            assert pmalloc.mark_rodata_ro().entries == ("table",)

        in_child(later)

    in_child(work)


def test_a_fork_waits_for_the_end():
    def work() -> None:
        table = pmalloc.ro_after_init({}, name="table")
        begun = threading.Event()

        @pmalloc.before_mark_rodata_ro
        def slow():
            begun.set()
            time.sleep(0.2)

        thread = threading.Thread(target=pmalloc.mark_rodata_ro)
        thread.start()
        begun.wait()

        def child():
            assert isinstance(table, pmalloc.FrozenDict)
            assert pmalloc.mark_rodata_ro().entries == ("table",)

        in_child(child)
        thread.join()

    in_child(work)


def test_a_hook_that_forks():
    def work() -> None:
        table = pmalloc.ro_after_init({}, name="table")
        children = []

        @pmalloc.before_mark_rodata_ro
        def fork():
            pid = os.fork()
            children.append(pid)

        pmalloc.mark_rodata_ro()
        assert isinstance(table, pmalloc.FrozenDict)
        if children[0] == 0:
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0

    in_child(work)


def test_from_an_atexit_function():
    done = run_program(
        """
        import atexit, pmalloc
        TABLE = pmalloc.ro_after_init({"a": 1}, name="table")
        @atexit.register
        def end():
            print(pmalloc.mark_rodata_ro().entries, type(TABLE).__name__)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "('table',) FrozenDict\n", "")


def test_while_the_interpreter_is_finalised():
    done = run_program(
        """
        import os, sys, pmalloc
        TABLE = pmalloc.ro_after_init({"a": 1}, name="table")
        end, error = pmalloc.mark_rodata_ro, pmalloc.InitError
        class AtEnd:
            def __del__(self, end=end, error=error, write=os.write, final=sys.is_finalizing):
                try:
                    end()
                except error as refused:
                    write(1, f'{final()} {refused}'.encode())
        at_end = AtEnd()
        """
    )
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout == (
        "True cannot end init: the interpreter is being finalised; do it before, or by atexit"
    )


def test_a_program_that_never_ends_init_shuts_down():
    done = run_program(
        """
        import gc, pmalloc
        TABLE = pmalloc.ro_after_init({"a": [1]}, name="table")
        TABLE["self"] = TABLE
        @pmalloc.init
        def f(): pass
        with_late = pmalloc.late_init("plugin")
        with_late.__enter__()
        gc.collect()
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_during_an_import(tmp_path, monkeypatch):
    (tmp_path / "importing_init.py").write_text(
        "import pmalloc\n"
        "TABLE = pmalloc.ro_after_init({})\n"
        "REPORT = pmalloc.mark_rodata_ro()\n"
        "AFTER = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def work() -> None:
        module = importlib.import_module("importing_init")
        assert module.REPORT.importing == ("importing_init",)
        assert module.REPORT.entries == ("importing_init-1",)
        assert "modules still being imported: 1\n  importing_init" in str(module.REPORT)
        assert module.AFTER == 1 and isinstance(module.TABLE, pmalloc.FrozenDict)
        assert pmalloc.mark_rodata_ro().importing == ("importing_init",)

    in_child(work)


@pytest.mark.parametrize("policy", ["off", "warn", "audit", "oops"])
def test_policies(policy):
    done = run_program(
        """
        import pmalloc
        TABLE = pmalloc.ro_after_init({"a": [1]}, name="table")
        @pmalloc.init
        def load(): pass
        report = pmalloc.mark_rodata_ro()
        print(report.policy, type(TABLE).__name__, pmalloc.is_protected(TABLE))
        for call in (load, lambda: TABLE.update(a=1), lambda: pmalloc.ro_after_init({})):
            try:
                call()
            except (pmalloc.InitError, TypeError) as error:
                print(type(error).__name__)
        print("off" in str(report))
        """,
        PMALLOC_RODATA=policy,
    )
    off = policy == "off"
    assert done.stderr == ""
    assert done.stdout.split() == [
        *(policy, "FrozenDict", str(not off)),
        *("InitError", "TypeError", "InitError", str(off)),
    ]


def test_importing_pmalloc_does_not_load_it():
    done = run_program(
        """
        import sys, pmalloc
        print([name for name in sys.modules if name.startswith("pmalloc._init")])
        """
    )
    assert done.stdout == "[]\n"


def test_nothing_of_an_end_is_left_over():
    """No cycle holds what was looked at: it would look like a holder the next time."""

    def work() -> None:
        held = [1]
        pmalloc.ro_after_init({"held": held}, name="table")
        gc.collect()
        gc.disable()
        before = sys.getrefcount(held)
        with pytest.raises(pmalloc.InitError):
            pmalloc.mark_rodata_ro(strict=True)
        assert sys.getrefcount(held) == before
        pmalloc.mark_rodata_ro()
        alone = [1]
        assert sys.getrefcount(held) == sys.getrefcount(alone)

    in_child(work)

"""The pytest plugin: tests whose code writes to protected data fail, with the report.

Each run is a process of its own: the policy is chosen when pmalloc is imported.
"""

import importlib.util
import os
import signal
from pathlib import Path

import pytest

import pmalloc
from pmalloc import pytest_plugin

pytest_plugins = ["pytester"]

SRC = Path(__file__).parents[2] / "src"
MODULE = """
import ctypes
import pytest
import pmalloc

def stray_write(obj):
    # What is there already: a violation as any other, and the object stays whole.
    at = id(obj) + 24
    ctypes.memset(at, ctypes.string_at(at, 1)[0], 1)
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch):
    monkeypatch.delenv("PMALLOC_RODATA", raising=False)
    if importlib.util.find_spec("pytest_pmalloc") is None:  # pmalloc is not installed
        path = f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{SRC}"
        monkeypatch.setenv("PYTHONPATH", path)

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=MODULE + source)
        return pytester.runpytest_subprocess(
            "-p", "pytest_pmalloc", "-p", "no:faulthandler", "-p", "no:cacheprovider", *options
        )

    return run


TESTS = """
@pytest.fixture
def table(protected):
    return protected([1.5, {"roles": ["reader"]}])

@pytest.fixture
def spoilt(table):
    stray_write(table)
    return table

@pytest.fixture
def spoilt_later(table):
    yield table
    stray_write(table)

def test_reads(table):
    assert table[1]["roles"] == ["reader"]

def test_writes(table):
    stray_write(table)

def test_reads_again(table):
    assert table[0] == 1.5

def test_writes_and_fails(table):
    stray_write(table)
    assert "the test's own failure" == ""

def test_writes_and_skips(table):
    stray_write(table)
    pytest.skip("not here")

def test_spoilt(spoilt):
    pass

def test_spoilt_later(spoilt_later):
    pass

def test_skips(table):
    pytest.skip("not here")

@pytest.mark.xfail(strict=True)
def test_known(table):
    stray_write(table)
"""


@pytest.mark.parametrize("policy", ["audit", "warn"])
def test_a_test_that_writes_fails_with_the_report(run, policy):
    result = run(TESTS, f"--pmalloc={policy}", "-rA")
    result.assert_outcomes(passed=3, failed=3, skipped=1, errors=2, xfailed=1)
    result.stdout.fnmatch_lines([f"pmalloc: {policy}"])
    text = result.stdout.str()
    failure = text[text.index("_ test_writes _") :]
    failure = failure[: failure.index("_ test_writes_and_fails _")]
    lines = [
        "1 write to pool 'test_it.py::test_writes #*', FrozenList at 0x* + 24, by *test_it.py*",
        "pmalloc: write to protected pool 'test_it.py::test_writes #*'",
        f"  policy       {policy}",
        '  File "*test_it.py", line * in test_writes',
    ]
    pytest.LineMatcher(failure.splitlines()).fnmatch_lines(lines)
    assert "pluggy" not in failure.partition("Captured stderr")[0]
    assert "During handling" not in text
    # A test's own failure stays what is told first; what it wrote comes with it.
    result.stdout.fnmatch_lines(
        [
            "*the test's own failure*",
            "* pmalloc call *",
            "1 write to pool 'test_it.py::test_writes_and_fails #*",
        ]
    )
    for name in ("test_reads", "test_reads_again"):
        result.stdout.fnmatch_lines([f"PASSED test_it.py::{name}"])
    result.stdout.fnmatch_lines(
        ["*ERROR at setup of test_spoilt _*", "*ERROR at teardown of test_spoilt_later _*"]
    )


def test_a_module_that_writes_is_an_error_of_collection(run):
    result = run(
        """
CONFIG = pmalloc.freeze([1, 2], name="config")
stray_write(CONFIG)

def test_reads():
    assert CONFIG
""",
        "--pmalloc=audit",
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR collecting test_it.py*", "1 write to pool 'config', FrozenList at *"]
    )


def test_what_no_test_did_fails_the_run(run, pytester):
    pytester.makeconftest(
        MODULE
        + """
CONFIG = pmalloc.freeze([1, 2], name="config")
stray_write(CONFIG)
"""
    )
    result = run("def test_passes(): pass", "--pmalloc=audit")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*writes to protected memory outside of tests*", "1 write to pool 'config', *"]
    )


def test_oops_ends_the_run(run):
    result = run(
        """
def test_writes(protected):
    stray_write(protected([1]))
""",
        "--pmalloc=oops",
        "-s",
    )
    assert result.ret == -signal.SIGSEGV
    result.stderr.fnmatch_lines(["pmalloc: write to protected pool 'test_it.py::test_writes #1'"])


def test_off_protects_nothing(run):
    result = run(
        """
def test_writes(protected):
    values = protected([1])
    stray_write(values)
    assert pmalloc.pool_of(values).stats()["policy"] == "off"
""",
        "--pmalloc=off",
    )
    result.assert_outcomes(passed=1)


def test_without_the_option_pmalloc_is_not_even_imported(run, pytester):
    pytester.makepyfile(
        test_bare="""
import os, sys

def test_bare():
    assert "pmalloc" not in sys.modules
    assert "PMALLOC_RODATA" not in os.environ
"""
    )
    result = pytester.runpytest_subprocess("-p", "pytest_pmalloc", "test_bare.py")
    result.assert_outcomes(passed=1)
    assert "pmalloc: " not in result.stdout.str()


def test_the_variable_is_as_good_as_the_option(run, monkeypatch):
    monkeypatch.setenv("PMALLOC_RODATA", "audit")
    result = run("def test_writes(protected): stray_write(protected([1]))")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["pmalloc: audit"])


def test_a_policy_that_comes_too_late_is_refused(run, pytester):
    pytester.makepyfile(early="import pmalloc")
    pytester.syspathinsert()
    result = run("def test_passes(): pass", "-p", "early", "--pmalloc=audit")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--pmalloc=audit: pmalloc was imported before *"])


# ---- the pools of the fixture ----


def test_the_pool_has_the_name_of_the_test():
    protect = pytest_plugin.Protect("tests/test_x.py::test_y[" + "ä" * 300 + "]")
    one, two = protect([1]), protect({"a": 1})
    pools = [pmalloc.pool_of(one), pmalloc.pool_of(two)]
    assert [pool.state for pool in pools] == ["protected", "protected"]
    assert pools[0].name != pools[1].name and "ää] #" in pools[0].name
    assert protect(one) is one  # frozen already


def test_a_value_that_escapes_its_test_lives_on(monkeypatch):
    monkeypatch.setattr(pytest_plugin, "_waiting", [])
    names = []

    def a_test(protect: pytest_plugin.Protect) -> object:
        values = [protect([number, [number]]) for number in range(3)]
        names.extend(pmalloc.pool_of(value).name for value in values)
        return values[1][1]

    protect = pytest_plugin.Protect("test_escape")
    escaped = a_test(protect)
    protect.finish()
    assert len(pytest_plugin._waiting) == 3
    alive = {pool.name for pool in pmalloc.pools()}
    assert alive.issuperset(names)  # a few small ones may wait
    pytest_plugin.sweep()
    alive = {pool.name for pool in pmalloc.pools()}
    assert names[1] in alive and escaped == [1]
    # A word of an old stack frame may keep the others; so much is advice.
    assert pytest_plugin._waiting == []


@pytest.fixture
def swept(monkeypatch) -> list[int]:
    """How many pools waited at each sweep. None of them goes: that is for others to test."""
    monkeypatch.setattr(pytest_plugin, "_waiting", [])
    swept: list[int] = []
    monkeypatch.setattr(pytest_plugin, "sweep", lambda: swept.append(len(pytest_plugin._waiting)))
    return swept


def test_many_pools_do_not_wait(monkeypatch, swept):
    monkeypatch.setattr(pytest_plugin, "_POOLS_THAT_WAIT", 4)
    for _ in range(5):
        protect = pytest_plugin.Protect("test_many")
        protect([1])
        protect.finish()
    assert swept == [5]


def test_large_pools_do_not_wait(monkeypatch, swept):
    size = 1 << 20
    monkeypatch.setattr(pytest_plugin, "_BYTES_THAT_WAIT", 3 * size)
    for _ in range(3):
        protect = pytest_plugin.Protect("test_large")
        protect(b"x" * size)
        protect.finish()
    # Each has some bytes more than it was asked for: three of them are too much, and two are not.
    assert swept == [3]


def test_sweep_destroys_what_nothing_refers_to(monkeypatch):
    """What the search finds is given here: in a process of many tests, words that are left over
    somewhere lead into a new pool by chance. tests/unit/test_references.py has the search."""
    monkeypatch.setattr(pytest_plugin, "_waiting", [])
    protect = pytest_plugin.Protect("test_sweep")
    protect([1])
    held_value = protect([2])
    protect([3])
    first, held, last = protect._pools
    monkeypatch.setattr(
        pmalloc.Pool, "references", lambda pool, limit: ["a word"] * limit if pool is held else []
    )
    protect.finish()
    assert pytest_plugin._waiting == [first, held, last]
    assert pytest_plugin.sweep() == 2
    assert [pool.state for pool in (first, held, last)] == ["destroyed", "protected", "destroyed"]
    assert held_value == [2] and pytest_plugin._waiting == []

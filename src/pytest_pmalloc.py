"""The pytest plugin's front door: the option `--pmalloc`, and the fixture `protected`.

    pytest starts ──► loads this file, which is light
                          │  PMALLOC_RODATA is set before conftest.py files are read
                          ▼
                      pmalloc is imported: where a policy is to be watched, or by the first
                      test that asks for `protected`

pmalloc reads its policy when it is imported, and a test run that has no use for pmalloc should
not import it. So this file stands beside the package; the work is in pmalloc.pytest_plugin.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pmalloc.pytest_plugin import Protect

_VARIABLE = "PMALLOC_RODATA"
_POLICIES = ("audit", "warn", "oops", "off")
_WATCHED = {"audit", "warn"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--pmalloc=POLICY`."""
    parser.getgroup("pmalloc", "protected memory").addoption(
        "--pmalloc",
        choices=_POLICIES,
        default=None,
        help="what follows a write to protected memory. audit: it takes effect, and fails the "
        "test; warn: the same, and only the first write to each page is seen; oops: the test run "
        "dies of SIGSEGV; off: nothing is protected. Default: what PMALLOC_RODATA says, or oops.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Sets the policy, before anything of the user's can import pmalloc."""
    policy: str | None = early_config.known_args_namespace.pmalloc
    if policy is None or os.environ.get(_VARIABLE) == policy:
        return
    if sys.flags.ignore_environment:
        raise pytest.UsageError(
            f"--pmalloc={policy}: python -E and -I ignore the environment, and pmalloc with it; "
            "start pytest without them"
        )
    if "pmalloc" in sys.modules:
        raise pytest.UsageError(
            f"--pmalloc={policy}: pmalloc was imported before pytest had read its options, by "
            f"another plugin perhaps, and its policy stands; set {_VARIABLE}={policy} instead"
        )
    os.environ[_VARIABLE] = policy


def _policy() -> str:
    return "" if sys.flags.ignore_environment else os.environ.get(_VARIABLE, "")


def pytest_configure(config: pytest.Config) -> None:
    """Watches the tests, where there is something to be seen."""
    if _policy() in _WATCHED:
        from pmalloc.pytest_plugin import Watch

        config.pluginmanager.register(Watch(), "pmalloc-watch")


def pytest_report_header() -> list[str]:
    """The policy, if one was chosen."""
    return [f"pmalloc: {_policy()}"] if _policy() else []


@pytest.fixture
def protected(request: pytest.FixtureRequest) -> Iterator[Protect]:
    """A function: `protected(obj)` is a frozen copy, in a protected pool of the test's own.

    The pool is destroyed after the test, once nothing refers to its objects any more.
    """
    from pmalloc.pytest_plugin import Protect

    protect = Protect(request.node.nodeid)
    yield protect
    protect.finish()

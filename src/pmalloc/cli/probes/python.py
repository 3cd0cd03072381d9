"""Python: which one it is, what its environment says to pmalloc, how it starts workers."""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
import sysconfig
import tempfile

from .finding import MISSING, NOTE, OK, Finding


def version() -> Finding:
    """Which one, and how it was built."""
    build = "debug" if hasattr(sys, "gettotalrefcount") else "release"
    text = f"{platform.python_implementation()} {platform.python_version()}, {build} build"
    if sys.version_info.releaselevel != "final":
        return Finding(
            "Python",
            NOTE,
            f"{text}, {sysconfig.get_platform()}: not a final release",
            "its object layouts may change until it is; the self-test refuses those that did",
            "build pmalloc again for each pre-release, or use a final one",
        )
    # pmalloc was imported, or there were no command: its self-test compared object layouts.
    return Finding(
        "Python", OK, f"{text}, {sysconfig.get_platform()}; self-test of object layouts passed"
    )


def said() -> dict[str, str]:
    """What the environment says to pmalloc."""
    return {name: value for name, value in os.environ.items() if name.startswith("PMALLOC_")}


def is_off() -> bool:
    """Whether the environment says that nothing is to be protected, and is heard."""
    return not sys.flags.ignore_environment and said().get("PMALLOC_RODATA") == "off"


def environment() -> Finding:
    """Variables that are set, and whether they are heard."""
    heard = said()
    name, told = "environment", ", ".join(f"{key}={value}" for key, value in sorted(heard.items()))
    if heard and sys.flags.ignore_environment:
        return Finding(
            name,
            NOTE,
            f"{told}: not heard",
            "python -E and -I ignore what the environment says to pmalloc",
            "start Python without -E and -I",
        )
    if is_off():
        return Finding(
            name,
            NOTE,
            told,
            "programs that see this variable protect nothing",
            "unset PMALLOC_RODATA",
        )
    folder = heard.get("PMALLOC_REPORT_DIR")
    if folder is not None:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return Finding(
                name,
                MISSING,
                f"{told}; {folder}: {error.strerror}",
                "reports go to stderr only",
                "a folder that is there, and that the process may write",
            )
    return Finding(name, OK, told or "nothing is said to pmalloc: no PMALLOC_ variable is set")


def start_method() -> Finding:
    """What workers of multiprocessing get."""
    method = multiprocessing.get_all_start_methods()[0]  # the default, and asking fixes nothing
    if method == "fork":
        return Finding("multiprocessing", OK, "starts workers by fork: they share frozen objects")
    return Finding(
        "multiprocessing",
        NOTE,
        f"starts workers by {method}",
        "workers get frozen objects as pickled, thawed copies: nothing is shared",
        'ask for fork: multiprocessing.get_context("fork")',
    )

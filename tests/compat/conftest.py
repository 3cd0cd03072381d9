"""Prints which packages and versions the compat tests of this run read frozen data with."""

import importlib.metadata
import platform
import re
import sys
from collections import Counter
from pathlib import Path

from _names import DISTRIBUTIONS

HERE = Path(__file__).parent


def version(name: str) -> str:
    if name in sys.stdlib_module_names:
        return "standard library"
    try:
        return importlib.metadata.version(DISTRIBUTIONS.get(name, name))
    except importlib.metadata.PackageNotFoundError:
        return ""


def pytest_terminal_summary(terminalreporter):
    table: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            path = Path(report.nodeid.partition("::")[0])
            found = re.fullmatch(r"test_(\w+)\.py", path.name)
            if found and path.parent.name == HERE.name:
                table.setdefault(found.group(1), Counter())[outcome] += 1
    if not table:
        return
    terminalreporter.section(f"compat: Python {platform.python_version()}")
    for name, outcomes in sorted(table.items()):
        package = name if name.endswith("_suite") else DISTRIBUTIONS.get(name, name)
        told = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
        if outcomes.keys() == {"skipped"}:
            told = "not installed"
        terminalreporter.write_line(f"{package:18} {version(name):18} {told}")

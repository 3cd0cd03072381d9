"""Every package of the extra `compat` has its tests and its row in docs/compat.md."""

import re
import tomllib
from pathlib import Path

import pytest
from _names import DISTRIBUTIONS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

EXTRA = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
PACKAGES = [re.match(r"[\w-]+", line).group() for line in EXTRA["compat"]]
PAGE = (ROOT / "docs/compat.md").read_text()
ROWS = re.findall(r"^\| ([\w, -]+?) \| [\d., ]* ?\|", PAGE, re.MULTILINE)
NAMES = {name for row in ROWS for name in row.split(", ")}
FILES = {p.stem.removeprefix("test_") for p in HERE.glob("test_*.py")} - {
    "table",
    "own_suite",
    "numpy_suite",
}


@pytest.mark.parametrize("package", PACKAGES)
def test_package(package):
    modules = {name for name, what in DISTRIBUTIONS.items() if what.lower() == package.lower()}
    assert (modules | {package}) & FILES or package == "cattrs", "no tests"
    assert package.lower() in {name.lower() for name in NAMES}, "no row in docs/compat.md"


def test_no_row_without_tests():
    tested = {DISTRIBUTIONS.get(name, name) for name in FILES} | {"cattrs"}
    assert tested == NAMES

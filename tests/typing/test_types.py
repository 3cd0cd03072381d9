"""Types are part of the API: mypy and pyright must be content, in their strict modes."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUBJECTS = ["src/pmalloc", "src/pytest_pmalloc.py", "tests/typing/sample.py"]
# Misuse that a type checker must refuse: each line marked so is an error, and no other.
MISUSE = "tests/typing/misuse.py"

# What they say does not depend on the Python that runs them: `make matrix` has them on one only.
pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(tool) for tool in ("mypy", "pyright")),
    reason="needs mypy and pyright, of the extra dev",
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_mypy_strict():
    result = run("mypy", "--strict", *SUBJECTS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_pyright():
    # Without file arguments: pyright then takes the strict configuration and its file list.
    result = run("pyright", "--pythonpath", sys.executable)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_misuse_is_an_error(tool: str):
    command = (
        ["mypy", "--strict", "--no-error-summary", MISUSE]
        if tool == "mypy"
        else ["pyright", "--pythonpath", sys.executable, MISUSE]
    )
    output = run(*command).stdout
    wrong = {
        int(line.split("misuse.py:")[1].split(":")[0])
        for line in output.splitlines()
        if "misuse.py:" in line and " error:" in line
    }
    source = (ROOT / MISUSE).read_text().splitlines()
    expected = {n for n, line in enumerate(source, 1) if line.endswith("# error")}
    assert wrong == expected, output


def test_everything_public_is_in_the_sample():
    import pmalloc

    used = {
        node.attr
        for node in ast.walk(ast.parse((ROOT / "tests/typing/sample.py").read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "pmalloc"
    }
    assert set(pmalloc.__all__) - used == set()

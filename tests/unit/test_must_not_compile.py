"""Programs that misuse pmalloc_rare_write.h do not compile: tests/refused.

Each file is two programs. As it is, a compiler must refuse it, with an error that its head comment
has a pattern for, one for each language that it is written in; with -DLEGAL it says the same in the
allowed way, and must compile without a warning.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted((ROOT / "tests" / "refused").iterdir())
COMPILERS = {"C": ["gcc", "clang"], "C++": ["g++", "clang++"]}
STANDARD = {"C": "c11", "C++": "c++17"}
FLAGS = ["-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"]


def wanted(program: Path) -> dict[str, str]:
    """By language, what the error must say."""
    head = program.read_text().partition("*/")[0]
    return dict(re.findall(r"^ \* (C|C\+\+): (.+)$", head, re.MULTILINE))


CASES = [
    pytest.param(program, language, compiler, id=f"{program.name}-{compiler}")
    for program in PROGRAMS
    for language in wanted(program)
    for compiler in COMPILERS[language]
]


def compiled(program: Path, language: str, compiler: str, *more: str):
    if not shutil.which(compiler):
        pytest.skip(f"needs {compiler}")
    kind = {"C": "c", "C++": "c++"}[language]
    # Not -fsyntax-only: some of what is wrong is seen when code is made.
    return subprocess.run(
        [compiler, "-x", kind, f"-std={STANDARD[language]}", *FLAGS, *more,
         f"-I{ROOT / 'include'}", "-c", str(program), "-o", "/dev/null"],
        capture_output=True, text=True, timeout=120,
        env={"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"},
    )  # fmt: skip


def test_every_program_says_what_is_wrong():
    assert len(PROGRAMS) > 20
    assert [p.name for p in PROGRAMS if not wanted(p)] == []


@pytest.mark.parametrize(("program", "language", "compiler"), CASES)
def test_refused(program: Path, language: str, compiler: str):
    done = compiled(program, language, compiler)
    assert done.returncode != 0, "it compiles"
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert any(re.search(wanted(program)[language], line) for line in errors), done.stderr


@pytest.mark.parametrize(("program", "language", "compiler"), CASES)
def test_legal(program: Path, language: str, compiler: str):
    done = compiled(program, language, compiler, "-DLEGAL")
    assert (done.returncode, done.stderr) == (0, "")

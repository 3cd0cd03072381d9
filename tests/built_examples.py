"""Builds the examples of static data, with what their authors would build them with."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pmalloc

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "static_data"
NEEDS = {
    "c": ("setuptools",),
    "cython": ("setuptools", "Cython"),
    "pybind11": ("setuptools", "pybind11"),
}


def skip_unless_buildable(kind: str) -> None:
    """Says what is missing; where pmalloc was installed, its C library is not to be."""
    for package in NEEDS[kind]:
        pytest.importorskip(package)
    compilers = ("g++", "c++", "clang++") if kind == "pybind11" else ("gcc", "cc", "clang")
    if not any(map(shutil.which, compilers)):
        pytest.skip(f"needs one of {', '.join(compilers)}")
    try:
        pmalloc.get_link_args()
    except FileNotFoundError:
        ours = Path(pmalloc.__file__).parent
        for found in importlib.metadata.distributions(name="pmalloc"):
            assert Path(str(found.locate_file("pmalloc"))) != ours, "installed without its library"
        pytest.skip("this pmalloc is one file, without its C library")


def build(kind: str, folder: Path) -> Path:
    """Builds the example `gate_KIND` in a copy of its own; the module's file."""
    skip_unless_buildable(kind)
    work = folder / kind
    if not work.exists():
        shutil.copytree(EXAMPLES / kind, work)
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
            cwd=work,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    [module] = work.glob(f"gate_{kind}.*.so")
    return module

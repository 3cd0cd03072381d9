"""The examples of static data: a C, a Cython and a pybind11 module, in and after init."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from static_plugin import fine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import built_examples

import pmalloc

KINDS = list(built_examples.NEEDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gates")


@pytest.mark.parametrize("kind", KINDS)
def test_example(kind: str, folder: Path):
    module = built_examples.build(kind, folder)
    told = fine(
        f"""
sys.path.insert(0, {str(module.parent)!r})
import gate_{kind} as gate
gate.add_hook(1000)
gate.add_hook(50)
gate.scribble(200)  # init: it may
assert gate.allows(49) and not gate.allows(50) and gate.limit() == 200
report = pmalloc.mark_rodata_ro()
assert [s[1:3] + s[5:6] for s in _core.sections()] == [
    ({str(module)!r}, "ro", "protected"), ({str(module)!r}, "wr", "protected")]
gate.set_limit(40)
assert gate.limit() == 40 and gate.allows(39) and not gate.allows(40)
for bug in gate.rewrite_hooks, gate.overrun:
    try:
        bug()
    except PermissionError as error:
        print(error)
assert gate.limit() == 40 and gate.allows(39)
print("\\n".join(report.sections))
"""
    )
    lines = told.splitlines()
    assert lines[:2] == [
        "refused: it is not write-rare memory",
        "refused: it reaches beyond an allocation or an object",
    ]
    assert [line.split(" (")[1].split(",")[0] for line in lines[2:]] == [
        "__ro_after_init",
        "__wr_after_init",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_loaded_after_the_end_of_init(kind: str, folder: Path):
    module = built_examples.build(kind, folder)
    fine(
        f"""
pmalloc.mark_rodata_ro()
sys.path.insert(0, {str(module.parent)!r})
with pmalloc.late_init("plugin") as phase:
    import gate_{kind} as gate
    gate.add_hook(50)
    assert states() == ["open"] * 2
assert states() == ["protected"] * 2 and len(phase.report.sections) == 2
gate.set_limit(40)
assert gate.limit() == 40 and gate.allows(39) and not gate.allows(40)
"""
    )


@pytest.mark.parametrize("kind", ["c", "cython"])
def test_closed(kind: str, folder: Path):
    """The interpreter never unloads a module; who loads the file by himself may. The loader keeps a
    library of pybind11's: it has unique symbols."""
    module = built_examples.build(kind, folder)
    fine(
        f"""
for round in range(5):
    handle = _ctypes.dlopen({str(module)!r}, os.RTLD_NOW)
    assert states() == ["open"] * 2
    if round % 2:
        protect()
    _ctypes.dlclose(handle)
    assert states() == []
"""
    )


@pytest.mark.parametrize("kind", ["c", "cython"])
def test_wheel(kind: str, tmp_path: Path):
    """As its users would get it: `pip wheel`, from the example's own pyproject.toml."""
    built_examples.skip_unless_buildable(kind)
    work = tmp_path / kind
    shutil.copytree(built_examples.EXAMPLES / kind, work)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", ".",
         "--no-deps", "--no-build-isolation", "-w", str(tmp_path)],
        cwd=work, capture_output=True, text=True, timeout=600, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob(f"gate_{kind}-1.0-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert [name for name in names if name.startswith(f"gate_{kind}.")], names
    assert pmalloc.get_linker_script().endswith("/include/pmalloc.ld")

"""`pmalloc explain` of the reports that violations leave behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from reported import COMPILER, HIT, LIBRARY, STORE, line_of, needs_compiler, run


def explain(*arguments, env=None):
    pytest.importorskip("typer")
    return subprocess.run(
        [sys.executable, "-m", "pmalloc", "explain", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | (env or {}),
    )


@needs_compiler
@pytest.mark.skipif(
    not (shutil.which("addr2line") or shutil.which("llvm-symbolizer")), reason="needs addr2line"
)
def test_explain_finds_functions_and_source(tmp_path, library):
    done = run(tmp_path, HIT + 'hit("unnamed")  # here\n', library=library)
    assert done.frames[:2] == ["?", "unnamed"]  # a static function has no exported name
    told = explain(*done.files)
    assert told.returncode == 0, told.stderr
    source = library.parent / "writer.c"
    lines = source.read_text().splitlines()

    def number(mark):
        return next(n for n, line in enumerate(lines, 1) if mark in line)

    assert f" put (inlined) in libwriter.so+0x" in told.stdout  # noqa: F541
    for name in ("put", "hidden", "unnamed"):
        assert re.search(
            rf"^    {name}( \(inlined\))? in libwriter.so\+0x\w+ at "
            rf"\S*/writer.c:{number(f'/* {name} */')}\n"
            rf"        .*/\* {name} \*/",
            told.stdout,
            re.MULTILINE,
        ), told.stdout
    assert (
        f"    {tmp_path / 'program.py'}:{line_of(tmp_path, '# here')} in <module>\n" in told.stdout
    )
    assert '        hit("unnamed")  # here\n' in told.stdout
    assert f"  extension    {library}\n" in told.stdout
    for label in ("address", "object", "path", "thread", "policy", "store", "code"):
        if done.line(label):
            assert f"  {label:<12} {done.line(label)}\n" in told.stdout
    assert "/* put */" not in explain("--no-source", *done.files).stdout

    # Another build has other lines: nothing is said rather than something wrong.
    source.write_text("\n" + LIBRARY)
    other = tmp_path / "other.so"
    subprocess.run([COMPILER, "-g", "-shared", "-fPIC", "-Wl,--build-id", source, "-o", other])
    report = done.report
    for frame in report["native_stack"]:
        if frame["path"] == str(library):
            frame["path"] = str(other)
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(report))
    told = explain(changed)
    assert f"  not resolved: {other} is another build than the one that ran\n" in told.stdout
    assert "    libwriter.so+0x" in told.stdout
    source.write_text(LIBRARY)


@needs_compiler
def test_explain_without_tools(tmp_path, library):
    done = run(tmp_path, HIT + 'hit("outer")\n', library=library)
    told = explain(*done.files, env={"PATH": str(tmp_path)})
    assert told.returncode == 0, told.stderr
    assert (
        "  not resolved: neither addr2line nor llvm-symbolizer is installed: apt install binutils\n"
    ) in told.stdout
    frame = done.report["native_stack"][1]
    assert f"    libwriter.so+{frame['offset']} (middle+{frame['symbol_offset']})\n" in told.stdout


def test_explain_prints_no_control_characters(tmp_path):
    program = (
        "import ctypes\nhosts = pmalloc.freeze(['a'], name='red\\x1b[31m\\nforged line')\n" + STORE
    )
    done = run(tmp_path, program)
    told = explain(*done.files)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("pmalloc: write to protected pool 'red\\x1b[31m\\nforged line'\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "No such file or directory"),
        (b"\xff", "it is not UTF-8"),
        (b"{", "is no report: "),
        (b"[]", "is JSON, but no report of pmalloc"),
        (b'{"format": 99}', "has format 99, and this pmalloc reads format 1"),
    ],
)
def test_explain_what_is_no_report(tmp_path, text, why):
    file = tmp_path / "report.json"
    if text is not None:
        file.write_bytes(text)
    told = explain(file)
    assert told.returncode == 2
    assert told.stderr.startswith(f"pmalloc: {file}") and why in told.stderr
    assert told.stdout == ""

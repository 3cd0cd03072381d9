"""Functions and lines of source for code addresses of a report, long after the process died.

Asked is `addr2line` (binutils) or `llvm-symbolizer`, whichever is there: they know the file's full
symbol table, its debug information, and separate files with it. A file that is not the one that
ran, as its build id says, is not asked: a wrong name costs more time than none.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_TIMEOUT = 60.0
_PT_NOTE = 4
_BUILD_ID = 3
_SHT_SYMTAB = 2


class Place(NamedTuple):
    """A function, and a line of source in it; None: not known."""

    function: str | None
    file: str | None
    line: int | None


def build_id(path: str) -> str | None:
    """The build id of an ELF file of 64 bits, as hexadecimal digits; None where it has none.

    Raises:
        OSError: the file can't be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(64)
        if head[:5] != b"\x7fELF\x02" or head[5:6] != b"\x01":
            return None
        (table,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(table)
        segments = file.read(size * count)
        for at in range(0, len(segments) - 55, max(size, 56)):
            kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", segments, at)
            if kind != _PT_NOTE:
                continue
            file.seek(offset)
            if found := _in_notes(file.read(min(length, 1 << 16))):
                return found
    return None


def _in_notes(notes: bytes) -> str | None:
    at = 0
    while at + 12 <= len(notes):
        name, size, kind = struct.unpack_from("<III", notes, at)
        start = at + 12 + (name + 3 & ~3)
        if kind == _BUILD_ID and notes[at + 12 : at + 16] == b"GNU\0":
            return notes[start : start + size].hex()
        at = start + (size + 3 & ~3)
    return None


def _has_symbols(path: str) -> bool:
    """Whether a file has its full symbol table: without, the tools guess the nearest export."""
    with Path(path).open("rb") as file:
        head = file.read(64)
        (table,) = struct.unpack_from("<Q", head, 40)
        size, count = struct.unpack_from("<HH", head, 58)
        file.seek(table)
        sections = file.read(size * count)
    kinds = (struct.unpack_from("<II", sections, at)[1] for at in range(0, len(sections), size))
    return _SHT_SYMTAB in kinds


def why_not(path: str, wanted: str | None) -> str | None:
    """Why a library on disk can't tell about addresses of one that ran; None: it can."""
    try:
        there = build_id(path)
    except OSError as error:
        return f"{path}: {error.strerror}"
    if wanted is not None and there != wanted:
        return f"{path} is another build than the one that ran"
    return None


def tool() -> str | None:
    """The program that is asked; None: there is none."""
    return shutil.which("addr2line") or shutil.which("llvm-symbolizer")


def resolve(path: str, offsets: Iterable[int]) -> dict[int, list[Place]]:
    """What lies at each offset, innermost inlined function first; none where nothing is known.

    Args:
        path: of a library or program, whose build is the right one.
        offsets: addresses as the file has them: what was loaded elsewhere, less how far it moved.
    """
    program, wanted = tool(), sorted(set(offsets))
    if program is None or not wanted:
        return {}
    # Each answer begins with the address it is for.
    options = ["-a", "-f", "-i", "-C", "-e", path]
    if program.endswith("llvm-symbolizer"):
        options = ["--output-style=GNU", *options]
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system, and no shell
            [program, *options],
            input="".join(f"{offset:#x}\n" for offset in wanted),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
        guesses = not _has_symbols(path)
    except (OSError, subprocess.TimeoutExpired, struct.error):
        return {}
    found = _parse(done.stdout.splitlines())
    if not guesses:
        return found
    return {
        offset: places for offset, places in found.items() if any(place.file for place in places)
    }


def _parse(lines: list[str]) -> dict[int, list[Place]]:
    found: dict[int, list[Place]] = {}
    places: list[Place] = []
    at = 0
    while at < len(lines):
        if re.fullmatch(r"0x[0-9a-fA-F]+", lines[at]):
            places = found.setdefault(int(lines[at], 16), [])
            at += 1
            continue
        function = None if lines[at] == "??" else lines[at]
        file, line = None, None
        if at + 1 < len(lines) and (
            m := re.fullmatch(r"(.+):(\d+|\?)(?::\d+)?(?: \(discriminator \d+\))?", lines[at + 1])
        ):
            file = None if m[1] == "??" else m[1]
            line = int(m[2]) if m[2].isdigit() and m[2] != "0" else None
        if function is not None or file is not None:
            places.append(Place(function, file, line))
        at += 2
    return found

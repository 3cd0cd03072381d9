"""`pmalloc explain FILE`: a JSON report of a violation, for people, with lines of source."""

from __future__ import annotations

import json
import linecache
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import typer
from rich.console import Console
from rich.text import Text

from . import symbols
from .output import console, fail

_FORMAT = 1

# A report is a tree of these; docs/report.md has the fields.
type Report = dict[str, Any]


def explain(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A report that PMALLOC_REPORT_DIR has got.")
    ],
    source: Annotated[
        bool, typer.Option("--source/--no-source", help="Show the lines of source as well.")
    ] = True,
) -> None:
    """A violation's report, with functions and lines of source that nobody knew when it happened.

    These come from the libraries and their debug information on this machine, through addr2line or
    llvm-symbolizer; of a library that is not here, or is another build by now, the report's own
    words are printed.

    Exit status: 0; 2 if the file is no report.
    """
    report = _read(file)
    _show(console(), report, source=source)


def _read(file: str) -> Report:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        fail(f"{file}: {reason}", kind="no-file", as_json=False)
    try:
        report: Any = json.loads(text)
    except ValueError as error:
        fail(f"{file} is no report: {error}", kind="no-report", as_json=False)
    if not isinstance(report, dict) or "format" not in report:
        fail(f"{file} is JSON, but no report of pmalloc", kind="no-report", as_json=False)
    if report["format"] != _FORMAT:
        fail(
            f"{file} has format {report['format']!r}, and this pmalloc reads format {_FORMAT}: "
            "use the version that wrote it",
            kind="no-report",
            as_json=False,
        )
    return cast("dict[str, Any]", report)


class _Resolved(NamedTuple):
    """What the libraries on this machine say."""

    places: dict[tuple[str, int], list[symbols.Place]]
    problems: list[str]


def _inside(frame: Report) -> int:
    """The offset of an address inside the function: a return address may lie behind its end."""
    return int(frame["offset"], 16) - (not frame.get("interrupted", True))


def _resolve(frames: list[Report]) -> _Resolved:
    by_module: dict[tuple[str, str | None], list[int]] = {}
    for frame in frames:
        if frame["path"] is not None and frame["offset"] is not None:
            module = (frame["path"], frame["build_id"])
            by_module.setdefault(module, []).append(_inside(frame))
    found = _Resolved({}, [])
    if by_module and symbols.tool() is None:
        found.problems.append(
            "neither addr2line nor llvm-symbolizer is installed: apt install binutils"
        )
        return found
    for (path, wanted), offsets in by_module.items():
        if problem := symbols.why_not(path, wanted):
            found.problems.append(problem)
            continue
        for offset, places in symbols.resolve(path, offsets).items():
            found.places[path, offset] = places
    return found


def _where(frame: Report) -> str:
    """Module, offset and exported function, as the text report has them."""
    if frame["module"] is None:
        return f"{frame['address']} (in no mapped file)"
    name = f"{frame['module']}+{frame['offset']}"
    if frame["symbol"] is not None:
        name += f" ({frame['symbol']}+{frame['symbol_offset']})"
    return name


def _lines_of(frame: Report, resolved: _Resolved) -> list[symbols.Place]:
    if frame["path"] is None or frame["offset"] is None:
        return []
    return resolved.places.get((frame["path"], _inside(frame)), [])


def _pool_line(report: Report) -> str:
    pool, chunk, address = report["pool"], report["chunk"], int(report["address"], 16)
    static = pool.get("static", False)  # reports of older versions do not say
    where = f"{'static data' if static else 'pool'} '{pool['name']}'"
    if static:
        where += f", offset {address - int(chunk['start'], 16):#x}"
    elif chunk is not None and pool["place"] == "data":
        offset = address - int(chunk["start"], 16)
        where += f", chunk {chunk['index']}, offset {offset:#x}"
    elif chunk is not None:
        above = address >= int(chunk["end"], 16)
        distance = address - int(chunk["end"], 16) if above else int(chunk["start"], 16) - address
        side = "past the end of" if above else "below"
        where += f", {distance} bytes {side} chunk {chunk['index']}"
    return f"{report['address']} ({where})"


def _object_line(report: Report) -> str:
    thing = report["object"]
    if thing is None:
        return f"none ({report['no_object']})"
    sign = "-" if thing["offset"] < 0 else "+"
    line = f"{thing['what']} at {thing['start']} {sign} {abs(thing['offset'])}"
    if thing["part"] is not None:
        line += f" ({thing['part']})"
    elif thing["size"] is not None:
        line += f" (size {thing['size']})"
    return line


def _store_line(store: Report) -> str:
    line = str(store["instruction"])
    if store["size"] is not None:
        line += f", {store['size']} byte" + ("" if store["size"] == 1 else "s")
    if store["same_value"]:
        return f"{line}, same value"
    if store["old"] is not None and store["new"] is not None:
        old, new = (bytes.fromhex(store[name]).hex(" ") for name in ("old", "new"))
        line += f": {old} -> {new}"
    return line


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    thread, pool = report["thread"], report["pool"]
    yield "time", report["time"]
    yield "address", _pool_line(report)
    yield "object", _object_line(report)
    if report["path"] is not None:
        yield "path", report["path"]
    yield "thread", f"{thread['pid']}/{thread['tid']} '{thread['name']}'"
    yield "instruction", _where(report["instruction"])
    yield "policy", report["policy"]
    if report["store"] is not None:
        yield "store", _store_line(report["store"])
    for event in ("created", "protected"):
        if (origin := pool[event]) is not None:
            line = "" if origin["line"] is None else f":{origin['line']}"
            yield event, f"{origin['file']}{line} at {origin['time']}"
    if report["instruction"]["code"] is not None:
        yield "code", bytes.fromhex(report["instruction"]["code"]).hex(" ")
    if report["extension"] is not None:
        yield "extension", report["extension"]["path"] or report["extension"]["module"]


def _show(out: Console, report: Report, *, source: bool) -> None:
    frames: list[Report] = report["native_stack"]
    resolved = _resolve(frames)
    out.print(Text(_plain(f"pmalloc: {report['headline']}"), "bold"), soft_wrap=True)
    for label, value in _facts(report):
        out.print(Text(f"  {label:<12} {_plain(value)}"), soft_wrap=True)
    out.print("  native stack")
    for frame in frames:
        _show_frame(out, frame, _lines_of(frame, resolved), source=source)
    if report["native_stack_ends"] is not None:
        out.print(f"    not known further: {report['native_stack_ends']}")
    out.print("  Python stack of this thread, most recent call first")
    for frame in report["python_stack"]:
        place = "" if frame["file"] is None else f"{frame['file']}:{frame['line']} in "
        out.print(Text(f"    {_plain(place + frame['function'])}"), soft_wrap=True)
        if source and frame["file"] is not None:
            _show_source(out, frame["file"], frame["line"])
    for problem in resolved.problems:
        out.print(Text(f"  not resolved: {_plain(problem)}", "yellow"), soft_wrap=True)


def _show_frame(out: Console, frame: Report, places: list[symbols.Place], *, source: bool) -> None:
    if not places:
        out.print(Text(f"    {_plain(_where(frame))}"), soft_wrap=True)
        return
    for n, (function, file, line) in enumerate(places):
        words = function or "?"
        if n < len(places) - 1:
            words += " (inlined)"
        words += f" in {frame['module']}+{frame['offset']}"
        if file is not None:
            words += f" at {file}" + ("" if line is None else f":{line}")
        out.print(Text(f"    {_plain(words)}"), soft_wrap=True)
        if source and file is not None and line is not None:
            _show_source(out, file, line)


def _show_source(out: Console, file: str, line: int) -> None:
    if text := linecache.getline(file, line).strip():
        out.print(Text(f"        {_plain(text)}", "dim"), soft_wrap=True)


def _plain(text: str) -> str:
    """A report is data from elsewhere: nothing in it moves the cursor or forges a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

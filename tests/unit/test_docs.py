"""The documents keep their word: samples run and print what they say, links lead somewhere.

A ```python block that starts with ``# runs`` begins a program; blocks after it that start with
``# goes on`` belong to it. Each program runs by itself and has to exit 0. The ```text blocks
after a block of it are what it prints, on stdout or stderr: the lines must come in that order.
Numbers, addresses and file paths may differ.

A ```python block that starts with ``# NAME.py`` is a file, and a ```console block after it a
session in its folder, with all files that the page had before: commands behind ``$``, and what
they print. A later block of the same name is the file from there on. A line ``...`` stands for any
lines, ``...`` in a line for any text.
"""

import importlib.util
import os
import re
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
BENCHMARKS = ROOT / "benchmarks" / "README.md"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")


@dataclass
class Program:
    name: str
    source: str = ""
    prints: list[list[str]] = field(default_factory=list)


def programs(page: Path) -> list[Program]:
    found: list[Program] = []
    for m in FENCE.finditer(page.read_text()):
        language, body = m.groups()
        if language == "python" and body.startswith("# runs\n"):
            found.append(Program(f"{page.name}-{len(found) + 1}"))
        if language == "python" and re.match(r"# (runs|goes on)\n", body):
            found[-1].source += body.partition("\n")[2] + "\n"
        elif language == "text" and found:
            found[-1].prints.append(body.splitlines())
    return found


PROGRAMS = [program for page in PAGES for program in programs(page)]


@dataclass
class Session:
    name: str
    files: dict[str, str]
    commands: list[tuple[str, list[str]]]  # and what each prints


def sessions(page: Path) -> list[Session]:
    found: list[Session] = []
    files: dict[str, str] = {}
    for m in FENCE.finditer(page.read_text()):
        language, body = m.groups()
        if language == "python" and (named := re.match(r"# ([\w.]+\.py)\n", body)):
            files = files | {named[1]: body[named.end() :]}
        elif language == "console":
            commands: list[tuple[str, list[str]]] = []
            for line in body.splitlines():
                if line.startswith("$ "):
                    commands.append((line[2:], []))
                else:
                    commands[-1][1].append(line)
            found.append(Session(f"{page.name}-{len(found) + 1}", files, commands))
    return found


SESSIONS = [session for page in PAGES for session in sessions(page)]


def normalise(line: str) -> str:
    # What differs from machine to machine; tests/unit/test_report.py looks at it.
    if m := re.match(r"  (instruction|store|created|protected|code) ", line):
        return f"  {m[1]}"
    line = re.sub(r"(  thread +).*", r"\1", line)
    line = re.sub(r'File ".*?([^/"]+)", line \d+', r'File "\1"', line)
    return re.sub(r"0x[0-9a-f]+|\d+", "#", line).rstrip()


def squeeze(line: str) -> str:
    """Columns are as wide as what stands in them."""
    return re.sub(r"(?<=\S) {2,}", "  ", normalise(line))


def check_lines(block: list[str], output: list[str], told: str) -> None:
    """The block's lines are in the output, one directly after the other."""
    wanted = [normalise(line) for line in block]
    starts = range(len(output) - len(wanted) + 1)
    assert any(output[i : i + len(wanted)] == wanted for i in starts), (
        "not printed:\n" + "\n".join(block) + "\n\nbut:\n" + told
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_program(program: Program, tmp_path: Path):
    script = tmp_path / "tour.py"
    script.write_text(program.source)
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("PYTHON") or k == "PYTHONPATH"
    }
    done = subprocess.run(
        [sys.executable, "-u", str(script)],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    # The frames of a native stack are as many as there are.
    short = re.sub(
        r"^  native stack\n(    .*\n)+", "  native stack\n    ...\n", told, flags=re.MULTILINE
    )
    output = [normalise(line) for line in short.splitlines()]
    for block in program.prints:
        check_lines(block, output, told)


PREAMBLE = f"""
ulimit -c 0
python() {{ {sys.executable} -u "$@"; }}
pmalloc() {{ {sys.executable} -m pmalloc "$@"; }}
pytest() {{ {sys.executable} -m pytest -p pytest_pmalloc -p no:cacheprovider "$@"; }}
"""


@pytest.mark.parametrize("session", SESSIONS, ids=lambda s: s.name)
def test_session(session: Session, tmp_path: Path):
    if any(command.startswith("pmalloc explain") for command, _ in session.commands):
        pytest.importorskip("typer")
        pytest.importorskip("rich")
    for name, source in session.files.items():
        (tmp_path / name).write_text(source)
    said = "\0\n"
    script = PREAMBLE + "".join(
        f"{command}\nstatus=$?; printf '\\0\\n'; (exit $status)\n"
        for command, _ in session.commands
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PMALLOC"))}
    if importlib.util.find_spec("pytest_pmalloc") is None:  # pmalloc is not installed
        environment["PYTHONPATH"] = f"{environment.get('PYTHONPATH', '')}:{ROOT / 'src'}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**environment, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    parts = done.stdout.split(said)
    assert len(parts) == len(session.commands) + 1, done.stdout
    for (command, wanted), told in zip(session.commands, parts, strict=False):
        pattern = "".join(
            r"(?:.*\n)*?"
            if line == "..."
            else re.escape(squeeze(line)).replace(r"\.\.\.", ".*") + "\n"
            for line in wanted
        )
        plain = "".join(squeeze(line) + "\n" for line in told.splitlines())
        assert re.fullmatch(pattern, plain), f"$ {command}\n{told}"


def test_the_tour_is_there():
    names = [program.name for program in PROGRAMS]
    assert "README.md-1" in names
    assert any(name.startswith("guide.md") for name in names)


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {text.replace(" ", "-") for text in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path):
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def table_rows(text: str) -> list[tuple[str, ...]]:
    """Cells of all tables, without heads and rules."""
    rows = []
    for line in text.splitlines():
        cells = tuple(cell.strip() for cell in line.strip().strip("|").split("|"))
        if line.startswith("|") and not re.fullmatch(r"[-: ]*", "".join(cells)):
            rows.append(cells)
    return rows


def section(page: Path, heading: str) -> str:
    m = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert m, f"{page.name} has no section {heading}"
    return m.group(1)


def test_every_figure_of_the_costs_was_measured():
    """The rows of README's cost table are rows of the last run: ordinary, pmalloc, ratio."""
    measured = {row[:4] for row in table_rows(BENCHMARKS.read_text())}
    quoted = [row for row in table_rows(section(ROOT / "README.md", "What it costs")) if row[1:]]
    figures = [row for row in quoted if any(c.isdigit() for cell in row[1:] for c in cell)]
    assert figures
    assert [row for row in figures if row[:4] not in measured] == []


def test_every_message_of_the_guide_is_the_codes():
    """Each message that the guide explains stands in the sources, word by word."""
    sources = [*(ROOT / "src").rglob("*.[ch]"), *(ROOT / "src").rglob("*.py")]
    text = "\n".join(path.read_text() for path in sources)
    text = re.sub(r'"\s*\n\s*f?"', "", text)  # adjacent string literals are one
    text = text.replace("does not support item %s", "does not support item assignment")
    missing = []
    for row in table_rows(section(ROOT / "docs" / "guide.md", "Errors")):
        if not (m := re.match(r"`([^`]+)`", row[0])):
            continue
        pieces = re.split(r"[A-Z][A-Z]+|\bN\b", m.group(1))
        missing += [piece for piece in pieces if piece.strip("' ") and not said(piece, text)]
    assert missing == []


# There is no memory for so many here.
NOT_BROUGHT_ABOUT = {"cannot freeze more than 2**31 objects in one call"}


def test_every_message_of_the_guide_is_one_that_a_test_brings_about():
    """Each stands in a test, word by word; test_messages.py has those that no other needs."""
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    text = re.sub(r'"\s*\n\s*r?f?"', "", "\n".join(path.read_text() for path in tests))
    text = re.sub(r"\s+", " ", re.sub(r"\\(.)", r"\1", text))  # of patterns, too
    missing = set()
    for row in table_rows(section(ROOT / "docs" / "guide.md", "Errors")):
        if m := re.match(r"`([^`]+)`", row[0]):
            pieces = re.split(r"[A-Z][A-Z]+|\bN\b", m[1])
            if not all(said(piece, text) for piece in pieces):
                missing.add(m[1])
    assert missing == NOT_BROUGHT_ABOUT


def said(piece: str, text: str) -> bool:
    return piece.strip("' :;()") in text

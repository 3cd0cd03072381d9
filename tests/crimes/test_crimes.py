"""Runs every crime of this folder and compares what it left behind, line by line.

A crime is one tiny program. Its docstring says what is to happen:

    Needs:    a package; where it is not installed the crime is skipped
    Exit:     a signal's name or an exit status
    Stdout:   lines, indented; none when the section is absent
    Stderr:   lines, indented; ``Stderr 3.12:`` where one Python differs, ``Stderr 3.14+:`` where
              it and all later ones do
    Raises:   instead of Stderr, the last line of a traceback; either for one Python, too
    Since:    the first Python that can do it
    Within:   1 second, in which it ends, counted from the line before the crime, where the program
              has set an alarm

Compared exactly, but for numbers nobody can know before: addresses and offsets read ``0x*``,
processes and threads PID and TID, line numbers of the standard library N. ``{here}`` is the line
that ends in ``# here``. Where the interpreter itself writes, its compiler chose which word comes
first and whether libc does it: ``#`` stands for any number, ``<a|b>`` for one of two names. The
instruction's symbol is compared only in a library that the crime brings along: libc and Python
are stripped on some systems. What faulthandler adds from 3.14 on, the thread's name and a C stack
full of addresses, is left out.

Lines about details (DETAILS below, and the native stack) differ from machine to machine: each must
be of its form, and those that every report has must be there. They are compared only where the
crime's own report has a line of that label; else they are left out.

A crime that needs a library of its own has a C file of the same name; those of static data, gate_*,
have the examples that are so called.
"""

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from platform import machine

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import built_examples  # noqa: E402

CRIMES = sorted(p for p in HERE.glob("*.py") if p.name != Path(__file__).name)
SECTION = re.compile(
    r"(Needs|Exit|Stdout|Stderr|Raises|Since|Within)(?: (3\.\d+\+?))?:(?: +(.+))?$"
)
C_STACK = re.compile(
    r"\nCurrent thread's C stack trace \(most recent call first\):\n"
    r"(?:  (?:Binary file|<cannot get C stack|<truncated).*\n)+"
)
# Lines of the report that are looked at by form, each with the form.
PLACE_AND_TIME = r".+ at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
CODE_ADDRESS = r"0x[0-9a-f]+ (\S+\+0x[0-9a-f]+( \(\S+\+0x[0-9a-f]+\))?|\(in no mapped file\))"
DETAILS = {
    "created": PLACE_AND_TIME,
    "protected": PLACE_AND_TIME,
    "code": r"[0-9a-f]{2}( [0-9a-f]{2}){0,15}",
    "extension": r"\S+",
    "path": r".+",
    "store": r"[a-z][a-z0-9 ]*(, \d+ bytes?( at 0x[0-9a-f]+)?)?"
    r"(, same value|: [0-9a-f ]+ -> [0-9a-f ]+)?",
}
STACK = "  native stack"
ALARM = "signal.alarm(1)"
# Those that hung, or went round for ever, before pmalloc looked who came after it.
HANGS = """
    faulthandler_after faulthandler_and_signal_after signal_default_after signal_handler_after
    signal_handlers_after signal_ignored_after signal_private_after
""".split()
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass
class Expected:
    needs: str = ""
    exit: str = ""
    stdout: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)
    raises: str = ""
    since: str = "3.12"
    within: str = ""


def docstring_of(source: str) -> list[str]:
    """Its lines; one that ends in a backslash goes on in the next."""
    return re.sub(r"\\\n +", "", source.split('"""')[1]).splitlines()


def marks(source: str) -> dict[str, int]:
    """Line numbers of the lines that end in a one-word comment."""
    return {
        m.group(1): number
        for number, line in enumerate(source.splitlines(), 1)
        if (m := re.search(r"  # (\w+)$", line))
    }


def expectation(path: Path) -> Expected:
    source = path.read_text()
    lines, where = {}, None
    for line in docstring_of(source):
        if m := SECTION.match(line):
            where = (m.group(1), m.group(2))
            assert where not in lines, f"{path.name}: two sections {where}"
            lines[where] = [m.group(3)] if m.group(3) else []
        elif where:
            assert line.startswith("    ") or not line, f"{path.name}: not indented: {line!r}"
            lines[where].append(line[4:])
    here = marks(source)

    def section(name: str) -> list[str]:
        newest = [f"3.{minor}+" for minor in range(sys.version_info.minor, 11, -1)]
        variants = [VERSION, *newest, None]
        text = next((lines[name, v] for v in variants if (name, v) in lines), [])
        while text and not text[-1]:
            text.pop()
        return [re.sub(r"\{(\w+)\}", lambda m: str(here[m.group(1)]), line) for line in text]

    [exit_status] = section("Exit")
    [raises] = section("Raises") or [""]
    [needs] = section("Needs") or [""]
    [since] = section("Since") or ["3.12"]
    [within] = section("Within") or [""]
    return Expected(needs, exit_status, section("Stdout"), section("Stderr"), raises, since, within)


def exit_name(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else str(status)


def module_name(name: str) -> str:
    """libpython3.13d.so.1.0 and the executable alike: python; _core.cpython-313-...: _core."""
    if re.fullmatch(r"(libpython3?|python)[\d.]*d?(\.?so[\d.]*)?", name):
        return "python"
    return re.sub(r"\.(cpython-|abi3).*$", "", name)


def normalise_instruction(line: str, own: str) -> str:
    m = re.fullmatch(r"  instruction  0x\w+ (\S+)\+0x\w+(?: \((\w+)\+0x\w+\))?", line)
    if not m:
        return line
    symbol = f" ({m.group(2)}+0x*)" if m.group(2) and m.group(1).startswith(own) else ""
    return f"  instruction  0x* {module_name(m.group(1))}+0x*{symbol}"


def normalise(line: str, path: Path) -> str:
    line = normalise_instruction(line, path.stem)
    if m := re.fullmatch(r'  File "(.+)", line (\d+) in (.+)', line):
        name = Path(m.group(1)).name
        number = m.group(2) if m.group(1) == str(path) else "N"
        return f'  File "{name}", line {number} in {m.group(3)}'
    line = re.sub(r"\.(?:cpython-[\w-]+|abi3)\.so\b", ".so", line)
    if m := re.fullmatch(r"  caller       0x\w+ (\S+)\.so\+0x\w+.*", line):
        return f"  caller       0x* {module_name(m.group(1))}+0x*"
    line = re.sub(r"^(Current thread 0x\w+) \[.*\] \(", r"\1 (", line)
    if m := re.fullmatch(r"  thread       (\d+)/(\d+) '(.*)'", line):
        tid = "PID" if m.group(1) == m.group(2) else "TID"
        comm = "python" if m.group(3) == Path(sys.executable).name[:15] else m.group(3)
        return f"  thread       PID/{tid} '{comm}'"
    return re.sub(r"0x[0-9a-f]+", "0x*", line)


def leave_out_details(lines: list[str], expected: list[str]) -> list[str]:
    """Without the lines about details, and the native stack, that the crime does not ask for."""
    asked = {words[0] for line in expected if (words := line.split())}
    kept, in_stack = [], False
    for line in lines:
        label = line[2:].split(" ", 1)[0] if line[:2] == "  " and line[2:3].isalpha() else ""
        if in_stack and line.startswith("    "):
            assert re.fullmatch(rf"    ({CODE_ADDRESS}|not known further: .+)", line), line
            continue
        in_stack = line == STACK
        if label in DETAILS and len(line.split()) > 1:
            assert re.fullmatch(rf"  {label:<12} {DETAILS[label]}", line), line
        if not in_stack and (label not in DETAILS or label in asked):
            kept.append(line)
    return kept


def check_details(text: str, path: Path) -> None:
    """Every report says where its pool was made, what was executed, and from where."""
    for report in re.findall(
        r"^pmalloc: (?!rare write ).*\n  address .*\n(?:  .*\n)+", text, re.MULTILINE
    ):
        # A pool of another process is made where it is opened, and was protected elsewhere; the
        # library's own, of shared key tables, were made by no line of Python.
        made = re.search(r"^  created +(.+):(\d+) at", report, re.MULTILINE)
        assert made or path.stem.startswith(("shared_", "gate_")), report
        if made and made[1] == str(path):
            assert "pmalloc" in "".join(path.read_text().splitlines()[int(made[2]) - 1 :]), report
        shared = "open_shared" in path.read_text()
        closed_itself = "mode=" in path.read_text() and ".protect(" not in path.read_text()
        if (
            made
            and not shared
            and not closed_itself
            and "write to protected" in report.splitlines()[0]
        ):
            assert re.search(r"^  protected ", report, re.MULTILINE), report
        # An object that was built has a way to it; what wrote was an instruction with a name.
        built = re.search(r"^  object       (?!none|allocation|symbol)", report, re.MULTILINE)
        assert bool(built) == bool(re.search(r"^  path ", report, re.MULTILINE)), report
        if "write" in report.splitlines()[0] and machine() == "x86_64":
            assert re.search(r"^  store ", report, re.MULTILINE), report
        pc = re.search(r"^  instruction  (0x\w+)( .*)$", report, re.MULTILINE)
        assert pc and f"{STACK}\n    {pc[1]}{pc[2]}\n" in report, report
        assert "in no mapped file" in pc[2] or re.search(r"^  code ", report, re.MULTILINE), report


def settle(expected: list[str], told: list[str]) -> list[str]:
    """The expected lines, with what was told where a line leaves it open and it fits."""
    settled = list(expected)
    for i, (line, said) in enumerate(zip(expected, told, strict=False)):
        pattern = re.escape(line).replace(r"\+\ \#", r"\+ \d+")
        pattern = re.sub(r"<(\w[\w.\\]*)\\\|(\w[\w.\\]*)>", r"(?:\1|\2)", pattern)
        if re.fullmatch(pattern, said):
            settled[i] = said
    return settled


def check_addresses(text: str) -> None:
    """The address is the object's start plus what the report says it is."""
    for address, start, sign, distance in re.findall(
        r"^  address      (0x\w+) .*\n  object       [^\n]+ at (0x\w+) ([+-]) (\d+)",
        text,
        re.MULTILINE,
    ):
        offset = int(distance) if sign == "+" else -int(distance)
        assert int(address, 16) == int(start, 16) + offset, text


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    """Compiles the C file that some crimes have beside them; a folder of its own for each."""
    compiler = shlex.split(os.environ.get("CC", "")) or next(
        [c] for c in ("cc", "gcc", "clang") if shutil.which(c)
    )
    folder = tmp_path_factory.mktemp("libraries")
    for source in HERE.glob("*.c"):
        command = [*compiler, "-O1", "-g0", "-shared", "-fPIC", "-Wall", "-Werror"]
        command += ["-I", sysconfig.get_path("include"), str(source)]
        command += ["-o", str(folder / f"{source.stem}_lib.so"), "-lpthread"]
        subprocess.run(command, check=True)
    return folder


def build_example(path: Path, libraries: Path) -> None:
    """Of a crime of static data; skips where there is nothing to build it with."""
    if m := re.match(r"gate_(\w+?)_", path.stem):
        built_examples.build(m.group(1), libraries)


def run(path: Path, libraries: Path, folder: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith("PYTHON") or k == "PYTHONPATH"
    }
    environment["LC_ALL"] = "C.UTF-8"
    return subprocess.run(
        [sys.executable, "-u", str(path), str(libraries)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )


@pytest.mark.parametrize("path", CRIMES, ids=lambda p: p.stem)
def test_crime(path: Path, libraries: Path, tmp_path: Path):
    expected = expectation(path)
    if expected.needs:
        pytest.importorskip(expected.needs)
    if sys.version_info < tuple(map(int, expected.since.split("."))):
        pytest.skip(f"Python {expected.since} was the first that can")
    build_example(path, libraries)
    done = run(path, libraries, tmp_path)
    if expected.within:
        assert f"\n{ALARM}\n" in path.read_text() and expected.within == "1 second"
        for _ in range(4):
            if exit_name(done.returncode) != "SIGALRM":
                break  # what hangs does so each time; a busy machine does not
            done = run(path, libraries, tmp_path)
    stdout, stderr = done.stdout.decode(), done.stderr.decode()
    lines = leave_out_details(C_STACK.sub("", stderr).splitlines(), expected.stderr)
    told = [normalise(line, path) for line in lines]
    if expected.raises:
        assert told[:1] == ["Traceback (most recent call last):"], stderr
        number = re.escape(expected.raises).replace(r"\#", r"\d+")
        assert told[-1] == expected.raises or re.fullmatch(number, told[-1]), told[-1]
    else:
        assert told == settle(expected.stderr, told)
    assert exit_name(done.returncode) == expected.exit, stderr
    assert stdout.splitlines() == expected.stdout
    check_addresses(stderr)
    check_details(stderr, path)


def test_there_are_crimes():
    assert len(CRIMES) >= 90


def test_every_c_file_has_its_crime():
    assert {p.stem for p in HERE.glob("*.c")} <= {p.stem for p in CRIMES}


def test_the_hangs_have_to_end():
    assert [path.stem for path in CRIMES if expectation(path).within] == HANGS


def test_a_hang_is_found(libraries: Path, tmp_path: Path):
    """The kind that the crimes of HANGS were: a handler that returns to the same store."""
    crime = tmp_path / "hang.py"
    crime.write_text(
        "import ctypes, signal\n"
        "signal.signal(signal.SIGSEGV, lambda *_: None)\n"
        f"{ALARM}\n"
        "ctypes.memset(16, 0, 1)\n"
    )
    assert exit_name(run(crime, libraries, tmp_path).returncode) == "SIGALRM"

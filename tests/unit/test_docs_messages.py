"""What the pages quote of pmalloc's messages, outside of programs and sessions, is produced here.

A quoted block and what is printed are brought to one shape: addresses, numbers, bytes and folders
differ from run to run. A line ``...`` stands for any lines.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pmalloc

ROOT = Path(__file__).parents[2]
GUIDE, REPORT, COMPAT = (ROOT / "docs" / name for name in ("guide.md", "report.md", "compat.md"))


def block(page: Path, begins: str) -> list[str]:
    """The lines of the fenced block without a language that begins so."""
    found = re.search(
        rf"^```\n({re.escape(begins)}.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found, f"{page.name} quotes nothing that begins with {begins!r}"
    return found[1].splitlines()


def run(program: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(program)
    return subprocess.run(
        [sys.executable, "-u", "program.py"],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )


def shape(line: str) -> str:
    """A line of a report, without what differs."""
    line = re.sub(r"^(  store +)[\w ]+, \d+ bytes?: .*", r"\1INSTRUCTION, # bytes: ## -> ##", line)
    line = re.sub(r"^(  instruction +0x\w+ libc\.so\.6\+0x\w+).*", r"\1", line)
    line = re.sub(r"^(  thread .*)'.*'", r"\1'NAME'", line)
    line = re.sub(r"^(  code +)[0-9a-f ]+$", r"\1##", line)
    line = re.sub(r"0x[0-9a-f]+", "0x#", line)
    line = re.sub(r"[^\s\"]*\w+\.py\b", "FILE", line)
    return re.sub(r"\d+", "#", line)


def check(quoted: list[str], printed: str) -> None:
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(shape(line)) + "\n" for line in quoted
    )
    text = "".join(shape(line) + "\n" for line in printed.splitlines())
    assert re.search(f"^{pattern}", text, re.MULTILINE), f"{pattern}\n\n{text}"


def test_the_report_of_the_guide(tmp_path: Path):
    done = run(
        """
import ctypes, pmalloc
POLICY = pmalloc.freeze({"admins": ["root"]}, name="policy")
def stray_write():
    ctypes.memset(id(POLICY["admins"]) + 16, 0, 8)
stray_write()
""",
        tmp_path,
    )
    assert done.returncode == -signal.SIGSEGV
    check(block(GUIDE, "pmalloc: write to protected pool 'policy'"), done.stderr)


def test_the_report_of_its_page(tmp_path: Path):
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        pytest.skip("needs a C compiler")
    source = (
        "void clear_words(long *at, long n) { for (volatile long i = 0; i < n; i++) at[i] = 0; }"
    )
    (tmp_path / "fastmap.c").write_text(source)
    command = [compiler, "-O1", "-fPIC", "-shared", "fastmap.c", "-o", "fastmap.so"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = run(
        """
import ctypes, threading, pmalloc
library = ctypes.CDLL("./fastmap.so")
config = pmalloc.freeze({"roles": {"admin": ["a", "b"]}}, name="config")
def refresh():
    library.clear_words(ctypes.c_void_p(id(config["roles"]["admin"]) + 16), 2)
thread = threading.Thread(target=refresh, name="worker")
thread.start()
thread.join()
""",
        tmp_path,
    )
    assert done.returncode == -signal.SIGSEGV
    check(block(REPORT, "pmalloc: write to protected pool 'config'"), done.stderr)


def test_a_report_that_could_not_be_written(tmp_path: Path):
    program = """
import ctypes, pmalloc
frozen = pmalloc.freeze([1])
ctypes.memset(id(frozen) + 16, 0, 8)
"""
    done = run(program, tmp_path, PMALLOC_REPORT_DIR=str(tmp_path / "none"))
    [quoted] = block(REPORT, "pmalloc: the report could not be written")
    assert quoted.replace("/var/log/app", str(tmp_path / "none")) in done.stderr.splitlines()


def test_a_blocked_signal(tmp_path: Path):
    program = """
import signal, pmalloc
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSEGV})
pmalloc.freeze([1])
"""
    [quoted] = block(GUIDE, "RuntimeWarning: SIGSEGV is blocked")
    assert quoted in run(program, tmp_path).stderr


def test_a_library_that_counts_references():
    """The crime of that name has the line, and the tests of crimes see it printed."""
    crime = (ROOT / "tests" / "crimes" / "old_extension_refcounts.py").read_text()
    crime = re.sub(r"\\\n *", "", crime)
    [printed] = re.findall(r"^ *(pmalloc: \S+ writes reference counts.*)$", crime, re.MULTILINE)
    [quoted] = block(GUIDE, "pmalloc: LIB writes reference counts")
    page = COMPAT.read_text()
    [compat] = re.findall(r"^ +(pmalloc: \S+ writes reference counts.*)$", page, re.MULTILINE)
    library = re.compile(r"^pmalloc: \S+")
    assert library.sub("", printed) == library.sub("", quoted) == library.sub("", compat)


SERVER = """
import sys, pmalloc
scratch = pmalloc.Pool("scratch")
kept = scratch.alloc(100)
config = pmalloc.freeze([{"host": str(n)} for n in range(2)], name="config", seal=True)
print("ready", flush=True)
sys.stdin.read()
"""


def test_maps_of_the_guide(tmp_path: Path):
    pytest.importorskip("rich")
    try:
        pmalloc.Pool("tried to seal").protect(seal=True)
    except OSError as error:
        pytest.skip(str(error))
    (tmp_path / "server.py").write_text(SERVER)
    server = subprocess.Popen(
        [sys.executable, "server.py"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout and server.stdout.readline() == "ready\n"
        done = subprocess.run(
            [sys.executable, "-m", "pmalloc", "maps", "--all", str(server.pid)],
            env={**os.environ, "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        server.communicate()
    assert done.returncode == 0, done.stdout + done.stderr

    def columns(line: str) -> str:
        plain = re.sub(r"0x[0-9a-f]+", "0x#", re.sub(r"process \d+ \S+", "process # python", line))
        return re.sub(r"[\d.]+ (B|[KM]iB)|\d[\d.,]*", "#", " ".join(plain.split())).strip()

    printed = [columns(line) for line in done.stdout.splitlines()]
    quoted = [columns(line) for line in block(GUIDE, "process 3118") if "─" not in line]
    # From Python 3.13 on there is a pool of shared key tables.
    if not any(line.startswith("shared keys") for line in printed):
        quoted = [line for n, line in enumerate(quoted) if n not in (3, 4)]
    assert [line for line in quoted if line not in printed] == [], done.stdout

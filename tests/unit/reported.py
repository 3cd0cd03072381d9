"""Programs that die of a violation, and the library that makes it: for the tests of reports."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMPILER = next((cc for cc in ("cc", "gcc", "clang") if shutil.which(cc)), None)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")

LIBRARY = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Each does something after the call, so that none is left out of the stack. */
#define NOINLINE __attribute__((noinline))
volatile int after;
NOINLINE void write_one(volatile long *at) { *at = 1; after++; }
NOINLINE void middle(volatile long *at) {
  volatile char room[100]; room[3] = 1; write_one(at); after += room[3];
}
NOINLINE void outer(volatile long *at) { middle(at); after++; }

static inline __attribute__((always_inline)) void put(volatile long *at) { *at = 2; /* put */ }
static NOINLINE void hidden(volatile long *at) { put(at); after++; /* hidden */ }
void unnamed(volatile long *at) { hidden(at); after++; /* unnamed */ }

static volatile long *victim;
NOINLINE void on_signal(int signal) { (void)signal; write_one(victim); after++; }
NOINLINE void raiser(volatile long *at) {
  victim = at;
  signal(SIGUSR1, on_signal);
  raise(SIGUSR1);
  after++;
}

/* The return address and all that is above it is gone. */
NOINLINE void smashed(volatile long *at) {
  volatile char here[16];
  for (int i = 0; i < 200; i++)
    here[i] = 0x41;
  *at = 3;
  after += here[0];
}

/* A function pointer that was overwritten: what it points to is data. */
NOINLINE void jump(void (*to)(void)) { to(); after++; }
"""

BLIND = r"""
extern void write_one(volatile long *at);
volatile int later;
__attribute__((noinline)) void blind(volatile long *at) { write_one(at); later++; }
"""

START = """
import ctypes, os, sys
import pmalloc
library = ctypes.CDLL({library!r})
def hit(name):
    getattr(library, name)(ctypes.c_void_p(id(hosts) + 16))
"""


def make_library(folder: Path) -> Path:
    """The library, with its source beside it; half of it has no unwind tables."""
    source, blind, target = folder / "writer.c", folder / "blind.c", folder / "libwriter.so"
    source.write_text(LIBRARY)
    blind.write_text(BLIND)
    flags = [COMPILER, "-O1", "-g", "-fPIC", "-fomit-frame-pointer", "-fno-stack-protector"]
    flags += ["-fno-optimize-sibling-calls", "-Wl,--build-id"]
    no_tables = ["-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-g0"]
    compile_only = [f for f in flags if not f.startswith("-Wl")]
    subprocess.run([*compile_only, "-c", source, "-o", folder / "writer.o"], check=True)
    subprocess.run([*compile_only, *no_tables, "-c", blind, "-o", folder / "blind.o"], check=True)
    objects = [folder / "writer.o", folder / "blind.o"]
    subprocess.run([*flags, "-shared", *objects, "-o", target], check=True)
    return target


class Run:
    def __init__(self, done: subprocess.CompletedProcess[bytes], reports: Path):
        self.status = done.returncode
        self.text = done.stderr.decode()
        self.stdout = done.stdout.decode()
        self.files = sorted(reports.glob("*.json")) if reports.is_dir() else []
        self.left = [p.name for p in reports.glob(".*")] if reports.is_dir() else []

    @property
    def report(self):
        [file] = self.files
        return json.loads(file.read_bytes())

    def line(self, label: str) -> str | None:
        found = re.search(rf"^  {label} +(.+)$", self.text, re.MULTILINE)
        return found and found[1]

    @property
    def frames(self) -> list[str]:
        """Functions of the native stack in the text, by name; '?' those without one."""
        [stack] = re.findall(r"^  native stack\n((?:    .*\n)+)", self.text, re.MULTILINE)
        names = [re.search(r"\((\w+)\+0x\w+\)$", line) for line in stack.splitlines()]
        return [m[1] if m else "?" for m in names]


def no_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(tmp_path, program, *, library=None, reports="reports", flags=(), env=None, before=no_core):
    """Runs a program that is to die of a violation, with a directory for reports."""
    folder = tmp_path / reports
    if reports == "reports":
        folder.mkdir(exist_ok=True)
    script = tmp_path / "program.py"
    start = START.format(library=str(library)) if library else "import os, sys\nimport pmalloc\n"
    script.write_text(start + program)
    done = subprocess.run(
        [sys.executable, *flags, str(script)],
        cwd=tmp_path,
        env=os.environ | {"PMALLOC_REPORT_DIR": str(folder), "LC_ALL": "C.UTF-8"} | (env or {}),
        capture_output=True,
        timeout=60,
        preexec_fn=before,
    )
    return Run(done, folder)


def line_of(tmp_path, words: str) -> int:
    lines = (tmp_path / "program.py").read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if words in line)


HIT = 'hosts = pmalloc.freeze(["alpha", "beta"], name="crime")  # made\n'
STORE = "ctypes.c_long.from_address(id(hosts) + 16).value = 5\n"

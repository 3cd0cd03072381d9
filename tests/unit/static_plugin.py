"""Builds libraries and programs with static data that pmalloc protects, for the tests."""

from __future__ import annotations

import importlib.metadata
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pmalloc

COMPILERS = [cc for cc in ("gcc", "clang") if shutil.which(cc)]
CC = COMPILERS[0] if COMPILERS else ""
CXX = next((cxx for cxx in ("g++", "clang++") if shutil.which(cxx)), "")

PLUGIN = r"""
#include <pmalloc_rare_write.h>
#ifdef __cplusplus
extern "C" {
#endif
struct hooks { int (*check)(int); const char *name; };
static int always(int n) { return n; }
static struct hooks hooks __ro_after_init = {always, "always"};
static char text[24] __ro_after_init = "before";
static unsigned limit __wr_after_init = 100;
unsigned shown[3] __wr_after_init = {1, 2, 3};
static char neighbour[65536];

int ask(int n) { return hooks.check(n) + hooks.name[0] + text[0]; }
void write_text(int c) { text[5] = (char)c; }
void write_hooks(void) { hooks.name = 0; }
void write_limit(unsigned n) { limit = n; }
void write_shown(unsigned n) { shown[1] = n; }
void write_neighbour(int n) { neighbour[0] = (char)n; neighbour[65535] = (char)n; }
unsigned get_limit(void) { return limit; }
int set_limit(unsigned n) { return wr_assign(wr_static(limit), n); }
int set_shown(unsigned n) { return wr_assign(wr_static(shown)[1], n); }
int overrun(void) { return pmalloc_wr_set(&limit, 0, sizeof limit + 1); }
int rare_text(void) { return pmalloc_wr_set(text, 0, sizeof text); }
int end_init(void) { return pmalloc_protect_this_object(); }
int end_all(void) { return pmalloc_mark_rodata_ro(); }
const void *where_text(void) { return text; }
int is_known(void) { return is_pmalloc_object(text) + 2 * pmalloc_is_protected(text); }
int fits(unsigned long n) { return pmalloc_check_object_size(text, n); }
#ifdef __cplusplus
}
#endif
"""

# What a child begins with.
START = """
import ctypes, os, sys, _ctypes
import pmalloc
from pmalloc import _core, _handler

def load(path):
    library = ctypes.CDLL(str(path))
    library.where_text.restype = ctypes.c_void_p
    library.fits.argtypes = [ctypes.c_ulong]
    return library

def states():
    return [section[5] for section in _core.sections()]

def protect():
    _handler.install()
    for number, *_ in _core.sections():
        _core.protect_section(number)

def unload(library):
    _ctypes.dlclose(library._handle)
"""


def link_args() -> list[str]:
    """What an extension is linked with; skips where pmalloc has no C library."""
    try:
        return pmalloc.get_link_args()
    except FileNotFoundError:
        installed = [
            found
            for found in importlib.metadata.distributions(name="pmalloc")
            if Path(str(found.locate_file("pmalloc"))) == Path(pmalloc.__file__).parent
        ]
        assert not installed, "pmalloc was installed without its C library"
        pytest.skip("this pmalloc is one file, without its C library")


def run(*command: str | Path, **more) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=300, **more
    )
    told = f"{command}\nexit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, told
    return done


def build(
    target: Path,
    *flags: str,
    source: str = PLUGIN,
    compiler: str = "",
    script: bool = True,
    suffix: str = ".c",
) -> Path:
    """A shared library of one source file; without `script` not linked with pmalloc.ld."""
    arguments = link_args()
    if not script:
        arguments = [word for word in arguments if not word.startswith("-Wl,-T")]
    file = target.with_suffix(suffix)
    file.write_text(source)
    run(compiler or CC, "-O2", "-g", "-fPIC", "-shared", f"-I{pmalloc.get_include()}", file,
        "-o", target, *flags, *arguments)  # fmt: skip
    return target


def child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a piece of Python after START in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", START + code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )


def fine(code: str, **environment: str) -> str:
    """The same, of one that must end well: its standard output."""
    done = child(code, **environment)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout

"""What runs in the SIGSEGV handler calls nothing that takes a lock or memory.

Asked of the object files: compiled with a section for each function, their
relocations are the call graph. Everything that can be reached from the handler
ends in a function of the list below, or the test names the way that leads there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "libpmalloc"

# Nothing in these is for any other time than inside the handler.
HANDLER_FILES = [
    "fault_above.c",
    "fault_alu_x86.c",
    "fault_audit.c",
    "fault_cfi.c",
    "fault_decode_x86.c",
    "fault_elf.c",
    "fault_json.c",
    "fault_log.c",
    "fault_origin.c",
    "fault_policy.c",
    "fault_refcount.c",
    "fault_report.c",
    "fault_room.c",
    "fault_signal.c",
    "fault_step.c",
    "fault_store_aarch64.c",
    "fault_store_integer_x86.c",
    "fault_store_string_x86.c",
    "fault_store_vector_x86.c",
    "fault_store_x86.c",
    "fault_symbol.c",
    "fault_turn.c",
    "fault_unwind.c",
    "fault_writer.c",
]
HANDLER = "pmalloc_fault_on_signal"
HANDLERS = [HANDLER, "fault_step:on_trap"]
# What the extension gives the handler: it calls these through pointers.
CORE = SOURCE.parent / "_core"
CORE_FILES = [*sorted(CORE.glob("describe*.c")), CORE / "freeze_values.c"]
HOOKS = ["describe:describe", "describe:preheader", "pm_path_write"]

# What they may call of each other.
ROOMS = [
    "above_",
    "audit",
    "cfi_",
    "elf_",
    "fault_move_to",
    "fault_with_room",
    "json_",
    "log_",
    "origin_",
    "policy_",
    "refcount_",
    "report_",
    "step_",
    "store_",
    "symbol_",
    "turn_",
    "unwind",
    "write",
    "x86_",
]

# POSIX lists these as async-signal-safe, or they only compute, or they are raw system calls.
SAFE = {
    "syscall",  # the raw system call: no cancellation point, unlike write() and its kin
    "sigaction",
    "pthread_sigmask",
    "sigemptyset",
    "sigaddset",
    "sigdelset",
    "sigfillset",
    "fstat",
    "mprotect",  # a bare system call in every C library; so POSIX's list could have it
    "getpid",
    "close",
    "pipe2",
    "read",
    "write",
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "bcmp",  # what clang makes of memcmp() == 0
    "strlen",
    "strcmp",
    "strncmp",
    "memchr",
    "fstat",
    "strcpy",
    "nanosleep",
    "sysconf",  # _SC_PAGESIZE: a word that the C library has at hand
    "__errno_location",
    "_PyUnicode_IsPrintable",  # a look into a table
    # What compilers put in on their own, with hardening switched on.
    "__stack_chk_fail",
    "__memcpy_chk",
    "__memmove_chk",
    "__memset_chk",
}

COMPILERS = [cc for cc in ("gcc", "clang") if shutil.which(cc)]

pytestmark = pytest.mark.skipif(
    not COMPILERS or not shutil.which("objdump"), reason="needs a C compiler and objdump"
)

Graph = dict[str, set[str]]

# Types and singletons, whose addresses are compared with.
CPYTHON_DATA = re.compile(r"P[ym]\w+_Type|_Py_\w+Struct")


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def call_graph(cc: str, level: str, sources: list[Path], folder: Path) -> Graph:
    """Function -> functions it calls, or whose address it takes.

    A static function is known by "FILE:NAME", so that two of one name stay two.
    """
    graph: Graph = {}
    for source in sources:
        target = folder / (source.stem + ".o")
        flags = ["-std=c11", "-D_GNU_SOURCE", level, "-fPIC", "-ffunction-sections"]
        if source.parent == CORE:
            flags += ["-I", sysconfig.get_path("include")]
        run(cc, *flags, f"-I{SOURCE}", f"-I{SOURCE.parents[1] / 'include'}", "-c", str(source),
            "-o", str(target))  # fmt: skip
        local, data = set(), set()
        for line in run("nm", "-P", str(target)).splitlines():
            name, kind = line.split()[:2]
            if kind == "t":
                local.add(name)
            elif kind not in "TUWw":
                data.add(name)

        def known(name: str, local: set[str] = local, source: Path = source) -> str:
            return f"{source.stem}:{name}" if name in local else name

        caller = None
        for line in run("objdump", "-r", str(target)).splitlines():
            if header := re.match(r"RELOCATION RECORDS FOR \[(.+)\]", line):
                section = re.fullmatch(r"\.text\.(?:unlikely\.)?(.+)", header[1])
                # Compilers split a function: name.cold, name.part.0
                caller = known(section[1]) if section else None
                if caller:
                    graph.setdefault(caller, set())
            elif caller and (entry := re.match(r"[0-9a-f]+ R_\S+\s+(\S+?)([+-]0x.*)?$", line)):
                name = re.sub(r"^\.text\.(unlikely\.)?", "", entry[1])
                if name in data or name.startswith((".", "_GLOBAL_OFFSET_TABLE_")):
                    continue
                if not CPYTHON_DATA.fullmatch(name):
                    graph[caller].add(known(name))
        for name in run("nm", "-P", str(target)).splitlines():
            if name.split()[1] in "tT":
                graph.setdefault(known(name.split()[0]), set())
    return graph


def unsafe_ways(graph: Graph, start: str) -> Iterator[str]:
    """Each way from `start` to a function that is neither in the graph nor safe."""
    seen, todo = {start}, [(start, start)]
    while todo:
        name, way = todo.pop()
        if name not in graph and name not in SAFE:
            yield way
        for callee in sorted(graph.get(name, ())):
            if callee not in seen:
                seen.add(callee)
                todo.append((callee, f"{way} -> {callee}"))


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("cc", COMPILERS)
def test_handler_reaches_only_what_is_safe(cc: str, level: str, tmp_path: Path) -> None:
    graph = call_graph(cc, level, sorted(SOURCE.glob("*.c")), tmp_path)
    for handler in HANDLERS:
        assert handler in graph
        assert list(unsafe_ways(graph, handler)) == []
    # The walk does see where the handler goes.
    callers = set().union(*graph.values())
    assert {"pages_peek", "pmalloc_registry_find", "pmalloc_refcount_skip"} <= callers


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("cc", COMPILERS)
def test_hooks_reach_only_what_is_safe(cc: str, level: str, tmp_path: Path) -> None:
    graph = call_graph(cc, level, [*sorted(SOURCE.glob("*.c")), *CORE_FILES], tmp_path)
    for hook in HOOKS:
        assert hook in graph
        assert list(unsafe_ways(graph, hook)) == []
    callers = set().union(*graph.values())
    assert {"pages_peek", "pmalloc_registry_chunk", "_PyUnicode_IsPrintable"} <= callers


@pytest.mark.parametrize("source", HANDLER_FILES)
@pytest.mark.parametrize("cc", COMPILERS)
def test_handler_files_need_only_what_is_safe(cc: str, source: str, tmp_path: Path) -> None:
    graph = call_graph(cc, "-O2", [SOURCE / source], tmp_path)
    callees = set().union(*graph.values()) - set(graph)
    rooms_below = ("pages_peek", "pages_page_size", "pmalloc_registry_")
    rooms_beside = tuple(f"pmalloc_{room}" for room in ROOMS)
    rooms_below += ("pages_poke", "pages_let_write", "pages_protect_again")
    if source == "fault_log.c":
        rooms_below += ("pages_map",)  # ahead, in pmalloc_log_ready()
    assert [n for n in callees - SAFE if not n.startswith(rooms_below + rooms_beside)] == []


@pytest.mark.parametrize("source", HANDLER_FILES)
def test_file_says_so(source: str) -> None:
    essay = (SOURCE / source).read_text().split("*/", 1)[0]
    assert "ASYNC-SIGNAL-SAFE" in essay


def test_the_list_is_complete() -> None:
    """A new fault_* file runs in the handler too, unless someone says why not."""
    assert sorted(path.name for path in SOURCE.glob("fault_*.c")) == HANDLER_FILES


@pytest.mark.parametrize("cc", COMPILERS)
def test_an_unsafe_call_is_found(cc: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.c"
    bad.write_text(
        "#include <stdio.h>\n"
        'static __attribute__((noinline)) void deep(int n) { printf("%d%d", n, n); }\n'
        f"void {HANDLER}(int n);\n"
        f"void {HANDLER}(int n) {{ deep(n); }}\n"
    )
    graph = call_graph(cc, "-O0", [bad], tmp_path)
    assert list(unsafe_ways(graph, HANDLER)) == [f"{HANDLER} -> bad:deep -> printf"]

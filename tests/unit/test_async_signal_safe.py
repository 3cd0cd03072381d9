"""What runs in the SIGSEGV handler calls nothing that takes a lock or memory.

Asked of the object files: compiled with a section for each function, their
relocations are the call graph. Everything that can be reached from the handler
ends in a function of the list below, or the test names the way that leads there.

Who takes a function's address is taken to call it. What is called through a pointer that came
from elsewhere no object file tells: those calls are listed one by one, and what the extension
puts into them, HOOKS, is walked as well.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sysconfig
import tempfile
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
    "fault_store.c",
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
CORE_FILES = [
    *sorted(CORE.glob("describe*.c")),
    CORE / "freeze_values.c",
    CORE / "violations.c",
    CORE / "cpython_layout_line.c",
]
HOOKS = {
    "describe": "describe:describe",
    "preheader": "describe:preheader",
    "path": "pm_path_write",
    "line": "pm_current_line",
    "notify": "pm_violations_notify",
}

# Functions that call through a pointer, and what that is.
INDIRECT = {
    # The hooks.
    "fault_json:put_object": "path",
    "fault_policy:count": "notify",
    "fault_policy:find_writer": "line",
    "fault_report:owner_of_header": "preheader",
    "pmalloc_report_what": "describe",
    "fault_report:write_path": "path",
    # An argument: who gives it takes its address, and is in the graph.
    "fault_room:moved": "work",
    "fault_store_x86:perform_lanes": "write",
    "fault_store_x86:perform_update": "write",
    "pm_text_flush": "flush",
    "pmalloc_fault_move_to": "work",
    "pmalloc_fault_with_room": "work",
    "pmalloc_store_perform": "write",
    "pmalloc_store_string_perform": "write",
    # Handlers that others had installed: theirs to answer for.
    "fault_signal:call": "a handler of SIGSEGV",
    "fault_step:call_below": "a handler of SIGTRAP",
    # Documented to be async-signal-safe.
    "fault_symbol:module_by_loader": "_dl_find_object",
    "pmalloc_symbol_unwind_index": "_dl_find_object",
}

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
    "PyErr_SetInterruptEx",  # documented as async-signal-safe; stores, and perhaps a write()
    "PyGILState_GetThisThreadState",  # reads a word of this thread's own
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


@functools.cache
def compiled(cc: str, level: str, source: Path) -> bytes:
    """The object file; of a copy with a change in it, too, that lies elsewhere."""
    includes = [source.parent, SOURCE, CORE, SOURCE.parents[1] / "include"]
    includes += [Path(sysconfig.get_path("include"))]
    flags = ["-std=c11", "-D_GNU_SOURCE", level, "-fPIC", "-ffunction-sections", "-fdata-sections"]
    flags += ["-fno-jump-tables", *(f"-I{folder}" for folder in includes)]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "it.o"
        run(cc, *flags, "-c", str(source), "-o", str(target))
        return target.read_bytes()


def asked(tool: str, *options: str, of: bytes) -> list[str]:
    """What a tool says of an object file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(of)
        file.flush()
        return run(tool, *options, file.name).splitlines()


@functools.cache
def file_graph(cc: str, level: str, source: Path) -> Graph:
    """Function -> functions it calls, or whose address it takes.

    A static function is known by "FILE:NAME", so that two of one name stay two. Functions that
    stand in a table may be called by every function of the file.
    """
    graph: Graph = {}
    made = compiled(cc, level, source)
    local, data = set[str](), set[str]()
    symbols = [tuple(line.split()[:2]) for line in asked("nm", "-P", of=made)]
    for name, kind in symbols:
        if kind == "t":
            local.add(name)
        elif kind not in "TUWw":
            data.add(name)

    def known(name: str) -> str:
        return f"{source.stem}:{name}" if name in local else name

    graph |= {known(name): set() for name, kind in symbols if kind in "tT"}
    caller, is_table, in_tables = None, False, set[str]()
    for line in asked("objdump", "-r", of=made):
        if header := re.match(r"RELOCATION RECORDS FOR \[(.+)\]", line):
            section = re.fullmatch(r"\.text\.(?:unlikely\.)?(.+)", header[1])
            # Compilers split a function: name.cold, name.part.0
            caller = known(section[1]) if section else None
            if caller:
                graph.setdefault(caller, set())
            is_table = bool(re.match(r"\.(data|rodata)\b", header[1]))
        elif entry := re.match(r"[0-9a-f]+ R_\S+\s+(\S+?)([+-]0x.*)?$", line):
            name = re.sub(r"^\.text\.(unlikely\.)?", "", entry[1])
            if name in data or name.startswith((".", "_GLOBAL_OFFSET_TABLE_")):
                continue
            if caller and not CPYTHON_DATA.fullmatch(name):
                graph[caller].add(known(name))
            elif not caller and is_table and known(name) in graph:
                in_tables.add(known(name))
    for callees in graph.values():
        callees |= in_tables
    return graph


def call_graph(cc: str, level: str, sources: list[Path]) -> Graph:
    return {name: to for source in sources for name, to in file_graph(cc, level, source).items()}


def ways(graph: Graph, start: str) -> Iterator[tuple[str, str]]:
    """Everything that can be reached from `start`, and a way there."""
    seen, todo = {start}, [(start, start)]
    while todo:
        name, way = todo.pop()
        yield name, way
        for callee in sorted(graph.get(name, ())):
            if callee not in seen:
                seen.add(callee)
                todo.append((callee, f"{way} -> {callee}"))


def reachable(graph: Graph, start: str) -> set[str]:
    return {name for name, _ in ways(graph, start)}


def unsafe_ways(graph: Graph, start: str) -> Iterator[str]:
    """Each way from `start` to a function that is neither in the graph nor safe."""
    return (way for name, way in ways(graph, start) if name not in graph and name not in SAFE)


LIBRARY = sorted(SOURCE.glob("*.c"))
STARTS = [*HANDLERS, *HOOKS.values()]


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("cc", COMPILERS)
def test_handler_reaches_only_what_is_safe(cc: str, level: str) -> None:
    graph = call_graph(cc, level, LIBRARY)
    for handler in HANDLERS:
        assert handler in graph
        assert list(unsafe_ways(graph, handler)) == []
    # The walk does see where the handler goes.
    callers = set().union(*graph.values())
    assert {"pages_peek", "pmalloc_registry_find", "pmalloc_refcount_skip"} <= callers


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("cc", COMPILERS)
def test_hooks_reach_only_what_is_safe(cc: str, level: str) -> None:
    graph = call_graph(cc, level, [*LIBRARY, *CORE_FILES])
    for hook in HOOKS.values():
        assert hook in graph
        assert list(unsafe_ways(graph, hook)) == []
    callers = set().union(*graph.values())
    assert {"pages_peek", "pmalloc_registry_chunk", "_PyUnicode_IsPrintable"} <= callers


def test_all_hooks_are_known() -> None:
    """Those the handler has room for, and what the extension gives it."""
    struct = (
        (SOURCE / "fault.h").read_text().split("struct pmalloc_fault_hooks {")[1].split("};")[0]
    )
    slots = re.findall(r"^  (?:pmalloc_\w+_fn (\w+)|\w+ \(\*(\w+)\)\(.*\));", struct, re.MULTILINE)
    assert {a or b for a, b in slots} == set(HOOKS)
    text = (CORE / "describe.c").read_text().split("struct pmalloc_fault_hooks hooks = {")[1]
    given = dict(re.findall(r"\.(\w+) = (\w+)", text.split("};")[0]))
    assert {slot: given[slot] for slot in HOOKS} == {
        slot: name.split(":")[-1] for slot, name in HOOKS.items()
    }


@pytest.mark.parametrize("cc", COMPILERS)
def test_calls_through_pointers_are_known(cc: str) -> None:
    sources = [*LIBRARY, *CORE_FILES]
    graph = call_graph(cc, "-O0", sources)
    reached = set().union(*(reachable(graph, start) for start in STARTS))
    calls: set[str] = set()
    for source in sources:
        made, caller = compiled(cc, "-O0", source), ""
        local = {n for n, kind, *_ in map(str.split, asked("nm", "-P", of=made)) if kind == "t"}
        for line in asked("objdump", "-d", "--no-show-raw-insn", of=made):
            if header := re.match(r"[0-9a-f]+ <(.+)>:$", line):
                caller = f"{source.stem}:{header[1]}" if header[1] in local else header[1]
            elif re.search(r"\t(callq? +\*|jmpq? +\*|blr\b|br\b)", line):
                calls.add(caller)
    assert sorted(calls & reached) == sorted(set(INDIRECT) & reached)
    assert {"fault_json:put_object", "pmalloc_fault_with_room", "pm_text_flush"} <= calls & reached


@pytest.mark.parametrize("source", HANDLER_FILES)
@pytest.mark.parametrize("cc", COMPILERS)
def test_handler_files_need_only_what_is_safe(cc: str, source: str) -> None:
    graph = call_graph(cc, "-O2", [SOURCE / source])
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
    elsewhere = {"fault_refusal.c"}  # called by who asks for a rare write, which no handler may
    found = {path.name for path in SOURCE.glob("fault_*.c")}
    assert sorted(found - elsewhere) == HANDLER_FILES


@pytest.mark.parametrize("cc", COMPILERS)
def test_an_unsafe_call_is_found(cc: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.c"
    bad.write_text(
        "#include <stdio.h>\n"
        'static __attribute__((noinline)) void deep(int n) { printf("%d%d", n, n); }\n'
        f"void {HANDLER}(int n);\n"
        f"void {HANDLER}(int n) {{ deep(n); }}\n"
    )
    graph = call_graph(cc, "-O0", [bad])
    assert list(unsafe_ways(graph, HANDLER)) == [f"{HANDLER} -> bad:deep -> printf"]


# A file of the handler, the start of a function in it, and who gets there.
SPOILED = [
    (SOURCE / "fault_signal.c", "static void answer(void *argument) {", HANDLER),
    (SOURCE / "fault_policy.c", "static int warn(struct pmalloc_violation *v) {", HANDLER),
    (SOURCE / "fault_json.c", "static const char *error_words(int error) {", HANDLER),
    (SOURCE / "fault_step.c", "static void finish(ucontext_t *uc) {", HANDLERS[1]),
    (SOURCE / "pages_ask.c", "int pages_peek(void *to, const void *from, size_t n) {", HANDLER),
    (CORE / "describe.c", "size_t preheader(uintptr_t start, size_t before, const char **part) {",
     HOOKS["preheader"]),
    (CORE / "describe.c", "void pm_text_char(struct pm_text *t, char c) {", HOOKS["path"]),
    (CORE / "violations.c", "void pm_violations_notify(void) {", HOOKS["notify"]),
    (CORE / "cpython_layout_line.c", "uintptr_t pm_current_line(void) {", HOOKS["line"]),
]  # fmt: skip
CALLS = {
    "malloc": "void *volatile it = __builtin_malloc(1); (void)it;",
    "puts": '__builtin_puts("spoiled");',
    "dlsym": 'extern void *dlsym(void *, const char *); (void)dlsym(0, "spoiled");',
}


@pytest.mark.parametrize("case", range(len(SPOILED)), ids=lambda n: f"{SPOILED[n][0].stem}-{n}")
def test_an_unsafe_call_in_ours_is_found(case: int, tmp_path: Path) -> None:
    """The same walk over the same files, of which one is spoiled."""
    source, function, start = SPOILED[case]
    call = [*CALLS][case % len(CALLS)]
    text = source.read_text()
    assert text.count(function) == 1
    spoiled = tmp_path / source.name
    spoiled.write_text(text.replace(function, f"{function} {{ {CALLS[call]} }}"))
    sources = [spoiled if s == source else s for s in [*LIBRARY, *CORE_FILES]]
    found = list(unsafe_ways(call_graph(COMPILERS[0], "-O0", sources), start))
    assert found and all(way.endswith(f" -> {call}") for way in found)

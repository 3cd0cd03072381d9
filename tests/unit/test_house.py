"""The rules of the house, as tests: who may call what, and what a file must say."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
LIB = sorted((SRC / "libpmalloc").glob("*.[ch]"))
CORE = sorted((SRC / "_core").glob("*.[ch]"))
PUBLIC = sorted((ROOT / "include").glob("**/*.h"))
PYTHON = sorted((SRC / "pmalloc").rglob("*.py*"))
PYTHON = [p for p in PYTHON if p.suffix in {".py", ".pyi"}]
HEADERS = [p for p in LIB + CORE if p.suffix == ".h"] + PUBLIC

# libpmalloc from the ground up: a file may use its own storey and those below. A pool and
# the registry that finds it read the same metadata, so they share one.
STOREYS = [
    {"status", "bitmap", "blocks", "siphash"},
    {"pages"},
    {"secret", "links"},
    {
        "registry",
        "cold",
        "chunk",
        "alloc",
        "region",
        "root",
        "pool",
        "section",
        "share",
        "redzone",
        "hardened",
        "beacon",
        "usercopy",
        "scan",
    },
    {"rare_write"},
    {"fault", "handlers"},
    {"api"},
]

# What asks the kernel for pages, or alters how they may be used.
PAGE_CALLS = re.compile(
    r"\b(mmap|mmap64|munmap|mremap|mprotect|pkey_mprotect|pkey_alloc|mseal|madvise|mlock|mlock2"
    r"|memfd_create|remap_file_pages|shmat|prctl|process_vm_readv|process_vm_writev"
    r"|__?NR_(?:mmap|munmap|mremap|mprotect|mseal|madvise|memfd_create|prctl|process_vm_\w+)"
    r"|SYS_(?:mmap|munmap|mremap|mprotect|mseal|madvise|memfd_create|prctl|process_vm_\w+))\b(?=\s*[(,)])"
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code(path: Path, *, strings: bool = False) -> str:
    """The C text without comments (and, unless asked for, without strings); lines kept."""
    kept_lines = lambda m: "\n" * m.group().count("\n")  # noqa: E731
    token = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''

    def replace(m: re.Match[str]) -> str:
        if m.group()[0] == "/":
            return " " + kept_lines(m)
        return m.group() if strings or m.group()[0] == "'" else '""'

    return re.sub(token, replace, path.read_text(), flags=re.DOTALL)


def found(pattern: str | re.Pattern[str], paths: list[Path], *, strings: bool = False) -> list[str]:
    hits = []
    for path in paths:
        for number, line in enumerate(code(path, strings=strings).splitlines(), 1):
            hits += [f"{name(path)}:{number}: {m.group()}" for m in re.finditer(pattern, line)]
    return hits


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', code(path, strings=True), re.MULTILINE)


def storey(filename: str) -> int | None:
    """`pool_alloc.c` lives where `pool` does; None for a name that has no place yet."""
    stem = Path(filename).stem
    for level, rooms in enumerate(STOREYS):
        if any(stem == room or stem.startswith(room + "_") for room in rooms):
            return level
    return None


def test_there_is_something_to_look_at():
    assert LIB and CORE and PYTHON


def test_only_pages_asks_the_kernel_for_pages():
    others = [p for p in LIB + CORE + PUBLIC if p.name != "pages.c"]
    assert found(PAGE_CALLS, others) == []


def test_libpmalloc_knows_nothing_of_python():
    assert found(r"\bPy[A-Z_]\w*|\bpycore_\w+", LIB) == []
    assert [name(p) for p in LIB if any("ython" in i for i in includes(p))] == []


def test_only_cpython_layout_knows_the_interpreters_internals():
    others = [
        p for p in LIB + CORE if not p.name.startswith(("cpython_layout", "cpython_instance"))
    ]
    assert found(r"Py_BUILD_CORE\w*|pycore_\w+", others, strings=True) == []


@pytest.mark.parametrize("path", LIB + CORE + PUBLIC + PYTHON, ids=name)
def test_no_file_is_long(path: Path):
    lines = len(path.read_text().splitlines())
    assert lines <= 600, f"{lines} lines: one concept a file, split it"


def test_libpmalloc_includes_only_itself():
    ours = {p.name for p in LIB} | {p.name for p in PUBLIC}
    core = {p.name for p in CORE} - ours
    assert [(name(p), i) for p in LIB for i in includes(p) if Path(i).name in core] == []


@pytest.mark.parametrize("path", LIB, ids=name)
def test_rooms_of_libpmalloc_depend_down_only(path: Path):
    here = storey(path.name)
    assert here is not None, f"give {path.name} its place in STOREYS"
    rooms = {p.name for p in LIB}
    above = [i for i in includes(path) if i in rooms and (storey(i) or 0) > here]
    assert above == [], f"{path.name} includes what lies above it"


def test_core_does_not_reach_up_into_the_package():
    up = r'PyImport_\w+\s*\(\s*"pmalloc(?!\._core")[\w.]*"'
    assert found(up, CORE, strings=True) == []


def test_the_package_touches_memory_through_core_only():
    """But for the attacks of `pmalloc doctor`, and its probes: children that die afterwards."""
    up = re.compile(r"^\s*(?:import|from)\s+(ctypes|mmap|cffi)\b", re.MULTILINE)
    attackers = {SRC / "pmalloc/cli/attacks", SRC / "pmalloc/cli/probes"}
    rest = [p for p in PYTHON if p.parent not in attackers]
    assert [(name(p), m.group(1)) for p in rest for m in up.finditer(p.read_text())] == []


def test_only_the_doctor_reaches_for_the_attacks():
    up = re.compile(r"^\s*(?:import|from)\s+\S*\battacks\b", re.MULTILINE)
    users = {p for p in PYTHON if up.search(p.read_text())}
    probes = {p for p in users if p.parent.name == "probes"}
    assert probes and [p.name for p in users - probes] == ["doctor.py"]


def paragraphs(path: Path) -> list[tuple[int, str]]:
    """Blocks of a header between blank lines; a comment never holds a break."""
    text = re.sub(
        r"/\*.*?\*/",
        lambda m: re.sub(r"\n[ \t]*(?=\n)", "\n *", m.group()),
        path.read_text(),
        flags=re.DOTALL,
    )
    result, start = [], 1
    for block in re.split(r"\n[ \t]*\n", text):
        result.append((start, block))
        start += block.count("\n") + 2
    return result


PROTOTYPE = re.compile(
    r"^(?!static|typedef|return|#|\s|else)[\w \t*]+?\**\b(\w+)\s*\([^;{}]*\)[^;{}]*;", re.MULTILINE
)


@pytest.mark.parametrize("path", HEADERS, ids=name)
def test_every_function_of_a_header_is_explained(path: Path):
    """A comment stands above a function, or above the group it stands in."""
    bare = []
    for line, block in paragraphs(path):
        plain = re.sub(r"/\*.*?\*/|//[^\n]*", "", block, flags=re.DOTALL)
        first = PROTOTYPE.search(plain)
        if first and not re.search(r"/\*|//", block):
            bare.append(f"{name(path)}:{line}: {first.group(1)}")
    assert bare == []


@pytest.mark.parametrize("path", LIB + CORE + PUBLIC, ids=name)
def test_every_c_file_says_what_it_is_for(path: Path):
    text = path.read_text()
    assert text.startswith("/*"), "open with what the file is for"
    assert "SPDX-License-Identifier: MIT" in text


def test_meson_lists_every_source():
    for folder, pattern in (("libpmalloc", "*.c"), ("_core", "*.c"), ("pmalloc", "*.py*")):
        listed = set(re.findall(r"'([\w/.]+\.\w+)'", (SRC / folder / "meson.build").read_text()))
        there = {
            str(p.relative_to(SRC / folder))
            for p in (SRC / folder).rglob(pattern)
            if p.suffix != ".pyc"
        }
        assert there - listed == set(), f"add to src/{folder}/meson.build"
        sources = {f for f in listed if Path(f).match(pattern)}
        assert {f for f in sources if not (SRC / folder / f).exists()} == set()

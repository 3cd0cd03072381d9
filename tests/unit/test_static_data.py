"""Static data of extensions: how they are linked, loaded, protected and unloaded."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from static_plugin import CC, COMPILERS, CXX, PLUGIN, build, child, fine, link_args, run

import pmalloc

pytestmark = pytest.mark.skipif(not COMPILERS, reason="needs a C compiler")

BEFORE_AND_AFTER = """
one = load({path!r})
assert states() == ["open", "open"], _core.sections()
(ro, path, kind, address, size, _, number), (_, _, other, *_, last) = _core.sections()
assert (kind, other, number, last) == ("ro", "wr", 1, 2) and path == {path!r}
assert address % 4096 == 0 and size % 4096 == 0
one.write_text(ord("x")); one.write_limit(7); one.write_shown(9)
assert one.set_limit(8) == 0 and one.get_limit() == 8
assert one.rare_text() == 16 and one.overrun() == 17
assert one.is_known() == 1
protect()
assert states() == ["protected"] * 2 and one.is_known() == 3
assert one.set_limit(9) == 0 and one.get_limit() == 9
assert one.rare_text() == 16 and one.overrun() == 17
assert one.ask(1) == 1 + ord("a") + ord("b")
one.write_neighbour(3)
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("plugin") / "libplugin.so")


def died(code: str, path: Path, **environment: str) -> str:
    """What is on stderr of a child that a violation ends."""
    done = child(f"one = load({str(path)!r})\n{code}", **environment)
    assert done.returncode == -signal.SIGSEGV, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stderr


# ---- linking -----------------------------------------------------------------

WAYS = {
    "plain": [],
    "sections": ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"],
    "now": ["-Wl,-z,relro", "-Wl,-z,now"],
    "norelro": ["-Wl,-z,norelro"],
    "lazy": ["-Wl,-z,lazy"],
    "noseparate": ["-Wl,-z,noseparate-code"],
    "pages": ["-Wl,-z,max-page-size=65536"],
    "huge": ["-Wl,-z,max-page-size=2097152"],
    "lto": ["-flto"],
    "hidden": ["-fvisibility=hidden"],
    "unoptimised": ["-O0"],
    "lld": ["-fuse-ld=lld"],
    "asneeded": ["-Wl,--as-needed"],
}


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("way", WAYS)
def test_ways_to_link(way: str, compiler: str, tmp_path: Path):
    if way == "lld" and not shutil.which("ld.lld"):
        pytest.skip("needs lld")
    if way == "lto" and compiler == "clang" and not shutil.which("ld.lld"):
        pytest.skip("clang's link-time optimisation needs lld")
    flags = WAYS[way] + (["-fuse-ld=lld"] if (way, compiler) == ("lto", "clang") else [])
    source = PLUGIN
    if way == "hidden":
        show = '__attribute__((visibility("default"))) '
        source = re.sub(r"(?m)^(?=(?:int|void|unsigned|const void \*) ?\w+\()", show, PLUGIN)
    path = build(tmp_path / "libplugin.so", *flags, compiler=compiler, source=source)
    fine(BEFORE_AND_AFTER.format(path=str(path)))


@pytest.mark.skipif(not CXX, reason="needs a C++ compiler")
def test_cpp(tmp_path: Path):
    path = build(tmp_path / "libplugin.so", "-std=c++17", compiler=CXX, suffix=".cpp")
    fine(BEFORE_AND_AFTER.format(path=str(path)))


@pytest.mark.skipif(not CXX, reason="needs a C++ compiler")
def test_names_of_cpp(tmp_path: Path):
    source = """
        #include <pmalloc.h>
        namespace { int hidden __ro_after_init; }
        namespace router { struct table { static int rows; }; int table::rows __ro_after_init; }
        extern "C" void *where_text(void) { return &hidden; }
        extern "C" int fits(unsigned long) { return 0; }
        extern "C" void write_hidden(void) { hidden = 1; }
        extern "C" void write_rows(void) { router::table::rows = 1; }
    """
    path = build(tmp_path / "libnames.so", source=source, compiler=CXX, suffix=".cpp")
    assert "symbol '(anonymous namespace)::hidden' at" in died(
        "protect(); one.write_hidden()", path
    )
    assert "symbol 'router::table::rows' at" in died("protect(); one.write_rows()", path)


PROGRAM = r"""
#include <pmalloc_rare_write.h>
#include <stdio.h>
#include <string.h>
static const char *words[2] __ro_after_init = {"one", "two"};
static unsigned limit __wr_after_init = 1;
int main(int argc, char **argv) {
  (void)argv;
  words[1] = "three";
  if (pmalloc_mark_rodata_ro() != PMALLOC_OK || !pmalloc_is_protected(words) ||
      rare_write(wr_static(limit), 5) != 5 || strcmp(words[1], "three") != 0 ||
      pmalloc_check_object_size(words, sizeof words) != PMALLOC_BOUNDS_GOOD ||
      pmalloc_check_object_size(&limit, sizeof limit + 1) != PMALLOC_BOUNDS_BAD)
    return 1;
  if (argc > 1)
    words[0] = "four";
  return 0;
}
"""
KINDS = {
    "pie": ["-pie"],
    "no-pie": ["-no-pie"],
    "static": ["-static"],
    "static-pie": ["-static-pie"],
    "gc": ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"],
    "shared library": [],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_programs(kind: str, tmp_path: Path):
    folder, _, script = link_args()
    library = Path(folder.removeprefix("-L"))
    if kind == "shared library":
        flags = [folder, "-lpmalloc", f"-Wl,-rpath,{library}"]
    else:
        flags = [str(library / "static" / "libpmalloc.a"), "-lpthread"]
    (tmp_path / "program.c").write_text(PROGRAM)
    run(CC, "-O2", f"-I{pmalloc.get_include()}", tmp_path / "program.c", "-o",
        tmp_path / "program", *KINDS[kind], *flags, script)  # fmt: skip
    run(tmp_path / "program")
    crime = subprocess.run([tmp_path / "program", "crime"], capture_output=True, text=True)
    assert crime.returncode == -signal.SIGSEGV
    assert re.search(r"object       symbol 'words' at 0x\w+ \+ 0 \(size 16\)", crime.stderr)


def test_without_the_script(tmp_path: Path):
    """It links and runs, and is refused when it is to be protected: nothing became read-only."""
    path = build(tmp_path / "libplugin.so", script=False)
    told = fine(
        f"""
one = load({str(path)!r})
assert states() == ["refused"] * 2
for number, *_ in _core.sections():
    try:
        _core.protect_section(number)
    except pmalloc.PmallocError as error:
        print(type(error).__name__, error)
one.write_text(3); one.write_limit(4); one.write_neighbour(5)
assert one.end_init() == one.end_all() == 20 and one.set_limit(4) == 16 and one.is_known() == 0
"""
    )
    lines = told.splitlines()
    assert len(lines) == 2
    for line, attribute in zip(lines, ["__ro_after_init", "__wr_after_init"], strict=True):
        assert re.fullmatch(
            rf"PmallocError cannot protect {re.escape(str(path))}: its {attribute} data "
            r"\(\d+ bytes at 0x\w+\) share their first page with \d+ bytes of other data and their "
            r"last with \d+, which would become read-only too; link it with pmalloc's linker "
            r"script: -Wl,-T,pmalloc\.ld, or pmalloc\.get_link_args\(\)",
            line,
        ), line


def test_header_without_static_data(tmp_path: Path):
    """Who only includes the header is not known, whether linked with the script or not."""
    source = (
        "#include <pmalloc.h>\nvoid *where_text(void) { return 0; }\n"
        "int fits(unsigned long n) { return (int)n; }\n"
    )
    for script in (True, False):
        path = build(tmp_path / f"lib{script}.so", source=source, script=script)
        fine(f"load({str(path)!r})\nassert states() == []\nprotect()")


def test_header_without_the_library(tmp_path: Path):
    """Who says that he has none needs no library to include the header."""
    (tmp_path / "a.c").write_text(
        "#define PMALLOC_NO_STATIC_DATA\n#include <pmalloc.h>\n"
        "int main(void) { return PMALLOC_OK; }\n"
    )
    run(CC, f"-I{pmalloc.get_include()}", tmp_path / "a.c", "-o", tmp_path / "a")


def test_several_source_files_are_one_object(tmp_path: Path):
    """Each has the constructor; the object is made known once, with the data of all."""
    other = tmp_path / "other.c"
    other.write_text(
        "#include <pmalloc.h>\nstatic long more[100] __ro_after_init;\n"
        "long get(int i) { return more[i]; }\nvoid set(int i, long n) { more[i] = n; }\n"
    )
    path = build(tmp_path / "libplugin.so", str(other))
    fine(f"one = load({str(path)!r})\none.set(99, 3)\nassert len(states()) == 2\nprotect()")
    report = died("protect(); one.set(99, 3)", path)
    assert re.search(r"symbol 'more' at 0x\w+ \+ 792 \(size 800\)", report)


def test_a_constant_does_not_compile(tmp_path: Path):
    (tmp_path / "a.c").write_text(
        "#include <pmalloc.h>\nstatic const int never __ro_after_init = 1;\n"
        "static int ever __ro_after_init;\nint f(void) { return never + ever++; }\n"
        "const int *g(void) { return &never; }\n"
    )
    done = subprocess.run(
        [CC, f"-I{pmalloc.get_include()}", "-c", tmp_path / "a.c", "-o", tmp_path / "a.o"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "section" in done.stderr


# ---- names -------------------------------------------------------------------


def test_symbol_in_the_report(plugin: Path, tmp_path: Path):
    report = died("protect(); one.write_text(1)", plugin, PMALLOC_REPORT_DIR=str(tmp_path))
    for line in (
        r"pmalloc: write to protected static data 'libplugin\.so, __ro_after_init'",
        r"  address      0x\w+ \(static data 'libplugin\.so, __ro_after_init', offset 0x\w+\)",
        r"  object       symbol 'text' at 0x\w+ \+ 5 \(size 24\)",
        r"  created      .*/libplugin\.so at .* UTC",
        r"  extension    libplugin\.so",
        r'  File "<string>", line \d+ in <module>',
    ):
        assert re.search(rf"^{line}$", report, re.MULTILINE), line
    [file] = tmp_path.glob("*.json")
    facts = json.loads(file.read_bytes())
    assert facts["object"]["symbol"] == "text" and facts["object"]["what"] == "symbol 'text'"
    assert facts["object"]["size"] == 24 and facts["object"]["offset"] == 5
    assert facts["pool"]["static"] is True and facts["path"] is None
    from pmalloc.cli.explain import _object_line, _pool_line

    assert _object_line(facts).startswith("symbol 'text' at 0x")
    assert _pool_line(facts) in report


def test_stripped(plugin: Path, tmp_path: Path):
    """What is exported keeps its name; of all else only where it may lie is known."""
    path = tmp_path / "libstripped.so"
    run("strip", plugin, "-o", path)
    report = died("protect(); one.write_text(1)", path)
    assert re.search(
        r"^  object       unnamed data at 0x\w+ \+ \d+ \(size 4096\)$", report, re.MULTILINE
    )
    assert "symbol 'shown' at" in died("protect(); one.write_shown(1)", path)
    fine(
        f"""
one = load({str(path)!r})
assert one.fits(24) == one.fits(25) == 1 and one.fits(100000) == 2
assert one.set_limit(3) == 0 and one.set_shown(4) == 0
protect()
assert one.set_limit(5) == 0 and one.get_limit() == 5 and one.rare_text() == 16
"""
    )


def test_bounds(plugin: Path):
    fine(
        f"""
one = load({str(plugin)!r})
assert [one.fits(n) for n in (0, 1, 24, 25)] == [1, 1, 1, 2]
protect()
assert [one.fits(n) for n in (0, 1, 24, 25)] == [1, 1, 1, 2]
"""
    )


def test_a_file_that_was_replaced_names_nothing(tmp_path: Path):
    """Its variables would lie elsewhere: as if it were stripped."""
    path = tmp_path / "libplugin.so"
    other = build(tmp_path / "other.so", source="int pad[7];\n" + PLUGIN)
    # A constructor that runs before pmalloc's replaces the file that is being loaded.
    early = build(
        tmp_path / "libearly.so",
        source="#include <stdio.h>\n__attribute__((constructor)) static void swap(void) {\n"
        f'  rename("{other}", "{path}");\n}}\n',
    )
    build(path, "-Wl,--no-as-needed", str(early))
    report = died("protect(); one.write_text(1)", path)
    assert not other.exists()
    assert re.search(
        r"^  object       unnamed data at 0x\w+ \+ \d+ \(size 4096\)$", report, re.MULTILINE
    )


# ---- life --------------------------------------------------------------------


def test_loaded_after_the_end(plugin: Path, tmp_path: Path):
    late = tmp_path / "liblate.so"
    shutil.copy(plugin, late)
    fine(
        f"""
one = load({str(plugin)!r})
assert one.end_all() == 0 and states() == ["protected"] * 2
two = load({str(late)!r})
assert states() == ["protected"] * 2 + ["open"] * 2
two.write_text(3)
assert two.end_init() == 0 and states() == ["protected"] * 4
assert two.end_init() == 0 and one.end_all() == 0
try:
    _core.protect_section(_core.sections()[0][0])
except pmalloc.ProtectedError as error:
    print(error)
"""
    )
    report = died(f"one.end_all(); two = load({str(late)!r}); two.end_init(); two.write_text(1)",
                  plugin)  # fmt: skip
    assert "static data 'liblate.so, __ro_after_init'" in report
    assert re.search(r"^  protected    \S+\+0x\w+ .*at .* UTC$", report, re.MULTILINE)


def test_unloaded(plugin: Path):
    """dlclose() of open and of protected data, and the same library again at the same place."""
    fine(
        f"""
places = set()
for round in range(30):
    one = load({str(plugin)!r})
    places.add(one.where_text())
    assert states() == ["open"] * 2
    one.write_text(round)
    numbers = [section[6] for section in _core.sections()]
    assert numbers == [2 * round + 1, 2 * round + 2]
    if round % 3:
        protect()
    at = one.where_text()
    unload(one)
    assert states() == []
    del one
assert len(places) < 30  # it did come back to where it was
try:
    _core.protect_section(1)
except ValueError as error:
    assert "unloaded" in str(error)
else:
    raise SystemExit("protected what is not there")
"""
    )


def test_what_comes_after_dlclose_is_no_violation_of_ours(plugin: Path):
    """The addresses are the kernel's again: a fault there is an ordinary one."""
    report = died("protect(); at = one.where_text(); unload(one); ctypes.memset(at, 1, 1)", plugin)
    assert "pmalloc" not in report


DESTRUCTOR = (
    PLUGIN
    + """
__attribute__((destructor)) static void goodbye(void) { text[0] = 'x'; }
"""
)


@pytest.mark.parametrize("end", ["unload(one)", "sys.exit(0)"])
def test_a_destructor_that_writes(end: str, tmp_path: Path):
    """At dlclose() and at exit alike: it comes before the data is unknown, and is reported."""
    path = build(tmp_path / "libplugin.so", source=DESTRUCTOR)
    report = died(f"protect(); {end}", path)
    assert "symbol 'text' at" in report
    fine(f"one = load({str(path)!r})\n{end}")


def test_fork(plugin: Path):
    fine(
        f"""
one = load({str(plugin)!r})
if (child := os.fork()) == 0:  # before the end: its own
    one.write_limit(5)
    protect()
    os._exit(0 if states() == ["protected"] * 2 and one.set_limit(6) == 0 else 1)
assert os.waitpid(child, 0)[1] == 0 and one.get_limit() == 100 and states() == ["open"] * 2
protect()
if (child := os.fork()) == 0:
    os._exit(0 if one.is_known() == 3 and one.set_limit(6) == 0 and one.get_limit() == 6 else 1)
assert os.waitpid(child, 0)[1] == 0 and one.get_limit() == 100
if (child := os.fork()) == 0:
    os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
    one.write_limit(6)
    os._exit(0)
assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 11
"""
    )


# ---- policies ----------------------------------------------------------------


def test_off(plugin: Path):
    fine(
        f"""
one = load({str(plugin)!r})
protect()
assert states() == ["protected"] * 2 and one.is_known() == 1
one.write_text(3); one.write_limit(4)
assert one.set_limit(5) == 0 and one.get_limit() == 5 and one.rare_text() == 16
""",
        PMALLOC_RODATA="off",
    )


@pytest.mark.parametrize("policy", ["warn", "audit"])
def test_policies_that_go_on(policy: str, plugin: Path):
    done = child(
        f"""
one = load({str(plugin)!r})
protect()
for n in range(3):
    one.write_limit(n)
assert one.get_limit() == 2
[violation] = pmalloc.violations()[:1]
print(violation)
assert one.set_limit(7) == 0 and one.get_limit() == 7
unload(one)
""",
        PMALLOC_RODATA=policy,
    )
    assert done.returncode == 0, done.stderr
    assert "symbol 'limit' at" in done.stderr and f"policy       {policy}" in done.stderr
    assert "limit" in done.stdout


# ---- from outside ------------------------------------------------------------


def test_maps(plugin: Path):
    pytest.importorskip("typer")
    told = fine(
        f"""
import json, subprocess
one = load({str(plugin)!r})
def look():
    command = [sys.executable, "-m", "pmalloc", "maps", "--json", str(os.getpid())]
    seen = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return [p for p in seen["processes"][0]["pools"] if "after_init" in p["name"]]
ro, wr = look()
assert ro["name"] == "libplugin.so, __ro_after_init" and ro["state"] == "open"
assert wr["mode"] == "wr" and wr["chunks"][0]["kind"] == "static"
protect()
ro, wr = look()
assert ro["state"] == "protected" and ro["chunks"][0]["mode"] == "r--p" and not ro["problems"]
for pool in ro, wr:
    for symbol in pool["chunks"][0]["symbols"]:
        print(symbol["name"], symbol["bytes"], symbol["address"] - pool["chunks"][0]["address"])
unload(one)
assert look() == []
"""
    )
    assert {line.split()[0]: int(line.split()[1]) for line in told.splitlines()} == {
        "hooks": 16,
        "text": 24,
        "limit": 4,
        "shown": 12,
    }

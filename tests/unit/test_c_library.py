"""The C library for others: its header, what it exports, and programs and extensions built on it.

They are built here, against the pmalloc that is being tested. A pmalloc that was put together
without its library (all of it in one _core, as quick builds are) can't take part in most of this;
one that was installed must.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import pmalloc

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "pmalloc.h"
HEADERS = sorted(p.name for p in HEADER.parent.iterdir())
PAGE = ROOT / "docs" / "c-api.md"
EXAMPLES = ROOT / "examples"
PACKAGE = Path(pmalloc.__file__).resolve().parent
CORE = Path(sys.modules["pmalloc._core"].__file__ or "")

COMPILERS = [cc for cc in ("gcc", "clang") if shutil.which(cc)]
CXX = [cc for cc in ("g++", "clang++") if shutil.which(cc)]
CC = COMPILERS[0] if COMPILERS else ""

pytestmark = pytest.mark.skipif(not COMPILERS, reason="needs a C compiler")

sys.path.insert(0, str(ROOT / "tools"))
import c_api_reference  # noqa: E402

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror"]


def run(*command: str | Path, status: int | None = 0, **more) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=300, **more
    )
    told = f"{command}\nexit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert status is None or done.returncode == status, told
    return done


def installed_by_pip() -> bool:
    """Whether the pmalloc that is imported here is one that an installer put there."""
    for found in importlib.metadata.distributions(name="pmalloc"):
        if Path(str(found.locate_file("pmalloc"))).resolve() == PACKAGE:
            return True
    return False


@pytest.fixture(scope="module")
def library() -> Path:
    """The folder of the library, as get_library_dir() says."""
    try:
        return Path(pmalloc.get_library_dir())
    except FileNotFoundError:
        assert not installed_by_pip(), "pmalloc was installed without its C library"
        pytest.skip("this pmalloc is one file, without its C library")


def exported(path: Path) -> dict[str, str]:
    """Every symbol that a shared library defines, with its version."""
    symbols = {}
    for line in run("nm", "-D", "--defined-only", "--with-symbol-versions", path).stdout.split(
        "\n"
    ):
        if line:
            name, _, version = line.split()[-1].partition("@")
            symbols[name] = version.strip("@")
    return symbols


def dynamic(path: Path) -> list[tuple[str, str]]:
    """The dynamic section: pairs of a tag and what it says."""
    rows = re.findall(r"\((\w+)\)\s+(.*)", run("readelf", "-dW", path).stdout)
    return [(tag, re.sub(r".*\[(.*)\]", r"\1", text)) for tag, text in rows]


# ---- the header --------------------------------------------------------------


@pytest.mark.parametrize("standard", ["c11", "c17", "c++17", "c++20"])
def test_header_compiles_without_a_warning(standard: str, tmp_path: Path):
    kind = "c++" if "+" in standard else "c"
    compilers = COMPILERS if kind == "c" else CXX
    if not compilers:
        pytest.skip("needs a C++ compiler")
    source = tmp_path / ("a." + kind.replace("+", "p"))
    source.write_text(
        "#include <pmalloc.h>\n#include <pmalloc.h>\n"
        "extern struct pmalloc_pool_options options;\n"
        "struct pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;\n"
        "#if PMALLOC_VERSION < 0x000100\n#error a number, for #if\n#endif\n"
    )
    for compiler in compilers:
        extra = ["-Wstrict-prototypes", "-Wmissing-prototypes"] if kind == "c" else []
        run(compiler, f"-std={standard}", *WARNINGS, *extra, "-Wmissing-field-initializers",
            f"-I{HEADER.parent}", "-fsyntax-only", source)  # fmt: skip


# Every form, in C and C++: one within another's argument, packed, generic.
RARE_FORMS = """
#include <pmalloc_rare_write.h>
#include <pmalloc_rare_write.h>
#ifdef __cplusplus
#define BOOL bool
#else
#define BOOL _Bool
#endif
enum colour { red, blue };
struct three { int a, b, c; };
struct node {
  struct node *__wr_rare_type next;
  const char *__wr_rare_type name;
  void (*__wr_rare_type call)(int);
  __wr_rare_type unsigned char byte;
  __wr_rare_type BOOL yes;
  __wr_rare_type enum colour colour;
  __wr_rare_type int count;
  __wr_rare_type double real;
  __wr_rare_type struct three three;
  __wr_rare_type char text[40];
  struct pmalloc_published published;
};
struct __attribute__((packed)) tight {
  char front;
  __wr_rare_type int four;
};
struct limits { int rate; };
static void called(int n) { (void)n; }
int all(struct node *n, struct tight *t, __wr_rare_type struct limits *l, __wr_rare_type int *p);
int all(struct node *n, struct tight *t, __wr_rare_type struct limits *l, __wr_rare_type int *p) {
  const struct three three = {1, 2, 3};
  int i = 0, sum = 0;
  rare_write(n->count, 1);
  sum += rare_write(n->count, rare_write(n->byte, 2)) + rare_write(p[i++], 3);
  sum += (int)rare_write(n->real, 0.5) + rare_write(n->yes, 1) + rare_write(t->four, 1);
  sum += rare_write(n->colour, blue) == blue;
  wr_assign(n->three, three);
  wr_ptr(n->next, NULL);
  wr_ptr(n->next, n);
  wr_ptr(n->name, "text");
  wr_ptr(n->call, called);
  sum += wr_add(n->count, wr_inc(n->byte)) != PMALLOC_OK;
  sum += wr_sub(n->count, 2u) != PMALLOC_OK || wr_dec(t->four) != PMALLOC_OK;
  wr_memcpy(n->text, "forty", 6);
  wr_memset(n->text, 0, sizeof n->text);
  wr_twin(struct limits) twin;
  if (wr_twin_copy_out(twin, l) == PMALLOC_OK) {
    twin.edit.rate = 3;
    wr_twin_publish(twin);
  }
  wr_publish(&n->published, n);
  return sum + (pmalloc_published_get(&n->published) == n);
}
#ifdef __cplusplus
template <typename T> int generic(const T &at, T value) {
  return wr_assign(at, value) + (rare_write(at, value) == value) + wr_add(at, 1);
}
template int generic<int>(const int &, int);
#endif
"""


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("standard", ["c11", "c17", "c++11", "c++17", "c++20"])
def test_rare_write_forms_compile_without_a_warning(standard: str, level: str, tmp_path: Path):
    kind = "c++" if "+" in standard else "c"
    compilers = COMPILERS if kind == "c" else CXX
    if not compilers:
        pytest.skip("needs a C++ compiler")
    source = tmp_path / ("a." + kind.replace("+", "p"))
    source.write_text(RARE_FORMS)
    for compiler in compilers:
        run(compiler, f"-std={standard}", *WARNINGS, level, f"-I{HEADER.parent}",
            "-c", source, "-o", tmp_path / "a.o")  # fmt: skip


def test_version_is_the_projects():
    numbers = re.findall(r"#define PMALLOC_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", HEADER.read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert ".".join(numbers) == project["version"] == pmalloc.__version__


def test_statuses_are_documented_with_their_errno():
    """The header's list, the page's table and the code say the same."""
    listed = re.compile(r"^  (PMALLOC_(?:OK|ERR_\w+)) = \d+,? +/\* (.*?)[ :]", re.MULTILINE)
    header = dict(listed.findall(HEADER.read_text()))
    table = dict(
        re.findall(r"^\| `(PMALLOC_(?:OK|ERR_\w+))` \| *(.*?) *\|", PAGE.read_text(), re.MULTILINE)
    )
    assert header.keys() == table.keys() and len(header) > 7
    code = (ROOT / "src" / "libpmalloc" / "status.c").read_text()
    for status, said in header.items():
        if said.startswith("E"):
            assert table[status] == f"`{said}`"
            assert re.search(rf"case {status}:\n    return {said};", code), status
        else:
            assert table[status] == {"done": "", "kernel's": "the kernel's"}[said], status


def test_every_function_is_documented():
    functions = c_api_reference.functions()
    assert len(functions) >= 28
    page = PAGE.read_text()
    for name, prototype in functions.items():
        assert f"#### {name}\n\n```c\n{prototype}\n```\n" in page, name
    run(sys.executable, ROOT / "tools" / "c_api_reference.py", "--check")


def test_public_symbols_are_the_headers():
    listed = (ROOT / "src" / "libpmalloc" / "public.symbols").read_text().split()
    assert listed == sorted(c_api_reference.functions())


# ---- what is installed -------------------------------------------------------


def test_get_include(library: Path):
    folder = Path(pmalloc.get_include())
    assert folder.is_absolute() and sorted(p.name for p in folder.iterdir()) == HEADERS
    assert HEADERS == [
        "pmalloc.h",
        "pmalloc.ld",
        "pmalloc_rare_write.h",
        "pmalloc_static.h",
    ]
    for name in HEADERS:
        assert (folder / name).read_text() == (HEADER.parent / name).read_text()


def test_where_there_is_no_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("pmalloc._library._PACKAGE", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no pmalloc\.h in .*install pmalloc"):
        pmalloc.get_include()
    with pytest.raises(
        FileNotFoundError, match=r"there is no libpmalloc\.so\.0 in .*install pmalloc"
    ):
        pmalloc.get_library_dir()


def test_library_exports_its_api_and_nothing_else(library: Path):
    symbols = exported(library / "libpmalloc.so.0")
    public = {name for name, version in symbols.items() if version == "PMALLOC_0.1"}
    assert public - {"PMALLOC_0.1"} == set(c_api_reference.functions())
    private = f"PMALLOC_PRIVATE_{pmalloc.__version__}"
    others = {name: version for name, version in symbols.items() if name not in public}
    assert set(others.values()) - {private} <= {""}, "one of no version"
    assert {n for n in others if not re.match(r"pmalloc_|pages_|PMALLOC_", n)} == set()


def test_library_is_bound_when_it_is_loaded(library: Path):
    """A violation is reported by code that may not ask the loader for anything."""
    tags = dynamic(library / "libpmalloc.so.0")
    assert ("SONAME", "libpmalloc.so.0") in tags
    assert any("NOW" in text for tag, text in tags if tag in {"FLAGS", "FLAGS_1"})
    assert not [text for tag, text in tags if tag in {"TEXTREL", "RPATH", "RUNPATH"}]
    needed = {text for tag, text in tags if tag == "NEEDED"}
    assert needed <= {"libc.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-aarch64.so.1"}


def test_core_uses_the_library_that_lies_beside_it(library: Path):
    tags = dynamic(CORE)
    assert ("NEEDED", "libpmalloc.so.0") in tags and ("RUNPATH", "$ORIGIN/lib") in tags
    assert set(exported(CORE)) == {"PyInit__core"}


def test_static_library_defines_nothing_else(library: Path):
    lines = run("nm", "-g", "--defined-only", library / "static" / "libpmalloc.a").stdout
    assert set(re.findall(r" \w (\w+)$", lines, re.MULTILINE)) == set(c_api_reference.functions())


# ---- programs ----------------------------------------------------------------


def report_of(program: str, pool: str = "policy") -> re.Pattern[str]:
    return re.compile(
        rf"pmalloc: write to protected pool '{pool}'\n"
        rf"  address      0x\w+ \(pool '{pool}', chunk 0, offset 0x\w+\)\n"
        rf"  object       allocation at 0x\w+ \+ \d+ \(size \d+\)\n"
        rf"  thread       .*\n"
        rf"  instruction  0x\w+ {program}.*\n"
        rf"  policy       oops\n"
        rf"  store        \w+, \d+ bytes: [0-9a-f ]+ -> [0-9a-f ]+\n"
        rf"  created      .* at [0-9: -]+ UTC\n"
        rf"  protected    .* at [0-9: -]+ UTC\n"
        rf"  code         [0-9a-f ]+\n"
        rf"(  extension    {program}.*\n)?"
        rf"  native stack\n(    0x\w+ .*\n)+"
    )


def check_policy(program: Path) -> None:
    """The C example answers, and shows what becomes of a store."""
    rules = EXAMPLES / "c" / "policy.txt"
    for user, action, answer in [
        ("ada", "drop", "allowed"),
        ("grace", "deploy", "allowed"),
        ("grace", "drop", "denied"),
        ("linus", "ping", "allowed"),
        ("linus", "read", "denied"),
    ]:
        done = run(program, rules, user, action, status=int(answer == "denied"))
        assert done.stdout == f"{answer}\n" and done.stderr == ""
    attacked = run(program, rules, "--attack")
    assert attacked.stdout == "the child was killed: Segmentation fault\nrule 0 is for: ada\n"
    assert report_of("policy").fullmatch(attacked.stderr), attacked.stderr
    missing = run(program, rules.parent / "none", "ada", "drop", status=2)
    assert missing.stderr.endswith("none: No such file or directory\n")


def check_reload(program: Path) -> None:
    """The other one: what was read while it changed, and a store that is refused."""
    told = "version 101 after 101 reloads, 0 wrong answers\n"
    assert run(program).stdout == told
    attacked = run(program, "--attack")
    assert attacked.stdout == told + "the child was killed: Segmentation fault; enabled: 1\n"
    assert report_of("reload", "limits").fullmatch(attacked.stderr), attacked.stderr


def test_c_example_by_its_makefile(library: Path, tmp_path: Path):
    if not shutil.which("make"):
        pytest.skip("needs make")
    shutil.copytree(EXAMPLES / "c", tmp_path / "c")
    paths = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    run("make", f"PYTHON={sys.executable}", f"CC={CC}", "CFLAGS=-O2 -g -Wall -Wextra -Werror",
        cwd=tmp_path / "c", env={**os.environ, "PYTHONPATH": paths})  # fmt: skip
    check_policy(tmp_path / "c" / "policy")
    check_reload(tmp_path / "c" / "reload")


@pytest.mark.parametrize("cc", COMPILERS)
def test_c_example_with_the_static_library(cc: str, library: Path, tmp_path: Path):
    """In a program that has names of its own which the library uses inside."""
    own = tmp_path / "own.c"
    own.write_text(
        "int pages_map(void);\nint pages_map(void) { __builtin_trap(); }\n"
        "int pmalloc_pool_alloc(void);\nint pmalloc_pool_alloc(void) { __builtin_trap(); }\n"
    )
    run(cc, "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror",
        f"-I{pmalloc.get_include()}", EXAMPLES / "c" / "policy.c", own,
        library / "static" / "libpmalloc.a", "-pthread", "-o", tmp_path / "policy")  # fmt: skip
    check_policy(tmp_path / "policy")


@pytest.mark.parametrize("cxx", CXX)
def test_a_program_in_cpp(cxx: str, library: Path, tmp_path: Path):
    source = tmp_path / "a.cpp"
    source.write_text(
        """
        #include <pmalloc.h>
        #include <cstdio>
        #include <new>
        struct Limits { int requests = 100; };
        int main() {
          pmalloc_pool *pool = pmalloc_create_pool("limits", nullptr);
          if (!pool) return 1;
          void *room = pmalloc(pool, sizeof(Limits));
          Limits *limits = new (room) Limits;
          if (pmalloc_protect_pool(pool) != PMALLOC_OK) return 2;
          std::printf("%d %d\\n", limits->requests, pmalloc_is_protected(limits));
          return pmalloc_protect_pool(pool) == PMALLOC_ERR_PROTECTED ? 0 : 3;
        }
        """
    )
    run(cxx, "-std=c++17", *WARNINGS, f"-I{pmalloc.get_include()}", source, f"-L{library}",
        "-lpmalloc", f"-Wl,-rpath,{library}", "-o", tmp_path / "a")  # fmt: skip
    assert run(tmp_path / "a").stdout == "100 1\n"


@pytest.mark.parametrize("cxx", CXX)
def test_rare_writes_in_cpp(cxx: str, library: Path, tmp_path: Path):
    source = tmp_path / "a.cpp"
    source.write_text(
        """
        #include <pmalloc_rare_write.h>
        #include <cstdio>
        struct Limits { __wr_rare_type int rate; __wr_rare_type unsigned hits; };
        struct Plain { int a, b; };
        template <typename T> bool set(const T &at, T value) {
          return rare_write(at, value) == value;
        }
        int main() {
          pmalloc_pool_options options = PMALLOC_POOL_OPTIONS_INIT;
          options.mode = PMALLOC_MODE_WR;
          pmalloc_pool *pool = pmalloc_create_pool("limits", &options);
          if (!pool) return 1;
          auto *limits = static_cast<Limits *>(pzalloc(pool, sizeof(Limits)));
          auto *plain = static_cast<__wr_rare_type Plain *>(pzalloc(pool, sizeof(Plain)));
          if (pmalloc_protect_pool(pool) != PMALLOC_OK) return 2;
          if (!set(limits->rate, -5) || rare_write(limits->rate, limits->rate * 2) != -10) return 3;
          if (wr_dec(limits->hits) != PMALLOC_OK || limits->hits != ~0u) return 4;
          wr_twin(Plain) twin;
          if (wr_twin_copy_out(twin, plain) != PMALLOC_OK) return 5;
          twin.edit.b = 7;
          if (wr_twin_publish(twin) != PMALLOC_OK) return 6;
          if (wr_assign(*plain, (Plain{1, plain->b})) != PMALLOC_OK) return 7;
          std::printf("%d %u %d %d\\n", limits->rate, limits->hits, plain->a, plain->b);
          return pmalloc_mechanism_of(pool) == PMALLOC_BY_NONE;
        }
        """
    )
    run(cxx, "-std=c++17", *WARNINGS, f"-I{pmalloc.get_include()}", source, f"-L{library}",
        "-lpmalloc", f"-Wl,-rpath,{library}", "-o", tmp_path / "a")  # fmt: skip
    assert run(tmp_path / "a").stdout == "-10 4294967295 1 7\n"


def test_samples_of_the_page(library: Path, tmp_path: Path):
    """A C sample that says /* runs */ does, and prints the text below it."""
    sample = re.compile(r"```c\n/\* runs \*/\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
    samples = sample.findall(PAGE.read_text())
    assert samples
    for source, text in samples:
        (tmp_path / "a.c").write_text(source)
        run(CC, "-std=c11", *WARNINGS, f"-I{pmalloc.get_include()}", tmp_path / "a.c",
            f"-L{library}", "-lpmalloc", f"-Wl,-rpath,{library}", "-o", tmp_path / "a")  # fmt: skip
        done = run(tmp_path / "a", stdin=subprocess.DEVNULL)
        assert sorted((done.stdout + done.stderr).splitlines()) == sorted(text.splitlines())


def meson() -> list[str]:
    beside = Path(sys.executable).parent / "meson"
    found = str(beside) if beside.exists() else shutil.which("meson")
    if not found:
        pytest.skip("needs meson")
    return [found]


@pytest.fixture
def with_tools() -> dict[str, str]:
    """An environment in which meson and ninja are found, if this Python has them."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path}


@pytest.mark.slow
def test_the_library_alone(tmp_path: Path, with_tools: dict[str, str]):
    """meson setup -Dpython=false: the library, the headers and the pkg-config file."""
    prefix = tmp_path / "usr"
    run(*meson(), "setup", "-Dpython=false", f"--prefix={prefix}", "-Dlibdir=lib", "-Dwerror=true",
        tmp_path / "build", ROOT, env=with_tools)  # fmt: skip
    run(*meson(), "install", "-C", tmp_path / "build", env=with_tools)
    files = sorted(str(p.relative_to(prefix)) for p in prefix.rglob("*") if not p.is_dir())
    assert files == [
        *(f"include/{name}" for name in HEADERS),
        "lib/libpmalloc.a",
        "lib/libpmalloc.so",
        "lib/libpmalloc.so.0",
        f"lib/libpmalloc.so.{pmalloc.__version__}",
        "lib/pkgconfig/pmalloc.pc",
    ]
    public = [n for n, v in exported(prefix / "lib/libpmalloc.so.0").items() if v == "PMALLOC_0.1"]
    assert set(public) - {"PMALLOC_0.1"} == set(c_api_reference.functions())
    flags = [f"-I{prefix}/include", f"-L{prefix}/lib", "-lpmalloc"]
    if shutil.which("pkg-config"):
        where = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
        assert run("pkg-config", "--modversion", "pmalloc", env=where).stdout.strip() == (
            pmalloc.__version__
        )
        told = run("pkg-config", "--cflags", "--libs", "pmalloc", env=where).stdout.split()
        assert told == flags
    run(CC, "-std=c11", "-D_GNU_SOURCE", EXAMPLES / "c" / "policy.c", *flags,
        f"-Wl,-rpath,{prefix}/lib", "-o", tmp_path / "policy")  # fmt: skip
    check_policy(tmp_path / "policy")


# ---- extensions --------------------------------------------------------------


@pytest.fixture(scope="module")
def routes(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import the example extension from; linked without a run path."""
    folder = tmp_path_factory.mktemp("extension")
    shutil.copytree(EXAMPLES / "extension" / "routes", folder / "routes")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    include = {sysconfig.get_path("include"), sysconfig.get_path("platinclude")}
    run(CC, "-std=c11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror",
        *(f"-isystem{path}" for path in include if path), f"-I{pmalloc.get_include()}",
        folder / "routes" / "_routes.c", f"-L{library}", "-lpmalloc",
        "-o", folder / "routes" / f"_routes{suffix}")  # fmt: skip
    return folder


def python(folder: Path, code: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(folder), str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths}
    return run(sys.executable, "-c", code, status=status, env=environment)


ONE_LIBRARY = """
maps = {line.split()[-1] for line in open("/proc/self/maps") if "libpmalloc" in line}
assert len(maps) == 1, maps
"""


def test_extension(routes: Path):
    python(
        routes,
        """
import routes
table = routes.Table({"/": "front", "/api": "back", "/api/v2": "new"}, name="routes")
assert table.lookup("/api/v1") == "back" and table.lookup("/api/v2/x") == "new"
assert table.lookup("/x") == "front" and table.lookup("x") is None
for wrong in ({1: "a"}, {"a": None}):
    try:
        routes.Table(wrong)
    except TypeError:
        pass
    else:
        raise SystemExit("a table of no strings")
try:
    routes.Table({}, name="n" * 256)
except OSError as error:
    assert "Invalid argument" in str(error)
else:
    raise SystemExit("a name that is too long")
"""
        + ONE_LIBRARY,
    )


def test_extension_and_python_see_one_registry(routes: Path):
    python(
        routes,
        """
import routes, pmalloc
pool = pmalloc.Pool("of Python")
allocation = pool.alloc(100)
frozen = pmalloc.freeze({"a": [1]}, name="frozen")
table = routes.Table({"/": "front"})
assert routes.owns(allocation.address) and routes.owns(allocation.address + 99)
assert routes.owns(id(frozen)) and routes.owns(id(frozen["a"])) and routes.owns(table.address)
assert not routes.owns(id(table)) and not routes.owns(id([]))
assert [p.name for p in pmalloc.pools()] == ["of Python", "frozen"]
pool.destroy()
assert not routes.owns(allocation.address)
"""
        + ONE_LIBRARY,
    )


@pytest.mark.parametrize("first", ["pmalloc.freeze([1], name='frozen')", "None"])
def test_violation_in_an_extensions_pool(routes: Path, first: str):
    """Is reported once, by the one handler, with the pool's name; with Python pools or without."""
    done = python(
        routes,
        f"""
import resource, routes, pmalloc
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
{first}
table = routes.Table({{"/": "front"}}, name="my routes")
table.damage()
""",
        status=-signal.SIGSEGV,
    )
    found = report_of("_routes", "my routes").match(done.stderr)
    assert found, done.stderr
    rest = done.stderr[found.end() :]
    if first != "None":  # the handler has been told how to print it
        assert rest.startswith("  Python stack of this thread:\n")
        assert 'File "<string>", line 6 in <module>' in rest
    assert "pmalloc: " not in rest


def test_violation_in_a_python_pool_beside_an_extension(routes: Path):
    done = python(
        routes,
        """
import ctypes, resource, routes, pmalloc
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
frozen = pmalloc.freeze([1], name="frozen")
table = routes.Table({"/": "front"})
ctypes.memset(id(frozen) + 8, 0, 1)
""",
        status=-signal.SIGSEGV,
    )
    assert done.stderr.startswith("pmalloc: write to protected pool 'frozen'\n"), done.stderr
    assert "  object       FrozenList at " in done.stderr
    assert done.stderr.count("pmalloc: ") == 1


def test_use_after_an_extensions_table_has_gone(routes: Path):
    done = python(
        routes,
        """
import ctypes, resource, routes
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
table = routes.Table({"/": "front"}, name="short-lived")
address = table.address
del table
assert not routes.owns(address)
ctypes.string_at(address, 1)
""",
        status=-signal.SIGSEGV,
    )
    assert "use after destroy of pool 'short-lived'" in done.stderr.splitlines()[0]


def test_extension_that_is_imported_first(routes: Path):
    """Without pmalloc there is no library; the message names what is missing."""
    folder = routes / "routes"
    done = python(folder, "import _routes", status=1)
    assert "libpmalloc.so.0: cannot open shared object file" in done.stderr
    python(folder, "import pmalloc, _routes\n" + ONE_LIBRARY)


def test_extension_that_brings_the_library_along(library: Path, routes: Path, tmp_path: Path):
    """One with a run path, imported before pmalloc: pmalloc is given what is there."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    include = {sysconfig.get_path("include"), sysconfig.get_path("platinclude")}
    run(CC, "-std=c11", "-fPIC", "-shared", *(f"-isystem{path}" for path in include if path),
        f"-I{pmalloc.get_include()}", routes / "routes" / "_routes.c", f"-L{library}",
        "-lpmalloc", f"-Wl,-rpath,{library}", "-o", tmp_path / f"_routes{suffix}")  # fmt: skip
    python(
        tmp_path,
        """
import _routes
table = _routes.Table({"/": "front"})
import pmalloc
assert _routes.owns(pmalloc.Pool("p").alloc(1).address) and _routes.owns(table.address)
"""
        + ONE_LIBRARY,
    )


def test_library_of_another_release_is_refused(library: Path, tmp_path: Path):
    """Loaded before pmalloc: the loader finds that it lacks what _core needs."""
    (tmp_path / "a.c").write_text(
        "int pmalloc_version(void);\nint pmalloc_version(void) { return 1; }\n"
    )
    (tmp_path / "a.map").write_text("PMALLOC_0.1 { global: pmalloc_version; local: *; };\n")
    link = ["-Wl,-soname,libpmalloc.so.0", f"-Wl,--version-script={tmp_path / 'a.map'}"]
    run(CC, "-shared", "-fPIC", tmp_path / "a.c", *link, "-o", tmp_path / "libpmalloc.so.0")
    done = python(
        tmp_path,
        f"import ctypes\nctypes.CDLL({str(tmp_path / 'libpmalloc.so.0')!r})\nimport pmalloc\n",
        status=1,
    )
    assert "ImportError" in done.stderr
    assert f"version `PMALLOC_PRIVATE_{pmalloc.__version__}' not found" in done.stderr


@pytest.mark.slow
def test_extension_by_its_own_build(library: Path, tmp_path: Path, with_tools: dict[str, str]):
    """As a user builds it: pip and meson-python."""
    pytest.importorskip("mesonpy")
    pytest.importorskip("pip")
    meson()
    shutil.copytree(EXAMPLES / "extension", tmp_path / "source")
    paths = os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    run(*pip, "--no-build-isolation", "--no-deps", "--no-index",
        "--target", tmp_path / "target", tmp_path / "source",
        env={**with_tools, "PYTHONPATH": paths})  # fmt: skip
    [extension] = (tmp_path / "target").rglob("_routes*.so")
    assert not [text for tag, text in dynamic(extension) if tag in {"RPATH", "RUNPATH"}]
    python(
        tmp_path / "target",
        "import routes\nt = routes.Table({'/': 'x'})\nassert routes.owns(t.address)\n"
        + ONE_LIBRARY,
    )

"""Whole processes: they end clean with frozen data alive, children read and share it, and
subinterpreters are told no."""

import gc
import multiprocessing
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from child import in_child

import pmalloc

PACKAGE = Path(pmalloc.__file__).parents[1]

# Every kind, shared parts and cycles; raw memory; a pool that stays open, one that is destroyed.
DATA = """
import pmalloc

def make():
    shared = ["shared", {"deep": ("tuple", {1, 2}, frozenset({"f"}))}]
    data = {
        "numbers": [0, 70_000, 3**99, -(2**64), 2.5, -0.0, float("nan"), 1j, True, None],
        "strings": ["", "a", "ascii", "Zürich", "東京", "🔒", "lone \\ud800"],
        "bytes": [b"", b"x", b"xyz" * 10],
        "ranges": [range(5), range(3, 10**20, 7)],
        "records": [{"id": i, "name": f"name {i}", "tags": ["t"]} for i in range(300)],
        "sets": [set(), {1}, set(range(1000)), frozenset({frozenset({1})})],
        (1, ("key", 2.5)): shared,
        frozenset({"k"}): shared,
        3**60: (shared, shared),
    }
    data["cycle"] = [data, shared]
    return data

FROZEN = pmalloc.freeze(make(), name="data")

with pmalloc.Pool("raw") as RAW:
    TABLE = RAW.alloc(1000)
    with memoryview(TABLE) as view:
        view[:] = b"x" * 1000
VIEW = memoryview(TABLE)

OPEN = pmalloc.Pool("open")
LEFT_OPEN = OPEN.freeze({"open": [1.5]})

GONE = pmalloc.Pool("gone")
GONE.freeze(["gone", 2.5])
GONE.destroy(force=True)

def walk(value, seen=None):
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    repr(value) if not isinstance(value, (dict, list, tuple)) else len(value)
    if isinstance(value, dict):
        return sum(walk(k, seen) + walk(v, seen) for k, v in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return 1 + sum(walk(part, seen) for part in value)
    return 1

assert walk(FROZEN) > 1000
COPY, THAWED = FROZEN.copy(), pmalloc.thaw(FROZEN)
"""


def run(program: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *options, "-c", program],
        env={**os.environ, "PYTHONPATH": str(PACKAGE), "PYTHONIOENCODING": "utf-8", **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ends_clean(program: str, *options: str, status: int = 0, **env: str) -> None:
    done = run(program, *options, **env)
    assert (done.returncode, done.stderr) == (status, "")
    assert done.stdout == ""


# ---- the end of a process ------------------------------------------------------------------------

MODES: dict[str, tuple[list[str], dict[str, str]]] = {
    "plain": ([], {}),
    "dev": (["-X", "dev"], {}),
    "tracemalloc": (["-X", "tracemalloc=20"], {}),
    "faulthandler": (["-X", "faulthandler"], {}),
    "optimized": (["-OO"], {}),
    "isolated path": (["-s", "-P"], {}),
    "malloc": ([], {"PYTHONMALLOC": "malloc"}),
    "malloc_debug": ([], {"PYTHONMALLOC": "malloc_debug"}),
    "pymalloc_debug": ([], {"PYTHONMALLOC": "debug"}),
    "perturbed": ([], {"MALLOC_PERTURB_": "165", "PYTHONMALLOC": "malloc"}),
    "hash seed": ([], {"PYTHONHASHSEED": "0"}),
}


@pytest.mark.parametrize("mode", MODES)
def test_ends_clean(mode: str):
    options, env = MODES[mode]
    ends_clean(DATA, *options, **env)


def test_ends_clean_with_showrefcount():
    """Only a debug build prints the count; a release build takes the option and says nothing."""
    done = run(DATA, "-X", "showrefcount")
    assert done.returncode == 0
    debug = bool(sysconfig.get_config_var("Py_DEBUG"))
    assert re.fullmatch(r"\[\d+ refs, \d+ blocks\]\n" if debug else "", done.stderr)


ENDS: dict[str, str] = {
    "tracemalloc started late": (
        "import tracemalloc; tracemalloc.start(9); walk(FROZEN); x = pmalloc.freeze(make()); "
        "tracemalloc.take_snapshot(); tracemalloc.stop()"
    ),
    "collector": "import gc; gc.collect(); gc.freeze(); gc.collect(); gc.unfreeze()",
    "collector with debugging": "import gc; gc.set_debug(gc.DEBUG_SAVEALL); gc.collect()",
    "atexit": "import atexit; atexit.register(lambda: [walk(FROZEN), repr(COPY)])",
    "atexit freezes": "import atexit; atexit.register(pmalloc.freeze, [2.5], name='late')",
    "atexit destroys": "del LEFT_OPEN; import atexit; atexit.register(OPEN.destroy, force=True)",
    "class attribute": "class Config:\n    data = FROZEN\n    part = FROZEN['records'][0]",
    "other module": "import json; json.data = FROZEN; del FROZEN",
    "default argument": "def f(x=FROZEN, *, y=FROZEN['sets'][2]): return x, y",
    "reference cycle": "c = [FROZEN]; c.append({'c': c, 'part': FROZEN['strings']}); del c",
    "builtins": "import builtins; builtins.data = FROZEN",
    "finaliser that reads": (
        "class Reader:\n    def __del__(self, walk=walk, data=FROZEN): walk(data)\n"
        "cycle = Reader(); cycle.me = cycle; other = Reader()"
    ),
    "finaliser at the very end": (
        "import sys\nclass Reader:\n    def __del__(self, data=FROZEN): assert data['bytes'][1]\n"
        "sys.reader = Reader(); sys.data = FROZEN"
    ),
    "interned": "import sys; keep = [sys.intern(s) for s in FROZEN['strings']]",
    "key of a dict": "d = {k: 1 for k in FROZEN}; s = set(FROZEN['strings'])",
    "attribute names": (
        "class Thing: pass\nthing = Thing()\n"
        "for s in FROZEN['strings']: setattr(thing, s, s); setattr(Thing, s, s)\n"
        "type('T', (), dict.fromkeys(FROZEN['strings'][1:4]))"
    ),
    "context variable": "import contextvars; contextvars.ContextVar('v').set(FROZEN)",
    "thread local": "import threading; local = threading.local(); local.data = FROZEN",
    "thread that has ended": (
        "import threading; t = threading.Thread(target=walk, args=[FROZEN]); t.start(); t.join()"
    ),
    "thread waited for at the end": (
        "import threading, time\n"
        "threading.Thread(target=lambda: [time.sleep(0.05), walk(FROZEN)]).start()"
    ),
    "daemon thread still reading": (
        "import threading\nready = threading.Event()\n"
        "def read(data):\n    ready.set()\n    while True:\n        walk(data); data.copy()\n"
        "[threading.Thread(target=read, args=[FROZEN], daemon=True).start() for _ in range(2)]\n"
        "ready.wait()"
    ),
    "generator half way": "g = (k for k in FROZEN); next(g); i = iter(FROZEN['records'])",
    "cached call": (
        "import functools; f = functools.cache(len)\n"
        "[f(s) for s in FROZEN['strings']]; p = functools.partial(f, *FROZEN['strings'])"
    ),
    "modules dropped": "import sys; del sys.modules['pmalloc'], sys.modules['pmalloc._core']",
    "imported again": (
        "import sys\nfor name in [n for n in sys.modules if n.startswith('pmalloc')]:\n"
        "    del sys.modules[name]\n"
        "import pmalloc as again; again.freeze({'again': [2.5]}, name='again'); walk(FROZEN)"
    ),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mode", ["plain", "dev"])
def test_ends_clean_by(end: str, mode: str):
    ends_clean(f"{DATA}\n{ENDS[end]}", *MODES[mode][0])


@pytest.mark.parametrize("call", ["sys.exit(3)", "os._exit(3)", "quit(3)"])
def test_exit_status(call: str):
    ends_clean(f"{DATA}\nimport os, sys\n{call}", status=3)


def test_an_exception_at_the_end_is_all_that_is_said():
    done = run(DATA + "\nraise KeyError(FROZEN['strings'][3])")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'Zürich'"
    assert len(lines) <= 4


def test_an_exception_in_atexit():
    done = run(DATA + "\nimport atexit\natexit.register(lambda: FROZEN.clear())")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == (
        "TypeError: 'FrozenDict' object is frozen: clear() would change it"
    )


def test_import_alone_does_not_touch_the_handlers():
    program = (
        "import signal, faulthandler\nimport pmalloc\n"
        "assert signal.getsignal(signal.SIGSEGV) is signal.SIG_DFL\n"
        "assert not faulthandler.is_enabled()\nassert pmalloc.pools() == []"
    )
    ends_clean(program)


# ---- fork ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> Any:
    """200,000 objects in a pool of their own, read by every test below."""
    return pmalloc.freeze(
        [
            {"id": i, "name": f"name {i}", "scores": [i + 0.5, i + 0.25], "tags": (f"tag {i}",)}
            for i in range(25_000)
        ],
        name="table of test_processes",
    )


def traverse(value: Any) -> int:
    """Reads and hashes everything; how many objects there are."""
    if isinstance(value, dict):
        return 1 + sum(traverse(k) + traverse(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return 1 + sum(traverse(part) for part in value)
    hash(value)
    return 1


def test_child_and_grandchild_read_it_all(table: Any):
    expected = traverse(table)

    def read() -> None:
        assert traverse(table) == expected
        assert table == pmalloc.thaw(table)

    in_child(read)
    in_child(lambda: (read(), in_child(lambda: (read(), in_child(read)))))


def test_pools_are_the_same_in_a_child(table: Any):
    pool = pmalloc.pool_of(table)
    before = pool.stats()
    names = [p.name for p in pmalloc.pools()]

    def look() -> None:
        assert pmalloc.is_protected(table)
        assert pmalloc.is_protected(table[7]["name"])
        assert pmalloc.pool_of(table[7]) is pool
        assert pmalloc.root(pool.name) is table
        assert pool.root is table
        assert pool.state == "protected"
        assert pool.stats() == before
        assert [p.name for p in pmalloc.pools()] == names
        with pytest.raises(pmalloc.ProtectedError):
            pool.alloc(1)
        with pytest.raises(TypeError, match="item assignment"):
            table[0] = 1

    in_child(look)
    look()


def test_a_child_has_pools_of_its_own(table: Any):
    before = pmalloc.pools()

    def work() -> None:
        with pmalloc.Pool("of the child") as pool:
            allocation = pool.alloc(100)
            frozen = pool.freeze({"own": [2.5], "table": table, "part": table[5]["scores"]})
        assert pmalloc.is_protected(frozen)
        assert frozen["table"] is table
        assert pmalloc.pool_of(frozen) is pool
        assert pmalloc.pool_of(frozen["part"]) is pmalloc.pool_of(table)
        assert bytes(allocation) == bytes(100)
        del frozen, allocation
        pool.destroy(force=True)
        assert pmalloc.pools() == before

    in_child(work)
    with pytest.raises(KeyError):
        pmalloc.root("of the child")
    assert pmalloc.pools() == before


def test_destroy_in_a_child_leaves_the_parent_its_pool(name: str):
    pool = pmalloc.Pool(name)
    kept = [pool.freeze(["kept", 2.5])]
    pool.protect()

    def work() -> None:
        kept.clear()
        pool.destroy(force=True)
        assert pmalloc.pool_of(pool) is None

    in_child(work)
    assert kept == [["kept", 2.5]]
    assert pmalloc.root(name) is kept[0]


def test_an_open_pool_goes_on_in_both(name: str):
    """Its memory is private: what one side writes, the other never sees."""
    pool = pmalloc.Pool(name)
    allocation = pool.alloc(8)

    def work() -> None:
        with memoryview(allocation) as view:
            view[:] = b"in child"
        assert pool.freeze([1.5]) == [1.5]
        pool.protect()

    in_child(work)
    assert pool.state == "open"
    assert pool.root is None
    with memoryview(allocation) as view:
        assert view == bytes(8)
        view[:] = b"parent's"
    pool.protect()
    assert bytes(allocation) == b"parent's"


def smaps(address: int) -> dict[str, int]:
    """The numbers of the mapping the address lies in, in kB."""
    numbers: dict[str, int] = {}
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if m := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line):
            found = int(m.group(1), 16) <= address < int(m.group(2), 16)
            if found:
                assert m.group(3) == "r--p"
        elif found and line.endswith(" kB"):
            key, number, _ = line.split()
            numbers[key.rstrip(":")] = int(number)
    return numbers


def objects_of(value: Any, found: dict[int, Any]) -> dict[int, Any]:
    if pmalloc.is_protected(value):
        found[id(value)] = value
    if isinstance(value, dict):
        for part in (*value, *value.values()):
            objects_of(part, found)
    elif isinstance(value, (list, tuple)):
        for part in value:
            objects_of(part, found)
    return found


def test_a_child_that_read_everything_dirtied_nothing(table: Any):
    """The mappings of first and last object, and of key strings, which lie in a pool apart."""
    objects = sorted(objects_of(table, {}))
    addresses = [objects[0], objects[len(objects) // 2], objects[-1], id(next(iter(table[0])))]

    def work() -> None:
        for _ in range(3):
            traverse(table)
            kept = [dict(record) for record in table]
            kept += [[*record["scores"]] for record in table]
            assert sorted(table, key=lambda r: r["name"])
            kept.clear()
        for address in addresses:
            numbers = smaps(address)
            assert numbers["Rss"] > 0
            assert numbers["Private_Dirty"] == 0
        assert sum(smaps(address)["Rss"] for address in addresses[:3]) > 1000

    # The parent lives on and keeps its pages, so those a child wrote to would be its own.
    in_child(work)


def test_the_measure_sees_a_write(table: Any):
    """The same reads of an ordinary copy do dirty the child's pages: reference counts."""
    plain = pmalloc.thaw(table)
    assert plain == table

    def dirty() -> int:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:"))

    def read(data: Any) -> int:
        gc.disable()
        before = dirty()
        traverse(data)
        return dirty() - before

    def work() -> None:
        frozen = read(table)
        ordinary = read(plain)
        assert ordinary > 5000
        assert frozen < ordinary / 10

    in_child(work)


# ---- multiprocessing -----------------------------------------------------------------------------

SHARED: dict[str, Any] = {}


def by_global(index: int) -> tuple[bool, str, int]:
    table = SHARED["table"]
    return pmalloc.is_protected(table), table[index]["name"], traverse(table[index])


def by_argument(record: Any) -> tuple[bool, str]:
    return pmalloc.is_protected(record), type(record).__name__


def test_workers_of_a_fork_pool_share_it(table: Any):
    SHARED["table"] = table
    with multiprocessing.get_context("fork").Pool(2) as workers:
        for index, (protected, name, objects) in enumerate(workers.map(by_global, range(100))):
            assert protected
            assert name == f"name {index}"
            assert objects == traverse(table[index])
        # What goes through a queue is a plain copy.
        assert workers.map(by_argument, [table[5]]) == [(False, "dict")]
        result = workers.apply(pmalloc.freeze, [["made in a worker"]])
    assert type(result) is list
    assert pmalloc.pool_of(result) is None


# ---- subinterpreters -----------------------------------------------------------------------------

REFUSED = {
    # What shares no GIL, the interpreter itself keeps from modules that do not say they can.
    "isolated": "module pmalloc._core does not support loading in subinterpreters",
    "legacy": (
        "pmalloc works in the main interpreter only: frozen objects are immortal and would outlive "
        "a subinterpreter; import it in the main one"
    ),
}
SUBINTERPRETERS = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

TRY = '''
try:
    import pmalloc
except ImportError as error:
    text = str(error)
else:
    text = "it was imported"
import os
os.write(1, (text + "\\\\n").encode())
'''

def try_it(*kind):
    try:
        interpreter = interpreters.create(*kind)
    except TypeError:
        interpreter = interpreters.create(isolated=kind[0] == "isolated")
    error = interpreters.run_string(interpreter, TRY)
    assert error is None, error
    interpreters.destroy(interpreter)
"""


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("first", ["main", "subinterpreter"])
def test_subinterpreters_are_refused(kind: str, first: str):
    lines = [SUBINTERPRETERS, f"try_it({kind!r})", f"try_it({kind!r})"]
    lines.insert(1 if first == "main" else 3, DATA)
    done = run("\n".join(lines) + "\nassert walk(FROZEN) > 1000")
    assert (done.returncode, done.stderr) == (0, "")
    first_line, second_line = done.stdout.splitlines()
    assert first_line == second_line == REFUSED[kind]

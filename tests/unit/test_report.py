"""What a violation leaves behind: the text's details, and the JSON file.

The lines that every report has are compared in tests/crimes. Here are those that differ from
machine to machine, in a library that is made for the purpose.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from platform import machine

import pytest
from reported import HIT, STORE, line_of, needs_compiler, no_core, run

import pmalloc

# ---- the native stack ----------------------------------------------------------------


@needs_compiler
def test_stack_without_frame_pointers(tmp_path, library):
    done = run(tmp_path, HIT + 'hit("outer")\n', library=library)
    assert done.status == -signal.SIGSEGV
    assert done.frames[:3] == ["write_one", "middle", "outer"]
    assert done.line("extension") == "libwriter.so"
    # It goes on to where the program began.
    assert "not known further" not in done.text
    assert done.report["native_stack"][-1]["symbol"] in {"_start", "__libc_start_main"}


@needs_compiler
def test_stack_through_a_signal_handler(tmp_path, library):
    done = run(tmp_path, HIT + 'hit("raiser")\n', library=library)
    frames = done.frames
    assert frames[:2] == ["write_one", "on_signal"]
    assert "raiser" in frames[3:8]
    assert "not known further" not in done.text
    interrupted = [frame["interrupted"] for frame in done.report["native_stack"]]
    assert sum(interrupted) == 2, "the store, and where the signal came"


@needs_compiler
@pytest.mark.parametrize(
    ("function", "known", "why"),
    [
        ("smashed", ["smashed"], "a function without unwind tables"),
        ("blind", ["write_one", "blind"], "a function without unwind tables"),
    ],
)
def test_stack_that_ends_early(tmp_path, library, function, known, why):
    done = run(tmp_path, HIT + f'hit("{function}")\n', library=library)
    assert done.status == -signal.SIGSEGV
    assert done.frames[: len(known)] == known
    assert f"    not known further: {why}\n" in done.text
    assert done.report["native_stack_ends"] == why
    # All that comes after it is there.
    assert "  Python stack of this thread:\n" in done.text
    assert done.report["python_stack"]


@needs_compiler
def test_stack_of_a_call_that_led_to_data(tmp_path, library):
    done = run(tmp_path, HIT + "library.jump(ctypes.c_void_p(id(hosts)))\n", library=library)
    assert done.status == -signal.SIGSEGV
    assert done.report["access"] == "access"
    assert done.report["native_stack"][0]["module"] is None
    assert done.frames[:2] == ["?", "jump"]


# ---- details of the text ---------------------------------------------------------------


def test_origin(tmp_path):
    program = """
import ctypes
def make():
    return pmalloc.Pool("crime")  # created
def close(pool):
    pool.protect()  # protected
pool = make()
hosts = pool.freeze(["alpha"])
close(pool)
"""
    before = datetime.now(UTC) - timedelta(seconds=1)
    done = run(tmp_path, program + STORE)
    assert done.status == -signal.SIGSEGV
    for event in ("created", "protected"):
        file, line, when = re.fullmatch(r"(.+):(\d+) at (.+) UTC", done.line(event)).groups()
        assert file == str(tmp_path / "program.py")
        assert int(line) == line_of(tmp_path, f"# {event}")
        assert before <= datetime.fromisoformat(when + "+00:00") <= datetime.now(UTC)
        told = done.report["pool"][event]
        assert (told["file"], told["line"]) == (file, int(line))
        assert datetime.fromisoformat(told["time"]).replace(microsecond=0) == (
            datetime.fromisoformat(when + "+00:00")
        )


def test_origin_of_an_open_and_of_a_destroyed_pool(tmp_path):
    program = """
import ctypes
pool = pmalloc.Pool("crime")  # created
address = pool.alloc(8).address
pool.destroy()
ctypes.memset(address, 0, 1)
"""
    done = run(tmp_path, program)
    assert done.status == -signal.SIGSEGV, done.text
    assert "use after destroy of pool 'crime'" in done.text
    assert done.line("created").startswith(f"{tmp_path / 'program.py'}:")
    assert done.line("protected") is None
    assert done.report["pool"]["protected"] is None
    assert done.report["pool"]["place"] == "destroyed"


SHARED = """
import ctypes
class Buffer(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("rest", ctypes.c_char * 256)]
pool = pmalloc.Pool("crime", backing="memfd")
pool.copy(b"genuine")
pool.protect(immutable=True)
for _ in range(3000):  # what was closed makes room
    pmalloc.open_shared(pool, seal=False).close()
shared = pmalloc.open_shared(pool)  # opened
buffer, view = Buffer(), shared[0]
ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
ctypes.memset(buffer.address + 3, 0xFF, 1)
"""


def test_origin_of_a_shared_pool(tmp_path, capsys):
    """Where this process opened it; who protected it is another."""
    try:
        pmalloc.Pool("tried to share", backing="memfd").protect(immutable=True)
    except OSError as error:
        pytest.skip(str(error))
    done = run(tmp_path, SHARED)
    assert done.status == -signal.SIGSEGV, done.text
    opened = line_of(tmp_path, "# opened")
    assert done.line("created").startswith(f"{tmp_path / 'program.py'}:{opened} at ")
    assert done.line("protected") is None
    assert done.report["pool"]["created"]["line"] == opened
    assert done.report["pool"]["protected"] is None


def test_origin_outlives_thousands_of_pools(tmp_path):
    program = (
        "import ctypes\n"
        + HIT
        + """
for _ in range(5000):
    pmalloc.Pool("passing").destroy()
kept = [pmalloc.Pool(f"kept {n}") for n in range(3000)]
"""
    )
    done = run(tmp_path, program + STORE)
    assert int(done.line("created").split(":")[-3].split()[0]) == line_of(tmp_path, "# made")


def test_long_path_keeps_its_end(tmp_path):
    deep = tmp_path / ("d\N{LATIN SMALL LETTER E WITH ACUTE}ep/" * 40)
    deep.mkdir(parents=True)
    (deep / "maker.py").write_text("import pmalloc\n" + HIT)
    program = f"import ctypes\nsys.path.insert(0, {str(deep)!r})\nfrom maker import hosts\n"
    done = run(tmp_path, program + STORE)
    told = done.report["pool"]["created"]
    assert told["file"].startswith("...") and told["file"].endswith("/d\u00e9ep/maker.py")
    assert len(told["file"].encode()) < 228
    assert told["line"] == 2


@pytest.mark.skipif(machine() != "x86_64", reason="stores are decoded on x86-64")
@needs_compiler
def test_store(tmp_path, library):
    done = run(tmp_path, HIT + 'hit("write_one")\n', library=library)
    assert done.line("store") == "mov, 8 bytes: 02 00 00 00 00 00 00 00 -> 01 00 00 00 00 00 00 00"
    assert done.report["store"] == {
        "instruction": "mov",
        "address": done.report["address"],
        "size": 8,
        "same_value": False,
        "old": "0200000000000000",
        "new": "0100000000000000",
    }


@pytest.mark.skipif(machine() != "x86_64", reason="stores are decoded on x86-64")
@needs_compiler
def test_store_of_the_same_value(tmp_path, library):
    program = 'hosts = pmalloc.freeze(["alpha"], name="crime")\nhit("write_one")\n'
    done = run(tmp_path, program, library=library)
    assert done.line("store") == "mov, 8 bytes, same value"
    assert done.report["store"]["same_value"] is True


@needs_compiler
def test_code(tmp_path, library):
    done = run(tmp_path, HIT + 'hit("write_one")\n', library=library)
    code = bytes.fromhex(done.line("code"))
    assert len(code) == 16
    assert done.report["instruction"]["code"] == code.hex()
    assert code in library.read_bytes()


# ---- the file ----------------------------------------------------------------------------


@needs_compiler
def test_json_says_what_the_text_says(tmp_path, library):
    done = run(tmp_path, HIT + 'hit("outer")  # here\n', library=library)
    report = done.report
    [file] = done.files
    assert done.left == []
    assert file.stat().st_mode & 0o777 == 0o600
    assert f"pmalloc: the report is in {file}\n" in done.text
    assert report["format"] == 1
    assert done.text.startswith(f"pmalloc: {report['headline']}\n")
    assert report["policy"] == done.line("policy") == "oops"
    assert report["access"] == "write"
    assert done.line("address").startswith(report["address"] + " (pool 'crime', chunk 0, offset ")
    assert report["pool"]["name"] == "crime" and report["pool"]["place"] == "data"
    start, end = int(report["chunk"]["start"], 16), int(report["chunk"]["end"], 16)
    assert start <= int(report["address"], 16) < end
    thing = report["object"]
    assert done.line("object") == f"{thing['what']} at {thing['start']} + {thing['offset']}"
    assert int(thing["start"], 16) + thing["offset"] == int(report["address"], 16)
    assert report["path"] == done.line("path")
    thread = report["thread"]
    assert done.line("thread") == f"{thread['pid']}/{thread['tid']} '{thread['name']}'"
    assert re.fullmatch(
        rf"pmalloc-{thread['pid']}-{thread['tid']}-\d{{8}}T\d{{6}}\.\d{{6}}Z-1\.json", file.name
    )
    where = report["instruction"]
    assert done.line("instruction") == (
        f"{where['address']} {where['module']}+{where['offset']} "
        f"(write_one+{where['symbol_offset']})"
    )
    assert where["path"] == str(library)
    assert report["extension"]["module"] == "libwriter.so"
    [stack] = re.findall(r"^  native stack\n((?:    .*\n)+)", done.text, re.MULTILINE)
    for line, frame in zip(stack.splitlines(), report["native_stack"], strict=True):
        assert line.startswith(f"    {frame['address']} {frame['module']}+{frame['offset']}")
    told = re.findall(r'^  File "(.+)", line (\d+) in (.+)$', done.text, re.MULTILINE)
    assert [(f["file"], str(f["line"]), f["function"]) for f in report["python_stack"]] == told
    assert told[-1] == (str(tmp_path / "program.py"), str(line_of(tmp_path, "# here")), "<module>")


def test_documented_fields(tmp_path):
    """docs/report.md names every field there is, and no other."""
    done = run(tmp_path, "import ctypes\n" + HIT + STORE)

    def names(value, before=""):
        if isinstance(value, dict):
            for key, below in value.items():
                yield before + key
                yield from names(below, f"{before}{key}.")
        elif isinstance(value, list) and value:
            yield from names(value[0], f"{before[:-1]}[].")

    report = done.report
    report["extension"] = {"module": "", "path": "", "build_id": ""}
    docs = (Path(__file__).parents[2] / "docs" / "report.md").read_text()
    table = docs[docs.index("| field | meaning |") :]
    documented = set(re.findall(r"^\| `([\w.\[\]]+)` \|", table, re.MULTILINE))
    if report["store"] is None:  # not decoded on this machine
        documented = {name for name in documented if not name.startswith("store.")}
    assert documented == set(names(report))


def test_relative_directory_is_where_the_program_started(tmp_path):
    program = "import ctypes\n" + HIT + "os.chdir('/')\n" + STORE
    done = run(tmp_path, program, env={"PMALLOC_REPORT_DIR": "reports"})
    assert done.report["pool"]["name"] == "crime"


def test_none_is_written_without_directory(tmp_path):
    for env, flags in (({"PMALLOC_REPORT_DIR": ""}, ()), ({}, ("-E",))):
        path = f"sys.path.insert(0, {str(Path(pmalloc.__file__).parents[1])!r})\n"
        program = f"import sys\n{path}import ctypes, pmalloc\n" + HIT + STORE
        script = tmp_path / "alone.py"
        script.write_text(program)
        reports = tmp_path / "reports"
        reports.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, *flags, str(script)],
            env=os.environ | {"PMALLOC_REPORT_DIR": str(reports)} | env,
            capture_output=True,
            preexec_fn=no_core,
        )
        assert done.returncode == -signal.SIGSEGV
        assert b"pmalloc: write to protected pool 'crime'" in done.stderr
        assert b"report is in" not in done.stderr
        assert list(reports.iterdir()) == []


@pytest.mark.parametrize("relative", [False, True])
def test_directory_that_is_longer_than_a_path(tmp_path, relative):
    """The longest there can be, and one byte more: that is said once, and the rest goes on."""
    program = "import ctypes\npmalloc.freeze([1])\npmalloc.freeze([2])\n" + HIT + STORE
    start = "" if relative else "/"
    length = 4095 - (len(bytes(tmp_path)) + 1 if relative else 0)
    for over in (0, 1):
        folder = start + "d/" * (length // 2) + "d/"
        folder = folder[: length + over]
        done = run(tmp_path, program, env={"PMALLOC_REPORT_DIR": folder})
        assert done.status == -signal.SIGSEGV
        complaint = (
            "pmalloc: PMALLOC_REPORT_DIR is longer than a path may be: "
            "no reports are written there\n"
        )
        assert done.text.count("PMALLOC_REPORT_DIR") == done.text.count(complaint) == over
        assert done.text.startswith(
            "pmalloc: write to protected pool 'crime'\n", over * len(complaint)
        )
        assert done.text.endswith(": it does not exist\n") is (not over)
        assert done.files == [] and done.left == []


def limit_files() -> None:
    no_core()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.mark.parametrize(
    ("where", "before", "why"),
    [
        ("missing", no_core, "it does not exist"),
        ("program.py", no_core, "it is no directory"),
        ("program.py/below", no_core, "it is no directory"),
        ("reports", limit_files, "larger than a file may be"),
    ],
)
def test_directory_that_can_not_be_written_to(tmp_path, where, before, why):
    done = run(tmp_path, "import ctypes\n" + HIT + STORE, reports=where, before=before)
    assert done.status == -signal.SIGSEGV
    expected = f"pmalloc: the report could not be written to {tmp_path / where}: {why}\n"
    assert done.text.endswith(expected)
    assert "  Python stack of this thread:\n" in done.text
    assert done.files == [] and done.left == []


def test_no_descriptor_is_left(tmp_path):
    program = (
        "import ctypes, resource\n"
        + HIT
        + "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        + "taken = []\n"
        + "try:\n    while True: taken.append(os.dup(0))\nexcept OSError: pass\n"
    )
    done = run(tmp_path, program + STORE)
    assert done.status == -signal.SIGSEGV
    assert "  Python stack of this thread: not known, no file descriptor is left\n" in done.text
    assert done.text.endswith(": no file descriptor is left\n")


def test_closed_descriptors(tmp_path):
    """A daemon closes them all, and opens files of its own in their place."""
    program = (
        "import ctypes\n"
        + HIT
        + "os.closerange(3, 256)\n"
        + "mine = [os.open('mine', os.O_RDWR | os.O_CREAT) for _ in range(20)]\n"
    )
    done = run(tmp_path, program + STORE)
    assert done.status == -signal.SIGSEGV
    assert "  Python stack of this thread: not known, its file descriptor was closed\n" in done.text
    assert (tmp_path / "mine").read_bytes() == b""
    assert done.report["python_stack"] == []


def test_closed_descriptors_are_opened_at_protect(tmp_path):
    program = "import ctypes\npmalloc.Pool('first')\nos.closerange(3, 256)\n" + HIT + STORE
    done = run(tmp_path, program)
    assert [frame["function"] for frame in done.report["python_stack"]] == ["<module>"]


def test_children_that_die_together(tmp_path):
    """Each report has the stack of its own process."""
    program = (
        "import ctypes\n"
        + HIT
        + "".join(f"def child_{n}():\n    {STORE}" for n in range(8))
        + """
reader, writer = os.pipe()
for n in range(8):
    if os.fork() == 0:
        os.read(reader, 1)
        globals()[f"child_{n}"]()
os.write(writer, b"12345678")
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""
    )
    done = run(tmp_path, program)
    assert done.status == 0
    stacks = [json.loads(f.read_bytes())["python_stack"] for f in done.files]
    assert sorted(stack[0]["function"] for stack in stacks) == [f"child_{n}" for n in range(8)]
    assert {len(stack) for stack in stacks} == {2}


def test_file_named_like_a_frame(tmp_path):
    name = 'odd", line 7 in f\x1b.py'
    (tmp_path / name).write_text("def g():\n    hit()\n")
    program = f"""
import ctypes
{HIT}
space = {{"hit": lambda: ctypes.memset(id(hosts) + 16, 1, 1)}}
exec(compile(open({name!r}).read(), {name!r}, "exec"), space)
space["g"]()
"""
    report = run(tmp_path, program).report
    frame = report["python_stack"][1]
    assert frame["file"].startswith('odd", line 7 in f') and frame["file"].endswith(".py")
    assert (frame["line"], frame["function"]) == (2, "g")


def test_odd_names_are_valid_json(tmp_path):
    """Names of pools and threads, in a child each: what must be escaped, what is no UTF-8, what is
    cut off in the middle of a character."""
    pieces = [
        *(b'"', b"\\", b"\n", b"\x1b[31m", b"\x7f", b"\xff", b"\xc3\xa9", b"\xc3", b"\xe2\x82"),
        *(b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xf5", b"\xc2\x9b", b"\t", b"a", b"</x>"),
    ]
    program = f"""
import ctypes, random
libc = ctypes.CDLL(None)
pieces, made = {pieces!r}, random.Random(2026)
for n in range(40):
    raw = b"".join(made.choices(pieces, k=made.randint(1, 9))) + b"!"
    pool = raw.decode("utf-8", "replace") + str(n)
    if os.fork() == 0:
        libc.prctl(15, ctypes.c_char_p(raw), 0, 0, 0)
        hosts = pmalloc.freeze(["alpha"], name=pool)
        print(repr((os.getpid(), pool, raw[:15])), flush=True)
        {STORE}
    os.wait()
"""
    done = run(tmp_path, program)
    assert done.status == 0
    expected = {pid: (pool, raw) for pid, pool, raw in map(eval, done.stdout.splitlines())}
    reports = [json.loads(file.read_bytes().decode("utf-8")) for file in done.files]
    assert len(reports) == len(expected) == 40
    for report in reports:
        pool, raw = expected[report["thread"]["pid"]]
        assert report["pool"]["name"] == pool
        # What is no UTF-8 is \xNN.
        assert report["thread"]["name"] == raw.decode("utf-8", "backslashreplace")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.text)

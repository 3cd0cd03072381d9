"""`pmalloc maps`: another process, read from outside; and what is read may be anything."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pmalloc

pytest.importorskip("typer")
pytest.importorskip("rich")

from child import in_child
from tiers import needs_no_redzones

from pmalloc.cli import beacon, process
from pmalloc.cli.attacks import arena, calls
from pmalloc.cli.process import ProcessError

ROOT = Path(__file__).parents[2]
READY = "\nprint('ready', flush=True)\ninput()\n"


@contextmanager
def running(code: str, *, end: str = READY) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has run the code, and now waits."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import pmalloc\n" + textwrap.dedent(code) + end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pmalloc", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


POOLS = """
kept = pmalloc.Pool("open", chunk_size=8192)
kept.alloc(100), kept.alloc(20)
frozen = pmalloc.freeze({"routes": [1.5, 2.5, 3.5]}, name="frozen")
pmalloc.Pool("empty")
gone = pmalloc.Pool("gone")
gone.alloc(3)
gone.destroy()
many = pmalloc.Pool("many", chunk_size=4096)
for _ in range(300):
    many.alloc(4096)
many.protect()
"""


@needs_no_redzones
def test_pools_in_every_state():
    with running(POOLS) as child:
        seen = beacon.look(child.pid)
    assert not seen.changing and not seen.problems
    assert seen.pid == child.pid and "import pmalloc" in seen.command
    assert seen.versions == [pmalloc.__version__]
    pools = {pool.name: pool for pool in seen.pools if pool.name != "shared keys"}
    assert list(pools) == ["open", "frozen", "empty", "gone", "many"]
    assert not any(pool.problems for pool in pools.values())
    states = ["open", "protected", "open", "destroyed", "protected"]
    assert [pool.state for pool in pools.values()] == states

    kept = pools["open"]
    assert (kept.allocations, kept.objects, kept.used_bytes) == (2, 0, 112 + 32)
    [chunk] = kept.chunks
    assert (chunk.kind, chunk.bytes, chunk.used_bytes) == ("raw", 8192, 112 + 32)
    assert (chunk.mode, chunk.backing, chunk.sealed) == ("rw-p", "private", None)

    frozen = pools["frozen"]
    assert frozen.objects and frozen.allocations == 0
    assert {(chunk.kind, chunk.mode) for chunk in frozen.chunks} == {("objects", "r--p")}
    assert frozen.metadata_bytes >= 4096

    for name in ("empty", "gone"):
        assert (pools[name].chunks, pools[name].bytes, pools[name].backing) == ([], 0, "none")

    many = pools["many"]
    assert [chunk.index for chunk in many.chunks] == list(range(300))
    assert len({chunk.address for chunk in many.chunks}) == 300
    assert many.bytes == 300 * 4096 == many.used_bytes


POLICIES = """
import ctypes, warnings
warnings.simplefilter("ignore")
kept = []
for policy in ("oops", "warn", "audit", "off"):
    pool = pmalloc.Pool(policy, on_violation=policy)
    kept.append(pool.alloc(3 * 4096))
    pool.protect()
ctypes.memset(kept[1].address, 1, 1)
ctypes.memset(kept[2].address, 1, 1)
ctypes.memset(kept[2].address, 1, 1)
"""


def test_policies_and_what_they_let_happen():
    with running(POLICIES) as child:
        seen = beacon.look(child.pid)
        done = command("maps", str(child.pid))
    pools = {pool.name: pool for pool in seen.pools if pool.name != "shared keys"}
    assert {name: pool.policy for name, pool in pools.items()} == {name: name for name in pools}
    assert [(p.tainted, p.violations) for p in pools.values()] == [
        *((False, 0), (True, 1), (False, 2), (False, 0))
    ]
    assert not any(pool.problems for pool in pools.values()) and done.returncode == 0
    rows = {line.split()[0]: line.rstrip() for line in done.stdout.splitlines() if line.strip()}
    assert rows["warn"].endswith("warn, tainted, 1 write")
    assert rows["audit"].endswith("audit, 2 writes")
    assert rows["off"].split()[-1] == "off"


MODES = """
kept = []
for mode in ("ro", "wr", "auto_ro", "auto_wr", "start_wr"):
    for state in ("open", "protected"):
        pool = pmalloc.Pool(f"{mode}-{state}", mode=mode, chunk_size=4096)
        kept += [pool.copy(bytes(4000)) for _ in range(3)]
        if state == "protected":
            pool.protect()
from pmalloc import _core
_core.rare_probe(kept[9], b"changed", 3)
sealed = pmalloc.Pool("became-ro", mode="wr")
sealed.copy(b"x")
sealed.protect()
sealed.make_ro()
pmalloc.Pool("empty-wr", mode="wr")
"""


def test_modes_and_closed_chunks():
    with running(MODES) as child:
        seen = beacon.look(child.pid)
        done = command("maps", str(child.pid))
    assert done.returncode == 0, done.stdout
    pools = {pool.name: pool for pool in seen.pools if pool.name != "shared keys"}
    assert not any(pool.problems for pool in pools.values())
    told = {name: pool.mode for name, pool in pools.items()}
    assert told == {
        **{f"{mode}-open": mode for mode in ("ro", "wr", "auto_ro", "auto_wr", "start_wr")},
        **{f"{mode}-protected": "ro" for mode in ("ro", "auto_ro")},
        **{f"{mode}-protected": "wr" for mode in ("wr", "auto_wr", "start_wr")},
        "became-ro": "ro",
        "empty-wr": "wr",
    }
    closed = {name: [chunk.closed for chunk in pool.chunks] for name, pool in pools.items()}
    pages = {name: [chunk.mode for chunk in pool.chunks] for name, pool in pools.items()}
    assert closed["wr-open"] == closed["ro-open"] == [False] * 3
    assert closed["auto_ro-open"] == closed["auto_wr-open"] == [True, True, False]
    assert pages["auto_ro-open"] == pages["auto_wr-open"] == ["r--p", "r--p", "rw-p"]
    assert closed["start_wr-open"] == [True] * 3 and pages["start_wr-open"] == ["r--p"] * 3
    assert pools["wr-protected"].rare_writes == 3
    assert pools["start_wr-open"].rare_writes == 3  # copy() is one
    rows = {line.split()[0]: line.rstrip() for line in done.stdout.splitlines() if line.strip()}
    assert rows["wr-protected"].endswith(" wr, 3 rare writes")
    assert rows["became-ro"].endswith(" ro")
    assert "r--p closed" in done.stdout


def test_modes_that_do_not_fit():
    """The hot word is anybody's to write; the protected one is held against it."""
    code = """
    pool = pmalloc.Pool("p", mode="wr"); pool.copy(b"x"); pool.protect()
    half = pmalloc.Pool("half", mode="auto_ro", chunk_size=4096)
    for _ in range(3):
        half.copy(bytes(4000))
    """
    with running(code) as child:
        with process.Process(child.pid) as reading:
            mappings = reading.mappings()
            [mark], _ = beacon.find(reading, mappings)
            forged = [
                dataclasses.replace(m, mode="rw-p") if m.mode == "r--p" else m for m in mappings
            ]
            pools = {p.name: p for p in beacon.read_pools(reading, mark, process.Mappings(forged))}
            assert pools["half"].problems == [
                f"chunk {n} is writable, and it was closed" for n in (0, 1)
            ]
            offset, size = mark.fields["pool.mode"]
            with open(f"/proc/{child.pid}/mem", "r+b", buffering=0) as memory:
                for number, problem in (
                    (0, "its mode is ro, and its protected metadata says wr"),
                    (77, "its metadata is damaged: its mode is 77, and there is no such mode"),
                ):
                    memory.seek(pools["p"].address + offset)
                    memory.write(number.to_bytes(size, "little"))
                    [p] = [p for p in beacon.read_pools(reading, mark, mappings) if p.name == "p"]
                    assert p.problems == [problem]


def kernel_tells_seals() -> bool:
    """Whether smaps has the flag `sl`: later than mseal itself."""

    def work() -> dict[str, bool]:
        calls.seal(calls.mmap_at(0, calls.PAGE, fixed=False), calls.PAGE)
        return {"tells": " sl" in open("/proc/self/smaps").read()}

    return arena.in_arena(work)["tells"]


@pytest.mark.parametrize("tier", ["seal", "immutable"])
def test_pools_of_the_stronger_tiers(tier: str):
    if why := arena.unavailable(tier):
        pytest.skip(why)
    backing, state, modes = {
        "seal": ("private", "sealed", {"r--p"}),
        "immutable": ("memfd", "immutable", {"r--s", "r--p"}),
    }[tier]
    code = f"""
    pool = pmalloc.Pool("strong", backing="{backing}", chunk_size=4096)
    for _ in range(3):
        pool.alloc(4096)
    pool.protect({tier}=True)
    still_open = pmalloc.Pool("memfd", backing="memfd")
    still_open.alloc(1)
    """
    with running(code) as child:
        pools = {pool.name: pool for pool in beacon.look(child.pid).pools}
        done = command("maps", str(child.pid))
    strong = pools["strong"]
    assert (strong.state, strong.backing, strong.problems) == (state, backing, [])
    assert {chunk.mode for chunk in strong.chunks} <= modes
    assert {chunk.sealed for chunk in strong.chunks} == {kernel_tells_seals() or None}
    assert (pools["memfd"].state, pools["memfd"].backing) == ("open", "memfd")
    [row] = [line for line in done.stdout.splitlines() if line.startswith("strong ")]
    assert row.split()[1] == state


def test_a_pool_that_only_says_that_it_is_sealed():
    """The mapping was there before it was sealed; here the kernel is said to have forgotten."""
    if why := arena.unavailable("seal"):
        pytest.skip(why)
    with running("p = pmalloc.Pool('p'); p.alloc(1); p.protect(seal=True)") as child:
        with process.Process(child.pid) as reading:
            [mark], _ = beacon.find(reading, reading.mappings())
            lines = list(reading.mappings())
            forgotten = process.Mappings(
                [*lines, process.Mapping(2**47, 2**47 + 4096, "r--p", 0, "", sealed=True)]
            )
            [pool] = [p for p in beacon.read_pools(reading, mark, forgotten) if p.name == "p"]
    assert pool.problems == ["chunk 0 is not sealed, and the pool is sealed"]


def test_oneself_by_the_same_way(name: str):
    pool = pmalloc.Pool(name)
    allocation = pool.alloc(100)
    seen = beacon.look(os.getpid())
    [found] = [p for p in seen.pools if p.name == name and p.state != "destroyed"]
    [chunk] = found.chunks
    assert chunk.address <= allocation.address < chunk.address + chunk.bytes
    pool.destroy()


def test_many_pools():
    with running("pools = [pmalloc.Pool(f'p{i}') for i in range(3000)]") as child:
        names = [pool.name for pool in beacon.look(child.pid).pools]
    assert [name for name in names if name[0] == "p"] == [f"p{i}" for i in range(3000)]


def test_a_forked_child_is_read_like_its_parent():
    code = """
    frozen = pmalloc.freeze([1.5], name="inherited")
    import os
    if os.fork():
        os.wait()
    else:
        print(os.getpid(), flush=True)
        try:
            input()
        finally:
            os._exit(0)
    """
    with running("", end="\nprint('ready', flush=True)\n" + textwrap.dedent(code)) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        [pool] = [p for p in beacon.look(pid).pools if p.name == "inherited"]
        assert (pool.state, pool.problems) == ("protected", [])


def test_a_process_that_changes_all_the_time():
    end = """
    print("ready", flush=True)
    while True:
        for i in range(20):
            pool = pmalloc.Pool(f"short-{i}", chunk_size=4096)
            for _ in range(i):
                pool.alloc(4096)
            pool.protect()
            pool.destroy()
    """
    with running("", end=textwrap.dedent(end)) as child:
        for _ in range(15):
            seen = beacon.look(child.pid)
            assert child.poll() is None
            if not seen.changing:
                assert not any(pool.problems for pool in seen.pools)


def test_what_the_kernel_says_is_held_against_what_the_pool_says():
    code = """
    import ctypes
    pool = pmalloc.Pool("undone", chunk_size=4096)
    at = pool.alloc(4096, align=4096).address
    pool.protect()
    ctypes.CDLL(None).mprotect(ctypes.c_void_p(at), ctypes.c_size_t(4096), 3)
    """
    with running(code) as child:
        done = command("maps", str(child.pid))
        as_json = command("maps", "--json", str(child.pid))
    assert done.returncode == as_json.returncode == 1
    problem = "chunk 0 is writable, and the pool is protected"
    assert f"problem: pool 'undone': {problem}" in done.stdout
    [pool] = [p for p in json.loads(as_json.stdout)["processes"][0]["pools"] if p["problems"]]
    assert (pool["name"], pool["problems"]) == ("undone", [problem])


C_PROGRAM = """
#include <stdio.h>
#include "pool.h"

int main(void) {
  pmalloc_pool *pool;
  void *memory;
  if (pmalloc_pool_create(&pool, "from C", 0) || pmalloc_pool_alloc(pool, 100, 0, &memory) ||
      pmalloc_pool_protect(pool))
    return 1;
  puts("ready");
  fflush(stdout);
  return getchar();
}
"""


def test_a_program_in_c(tmp_path):
    """libpmalloc linked in statically, and everything dropped that nothing refers to."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    (tmp_path / "server.c").write_text(C_PROGRAM)
    sections = ["-ffunction-sections", "-fdata-sections"]
    include = [f"-I{ROOT}/src/libpmalloc", f"-I{ROOT}/include"]
    sources = sorted(map(str, (ROOT / "src/libpmalloc").glob("*.c")))
    flags = ["-std=c11", "-D_GNU_SOURCE", "-pthread", "-O1", *sections, *include]
    subprocess.run([*compiler.split(), *flags, "-c", *sources], cwd=tmp_path, check=True)
    objects = sorted(map(str, tmp_path.glob("*.o")))
    subprocess.run(["ar", "rcs", "libpmalloc.a", *objects], cwd=tmp_path, check=True)
    link = ["server.c", "libpmalloc.a", "-Wl,--gc-sections", "-s", "-o", "server"]
    subprocess.run([*compiler.split(), *flags, *link], cwd=tmp_path, check=True)
    with subprocess.Popen(
        [tmp_path / "server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            seen = beacon.look(child.pid)
        finally:
            child.kill()
    [pool] = seen.pools
    assert (pool.name, pool.state, pool.allocations) == ("from C", "protected", 1)
    assert (seen.problems, pool.problems) == ([], [])


# ---- who cannot be read ----


def refusal(pid: int) -> tuple[str, str]:
    with pytest.raises(ProcessError) as caught:
        beacon.look(pid)
    return caught.value.kind, str(caught.value)


def test_no_process():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert refusal(child.pid) == ("no-process", f"there is no process {child.pid}")


def test_an_ended_process():
    with running(POOLS) as child:
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        kind, text = refusal(child.pid)
    assert (kind, "its parent has not fetched" in text) == ("ended", True)


def test_a_process_that_ends_while_it_is_read():
    with running(POOLS) as child, process.Process(child.pid) as reading:
        beacons, _ = beacon.find(reading, reading.mappings())
        child.kill()
        child.wait()
        with pytest.raises(ProcessError) as caught:
            reading.mappings()
        assert caught.value.kind == "ended"
        with pytest.raises(process.Unreadable):
            beacon.read_pools(reading, beacons[0], process.Mappings([]))
        with pytest.raises(ProcessError):
            reading.check_alive()


def test_without_permission():
    if os.geteuid() != 0:
        kind, text = refusal(1)
        assert kind == "no-permission"
        assert "run this as" in text
        return

    def as_nobody() -> None:
        parent = os.getppid()
        try:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        except PermissionError:
            return  # root of a container that may not become anybody else
        kind, text = refusal(parent)
        assert kind == "no-permission"
        assert text.endswith("it runs as user 0; run this as that user, or as root")

    in_child(as_nobody)


@pytest.mark.parametrize(
    ("scope", "remedy"),
    [
        ("1", "only its ancestors may"),
        ("2", "run this as root"),
        ("3", "nobody may"),
        ("0", "not dumpable"),
    ],
)
def test_why_not(tmp_path, monkeypatch, scope: str, remedy: str):
    (tmp_path / "77").mkdir()
    (tmp_path / "77/status").write_text(f"Name:\tx\nUid:\t{os.geteuid()}\t0\t0\t0\n")
    (tmp_path / "sys/kernel/yama").mkdir(parents=True)
    (tmp_path / "sys/kernel/yama/ptrace_scope").write_text(scope + "\n")
    monkeypatch.setattr(process, "_PROC", tmp_path)
    assert remedy in process._why_not(77)


def test_a_process_without_pmalloc():
    child = subprocess.Popen(["sleep", "60"])
    try:
        while "sleep" not in open(f"/proc/{child.pid}/maps").read():
            pass
        kind, text = refusal(child.pid)
        done = command("maps", "--json", str(child.pid))
    finally:
        child.kill()
        child.wait()
    assert kind == "no-pmalloc"
    assert done.returncode == 2
    assert json.loads(done.stdout) == {"error": {"kind": kind, "message": text}}


# ---- the command ----


def test_the_table():
    with running(POOLS) as child:
        done = command("maps", str(child.pid))
        everything = command("maps", "--all", str(child.pid))
        every_process = command("maps")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"process {child.pid} ")
    [row] = [line.split() for line in lines if line.startswith("frozen ")]
    assert row[1] == "protected" and row[-1] == "private"  # all oops: no column says so
    assert "  ... 293 more chunks: --all" in done.stdout
    assert "gone" not in done.stdout.split("pool ", 1)[1]
    assert "chunk 299" in everything.stdout and "\ngone " in everything.stdout
    assert f"process {child.pid} " in every_process.stdout


def test_json():
    with running(POOLS) as child:
        done = command("maps", "--json", str(child.pid))
    [seen] = json.loads(done.stdout)["processes"]
    assert (seen["pid"], seen["changing"]) == (child.pid, False)
    [pool] = [pool for pool in seen["pools"] if pool["name"] == "frozen"]
    assert pool["chunks"][0]["mode"] == "r--p"


def test_a_name_cannot_talk_to_the_terminal():
    with running(r"pmalloc.Pool('[red]\x1b[2Jx\n\u202e')") as child:
        done = command("maps", str(child.pid))
    assert r"[red]\x1b[2Jx\n\u202e" in done.stdout
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout


def test_without_typer_one_sentence():
    code = "import sys; sys.modules['typer'] = None; from pmalloc.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "pmalloc: the command needs typer and rich, and typer is not installed: "
        "pip install 'pmalloc[cli]'\n"
    )


def test_import_pmalloc_stays_light():
    code = "import sys, pmalloc; print(sorted({'typer', 'rich', 'pmalloc.cli'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---- bytes that are anything ----


class Recorded:
    """What one good reading saw, to be damaged and read again."""

    def __init__(self, source: process.Memory) -> None:
        self.source: process.Memory | None = source
        self.bytes: dict[int, bytearray] = {}

    def read_some(self, address: int, size: int) -> bytes:
        if self.source is not None:
            data = self.source.read_some(address, size)
            self.bytes[address] = bytearray(data)
            return data
        for start, data in self.bytes.items():
            if start <= address < start + len(data):
                return bytes(data[address - start :][:size])
        return b""


@pytest.fixture(scope="module")
def recorded():
    """A memory, its mappings, and its beacon."""
    code = "k = pmalloc.Pool('k', chunk_size=4096); [k.alloc(4096) for _ in range(9)]; k.protect()"
    with running(code) as child, process.Process(child.pid) as reading:
        mappings = reading.mappings(seals=True)
        [mark], _ = beacon.find(reading, mappings)
        memory = Recorded(reading)
        size = beacon._FIELDS_AT + 32 * 64
        memory.read_some(mark.address, size)
        pools = beacon.read_pools(memory, mark, mappings)
        assert [pool.name for pool in pools][-1] == "k" and len(pools[-1].chunks) == 9
    memory.source = None
    assert [p.outline() for p in beacon.read_pools(memory, mark, mappings)] == [
        p.outline() for p in pools
    ]
    return memory, mappings, mark


@settings(max_examples=1500, deadline=None)
@given(seed=st.integers(0, 2**32), hits=st.integers(1, 40))
def test_damaged_pools_end_in_words(recorded, seed: int, hits: int):
    memory, mappings, mark = recorded
    kept = {at: bytes(data) for at, data in memory.bytes.items()}
    dice = random.Random(seed)
    pointers = [*memory.bytes, 0, 1, 2**64 - 1, 2**63, dice.getrandbits(64), dice.getrandbits(20)]
    try:
        for _ in range(hits):
            at = dice.choice([at for at in memory.bytes if at != mark.address])
            data = memory.bytes[at]
            if not data:
                continue
            offset = dice.randrange(len(data))
            if dice.random() < 0.6:  # a word, and an interesting one
                offset &= ~7
                data[offset : offset + 8] = dice.choice(pointers).to_bytes(8, "little")
            else:
                data[offset] = dice.getrandbits(8)
        for pool in beacon.read_pools(memory, mark, mappings):
            assert pool.name.isprintable() or pool.name == ""
            assert len(pool.chunks) <= beacon._MOST_CHUNKS
            json.dumps(beacon.dataclasses.asdict(pool))
    except (beacon.Broken, process.Unreadable):
        pass
    finally:
        for at, data in kept.items():
            memory.bytes[at] = bytearray(data)


@settings(max_examples=500, deadline=None)
@given(seed=st.integers(0, 2**32), hits=st.integers(1, 20))
def test_a_damaged_beacon_ends_in_words(recorded, seed: int, hits: int):
    memory, mappings, mark = recorded
    dice = random.Random(seed)
    data = bytearray(memory.bytes[mark.address])
    for _ in range(hits):
        data[dice.randrange(16, len(data))] = dice.getrandbits(8)
    try:
        beacon.read_pools(memory, beacon.parse(bytes(data), mark.address), mappings)
    except (beacon.Broken, beacon.BeaconError, process.Unreadable):
        pass


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_any_bytes_as_a_beacon(head: bytes, rest: bytes):
    for data in (head, beacon.MAGIC + rest):
        with pytest.raises((beacon.Broken, beacon.BeaconError)):
            beacon.parse(data, 0x1000)


def test_another_format_is_named(recorded):
    memory, _, mark = recorded
    data = bytearray(memory.bytes[mark.address])
    data[16:20] = (7).to_bytes(4, "little")
    data[40:56] = b"3.4.5".ljust(16, b"\0")
    with pytest.raises(beacon.BeaconError, match=r"pmalloc 3\.4\.5, whose beacon has format 7"):
        beacon.parse(bytes(data), mark.address)
    data = bytes(memory.bytes[mark.address]).replace(b"pool.older\0", b"pool.elder\0")
    with pytest.raises(beacon.BeaconError, match=r"does not say where pool\.older is"):
        beacon.parse(data, mark.address)


def test_a_program_of_any_name_is_searched(recorded):
    """libpmalloc may be linked into a program statically."""
    memory, _, mark = recorded
    page = mark.address & ~4095
    fake = Recorded(memory)
    fake.source = None
    fake.bytes = {page: bytearray(mark.address - page) + memory.bytes[mark.address]}
    for path, inode in (("/usr/bin/server", 77), ("/x/pmalloc/_core.abi3.so (deleted)", 78)):
        mapping = process.Mapping(page, page + 8192, "r--p", inode, path)
        assert beacon.find(fake, process.Mappings([mapping]))[0] == [mark]
    copy = process.Mapping(page, page + 8192, "r--p", 0, "")  # not a file's
    assert beacon.find(fake, process.Mappings([copy])) == ([], [])
    fake.bytes = {page + 16: fake.bytes[page]}  # the same bytes elsewhere are no beacon
    moved = process.Mapping(page + 16, page + 8208, "r--p", 77, "/usr/bin/server")
    assert beacon.find(fake, process.Mappings([moved])) == ([], [])


@given(st.text(alphabet="0123456789abcdef- rwxsp:\n/[]VmFlagsl", max_size=300))
def test_any_text_as_maps(text: str):
    for mapping in process.parse_maps(text):
        assert mapping.start < mapping.end


def test_maps_with_a_hole():
    text = (
        "1000-3000 r--p 00000000 00:00 0 \n"
        "VmFlags: rd mr sl \n"
        "VmFlagsish\n"
        "3000-4000 rw-s 00000000 00:01 9                          /memfd:pmalloc:x (deleted)\n"
        "5000-6000 r--p 00000000 fe:00 12                         /a file\n"
    )
    mappings = process.parse_maps(text)
    assert [(m.mode, m.backing, m.sealed) for m in mappings] == [
        ("r--p", "private", True),
        ("rw-s", "memfd", None),
        ("r--p", "file", None),
    ]
    assert [m.start for m in mappings.of(0x1800, 0x2000) or []] == [0x1000, 0x3000]
    assert mappings.of(0x3000, 0x2800) is None
    assert mappings.of(0x4000, 1) is mappings.of(0, 1) is None

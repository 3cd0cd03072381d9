"""The two tables of policies in docs/guide.md, held against what pools do.

Both are read from the page: who chooses, and what becomes of the choice in each tier and backing.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from child import in_child

import pmalloc

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
PAGE = os.sysconf("SC_PAGESIZE")
X86 = platform.machine() == "x86_64"
# Functions that store to what their argument points to, in forms that audit can't decode.
FSTP = bytes.fromhex("d9 e8 dd 1f c3")  # fld1; fstp qword [rdi]; ret


def table(head: str) -> list[list[str]]:
    """The cells of the table whose first head is this; heads first."""
    _, found, rest = GUIDE.read_text().partition(f"\n| {head} |")
    assert found, f"the guide has no table that begins with {head!r}"
    lines = [f"| {head} |{rest}".split("\n\n", 1)[0].splitlines()][0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


# ---- who chooses ----

WHO, *CHOICES = table("`on_violation=`")
CHOOSE = """
import pmalloc, sys
asked = [None if word == "none" else word for word in sys.argv[1:]]
print(*[pmalloc.Pool(f"p{n}", on_violation=word).stats()["on_violation"]
        for n, word in enumerate(asked)])
"""


@pytest.mark.parametrize("column", range(1, len(WHO)))
def test_who_chooses(column: int):
    assert [re.sub(r"[`=]|PMALLOC_RODATA", "", head) for head in WHO[1:]] == [
        *("not set", "oops", "warn", "audit", "off")
    ]
    asked = [row[0].strip('`"') for row in CHOICES]
    assert asked == ["none", "oops", "warn", "audit", "off"]
    environment = {k: v for k, v in os.environ.items() if k != "PMALLOC_RODATA"}
    if column > 1:
        environment["PMALLOC_RODATA"] = WHO[column].strip("`=").rpartition("=")[2]
    done = subprocess.run(
        [sys.executable, "-c", CHOOSE, *asked],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == ([row[column] for row in CHOICES], "")


# ---- what becomes of it ----

POLICIES, *POOLS = table("pool")


def test_the_table_is_whole():
    assert POLICIES == ["pool", "`oops`", "`warn`", "`audit`", "`off`"]
    assert [row[0] for row in POOLS] == [
        *("protected, private", "protected, memfd", "sealed, private", "sealed, memfd"),
        "immutable",
    ]
    assert all(len(row) == 5 and all(row) for row in POOLS)


def store(form: str, address: int) -> None:
    """`mov` is a form that audit decodes; `fstp` is none."""
    if form == "mov":
        ctypes.c_uint64.from_address(address).value = 0x3FF0000000000000
        return
    code = mmap.mmap(-1, PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(FSTP)
    entry = ctypes.addressof(ctypes.c_char.from_buffer(code))
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(entry)(address)


def answer(policy: str, tier: str, backing: str, form: str) -> str:
    """What a store does, in a child: `died`, or how it was written."""
    faulthandler.disable()  # pytest's, which is before ours
    pool = pmalloc.Pool("matrix", on_violation=policy, backing=backing)  # type: ignore[arg-type]
    memory = pool.alloc(PAGE)
    pool.protect(**({tier: True} if tier else {}))
    assert pool.stats()["on_violation"] == policy
    said = pool.stats()["policy"]
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        store(form, memory.address)
        stats = pool.stats()
        took = bytes(memory)[:8] == (0x3FF0000000000000).to_bytes(8, sys.byteorder)
        ways = 16 if stats["tainted"] else 0
        ways |= 32 if stats["violations_stepped"] else 0
        ways |= 64 if stats["violations"] else 0
        os._exit(ways | (1 if took else 2))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    done = {
        -signal.SIGSEGV: "died",
        1 | 64 | 16: "page opened",
        1 | 64: "stored",
        1 | 64 | 32: "stepped",
        1: "not noticed",
    }[status]
    return f"{said}: {done}"


# What the words of a cell mean: for a store that audit decodes, and for one that it does not.
STEPPED = "audit: stepped" if X86 else "oops: died"
MEANING = {
    "oops": ("oops: died", "oops: died"),
    "warn": ("warn: page opened", "warn: page opened"),
    "audit: stored, else single-stepped": ("audit: stored", "audit: stepped"),
    "audit: single-stepped (x86-64; elsewhere oops)": (STEPPED, STEPPED),
    "audit: stored, else oops": ("audit: stored", "audit: died"),
    "nothing is protected": ("off: not noticed", "off: not noticed"),
    "neither protected nor sealed": ("off: not noticed", "off: not noticed"),
    "the file is sealed as promised to other processes; this process has a writable copy": (
        *("off: not noticed", "off: not noticed"),
    ),
}
CHILD = "; a child that was forked while the pool was open sees the write, too"
CELLS = [
    (head.strip("`"), row[0], cell)
    for row in POOLS
    for head, cell in zip(POLICIES[1:], row[1:], strict=True)
]


@pytest.mark.parametrize("form", ["mov", "fstp"])
@pytest.mark.parametrize(("policy", "which", "cell"), CELLS, ids=[f"{a}, {b}" for a, b, _ in CELLS])
def test_what_becomes_of_it(policy: str, which: str, cell: str, form: str):
    if form == "fstp" and not X86:
        pytest.skip("machine code of x86-64")
    state, _, backing = which.partition(", ")
    tier = {"protected": "", "sealed": "seal", "immutable": "immutable"}[state]
    meant = MEANING[cell.removesuffix(CHILD)][form == "fstp"]

    def work() -> None:
        try:
            got = answer(policy, tier, backing or "memfd", form)
        except OSError:
            if tier and policy != "off":
                return  # this kernel cannot seal
            raise
        assert got == meant

    in_child(work)


def test_a_child_sees_what_was_written_to_a_memfd():
    """`warn`, protected, memfd: the page that is opened is the file's."""
    assert [(a, b) for a, b, cell in CELLS if cell.endswith(CHILD)] == [
        ("warn", "protected, memfd")
    ]

    def seen(backing: str) -> bytes:
        faulthandler.disable()
        pool = pmalloc.Pool("shared", on_violation="warn", backing=backing)  # type: ignore[arg-type]
        memory = pool.copy(b"before")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(reader, 1)
            os._exit(bytes(memory) == b"Before")
        pool.protect()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        ctypes.memset(memory.address, ord("B"), 1)
        os.write(writer, b"x")
        return b"yes" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) else b"no"

    def work() -> None:
        assert seen("memfd") == b"yes"
        pmalloc.Pool("next")

    def private() -> None:
        assert seen("private") == b"no"

    in_child(work)
    in_child(private)


def test_a_program_sees_no_difference_under_off():
    """`neither protected nor sealed`: the calls say what they say of a pool that is."""

    def work() -> None:
        pool = pmalloc.Pool("sealed", on_violation="off")
        memory = pool.alloc(8)
        pool.protect(seal=True)
        assert (pool.state, pmalloc.is_protected(memory)) == ("sealed", False)
        del memory
        with pytest.raises(pmalloc.SealedError):
            pool.destroy()

    in_child(work)

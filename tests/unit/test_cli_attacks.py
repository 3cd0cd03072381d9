"""`pmalloc doctor --attack`: the attack table, cell by cell, on the kernel that runs here.

Each attack is tried on ordinary memory first: a cell is only believed where the attack works
there. So no test here passes because an attack was written badly.
"""

import json
import os
import re
import time
from functools import partial
from pathlib import Path

import pytest

import pmalloc

pytest.importorskip("typer")
pytest.importorskip("rich")

from sandboxed import IO_URING_SETUP, MSEAL, USERFAULTFD, sandboxed
from typer.testing import CliRunner

from pmalloc.cli.app import app
from pmalloc.cli.attacks import arena, calls, table, tries

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def missing() -> dict[str, str | None]:
    return {tier: arena.unavailable(tier) for tier in table.TIERS}


# ---- the table ----


@pytest.mark.parametrize("tier", table.TIERS)
@pytest.mark.parametrize("row", table.ROWS, ids=lambda row: row.key)
def test_cell(row: table.Row, tier: str, missing):
    if missing[tier] is not None:
        pytest.skip(missing[tier])
    cell = arena.cell(row, tier)
    if not cell.here:
        pytest.skip(cell.verdict)
    told = "\n".join(f"{one.name}: {one.verdict} ({one.detail})" for one in cell.tries)
    assert cell.verdict == row.expected(tier), told
    assert not cell.surprising


@pytest.mark.parametrize("attack", tries.ATTACKS, ids=lambda attack: attack.name)
def test_each_attack_succeeds_on_some_ordinary_memory(attack: tries.Attack):
    came = [
        arena._run(attack, partial(arena.Plain, shared=shared))
        for shared in (False, True)
        if shared or attack.needs != "file"
    ]
    if attack.name in {"io_uring", "UFFDIO_COPY", "MADV_GUARD_INSTALL", "ptrace", "shmat"}:
        errors = {"ENOSYS", "EPERM", "EINVAL", "EACCES"}
        if {one.detail for one in came} <= errors:
            pytest.skip(f"not on this machine: {came}")
    assert {one.verdict for one in came} & {table.NO, table.DENIAL}, came


def test_every_row_has_attacks():
    told = {"rare-write", "shared", "destroy"}  # these are asked, not attacked
    assert {row.key for row in table.ROWS} - told == {attack.row for attack in tries.ATTACKS}


def test_the_documents_say_what_the_table_says():
    page = (ROOT / "docs/threat-model.md").read_text()
    section = re.search(r"^## Attack by attack\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert section
    lines = re.search(r"(^\|.*\n)+", section[1], re.MULTILINE)[0].splitlines()  # its first table
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    assert cells[0] == ("attack", *(table.HEADS[tier] for tier in table.TIERS))
    assert cells[2:] == [(row.title, row.protect, row.seal, row.immutable) for row in table.ROWS]


def test_pages_that_are_pinned_keep_a_pool_from_becoming_immutable(missing):
    if missing["immutable"] is not None:
        pytest.skip(missing["immutable"])

    def work() -> dict[str, object]:
        target = arena.Protected(table.IMMUTABLE)
        try:
            ring = calls.Ring(target.address, calls.PAGE)
        except OSError as error:
            return {"skip": f"no io_uring here: {error}"}
        try:
            target.protect()
            refused = ""
        except OSError as error:
            refused = str(error)
        state = target.pool.state
        ring.unpin()
        deadline = time.monotonic() + 10
        while True:  # the kernel lets go of the pages a little later
            try:
                target.protect()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        return {"refused": refused, "between": state, "after": target.pool.state}

    told = arena.in_arena(work)
    if "skip" in told:
        pytest.skip(told["skip"])
    assert "pinned" in told["refused"]
    assert (told["between"], told["after"]) == ("open", "immutable")


# ---- the arena ----


def test_a_child_that_dies_and_one_that_hangs(monkeypatch):
    assert arena.in_arena(lambda: os.abort()) == {"killed": 6}
    assert arena.in_arena(lambda: os._exit(3))["failed"] == "the attempt told nothing"
    failed = arena.in_arena(lambda: {}["x"])
    assert failed == {"failed": "KeyError: 'x'"}
    monkeypatch.setattr(arena, "_SECONDS", 0.1)
    assert arena.in_arena(lambda: time.sleep(60) or {}) == {"killed": 9}


def test_an_attack_that_changes_nothing_proves_nothing():
    """The judge: what counts as stopped is a refusal, with the bytes intact."""
    attack = tries.ATTACKS[0]
    genuine, forged = calls.GENUINE.hex(), calls.FORGED.hex()

    def judge(**told: object) -> str:
        return arena._judge(attack, told).verdict

    assert judge(error="EPERM", seen=genuine) == table.STOPS
    assert judge(error="EPERM", seen=forged) == table.NO
    assert judge(error=None, seen=forged) == table.NO
    assert judge(error=None, seen=genuine) == table.NO_EFFECT
    assert judge(error=None, seen=None) == table.DENIAL
    assert judge(killed=11) == table.STOPS
    assert judge(killed=9) == judge(missing="x") == judge(failed="x") == arena.NOT_HERE
    assert judge(refused="EBUSY", seen=genuine) == table.STOPS
    assert judge(refused="EBUSY", seen=forged) == table.NO


# ---- the command ----


def test_a_kernel_without_mseal_io_uring_and_userfaultfd():
    numbers = [MSEAL, IO_URING_SETUP, USERFAULTFD]
    done = sandboxed(38, numbers, "doctor", "--attack", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    cells = {row["key"]: row["cells"] for row in said["rows"]}
    for row in cells.values():
        for tier in ("seal", "immutable"):
            assert row[tier]["verdict"] == "no mseal in this kernel"
            assert not row[tier]["here"]
    assert cells["mprotect"]["protect"]["verdict"] == table.NO
    assert cells["pinned"]["protect"]["verdict"] == "not here: io_uring: ENOSYS"
    assert cells["uffd"]["protect"]["verdict"] == "not here: UFFDIO_COPY: ENOSYS"

    done = sandboxed(1, [MSEAL], "doctor", "--attack")
    assert done.returncode == 0 and "mseal is refused: EPERM" in done.stdout


def test_a_store_that_goes_through_is_found(monkeypatch):
    """As if protect() did nothing: the cell says no, the command ends with 1."""
    monkeypatch.setattr(arena.Protected, "protect", lambda self: None)
    monkeypatch.setattr(table, "ROWS", table.ROWS[:1])
    monkeypatch.setattr(table, "TIERS", ("protect",))
    done = CliRunner().invoke(app, ["doctor", "--attack"])
    assert done.exit_code == 1
    assert "no !! expected: stops" in done.output
    assert "differs from the table of the threat model" in done.output


def test_the_attack_table_is_printed():
    done = CliRunner().invoke(app, ["doctor", "--attack", "--verbose"])
    assert done.exit_code == 0, done.output
    assert "mprotect, pkey_mprotect back" in done.output
    assert re.search(r"^read\(2\) into it +stops \(EFAULT\)", done.output, re.MULTILINE)
    assert pmalloc.pools() == [] or all(not p.name.startswith("attacked") for p in pmalloc.pools())

"""tests/c/test_attacks.c, the attack table in C, against `pmalloc doctor --attack`.

Two programs that try the same must come to the same. The one in C is what runs on the kernels of
tools/kernels.sh, whose tables are in tests/kernels.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pmalloc.cli.attacks import arena, table

ROOT = Path(__file__).parents[2]
KERNELS = sorted((ROOT / "tests/kernels").glob("*.md"))
CC = next((cc for cc in ("gcc", "clang") if shutil.which(cc)), None)
HEAD = ("attack", *(table.HEADS[tier] for tier in table.TIERS))
TIER_OF = {head: tier for tier, head in table.HEADS.items()}


def rows(text: str, head: str) -> list[tuple[str, ...]]:
    """The table that begins with a heading, heading first."""
    lines = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()
    lines = [line for line in lines if line.startswith("|")]
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return [cells[0], *cells[2:]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the C program prints here."""
    if CC is None:
        pytest.skip("needs a C compiler")
    program = tmp_path_factory.mktemp("attacks") / "test_attacks"
    folders = [f"-I{ROOT / folder}" for folder in ("include", "src/libpmalloc", "tests/c")]
    sources = [ROOT / "tests/c/test_attacks.c", *(ROOT / "src/libpmalloc").glob("*.c")]
    subprocess.run(
        [CC, "-std=c11", "-D_GNU_SOURCE", "-pthread", *folders, *sources, "-o", program],
        check=True,
        timeout=300,
    )
    done = subprocess.run([program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_cell_is_what_the_doctor_finds(told: str):
    cells = arena.run()
    found = rows(told, "attack")
    assert found[0] == HEAD
    assert found[1:] == [
        (row.title, *(cells[row.key][tier].verdict for tier in table.TIERS)) for row in table.ROWS
    ]
    # Each attempt, by its name.
    here = {
        (name, TIER_OF[head]): came.split(" (")[0] if "denial" not in came else table.DENIAL
        for name, head, came in rows(told, "attempt")[1:]
    }
    assert here == {
        (one.name, tier): one.verdict
        for by_tier in cells.values()
        for tier, cell in by_tier.items()
        for one in cell.tries
    }


def test_the_kernels_tables_are_the_threat_models_but_for_what_is_missing():
    assert [path.stem for path in KERNELS] == ["6.1", "6.12-never", "6.12"]
    for path in KERNELS:
        lacks = {"no mseal in this kernel", "not here: MADV_GUARD_INSTALL: EINVAL"}
        if path.stem.endswith("-never"):
            lacks.add("not here: rare_write: /proc/self/mem: EIO")
        found = rows(path.read_text(), "attack")
        assert found[0] == HEAD
        assert [row[0] for row in found[1:]] == [row.title for row in table.ROWS]
        for row, cells in zip(table.ROWS, found[1:], strict=True):
            for tier, cell in zip(table.TIERS, cells[1:], strict=True):
                assert cell in {row.expected(tier)} | lacks, f"{path.name}: {row.key}, {tier}"

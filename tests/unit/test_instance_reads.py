"""Whatever only reads frozen instances, dates, numbers and mappings leaves their pages alone.

As test_reads.py, of which this is the other half: a family of classes each has at least thirty
reads, in reads/. Each runs on plain data for the answer, then in a hot loop on frozen data, the
pages protected, in a forked child: a store would kill it.
"""

import importlib
import sys
from itertools import repeat

import pytest
from child import in_child
from reads.families import FAMILIES, ROUNDS_OF_HEAVY_ONES, Family

import pmalloc

MODULES = [
    "instances_slots",
    "instances_dict",
    "instances_dataclasses",
    "instances_attrs",
    "instances_structs",
    "instances_tuples",
    "instances_namespace",
    "values_times",
    "values_numbers",
    "values_addresses",
    "mappings",
    "outside",
]
MISSING: dict[str, str] = {}
for module in MODULES:
    try:
        importlib.import_module(f"reads.{module}")
    except pytest.skip.Exception as skipped:
        MISSING[module] = str(skipped)

# The other way that a __dict__ may be reached: on 3.13 it is the only one.
if sys.version_info[:2] != (3, 13):
    for module in ("instances_dict", "instances_dataclasses"):
        reads = importlib.import_module(f"reads.{module}")
        for cls in vars(reads).values():
            if isinstance(cls, type) and cls.__module__ == reads.__name__ and cls.__dictoffset__:
                pmalloc.register(cls, linked_dict=True)
        reads.family.linked()

READS = [(family, name) for family in FAMILIES.values() for name in family.all]


@pytest.mark.parametrize(
    ("family", "name"), READS, ids=[f"{family.name}-{name}" for family, name in READS]
)
def test_read(family: Family, name: str):
    read, frozen = family.all[name], family.frozen
    expected = read(family.plain())

    def work() -> None:
        result = None
        for _ in repeat(None, family.rounds[name]):
            result = read(frozen)
        assert result == expected

    in_child(work)


@pytest.mark.parametrize("module", MODULES)
def test_package_is_installed(module: str):
    if module in MISSING:
        pytest.skip(MISSING[module])


def test_there_are_thirty_of_each():
    assert {name: len(f.all) for name, f in FAMILIES.items() if len(f.all) < 30} == {}
    assert ROUNDS_OF_HEAVY_ONES > 10_000


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_data_is_protected(family: Family):
    assert pmalloc.is_protected(family.frozen.one) != (family.name == "externals")

"""freeze, thaw and pickle with every single allocation failing once, and with all from one on.

Each ends in a MemoryError or as it should, and harms neither the pool nor what is frozen in it.
Done by the interpreter's own _testcapi, where there is one.

Only for classes whose instances were frozen before: for new ones freeze runs Python code, and
CPython itself does not survive that everywhere (3.13.0: when there is no memory for a function).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pmalloc

pytest.importorskip("_testcapi")

PROGRAM = r'''
import collections, copy, datetime, fractions, gc, pickle, sys
import _testcapi
import pmalloc
from dataclasses import dataclass
from decimal import Decimal

class Plain: pass
class Slots: __slots__ = ("x", "y")
class Table(dict): pass
class Replaced: pass
class Outside: pass

@dataclass(unsafe_hash=True)
class Data:
    x: object = None

pmalloc.register(Replaced, replace=lambda _: ["stands for", 2.5])
pmalloc.register(Outside, external=True)

def make():
    plain = Plain(); plain.x = plain; plain.y = [1.5, "text"]
    slots = Slots(); slots.x = plain
    table = Table(k=plain); table.name = table
    return {
        "plain": plain, "slots": slots, "data": Data(3**50), "table": table,
        "replaced": Replaced(), "outside": Outside(),
        "keys": {Data("q"): 1, plain: 2, (plain, slots): 3, 2.5: 1}, "set": {plain, slots},
        "frozenset": frozenset({plain, Data(2)}), "one": 1,
        "time": datetime.datetime(2018, 4, 23, tzinfo=datetime.timezone.utc),
        "decimal": Decimal("1." + "3" * 100), "fraction": fractions.Fraction(1, 3),
        "ordered": collections.OrderedDict(plain=plain),
    }

def whole(frozen):
    plain = frozen["plain"]
    assert plain.x is plain and frozen["keys"][plain] == 2 and plain in frozen["set"]
    assert frozen["fraction"] + 1 == fractions.Fraction(4, 3) and len(frozen) == 14

def failing(call):
    """Whether it came through."""
    try:
        _testcapi.set_nomemory(NUMBER, STOP)
        try:
            result = call()
        finally:
            _testcapi.remove_mem_hooks()
    except (MemoryError, pickle.PicklingError):  # pickle may say it in its own words
        return False
    return True

def freeze():
    pool = pmalloc.Pool("no memory")
    source, result = make(), []
    through = failing(lambda: result.append(pool.freeze(source)))
    if result:
        whole(result.pop())
    after = pool.freeze(["after", make()])
    whole(after[1])
    pool.protect()
    whole(after[1])
    del after
    gc.collect()
    pool.destroy(force=True)
    return through

def settle():
    pool, source, born, result = pmalloc.Pool("no memory"), make(), [], []
    def birth():
        born.append(pool._born(source))
        born.append(pool._born([born[0]]))
    through = failing(birth)
    while len(born) < 2:
        born.append(pool._born(source if not born else [born[0]]))
    source.clear()
    born[0]["self"] = born[0]
    names = {"first": born[0], "second": born[1]}
    through &= failing(lambda: result.append(pool._settle(names, [], False)))
    if type(born[0]) is not pmalloc.FrozenDict:
        assert not result and type(born[0]) is dict and type(born[1]) is list
        born[0]["late"] = 1
        whole({k: v for k, v in born[0].items() if k not in ("self", "late")})
        del born[0]["late"]
        result.append(pool._settle(names, [], False))
    assert type(born[0]) is pmalloc.FrozenDict and type(born[1]) is pmalloc.FrozenList
    assert born[1][0] is born[0] and born[0]["self"] is born[0]
    assert pmalloc.root("no memory") == names
    pool.protect()
    del result, names, born
    gc.collect()
    pool.destroy(force=True)
    return through

def refused():
    try:
        FROZEN["plain"].x = 1
    except AttributeError:
        pass

FROZEN = pmalloc.freeze(make(), name="given")
CALLS = {
    "freeze": freeze,
    "settle": settle,
    "thaw": lambda: failing(lambda: pmalloc.thaw(FROZEN)),
    "deepcopy": lambda: failing(lambda: copy.deepcopy(FROZEN)),
    "copy": lambda: failing(lambda: list(map(copy.copy, FROZEN.values()))),
    "pickle": lambda: failing(lambda: pickle.dumps(FROZEN)),
    "pickle an instance": lambda: failing(lambda: pickle.dumps(FROZEN["plain"])),
    "set an attribute": lambda: failing(refused),
}
call = CALLS[sys.argv[1]]
gc.disable()
NUMBER, STOP = 10**9, 0
for _ in range(3):
    assert call()
for only_one in (True, False):
    NUMBER = in_a_row = failed = 0
    while in_a_row < 5:
        NUMBER += 1
        STOP = NUMBER + 1 if only_one else 0
        through = call()
        in_a_row = in_a_row + 1 if through else 0
        failed += not through
        assert NUMBER < 5000
    assert failed > 3
    whole(FROZEN)
    whole(pmalloc.thaw(FROZEN))
print("whole")
'''


@pytest.mark.parametrize(
    "call",
    [
        "freeze",
        "settle",
        "thaw",
        "deepcopy",
        "copy",
        "pickle",
        "pickle an instance",
        "set an attribute",
    ],
)
def test_no_memory(call: str):
    if call == "pickle" and hasattr(sys, "gettotalrefcount") and sys.version_info >= (3, 14):
        pytest.skip("without memory, this interpreter's own dealloc drops the exception; it checks")
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM, call],
        env={**os.environ, "PYTHONPATH": str(Path(pmalloc.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    # The interpreter's own words, from 3.14 on, where it lets go of an ordinary copy.
    stderr = re.sub(
        r"^Exception ignored while clearing an object managed dict:\n(?:Traceback .*\n(?: .*\n)*)?"
        r"MemoryError(?:: )?\n",
        "",
        done.stderr,
        flags=re.MULTILINE,
    )
    assert (done.returncode, done.stdout, stderr) == (0, "whole\n", "")

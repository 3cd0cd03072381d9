"""Processes that end, and collect garbage, with frozen instances alive."""

import re
import sysconfig

import pytest
from test_processes import MODES, ends_clean, run

DATA = """
import collections, copy, datetime, enum, fractions, gc, pickle, sys, types, weakref
import pmalloc
from dataclasses import dataclass
from decimal import Decimal

ended = []

class Node:
    def __init__(self, name, parent=None):
        self.name, self.parent, self.children = name, parent, []
        if parent is not None:
            parent.children.append(self)

class Ending:
    def __init__(self, name):
        self.name = name
    def __del__(self):
        ended.append(self.name)

class Slots:
    __slots__ = ("x", "__weakref__")

@dataclass(unsafe_hash=True)
class Data:
    x: object

class Colour(enum.Enum):
    RED = 1

class Outside:
    pass

class Shared:
    everywhere = []

pmalloc.register(Outside, external=True)
pmalloc.register(Shared, replace=lambda shared: ["stands for", shared.everywhere])

def make():
    root = Node("root")
    child = Node("child", root)
    child.outside = Outside()
    child.outside.back = root
    slots = Slots()
    slots.x = root
    return {
        "tree": root, "slots": slots, "data": Data((1, 2.5)), "ending": Ending("the source"),
        "keys": {root: 1, Data("key"): 2, (child, 1): 3}, "set": {root, child},
        "frozenset": frozenset({root, Data(3)}), "colour": Colour.RED, "class": Node, "f": make,
        "time": datetime.datetime(2018, 4, 23, tzinfo=datetime.timezone.utc),
        "decimal": Decimal("1.5"), "fraction": fractions.Fraction(1, 3),
        "counter": collections.Counter("hello"), "namespace": types.SimpleNamespace(x=root),
        "shared": Shared(), "proxy": types.MappingProxyType({"a": [1.5]}),
    }

FROZEN = pmalloc.freeze(make(), name="data")

def read():
    tree = FROZEN["tree"]
    assert tree.children[0].parent is tree and tree.children[0].__dict__["name"] == "child"
    assert FROZEN["keys"][tree] == 1 and tree in FROZEN["set"] and FROZEN["slots"].x is tree
    assert hash(FROZEN["data"]) == hash(Data((1, 2.5))) and FROZEN["data"] == Data((1, 2.5))
    assert FROZEN["ending"].name == "the source" and FROZEN["shared"][0] == "stands for"
    assert isinstance(tree.children[0].outside, Outside) and FROZEN["counter"]["l"] == 2

read()
assert ended == ["the source"]
THAWED, COPY = pmalloc.thaw(FROZEN), copy.copy(FROZEN["tree"])
"""


@pytest.mark.parametrize("mode", MODES)
def test_ends_clean(mode: str):
    options, env = MODES[mode]
    ends_clean(DATA, *options, **env)


def test_ends_clean_with_showrefcount():
    done = run(DATA, "-X", "showrefcount")
    assert done.returncode == 0
    debug = bool(sysconfig.get_config_var("Py_DEBUG"))
    assert re.fullmatch(r"\[\d+ refs, \d+ blocks\]\n" if debug else "", done.stderr)


ENDS: dict[str, str] = {
    "collector": "for _ in range(3): gc.collect()\nread()",
    "collector with debugging": "gc.set_debug(gc.DEBUG_SAVEALL); gc.collect(); read()",
    "classes dropped": (
        "del Node, Slots, Data, Outside, Ending, make, read, THAWED, COPY; gc.collect()\n"
        "assert FROZEN['tree'].children[0].parent is FROZEN['tree']"
    ),
    "class attribute": "Node.default = FROZEN['tree']; Outside.all = FROZEN",
    "other module": "import json; json.data = FROZEN; del FROZEN",
    "atexit": "import atexit; atexit.register(read)",
    "atexit freezes": "import atexit; atexit.register(lambda: pmalloc.freeze(make(), name='late'))",
    "bound method": "keep = FROZEN['tree'].__init__, FROZEN['tree'].children[0].__class__",
    "finaliser that reads": (
        "class Reader:\n    def __del__(self, read=read): read()\n"
        "cycle = Reader(); cycle.me = cycle; other = Reader()"
    ),
    "finaliser of what is outside": (
        "def last(self): assert self.back.children[0].outside is self\n"
        "Outside.__del__ = last; FROZEN['tree'].children[0].outside.back = FROZEN['tree']"
    ),
    "shapes that grow": (
        "for i in range(60):\n"
        "    node = Node(str(i)); setattr(node, f'a{i}', i)\n"
        "    last = pmalloc.freeze(node); assert getattr(last, f'a{i}') == i\n"
        "del node; read(); gc.collect()"
    ),
    "exception with a frozen instance": (
        "try: FROZEN['tree'].name = 1\nexcept AttributeError as error: kept = error"
    ),
    "weak references": "r = weakref.ref(THAWED['tree']); s = weakref.ref(Node)",
    "modules dropped": "del sys.modules['pmalloc'], sys.modules['pmalloc._core']; read()",
    "destroyed": (
        "part = pmalloc.Pool('part'); part.freeze(make()); part.protect(); gc.collect()\n"
        "part.destroy(force=True); gc.collect(); read()"
    ),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mode", ["plain", "dev", "pymalloc_debug"])
def test_ends_clean_by(end: str, mode: str):
    options, env = MODES[mode]
    ends_clean(f"{DATA}\n{ENDS[end]}", *options, **env)


def test_a_frozen_instance_never_ends():
    """Its class's __del__ is called for the source and for copies, at their ends, not for it."""
    ends_clean(f"""{DATA}
pool = pmalloc.Pool("endings")
frozen = pool.freeze([Ending("one"), {{Ending("two"): 1}}])
assert sorted(ended) == ["one", "the source", "two"], ended
ended.clear()
pool.protect()
gc.collect()
assert ended == []
thawed = pmalloc.thaw(frozen)
del thawed
copied = copy.copy(frozen[0])
del copied
assert sorted(ended) == ["one", "one", "two"], ended
ended.clear()
del frozen
pool.destroy(force=True)
gc.collect()
assert ended == []
""")


def test_what_is_outside_goes_with_the_pool_and_may_point_into_it():
    """Its end comes while the pool can still be read."""
    ends_clean(f"""{DATA}
class Service:
    def __init__(self):
        self.me = self  # the collector has to find it
    def __del__(self):
        ended.append(self.settings["name"] + "!")
pmalloc.register(Service, external=True)
pool = pmalloc.Pool("settings")
service = Service()
service.settings = pool.freeze({{"name": "of the pool"}})
pool.freeze([service])
pool.protect()
gone = weakref.ref(service)
del service
gc.collect()
assert gone() is not None
ended.clear()
pool.destroy(force=True)
assert gone() is None
assert ended == ["of the pool!"]
""")


def test_names_of_attributes_go_with_the_pool():
    """The interpreter caches look-ups by name; names that lie in a pool leave it at destroy()."""
    ends_clean(f"""{DATA}
for number in range(20):
    pool = pmalloc.Pool("names")
    names = pool.freeze([f"name {{number}} {{i}}" for i in range(300)])
    pool.protect()
    for name in names:
        assert not hasattr(Node, name)
    del names, name
    pool.destroy(force=True)
for i in range(20_000):
    assert not hasattr(Node, f"other {{i}}")
""")


LOOPS: dict[str, str] = {
    "freeze": (
        "pool = pmalloc.Pool('again'); frozen = pool.freeze(make()); pool.protect()\n"
        "del frozen; gc.collect(); pool.destroy(force=True)"
    ),
    "refused": (
        "pool = pmalloc.Pool('again')\n"
        "try: pool.freeze([make(), iter(())])\n"
        "except pmalloc.UnfreezableError: pass\n"
        "pool.destroy()"
    ),
    "thaw": "pmalloc.thaw(FROZEN)",
    "deepcopy": "copy.deepcopy(FROZEN)",
    "copy": "[copy.copy(FROZEN[name]) for name in ('tree', 'slots', 'data', 'counter')]",
    "set": (
        "for name in ('tree', 'slots', 'data'):\n"
        "    try: FROZEN[name].x = 1\n    except AttributeError: pass"
    ),
    "pickle": "pickle.dumps(FROZEN['tree']); pickle.dumps(FROZEN['keys'])",
}


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_leaks(loop: str):
    """But for a frozenset's weak reference, which is immortal, and a pool's own record."""
    body = LOOPS[loop].replace("\n", "\n    ")
    ends_clean(f"""{DATA}
def again():
    {body}

for _ in range({30 if loop in ("freeze", "refused") else 500}):
    again()
gc.collect()
classes = [Node, Ending, Slots, Data, Outside, Shared, Decimal, Colour, fractions.Fraction]
before = [sys.getrefcount(cls) for cls in classes]
limit = {150 if loop == "freeze" else 50}
growth = []
# Caches fill up more and more slowly, in some processes for a thousand rounds; a leak goes on.
while len(growth) < 20 and (not growth or growth[-1] >= limit):
    blocks = sys.getallocatedblocks()
    for _ in range(100):
        again()
        ended.clear()
    gc.collect()
    growth.append(sys.getallocatedblocks() - blocks)
assert growth[-1] < limit, growth
after = [sys.getrefcount(cls) for cls in classes]
assert all(abs(a - b) < 20 for a, b in zip(before, after)), (before, after)
""")

"""Ordinary classes, with a __dict__."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: FURB192, UP030, UP032, UP046

import collections
import copy
import functools
import operator
import pickle
import typing

from .families import Family, instances


class Upper:
    """A descriptor that sets."""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        return self if instance is None else instance.__dict__[self.name].upper()

    def __set__(self, instance, value):
        instance.__dict__[self.name] = value


class Base:
    kind = "base"

    def __init__(self, host, port):
        self.host = host
        self.port = port

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def greet(self, word="hello"):
        return f"{word} {self.host}"

    def __repr__(self):
        return f"<{self.host}>"


class Server(Base):
    """A server."""

    code = Upper()
    made = 0
    __match_args__ = ("host", "port")

    def __init__(self, host, port, **more):
        super().__init__(host, port)
        self.code = "ch"
        self.tags = ["a", "b"]
        self.limits = {"soft": 1024, "hard": 1 << 40}
        self.me = self
        self.__dict__.update(more)

    @functools.cached_property
    def cached(self):
        return [self.host] * 2

    @functools.cached_property
    def cached_before(self):
        return self.port * 2

    @classmethod
    def named(cls):
        return cls.__name__

    @staticmethod
    def version():
        return 3

    def greet(self, word="hi"):
        return super().greet(word) + "!"

    def total(self):
        return self.port + len(self.tags) + self.limits["soft"]

    def __getattr__(self, name):
        if name.startswith("get_"):
            return self.__dict__[name[4:]]
        raise AttributeError(name)

    def __eq__(self, other):
        return isinstance(other, Server) and self.address == other.address

    def __lt__(self, other):
        return self.port < other.port

    def __hash__(self):
        return hash(self.address)

    def __len__(self):
        return len(self.tags)

    def __iter__(self):
        return iter(self.tags)

    def __getitem__(self, key):
        return self.limits[key]

    def __contains__(self, tag):
        return tag in self.tags

    def __call__(self, x):
        return self.port + x


class Nodes(typing.Generic[typing.TypeVar("T")]):
    def __init__(self, value, parent=None):
        self.value = value
        self.parent = parent
        self.children = []
        if parent is not None:
            parent.children.append(self)


class Many:
    def __init__(self, n):
        for i in range(n):
            setattr(self, f"a{i}", i * 1000)


def make():
    one = Server("älpha.example", 8080)
    assert one.cached_before == 16160
    equal = Server("älpha.example", 8080)
    assert equal.cached_before == 16160
    tree = Nodes("root")
    Nodes("leaf", Nodes("branch", tree))
    odd = Base("odd", 1)
    odd.__dict__[5] = "five"
    empty = Base.__new__(Base)
    return {
        "one": one,
        "equal": equal,
        "other": Server("beta.example", 7070, extra="x", cached_before=1),
        "base": Base("gamma", 300),
        "tree": tree,
        "many": Many(45),
        "odd": odd,
        "empty": empty,
        "keys": {one: "by instance"},
        "members": {one},
    }


def state(o):
    return o.host, o.port, list(o.tags), dict(o.limits), o.code, o.me is o


family = Family("__dict__", make)
instances(family, Server, state, "port")
read = family.read

family.reads(
    attribute=lambda d: d.one.host,
    attributes=lambda d: (d.one.host, d.other.host, d.base.host, d.one.port),
    class_variable=lambda d: (d.one.kind, d.base.kind, d.one.made),
    nested=lambda d: d.one.limits["hard"],
    cycle=lambda d: d.one.me.me.me.port,
    tree=lambda d: d.tree.children[0].children[0].parent.parent.value,
    prop=lambda d: (d.one.address, d.base.address),
    descriptor=lambda d: (d.one.code, Server.__dict__["code"].__get__(d.one)),
    cached_property_recomputed=lambda d: d.one.cached,
    cached_property_kept=lambda d: (d.one.cached_before, d.other.cached_before),
    method=lambda d: d.one.total(),
    bound_method=lambda d: (lambda f: f())(d.one.total),
    method_with_keyword=lambda d: d.base.greet(word="good day"),
    super_call=lambda d: d.one.greet(),
    class_method=lambda d: d.one.__class__.named(),
    static_method=lambda d: d.one.version(),
    getattr_fallback=lambda d: (d.one.get_port, hasattr(d.one, "nothing")),
    variables=lambda d: dict(vars(d.base)),
    dict_attribute=lambda d: dict(d.base.__dict__),
    dict_is_the_same=lambda d: vars(d.base) is d.base.__dict__,
    dict_key=lambda d: (d.one.__dict__["port"], vars(d.one).get("nothing", 0)),
    dict_keys=lambda d: list(vars(d.one)),
    dict_values=lambda d: list(d.base.__dict__.values()),
    dict_items=lambda d: [(k, v) for k, v in vars(d.base).items()],
    dict_length=lambda d: (len(vars(d.one)), len(vars(d.many)), len(vars(d.empty))),
    dict_containment=lambda d: ("host" in vars(d.one), "ghost" in vars(d.one)),
    dict_equality=lambda d: (vars(d.base) == {"host": "gamma", "port": 300}, vars(d.base) == {}),
    dict_union=lambda d: vars(d.base) | {"more": 1},
    dict_unpacked=lambda d: {**vars(d.base), "more": 1},
    dict_as_arguments=lambda d: Base(**vars(d.base)).address,
    dict_repr=lambda d: repr(vars(d.base)),
    dict_backwards=lambda d: list(reversed(vars(d.base))),
    new_attributes_of_an_empty_one=lambda d: (hasattr(d.empty, "host"), dict(vars(d.empty))),
    many_attributes=lambda d: (d.many.a0, d.many.a29, d.many.a44),
    odd_attributes=lambda d: (d.odd.host, vars(d.odd)[5]),
    added_later=lambda d: (d.other.extra, hasattr(d.one, "extra")),
    equality=lambda d: (d.one == d.equal, d.equal == d.one, d.one != d.equal, d.one == d.other),
    order=lambda d: (d.one < d.other, sorted([d.one, d.other])[0].host),
    hashed=lambda d: hash(d.one) == hash(d.equal) == hash(d.one.address),
    hashed_by_address=lambda d: hash(d.base) == hash(d.base),
    as_key=lambda d: (d.keys[d.one], d.keys[d.equal], d.keys.get(d.other)),
    as_member=lambda d: (d.one in d.members, d.equal in d.members, d.other in d.members),
    as_new_key=lambda d: {d.one: 1, d.base: 2}[d.base],
    length=lambda d: (len(d.one), bool(d.one), bool(d.base)),
    iteration=lambda d: [*d.one, *list(d.one)],
    item=lambda d: d.one["soft"],
    containment=lambda d: ("a" in d.one, "z" in d.one),
    called=lambda d: d.one(5),
    represented=lambda d: (repr(d.base), str(d.one), f"{d.base}", "{0.host}".format(d.one)),
    several=lambda d: operator.attrgetter("host", "me.port")(d.one),
    generic=lambda d: (d.tree.value, Nodes[int](3).value, isinstance(d.tree, Nodes)),
    ordered_dict_of_vars=lambda d: list(collections.OrderedDict(vars(d.base)).items()),
    chain_map=lambda d: collections.ChainMap({}, vars(d.base))["port"],
)


@read
def matched(d):
    match d.one:
        case Server(host, 8080):
            return host
    return None


@read
def matched_by_keyword(d):
    match d.base:
        case Server():
            return 1
        case Base(port=300, host=h):
            return h
    return None


@read
def attribute_loop(d):
    one, total = d.one, 0
    for _ in range(8):
        total += one.port
    return total


@read
def copy_of_dict_is_changed(d):
    copied = vars(d.base).copy()
    copied["port"] = 1
    copied["new"] = 2
    del copied["host"]
    return copied, d.base.port, len(vars(d.base))


@read
def copy_is_changed(d):
    copied = copy.copy(d.base)
    copied.port += 1
    copied.more = 1
    del copied.host
    return vars(copied), d.base.port, d.base.host


@read
def copy_of_one_with_many_is_changed(d):
    copied = copy.copy(d.many)
    copied.a3 = "three"
    copied.new = 1
    return len(vars(copied)), copied.a3, d.many.a3


@read
def plain_instance_takes_frozen_attributes(d):
    plain = Base("plain", 1)
    plain.__dict__.update(vars(d.base))
    plain.port += 1
    return vars(plain)


family.heavy(
    tree_deeply_copied=lambda d: copy.deepcopy(d.tree).children[0].children[0].parent.value,
    pickled_vars=lambda d: pickle.loads(pickle.dumps(vars(d.base))),
)

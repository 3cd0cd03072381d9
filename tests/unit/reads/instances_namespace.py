"""types.SimpleNamespace, and a class that extends it."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: UP031, UP032

import copy
import operator
import sys
import types

from .families import Family, instances


class Settings(types.SimpleNamespace):
    def total(self):
        return self.port + self.extra

    @property
    def address(self):
        return f"{self.host}:{self.port}"


def make():
    loop = types.SimpleNamespace(number=600)
    loop.me = loop
    return {
        "one": types.SimpleNamespace(host="älpha", port=8080, tags=["a", "b"]),
        "equal": types.SimpleNamespace(host="älpha", port=8080, tags=["a", "b"]),
        "other": types.SimpleNamespace(host="beta", port=7070, tags=["c"]),
        "nested": types.SimpleNamespace(inner=types.SimpleNamespace(value=500)),
        "loop": loop,
        "empty": types.SimpleNamespace(),
        "settings": Settings(host="gamma", port=300, extra=4000),
        "odd": types.SimpleNamespace(**{"not a name": 1}),
        "wide": types.SimpleNamespace(**{f"a{i}": i * 1000 for i in range(40)}),
    }


def state(o):
    return o.host, o.port, list(o.tags)


family = Family("namespaces", make)
instances(family, types.SimpleNamespace, state, "port")
read = family.read

family.reads(
    attribute=lambda d: d.one.host,
    attributes=lambda d: (d.one.host, d.one.port, d.other.tags[0]),
    nested=lambda d: d.nested.inner.value,
    cycle=lambda d: d.loop.me.me.me.number,
    many=lambda d: (d.wide.a0, d.wide.a29, d.wide.a39),
    missing=lambda d: (hasattr(d.empty, "x"), getattr(d.one, "x", 0)),
    odd_name=lambda d: getattr(d.odd, "not a name"),
    subclass=lambda d: (d.settings.total(), d.settings.address),
    subclass_attribute=lambda d: d.settings.extra,
    variables=lambda d: dict(vars(d.one)),
    variables_of_subclass=lambda d: dict(vars(d.settings)),
    dict_attribute=lambda d: d.one.__dict__["port"],
    dict_is_the_same=lambda d: vars(d.one) is d.one.__dict__,
    dict_keys=lambda d: list(vars(d.one)),
    dict_items=lambda d: list(vars(d.wide).items()),
    dict_length=lambda d: (len(vars(d.one)), len(vars(d.empty))),
    dict_containment=lambda d: ("host" in vars(d.one), "ghost" in vars(d.one)),
    dict_union=lambda d: vars(d.other) | {"more": 1},
    dict_unpacked=lambda d: {**vars(d.other)},
    rebuilt=lambda d: types.SimpleNamespace(**vars(d.one)) == d.one,
    equality=lambda d: (d.one == d.equal, d.one != d.equal, d.one == d.other, d.empty == d.one),
    equality_from_the_left=lambda d: types.SimpleNamespace(number=1) == d.one,
    equality_of_subclass=lambda d: Settings(host="gamma", port=300, extra=4000) == d.settings,
    represented=lambda d: (repr(d.one), str(d.empty), f"{d.nested}"),
    represented_subclass=lambda d: repr(d.settings),
    represented_cycle=lambda d: repr(d.loop),
    several=lambda d: operator.attrgetter("host", "port")(d.one),
    formatted=lambda d: "{0.host} {0.tags[1]}".format(d.one),
    isinstance_of_subclass=lambda d: (
        isinstance(d.settings, types.SimpleNamespace),
        isinstance(d.settings, Settings),
        isinstance(d.one, Settings),
    ),
    percent=lambda d: "%(host)s" % vars(d.one),
)
if sys.version_info >= (3, 13):
    family.reads(copy_replace=lambda d: copy.replace(d.one, port=1))
family.heavy(
    loop_copied=lambda d: (lambda o: o.me is o)(copy.deepcopy(d.loop)),
    subclass_copied=lambda d: (copy.copy(d.settings).total(), copy.deepcopy(d.settings).extra),
)


@read
def matched(d):
    match d.one:
        case types.SimpleNamespace(host=h, port=8080):
            return h
    return None


@read
def attribute_loop(d):
    total = 0
    for o in (d.one, d.other, d.settings):
        total += o.port
    return total


@read
def copy_of_dict_is_changed(d):
    copied = vars(d.one).copy()
    copied["port"] = 1
    copied["new"] = 2
    return copied, d.one.port


@read
def copy_is_changed(d):
    copied = copy.copy(d.other)
    copied.port += 1
    copied.new = 1
    return vars(copied), d.other.port

"""Who else holds an object: its holders, by the names that a programmer knows them by.

Everything goes in batches, for one look at all that the garbage collector knows takes about 10 ms
in a program with a million objects. A holder that has no name of its own, a list, a tuple, a cell,
is named by who holds it, in the next look; after three it stays "a list".

Local variables are looked up in the frames of all threads, and of generators. What only C code
holds has no name.
"""

from __future__ import annotations

import gc
import sys
from _thread import get_ident
from collections.abc import Callable, Iterable
from itertools import pairwise
from types import (
    AsyncGeneratorType,
    CellType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any, NamedTuple, cast

from . import _core
from ._init_report import Held, type_name

_MOST = 100  # objects whose holders are looked for
_NAMES = 8  # holders of one object
_LOOKS = 3
_OPTIMIZED = 0x01  # variables of others are a dict that the collector knows
_HERE = frozenset({"pmalloc._held", "pmalloc._init", "pmalloc._init_phase"})

_SUSPENDED = {
    GeneratorType: "gi_frame",
    CoroutineType: "cr_frame",
    AsyncGeneratorType: "ag_frame",
}


_ITS_DICT = "attribute __dict__ of "


class _Search(NamedTuple):
    """An object whose holders are looked for."""

    wanted: Any
    results: tuple[int, ...]  # the numbers of the objects that this names
    texts: tuple[str, ...]  # what is put before the name for each: "item [3] of "


def _function_name(function: FunctionType) -> str:
    return f"{function.__module__}.{function.__qualname__}()"


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname}() at {frame.f_code.co_filename}:{frame.f_lineno}"


def _variables(frame: FrameType) -> list[tuple[str, Any]]:
    """The local variables of a function's frame; of others, those of a module's dict, none."""
    if not frame.f_code.co_flags & _OPTIMIZED:
        return []
    variables = frame.f_locals
    found = list(variables.items())
    if sys.version_info < (3, 13):
        variables.clear()  # a copy that the frame keeps, and with it the objects
    return found


def _is_here(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") in _HERE


def _frames() -> list[FrameType]:
    """All that run, in all threads, but for those of this search.

    A frame that had itself, or one that it calls, for a variable would be a cycle.
    """
    tops = sys._current_frames()
    tops.pop(get_ident(), None)
    found: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_here(frame):
        frame = frame.f_back
    for top in (frame, *tops.values()):
        frame = top
        while frame is not None:
            found.append(frame)
            frame = frame.f_back
    return found


def _modules() -> dict[int, str]:
    """id() of a module's dict: its name."""
    return {
        id(object.__getattribute__(module, "__dict__")): name
        for name, module in cast("list[tuple[str, object]]", list(sys.modules.items()))
        if isinstance(module, ModuleType)  # anything may be there
    }


def _keys(names: Any, wanted: object) -> list[Any]:
    return [key for key, value in list(names.items()) if value is wanted]


def _attributes(obj: Any, wanted: object) -> list[str]:
    """The attributes of an instance that have this value, without running its code."""
    try:
        names: Any = object.__getattribute__(obj, "__dict__")
    except AttributeError:
        names = None
    found = [str(key) for key in _keys(names, wanted)] if isinstance(names, dict) else []
    for cls in type(obj).__mro__:
        for name, member in list(vars(cls).items()):
            if type(member).__name__ == "member_descriptor":
                try:
                    if member.__get__(obj) is wanted:
                        found.append(name)
                except (AttributeError, TypeError):
                    continue
    return found


def _in_function(function: FunctionType, wanted: object) -> str | None:
    """How a function has it, or the tuple or cell that is wanted."""
    name = _function_name(function)
    if function.__defaults__ is wanted or function.__kwdefaults__ is wanted:
        return f"a default of {name}"
    if function.__closure__ is wanted:
        return f"the closure of {name}"
    return None


def _in_instance(holder: Any, wanted: object) -> list[str]:
    whose = f"of {_whose(holder)}"
    found = [f"attribute {name} {whose}" for name in _attributes(holder, wanted)]
    if found:
        return found
    if isinstance(holder, dict):  # of a class of its own
        return [f"item [{key!r}] {whose}" for key in _keys(holder, wanted)]
    return [f"{type_name(holder)} object"]


def _name(holder: Any, wanted: Any, modules: dict[int, str]) -> list[str] | None:
    """Names of the places where `holder` has it; None where those who hold `holder` must say."""
    kind = cast("Any", type(holder))
    if kind is dict:
        module = modules.get(id(holder))
        if module is None:
            return None
        return [f"variable {key} of module {module}" for key in _keys(holder, wanted)]
    if kind in {list, tuple, set, frozenset, CellType}:
        return None
    if isinstance(holder, type):
        return []  # by its dict
    if kind is FunctionType:
        found = _in_function(holder, wanted)
        return [found] if found else []
    if kind is MethodType:
        return [f"bound method {holder.__func__.__qualname__}()"]
    if kind is ModuleType:
        return []  # by its dict
    if kind in _SUSPENDED:
        frame = getattr(holder, _SUSPENDED[kind])
        if frame is None:
            return []
        return [
            f"local variable {name} of {_place(frame)}"
            for name, value in _variables(frame)
            if value is wanted
        ]
    if kind is FrameType:
        return [
            f"local variable {name} of {_place(holder)}"
            for name, value in _variables(holder)
            if value is wanted
        ]
    return _in_instance(holder, wanted)


def _item(holder: Any, wanted: Any) -> str:
    """What is put before the name of a holder that has none itself."""
    if type(holder) is dict:
        keys = _keys(holder, wanted)
        return f"item [{keys[0]!r}] of " if keys else "key of "
    if type(holder) in {list, tuple}:
        for n, value in enumerate(holder):
            if value is wanted:
                return f"item [{n}] of "
    return "" if type(holder) is CellType else "item of "


def _tell_of_unnamed(search: _Search, found: list[list[str]]) -> None:
    kind = cast("Any", type(search.wanted))
    what = "a closure" if kind is CellType else f"a {kind.__name__}"
    for number, text in zip(search.results, search.texts, strict=True):
        found[number].append(text + what)


def _joined(text: str, wanted: Any, name: str) -> str:
    """An instance's __dict__ is not worth a word: an item of it is the attribute."""
    if type(wanted) is dict and name.startswith(_ITS_DICT) and text.endswith("'] of "):
        before, _, key = text[: -len("'] of ")].rpartition("item ['")
        return f"{before}attribute {key} of {name.removeprefix(_ITS_DICT)}"
    return text + name


def _is_instance_dict(obj: Any, names: Any) -> bool:
    """Whether a dict is the __dict__ of this object."""
    if type(names) is not dict:
        return False
    if isinstance(obj, type):
        return any(each is names for each in gc.get_referents(vars(obj)))
    try:
        return object.__getattribute__(obj, "__dict__") is names
    except (AttributeError, TypeError):
        return False


def _whose(holder: Any) -> str:
    """Of whom something is an attribute."""
    if isinstance(holder, type):
        return f"class {holder.__module__}.{holder.__qualname__}"
    if isinstance(holder, FunctionType):
        return _function_name(holder)
    if isinstance(holder, ModuleType):
        return f"module {holder.__name__}"
    return f"{type_name(holder)} object"


class _Look:
    """One look through everything for the holders of some objects."""

    def __init__(self, searches: list[_Search], ignore: Callable[[object], bool]) -> None:
        self.searches = searches
        self.by_id = {id(search.wanted): n for n, search in enumerate(searches)}
        self.ignore = ignore
        self.named: list[list[str]] = [[] for _ in searches]
        self.above: list[_Search] = []
        self.modules = _modules()
        running = self.in_frames()
        wanted = tuple([search.wanted for search in searches])  # not copied for the call below
        ours = {id(wanted), id(searches)}
        # This frame may be among them: they must not stay a variable of it.
        holders = [
            holder
            for holder in gc.get_referrers(*wanted)
            if type(holder) not in {FrameType, _Search}
            or (type(holder) is FrameType and id(holder) not in running and not _is_here(holder))
        ]
        for holder in holders:
            if id(holder) not in ours and not ignore(holder):
                self.in_holder(holder)

    def in_frames(self) -> set[int]:
        """Looks into local variables; answers the id() of the frames that run."""
        running: set[int] = set()
        for frame in _frames():
            running.add(id(frame))
            for name, value in _variables(frame):
                if id(value) in self.by_id:
                    text = f"local variable {name} of {_place(frame)}"
                    self.named[self.by_id[id(value)]].append(text)
        return running

    def in_holder(self, holder: Any) -> None:
        """Looks at what an object refers to."""
        results: list[int] = []
        texts: list[str] = []
        for referent in gc.get_referents(holder):
            n = self.by_id.get(id(referent))
            if n is None:
                continue
            if _is_instance_dict(holder, referent):
                self.named[n].append(_ITS_DICT + _whose(holder))
                continue
            names = _name(holder, referent, self.modules)
            if names is not None:
                self.named[n] += names
                continue
            search = self.searches[n]
            results += search.results
            texts += [text + _item(holder, referent) for text in search.texts]
        if results:
            self.above.append(_Search(holder, tuple(results), tuple(texts)))

    def tell(self, found: list[list[str]]) -> None:
        """Adds the names to those of the objects that were asked for."""
        for search, names in zip(self.searches, self.named, strict=True):
            for name in dict.fromkeys(names):
                for number, text in zip(search.results, search.texts, strict=True):
                    found[number].append(_joined(text, search.wanted, name))


def name_holders(objects: list[Any], ignore: Callable[[object], bool]) -> list[list[str]]:
    """For each object, who refers to it.

    Args:
        objects: at most the first 100 are looked for.
        ignore: says of an object whether it does not count as a holder.

    Returns:
        As many lists as objects; of at most 8 names each, and an empty one where nobody was found.
    """
    found: list[list[str]] = [[] for _ in objects]
    searches = [_Search(obj, (n,), ("",)) for n, obj in enumerate(objects[:_MOST])]
    ours = {id(objects), id(found)}
    for look in range(_LOOKS):
        done = _Look(searches, lambda holder: id(holder) in ours or ignore(holder))
        done.tell(found)
        held = {number for each in done.above for number in each.results}
        # What nobody was found to hold, in the last look all that is left, gets no better name.
        for search, names in zip(searches, done.named, strict=True):
            if look and not names and not held & set(search.results):
                _tell_of_unnamed(search, found)
        searches = done.above
        if look == _LOOKS - 1:
            for search in searches:
                _tell_of_unnamed(search, found)
        if not searches:
            break
    return [list(dict.fromkeys(names))[:_NAMES] for names in found]


# ---- for the end of an init phase ----


_NOWHERE = object()


class _Paths:
    """Paths of many objects: who has a hundred thousand parts is gone through once."""

    def __init__(self) -> None:
        self._places: dict[int, dict[int, Any]] = {}  # by id() of the parent, by that of the child

    def _place(self, parent: Any, child: Any) -> Any:
        """The first key or index of the child; _NOWHERE."""
        places = self._places.get(id(parent))
        if places is None:
            places = self._places[id(parent)] = {}
            # Past what a subclass may have made of them.
            kind = cast("Any", type(parent))
            items: Iterable[tuple[Any, Any]]
            if issubclass(kind, dict):
                items = dict[Any, Any].items(parent)
            elif issubclass(kind, list):
                items = enumerate(list[Any].__iter__(parent))
            else:
                items = enumerate(tuple[Any].__iter__(parent))
            for key, value in items:
                places.setdefault(id(value), key)
        return places.get(id(child), _NOWHERE)

    def _step(self, parent: Any, child: Any) -> str:
        """How a path goes on: ``['roles']``, ``[3]``, ``.name``."""
        kind = cast("Any", type(parent))
        if issubclass(kind, (dict, list, tuple)):
            key = self._place(parent, child)
            if key is not _NOWHERE:
                return f"[{key!r}]"
            if issubclass(kind, dict):
                return "<key>"
        if issubclass(kind, (set, frozenset)):
            return "<item>"
        if _is_instance_dict(parent, child):
            return ""
        names = _attributes(parent, child)
        return f".{names[0]}" if names else f"<{type(child).__name__}>"

    def path(self, line: list[Any]) -> str:
        """From the first of the line to its last."""
        steps = ""
        for n, (parent, child) in enumerate(pairwise(line)):
            if n > 0 and _is_instance_dict(line[n - 1], parent):
                name = self._place(parent, child)
                steps += "<key>" if name is _NOWHERE else f".{name}"
            else:
                steps += self._step(parent, child)
        return steps


def describe(
    phase: str,
    lines: list[list[Any]],
    inside: object,
    born: dict[str, Any],
    originals: list[Any],
    leftovers: list[Any] | None,
) -> tuple[Held, ...]:
    """What Pool._settle found to be held elsewhere, with paths and holders.

    Args:
        phase: name of it.
        lines: of each object, from the dict or list that was registered to itself.
        inside: for `_core.in_graph`.
        born: what was registered, by name.
        originals: what these were made of, in the same order.
        leftovers: what was in them, in the same order; None where nothing was changed.
    """
    names = {id(each): name for name, each in born.items()}
    names |= {id(each): name for name, each in zip(born, originals, strict=True)}
    contents = {id(each): each for each in born.values()}
    if leftovers is not None:
        contents = {
            id(each): content for each, content in zip(born.values(), leftovers, strict=True)
        }
    ours = {id(lines), id(born), id(originals), id(leftovers), id(names), id(contents)}
    ours |= {id(line) for line in lines} | {id(each) for each in leftovers or ()}

    def ignore(obj: object) -> bool:
        return id(obj) in ours or (inside is not None and _core.in_graph(inside, obj))

    objects = [line[-1] for line in lines]
    ours.add(id(objects))
    holders = name_holders(objects, ignore)
    paths = _Paths()
    found: list[Held] = []
    for line, who in zip(lines, holders, strict=True):
        path = paths.path([contents.get(id(line[0]), line[0]), *line[1:]])
        name = names.get(id(line[0]))
        found.append(
            Held(f"{phase}[{name!r}]{path}" if name else path, type_name(line[-1]), tuple(who))
        )
    return tuple(found)

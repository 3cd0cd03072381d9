"""The host: which plugins may say no to a request, and the table of their hooks.

pluggy does what it is good at: it finds the hooks of a plugin, checks them against the
specification, and puts them in order. It is not asked at a request. Its own tables are lists and
dicts that any plugin can reach and change; so what it found is copied into a table of ours::

    TABLE ---> {"fixed": {"authorize": [Hook, Hook], ...},     post-init: never changes again
                "late": Cell} ---> {"authorize": [Hook], ...}  write-rare: load() and unload()

As with the security modules of Linux (`security_hook_heads`, read-only after init since 4.12), the
fixed hooks are installed during init, in one order, and a single refusal is enough. The kernel has
no late ones any more: what the owner can unload, an attacker can. Here, hooks that come late stand
behind the fixed ones, and can only refuse more.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pluggy

import pmalloc

PROJECT = "plugin_host"
hook = pluggy.HookimplMarker(PROJECT)
_spec = pluggy.HookspecMarker(PROJECT)


class Specification:
    """What a plugin may implement. Plugins are modules."""

    @_spec
    def authorize(self, user: str, action: str, path: str) -> str | None:
        """Why this is refused; None if this plugin has nothing against it."""

    @_spec
    def decided(self, user: str, action: str, path: str, refusal: str | None) -> None:
        """Is told what was decided."""


class Hook(NamedTuple):
    plugin: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]


type Hooks = dict[str, list[Hook]]

_plugins = pluggy.PluginManager(PROJECT)
_plugins.add_hookspecs(Specification)
_fixed: set[str] = set()

LATE: pmalloc.Cell[Hooks] = pmalloc.Cell({}, name="late hooks")
TABLE: dict[str, Any] = pmalloc.ro_after_init({"fixed": {}, "late": LATE}, name="hooks")


class InUseError(Exception):
    """A plugin can't be unloaded: somebody still uses its data."""


def _hooks_of(names: set[str]) -> Hooks:
    """The hooks of these plugins, in the order in which pluggy would call them."""
    found: Hooks = {}
    for name in ("authorize", "decided"):
        for each in reversed(getattr(_plugins.hook, name).get_hookimpls()):
            if each.plugin_name in names:
                hook = Hook(each.plugin_name, each.function, tuple(each.argnames))
                found.setdefault(name, []).append(hook)
    return found


def _register(module: ModuleType) -> str:
    name = module.__name__.rpartition(".")[2]
    _plugins.register(module, name)
    try:
        _plugins.check_pending()  # a hook that no one specified is a mistake
        for caller in _plugins.get_hookcallers(module) or ():
            if any(each.plugin_name == name and each.wrapper for each in caller.get_hookimpls()):
                raise pluggy.PluginValidationError(module, "wrappers are not for this host")
    except pluggy.PluginValidationError:
        _plugins.unregister(name=name)
        raise
    return name


@pmalloc.init
def install(*modules: str) -> None:
    """Fixed plugins. They are asked in this order, but for tryfirst and trylast."""
    for module in reversed(modules):  # pluggy asks the last one first
        _fixed.add(_register(importlib.import_module(module)))
    TABLE["fixed"].update(_hooks_of(_fixed))


def load(module: str) -> pmalloc.InitReport:
    """A late plugin. While it is imported it has an init phase of its own, named as it is."""
    with pmalloc.late_init(module.rpartition(".")[2]) as phase:
        _register(importlib.import_module(module))
    _publish()
    return phase.report


def unload(module: str) -> None:
    """Takes a late plugin's hooks out of the table, forgets its code, and destroys its data.

    Raises:
        InUseError: somebody still refers to its data. Its hooks are out of the table all the same.
    """
    name = module.rpartition(".")[2]
    if name in _fixed:
        raise ValueError(f"{name} was installed during init, and stays")
    if _plugins.has_plugin(name):
        _plugins.unregister(name=name)
    _publish()
    package = sys.modules[module.rpartition(".")[0]]
    sys.modules.pop(module, None)
    vars(package).pop(name, None)
    gc.collect()
    for version in LATE.versions():  # old tables refer to its functions, and these to its data
        if not (version.current or version.retired):
            _need_unused(version.pool)
            LATE.retire(version.number, force=True)
    gc.collect()
    for pool in _need_unused(name):
        pool.destroy(force=True)


def _need_unused(name: str) -> list[pmalloc.Pool]:
    """The pool of that name, if it is there.

    A word without an owner may be what is left of freed memory. If it is none, and somebody follows
    it, that is reported: the pool's addresses are not used again.
    """
    pools = [pool for pool in pmalloc.pools() if pool.name == name]
    for pool in pools:
        if users := [found for found in pool.references() if found.owner]:
            raise InUseError(f"{name} is still in use: {users[0]}")
    return pools


def _publish() -> None:
    late = {name for name, _ in _plugins.list_name_plugin()} - _fixed
    LATE.publish(_hooks_of(late))


def _hooks(name: str) -> Iterator[Hook]:
    """Looked up from the protected root: a variable of this module might point elsewhere by now."""
    table = pmalloc.root("global")["hooks"]
    yield from table["fixed"].get(name, ())
    yield from table["late"].get().get(name, ())


def authorize(user: str, action: str, path: str) -> str | None:
    """Who refuses it, and why; None if nobody does."""
    request = {"user": user, "action": action, "path": path}
    refusal = None
    for each in _hooks("authorize"):
        if why := each.function(*[request[argument] for argument in each.arguments]):
            refusal = f"{each.plugin}: {why}"
            break
    outcome = request | {"refusal": refusal}
    for each in _hooks("decided"):
        each.function(*[outcome[argument] for argument in each.arguments])
    return refusal

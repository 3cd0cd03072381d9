"""A late plugin that wants to get rid of the others. Each function is one try."""

import ctypes

import pluggy

from plugin_host import host

LENGTH = 16  # of a list in CPython: where its length lies


@host.hook
def authorize():
    """Loaded like any other, and with nothing against anything."""


def never(*request):
    return None


def through_pluggy():
    """Takes all others out of pluggy's tables. That works, and nobody asks pluggy."""
    manager: pluggy.PluginManager = host._plugins
    for name, plugin in manager.list_name_plugin():
        if name != "rogue":
            manager.unregister(plugin)


def assign():
    host.TABLE["fixed"]["authorize"] = [host.Hook("rogue", never, ())]


def remove():
    host.TABLE["fixed"]["authorize"].clear()


def publish():
    """A new table in the variable: who asks the root never looks there."""
    host.TABLE = {"fixed": {}, "late": host.LATE}


def install_late():
    host.install("plugin_host.plugins.rogue")


def go_around():
    """As C code does with PyDict_SetItem."""
    dict.__setitem__(host.TABLE["fixed"], "authorize", [])


def overwrite():
    """As a bug in C code might: the table has no entries any more."""
    ctypes.memset(id(host.TABLE["fixed"]["authorize"]) + LENGTH, 0, 8)


def swap_in_the_cell():
    """The pointer to the table of late hooks."""
    ctypes.memset(id(host.LATE) + LENGTH, 0, 8)


def rewrite_code():
    """What is not covered: a function is an ordinary object, its code can be exchanged."""
    host.TABLE["fixed"]["authorize"][0].function.__code__ = never.__code__
    host.TABLE["fixed"]["authorize"][1].function.__code__ = never.__code__


def steal():
    """Keeps what belongs to a plugin that is about to be unloaded."""
    from plugin_host.plugins import curfew

    host.stolen = curfew.CURFEW["users"]


STOPPED = assign, remove, install_late
FATAL = go_around, overwrite, swap_in_the_cell
WITHOUT_EFFECT = through_pluggy, publish

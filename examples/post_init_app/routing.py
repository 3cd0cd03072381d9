"""Flask, with its routing table in post-init data: the URL map, and the functions it leads to.

Both lie in ROUTING and nowhere else: the application's own attributes look them up there. Flask and
Werkzeug fill them as they always do, while init lasts; at its end all of it is frozen, with every
rule and every state of Werkzeug's matcher. From then on `add_url_rule` raises TypeError.
"""

from __future__ import annotations

from typing import Any

import flask
import werkzeug.routing

import pmalloc

ROUTING: dict[str, Any] = pmalloc.ro_after_init({}, name="routing")

# Held by Map.update(), which has nothing to do any more once it was called: see finish().
pmalloc.register(werkzeug.routing.Map, omit=("_remap_lock",))


def _in_routing(name: str) -> Any:
    return property(
        lambda _: ROUTING[name],
        lambda _, value: ROUTING.__setitem__(name, value),
    )


def _unbound(name: str) -> Any:
    """An attribute that keeps the function of a bound method, and binds it when it is read."""
    return property(
        lambda rule: rule.__dict__[name].__get__(rule),
        lambda rule, method: rule.__dict__.__setitem__(name, method.__func__),
    )


class Rule(werkzeug.routing.Rule):
    """A rule that can be frozen.

    A bound method points back to its object, the ordinary one, and so pmalloc refuses it. Werkzeug
    keeps two of them in each rule, the functions that build URLs.
    """

    _build = _unbound("_build")
    _build_unknown = _unbound("_build_unknown")


class PostInitFlask(flask.Flask):
    url_rule_class = Rule
    url_map = _in_routing("url_map")
    view_functions = _in_routing("view_functions")


@pmalloc.before_mark_rodata_ro
def finish() -> None:
    """Werkzeug sorts its rules at the first request; here, that would be too late."""
    ROUTING["url_map"].update()

"""The application. It is imported once, in gunicorn's master, and its data are read in the workers.

What is not here: the end of init. `gunicorn.conf.py` calls it, when all is loaded. So this module
can be imported by tests, by a shell, by another server.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import flask

import pmalloc

from .geo import CITIES, NAMES, PLACES, City, look_at_everything, named, near
from .routing import ROUTING, PostInitFlask
from .settings import SETTINGS

app = PostInitFlask(__name__, static_folder=None)
TOKYO = "1850147"
LENGTH = 16  # of a list in CPython: where its length lies


def short(city: City) -> City:
    kept = "geonameid", "name", "countrycode", "population", "latitude", "longitude"
    return {key: city[key] for key in kept}


@app.get("/")
def about() -> dict[str, Any]:
    return {
        "title": SETTINGS["title"],
        "cities": len(CITIES),
        "pid": os.getpid(),
        "master": os.getppid(),
        "protected": all(map(pmalloc.is_protected, (SETTINGS, ROUTING, CITIES, NAMES, PLACES))),
        "example": flask.url_for("city", name="Zürich"),
    }


@app.get("/city/<name>")
def city(name: str) -> dict[str, Any]:
    found = named(name)[: SETTINGS["limits"]["cities"]]
    return {"cities": [short(each) for each in found]}


@app.get("/near/<float(signed=True):latitude>/<float(signed=True):longitude>")
def nearest(latitude: float, longitude: float) -> dict[str, Any]:
    found = near(latitude, longitude, SETTINGS["limits"]["near"])
    return {"cities": [short(each) for each in found]}


@app.get("/look")
def look() -> dict[str, int]:
    return {"pid": os.getpid(), "seen": look_at_everything(CITIES) + look_at_everything(NAMES)}


# ---- what must not happen ----


def change_a_setting() -> None:
    SETTINGS["limits"]["cities"] = 10**6


def replace_a_view() -> None:
    app.view_functions["about"] = lambda: "mine"


def add_a_route() -> None:
    app.view_functions.update(mine=lambda: "mine")


def stray_write() -> None:
    """A bug in C code: it writes eight bytes too far to the left, or to the right."""
    ctypes.memset(id(CITIES[TOKYO]["alternatenames"]) + LENGTH, 0, 8)


def around_the_class() -> None:
    """What C code does with PyDict_SetItem."""
    dict.__setitem__(SETTINGS, "attacks", False)


ATTACKS = {
    attack.__name__: attack
    for attack in (change_a_setting, replace_a_view, add_a_route, stray_write, around_the_class)
}

if SETTINGS["attacks"]:

    @app.post("/attack/<name>")
    def attack(name: str) -> dict[str, str]:
        ATTACKS[name]()
        return {"succeeded": name}

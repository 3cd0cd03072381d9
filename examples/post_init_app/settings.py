"""The settings: settings.toml, and what the environment says instead."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pmalloc

FILE = Path(__file__).with_name("settings.toml")
PREFIX = "POST_INIT_APP_"


@pmalloc.init
def load() -> dict[str, Any]:
    settings = tomllib.loads(FILE.read_text())
    for name, value in settings.items():
        said = os.environ.get(PREFIX + name.upper())
        if said is not None and isinstance(value, int):
            settings[name] = type(value)(int(said))
        elif said is not None and isinstance(value, str):
            settings[name] = said
    return settings


# An ordinary dict until the end of init. Whoever imports it by `from .settings import SETTINGS`
# has the one that is frozen then: it stays the same object.
SETTINGS: dict[str, Any] = pmalloc.ro_after_init(load(), name="settings")

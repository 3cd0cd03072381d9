"""Static data of C extensions in an end of init: which sections are whose.

An object that is loaded makes its sections known, with a number that only grows; nothing says who
loaded it. So a late phase has what was made known since it began. Where phases of other threads
are open at the same time, what may be theirs is left to the last of them that ends: better late
than before the other one has written its data.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from . import _core

_ATTRIBUTES = {"ro": "__ro_after_init", "wr": "__wr_after_init"}


class Section(NamedTuple):
    """As _core.sections() tells it."""

    id: int
    path: str
    kind: Literal["ro", "wr"]
    address: int
    bytes: int
    state: str  # "open", "protected", "refused"
    sequence: int

    @property
    def text(self) -> str:
        """``routes.so (__ro_after_init, 4096 bytes)``."""
        return f"{self.path} ({_ATTRIBUTES[self.kind]}, {self.bytes} bytes)"


def known() -> list[Section]:
    """All sections of loaded objects."""
    return [Section(*each) for each in _core.sections()]


def latest() -> int:
    """The number of what was made known last; 0 where there is nothing."""
    return max((each[-1] for each in _core.sections()), default=0)


def protect(begun: int, others: list[int], failures: list[Exception]) -> list[str]:
    """Protects what was made known since `begun`, but for what may be others'.

    Args:
        begun: `latest` of when the phase began.
        others: that of the other phases that are open.
        failures: takes the exceptions.

    Returns:
        What was protected.
    """
    done: list[str] = []
    first = min(others, default=None)
    for section in known():
        if section.state == "protected" or section.sequence <= begun:
            continue
        if first is not None and section.sequence > first:
            continue
        try:
            _core.protect_section(section.id)
        except (ValueError, _core.ProtectedError):  # unloaded, or protected, just now
            continue
        except Exception as error:  # noqa: BLE001 - collected
            failures.append(error)
        else:
            done.append(section.text)
    return done


def left_open() -> tuple[str, ...]:
    """What nobody has protected yet."""
    return tuple(section.text for section in known() if section.state == "open")


def any_new(others: list[int]) -> bool:
    """Whether there is something open that is not of these phases."""
    first = min(others, default=None)
    return any(
        section.state == "open" and (first is None or section.sequence <= first)
        for section in known()
    )

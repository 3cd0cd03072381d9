"""InitReport: what an end of init protected, and what stands against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def type_name(obj: object) -> str:
    """Name of its type, with the module's where that is not builtins."""
    cls = type(obj)
    module = cls.__module__
    return cls.__qualname__ if module == "builtins" else f"{module}.{cls.__qualname__}"


class Held(NamedTuple):
    """An object that was copied into the pool, and that somebody still refers to.

    What is changed there is not changed in the pool: the two differ from then on.
    """

    path: str
    """Of the copy: ``global['settings']['roles']``."""
    type: str
    """Name of its type."""
    holders: tuple[str, ...]
    """Who refers to it, as far as that can be named: ``variable ROLES of module app.db``."""

    def __str__(self) -> str:
        return f"{self.path}: {', '.join(self.holders) or 'somebody who cannot be named'}"


class External(NamedTuple):
    """An object that registered data refers to, and that stays outside and writable."""

    path: str
    """Where it is: ``global['settings']['log']``."""
    type: str
    """Name of its type."""
    reason: str
    """Why it cannot be frozen."""

    def __str__(self) -> str:
        return f"{self.path}: {self.type}{': ' if self.reason else ''}{self.reason}"


class InitReport(NamedTuple):
    """The answer of `mark_rodata_ro`, and of a late init phase. Sizes are in bytes, times in s."""

    phase: str
    """ "global", or the name of the late phase."""
    entries: tuple[str, ...]
    """Names of what was registered."""
    objects: int
    """How many live objects its pools hold."""
    bytes: int
    """What is read-only now, of pools."""
    pools: tuple[str, ...]
    """Names of the pools that are protected."""
    sections: tuple[str, ...]
    """Static data of loaded objects that was protected: file, kind and size."""
    functions: int
    """How many init functions were closed; methods of classes and functions of modules count."""
    classes: int
    """How many classes make no instances any more."""
    held: tuple[Held, ...]
    """Originals that somebody still refers to."""
    externals: tuple[External, ...]
    """What could not be frozen, and stays outside."""
    pending: tuple[str, ...]
    """Generators and coroutines of init functions that had not ended."""
    importing: tuple[str, ...]
    """Modules whose import had not ended."""
    open_phases: tuple[str, ...]
    """Late phases that had begun and not ended."""
    open_sections: tuple[str, ...]
    """Static data that a late phase, or the next call, has to protect."""
    policy: str
    """What follows a write to the phase's pool: "oops", "warn", "audit"; "off": it succeeds."""
    failures: tuple[str, ...]
    """What could not be done, in the words of the exceptions."""
    seconds: float
    """How long the end took, hooks included."""

    def __str__(self) -> str:
        what = "init is over" if self.phase == "global" else f"late phase {self.phase!r} is over"
        state = "not protected, PMALLOC_RODATA=off" if self.policy == "off" else "read-only"
        entries = _plural(len(self.entries), "entry", "entries")
        size = f"{_plural(self.objects, 'object')} and {_plural(self.bytes, 'byte')}"
        pools = _plural(len(self.pools), "pool")
        took = f"{self.seconds * 1e3:.1f} ms"
        lines = [f"{what}: {entries}, {size} in {pools} {state}, in {took}"]
        if self.sections:
            lines.append(f"static data, {state}: {len(self.sections):,}")
            lines += [f"  {each}" for each in self.sections]
        if self.functions or self.classes:
            closed = _plural(self.functions, "init function")
            lines.append(f"closed: {closed}, {_plural(self.classes, 'class', 'classes')}")
        for title, found in (
            ("originals that are held elsewhere", self.held),
            ("outside, and writable", self.externals),
            ("of init functions, and not at their end", self.pending),
            ("modules still being imported", self.importing),
            ("late phases still open", self.open_phases),
            ("static data still writable", self.open_sections),
            ("failed", self.failures),
        ):
            if found:
                lines.append(f"{title}: {len(found):,}")
                lines += [f"  {each}" for each in found]
        return "\n".join(lines)


class InitFailures(ExceptionGroup[Exception]):
    """Init is over, and something could not be done; everything else is.

    Attributes:
        report: what was done.
    """

    report: InitReport

    def derive(self, excs: Sequence[Exception], /) -> InitFailures:  # type: ignore[override]
        """A part of it, for ``except*``."""
        part = InitFailures(self.message, excs)
        part.report = self.report
        return part


for _each in (InitReport, InitFailures):
    _each.__module__ = "pmalloc"

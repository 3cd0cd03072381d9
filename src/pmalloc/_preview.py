"""preview: what freeze would do with an object, without doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import _core

if TYPE_CHECKING:
    from ._objects import Externals


class Found(NamedTuple):
    """An object that stays outside, or that cannot be frozen."""

    path: str
    """From the root, ``['db'].pool``; empty for the root itself."""
    type: str
    """Name of its type, with the module's where that is not builtins."""
    reason: str
    """Why it is refused and what to do; empty for what stays outside."""


class Preview(NamedTuple):
    """The answer of `preview`. Sizes are in bytes."""

    objects: int
    """How many objects would be frozen, equal strings and numbers counted once."""
    types: dict[str, int]
    """The same by name of type, most frequent first."""
    pool_bytes: int
    """What they would take in the pool."""
    shared_key_bytes: int
    """What key tables that records share would take besides, once in the process."""
    ordinary_bytes: int
    """What the objects take now, about: no more than the allocator rounds."""
    externals: list[Found]
    """The first of what stays outside."""
    external_count: int
    """How many externals there are."""
    refused: list[Found]
    """The first of what cannot be frozen."""
    refused_count: int

    @property
    def freezes(self) -> bool:
        """Whether `freeze` would do it."""
        return self.refused_count == 0

    @property
    def saved_per_worker(self) -> int:
        """Bytes that a forked worker would copy by reading all of it, and then does not.

        Reading an object writes its reference count, so a worker copies, page by page,
        about what the objects take.
        """
        return self.ordinary_bytes

    def __str__(self) -> str:
        frozen = self.pool_bytes + self.shared_key_bytes
        lines = [f"{self.objects:,} objects: {frozen:,} bytes frozen, {self.ordinary_bytes:,} now"]
        lines.append(f"saved in each worker that reads all: {self.saved_per_worker:,} bytes")
        lines += [f"  {count:>10,}  {name}" for name, count in self.types.items()]
        for title, found, total in (
            ("external", self.externals, self.external_count),
            ("refused", self.refused, self.refused_count),
        ):
            if total:
                lines.append(f"{title}: {total:,}")
                lines += [
                    f"  {path or 'the root'}: {name}{': ' if reason else ''}{reason}"
                    for path, name, reason in found
                ]
                if total > len(found):
                    lines.append(f"  and {total - len(found):,} more")
        return "\n".join(lines)


def _name(cls: type) -> str:
    return (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )


def preview(obj: object, *, externals: Externals = (), limit: int = 100) -> Preview:
    """What `freeze` would do with an object: what freezes, what stays outside, what is refused.

    It goes through the object as freeze does, registered replacements are called, but no pool
    is made and nothing is raised for what cannot be frozen.

    Args:
        obj: anything.
        externals: as for `freeze`.
        limit: at most so many externals, and so many refused objects, are listed.

    Raises:
        MemoryError: out of memory.
    """
    told = _core.preview(obj, externals, limit)
    types: dict[str, int] = {}
    for cls, count in told["types"].items():
        types[_name(cls)] = types.get(_name(cls), 0) + count
    return Preview(
        objects=told["objects"],
        types=dict(sorted(types.items(), key=lambda item: -item[1])),
        pool_bytes=told["pool_bytes"],
        shared_key_bytes=told["shared_key_bytes"],
        ordinary_bytes=told["ordinary_bytes"],
        externals=[Found(path, _name(type(op)), reason) for path, op, reason in told["external"]],
        external_count=told["n_external"],
        refused=[Found(path, _name(type(op)), reason) for path, op, reason in told["refused"]],
        refused_count=told["n_refused"],
    )

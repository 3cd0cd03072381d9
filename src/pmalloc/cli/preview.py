"""`pmalloc preview module:NAME`: what freezing an object would do, without doing it."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from .output import JSON_HELP, console, fail, print_json, size, table

if TYPE_CHECKING:
    from pmalloc import Preview


def preview(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:NAME",
            help="An object: app.settings:CONFIG, app:state.routes; app:load() calls it.",
        ),
    ],
    external: Annotated[
        list[str] | None,
        typer.Option(
            "--external", metavar="MODULE:TYPE", help="A type that may stay outside; repeatable."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, help="List at most so many externals, and so many refused.")
    ] = 100,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """What freeze() would freeze, keep outside or refuse, and the memory it would save.

    The module is imported, from the current folder as well, and runs what importing it runs.
    Nothing is frozen.

    Exit status: 0 if it can be frozen; 1 if something in it is refused; 2 if there is no
    such object.
    """
    from pmalloc import preview as look

    sys.path.insert(0, "")
    try:
        # What the module prints must not end up in the JSON.
        with contextlib.redirect_stdout(sys.stderr):
            obj = _load(target)
            found = look(obj, externals=[_type(name) for name in external or ()], limit=limit)
    except _NoObjectError as error:
        fail(str(error), kind=error.kind, as_json=as_json)
    if as_json:
        print_json(_as_dict(target, found))
    else:
        _show(console(), target, found)
    if not found.freezes:
        raise typer.Exit(1)


class _NoObjectError(Exception):
    """There is nothing to look at."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def _load(target: str) -> Any:
    """The object that MODULE:NAME names.

    Raises:
        _NoObjectError: there is none, or code on the way to it failed.
    """
    module, colon, path = target.partition(":")
    names = path.removesuffix("()").split(".")
    if not (colon and module and all(name.isidentifier() for name in names)):
        raise _NoObjectError(
            "bad-target", f"{target!r} is no MODULE:NAME, such as app.settings:CONFIG"
        )
    obj: Any = _import(module)
    for name in names:
        try:
            obj = getattr(obj, name)
        except AttributeError as error:
            raise _NoObjectError("no-name", f"{target}: {error}") from None
    if path.endswith("()"):
        try:
            obj = obj()
        except Exception as error:
            raise _failed(f"calling {target}", error) from error
    return obj


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module or module.startswith(f"{error.name}."):
            raise _NoObjectError("no-module", f"there is no module {module!r} here") from None
        raise _failed(f"importing {module}", error) from error
    except Exception as error:
        raise _failed(f"importing {module}", error) from error


def _failed(what: str, error: Exception) -> _NoObjectError:
    """Other people's code failed: its traceback goes to stderr."""
    traceback.print_exception(error)
    return _NoObjectError("failed", f"{what} failed: {type(error).__name__}: {error}")


def _type(target: str) -> type:
    obj = _load(target)
    if not isinstance(obj, type):
        raise _NoObjectError("bad-target", f"--external {target}: that is no type")
    return obj


def _as_dict(target: str, found: Preview) -> dict[str, object]:
    return {
        "target": target,
        "freezes": found.freezes,
        "objects": found.objects,
        "types": found.types,
        "pool_bytes": found.pool_bytes,
        "shared_key_bytes": found.shared_key_bytes,
        "ordinary_bytes": found.ordinary_bytes,
        "saved_per_worker": found.saved_per_worker,
        "external_count": found.external_count,
        "externals": [one._asdict() for one in found.externals],
        "refused_count": found.refused_count,
        "refused": [one._asdict() for one in found.refused],
    }


def _show(out: Console, target: str, found: Preview) -> None:
    out.print(Text(target, "bold").append(" freezes" if found.freezes else " does not freeze"))
    for what, n in (
        ("objects", f"{found.objects:,}"),
        ("bytes now", size(found.ordinary_bytes)),
        ("bytes in the pool", size(found.pool_bytes)),
        ("shared key tables", size(found.shared_key_bytes)),
        ("saved in each worker that reads all", size(found.saved_per_worker)),
    ):
        out.print(f"  {what:<36} {n:>10}")
    if found.types:
        rows = table("type", "objects", right=("objects",))
        for name, count in found.types.items():
            rows.add_row(Text(name), f"{count:,}")
        out.print()
        out.print(rows)
    for title, listed, total in (
        ("external", found.externals, found.external_count),
        ("refused", found.refused, found.refused_count),
    ):
        if not total:
            continue
        rows = table(f"{title}: {total:,}", "type", "why" if title == "refused" else "")
        for path, name, reason in listed:
            rows.add_row(Text(path or "the root"), Text(name), Text(reason))
        if total > len(listed):
            rows.add_row(f"and {total - len(listed):,} more")
        out.print()
        out.print(rows)

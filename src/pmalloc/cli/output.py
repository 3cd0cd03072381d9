"""How subcommands print: tables for people, JSON for programs, failures as one sentence."""

from __future__ import annotations

import json
import sys
from typing import NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

JSON_HELP = "Print JSON instead of tables."


def console() -> Console:
    """Of stdout. What goes into a file or a pipe is not folded at 80 columns."""
    return Console(
        highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160
    )


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; columns named in `right` hold figures."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, show_header=any(columns))
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    typer.echo(json.dumps(value, indent=2))


def fail(text: str, *, kind: str, as_json: bool, status: int = 2) -> NoReturn:
    """Ends the command: the sentence goes to stderr, or with --json into a document."""
    if as_json:
        print_json({"error": {"kind": kind, "message": text}})
    else:
        typer.echo(f"pmalloc: {text}", err=True)
    raise typer.Exit(status)


def size(n: int) -> str:
    """Bytes for people: `16 KiB`, `2.5 MiB`."""
    value = float(n)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"

"""`pmalloc doctor`: what this machine allows; with --attack, what its kernel stops."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from . import findings
from .findings import machine
from .output import JSON_HELP, console, print_json, table

if TYPE_CHECKING:
    from .attacks.arena import Cell, Try

_STYLES = {"ok": "green", "missing": "yellow", "note": "cyan", "broken": "bold red"}


def doctor(
    attack: Annotated[
        bool,
        typer.Option("--attack", help="Try each attack of the threat model's table, on each tier."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="With --attack: every single attempt.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Says what this machine allows, each thing tried; --attack prints the attack table.

    Every attempt runs in a child process, on memory made for it. Nothing of the machine is changed.

    Exit status: 0; 1 if pmalloc does not do its work here, or, with --attack, if an attack came out
    other than the table of the threat model says.
    """
    if attack:
        _attack(verbose, as_json)
    else:
        _look(as_json)


# ---- what there is ----


def _look(as_json: bool) -> None:
    from . import probes

    found = probes.run()
    if as_json:
        print_json(findings.as_dict(found))
    else:
        out = console()
        out.print(machine())
        rows = table("", "", "")
        for finding in found:
            rows.add_row(
                finding.name,
                Text(finding.status, _STYLES[finding.status]),
                findings.explained(finding),
            )
        out.print(rows)
    if status := findings.status(found):
        raise typer.Exit(status)


# ---- what is stopped ----


def _attack(verbose: bool, as_json: bool) -> None:
    from .attacks import arena
    from .attacks.table import HEADS, ROWS, TIERS

    cells = arena.run()
    surprising = any(cell.surprising for row in cells.values() for cell in row.values())
    if as_json:
        print_json(
            {
                "machine": machine(),
                "as_expected": not surprising,
                "rows": [
                    {
                        "key": row.key,
                        "title": row.title,
                        "cells": {
                            tier: dataclasses.asdict(cells[row.key][tier])
                            | {"surprising": cells[row.key][tier].surprising}
                            for tier in TIERS
                        },
                    }
                    for row in ROWS
                ],
            }
        )
    else:
        out = console()
        out.print(f"{machine()}: what is stopped, tried just now")
        heads = [HEADS[tier].strip("`") for tier in TIERS]
        rows = table("attack", *heads)
        for row in ROWS:
            shown = [_shown(cells[row.key][tier]) for tier in TIERS]
            rows.add_row(row.title.replace("`", ""), *shown)
        out.print(rows)
        if verbose:
            rows = table("attempt", *heads)
            for row in ROWS:
                for name, tries in _by_name(cells[row.key]).items():
                    rows.add_row(name, *(_tried(tries.get(tier)) for tier in TIERS))
            out.print()
            out.print(rows)
        if surprising:
            out.print(
                "!! differs from the table of the threat model; please report it, with this output"
            )
    if surprising:
        raise typer.Exit(1)


def _style(verdict: str) -> str:
    if verdict.startswith(("stops", "no effect")):
        return "green"
    return "yellow" if verdict == "no" or verdict.startswith("no (") else ""


def _shown(cell: Cell) -> Text:
    text = Text(cell.verdict, _style(cell.verdict) if cell.here else "dim")
    if cell.surprising:
        text.append(f" !! expected: {cell.expected}", "bold red")
    return text


def _by_name(row: dict[str, Cell]) -> dict[str, dict[str, Try]]:
    """The attempts of a row: by name, by tier."""
    found: dict[str, dict[str, Try]] = {}
    for tier, cell in row.items():
        for one in cell.tries:
            found.setdefault(one.name, {})[tier] = one
    return found


def _tried(one: Try | None) -> Text:
    if one is None:
        return Text("")
    text = Text(one.verdict, _style(one.verdict))
    return text.append(f" ({one.detail})", "dim") if one.detail else text

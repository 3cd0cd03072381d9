"""The command line: which subcommands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from pmalloc import __version__

from . import doctor, maps, preview

app = typer.Typer(
    name="pmalloc",
    help="Protectable memory for Python processes, from the shell.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(maps.maps)
app.command()(doctor.doctor)
app.command()(preview.preview)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pmalloc {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Protectable memory for Python processes, from the shell."""
    del version

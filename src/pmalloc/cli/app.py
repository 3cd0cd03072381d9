"""The command line: which subcommands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from pmalloc import __version__

from . import doctor, explain, maps, preview
from . import run as run_program

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
app.command()(explain.explain)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
def run(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[OPTIONS] SCRIPT|-m MODULE [ARGUMENT ...]")
    ] = None,
) -> None:
    """Runs a program under a policy, and says whether it wrote to protected memory."""
    # main() does not come here; who calls the app itself does.
    raise typer.Exit(run_program.main(arguments or []))


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

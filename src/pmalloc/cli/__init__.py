"""The `pmalloc` command: one file a subcommand.

Nothing here is imported by `import pmalloc`. The command needs typer and rich, the extra
`cli`; without them it says so and ends.
"""

import sys

_MISSING = (
    "pmalloc: the command needs typer and rich, and {name} is not installed: "
    "pip install 'pmalloc[cli]'"
)


def main() -> int:
    """Runs the command with the arguments of the process; answers its exit status."""
    try:
        import rich  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import typer  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        print(_MISSING.format(name=error.name), file=sys.stderr)
        return 2

    from .app import app

    app(prog_name="pmalloc")
    return 0

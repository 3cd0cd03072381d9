"""The `pmalloc` command: one file a subcommand.

Nothing here is imported by `import pmalloc`. The command needs typer and rich, the extra
`cli`; without them it says so and ends. Two subcommands do without: `run`, because a program
must not find them in its process, and `doctor`, because it is asked where things are missing.
"""

import sys

_MISSING = (
    "pmalloc: the command needs typer and rich, and {name} is not installed: "
    "pip install 'pmalloc[cli]'"
)


def main() -> int:
    """Runs the command with the arguments of the process; answers its exit status."""
    if sys.argv[1:2] == ["run"]:
        from . import run

        return run.main(sys.argv[2:])
    try:
        import rich  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import typer  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        if error.name not in {"rich", "typer"}:
            raise
        if sys.argv[1:2] == ["doctor"]:
            from . import plain

            return plain.main(sys.argv[2:])
        print(_MISSING.format(name=error.name), file=sys.stderr)
        return 2

    from .app import app

    app(prog_name="pmalloc")
    return 0

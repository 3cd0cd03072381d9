"""`pmalloc run SCRIPT`: runs a program as `python` would, under a policy; tells of violations.

    pmalloc run --rodata=audit app.py       sets PMALLOC_RODATA, and starts itself anew:
        |                                   the policy is read when pmalloc is imported
        exec, the same command and process
        |
        v
    pmalloc run --rodata=audit app.py       finds the environment as it should be, and
                                            runs app.py as __main__

It takes its arguments apart by itself: typer, rich and what they import must not be in the
process that a program is run in.
"""

from __future__ import annotations

import argparse
import atexit
import builtins
import contextlib
import importlib.machinery
import importlib.util
import os
import pkgutil
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from .violations import Violations

POLICIES = ("oops", "warn", "audit", "off")
STATUS = 3  # the program ended well, and violations happened

_TEXT = """\
Runs a Python program, as `python SCRIPT` and `python -m MODULE` do, and chooses what follows a
write to protected memory. Children inherit the choice.
"""
_STATUS_TEXT = f"""\
Exit status: that of the program. Where it is 0, and violations happened under warn or audit: \
{STATUS}, and a summary on stderr. 2 if there is no such program.
"""


class _NoProgramError(Exception):
    """There is nothing to run."""


def main(arguments: list[str]) -> int:
    """Runs the command; answers its exit status. Exceptions of the program come through."""
    options = _parser().parse_args(arguments)
    try:
        _choose(options.rodata, options.report_dir)
        program = _find(options.program, module=options.module)
    except _NoProgramError as error:
        print(f"pmalloc: {error}", file=sys.stderr)
        return 2
    return _run(program)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pmalloc run",
        usage="pmalloc run [--rodata=POLICY] [--report-dir D] SCRIPT|-m MODULE [ARGUMENT ...]",
        description=_TEXT,
        epilog=_STATUS_TEXT,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--rodata",
        choices=POLICIES,
        metavar="POLICY",
        help="oops: report and die (the default); warn: report once, let the page be written; "
        "audit: record each write, and let it take effect; off: protect nothing",
    )
    parser.add_argument(
        "--report-dir", metavar="D", help="one JSON file a violation; made if it is not there"
    )
    parser.add_argument("-m", dest="module", action="store_true", help="run a module")
    parser.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="SCRIPT|MODULE", help="and its arguments"
    )
    return parser


# ---- the environment ----


def _choose(policy: str | None, folder: str | None) -> None:
    """Sets the environment; where it was another, the command begins anew, and this never returns.

    Raises:
        _NoProgramError: it can't be set.
    """
    wanted: dict[str, str] = {}
    if policy is not None:
        wanted["PMALLOC_RODATA"] = policy
    if folder is not None:
        try:
            Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _NoProgramError(f"--report-dir {folder}: {error.strerror}") from None
        wanted["PMALLOC_REPORT_DIR"] = str(Path(folder).absolute())
    if wanted and sys.flags.ignore_environment:
        raise _NoProgramError(
            "python -E and -I ignore the environment, and with it --rodata and --report-dir; "
            "start Python without them"
        )
    if all(os.environ.get(name) == value for name, value in wanted.items()):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(  # noqa: S606 - this very command
        sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted}
    )


# ---- the program ----


@runtime_checkable
class _HasCode(Protocol):
    """A loader of Python code; zipimporter is one, and none of importlib.abc's."""

    def get_code(self, fullname: str, /) -> types.CodeType | None: ...


@dataclass(frozen=True, slots=True)
class _Program:
    """What becomes __main__."""

    arguments: list[str]  # sys.argv
    folder: str  # sys.path[0]
    names: dict[str, object]  # what Python puts into __main__
    compile: Callable[[], types.CodeType]


def _find(arguments: list[str], *, module: bool) -> _Program:
    """Raises _NoProgramError where there is none."""
    if not arguments:
        raise _NoProgramError("what to run? pmalloc run SCRIPT, or pmalloc run -m MODULE")
    if module:
        return _find_module(arguments)
    given = arguments[0]
    path = Path(given)
    here = str(path.absolute())
    if not path.exists():
        raise _NoProgramError(f"can't open file {given!r}: there is none")
    if path.is_dir() or pkgutil.get_importer(here):  # or a zip file
        spec = importlib.machinery.PathFinder.find_spec("__main__", [here])
        if spec is None:
            raise _NoProgramError(f"can't find '__main__' module in {given!r}")
        return _of_spec(spec, arguments, here)
    kind = (
        importlib.machinery.SourcelessFileLoader
        if path.suffix == ".pyc"
        else importlib.machinery.SourceFileLoader
    )
    loader = kind("__main__", here)

    def compiled() -> types.CodeType:
        if isinstance(loader, importlib.machinery.SourcelessFileLoader):
            return _must(loader.get_code("__main__"), given)
        # Python makes no .pyc of a script, and takes none.
        return loader.source_to_code(loader.get_data(here), here)

    names: dict[str, object] = {"__file__": here, "__loader__": loader, "__cached__": None}
    return _Program(arguments, str(path.resolve().parent), names, compiled)


def _find_module(arguments: list[str]) -> _Program:
    name, folder = arguments[0], str(Path.cwd())
    _set_first_path(folder)
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name = f"{name}.__main__"
            spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:  # of a package above it
        raise _NoProgramError(f"can't find module {name!r}: {error}") from error
    if spec is None:
        raise _NoProgramError(f"there is no module {name!r}")
    return _of_spec(spec, [spec.origin or name, *arguments[1:]], folder)


def _of_spec(spec: importlib.machinery.ModuleSpec, arguments: list[str], folder: str) -> _Program:
    loader: object = spec.loader
    if not isinstance(loader, _HasCode):
        raise _NoProgramError(f"{spec.name!r} is no module that can be run")

    def compiled() -> types.CodeType:
        return _must(loader.get_code(spec.name), spec.name)

    names: dict[str, object] = {
        "__file__": spec.origin,
        "__loader__": loader,
        "__cached__": spec.cached,
        "__package__": spec.parent,
        "__spec__": spec,
    }
    return _Program(arguments, folder, names, compiled)


def _must(code: types.CodeType | None, name: str) -> types.CodeType:
    if code is None:
        raise _NoProgramError(f"there is no Python code of {name!r}")
    return code


def _set_first_path(folder: str) -> None:
    """What Python puts there for a program, in the place of what it put there for us."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _run(program: _Program) -> int:
    tally = _Tally()
    atexit.register(tally.at_exit)  # before the program's own: it runs after them
    main_module = types.ModuleType("__main__")
    names = {**program.names, "__builtins__": builtins}
    if "__annotations__" in sys.modules["__main__"].__dict__:  # before Python 3.14
        names["__annotations__"] = {}
    main_module.__dict__.update(names)
    sys.argv[:] = program.arguments
    _set_first_path(program.folder)
    sys.modules["__main__"] = main_module
    try:
        _execute(program, main_module.__dict__)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    except BaseException:
        sys.excepthook = _without_our_frames(sys.excepthook)
        raise
    tally.status = STATUS if tally.is_ours() and tally.violations.any() else 0
    return tally.status


def _execute(program: _Program, names: dict[str, object]) -> None:
    exec(program.compile(), names)  # noqa: S102 - this is what the command is for


def _without_our_frames(
    hook: Callable[[type[BaseException], BaseException, types.TracebackType | None], object],
) -> Callable[[type[BaseException], BaseException, types.TracebackType | None], None]:
    """A sys.excepthook that shows what `python SCRIPT` shows."""
    ours = (__file__, "<frozen importlib")  # where a program is compiled

    def shortened(
        kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
    ) -> None:
        while trace is not None and trace.tb_frame.f_code is not _execute.__code__:
            trace = trace.tb_next
        while trace is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
            trace = trace.tb_next
        error.__traceback__ = trace
        hook(kind, error, trace)

    return shortened


# ---- afterwards ----


class _Tally:
    """Tells of violations, as the last thing before the interpreter goes."""

    def __init__(self) -> None:
        self.status = 1  # the program's; an exception is one
        self.violations = Violations()
        self._process = os.getpid()

    def is_ours(self) -> bool:
        """Not in a child that the program forked: what a child answers is between the two."""
        return os.getpid() == self._process

    def at_exit(self) -> None:
        if not self.is_ours() or not self.violations.any():
            return
        text = self.violations.summary()
        if self.status in {0, STATUS}:
            text += f"\npmalloc: exit status {STATUS}, because of the violations"
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        print(text, file=sys.stderr, flush=True)
        if self.status == 0:
            # They came from a thread or from an atexit handler, when the status had been said.
            os._exit(STATUS)

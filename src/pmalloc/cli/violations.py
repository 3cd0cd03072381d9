"""What `pmalloc run` says about violations, when the program has ended."""

from __future__ import annotations

import os
from pathlib import Path

# Now, not when the program has ended: what a module does that is loaded then, the interpreter takes
# for a part of the program, and forgets that it ended by Ctrl-C.
from pmalloc import pools, violations

_LINES = 20


class Violations:
    """Those of a program: of this process by its log, of its children by their reports.

    A child's log ends with the child. Where PMALLOC_REPORT_DIR is set, its report is a file
    there, whatever became of it: pmalloc-PID-....json.
    """

    def __init__(self) -> None:
        folder = os.environ.get("PMALLOC_REPORT_DIR")
        self._folder = Path(folder) if folder else None
        self._before = self._reports()

    def _reports(self) -> set[str]:
        if self._folder is None:
            return set()
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - names are all that is wanted
        except OSError:
            return set()
        own = f"pmalloc-{os.getpid()}-"
        return {
            name
            for name in names
            if name.startswith("pmalloc-") and name.endswith(".json") and not name.startswith(own)
        }

    def own(self) -> int:
        """Writes that a policy let happen in this process."""
        return sum(record.count for record in violations()) or sum(
            pool.stats()["violations_dropped"] for pool in pools()
        )

    def of_others(self) -> int:
        """Reports of other processes, since the program began."""
        return len(self._reports() - self._before)

    def any(self) -> bool:
        """Whether there were any."""
        return bool(self.own() or self.of_others())

    def summary(self) -> str:
        """How many, and a line for each writer, the busiest first."""
        found = sorted(violations(), key=lambda record: -record.count)
        lines: list[str] = []
        if writes := self.own():
            lines.append(
                f"pmalloc: {_some(writes, 'write')} to protected memory, by "
                f"{_some(len(found), 'writer')}:"
            )
            lines += [f"  {record}" for record in found[:_LINES]]
            if len(found) > _LINES:
                lines.append(f"  and {len(found) - _LINES:,} more")
        if reports := self.of_others():
            lines.append(
                f"pmalloc: {_some(reports, 'report')} by other processes in {self._folder}"
            )
        return "\n".join(lines)


def _some(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"

"""What `pmalloc doctor` found, in the forms that need no other package."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .probes import Finding


def machine() -> str:
    """The kernel and the CPU, in a line."""
    return f"{platform.system()} {platform.release()}, {platform.machine()}"


def status(found: Sequence[Finding]) -> int:
    """The exit status: 1 if something that pmalloc needs is missing."""
    return int(any(finding.status == "broken" for finding in found))


def explained(finding: Finding) -> str:
    """What was found, what follows, and what to do: a line each."""
    lines = [finding.detail, finding.consequence]
    if finding.remedy:
        lines.append(f"remedy: {finding.remedy}")
    return "\n".join(line for line in lines if line)


def as_dict(found: Sequence[Finding]) -> dict[str, object]:
    """For JSON."""
    return {
        "machine": machine(),
        "ok": status(found) == 0,
        "findings": [dataclasses.asdict(finding) for finding in found],
    }


def plain(found: Sequence[Finding]) -> str:
    """A table of text."""
    name = max(len(finding.name) for finding in found)
    lines = [machine()]
    for finding in found:
        first, *rest = explained(finding).splitlines()
        lines.append(f"{finding.name:<{name}}   {finding.status:<7}   {first}")
        lines += [" " * (name + 13) + line for line in rest]
    return "\n".join(lines)

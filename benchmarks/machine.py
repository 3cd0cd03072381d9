"""The machine and the moment, for the table's caption."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import pmalloc


def _field(path: str, key: str) -> str:
    """The value of a `key : value` line; "" where there is none."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def _huge_pages() -> str:
    try:
        text = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return "not built in"
    return text.partition("[")[2].partition("]")[0]


def _memory() -> str:
    kib = _field("/proc/meminfo", "MemTotal").split()
    return f"{int(kib[0]) / 2**20:.0f} GiB" if kib else "unknown"


def describe() -> dict[str, str]:
    cpu = _field("/proc/cpuinfo", "model name") or platform.machine()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "Python": f"{platform.python_version()}, {platform.python_compiler()}",
        "pmalloc": pmalloc.__version__,
        "CPU": f"{cpu}, {len(os.sched_getaffinity(0))} cores"
        + (", virtual" if "hypervisor" in _field("/proc/cpuinfo", "flags").split() else ""),
        "RAM": _memory(),
        "kernel": f"Linux {platform.release()}, {platform.machine()}",
        "transparent huge pages": _huge_pages(),
        "load before the run": f"{os.getloadavg()[0]:.2f}",
    }

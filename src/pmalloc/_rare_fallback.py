"""What stands between a write-rare pool and the door that opens no page: said, not passed over."""

from __future__ import annotations

import os
import warnings

_HERE = os.path.dirname(__file__) + os.sep  # noqa: PTH120 - pathlib is heavy to import

CONSEQUENCE = (
    "each rare write makes its chunk writable for a moment, for other threads, too; sealed, the "
    "pool could not be written any more"
)
_warned = False


def why(backing: str) -> tuple[str, str]:
    """What is in the way, and what to do about it. For who knows that something is.

    Args:
        backing: of the pool, "private" or "memfd".
    """
    if backing == "memfd":
        return "a memfd can't be written here", "let the sandbox pass memfd_create and pwrite64"
    try:
        os.close(os.open("/proc/self/mem", os.O_RDWR))
    except OSError as error:
        if not os.path.exists("/proc/self"):  # noqa: PTH110
            return (
                "there is no /proc",
                "mount it before the first write-rare pool is made, or use backing='memfd'",
            )
        remedy = (
            "make the first write-rare pool before the process gives up its privileges or enters a "
            "sandbox (what is open stays good), or use backing='memfd'"
        )
        return f"/proc/self/mem can't be opened: {error.strerror}", remedy
    return (
        "the kernel lets /proc/self/mem write no page that is read-only (proc_mem.force_override)",
        "boot with proc_mem.force_override=always, or use backing='memfd'",
    )


def tell(name: str, backing: str) -> None:
    """Warns, once a process, that a pool that is being made has no better way than a window."""
    global _warned
    if _warned:
        return
    reason, remedy = why(backing)
    warnings.warn(
        f"pool {name!r} is write-rare, and {reason}: {CONSEQUENCE}; {remedy}",
        RuntimeWarning,
        skip_file_prefixes=(_HERE,),
    )
    _warned = True  # where it is an exception, nobody has a pool yet


def silence() -> None:
    """Says nothing from here on: who asks says it better."""
    global _warned
    _warned = True

"""The attack table: what each tier stops. Written down once.

`pmalloc doctor --attack` prints what the running kernel answers and marks what differs from
this; tests/unit/test_attacks.py holds the kernel to it, and the documents.
"""

from __future__ import annotations

from dataclasses import dataclass

STOPS = "stops"
NO = "no"
DENIAL = "no (denial, no change)"  # the data is taken away; nobody reads other data in its place
NO_EFFECT = "no effect"  # the call succeeds, and does nothing to the data
MIXED = "no effect, or stops"
YES = "yes"
NEVER = "never again"
NO_FILE = "no file"
BY_MEM = "by /proc/self/mem only"

PROTECT, SEAL, IMMUTABLE = TIERS = ("protect", "seal", "immutable")
HEADS = {
    PROTECT: "`protect()`",
    SEAL: "`protect(seal=True)`",
    IMMUTABLE: "`protect(immutable=True)`",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of attack, and what comes of it on a kernel that has all there is."""

    key: str
    title: str
    protect: str
    seal: str
    immutable: str

    def expected(self, tier: str) -> str:
        """The cell of a tier."""
        return {PROTECT: self.protect, SEAL: self.seal, IMMUTABLE: self.immutable}[tier]


ROWS = (
    Row("store", "any store by code in the process", STOPS, STOPS, STOPS),
    Row("mprotect", "`mprotect`, `pkey_mprotect` back", NO, STOPS, STOPS),
    Row(
        "replace",
        "`munmap`, `mremap`, `MAP_FIXED` over it, `shmat`, `remap_file_pages`",
        *(NO, STOPS, STOPS),
    ),
    Row(
        "discard",
        "`MADV_DONTNEED`, `MADV_FREE`, `MADV_REMOVE`, `MADV_WIPEONFORK`",
        *(NO, STOPS, MIXED),
    ),
    Row("dontfork", "`MADV_DONTFORK`", DENIAL, STOPS, DENIAL),
    Row("guard", "`MADV_GUARD_INSTALL`", DENIAL, STOPS, DENIAL),
    Row("uffd", "`UFFDIO_COPY`", STOPS, STOPS, STOPS),
    Row("proc-mem", "`/proc/self/mem`, ptrace", NO, NO, STOPS),
    Row("vm-writev", "`process_vm_writev`", STOPS, STOPS, STOPS),
    Row("pinned", "pages pinned for writing beforehand (io_uring)", NO, NO, STOPS),
    Row(
        "file",
        "the file behind it: `pwrite`, `ftruncate`, punching a hole, a writable mapping",
        *(NO_FILE, NO_FILE, STOPS),
    ),
    Row("rare-write", "rare write possible", YES, BY_MEM, NEVER),
    Row("shared", "shared with unrelated processes", NO, NO, YES),
    Row("destroy", "can be destroyed", YES, NO, NO),
)

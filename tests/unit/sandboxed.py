"""Runs the `pmalloc` command where system calls of some numbers fail."""

import platform
import subprocess
import sys

ARM = platform.machine() == "aarch64"
MSEAL, IO_URING_SETUP = 462, 425
USERFAULTFD, MEMFD_CREATE, PROCESS_VM_READV, TGKILL = (
    (282, 279, 270, 131) if ARM else (323, 319, 310, 234)
)

# A process in which system calls of some numbers fail, as under a kernel that has not got them.
SANDBOX = """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
errno, numbers = int(sys.argv[1]), [int(n) for n in sys.argv[2].split(",")]
code = [(0x20, 0, 0, 0)]
for n in numbers:
    code += [(0x15, 0, 1, n), (0x06, 0, 0, 0x00050000 | errno)]
code += [(0x06, 0, 0, 0x7FFF0000)]
raw = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(raw))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
sys.argv = ["pmalloc", *sys.argv[3:]]
from pmalloc.cli import main
sys.exit(main())
"""


def sandboxed(error: int, numbers: list[int], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SANDBOX, str(error), ",".join(map(str, numbers)), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

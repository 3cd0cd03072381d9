"""A store into the metadata of a sealed pool, whose pages nobody can make writable either.

Exit: SIGSEGV
Stdout:
    mprotect: Operation not permitted
Stderr:
    pmalloc: write to metadata of pool 'the name of the pool'
      address      0x* (pool 'the name of the pool', metadata)
      object       none (metadata)
      thread       PID/PID 'python'
      instruction  0x* libc.so.6+0x*
      policy       oops
      Python stack of this thread:
    Stack (most recent call first):
      File "sealed_metadata.py", line {here} in <module>
"""

import ctypes
import os
from pathlib import Path

import pmalloc

PAGE = os.sysconf("SC_PAGE_SIZE")


def read_only_pages() -> list[int]:
    """Pages of this process that can be read and not written, and belong to no file."""
    pages = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, inode, *_ = line.split()
        if rights == "r--p" and inode == "0":
            start, _, end = span.partition("-")
            pages += range(int(start, 16), int(end, 16), PAGE)
    return pages


def find(text: bytes) -> list[int]:
    found = []
    memory = os.open("/proc/self/mem", os.O_RDONLY)
    for page in read_only_pages():
        try:
            place = os.pread(memory, PAGE, page).find(text)
        except OSError:  # a guard page
            continue
        if place >= 0:
            found.append(page + place)
    return found


pool = pmalloc.Pool("the name of the pool")
pool.alloc(64)
pool.protect(seal=True)
[address] = find(b"the name of the pool")
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect(ctypes.c_void_p(address & -PAGE), ctypes.c_size_t(PAGE), 3)
print("mprotect:", os.strerror(ctypes.get_errno()))
ctypes.memset(address, 0, 3)  # here

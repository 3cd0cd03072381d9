"""Immutable pools of other processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core, _handler, _origin

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


def open_shared(
    fd: FileDescriptorLike, *, verify: bool = True, seal: bool = True
) -> _core.SharedPool:
    """Opens the immutable pool of another process, by the descriptor of its memory.

    Its maker sends what `Pool.fileno` gives: through a socket (`socket.send_fds`), to a child
    (`subprocess` with `pass_fds`), or leaves it to be found in `/proc/PID/fd`. Both processes read
    the same pages; nobody can write them. What the file says of itself is checked, so it may come
    from a process that is not trusted.

    Args:
        fd: a descriptor, or an object with `fileno()`. It may be closed afterwards.
        verify: make sure that the file can never change. Without, the file may be a copy on a disk;
            whoever can write that file can change what is read here, or cut it off, which ends
            this process by SIGBUS.
        seal: also keep code of this process from putting something else in the mapping's place,
            where the kernel can (Linux 6.10). It then stays for the life of the process.

    Returns:
        The allocations as a sequence of read-only memoryviews. Objects that were frozen into the
        pool are not among them: they point to memory of the process that made them.

    Raises:
        PmallocError: the file can still change; or it is not an immutable pool's, or damaged.
        OSError: not a descriptor, or the kernel refused.
        MemoryError: out of memory, address space or mappings.

    Idea: sealed memfds passed between processes (David Herrmann, Linux 3.17).
    """
    _handler.install()
    shared = _core.open_shared(fd, verify=verify, seal=seal)
    _origin.created(shared)
    return shared

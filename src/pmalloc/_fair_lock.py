"""A reentrant lock that is handed over in the order in which threads came."""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _thread import LockType
    from types import TracebackType


class FairLock:
    """As threading.RLock, first come, first served.

    Whoever lets go of an RLock and wants it again at once mostly gets it: a thread that publishes
    in a loop would keep all others, and fork(), waiting for seconds.
    """

    __slots__ = ("_depth", "_gate", "_owner", "_waiting")

    def __init__(self) -> None:
        self._gate = allocate_lock()  # of what follows; held for some instructions
        self._owner: int | None = None
        self._depth = 0
        self._waiting: deque[tuple[int, LockType]] = deque()

    def acquire(self) -> None:
        me = get_ident()
        if self._owner == me:
            self._depth += 1
            return
        with self._gate:
            if self._owner is None:
                self._owner = me
                self._depth = 1
                return
            turn = allocate_lock()
            turn.acquire()
            self._waiting.append((me, turn))
        try:
            turn.acquire()  # then it is ours already
        except BaseException:
            with self._gate:
                ours = self._owner == me
                if not ours:
                    self._waiting.remove((me, turn))
            if ours:
                self.release()
            raise

    def release(self) -> None:
        self._depth -= 1
        if self._depth > 0:
            return
        with self._gate:
            if not self._waiting:
                self._owner = None
                return
            self._owner, turn = self._waiting.popleft()
            self._depth = 1
            turn.release()

    def alone(self) -> None:
        """In a child of fork(), by the thread that has it: the others are gone."""
        self._gate = allocate_lock()
        self._waiting.clear()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

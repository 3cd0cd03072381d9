"""The part of pmalloc that has to be C. Import pmalloc instead."""

from collections.abc import Buffer, Callable, Iterable, Iterator
from types import FunctionType, TracebackType
from typing import Any, ClassVar, Literal, Never, Self, TypedDict, TypeVar, final, overload

import numpy.typing as npt
from _typeshed import FileDescriptorLike

from ._pools import Pool as _PythonPool

_K = TypeVar("_K")
_V = TypeVar("_V")
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

class PmallocError(Exception):
    """Base of what pmalloc raises."""

class ProtectedError(PmallocError):
    """The pool is protected: nothing can be allocated, frozen or protected again."""

class SealedError(PmallocError):
    """The pool is sealed: it cannot be destroyed."""

class DestroyedError(PmallocError):
    """The pool was destroyed."""

class UnfreezableError(PmallocError, TypeError):
    """An object cannot be frozen; `path` says where it is, '' is the root."""

    path: str

class CorruptionError(PmallocError):
    """Something wrote where only pmalloc may write: around an allocation, or into metadata.

    Where a redzone was hit: `address` and `size` of the allocation, and `offset` of the first byte
    that is wrong, below 0 in front of it. Else they are None.
    """

    address: int | None
    size: int | None
    offset: int | None

class PoolStats(TypedDict):
    name: str
    state: Literal["open", "protected", "sealed", "immutable", "destroyed"]
    backing: Literal["private", "memfd"]
    chunks: int
    reserved_bytes: int
    used_bytes: int
    allocations: int
    objects: int
    metadata_bytes: int
    shared_key_bytes: int
    views: int
    on_violation: Literal["oops", "warn", "audit", "off"]
    policy: Literal["oops", "warn", "audit", "off"]
    tainted: bool
    violations: int
    violations_stepped: int
    violations_dropped: int
    mode: Literal["ro", "wr", "auto_ro", "auto_wr", "start_wr"]
    rare_write: Literal["none", "plain", "proc_mem", "memfd", "mprotect", "key"]
    rare_writes: int
    rare_bytes: int

class FrozenInstance:
    """What all frozen instances of Python classes are, besides their own class."""

class RecordClass(type):
    """What the classes of Records are instances of."""

@final
class Field:
    """A field of a Record class: where it lies, and how it is read."""

    __objclass__: type
    __name__: str
    @property
    def offset(self) -> int:
        """Bytes from the start of the object, `id(record)`, to the field."""
    @property
    def size(self) -> int:
        """Bytes of the field."""
    @property
    def kind(
        self,
    ) -> Literal[
        "bool",
        "i8",
        "i16",
        "i32",
        "i64",
        "u8",
        "u16",
        "u32",
        "u64",
        "f32",
        "f64",
        "ref",
        "bytes",
        "str",
    ]:
        """How it is stored."""

class Record:
    """What pmalloc.Record is derived from."""

    def __init__(self, **fields: Any) -> None: ...
    def snapshot(self) -> Self:
        """A copy in ordinary memory, with all fields as they were at one moment.

        No rare write of the pool, Python's or C's, comes in between. Fields that are read one by
        one may be of different moments. Stores into a pool that is open are not excluded.

        Raises:
            DestroyedError: the pool was destroyed.
        """

@final
class RareWrite[Staged]:
    """One rare write under way; `rare_write` makes it."""

    def __enter__(self) -> Staged: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> Literal[False]: ...

class PreviewDict(TypedDict):
    objects: int
    pool_bytes: int
    shared_key_bytes: int
    ordinary_bytes: int
    types: dict[type, int]
    external: list[tuple[str, object, str]]
    n_external: int
    refused: list[tuple[str, object, str]]
    n_refused: int

@final
class Allocation:
    """Bytes of a pool; take memoryview() of it. Pool.alloc() makes it."""

    @property
    def address(self) -> int:
        """Address of the first byte."""
    @property
    def size(self) -> int:
        """Size in bytes, as asked for."""
    @property
    def pool(self) -> _PythonPool:
        """The pool it belongs to."""
    @property
    def freed(self) -> bool:
        """Whether it was freed."""
    @property
    def shared_index(self) -> int | None:
        """Its number in the eyes of `open_shared`; None unless its pool is immutable."""
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __release_buffer__(self, view: memoryview, /) -> None: ...

@final
class ArrayData:
    """The memory of an array in a pool: the base of NumPy arrays, of typed views and structures."""

    @property
    def pool(self) -> _PythonPool:
        """The pool it belongs to."""
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class SharedPool:
    """Another process's immutable pool, read-only; `open_shared` makes it.

    A sequence of read-only memoryviews, one for each allocation that was alive when the pool was
    made immutable, in the order of addresses: `Allocation.shared_index` is the number of one.
    """

    @property
    def _id(self) -> int: ...
    @property
    def name(self) -> str:
        """The pool's name in the process that made it."""
    @property
    def views(self) -> tuple[memoryview, ...]:
        """All allocations."""
    @property
    def nbytes(self) -> int:
        """Bytes that are mapped; 0 once closed."""
    @property
    def sealed(self) -> bool:
        """Whether the mapping is sealed, and stays for the life of the process."""
    @property
    def closed(self) -> bool:
        """Whether it was closed."""
    def __len__(self) -> int: ...
    def __getitem__(self, n: int, /) -> memoryview: ...
    def __iter__(self) -> Iterator[memoryview]: ...
    def close(self) -> None:
        """Gives the memory back. Closing a closed one does nothing.

        Raises:
            SealedError: it was opened with `seal`, and the kernel can.
            BufferError: views of it are alive.
        """

# Calling a frozen type gives what calling the plain one would: a type checker cannot say that.

@final
class FrozenDict(dict[_K, _V]):
    """A dict in a pool: it is read as any dict, and never changes."""

@final
class FrozenList(list[_T]):
    """A list in a pool: it is read as any list, and never changes."""

@final
class FrozenSet(frozenset[_T_co]):
    """A frozenset in a pool that was a set; unhashable, as that was."""

    __hash__: ClassVar[None]  # type: ignore[assignment]

class Cell[T]:
    """The slot; see pmalloc.Cell."""

    def __new__(cls, pool: Pool, version: object, /) -> Self: ...
    def get(self) -> T:
        """The object of the current version.

        The pointer is read from the protected page each time.
        """
    def get_versioned(self) -> tuple[int, T]:
        """The number of the current version, and its object, as they belong together."""
    @property
    def version(self) -> int:
        """The number of the current version."""
    @property
    def _slot(self) -> tuple[bytes, int]: ...
    def _swap(self, version: object, /) -> None: ...

class Pool:
    """A named group of chunks that are protected together; see pmalloc.Pool."""

    def __new__(
        cls,
        name: str,
        *,
        chunk_size: int = 0,
        backing: Literal["private", "memfd"] = "private",
        redzones: bool = False,
        hardened: bool = False,
        on_violation: Literal["oops", "warn", "audit", "off"] | None = None,
        mode: Literal["ro", "wr", "auto_ro", "auto_wr", "start_wr"] = "ro",
        _global: bool = False,
    ) -> Self: ...
    @property
    def name(self) -> str:
        """The pool's name."""
    @property
    def state(self) -> Literal["open", "protected", "sealed", "immutable", "destroyed"]:
        """Where the pool is in its life."""
    @property
    def mode(self) -> Literal["ro", "wr", "auto_ro", "auto_wr", "start_wr"]:
        """What may change its memory when it is protected; "ro" or "wr" once it is."""
    def make_ro(self) -> None:
        """Turns a protected pool that is write-rare into one that is read-only, for good.

        Raises:
            ProtectedError: it is read-only already.
            PmallocError: it is open; `protect` it first.
            DestroyedError: the pool was destroyed.
            OSError, MemoryError: the kernel refused; the pool is as it was.
        """
    @property
    def root(self) -> object:
        """The object of the last freeze(), read from protected metadata; None without."""
    @property
    def _id(self) -> int: ...
    @property
    def _arrays(self) -> int: ...
    def _reaches(self) -> list[tuple[int, str, bool]]: ...
    def _references(self, limit: int, /) -> tuple[int, list[tuple[int, str, str, int, int]]]: ...
    def _array_memory(self, size: int, /) -> ArrayData: ...
    def _need_open(self, verb: str, /) -> None: ...
    def alloc(self, size: int, *, align: int = 16) -> Allocation:
        """Hands out `size` zeroed bytes at a multiple of `align`, a power of two up to a page.

        Raises:
            ProtectedError, DestroyedError: the pool is not open.
            ValueError: size or alignment no pool can honour.
            MemoryError: out of memory; the pool is as it was.
        """
    def copy(self, data: Buffer, /) -> Allocation:
        """An allocation of the size and content of `data`, anything with the buffer protocol.
        A str has to be encoded; what is not contiguous is copied in C order.

        Raises:
            ProtectedError, DestroyedError, MemoryError: as alloc.
        """
    def array(self, n: int, itemsize: int, /) -> Allocation:
        """An allocation of `n` items of `itemsize` bytes, zeroed.

        Raises:
            ValueError: `n` is negative or `itemsize` less than 1.
            MemoryError: their product is more than there can be, too.
            ProtectedError, DestroyedError: as alloc.
        """
    def free(self, allocation: Allocation, /) -> None:
        """Takes an allocation back; its memory is used again. In a protected pool it only
        drops out of the accounting.

        Raises:
            BufferError: views of it are alive.
            ValueError: it is another pool's, or was freed before.
            DestroyedError: the pool was destroyed.
        """
    def check(self) -> None:
        """Looks at all redzones now, as `protect` does, and at links where the pool is hardened.

        Raises:
            CorruptionError: one is not as pmalloc wrote it; `address`, `size` and `offset` say
                where.
            DestroyedError: the pool was destroyed.
        """
    def prealloc(self, nbytes: int, /) -> None:
        """Makes sure that `nbytes` more can be allocated without asking the kernel.

        Raises:
            ProtectedError, DestroyedError, MemoryError: as alloc.
        """
    @overload
    def freeze(
        self, obj: dict[_K, _V], /, *, externals: type | Iterable[type] = ()
    ) -> FrozenDict[_K, _V]:
        """Deep-copies obj into the pool as live objects, and makes it the pool's root.

        Raises:
            UnfreezableError: something in it is of a kind that does not freeze.
            ProtectedError, DestroyedError, MemoryError: as alloc. Nothing is left behind.
        """
    @overload
    def freeze(
        self, obj: list[_T], /, *, externals: type | Iterable[type] = ()
    ) -> FrozenList[_T]: ...
    @overload
    def freeze(
        self, obj: set[_T], /, *, externals: type | Iterable[type] = ()
    ) -> FrozenSet[_T]: ...
    @overload
    def freeze(self, obj: _T, /, *, externals: type | Iterable[type] = ()) -> _T: ...
    def _place[R: Record](self, record: R, /) -> R: ...
    @overload
    def _born[K, V](self, value: dict[K, V], /) -> dict[K, V]: ...
    @overload
    def _born[T](self, value: list[T], /) -> list[T]: ...
    def _settle(
        self, names: dict[str, Any], originals: list[Any], strict: bool, /
    ) -> tuple[
        FrozenDict[str, Any] | None,
        list[tuple[str, object, str]],
        list[list[object]],
        object,
        list[object] | None,
    ]:
        """Freezes everything that was born in the pool, where it is, with names as the root.

        Args:
            names: has each of what was born as a value.
            originals: what they were made of. Nobody else may refer to that, but for the list.
            strict: do nothing where `held` is not empty, or something cannot be frozen.

        Returns:
            The root, None where nothing was done; what could not be frozen and stays outside, as
            (path, object, advice); the lines of what is held elsewhere, each from its first known
            holder to itself; for `in_graph`, or None; what must be let go of when all is protected.

        Raises:
            UnfreezableError, MemoryError, RuntimeError, ValueError: nothing was done.
        """

    def protect(self, revoke: bool = False, *, seal: bool = False, immutable: bool = False) -> None:
        """Makes the pool read-only; see pmalloc.Pool.protect."""
    def fileno(self) -> int:
        """The descriptor of an immutable pool's memory, for `open_shared` in another process.

        It is the pool's own, read-only and close-on-exec: send or duplicate it, do not close it.

        Raises:
            PmallocError: the pool is not immutable.
            OSError: somebody closed the descriptor; errno is EBADF.
        """
    def destroy(self, force: bool = False) -> None:
        """Ends the pool; see pmalloc.Pool.destroy."""
    def stats(self) -> PoolStats:
        """Sizes in bytes, and counts. `shared_key_bytes` is of the whole process."""

@overload
def rare_write(target: Allocation | memoryview, /) -> RareWrite[memoryview]:
    """Edits a copy of write-rare data, and stores what changed. ::

        with pmalloc.rare_write(switches) as staged:
            staged.enabled = False

    `staged` is an ordinary, writable copy. When the block ends without an exception, exactly the
    bytes that it changed are stored, a page's in one go; after an exception, none. Nothing of the
    pool is writable meanwhile, for nobody: each store goes through the kernel, some microseconds.
    Only where there is neither /proc/self/mem nor a memfd the memory is writable for the moment
    of storing: ``pool.stats()["rare_write"]`` is "mprotect" then.

    One thread at a time edits copies of a pool's data. Others wait, at the with-statement, and
    can be interrupted there. A thread may open several targets of one pool, if they do not
    overlap (a view of every second row reaches from the first to the last), and several pools; of
    threads that would wait for each other in a circle one gets an exception instead. Tasks of one
    event loop are one thread: do not await in the block. In a child of fork() nothing is open but
    what the forking thread had.

    Python code never sees a part of what a block stores. Code that runs without the GIL may,
    NumPy's included: an aligned word of up to 8 bytes was never seen half written, and nothing
    promises it.

    A pool that is still open is written the same way, so that code need not know. After the block
    the memoryview is released; an array or a Record is an ordinary copy from then on.

    Args:
        target: an `Allocation`, or a memoryview of bytes of one; `staged` is a memoryview. A NumPy
            array of a pool, or any view of one; `staged` is an array of the same shape, strides
            and dtype. A `Record` of a pool; `staged` is an instance of its class.

    Raises: when the block begins, with nothing changed, or, where the pool changed meanwhile, at
        its end:
        ProtectedError: the pool's mode has no rare write, or has no more after `make_ro`.
        DestroyedError: the pool was destroyed.
        PmallocError: this thread has the target, or a part of it, open already; or waiting for the
            pool would never end.
        ValueError: it lies in ordinary memory, or was freed.
        TypeError: it is neither of these; frozen objects do not change.
        OSError: nothing can write a sealed pool here.

    Idea: rare_write() of the kernel hardening patches (Kees Cook, 2017); twins, of the later
    series of pmalloc (Igor Stoppa, 2018).
    """

@overload
def rare_write[R: Record](target: R, /) -> RareWrite[R]: ...
@overload
def rare_write[A: npt.NDArray[Any]](target: A, /) -> RareWrite[A]: ...
def set_rare_log(
    log: Callable[[object, str, int, int, int, list[tuple[int, int, bytes, bytes]]], None] | None, /
) -> None: ...
def record_finish(
    cls: RecordClass,
    fields: tuple[tuple[str, str, int, object], ...],
    changes: dict[str, object],
    /,
) -> None: ...
def thaw(obj: object, /) -> object: ...
def is_protected(obj: object, /) -> bool: ...
def path_of(obj: object, /) -> str | None: ...
def is_frozen(obj: object, /) -> bool: ...
def pool_id_of(obj: object, /) -> int | None: ...
def root(name: str, /) -> object: ...
def check_object_size(
    obj: int | Buffer, size: int | None = None, /
) -> Literal["not ours", "good", "bad"]: ...
def open_shared(
    fd: FileDescriptorLike, *, verify: bool = True, seal: bool = True
) -> SharedPool: ...
def sections() -> list[tuple[int, str, Literal["ro", "wr"], int, int, str, int]]: ...
def protect_section(number: int, /) -> None: ...
def memoryviews() -> list[memoryview]: ...
def in_sight(kind: type, known: list[Any], more: list[Any], /) -> list[object]: ...
def close_function(
    function: FunctionType, explain: Callable[[FunctionType], BaseException], /
) -> None: ...
def install_handler(stack_signal: int, stack_fd: int, /) -> None: ...
def note_origin(
    pool_id: int, event: Literal[0, 1], file: bytes, line: int, time_ns: int, /
) -> None: ...
def expire_origin(pool_id: int, /) -> None: ...
def policies_in_use() -> int: ...
def rare_probe(allocation: Allocation, data: bytes, times: int, /) -> float: ...
def window_probe(size: int, times: int, /) -> float: ...
def set_violation_signal(number: int, /) -> None: ...

# pool_id, pool, policy, count, stepped, seconds, pc, module, offset, name, name_offset, object,
# thread_name, stack, report
type _Writer = tuple[
    int, str, Literal["warn", "audit"], int, int, int, int, str, int, str, int, str, str, str, str
]

# writer, stepped, pc, instruction, thread, size, address, object, before, after
type _Write = tuple[int, int, int, str | None, int, int, int, int, bytes, bytes]

def violations() -> tuple[list[_Writer], list[_Write]]: ...
def segv_blocked() -> bool: ...

class CoreHandlerState(TypedDict):
    on_top: bool
    top: str
    below: list[str]
    blocked: bool
    stack: int
    stack_needed: int

def in_graph(inside: object, obj: object, /) -> bool: ...
def handler_state() -> CoreHandlerState: ...

instance_dict: object

def preview(obj: object, externals: type | Iterable[type], limit: int, /) -> PreviewDict: ...
def freeze_version(
    pool: Pool, obj: object, number: int, externals: type | Iterable[type], /
) -> object: ...
def write_unraisable(error: BaseException, obj: object, /) -> None: ...
def clear_stack() -> None: ...
def memory_lock(pool: Pool, objects: list[Any], /) -> list[memoryview]: ...
def memory_unlock(views: list[memoryview[Any]], /) -> None: ...
def numpy_init(table: object, ndarray: type, zeros: object, address: int, /) -> None: ...
def numpy_handler(pool: Pool, /) -> object: ...
def numpy_swap(handler: object, /) -> object: ...
def numpy_current() -> object: ...
def numpy_owner(array: object, /) -> Pool | None: ...
def numpy_blocks(pool: Pool, /) -> int: ...
def numpy_refusals(pool: Pool, /) -> tuple[int, Exception | None]: ...
def numpy_find(pool: Pool, types: tuple[type, ...], /) -> list[Any]: ...
def numpy_lock(
    pool: Pool, arrays: list[Any], /
) -> tuple[list[Any], list[tuple[Any, ArrayData]]]: ...
def numpy_unlock(arrays: list[Any], /) -> None: ...
def numpy_settle(owners: list[tuple[Any, ArrayData]], /) -> None: ...
def cell_own_get(cls: type, /) -> None: ...
def set_resolver(
    resolver: Callable[[type], tuple[str, object, bool]], make_twin: Callable[[type], type], /
) -> None: ...
def forget_class(cls: type, /) -> None: ...
def instance_copy(obj: object, /) -> Any: ...
def instance_deepcopy(obj: object, memo: object, /) -> Any: ...
def instance_reduce(obj: object, /) -> Any: ...
def instance_dict_of(obj: object, /) -> dict[str, object]: ...
def instance_refuse(obj: object, name: str, value: object = ..., /) -> Never: ...

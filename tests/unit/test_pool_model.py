"""Pools driven at random, step by step beside a model in plain Python.

Hypothesis chooses the steps. After each one every allocation holds what was written into it,
every frozen object equals its source, the numbers of stats() are the model's, and what the model
refuses is refused.
"""

from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import pytest
from child import in_child
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

import pmalloc

GRANULE = 16
names = count(1)


@dataclass
class Piece:
    """An allocation, and what it should hold."""

    allocation: pmalloc.Allocation
    content: bytes
    views: list[memoryview] = field(default_factory=list)


@dataclass
class Model:
    pool: pmalloc.Pool
    state: str = "open"
    pieces: list[Piece] = field(default_factory=list)
    gone: list[pmalloc.Allocation] = field(default_factory=list)
    frozen: list[tuple[Any, Any]] = field(default_factory=list)  # source, frozen

    def views(self) -> int:
        return sum(len(piece.views) for piece in self.pieces)

    def refusal(self) -> type[Exception]:
        return pmalloc.DestroyedError if self.state == "destroyed" else pmalloc.ProtectedError


VALUES = st.recursive(
    st.one_of(st.none(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
        st.tuples(inner, inner),
    ),
    max_leaves=8,
)
BACKINGS: list[Literal["private", "memfd"]] = ["private", "memfd"]
NUMBERS = st.integers(0, 999)  # which pool, which allocation: modulo how many there are
SIZES = st.one_of(st.integers(0, 300), st.integers(0, 40_000))


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.models: list[Model] = []
        self.create(0)

    def model(self, number: int) -> Model:
        return self.models[number % len(self.models)]

    def refused(self, model: Model, call: Any, *args: Any) -> None:
        with pytest.raises(model.refusal(), match=f"pool '{model.pool.name}': it "):
            call(*args)

    @rule(chunk_size=st.sampled_from([0, 0, 1, 20_000]), backing=st.sampled_from(BACKINGS))
    @precondition(lambda self: len(self.models) < 5)
    def create(self, chunk_size: int, backing: Literal["private", "memfd"] = "private") -> None:
        pool = pmalloc.Pool(f"model {next(names)}", chunk_size=chunk_size, backing=backing)
        self.models.append(Model(pool))

    @rule(number=NUMBERS, size=SIZES, align=st.sampled_from([1, 16, 16, 16, 64, 4096]))
    def alloc(self, number: int, size: int, align: int) -> None:
        model = self.model(number)
        if model.state != "open":
            self.refused(model, model.pool.alloc, size)
            return
        allocation = model.pool.alloc(size, align=align)
        assert allocation.address % align == 0
        model.pieces.append(Piece(allocation, bytes(size)))

    @rule(number=NUMBERS, data=st.binary(max_size=300))
    def copy(self, number: int, data: bytes) -> None:
        model = self.model(number)
        if model.state != "open":
            self.refused(model, model.pool.copy, data)
            return
        model.pieces.append(Piece(model.pool.copy(data), data))

    @rule(number=NUMBERS, nbytes=SIZES)
    def prealloc(self, number: int, nbytes: int) -> None:
        model = self.model(number)
        if model.state != "open":
            self.refused(model, model.pool.prealloc, nbytes)
            return
        model.pool.prealloc(nbytes)
        chunks = model.pool.stats()["chunks"]
        if nbytes:
            model.pieces.append(Piece(model.pool.alloc(nbytes), bytes(nbytes)))
        assert model.pool.stats()["chunks"] == chunks

    @rule(number=NUMBERS, which=NUMBERS, byte=st.integers(1, 255))
    def write(self, number: int, which: int, byte: int) -> None:
        model = self.model(number)
        if not model.pieces:
            return
        piece = model.pieces[which % len(model.pieces)]
        new = bytes([byte]) * len(piece.content)
        with memoryview(piece.allocation) as view:
            if model.state == "open":
                view[:] = new
                piece.content = new
            else:
                with pytest.raises(TypeError, match="read-only"):
                    view[:] = new

    @rule(number=NUMBERS, which=NUMBERS)
    def view(self, number: int, which: int) -> None:
        model = self.model(number)
        if model.pieces:
            piece = model.pieces[which % len(model.pieces)]
            piece.views.append(memoryview(piece.allocation))

    @rule(number=NUMBERS)
    def release(self, number: int) -> None:
        for piece in self.model(number).pieces:
            while piece.views:
                piece.views.pop().release()

    @rule(number=NUMBERS, which=NUMBERS)
    def free(self, number: int, which: int) -> None:
        model = self.model(number)
        if not model.pieces:
            return
        piece = model.pieces[which % len(model.pieces)]
        if piece.views:
            with pytest.raises(BufferError, match=rf"{len(piece.views)} view\(s\)"):
                model.pool.free(piece.allocation)
            return
        model.pool.free(piece.allocation)
        model.pieces.remove(piece)
        model.gone.append(piece.allocation)

    @rule(number=NUMBERS, which=NUMBERS)
    def free_what_is_not_its_own(self, number: int, which: int) -> None:
        model, other = self.model(number), self.model(which)
        if model.gone:
            with pytest.raises((ValueError, pmalloc.DestroyedError)):
                model.pool.free(model.gone[which % len(model.gone)])
        if other is not model and other.pieces:
            with pytest.raises(ValueError, match=f"belongs to pool '{other.pool.name}'"):
                model.pool.free(other.pieces[0].allocation)

    @rule(number=NUMBERS, value=VALUES)
    def freeze(self, number: int, value: Any) -> None:
        model = self.model(number)
        if model.state != "open":
            self.refused(model, model.pool.freeze, value)
            return
        frozen = model.pool.freeze(value)
        assert model.pool.root is frozen
        model.frozen.append((value, frozen))

    @rule(number=NUMBERS)
    def freeze_in_vain(self, number: int) -> None:
        model = self.model(number)
        before = model.pool.stats()
        if model.state == "open":
            with pytest.raises(pmalloc.UnfreezableError):
                model.pool.freeze(["text that is new", {"bad": [object()]}])
        else:
            self.refused(model, model.pool.freeze, [object()])
        assert model.pool.stats() == before

    @rule(number=NUMBERS, revoke=st.booleans())
    def protect(self, number: int, revoke: bool) -> None:
        model = self.model(number)
        if model.state != "open":
            self.refused(model, model.pool.protect, revoke)
        elif model.views() and not revoke:
            with pytest.raises(BufferError, match=rf"{model.views()} writable view\(s\)"):
                model.pool.protect()
        else:
            model.pool.protect(revoke)
            model.state = "protected"

    @rule(number=NUMBERS)
    @precondition(lambda self: CAN_SEAL)
    def seal(self, number: int) -> None:
        model = self.model(number)
        if model.state != "open":
            with pytest.raises(model.refusal()):
                model.pool.protect(seal=True)
        elif not model.views():
            model.pool.protect(seal=True)
            model.state = "sealed"

    @rule(number=NUMBERS)
    @precondition(lambda self: CAN_SEAL)
    def make_immutable(self, number: int) -> None:
        model = self.model(number)
        if model.pool.stats()["backing"] == "private":
            with pytest.raises(ValueError, match="create it with backing='memfd'"):
                model.pool.protect(immutable=True)
        elif model.state != "open":
            with pytest.raises(model.refusal()):
                model.pool.protect(immutable=True)
        elif not model.views():
            model.pool.protect(immutable=True)
            model.state = "immutable"
            self.compare_shared(model)

    def compare_shared(self, model: Model) -> None:
        """What another process would see."""
        shared = pmalloc.open_shared(model.pool, seal=False)
        assert len(shared) == len(model.pieces)
        for piece in model.pieces:
            number = piece.allocation.shared_index
            assert number is not None
            assert shared[number][: len(piece.content)] == piece.content
        shared.close()

    @rule(number=NUMBERS, force=st.booleans())
    def destroy(self, number: int, force: bool) -> None:
        model = self.model(number)
        if model.state == "destroyed":
            self.refused(model, model.pool.destroy, force)
        elif model.state in {"sealed", "immutable"}:
            with pytest.raises(pmalloc.SealedError):
                model.pool.destroy(force)
        elif model.views():
            with pytest.raises(BufferError, match=rf"{model.views()} view\(s\)"):
                model.pool.destroy(force)
        elif model.pool.stats()["objects"] and not force:
            with pytest.raises(pmalloc.PmallocError, match="frozen objects live in it"):
                model.pool.destroy()
        else:
            model.frozen.clear()
            model.pool.destroy(force)
            model.gone += [piece.allocation for piece in model.pieces]
            model.pieces.clear()
            model.state = "destroyed"

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        for model in self.models:
            for piece in model.pieces:
                with memoryview(piece.allocation) as view:
                    assert view == piece.content
                for view in piece.views:
                    assert view == piece.content
                assert pmalloc.pool_of(piece.allocation) is model.pool
                assert pmalloc.is_protected(piece.allocation) is (model.state != "open")
            for source, frozen in model.frozen:
                assert frozen == source
            self.compare_stats(model)

    def compare_stats(self, model: Model) -> None:
        stats = model.pool.stats()
        assert stats["state"] == model.pool.state == model.state
        assert stats["views"] == model.views()
        assert stats["allocations"] == len(model.pieces)
        assert stats["used_bytes"] <= stats["reserved_bytes"]
        assert (model.pool in pmalloc.pools()) is (model.state != "destroyed")
        if not model.frozen:
            granules = sum(max(1, -(-len(piece.content) // GRANULE)) for piece in model.pieces)
            assert stats["used_bytes"] == granules * GRANULE

    def teardown(self) -> None:
        for number, model in enumerate(self.models):
            self.release(number)
            if model.state in {"open", "protected"}:
                self.destroy(number, force=True)


def can_seal() -> bool:
    pool = pmalloc.Pool("can this kernel seal?")
    try:
        pool.protect(seal=True)
    except OSError:
        pool.destroy()
        return False
    return True


CAN_SEAL = can_seal()


def test_pools_and_model_agree():
    steps = settings(
        max_examples=300,
        stateful_step_count=40,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    in_child(lambda: run(Machine, settings=steps))

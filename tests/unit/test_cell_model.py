"""Cell against a plain model: random publishing, compacting and retiring."""

from collections.abc import Callable
from itertools import count

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from machines import CountedMachine, drive

import pmalloc
from pmalloc import Cell

numbers = count(1)
keys = st.sampled_from("abcdefgh")
leaves = st.one_of(st.none(), st.integers(), st.text(max_size=5), st.floats(allow_nan=False))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        st.tuples(inner, inner),
        st.frozensets(st.integers(), max_size=3),
    ),
    max_leaves=8,
)


class CellMachine(CountedMachine):
    """The model: each version's plain object, and of which versions its parts are.

    A frozen part is known by the number of the version that it was made in; the model follows each
    of the top-level dict's values. So what points into what is known without looking at memory.
    """

    @initialize(first=st.dictionaries(keys, values, max_size=6))
    def make(self, first: dict[str, object]) -> None:
        self.cell: Cell[dict[str, object]] = Cell(first, name=f"model-{next(numbers)}")
        self.plain: dict[int, dict[str, object]] = {1: first}
        self.made_in: dict[int, dict[str, int]] = {1: dict.fromkeys(first, 1)}
        self.retired: set[int] = set()
        self.told: list[tuple[int, int]] = []
        self.expected: list[tuple[int, int]] = []
        self.cell.on_publish(lambda _, old, new: self.told.append((old, new)))

    @property
    def current(self) -> int:
        return max(self.plain)

    def published(self, number: int, plain: dict[str, object], made: dict[str, int]) -> None:
        assert number == self.current + 1
        self.expected.append((self.current, number))
        self.plain[number] = plain
        self.made_in[number] = made

    @rule(changes=st.dictionaries(keys, values, max_size=3), drop=st.sets(keys, max_size=2))
    def publish_changed(self, changes: dict[str, object], drop: set[str]) -> None:
        old = self.current
        shared = {k: v for k, v in self.cell.get().items() if k not in drop}
        plain = {k: v for k, v in self.plain[old].items() if k not in drop}
        made = {k: v for k, v in self.made_in[old].items() if k not in drop}
        number = self.cell.publish({**shared, **changes})
        self.published(number, {**plain, **changes}, {**made, **dict.fromkeys(changes, number)})

    @rule(fresh=st.dictionaries(keys, values, max_size=6))
    def publish_new(self, fresh: dict[str, object]) -> None:
        number = self.cell.publish(fresh)
        self.published(number, fresh, dict.fromkeys(fresh, number))

    @rule()
    def publish_compact(self) -> None:
        plain = self.plain[self.current]
        number = self.cell.publish(self.cell.get(), compact=True)
        self.published(number, plain, dict.fromkeys(plain, number))
        assert self.cell.versions()[-1].shares_with == ()

    @rule(bad=st.sampled_from([(1 for _ in ()), memoryview(b"").__iter__()]), at=keys)
    def fail_to_publish(self, bad: object, at: str) -> None:
        before, names = self.cell.get(), [pool.name for pool in pmalloc.pools()]
        try:
            self.cell.publish({**before, at: bad})
        except pmalloc.UnfreezableError as error:
            assert error.path == f"[{at!r}]"  # noqa: PT017
        else:
            raise AssertionError("it was published")
        assert self.cell.get() is before
        assert [pool.name for pool in pmalloc.pools()] == names

    @precondition(lambda self: len(self.plain) - len(self.retired) > 1)
    @rule(choose=st.randoms(use_true_random=False))
    def retire(self, choose: object) -> None:
        pick: Callable[[list[int]], int] = choose.choice  # type: ignore[attr-defined]
        number = pick([n for n in self.plain if n not in self.retired])
        sharing = {one.number for one in self.cell.versions() if number in one.shares_with}
        try:
            self.cell.retire(number, force=True)
        except pmalloc.DestroyedError:
            raise
        except pmalloc.PmallocError as error:
            if number == self.current:
                assert "it is the current one" in str(error)  # noqa: PT017
            else:
                assert sharing
                assert "still point" in str(error)  # noqa: PT017
        else:
            assert number != self.current
            assert not sharing
            self.retired.add(number)

    @invariant()
    def agrees(self) -> None:
        assert self.cell.get_versioned() == (self.current, self.plain[self.current])
        assert self.told == self.expected
        listed = self.cell.versions()
        assert [one.number for one in listed] == list(self.plain)
        for one in listed:
            assert one.current == (one.number == self.current)
            assert one.retired == (one.number in self.retired)
            if one.retired:
                assert (one.bytes, one.objects, one.shares_with) == (0, 0, ())
                continue
            frozen = pmalloc.root(one.pool)
            assert frozen == self.plain[one.number]
            # what the model knows to be shared, where it is an object that is not everybody's
            known = {
                made
                for key, made in self.made_in[one.number].items()
                if made != one.number and pmalloc.pool_of(self.value(one.pool, key)) is not None
            }
            assert known <= set(one.shares_with)
            assert not self.retired & set(one.shares_with)

    @staticmethod
    def value(pool: str, key: str) -> object:
        root = pmalloc.root(pool)
        assert isinstance(root, dict)
        return root[key]

    def teardown(self) -> None:
        old = {one.pool for one in self.cell.versions() if not one.current}
        for pool in pmalloc.pools():
            if pool.name in old:
                pool.destroy(force=True)


def test_cell_and_model_agree() -> None:
    drive(CellMachine, 30)

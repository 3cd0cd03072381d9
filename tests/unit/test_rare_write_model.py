"""rare_write() against a plain model."""

import time
from typing import Annotated

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import pmalloc
from pmalloc import rare_write

np = pytest.importorskip("numpy")


class Switches(pmalloc.Record):
    enabled: bool = True
    limit: pmalloc.u32 = 100
    count: int
    name: Annotated[str, pmalloc.size(16)] = "first"


class Blocks(RuleBasedStateMachine):
    """Nested blocks in any order of targets, some of which fail, against a plain model."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = pmalloc.Pool(f"blocks-{id(self)}-{time.monotonic_ns()}", mode="wr")
        self.array = self.pool.ndarray((4, 6), "i4")
        self.allocation = self.pool.alloc(40)
        self.record = self.pool.new(Switches)
        self.pool.protect()
        self.model = {"array": np.zeros((4, 6), "i4"), "allocation": bytearray(40)}
        self.fields = {"enabled": True, "limit": 100, "count": 0, "name": "first"}
        self.open = []  # (target's name, context, staged, edits)

    def free(self, name: str) -> bool:
        return all(name != other for other, *_ in self.open)

    @rule(name=st.sampled_from(["upper", "lower", "allocation", "record"]))
    def enter(self, name):
        target = {
            "upper": self.array[:2],
            "lower": self.array[2:],
            "allocation": self.allocation,
            "record": self.record,
        }[name]
        context = rare_write(target)
        if not self.free(name):
            with pytest.raises(pmalloc.PmallocError, match="already open"):
                context.__enter__()
            return
        self.open.append((name, context, context.__enter__(), []))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def edit(self, data):
        number = data.draw(st.integers(0, len(self.open) - 1))
        name, _, staged, edits = self.open[number]
        if name == "record":
            field = data.draw(st.sampled_from(sorted(self.fields)))
            value = {
                "enabled": st.booleans(),
                "limit": st.integers(0, 2**32 - 1),
                "count": st.integers(-(2**63), 2**63 - 1),
                "name": st.text("aé", max_size=8),
            }[field]
            value = data.draw(value)
            setattr(staged, field, value)
            edits.append((field, value))
        elif name == "allocation":
            at, value = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 255))
            staged[at] = value
            edits.append((at, value))
        else:
            at = (data.draw(st.integers(0, 1)), data.draw(st.integers(0, 5)))
            value = data.draw(st.integers(-5, 5))
            staged[at] = value
            edits.append(((at[0] + 2 * (name == "lower"), at[1]), value))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), fails=st.booleans())
    def leave(self, data, fails):
        name, context, _, edits = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        context.__exit__(*((KeyError, KeyError(), None) if fails else (None, None, None)))
        model = self.fields if name == "record" else self.model.get(name, self.model["array"])
        for key, value in [] if fails else edits:
            model[key] = value

    @invariant()
    def same(self):
        assert bytes(self.allocation) == self.model["allocation"]
        assert np.array_equal(self.array, self.model["array"])
        assert {field: getattr(self.record, field) for field in self.fields} == self.fields

    def teardown(self):
        for _, context, _, _ in self.open:
            context.__exit__(KeyError, KeyError(), None)
        self.open = []
        self.array = self.record = None
        self.pool.destroy(force=True)


TestBlocks = Blocks.TestCase
TestBlocks.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

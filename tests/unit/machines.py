"""Runs the state machines of hypothesis: the same steps each time, or many, drawn from a seed.

`make soak` sets PMALLOC_SOAK to the number of steps and hands --hypothesis-seed to pytest.
"""

import gc
import os

from child import in_child
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant
from hypothesis.stateful import run_state_machine_as_test as run

STEPS = 40  # an example


class CountedMachine(RuleBasedStateMachine):
    """Knows how many steps all machines of its class have made in this process."""

    made = 0

    def __init__(self):
        super().__init__()
        type(self).made -= 1  # invariants are looked at before the first step, too

    @invariant()
    def a_step_was_made(self) -> None:
        type(self).made += 1


def drive(machine: type[CountedMachine], examples: int) -> None:
    """In a forked child: `examples`, the same each time; or PMALLOC_SOAK steps, and some more."""
    wanted = int(os.environ.get("PMALLOC_SOAK", "0"))
    chosen = settings(
        # Some examples end early.
        max_examples=wanted * 5 // 4 // STEPS + 1 if wanted else examples,
        stateful_step_count=STEPS,
        derandomize=not wanted,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )

    def work() -> None:
        gc.freeze()  # destroy() collects garbage: not that of all the tests, each time
        machine.made = 0
        run(machine, settings=chosen)
        assert machine.made >= wanted
        if wanted:
            print(f"{machine.__module__}.{machine.__name__}: {machine.made} steps", flush=True)

    in_child(work)

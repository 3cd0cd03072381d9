"""What the tests of this folder share."""

import itertools

import pytest

numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    """Of a pool; a new one each time, for pools stay: a failing test keeps its objects alive."""
    return f"pool-{next(numbers)}"

"""What the tests of this folder share."""

import itertools

import pytest
from reported import make_library

numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    """Of a pool; a new one each time, for pools stay: a failing test keeps its objects alive."""
    return f"pool-{next(numbers)}"


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """A library in C whose functions write where they are told to."""
    return make_library(tmp_path_factory.mktemp("library"))

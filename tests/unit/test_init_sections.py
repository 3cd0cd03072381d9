"""Which phase protects which static data. Sections are made up here; real ones: tests/c, crimes."""

import pytest

from pmalloc import PmallocError, _core, _init_phase, _init_sections


class Sections:
    """Stands in for the C part."""

    def __init__(self):
        self.states = {}
        self.refused = set()

    def load(self, number):
        self.states[number] = "open"

    def sections(self):
        return [(n + 100, f"{n}.so", "ro", 4096, 8, s, n) for n, s in self.states.items()]

    def protect_section(self, number):
        if number - 100 not in self.states:
            raise ValueError("unloaded")
        if number - 100 in self.refused:
            raise PmallocError("shared pages")
        self.states[number - 100] = "protected"

    def open(self):
        return [n for n, state in self.states.items() if state != "protected"]


@pytest.fixture
def made_up(monkeypatch):
    sections = Sections()
    monkeypatch.setattr(_core, "sections", sections.sections)
    monkeypatch.setattr(_core, "protect_section", sections.protect_section)
    monkeypatch.setattr(_init_phase, "_open", [])
    return sections


def late(name):
    return _init_phase.InitPhase(name)


def test_a_late_phase_has_what_was_loaded_in_its_block(made_up, name):
    made_up.load(1)
    with late(name) as phase:
        made_up.load(2)
    assert made_up.open() == [1]
    assert phase.report.sections == ("2.so (__ro_after_init, 8 bytes)",)
    assert phase.report.open_sections == ("1.so (__ro_after_init, 8 bytes)",)
    assert "static data, read-only: 1\n  2.so" in str(phase.report)


def test_nested_blocks(made_up, name):
    with late(name) as outer:
        made_up.load(1)
        with late(name + "-inner") as inner:
            made_up.load(2)
        assert made_up.open() == [1]
        made_up.load(3)
    assert inner.report.sections[0].startswith("2.so")
    assert [text[0] for text in outer.report.sections] == ["1", "3"]


def test_what_may_be_anothers_waits_for_the_last(made_up, name):
    """Two blocks of two threads: begun one after the other, and ended in the same order."""
    first, second = late(name + "-1"), late(name + "-2")
    first.__enter__()
    made_up.load(1)
    _init_phase._current.set(None)
    second.__enter__()
    made_up.load(2)
    first.__exit__(None, None, None)
    assert made_up.open() == [2]
    second.__exit__(None, None, None)
    _init_phase._current.set(None)
    assert made_up.open() == []


def test_what_is_unloaded_meanwhile_is_no_failure(made_up, monkeypatch):
    made_up.load(1)
    known = made_up.sections()
    monkeypatch.setattr(_core, "sections", lambda: known)
    made_up.states.clear()
    failures = []
    assert _init_sections.protect(0, [], failures) == []
    assert failures == []


def test_what_is_refused_is_a_failure(made_up):
    made_up.load(1)
    made_up.load(2)
    made_up.refused.add(1)
    failures = []
    assert _init_sections.protect(0, [], failures) == ["2.so (__ro_after_init, 8 bytes)"]
    assert [str(error) for error in failures] == ["shared pages"]


def test_what_is_new_for_the_next_call(made_up):
    assert not _init_sections.any_new([])
    made_up.load(5)
    assert _init_sections.any_new([])
    assert not _init_sections.any_new([4])

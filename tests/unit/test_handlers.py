"""Who gets SIGSEGV: pmalloc stays on top, and says what would keep a report from it."""

import ctypes
import faulthandler
import os
import re
import signal
import subprocess
import sys
import threading
import warnings

import pytest
from child import in_child

import pmalloc
from pmalloc import _core, _handler_state, _watch


def top() -> str:
    return _handler_state.state()["top"]


def test_on_top_after_a_pool(name):
    pmalloc.Pool(name)
    state = _handler_state.state()
    assert state["on_top"]
    assert state["top"] == "pmalloc"
    assert state["watching"]
    assert not state["blocked"]


def test_signal_signal_is_noticed(name):
    def work():
        pmalloc.Pool(name)
        for handler in (lambda *_: None, signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(signal.SIGSEGV, handler)
            assert top() == "pmalloc"
            assert signal.getsignal(signal.SIGSEGV) == handler
        below = _handler_state.state()["below"]
        assert below[:2] == ["ignored", "default"]
        assert re.match(r"(lib)?python3[\w.]*\+0x", below[2]), below

    in_child(work)


def test_other_signals_are_left_alone(name):
    pmalloc.Pool(name)
    got = []
    before = signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
    try:
        signal.raise_signal(signal.SIGUSR1)
        assert got == [1]
        assert top() == "pmalloc"
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_is_not_noticed_is_said_and_mended(name):
    def work():
        import _signal

        pmalloc.Pool(name)
        _signal.signal(signal.SIGSEGV, _signal.SIG_DFL)
        state = _handler_state.state()
        assert not state["on_top"]
        assert state["top"] == "default"
        pmalloc.Pool(name + "-2")
        assert top() == "pmalloc"

    in_child(work)


def test_faulthandler_is_named(name):
    def work():
        faulthandler.disable()
        pmalloc.Pool(name)
        faulthandler.enable()
        assert re.match(r"(lib)?python3[\w.]*\+0x", top())
        pmalloc.Pool(name + "-2")
        assert top() == "pmalloc"

    in_child(work)


def run(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=120, check=False
    )


def test_no_place_in_sys_monitoring():
    """Other tools took all six: nothing fails, and it is said."""
    done = run(
        "import sys\n"
        "for tool in range(6): sys.monitoring.use_tool_id(tool, 'other')\n"
        "import pmalloc\n"
        "from pmalloc import _handler_state\n"
        "pmalloc.Pool('one')\n"
        "print(_handler_state.state()['watching'])\n"
        "sys.monitoring.free_tool_id(2)\n"
        "pmalloc.Pool('two')\n"
        "print(_handler_state.state()['watching'])\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\nTrue\n", "")


def test_something_else_in_the_place_of_signal_signal():
    """A C function there: not watched. A Python function that calls the original: watched."""
    done = run(
        "import signal, _signal\n"
        "signal.signal = _signal.signal\n"
        "import pmalloc\n"
        "from pmalloc import _handler_state\n"
        "pmalloc.Pool('one')\n"
        "print(_handler_state.state()['watching'])\n"
        "signal.signal = lambda number, handler: _signal.signal(number, int(handler))\n"
        "pmalloc.Pool('two')\n"
        "signal.signal(signal.SIGSEGV, signal.SIG_DFL)\n"
        "print(_handler_state.state()['top'])\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\npmalloc\n", "")


def test_place_in_sys_monitoring_is_named(name):
    pmalloc.Pool(name)
    assert _watch.is_watching()
    assert "pmalloc" in [sys.monitoring.get_tool(tool) for tool in range(6)]


def test_blocked_at_protect(name):
    def work():
        pool = pmalloc.Pool(name)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSEGV})
        assert _core.segv_blocked()
        with pytest.warns(RuntimeWarning) as told:
            pool.protect()
        [warning] = told
        assert str(warning.message) == (
            "SIGSEGV is blocked in this thread: should it write to protected memory, the process "
            "dies without a report; unblock it: "
            "signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGSEGV})"
        )
        assert warning.filename == __file__
        with pytest.warns(RuntimeWarning, match="SIGSEGV is blocked") as told:
            pmalloc.freeze([1], name=name + "-2")
        assert told[0].filename == __file__
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGSEGV})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pmalloc.freeze([1], name=name + "-3")

    in_child(work)


def test_blocked_threads(name):
    ready, done, told = threading.Event(), threading.Event(), []

    def work():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSEGV})
        told.append(threading.get_native_id())
        ready.set()
        done.wait()

    pmalloc.Pool(name)
    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        state = _handler_state.state()
        assert [number for number, _ in state["blocked_threads"]] == told
        assert not state["blocked"]  # here it is not
    finally:
        done.set()
        thread.join()
    assert _handler_state.state()["blocked_threads"] == []


class Stack(ctypes.Structure):
    _fields_ = (
        ("sp", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


def test_alternate_stack(name):
    libc = ctypes.CDLL(None)
    libc.getauxval.restype = ctypes.c_ulong
    least = libc.getauxval(51)  # AT_MINSIGSTKSZ
    told = []

    def work():
        told.append(_handler_state.state()["stack"])
        memory = ctypes.create_string_buffer(32768)
        stack = Stack(ctypes.addressof(memory), 0, 32768)
        assert libc.sigaltstack(ctypes.byref(stack), None) == 0
        told.append(_handler_state.state()["stack"])
        assert libc.sigaltstack(ctypes.byref(Stack(None, 2, 0)), None) == 0

    pmalloc.Pool(name)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [0, 32768]
    assert _handler_state.state()["stack_needed"] == (least or 2048) + 2048


def test_handlers_do_not_outlive_exec(name):
    """posix_spawn, vfork and exec: the new program starts as any other."""
    pmalloc.freeze([1], name=name)
    code = "print(*[l for l in open('/proc/self/status') if l[:6] in ('SigBlk', 'SigIgn')])"
    command = [sys.executable, "-S", "-c", code]
    segv = 1 << (signal.SIGSEGV - 1)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not any(int(mask, 16) & segv for mask in re.findall(r":\s*(\w+)", told))
    child = os.posix_spawn(sys.executable, [*command[:3], "0"], os.environ)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

"""`pmalloc doctor`: what it finds on this machine, and on one that lacks what this one has."""

import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from child import in_child
from sandboxed import IO_URING_SETUP, MEMFD_CREATE, MSEAL, PROCESS_VM_READV, TGKILL, sandboxed
from test_cli_doctor_bare import bare
from typer.testing import CliRunner

from pmalloc.cli import probes
from pmalloc.cli.app import app
from pmalloc.cli.attacks import arena
from pmalloc.cli.probes import memory, process, python, rare_write, signals


def test_doctor_in_a_sandbox():
    numbers = [MSEAL, MEMFD_CREATE, IO_URING_SETUP, PROCESS_VM_READV]
    done = sandboxed(38, numbers, "doctor", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["protect()"]["status"] == "ok"
    for name in ("protect(seal=True)", "protect(immutable=True)", "process_vm_readv"):
        assert found[name]["status"] == "missing"
        assert found[name]["consequence"] and found[name]["remedy"]
    assert found["protect(seal=True)"]["detail"] == "no mseal in this kernel"
    assert found["io_uring"]["status"] == "ok"


def test_doctor_on_this_machine():
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    rows = {probe.__name__: probe() for probe in probes.PROBES}
    for finding in rows.values():
        assert finding.name in done.output
        assert finding.status in {"ok", "missing", "note"}
        assert finding.status == "ok" or (finding.consequence and finding.remedy)
    assert platform.python_version() in rows["version"].detail


def test_a_machine_that_protects_nothing(monkeypatch):
    monkeypatch.setattr(arena, "unavailable", lambda _: "mprotect does nothing")
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 1
    said = json.loads(done.output)
    assert not said["ok"]
    [broken] = [one for one in said["findings"] if one["status"] == "broken"]
    assert (broken["name"], broken["detail"]) == ("protect()", "mprotect does nothing")


# ---- reports, and what keeps them away ----


def found(*arguments: str, **options: object) -> dict[str, dict[str, str]]:
    done = subprocess.run(
        [sys.executable, "-m", "pmalloc", "doctor", "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    return {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_a_sandbox_that_refuses_tgkill():
    done = sandboxed(1, [TGKILL], "doctor", "--json")
    rows = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert rows["report"]["status"] == "missing"
    assert (
        rows["report"]["detail"] == "after a violation: SIGSEGV, and no Python stack in the report"
    )
    assert rows["sandbox"]["detail"].endswith("a seccomp filter is on")
    assert done.returncode == 0


def test_a_process_that_was_started_badly():
    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSEGV})
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (64 << 30, 64 << 30))

    rows = found(preexec_fn=prepare, env={**os.environ, "PMALLOC_REPORT_DIR": "/nowhere"})
    assert rows["signal mask"]["status"] == "missing"
    assert rows["signal mask"]["detail"].endswith("had blocked or ignored SIGSEGV")
    assert rows["report"]["status"] == "ok"
    assert rows["address space"]["detail"] == "limited to 65,536 MiB (ulimit -v)"
    assert rows["environment"]["status"] == "missing"
    assert "/nowhere: No such file or directory" in rows["environment"]["detail"]


def test_a_process_that_is_told_to_protect_nothing():
    rows = found(env={**os.environ, "PMALLOC_RODATA": "off"})
    assert rows["environment"]["status"] == "note"
    assert rows["protect()"]["status"] == "broken"
    assert "PMALLOC_RODATA" in rows["protect()"]["detail"]
    assert rows["rare writes, private"]["measured"]["mechanism"] == "plain"
    assert rows["rare writes by a window"]["detail"] == "not tried"


def test_a_violation_that_hangs(monkeypatch):
    monkeypatch.setattr(signals, "_SECONDS", 0.3)
    died, text = signals._violation(lambda: time.sleep(60))
    assert (died, text) == (signals._HUNG, "")
    assert signals._lacks(died, text) == "the process hung, and was killed after 0 s"


@pytest.mark.parametrize(
    ("died", "text", "wrong", "status"),
    [
        (None, "", "the process lived on", "broken"),
        (signal.SIGABRT, "", "the process died of SIGABRT", "broken"),
        (signal.SIGSEGV, "", "SIGSEGV, and no report", "missing"),
    ],
)
def test_no_report(monkeypatch, died, text, wrong, status):
    monkeypatch.setattr(signals, "_violation", lambda *_: (died, text))
    finding = signals.report()
    assert (finding.status, finding.detail) == (status, f"after a violation: {wrong}")
    assert signals.alternate_stack().status == "missing"
    others = signals.other_handlers()
    assert others.status == "missing"
    assert others.detail.startswith(f"faulthandler.enable() after protect(): {wrong}; ")


def test_who_else_has_the_signal(monkeypatch):
    """What is said about handlers is what pmalloc itself goes by."""
    assert signals.other_handlers().status == "ok"
    rows = found(env={**os.environ, "PYTHONFAULTHANDLER": "1"})
    assert rows["other handlers"]["status"] == "ok"
    assert "; after a report comes " in rows["other handlers"]["detail"]
    monkeypatch.setattr(
        signals, "_after_protect", lambda: {"on_top": False, "top": "lib+0x1", "watching": False}
    )
    finding = signals.other_handlers()
    assert finding.status == "missing"
    assert finding.detail == (
        "after protect() lib+0x1 gets SIGSEGV; "
        "signal.signal() goes unnoticed: nothing of sys.monitoring is free"
    )


def test_policies_that_do_less(monkeypatch):
    monkeypatch.setattr(signals, "_after_a_write", lambda _: "stepped")
    assert signals.audit().status == "note"
    assert signals.warn().status == "missing"
    monkeypatch.setattr(signals, "_after_a_write", lambda _: "it is oops here")
    assert signals.audit().detail == "after a write: it is oops here"
    assert signals.audit().status == "missing"


# ---- machines that are not here ----


def test_other_machines(monkeypatch):
    told = {
        "/proc/sys/kernel/core_pattern": "|/usr/lib/systemd/systemd-coredump %P",
        "/proc/sys/kernel/arch": "riscv64",
        "/proc/self/maps": "7f00-7f01 r-xp 0 00:00 1 /usr/lib/libtsan.so.2",
        "/proc/self/status": "Name:\tx\nTracerPid:\t77\nSeccomp:\t2\n",
        "/proc/77/comm": "gdb",
        "/proc/sys/kernel/yama/ptrace_scope": "3",
    }
    monkeypatch.setattr(process, "_read", lambda path: told.get(path, ""))
    assert process.core_dumps().detail == "go to /usr/lib/systemd/systemd-coredump"
    assert "the kernel's machine is riscv64" in process.emulation().detail
    assert process.preloads().detail == "ThreadSanitizer: loaded"
    assert process.debugger().detail == "process 77 (gdb) traces this one"
    assert process.sandbox().status == process.ptrace().status == "note"
    monkeypatch.setattr(python.multiprocessing, "get_all_start_methods", lambda: ["forkserver"])
    finding = python.start_method()
    assert (finding.status, finding.detail) == ("note", "starts workers by forkserver")
    assert "fork" in finding.remedy
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert signals.single_step().detail == "not on aarch64"


# ---- rare writes ----


def test_rare_writes_and_what_they_cost():
    rows = found()
    for name, mechanism in (("private", "proc_mem"), ("memfd", "memfd")):
        row = rows[f"rare writes, {name}"]
        assert row["status"] == "ok", row
        assert row["measured"]["mechanism"] == mechanism
        assert 0 < row["measured"]["microseconds"] < 1000
        assert row["detail"].endswith(f"{row['measured']['microseconds']:.2f} us for 8 bytes")
    window = rows["rare writes by a window"]
    assert window["measured"].keys() == {
        *("mechanism", "microseconds", "microseconds_second_thread"),
    }
    assert rows["rare writes by a key"]["detail"].endswith("; kept for a later version")
    assert rows["protect()"]["measured"] == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_rare_writes_without_proc(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/null").touch()

    def work() -> None:
        os.chroot(tmp_path)
        os.chdir("/")
        private, memfd = rare_write.private(), rare_write.memfd()
        assert private.status == "missing"
        assert private.detail.startswith("by a window, because there is no /proc; ")
        assert private.measured["mechanism"] == "mprotect"
        assert "makes its chunk writable for a moment" in private.consequence
        assert private.remedy.startswith("mount it before the first write-rare pool is made")
        assert (memfd.status, memfd.measured["mechanism"]) == ("ok", "memfd")

    in_child(work)


def test_rare_writes_that_are_refused(monkeypatch):
    why = ("the kernel says no", "ask it nicely")
    monkeypatch.setattr(
        rare_write, "_tried", lambda _: {"by": "mprotect", "each": 5.0, "why": list(why)}
    )
    finding = rare_write.private()
    assert finding.status == "missing"
    assert finding.detail == "by a window, because the kernel says no; 5.00 us for 8 bytes"
    assert finding.remedy == "ask it nicely" and finding.consequence
    monkeypatch.setattr(rare_write, "_tried", lambda _: {"killed": 11})
    assert rare_write.memfd().detail == "the attempt was killed"
    monkeypatch.setattr(arena, "in_arena", lambda _: {"failed": "mprotect is refused"})
    assert (rare_write.window().status, rare_write.window().detail) == (
        *("missing", "mprotect is refused"),
    )


def test_a_kernel_that_guards_proc_mem(monkeypatch):
    monkeypatch.setattr(memory, "tried", lambda _: "EIO")
    finding = memory.proc_mem()
    assert finding.status == "ok" and "EIO; audit does without it" in finding.detail


# ---- without typer and rich ----


def test_json_is_the_same_without_them():
    plain = json.loads(bare("doctor", "--json").stdout)
    full = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)
    names = [finding["name"] for finding in full["findings"]]
    assert [finding["name"] for finding in plain["findings"]] == names
    assert len(set(names)) == len(names)
    assert plain["ok"] and plain["machine"] == full["machine"]

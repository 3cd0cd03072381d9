"""`pmalloc run`: a program runs as under `python`, and the exit status tells of violations."""

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pmalloc

TELLING = """\
import __main__, json, os, sys
names = {
    "argv": sys.argv, "path": sys.path[0], "name": __name__, "file": __file__,
    "package": __package__, "spec": __spec__ and __spec__.name, "loader": type(__loader__).__name__,
    "globals": sorted(globals()), "main": vars(__main__) is globals(),
    "rodata": os.environ.get("PMALLOC_RODATA"), "cwd": os.getcwd(),
    "heavy": sorted({m.partition(".")[0] for m in sys.modules} & {"typer", "rich", "click"}),
}
print(json.dumps(names))
if sys.argv[1:] == ["raise"]:
    def fails(): 1 / 0
    fails()
if sys.argv[1:] == ["text"]:
    sys.exit("bye")
if sys.argv[1:] == ["five"]:
    sys.exit(5)
if sys.argv[1:] == ["interrupt"]:
    raise KeyboardInterrupt
"""
WRITING = """\
import atexit, ctypes, os, sys, threading, time
import pmalloc

with pmalloc.Pool("config") as pool:
    data = pool.alloc(64)

def stray_write():
    ctypes.memset(data.address, 7, 1)

match sys.argv[1:]:
    case ["now"]:
        for _ in range(3):
            stray_write()
    case ["five"]:
        stray_write()
        sys.exit(5)
    case ["raise"]:
        stray_write()
        raise LookupError("its own")
    case ["atexit"]:
        atexit.register(stray_write)
    case ["thread"]:
        threading.Thread(target=lambda: (time.sleep(0.2), stray_write())).start()
    case ["fork"]:
        if os.fork() == 0:
            stray_write()
            sys.exit()
        print("child", os.waitstatus_to_exitcode(os.wait()[1]))
    case ["told"]:
        if os.fork() == 0:
            name = f"pmalloc-{os.getpid()}-1-20260101T000000.000000Z-1.json"
            open(os.path.join(os.environ["PMALLOC_REPORT_DIR"], name), "x").close()
            os._exit(0)
        os.wait()
    case ["hard"]:
        if os.fork() == 0:
            stray_write()
            os._exit(0)
        os.wait()
print(bytes(data)[0], pool.stats()["policy"])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.delenv("PMALLOC_RODATA", raising=False)
    monkeypatch.delenv("PMALLOC_REPORT_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tell.py").write_text(TELLING)
    (tmp_path / "write.py").write_text(WRITING)
    (tmp_path / "bad.py").write_text("x = = 1\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package/__init__.py").touch()
    (tmp_path / "package/__main__.py").write_text(TELLING)
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as packed:
        packed.writestr("__main__.py", TELLING)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/link.py").symlink_to(tmp_path / "tell.py")
    return tmp_path


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "pmalloc", "run", *arguments)


# ---- as python does ----


@pytest.mark.parametrize(
    "arguments",
    [
        ["tell.py", "a", "--rodata=b", "-m"],
        ["tell.py", "raise"],
        ["tell.py", "text"],
        ["tell.py", "five"],
        ["tell.py", "interrupt"],
        ["bad.py"],
        ["elsewhere/link.py"],
        ["package", "x"],
        ["app.zip", "x"],
        ["-m", "package", "-x"],
        ["-m", "tell", "raise"],
    ],
    ids=" ".join,
)
def test_a_program_runs_as_python_runs_it(folder, arguments):
    ours, theirs = run(*arguments), python(*arguments)
    assert ours.returncode == theirs.returncode
    assert ours.stdout == theirs.stdout
    assert without_runpy(ours.stderr) == without_runpy(theirs.stderr)


def without_runpy(text: str) -> str:
    """`python -m` shows frames of runpy, and we have none."""
    return re.sub(r'  File "<frozen runpy>", line \d+, in \w+\n', "", text)


def test_nothing_that_the_command_needs_is_in_the_process(folder):
    said = json.loads(run("tell.py").stdout)
    assert said["heavy"] == [] and said["rodata"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.py"], "pmalloc: can't open file 'none.py': there is none"),
        (["-m", "none"], "pmalloc: there is no module 'none'"),
        (["-m", "tell.none"], "pmalloc: can't find module 'tell.none': "),
        ([], "pmalloc: what to run? pmalloc run SCRIPT, or pmalloc run -m MODULE"),
        (["elsewhere"], "pmalloc: can't find '__main__' module in 'elsewhere'"),
        (["--rodata=loud", "tell.py"], "invalid choice: 'loud'"),
        (["--report-dir=tell.py", "tell.py"], "pmalloc: --report-dir tell.py: File exists"),
    ],
)
def test_nothing_to_run(folder, arguments, words):
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr


def test_an_environment_that_is_not_heard(folder):
    start = (
        f"import sys; sys.path[:0] = {sys.path!r}; sys.argv = ['pmalloc', 'run', *sys.argv[1:]]; "
        "import pmalloc.cli; sys.exit(pmalloc.cli.main())"
    )
    done = python("-E", "-c", start, "--rodata=audit", "tell.py")
    assert done.returncode == 2 and "python -E and -I ignore the environment" in done.stderr
    assert python("-E", "-c", start, "tell.py").returncode == 0


# ---- violations ----


@pytest.mark.parametrize("policy", ["audit", "warn"])
def test_violations_make_the_exit_status(folder, policy):
    done = run(f"--rodata={policy}", "write.py", "now")
    assert done.returncode == 3
    assert done.stdout == f"7 {policy}\n"
    first, second, last = done.stderr.splitlines()[-3:]
    writes = "3 writes" if policy == "audit" else "1 write"
    assert first == f"pmalloc: {writes} to protected memory, by 1 writer:"
    assert second.startswith(f"  {writes} to pool 'config', allocation at 0x")
    assert second.endswith('write.py", line 8 in stray_write')
    assert last == "pmalloc: exit status 3, because of the violations"


@pytest.mark.parametrize(
    ("how", "status"), [("five", 5), ("raise", 1), ("atexit", 3), ("thread", 3), ("nothing", 0)]
)
def test_when_and_how_it_ends(folder, how, status):
    done = run("--rodata=audit", "write.py", how)
    assert done.returncode == status
    assert ("1 write to protected memory, by 1 writer:" in done.stderr) == bool(status)
    assert ("pmalloc: exit status 3" in done.stderr) == (status == 3)
    assert done.stderr == "" or status
    if how == "raise":
        assert "LookupError: its own" in done.stderr


def test_what_a_child_does_is_the_childs(folder):
    done = run("--rodata=audit", "write.py", "fork")
    assert (done.returncode, done.stdout) == (0, "child 0\n0 audit\n")
    assert "exit status" not in done.stderr


def test_reports_of_children_count(folder):
    done = run("--rodata=audit", "--report-dir=reports/of/it", "write.py", "hard")
    reports = folder / "reports/of/it"
    assert reports.is_dir() and reports.stat().st_mode & 0o777 == 0o700
    [report] = reports.iterdir()
    told = json.loads(report.read_text())
    assert (told["policy"], told["headline"]) == ("audit", "write to protected pool 'config'")
    assert report.name.startswith(f"pmalloc-{told['thread']['pid']}-")
    assert done.returncode == 3
    assert f"pmalloc: 1 report by other processes in {reports}" in done.stderr
    # Those of an earlier run are not of this one.
    assert run("--rodata=audit", "--report-dir=reports/of/it", "write.py").returncode == 0


def test_reports_of_other_processes_are_counted(folder):
    done = run("--rodata=audit", "--report-dir=reports", "write.py", "told")
    assert done.returncode == 3
    assert done.stderr == (
        f"pmalloc: 1 report by other processes in {folder / 'reports'}\n"
        "pmalloc: exit status 3, because of the violations\n"
    )


def test_oops_and_off(folder):
    done = run("--rodata=oops", "write.py", "now")
    assert done.returncode == -signal.SIGSEGV and "policy       oops" in done.stderr
    done = run("--rodata=off", "write.py", "now")
    assert (done.returncode, done.stdout, done.stderr) == (0, "7 off\n", "")


def test_children_inherit_the_choice(folder):
    (folder / "parent.py").write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, 'tell.py'], check=True)\n"
    )
    done = run("--rodata=warn", "--report-dir=reports", "parent.py")
    assert json.loads(done.stdout)["rodata"] == "warn"


def test_the_summary_names_the_busiest_first(monkeypatch):
    from pmalloc.cli.violations import Violations

    with pmalloc.Pool("summary", on_violation="audit") as pool:
        data = pool.alloc(8)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        import ctypes

        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        ctypes.memset(data.address, 1, 1)
        for _ in range(2):
            ctypes.memset(data.address, 1, 1)
        os.write(writer, Violations().summary().encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        lines = pipe.read().splitlines()
    os.waitpid(child, 0)
    assert lines[0] == "pmalloc: 3 writes to protected memory, by 2 writers:"
    assert [line.partition(" to ")[0] for line in lines[1:]] == ["  2 writes", "  1 write"]

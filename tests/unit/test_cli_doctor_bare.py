"""`pmalloc doctor` without typer and rich, and what it says of workers: also where neither is."""

import platform
import subprocess
import sys

from pmalloc.cli.probes import python

BARE = """
import sys
sys.modules["typer"] = sys.modules["rich"] = None
sys.argv = ["pmalloc", *sys.argv[1:]]
from pmalloc.cli import main
sys.exit(main())
"""


def bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BARE, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_typer_and_rich():
    done = bare("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{platform.system()} {platform.release()}, {platform.machine()}"
    assert any(line.startswith("protect()  ") and "   ok        a store" in line for line in lines)
    assert bare("maps").returncode == 2
    assert "pip install 'pmalloc[cli]'" in bare("maps").stderr


def test_workers_of_this_python():
    """From Python 3.14 on they get copies, and doctor says so."""
    finding = python.start_method()
    if sys.version_info >= (3, 14):
        assert (finding.status, finding.detail) == ("note", "starts workers by forkserver")
        assert "pickled, thawed copies" in finding.consequence
    else:
        assert (finding.status, finding.detail[:24]) == ("ok", "starts workers by fork: ")

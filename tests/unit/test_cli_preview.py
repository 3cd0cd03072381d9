"""`pmalloc preview module:NAME`: the shell's face of pmalloc.preview()."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import pmalloc

pytest.importorskip("typer")
pytest.importorskip("rich")

MODULE = """
import json
import threading

print("said while it was imported")


class Settings:
    pass


state = Settings()
state.routes = {"shop": ["cart", "pay"]}
GOOD = {"limits": [1000, 2000.5], "names": ("a", "b")}
BAD = {"jobs": [{"run": threading.Lock()}], "lock": threading.Lock()}


def load():
    return [GOOD] * 3


def broken():
    return 1 / 0
"""


@pytest.fixture
def preview(tmp_path: Path):
    (tmp_path / "settings.py").write_text(MODULE)
    (tmp_path / "raises.py").write_text("import nowhere_to_be_found\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "pmalloc", "preview", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
            check=False,
        )

    return run


def test_what_freezes(preview):
    done = preview("settings:GOOD")
    assert (done.returncode, done.stderr) == (0, "said while it was imported\n")
    assert done.stdout.startswith("settings:GOOD freezes\n")
    assert "saved in each worker" in done.stdout
    assert "refused" not in done.stdout


def test_json_is_what_the_function_says(preview):
    done = preview("settings:GOOD", "--json")
    said = json.loads(done.stdout)
    known = pmalloc.preview({"limits": [1000, 2000.5], "names": ("a", "b")})
    assert said["target"] == "settings:GOOD" and said["freezes"] is True
    assert (said["objects"], said["types"]) == (known.objects, known.types)
    assert (said["pool_bytes"], said["externals"]) == (known.pool_bytes, [])
    assert said["saved_per_worker"] == known.saved_per_worker


def test_what_is_refused(preview):
    done = preview("settings:BAD")
    assert done.returncode == 1
    assert "settings:BAD does not freeze\n" in done.stdout
    assert "['jobs'][0]['run']" in done.stdout and "['lock']" in done.stdout
    said = json.loads(preview("settings:BAD", "--json", "--limit", "1").stdout)
    assert (said["freezes"], said["refused_count"], len(said["refused"])) == (False, 2, 1)
    assert set(said["refused"][0]) == {"path", "type", "reason"}
    assert "and 1 more" in preview("settings:BAD", "--limit", "1").stdout


def test_a_type_that_may_stay_outside(preview):
    done = preview("settings:BAD", "--external", "_thread:LockType", "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["external_count"]) == (0, 2)
    done = preview("settings:BAD", "--external", "settings:GOOD")
    assert done.returncode == 2
    assert done.stderr.endswith("pmalloc: --external settings:GOOD: that is no type\n")


def test_attributes_and_calls(preview):
    assert preview("settings:state.routes").returncode == 0
    said = json.loads(preview("settings:load()", "--json").stdout)
    assert said["types"]["list"] == 2  # the outer one, and the limits, once


@pytest.mark.parametrize(
    ("target", "kind", "text"),
    [
        ("settings", "bad-target", "'settings' is no MODULE:NAME, such as app.settings:CONFIG"),
        ("settings:1", "bad-target", "'settings:1' is no MODULE:NAME"),
        ("sett:GOOD", "no-module", "there is no module 'sett' here"),
        ("settings.more:GOOD", "no-module", "there is no module 'settings.more' here"),
        ("settings:GOOF", "no-name", "settings:GOOF: module 'settings' has no attribute 'GOOF'"),
        ("settings:broken()", "failed", "calling settings:broken() failed: ZeroDivisionError"),
        ("raises:X", "failed", "importing raises failed: ModuleNotFoundError: No module named"),
    ],
)
def test_what_cannot_be_looked_at(preview, target: str, kind: str, text: str):
    done = preview(target)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"pmalloc: {text}" in done.stderr
    if kind == "failed":
        assert "Traceback" in done.stderr
    error = json.loads(preview(target, "--json").stdout)["error"]
    assert error["kind"] == kind and error["message"].startswith(text)

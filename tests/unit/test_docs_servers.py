"""docs/post-init.md, "Where to end init": each server runs with the files of the page.

What it serves has to be protected, and shared by its workers where the page says so.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from reported import no_core
from test_docs import ROOT, sessions

from pmalloc.cli.beacon import look

PATIENCE = 60.0
PAGE = ROOT / "docs" / "post-init.md"
TOKYO = [{"name": "Tokyo", "country": "JP", "people": 8336599}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With all files of the page."""
    for name, source in sessions(PAGE)[-1].files.items():
        (tmp_path / name).write_text(source)
    return tmp_path


@contextmanager
def running(folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """It is asked to end at the end, and has to; what it said is in log.txt."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=no_core,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert status in {0, -signal.SIGTERM}, (folder / "log.txt").read_text()


def until[T](ask: Callable[[], T], process: subprocess.Popen[bytes], folder: Path) -> T:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if answer := ask():
                return answer
        except OSError:  # nobody listens yet
            pass
        time.sleep(0.05)
    raise AssertionError((folder / "log.txt").read_text())


def address(folder: Path) -> str | None:
    found = re.search(r"http://127\.0\.0\.1:[1-9]\d*", (folder / "log.txt").read_text())
    return found and found[0]


def get(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def sealed(pid: int) -> list[tuple[int, int]]:
    """Where the chunks of the process's global pool lie, which has to be protected."""
    [pool] = [pool for pool in look(pid).pools if pool.name == "global"]
    assert pool.state == "protected" and not pool.problems
    return [(chunk.address, chunk.bytes) for chunk in pool.chunks]


def test_gunicorn_shares_what_its_master_sealed(folder: Path) -> None:
    pytest.importorskip("gunicorn")
    command = "gunicorn", "--bind=127.0.0.1:0", "--log-file=-"
    with running(folder, *command) as process:
        url = until(lambda: address(folder), process, folder)
        answers: dict[int, dict[str, Any]] = {}

        def both() -> bool:
            answer = get(url + "/tokyo")
            answers[answer["pid"]] = answer
            return len(answers) == 2

        until(both, process, folder)
        for pid, answer in answers.items():
            assert answer == {"cities": TOKYO, "protected": True, "pid": pid}
            assert sealed(pid) == sealed(process.pid)
        assert "init is over: 3 entries" in (folder / "log.txt").read_text()


def test_gunicorn_does_not_serve_what_it_could_not_seal(folder: Path) -> None:
    pytest.importorskip("gunicorn")
    with (folder / "settings.py").open("a") as settings:
        settings.write("\nkept = SETTINGS['limits']\n")
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0"],
        cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "variable kept of module settings" in done.stderr
    assert "Booting worker" not in done.stderr


def test_uvicorn_protects_in_its_lifespan(folder: Path) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    with running(folder, "uvicorn", "--port=0", "asgi:app") as process:
        url = until(lambda: address(folder), process, folder)
        assert until(lambda: get(url + "/tokyo"), process, folder) == {
            "cities": TOKYO,
            "protected": True,
            "pid": process.pid,
        }


def test_uvicorn_does_not_serve_what_it_could_not_seal(folder: Path) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    with (folder / "settings.py").open("a") as settings:
        settings.write("\nkept = SETTINGS['limits']\n")
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--port=0", "asgi:app"],
        cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "variable kept of module settings" in done.stderr


ASK_CELERY = """
import json
from tasks import city
print(json.dumps([city.delay("tokyo").get(timeout=50) for _ in range(4)]))
"""


def test_celery_shares_what_the_parent_sealed(folder: Path) -> None:
    pytest.importorskip("celery")
    (folder / "queue").mkdir()
    (folder / "results").mkdir()
    command = "celery", "--app=tasks", "worker", "--pool=prefork", "--concurrency=2"
    with running(folder, *command, "--loglevel=info") as process:
        until(lambda: " ready." in (folder / "log.txt").read_text(), process, folder)
        done = subprocess.run(
            [sys.executable, "-c", ASK_CELERY],
            cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + (folder / "log.txt").read_text()
        for answer in json.loads(done.stdout):
            assert answer["cities"] == TOKYO
            assert answer["protected"] is True
            assert answer["pid"] != process.pid
            assert sealed(answer["pid"]) == sealed(process.pid)

"""gunicorn with the application, in a process of its own: for the show, and for the tests."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
PATIENCE = 60.0  # seconds; a machine may be busy


def until[T](ask: Callable[[], T], what: str) -> T:
    """What ask() says as soon as it is true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.02)
    raise TimeoutError(what)


class Server:
    """``with Server(attacks=1) as server:`` has it listening, and ends it.

    Args:
        ends_init: without, gunicorn does not read gunicorn.conf.py, and the same application
            runs on ordinary objects.
        settings: what settings.toml says otherwise.
    """

    def __init__(self, *, workers: int = 3, ends_init: bool = True, **settings: object) -> None:
        with tempfile.NamedTemporaryFile(prefix="post-init-", suffix=".log", delete=False) as file:
            self._log = Path(file.name)
        command = [sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:0", f"--workers={workers}"]
        command += ["--log-file=-", "--config"]
        if ends_init:
            command += [str(HERE / "gunicorn.conf.py")]
        else:
            command += ["/dev/null", "--preload", "--no-control-socket", "post_init_app.app:app"]
        names = {f"POST_INIT_APP_{name.upper()}": str(value) for name, value in settings.items()}
        paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, **names, "PYTHONPATH": os.pathsep.join(paths)}
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
            )
        self.count = workers

    def __enter__(self) -> Self:
        try:
            self.url = until(self._listening, "gunicorn does not listen")
            self.ask_all("/")  # one that has just begun would not hear a SIGTERM yet
        except BaseException:
            self.close()
            raise
        return self

    def _listening(self) -> str | None:
        if self.process.poll() is not None:
            raise RuntimeError(f"gunicorn ended with {self.process.returncode}:\n{self.log()}")
        found = re.search(r"Listening at: (\S+)", self.log())
        return found[1] if found else None

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> int:
        """Ends it as systemd does. Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._log.unlink(missing_ok=True)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    # ---- requests ----

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def attack(self, name: str) -> int:
        """The status of the answer; 0 if the worker died instead of giving one."""
        request = urllib.request.Request(f"{self.url}/attack/{name}", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                status: int = answer.status
        except urllib.error.HTTPError as error:
            with error:
                status = error.code
        except (ConnectionError, urllib.error.URLError):
            status = 0
        return status

    def ask_all(self, path: str) -> dict[int, dict[str, Any]]:
        """The answers of all workers, by process id. Which one takes a request is chance."""
        answers: dict[int, dict[str, Any]] = {}

        def ask(_: int) -> None:
            answer = self.get(path)
            answers[answer["pid"]] = answer

        def everyone() -> bool:
            with ThreadPoolExecutor(2 * self.count) as threads:
                list(threads.map(ask, range(2 * self.count)))
            return len(answers) >= self.count

        until(everyone, f"not every worker answers {path}")
        return answers

    # ---- what is known from outside ----

    def workers(self) -> set[int]:
        """Process ids of the children that live."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(child) for child in children if state(int(child)) not in "ZX"}

    def pools(self, pid: int) -> list[dict[str, Any]]:
        """What `pmalloc maps` says of a process."""
        command = [sys.executable, "-m", "pmalloc", "maps", "--json", str(pid)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        found: list[dict[str, Any]] = told["processes"][0]["pools"]
        return found


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return "X"


def private_dirty(pid: int, pool: dict[str, Any] | None = None) -> int:
    """Bytes that a process does not share: all of them, or those of a pool."""
    if pool is None:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(re.findall(r"^Private_Dirty: +(\d+)", text, re.MULTILINE)[0]) * 1024
    ranges = [(chunk["address"], chunk["address"] + chunk["bytes"]) for chunk in pool["chunks"]]
    dirty = 0
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            start, end = int(found[1], 16), int(found[2], 16)
            inside = any(start < high and low < end for low, high in ranges)
        elif inside and line.startswith("Private_Dirty:"):
            dirty += int(line.split()[1]) * 1024
    return dirty

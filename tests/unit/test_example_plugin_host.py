"""examples/plugin_host: a hook table that is post-init, plugins that come and go, and a rogue.

A process ends init once, so each scene has one of its own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from reported import no_core

pytest.importorskip("pluggy")

EXAMPLES = Path(__file__).parents[2] / "examples"

START = """
import sys
import pmalloc
from plugin_host import host
from plugin_host.__main__ import CURFEW, FIXED, ROGUE, start

def ask(*request):
    print(host.authorize(*request))
"""


def run(program: str, *, status: int = 0) -> subprocess.CompletedProcess[str]:
    paths = [str(EXAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", START + program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=no_core,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def answers(program: str) -> list[str]:
    return run(program).stdout.splitlines()


def test_one_refusal_is_enough_and_the_first_one_is_told() -> None:
    assert answers("""
start()
ask("alice", "write", "/srv/ledger")
ask("bob", "write", "/srv/ledger")
ask("bob", "write", "/etc/shadow")
ask("root", "write", "/etc/shadow")
from plugin_host.plugins import secret
print(secret.refusals)
""") == [
        "None",
        "roles: bob may not write",
        "roles: bob may not write",
        "secret: nobody writes /etc/shadow",
        "3",
    ]


def test_the_table_is_protected_and_is_the_same_object() -> None:
    assert answers("""
from plugin_host.host import TABLE
report = start()
print(TABLE is host.TABLE is pmalloc.root("global")["hooks"], pmalloc.is_protected(TABLE))
print([hook.plugin for hook in TABLE["fixed"]["authorize"]], pmalloc.pool_of(TABLE).name)
from plugin_host.plugins.roles import ROLES
print(pmalloc.is_protected(ROLES), ROLES["alice"])
""") == ["True True", "['roles', 'secret'] global", "True ['read', 'write']"]


def test_a_late_plugin_can_refuse_more_and_nothing_less() -> None:
    assert answers("""
start()
host.load(CURFEW)
ask("bob", "read", "/srv/ledger")
ask("alice", "read", "/srv/ledger")
ask("bob", "write", "/srv/ledger")  # the fixed ones are asked first, tryfirst or not
host.load(ROGUE)
ask("root", "write", "/etc/shadow")
from plugin_host.plugins.curfew import CURFEW as data
print(pmalloc.is_protected(data), pmalloc.pool_of(data).name, pmalloc.root("curfew")["curfew"])
""") == [
        "curfew: come back in the morning",
        "None",
        "roles: bob may not write",
        "secret: nobody writes /etc/shadow",
        "True curfew {'users': ['bob'], 'paths': ['/srv/ledger']}",
    ]


def test_an_unloaded_plugin_is_gone_with_its_data() -> None:
    assert answers("""
start()
for _ in range(3):
    host.load(CURFEW)
    ask("bob", "read", "/srv/ledger")
    host.unload(CURFEW)
    ask("bob", "read", "/srv/ledger")
    print("curfew" in [pool.name for pool in pmalloc.pools()], CURFEW in sys.modules)
""") == 3 * ["curfew: come back in the morning", "None", "False False"]


def test_a_plugin_in_use_is_not_unloaded_under_its_users() -> None:
    assert answers("""
start()
host.load(CURFEW)
from plugin_host.plugins import curfew
kept = curfew.CURFEW["users"]
del curfew
try:
    host.unload(CURFEW)
except host.InUseError as error:
    print(str(error).partition(":")[0], kept)
ask("bob", "read", "/srv/ledger")  # out of the table all the same
del kept
host.unload(CURFEW)
print([pool.name for pool in pmalloc.pools() if pool.name == "curfew"])
""") == ["curfew is still in use ['bob']", "None", "[]"]


def test_a_use_after_the_unloading_is_reported() -> None:
    done = run(
        """
start()
host.load(CURFEW)
host.load(ROGUE)
from plugin_host.plugins import rogue
rogue.steal()
try:
    host.unload(CURFEW)
except host.InUseError:
    [pool] = [pool for pool in pmalloc.pools() if pool.name == "curfew"]
    pool.destroy(force=True)
print(host.stolen)
""",
        status=-11,
    )
    assert "use after destroy of pool 'curfew'" in done.stderr


def test_who_is_fixed_stays() -> None:
    assert answers("""
start()
try:
    host.unload(FIXED[0])
except ValueError as error:
    print(error)
try:
    host.install(CURFEW)
except pmalloc.InitError as error:
    print(type(error).__name__)
ask("bob", "write", "/srv/ledger")
""") == ["roles was installed during init, and stays", "InitError", "roles: bob may not write"]


@pytest.mark.parametrize("mistake", ["hook_that_no_one_specified", "wrapper"])
def test_a_plugin_that_makes_a_mistake_changes_nothing(tmp_path: Path, mistake: str) -> None:
    bodies = {
        "hook_that_no_one_specified": "@hook\ndef authorise(user): return 'no'\n",
        "wrapper": "@hook(wrapper=True)\ndef authorize(user):\n    return (yield)\n",
    }
    (tmp_path / "wrong.py").write_text(f"from plugin_host.host import hook\n{bodies[mistake]}")
    assert answers(f"""
import types, pluggy
sys.path.insert(0, {str(tmp_path)!r})
start()
before = host.LATE.version
try:
    host.load("wrong")
except pluggy.PluginValidationError:
    print("refused", host.LATE.version == before)
host.load(CURFEW)
ask("bob", "read", "/srv/ledger")
""") == ["refused True", "curfew: come back in the morning"]


REFUSED = "refused: secret: nobody writes /etc/shadow"


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        ("assign", "TypeError: 'FrozenDict' object does not support item assignment"),
        ("remove", "TypeError: 'FrozenList' object is frozen: clear() would change it"),
        ("install_late", "InitError: "),
        ("through_pluggy", ""),
        ("publish", ""),
    ],
)
def test_a_rogue_does_not_replace_a_hook(attempt: str, said: str) -> None:
    lines = answers(f"""
from plugin_host.__main__ import in_child
start()
host.load(ROGUE)
from plugin_host.plugins import rogue
said, ended = in_child(rogue.{attempt})
print(said, end="")
print(ended)
""")
    assert lines[-2:] == [REFUSED, "0"]
    assert said in lines[0]


@pytest.mark.parametrize(
    ("attempt", "path"),
    [
        ("go_around", "global['hooks']['fixed']"),
        ("overwrite", "global['hooks']['fixed']['authorize']"),
        ("swap_in_the_cell", "late hooks"),
    ],
)
def test_a_rogue_that_writes_is_ended_with_a_report(attempt: str, path: str) -> None:
    done = run(
        f"""
start()
host.load(ROGUE)
from plugin_host.plugins import rogue
rogue.{attempt}()
""",
        status=-11,
    )
    assert f"\n  path         {path}\n" in done.stderr
    assert f"in {attempt}" in done.stderr


def test_what_is_not_covered_is_not_covered() -> None:
    """README.md says so: functions are ordinary objects. If that changes, so must README.md."""
    assert answers("""
start()
host.load(ROGUE)
from plugin_host.plugins import rogue
rogue.rewrite_code()
ask("root", "write", "/etc/shadow")
""") == ["None"]


def test_the_show_runs() -> None:
    paths = [str(EXAMPLES), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "plugin_host"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(REFUSED) == 5
    assert done.stdout.count("ended by signal 11") == 3

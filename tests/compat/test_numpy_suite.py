"""NumPy's own tests of arrays pass while NumPy allocates in a pool; see in_pool.py.

They are those of the NumPy that is installed, with whatever it skips by itself. Those that assert
the name of the handler are in numpy/_core/tests/test_mem_policy.py: they build handlers of their
own, with meson, and are about nothing else.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from _rounds import FULL, ROUNDS

np = pytest.importorskip("numpy")

HERE = Path(__file__).parent

# Of each file the tests that cannot pass in a pool, each with the reason.
SUITES: dict[str, dict[str, str]] = {
    "_core.tests.test_multiarray": {},
    "_core.tests.test_item_selection": {},
    "_core.tests.test_stringdtype": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUITES)
def test_numpys_own_tests(name, tmp_path):
    if name != "_core.tests.test_multiarray" and ROUNDS < FULL:
        pytest.skip(f"at PMALLOC_COMPAT_ROUNDS={ROUNDS} the tests of arrays are all of NumPy's")
    module = f"numpy.{name}"
    if importlib.util.find_spec(module) is None:
        pytest.skip("this NumPy was installed without its tests")
    deselected = [f"not {test}" for test in SUITES[name]]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "in_pool", "-p", "no:cacheprovider"]
    if deselected:
        command += ["-k", " and ".join(deselected)]
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    run = subprocess.run(
        [*command, "--pyargs", module],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={
            "NPY_AVAILABLE_MEM": "1 GB",  # one wants 18: it passes too, and takes its time
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        timeout=1_800,
    )
    output = run.stdout + run.stderr
    told = re.search(r"(\d+) tests ran in \d+ pools; \d+ arrays", output)
    passed = re.search(r"(\d+) passed", output)
    assert run.returncode == 0 and told and passed, output[-8_000:]
    assert "failed" not in output.splitlines()[-1]
    assert int(told[1]) >= int(passed[1]) > 0
    print(f"NumPy {np.__version__}, {name}: {passed[0]}, {told[0]}")

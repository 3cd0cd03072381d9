"""Django's own test-suite passes with its settings frozen; see own_suite.py.

Of the suite, the folders whose tests go through what settings rule. The tests are in the source
distribution only, which is fetched once, for the version of Django that is installed.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

django = pytest.importorskip("django")

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "build" / "own-suite"

FOLDERS = (
    "settings_tests context_processors signing csrf_tests middleware sessions_tests template_tests "
    "template_backends template_loader messages_tests requests_tests httpwrappers handlers "
    "logging_tests check_framework urlpatterns_reverse urlpatterns test_client "
    "signed_cookies_tests forms_tests sites_tests humanize_tests utils_tests"
).split()

# It wants to be refused a file, which root is not.
NOT_AS_ROOT = {"test_permissions_error"} if os.geteuid() == 0 else set()


def suite_folder() -> Path:
    """The folder `tests` of Django's source distribution."""
    folder = CACHE / f"django-{django.__version__}" / "tests"
    if not folder.exists():
        fetched = CACHE / "fetched"
        shutil.rmtree(fetched, ignore_errors=True)
        fetched.mkdir(parents=True)
        pip = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "-q", "--no-deps"),
                *("--no-binary", "django", "-d", str(fetched), f"django=={django.__version__}"),
            ],
            capture_output=True,
            text=True,
        )
        archives = [*fetched.glob("*.tar.gz")]
        if not archives:
            pytest.skip(f"Django's source distribution could not be fetched: {pip.stderr[-200:]}")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(CACHE, filter="data")
        shutil.rmtree(fetched)
    return folder


@pytest.mark.slow
def test_django_with_frozen_settings(tmp_path):
    run = subprocess.run(
        [sys.executable, str(HERE / "own_suite.py"), str(suite_folder()), *FOLDERS],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        timeout=1_800,
    )
    output = run.stdout + run.stderr
    frozen = re.search(r"(\d+) settings are frozen", output)
    ran = re.search(r"^Ran (\d+) tests", output, re.MULTILINE)
    failed = set(re.findall(r"^(?:ERROR|FAIL|UNEXPECTED SUCCESS): (\w+)", output, re.MULTILINE))
    assert frozen and ran, output[-4_000:]
    assert failed <= NOT_AS_ROOT, output[-20_000:]
    assert int(frozen.group(1)) >= 100 and int(ran.group(1)) >= 5_000
    print(f"Django {django.__version__}: {ran.group(1)} tests of its own")

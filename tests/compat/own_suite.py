"""Django's own test-suite, with Django's own settings frozen.

    python tests/compat/own_suite.py FOLDER [--plain] [LABEL...]

FOLDER is `tests` of a Django source distribution of the version that is installed; LABEL is a
folder in it, all of the suite without. Django loads the suite's settings module by its own loader
on top of its global settings; the suite's runner completes them. Then, before the first test,
every setting is frozen, all in one protected pool, as is the default logging configuration, and
the suite runs. Only DATABASES stays as it is, for Django has completed that dict in place. With
--plain nothing is frozen, to compare.

The settings that are read are what a web application reads: in the middleware, the template
engine, sessions, authentication, caches, mail, translation. A store into any of them would end
the run at once.
"""

import os
import runpy
import sys
import tempfile
from pathlib import Path

import pmalloc

# Completed by Django in place (docs/compat.md).
PLAIN = {"DATABASES"}


def freeze_settings() -> None:
    from django.conf import settings
    from django.utils import log

    loaded = settings._wrapped
    names = sorted({name for name in dir(loaded) if name.isupper()} - PLAIN)
    values = {name: getattr(loaded, name) for name in names}
    frozen = pmalloc.freeze({"settings": values, "logging": log.DEFAULT_LOGGING}, name="django")
    for name, value in frozen["settings"].items():
        setattr(loaded, name, value)
        settings.__dict__.pop(name, None)  # LazySettings keeps what was asked for before
    log.DEFAULT_LOGGING = frozen["logging"]
    objects = pmalloc.pool_of(frozen).stats()["objects"]
    print(f"{len(values)} settings are frozen, {objects} objects in all", file=sys.stderr)


def main() -> None:
    folder, *arguments = sys.argv[1:]
    plain = "--plain" in arguments
    labels = [argument for argument in arguments if argument != "--plain"]
    os.chdir(folder)
    sys.path.insert(0, os.getcwd())
    os.environ.setdefault("TMPDIR", tempfile.gettempdir())

    from django.test.runner import DiscoverRunner

    run_tests = DiscoverRunner.run_tests

    def run_tests_frozen(self, *args, **kwargs):
        freeze_settings()
        return run_tests(self, *args, **kwargs)

    if not plain:
        DiscoverRunner.run_tests = run_tests_frozen
    # One process: what a worker of Django's parallel runner died of would be hard to see.
    sys.argv = ["runtests.py", "--settings=test_sqlite", "--parallel=1", "--noinput", *labels]
    runpy.run_path(str(Path("runtests.py").resolve()), run_name="__main__")


if __name__ == "__main__":
    main()

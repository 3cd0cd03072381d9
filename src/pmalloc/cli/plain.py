"""`pmalloc doctor` where typer and rich are not installed: the same findings, as plain text."""

from __future__ import annotations

import argparse
import json

from . import findings, probes


def main(arguments: list[str]) -> int:
    """Runs `doctor` with its arguments; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="pmalloc doctor",
        description="Says what this machine allows, each thing tried.",
        epilog="The table of attacks, doctor --attack, needs typer and rich: "
        "pip install 'pmalloc[cli]'",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON instead of tables.")
    options = parser.parse_args(arguments)
    found = probes.run()
    if options.json:
        print(json.dumps(findings.as_dict(found), indent=2))
    else:
        print(findings.plain(found))
    return findings.status(found)

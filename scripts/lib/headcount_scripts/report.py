# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/report: what came of the last run, as a table, from the JSON that the run left."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import paths
from .console import ScriptError

# The table is the collection's own; no Ansible is needed for it.
sys.path.insert(0, str(paths.ROOT / ".collections"))

from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output import report

EPILOG = "exit codes: 0 every host came to what was asked for, 1 some did not, 2 wrong use or no report"


def main(arguments: list[str]) -> int:
    """Runs scripts/report with its arguments; returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/report", description=__doc__, epilog=EPILOG)
    parser.add_argument("path", nargs="?", type=Path, default=paths.WORK / "report.json", help="the report (JSON)")
    parser.add_argument("--json", action="store_true", help="as it is, for programs")
    options = parser.parse_args(arguments)
    data = _read(options.path)
    if options.json:
        json.dump(data, sys.stdout, indent=1)
        print()
    else:
        print(report.text(data["rows"], f"{data['summary']} (run {data['run']['id']} of {data['run']['user']})"))
    return 1 if data["failed"] else 0


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ScriptError(f"{paths.shown(path)} is missing: no run has left a report there yet", 2) from None
    except (OSError, ValueError) as error:
        raise ScriptError(f"{paths.shown(path)} cannot be read: {error}", 2) from error
    if not isinstance(data, dict) or not {"rows", "summary", "run", "failed"} <= set(data):
        raise ScriptError(f"{paths.shown(path)} is no report of a run", 2)
    return data

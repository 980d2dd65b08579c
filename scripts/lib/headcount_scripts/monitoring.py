# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/monitoring: writes rules for Prometheus, a console and a dashboard, for what the exporters tell."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from . import paths
from .console import ScriptError, say

# They are the collection's own; no Ansible is needed for them.
sys.path.insert(0, str(paths.ROOT / ".collections"))

from ansible_collections.headcount.gunicorn.plugins.plugin_utils._monitoring.output import files
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._monitoring.rules import JOB

EPILOG = """\
headcount.rules.yml        rule_files of prometheus.yml; check it with: promtool check rules headcount.rules.yml
headcount.html             a console of Prometheus: into its folder of consoles, then /consoles/headcount.html
headcount.dashboard.json   a dashboard of Grafana 11: imported, or provisioned from a folder

exit codes: 0 written, or as it was; 1 it cannot be written, or (--check) it differs from what is there; 2 wrong use"""


def _job(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.:-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name of letters, digits, '_', '.', ':' and '-'")
    return text


def _runbooks() -> str:
    """docs/alerts.md in the repository that galaxy.yml names."""
    found = re.search(r"^repository: (\S+)$", (paths.ROOT / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)
    return f"{found[1] if found else paths.ROOT}/blob/main/docs/alerts.md"


def main(arguments: list[str]) -> int:
    """Runs scripts/monitoring with its arguments; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/monitoring",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the files go; it is made")
    parser.add_argument("--job", type=_job, default=JOB, help="the job_name that scrapes the exporters (%(default)s)")
    parser.add_argument("--runbooks", default=_runbooks(), metavar="URL", help="where docs/alerts.md is read")
    parser.add_argument("--check", action="store_true", help="write nothing; say whether all is there as it should be")
    options = parser.parse_args(arguments)
    wanted = {options.folder / name: text for name, text in files(options.runbooks, options.job).items()}
    try:
        differing = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
        if options.check:
            for path in differing:
                say(f"{paths.shown(path)} is missing, or not what scripts/monitoring writes")
            return 1 if differing else 0
        options.folder.mkdir(parents=True, exist_ok=True)
        for path in differing:
            path.write_text(wanted[path], encoding="utf-8")
    except OSError as error:
        raise ScriptError(f"{options.folder}: {error.strerror or error}") from error
    say(f"ok written: {', '.join(map(paths.shown, differing))}" if differing else "ok as it was")
    return 0

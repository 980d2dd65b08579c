# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""`python -m headcount_scripts.judges NAME`: what the world of Ansible says of this collection.

The collection is built and installed as a user gets it, into a temporary folder; then one of JUDGES looks at it. None
asks a network. Exit code 0: it has nothing to say against it; 1: its output says what.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import console, paths
from .console import ScriptError

#: galaxy-importer ends with 0 whatever it has to warn of.
_COMPLAINT = re.compile(r"^(WARNING|ERROR|CRITICAL):", re.MULTILINE)


@dataclass(frozen=True)
class Built:
    """The collection as a user gets it."""

    archive: Path
    root: Path  # what ANSIBLE_COLLECTIONS_PATH names
    folder: Path  # the collection in it
    version: str


def build(work: Path, source: Path = paths.ROOT) -> Built:
    """Builds the collection at `source` and installs it below the empty folder `work`.

    ScriptError when ansible-galaxy cannot do it.
    """
    _ansible_galaxy(work, "build", "--output-path", str(work), str(source))
    (archive,) = work.glob("*.tar.gz")
    _ansible_galaxy(work, "install", "--offline", "--no-deps", "--collections-path", str(work), str(archive))
    (manifest,) = work.glob("ansible_collections/*/*/MANIFEST.json")
    version = json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]
    return Built(archive, work, manifest.parent, version)


def _ansible_galaxy(work: Path, action: str, *options: str) -> None:
    done = subprocess.run(
        ["ansible-galaxy", "collection", action, *options],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(work)},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise ScriptError(f"ansible-galaxy cannot {action} the collection:\n{done.stdout}{done.stderr}")


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and output of a command; the output is printed too."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout, end="", flush=True)
    return done.returncode, done.stdout


def _galaxy(built: Built) -> bool:
    """Ansible Galaxy's importer. What it only warns of counts too.

    It leaves out its call of ansible-lint, which it would end after 180 s: that is a check of its own, by the same
    profile and with more rules.
    """
    environment = {
        "GALAXY_IMPORTER_TMP_ROOT_DIR": str(built.root),
        "GALAXY_IMPORTER_ANSIBLE_LOCAL_TMP": str(built.root),
        "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false",
    }
    command = [sys.executable, "-m", "galaxy_importer.main", str(built.archive)]
    code, output = _run(command, built.root, environment)
    return code == 0 and not _COMPLAINT.search(output)


def _docs(built: Built) -> bool:
    """antsibull-docs, which makes the pages of docs.ansible.com."""
    command = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "all", "."]
    return _run(command, built.folder, {"ANSIBLE_COLLECTIONS_PATH": str(built.root)})[0] == 0


def _modules(built: Built) -> bool:
    """The validate-modules of ansible-test.

    It is called as ansible-test calls it, and with the packages of this virtual environment: ansible-test itself would
    fetch pip and those packages once more.
    """
    found = importlib.util.find_spec("ansible_test")
    if found is None or found.origin is None:
        raise ScriptError("ansible_test is not in this virtual environment: ansible-core brings it")
    home = Path(found.origin).parent
    validate = home / "_util/controller/sanity/validate-modules/validate.py"
    collection = str(built.folder.relative_to(built.root))
    judged = ["--arg-spec", "--collection", collection, "--collection-version", built.version, "plugins/modules"]
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(built.root), "ANSIBLE_CONFIG": str(home / "_data/ansible.cfg")}
    return _run([sys.executable, str(validate), *judged], built.folder, environment)[0] == 0


JUDGES: Final[Mapping[str, Callable[[Built], bool]]] = {
    "galaxy-importer": _galaxy,
    "antsibull-docs": _docs,
    "validate-modules": _modules,
}


def main(arguments: list[str]) -> int:
    """Runs the judge that is named; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in JUDGES:
        raise ScriptError(f"name one judge: {', '.join(JUDGES)}", 2)
    with tempfile.TemporaryDirectory(prefix="headcount-judge-") as work:
        return 0 if JUDGES[arguments[0]](build(Path(work))) else 1


if __name__ == "__main__":
    sys.exit(console.guard(lambda: main(sys.argv[1:])))

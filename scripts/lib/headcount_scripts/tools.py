# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Single programs out of Debian's packages, without installing these: a package may start a service."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from . import bootstrap, paths
from .console import ScriptError, locked, run_logged, say, step

FOLDER = paths.WORK / "tools"
CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Programs that show a page to Playwright. The first one is a package of Debian of its own, a third as large."""


def promtool(folder: Path = FOLDER) -> Path | None:
    """The folder of Prometheus' promtool; None, with words, where it cannot be had: its tests are skipped then."""
    on_path = shutil.which("promtool")
    if on_path:
        return Path(on_path).parent
    try:
        return program("promtool", "prometheus", folder).parent
    except (ScriptError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
        say(f"!! no promtool, so that the rules for Prometheus are not tried: {str(error).splitlines()[0]}")
        return None


def chromium(install: bool = True) -> Path | None:
    """The program of a Chromium, installed where there is none and `install` says so; None, with words, where it cannot
    be had: the report of a run is not tried in a browser then."""
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is not None or not install:
        return Path(found) if found else None
    try:
        bootstrap.ensure_packages({CHROMIUMS[0]: CHROMIUMS[0]})
    except ScriptError as error:
        say(f"!! no Chromium, so that the report is not tried in a browser: {str(error).splitlines()[0]}")
        return None
    return chromium(install=False)


def program(name: str, package: str, folder: Path = FOLDER) -> Path:
    """The program `usr/bin/NAME` of a package, kept in `folder`. ScriptError where apt-get cannot fetch it."""
    kept = folder / name
    if kept.exists():
        return kept
    if not shutil.which("apt-get"):
        raise ScriptError(f"{name} is in Debian's package {package}, and only Debian's apt-get is known here")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock", f"it fetches {name}"):
        if not kept.exists():
            with step(f"fetching {name} of Debian's package {package}"), tempfile.TemporaryDirectory() as work:
                unpack(_download(package, Path(work)), name, kept)
    return kept


def _download(package: str, work: Path) -> Path:
    # As root apt-get hands the work to an account of its own, which has to reach the folder.
    work.chmod(0o755)
    if os.geteuid() == 0:
        with contextlib.suppress(LookupError):
            shutil.chown(work, "_apt")
    run_logged(["apt-get", "download", package], paths.LOGS / "tools.log", "apt-get download", cwd=work)
    (archive,) = work.glob(f"{package}_*.deb")
    return archive


def unpack(archive: Path, name: str, kept: Path) -> None:
    """`usr/bin/NAME` out of a package becomes the file `kept`, whole or not at all; ScriptError where there is none."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as unpacking:
        with tarfile.open(fileobj=unpacking.stdout, mode="r|") as files:
            for member in files:
                content = files.extractfile(member) if member.name == f"./usr/bin/{name}" else None
                if content is not None:
                    new = kept.with_suffix(".new")
                    with new.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    new.chmod(0o755)
                    new.replace(kept)
        unpacking.communicate()
    if not kept.exists():
        raise ScriptError(f"there is no usr/bin/{name} in {archive.name}")

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a probe reads of a host: by the module that brings all of this along, or by the tool that is on the host."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from shutil import which
from typing import Any

from .._facts import hostfacts
from .._generation import dryrun
from .._generation.answers import GLANCE_SECONDS
from .._generation.asked import AppAsked
from .._generation.settings import retune_at_boot
from .._generation.state import app_state
from .._os.background import Background
from .._os.exporterunit import seen as exporter_listens
from .._os.paths import SYSTEM_PYTHON, Layout, present_apps
from .._os.systemd import Systemd
from .._release.contents import present


def probe(
    apps: Sequence[AppAsked], slice_: str, python: str = SYSTEM_PYTHON, sandbox: Sequence[str] = ()
) -> dict[str, Any]:
    """Facts of the host and the state of `apps` on it (RETURN of plugins/modules/host_info.py). Nothing is changed.

    `python`: the interpreter that releases run on; `sandbox`: properties of the apps' units, tried for an app that is
    not live.
    """
    names = [app["name"] for app in apps]
    facts = Background(lambda: hostfacts.read(slice_=slice_, python=python, apps=names).to_dict())
    states: dict[str, dict[str, Any]] = {
        app["name"]: {
            **app_state(app, look_seconds=GLANCE_SECONDS),
            "retune_at_boot": retune_at_boot(Layout(app["name"])),
        }
        for app in apps
    }
    first = [state for state in states.values() if state["live"] is None]
    wrong = dryrun.problem(sandbox, Systemd().runner) if first and sandbox else ""
    for state in first:
        state["clashes"] = [*state["clashes"], *([wrong] if wrong else [])]
    return {
        "facts": facts.result(),
        "apps": states,
        "installed": present_apps(),
        "wheels": sorted(present()),
        "exporter": exporter_listens(),
        "compiler": which("cc") or which("gcc") or which("clang"),
    }


def sources() -> dict[str, Any]:
    """Which modules of this package are loaded, and the SHA-256 of all their sources in that order."""
    package = __name__.partition(".")[0]
    names = sorted(name for name in sys.modules if name.startswith(f"{package}."))
    digest = hashlib.sha256()
    found = []
    for name in names:
        path = name[len(package) + 1 :].replace(".", "/") + (
            "/__init__" if hasattr(sys.modules[name], "__path__") else ""
        )
        with open(str(sys.modules[name].__file__), "rb") as stream:
            digest.update(stream.read())
        found.append(path)
    return {"modules": found, "digest": digest.hexdigest()}

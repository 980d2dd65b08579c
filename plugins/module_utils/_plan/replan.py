# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A plan made again on the host, from its inputs as the generation keeps them and what the host has found out since."""

from __future__ import annotations

from pathlib import Path

from .._declaration.app import App, Plain
from .._release.asynccompat import verdicts
from .._release.releases import distributions
from .classes import not_built
from .planner import Mismatch, plan_each, profile_mismatch
from .types import Measured, Policy


def with_measured(planning: Plain, name: str, measured: Plain) -> dict[str, object]:
    """The inputs of the plan with the measurements of app `name` in them."""
    return {**planning, "measured": {**planning.get("measured", {}), name: measured}}


def with_release(planning: Plain, name: str, release: str, app: Plain) -> dict[str, object]:
    """The inputs of the plan with what the built release says of the worker classes: blocked, or not installed."""
    installed = distributions(Path(release))
    free_threaded = bool(planning["facts"]["python"].get("free_threaded"))
    found = dict(verdicts(installed, app["async_libraries"], free_threaded=free_threaded))
    for worker_class in ("gevent", "eventlet"):
        if worker_class not in installed:
            found.setdefault(worker_class, not_built(worker_class))
    # What the release asks of the sandbox (psutil) is known with it.
    bent = {"sandbox": app["sandbox"]} if app.get("sandbox") else {}
    apps = [{**one, **bent} if one["name"] == name else one for one in planning["apps"]]
    verdicts_of = {**planning.get("async_verdicts", {}), name: found}
    return {**planning, "apps": apps, "async_verdicts": verdicts_of}


def replan(planning: Plain, name: str) -> tuple[dict[str, object], Mismatch | None]:
    """The plan of app `name` from its inputs, and whether the app contradicts its declared profile."""
    policy = planning.get("policy")
    plan = plan_each(**{**planning, "policy": Policy(**policy) if policy else None})[name]
    app = next(App.from_dict(app) for app in planning["apps"] if app["name"] == name)
    measured = planning.get("measured", {}).get(name)
    mismatch = profile_mismatch(app, Measured.from_dict(measured) if measured else None, app.profile_mismatch)
    return plan.to_dict(), mismatch

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the controller or a load host does for a trial: say whether it can make the load, and make it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Callable, Optional, TypedDict

from .._declaration.app import Limits, Load, Plain
from .._declaration.origin import CONTROLLER, words
from .._declaration.patience import ANSWER_SECONDS
from .._load import h2load as h2
from .._load.command import h2load_package
from .._load.early import Early
from .._load.phases import Protected, Running
from .._load.trialload import Capacity, Turn, run_trial_load
from .._os.http import Answer, get, unhealthy
from .._os.procfs import parse_os_release, read_text
from .._verdict.bypath import names_of
from .._verdict.early import Rule
from .._verdict.types import USUAL
from .compare import missing_tool

LoadRequest = TypedDict(
    "LoadRequest",
    {
        "from": str,
        "candidate": str,
        "baseline": Optional[str],
        "load": Plain,
        "limits": Plain,
        "health": Plain,
        "workers": int,
        "capacity_rps": Optional[float],
        "answer_seconds": float,
        "swap": bool,
        "factor": float,
        "in_turn": bool,
        "compared": bool,
    },
)
"""What a load host is asked to do: the addresses of both arms, sections of the normalised app, and how it is run as
run_trial_load() has it. `compared`: whether the candidate's latency is held against the live generation's; `from`: who
makes the load, as `load.from` says it."""


class NotLoaded(Exception):
    """The load cannot be made from here; the message says why and what to do, in one sentence."""


def lacking_packages(name: str, files: int, install: bool, search: str | None = None, root: str = "/") -> list[str]:
    """Packages that have to be installed here before this machine can make a load. It is `name` (`load.from`).

    files: open files that one process of the load may need. NotLoaded when the machine allows fewer, or when h2load is
    missing and nobody will install it: `install` is False, or this is the controller, which Headcount leaves as it is.
    """
    problem = h2.raise_nofile(files)
    if problem:
        raise NotLoaded(f"{words(name)} cannot make the load: {problem}")
    fix = "" if name == CONTROLLER else ", or let Headcount do it with headcount_install_packages: true"
    lacking = missing_tool(search, words(name), fix)
    if lacking is None:
        return []
    if not install or name == CONTROLLER:
        raise NotLoaded(lacking)
    release = parse_os_release(read_text(root, "etc/os-release"))
    return [h2load_package(release.get("ID", ""), release.get("ID_LIKE", ""))]


def make_load(
    request: LoadRequest,
    *,
    search: str | None = None,
    ask: Callable[..., Answer] = get,
    runner: h2.Runner = h2.run_processes,
    monotonic: Callable[[], float] = time.monotonic,
) -> dict[str, object]:
    """Warm both arms up and load them, as `request` says (remotetrial.begin).

    Returns {load: TrialLoad.pack(), since_warm_seconds: from the end of the warm-up to now}. NotLoaded when it cannot
    be: no h2load, too few open files, or an address that does not lead to the app from here.
    """
    lacking = missing_tool(search, words(request["from"]), "")
    if lacking is not None:
        raise NotLoaded(lacking)
    addresses = {"candidate": request["candidate"], "baseline": request.get("baseline")}
    arms = {name: address for name, address in addresses.items() if address}
    for name, address in arms.items():
        _reach(name, address, request, ask)
    warm: list[float] = []
    # The same Host as through the private sockets: the app cannot tell where the load comes from.
    targets = {name: h2.Target(address, "localhost") for name, address in arms.items()}
    limits = Limits.from_dict(request.get("limits") or {})
    swap = bool(request["swap"])
    try:
        load = run_trial_load(
            targets["candidate"],
            targets.get("baseline"),
            Load.from_dict(request["load"]),
            capacity=Capacity(int(request["workers"]), request.get("capacity_rps")),
            turn=Turn(swap, float(request["factor"]), bool(request.get("in_turn")), warm=swap),
            running=Running(_answer_seconds(request), runner=runner, early=Early(_rule(request, limits))),
            on_warm=lambda: warm.append(monotonic()),
            protected=Protected(targets["baseline"], limits) if "baseline" in targets else None,
        )
    except h2.LoadError as error:
        raise NotLoaded(str(error)) from error
    now = monotonic()
    since = now - warm[0] if warm else 0.0  # one that was stopped in its warm-up never got warm
    return {"load": load.pack(), "since_warm_seconds": round(since, 3)}


def _rule(request: LoadRequest, limits: Limits) -> Rule:
    """How the load is judged while it is under way. The host itself judges what came of it."""
    policy = USUAL if request.get("compared", True) else replace(USUAL, relative=())
    return Rule(limits, policy, names_of(Load.from_dict(request["load"]).paths), _answer_seconds(request))


def _answer_seconds(request: LoadRequest) -> float:
    return float(request.get("answer_seconds", ANSWER_SECONDS))


def _reach(name: str, address: str, request: LoadRequest, ask: Callable[..., Answer]) -> None:
    """NotLoaded when the health check of an arm gets no good answer from here. A load must not hit anything else."""
    health = request["health"]
    host, _, port = address.rpartition(":")
    seconds = float(health["timeout_seconds"])
    answer = ask((host.strip("[]"), int(port)), health["path"], seconds, health.get("headers"))
    reason = unhealthy(answer, health)
    if reason is None:
        return
    what = "the candidate" if name == "candidate" else "the live generation"
    fix = "" if answer.status else f"; let {words(request['from'])} through to that port, or set load.address"
    raise NotLoaded(f"{what} is not reached at {address}: {reason}{fix}")

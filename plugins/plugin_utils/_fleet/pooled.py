# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What hosts of one class found in this run of a release, for a later one of their class (headcount_pool_evidence)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...module_utils._facts.hardware import split_parts
from ...module_utils._plan.types import bare_values
from .._edge import Json
from .decision import HostDecision
from .outcome import Outcome
from .runs import Notes

SIZE = ("worker_class", "workers", "threads", "worker_connections")
"""The settings by which two hosts run a release alike."""


@dataclass(frozen=True)
class Judged:
    """What a host judges: a release on a class of hardware, with what is declared of the app (a digest), and its
    size."""

    hardware: str
    release: str
    declared: str
    size: tuple[object, ...]

    @classmethod
    def of(cls, host: HostDecision, outcome: Outcome) -> Judged | None:
        """None where it is not known yet."""
        app = host.apps.get(outcome.app)
        if app is None or not outcome.release or not host.hardware:
            return None
        settings = bare_values(outcome.plan or app.plan)
        declared = split_parts(app.digest).get("declared", "")
        return cls(host.hardware, outcome.release, declared, tuple(settings.get(name) for name in SIZE))


def pool_for(notes: Notes, host: str, app: str) -> Json | None:
    """What others know for the trial of `app` on `host`: {hosts, requests, failures}; None where nobody does."""
    mine = Judged.of(notes.decision(host), notes.outcome(host, app))
    if mine is None:
        return None
    others = (one[app] for name, one in notes.outcomes().items() if name != host and app in one)
    return pooled(one for one in others if whole(one) and Judged.of(notes.decision(one.host), one) == mine)


def whole(outcome: Outcome) -> bool:
    """Whether it was promoted after a single load, as long as declared."""
    verdict, evidence = outcome.verdict or {}, outcome.evidence or {}
    kept = outcome.outcome == "promoted" and not outcome.failed
    passed = kept and verdict.get("outcome") == "pass" and verdict.get("attempts") == 1
    return bool(passed and evidence.get("candidate") and not evidence.get("pooled"))


def pooled(found: Iterable[Outcome]) -> Json | None:
    """Their loads together; None where there are none."""
    arms = [(outcome.evidence or {})["candidate"] for outcome in found]
    counts = {name: sum(int(arm[name]) for arm in arms) for name in ("planned", "failures")}
    return {"hosts": len(arms), "requests": counts["planned"], "failures": counts["failures"]} if arms else None

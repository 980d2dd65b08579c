# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The guards of the hosts that were promoted in a run, asked while it still runs: who is asked, by whom, and what their
answers come to. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from .._edge import Json
from .choice import DEPLOY
from .outcome import Outcome, Outcomes


@dataclass(frozen=True)
class Question:
    """What a host is to be asked about its guards: the generation of each app that this run promoted there."""

    host: str
    generations: dict[str, int]


def questions(outcomes: Outcomes) -> list[Question]:
    """Whom to ask: hosts where a guard was at work when it was asked last, or was set since."""
    found = []
    for host, apps in outcomes.items():
        watched = {name: one.to for name, one in apps.items() if one.guarded and one.to is not None}
        if watched:
            found.append(Question(host, watched))
    return found


def shared(asked: Sequence[Question], batch: Sequence[str]) -> dict[str, list[Json]]:
    """{host of a batch: the questions that it puts, as plain data}, dealt out evenly, as they are put side by side."""
    if not batch:
        return {}
    dealt: dict[str, list[Json]] = {}
    own = [one for one in asked if one.host in batch]
    for one in own:
        dealt.setdefault(one.host, []).append(asdict(one))
    for place, one in enumerate(one for one in asked if one not in own):
        dealt.setdefault(batch[place % len(batch)], []).append(asdict(one))
    return dealt


def working(batch: Sequence[str], apps: Json, outcomes: Outcomes, name: str) -> list[str]:
    """The hosts of a batch on which the rollout of an app goes on. `apps`: {host: {app: what is done about it}}."""
    failed = [host for host in batch if name in outcomes.get(host, {}) and outcomes[host][name].failed]
    return [host for host in batch if apps.get(host, {}).get(name) == DEPLOY and host not in failed]


def heard(outcome: Outcome, answer: Mapping[str, object], at: float) -> Outcome:
    """The outcome with what its guard came to. `answer`: as the module guarded gives it; `at`: seconds since the
    epoch."""
    back_to, cause = answer.get("back_to"), str(answer.get("cause") or "")
    watches = bool(answer.get("watches"))
    if not cause:
        return outcome.still_guarded(watches)
    if isinstance(back_to, int):
        went = f"the guard took generation {outcome.to} back, generation {back_to} is live again: {cause}"
        return outcome.guard_found(went, back_to, at)
    stays = f"the guard found generation {outcome.to} bad, and it is live still: {cause}"
    return outcome.guard_found(stays, None, at).still_guarded(watches)


def words(outcomes: Outcomes, app: str, hosts: Sequence[str]) -> list[str]:
    """What guards found of an app on those hosts, in sentences that name the host."""
    found = ((host, outcomes[host][app]) for host in hosts if app in outcomes.get(host, {}))
    return [f"{host}: {one.cause}" for host, one in found if one.found_by_guard]

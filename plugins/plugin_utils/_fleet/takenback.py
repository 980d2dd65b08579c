# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the guard of a host took back is not rolled out there again unless a person says so. What people went back from
is, and it is told. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ...module_utils._facts.hardware import split_parts
from .._edge import Json
from .choice import DECLARED_WORDS, DEPLOY, REFUSE, Choice
from .probed import State

RETRY: Final = "headcount_retry"
_SAID: Final = ("declared", "secrets")
_CAUSE_CHARACTERS: Final = 900


@dataclass(frozen=True)
class TakenBack:
    """What of the past of an app counts against what is to be rolled out: `why` in a sentence, empty where nothing
    does; `releases`: why not, by the id of a release."""

    why: str = ""
    releases: Mapping[str, str] = field(default_factory=dict)


def taken_back(
    state: State, source_id: str, parts: Mapping[str, str], changed: Sequence[str], plan_changes: Mapping[str, object]
) -> TakenBack:
    """What the guard took back of what is declared now.

    `source_id`: identity of the declared code with its dependencies; `parts`: digests of all that is declared, by kind;
    `changed`: those that differ from the live generation's; `plan_changes`: the settings that do.

    The release counts, whatever the plan is that it would have: the guard's verdict was of its answers. Where the live
    generation is of the same source, the source is not to blame: then the declaration and the secrets count with it,
    and what is only laid down anew, as it was, is let through.
    """
    live = state.get("live") or {}
    why = ""
    releases: dict[str, str] = {}
    for entry in state.get("taken_back") or []:
        sentence = _sentence(entry)
        if live.get("source_id") == entry.get("source_id"):
            same = _same_words(entry, parts)
            moved = bool(plan_changes) or any(name in changed for name in ("source", *_SAID))
            if entry.get("source_id") == source_id and same and moved:
                why = why or sentence
            continue
        if entry.get("source_id") == source_id:
            why = why or sentence
        release = entry.get("release")
        if release and release != live.get("release"):
            releases.setdefault(str(release), sentence)
    return TakenBack(why, releases)


def unless_taken_back(chosen: Choice, found: TakenBack, retry: bool) -> Choice:
    """The choice, unless it is to deploy what the guard took back: then it is refused. `retry`: somebody says so."""
    if chosen.action != DEPLOY or not found.why:
        return chosen
    if retry:
        return replace(chosen, notes=[*chosen.notes, f"{found.why}; tried again, as {RETRY} says"])
    return Choice(REFUSE, [refusal(found.why)], chosen.notes)


def left_by_hand(state: State, source_id: str, parts: Mapping[str, str]) -> str:
    """How a person went back from what is declared now, in a sentence; empty where nobody did since it
    was promoted last.

    `source_id`, `parts`: as for taken_back(). Where the live generation is of the same source, declaration and secrets
    have to be the same as well.
    """
    live = state.get("live") or {}
    for entry in state.get("left") or []:
        same_code = live.get("source_id") == entry.get("source_id")
        if entry.get("source_id") == source_id and (not same_code or _same_words(entry, parts)):
            when = str(entry.get("time") or "").partition(".")[0]
            who = f"{entry.get('user') or 'somebody'}@{entry.get('controller') or 'the host'}"
            what = f"went back from it, generation {entry.get('from')}, to generation {entry.get('to')}"
            return f"{who} {what}{f' at {when}Z' if when else ''}"
    return ""


def with_left(chosen: Choice, left: str) -> Choice:
    """The choice, with the true reason where what is to be deployed is what a person went back from."""
    if chosen.action != DEPLOY or not left:
        return chosen
    others = [reason for reason in chosen.reasons if reason not in DECLARED_WORDS]
    return replace(chosen, reasons=[f"it is what is declared, although {left}", *others])


def left_warning(left: str) -> str:
    """What a person is to know who rolls out what somebody went back from."""
    return f"{left}; this brings it again: to stay there, declare that code, or leave the app out (headcount_app)"


def refusal(why: str) -> str:
    """Why it is not rolled out, and what to do."""
    return f"{why}; fix: roll out another release, or try this one again with -e {RETRY}=true"


def _same_words(entry: Json, parts: Mapping[str, str]) -> bool:
    """Whether declaration and secrets are those of what was taken back."""
    then = split_parts(str(entry.get("digest") or ""))
    return all(then.get(name) == parts[name] for name in _SAID)


def _sentence(entry: Json) -> str:
    when = str(entry.get("time") or "").partition(".")[0]
    cause = str(entry.get("cause") or "no reason was written down")
    cut = cause if len(cause) <= _CAUSE_CHARACTERS else f"{cause[:_CAUSE_CHARACTERS]}..."
    at = f" at {when}Z" if when else ""
    return f"the guard took generation {entry.get('generation')} of this release back{at}: {cut}"

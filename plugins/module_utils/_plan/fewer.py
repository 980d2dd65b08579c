# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a person is told where fewer requests can be in flight than are declared, or than the former service held."""

from __future__ import annotations

from typing import Mapping

from .settings import Draft
from .size import ASYNC
from .types import number, up


def warnings(draft: Draft, had: Mapping[str, object]) -> list[str]:
    """Sentences without the app's name. `had`: what the former service held (FormerSlots); empty without one."""
    return [sentence for sentence in (_of_concurrency(draft), _of_former(draft, had)) if sentence]


def _of_concurrency(draft: Draft) -> str | None:
    inputs, slots = draft.inputs, draft.shape.slots
    flight, declared = inputs.concurrency, inputs.peak is not None and slots < inputs.peak
    if slots >= flight.value or (flight.origin == "assumed" and not declared):
        return None
    by_class = draft.choice.name == "sync" or draft.shape.slots_winner == "waiting"
    asked = draft.choice.name == "sync" and draft.choice.origin == "override"
    if by_class and not declared and not asked:
        return None
    limit = draft.shape.slots_winner
    if draft.choice.name == "sync":
        limit = f"a sync worker has one at a time, and the plan has {draft.shape.workers}"
    elif limit == "waiting":
        limit = f"each holds {number(inputs.slot_mib.value)} MiB, so they are let in as the cores get to them"
    words = (
        f"{_in_flight(slots)}, fewer than the {number(up(flight.value))} planned"
        f" for ({flight.source}); what limits it: {'memory' if limit in ('need', 'guess') else limit}. The rest waits"
        " in the backlog"
    )
    return f"{words}, behind whatever takes long: {_fix(draft)}" if by_class else words


def _of_former(draft: Draft, had: Mapping[str, object]) -> str | None:
    slots, before = draft.shape.slots, int(str(had.get("slots") or 0))
    if slots >= before or (had.get("hub") and draft.choice.name in ASYNC):
        return None
    more = f"declare concurrency: {before} where so many are in flight at once" if draft.inputs.peak is None else ""
    if draft.choice.name == "sync":
        more = _fix(draft)
    told = f"{_in_flight(slots)}, and {had['unit']} holds {before} ({had['words']})"
    return f"{told}: {more}" if more else told


def _in_flight(slots: int) -> str:
    return f"{slots} request{'s' if slots != 1 else ''} can be in flight"


def _fix(draft: Draft) -> str:
    """What to declare for more of them."""
    if draft.shape.slots_winner == "waiting" and draft.choice.name != "sync":
        return "settings.worker_connections lets in more"
    if draft.inputs.mix.known_alike and draft.app.worker_class == "auto":
        return "leave out mix: uniform where any request may take long, or declare worker_class: gthread for threads"
    return "declare worker_class: gthread for threads, or settings.workers for more workers"

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The plans of a fleet in words: current against recommended for what changes, one line for what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ...module_utils._plan.text import render_table
from ...module_utils._plan.types import Plan, bare_values
from .._display.text import listed, plural, table
from .._fleet.choice import DEPLOY, HEAL, NOTHING, REFUSE
from .._fleet.decision import FAILED, OK, UNREACHABLE, AppDecision, HostDecision

_VERBS = {DEPLOY: "to be deployed", HEAL: "to be healed", REFUSE: "refused", NOTHING: "nothing to do"}

AS_PLANNED, UNPLANNED, UNREACHED, REFUSING = "as planned", "cannot be planned for", "unreachable", "with refused apps"


def fleet_text(hosts: Sequence[HostDecision], whole: bool = False, mode: str = "rollout") -> str:
    """What a run will do, host by host; hosts of which the same is to be said are told together.

    `whole`: the table of every plan, also of those that change nothing.
    """
    blocks: dict[str, list[str]] = {}
    for host in hosts:
        blocks.setdefault(host_text(host, whole), []).append(host.host)
    lines = [_summary(hosts, mode)]
    for text, names in blocks.items():
        head, _, rest = text.partition("\n")
        lines.append(f"{listed(names)}: {head}")
        lines += [rest] if rest else []
    return "\n".join(lines)


def _summary(hosts: Sequence[HostDecision], mode: str) -> str:
    pending = [host for host in hosts if host.pending]
    verb = {"retune": "to be re-tuned", "plan": "would change"}.get(mode, "to be changed")
    counts = Counter(map(_standing, hosts))
    told = [f"{counts[words]} {words}" for words in (AS_PLANNED, UNPLANNED, UNREACHED, REFUSING) if counts[words]]
    return ", ".join([f"{plural(len(hosts), 'host')}: {len(pending)} {verb}", *told])


def _standing(host: HostDecision) -> str:
    """What a host is counted as; one that only is to be changed is counted already."""
    if host.status != OK:
        return UNPLANNED if host.status == FAILED else UNREACHED
    if host.refused:
        return REFUSING
    return "" if host.pending else AS_PLANNED


def host_text(host: HostDecision, whole: bool) -> str:
    """One host: the first line goes behind its name, the others stand below it."""
    if host.status != OK:
        return "\n".join([host.cause or host.status, *[f"  {note}" for note in _causes(host)]])
    if len(host.apps) == 1 and not host.pending and not host.refused and not whole:
        (app,) = host.apps.values()
        return app_line(app)
    lines = [host.line]
    for app in host.apps.values():
        lines.append(f"  {app_line(app)}")
        if app.plan is not None and app.action != REFUSE and not app.left_out and (whole or app.action == DEPLOY):
            lines += [f"    {line}" for line in plan_lines(app, whole)]
    return "\n".join(lines)


def plan_lines(app: AppDecision, whole: bool) -> list[str]:
    """The plan of an app: every setting, or, where something is live, those that change and why."""
    plan = app.plan or {"settings": {}}
    current = app.live.get("plan") if app.live else None
    if current and not whole:
        settings = {name: entry for name, entry in plan["settings"].items() if name in app.changes}
        if not settings:
            return ["every setting stays as it is", *[f"warning: {warning}" for warning in plan["warnings"]]]
        plan = {**plan, "settings": settings}
    return render_table(Plan.from_dict(plan), current)[1:]


def drift_text(hosts: Sequence[HostDecision]) -> str:
    """What differs on which host, and one sentence about all."""
    rows = [(host.host, app, kind, detail) for host in hosts for app, kind, detail in drift_items(host)]
    drifted = len({row[0] for row in rows})
    said = f"{plural(len(hosts), 'host')}: {drifted} drifted" if drifted else f"{plural(len(hosts), 'host')}: no drift"
    return "\n".join([table(("host", "app", "what", "difference"), rows), said] if rows else [said])


def drift_items(host: HostDecision) -> list[tuple[str, str, str]]:
    """(app, kind, difference) of everything that is not as it should be on a host."""
    if host.status == UNREACHABLE:
        return [("", "unreachable", host.cause or "")]
    found = []
    for app in host.apps.values():
        for item in app.drift:
            kind, colon, detail = item.partition(": ")
            found.append((app.name, kind, detail) if colon else (app.name, "live", item))
    if host.status == FAILED and not found:
        found.append(("", "failed", host.cause or ""))
    found += [("", "exporter", host.exporter)] if host.exporter else []
    found += [(name, "undeclared", "on the host, but not declared") for name in host.undeclared]
    return found


def _causes(host: HostDecision) -> Iterable[str]:
    """What else is wrong on a host, beside its first cause."""
    for app in host.apps.values():
        for reason in app.reasons if app.action == REFUSE else []:
            if reason not in (host.cause or ""):
                yield f"{app.name}: {reason}"


def app_line(app: AppDecision) -> str:
    """One app of a host in a line."""
    live = f"generation {app.live['generation']}" if app.live else "nothing is live"
    shape = shape_words(bare_values(app.live.get("plan"))) if app.live else ""
    parts = [f"{app.name}: {live}"]
    parts += [shape] if shape else []
    waits = app.held and app.action in (DEPLOY, HEAL)
    what = "left out" if app.left_out else "held back" if waits else _VERBS[app.action]
    why = "; ".join([*app.reasons, *app.notes])
    return f"{', '.join(parts)}: {what}" + (f" ({why})" if why else "")


def shape_words(settings: Mapping[str, object]) -> str:
    """Class, workers and slots of a plan: `gthread 2 x 16`."""
    if not settings:
        return ""
    return f"{settings['worker_class']} {size_words(settings)}"


def size_words(settings: Mapping[str, object]) -> str:
    """Workers, and threads or connections of each: `2 x 16`; sync workers have neither."""
    if not settings:
        return ""
    each = {"gthread": "threads", "gevent": "worker_connections", "eventlet": "worker_connections"}
    name = each.get(str(settings["worker_class"]))
    return f"{settings['workers']} x {settings[name]}" if name else f"{settings['workers']}"

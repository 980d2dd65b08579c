# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report of a run: one row of evidence for each app of each host, and what went wrong first. Pure functions.

What was not measured is left empty, never filled in. The figures of a row are those of this run's trial. Where the run
leaves what is live as it is, they are those of the live generation's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional, TypedDict

from ...module_utils._facts.hardware import exact
from ...module_utils._plan.types import bare_values
from .._display.text import listed, plural, table
from .._edge import Json
from .._fleet.choice import NOTHING, REFUSE
from .._fleet.decision import FAILED, OK, UNREACHABLE, AppDecision, HostDecision
from .._fleet.outcome import TAKEN_BACK, WORKING, Outcome, Outcomes
from .plantable import size_words

HEADER = (
    "host",
    "app",
    "cores",
    "RAM MiB",
    "profile",
    "class",
    "workers",
    "p50 ms",
    "p95 ms",
    "errors",
    "peak MiB",
    "verdict",
    "live",
    "URL",
)
RIGHT = (2, 3, 7, 8, 9, 10)


class Evidence(TypedDict, total=False):
    """The numbers of a trial that the report shows, each with its limit; None is what was not measured.

    Latencies are milliseconds, memory is MiB, `error_rate_limit` is a share of the `requests`. What begins with `live_`
    is of the generation that the candidate was held against. `paths`: what each path of the candidate took.
    `uncompared`: what was not held against the live generation, and why. `told`: what decided nothing and is to be read
    all the same, in sentences. `failed_requests`: of each path that was asked
    again because its requests failed, what it answered and what the app logged.
    """

    verdict: str | None
    verdict_cause: str | None
    requests: int | None
    failures: int | None
    error_rate_limit: float | None
    peak_mib: float | None
    peak_limit_mib: float | None
    memory_source: str | None
    checks: list[Json]
    uncompared: list[str]
    told: list[str]
    failed_requests: list[Json]
    histogram: str | None
    live_histogram: str | None
    memory: Json | None
    live_memory: Json | None
    paths: list[Json]
    p50_ms: float | None
    p50_limit_ms: float | None
    p95_ms: float | None
    p95_limit_ms: float | None
    p99_ms: float | None
    p99_limit_ms: float | None


_Row = TypedDict(
    "_Row",
    {
        "host": str,
        "address": str,
        "hardware": Optional[str],
        "cores": float,
        "memory_mib": float,
        "app": Optional[str],
        "status": str,
        "cause": Optional[str],
        "phase": Optional[str],
        "generation": Optional[int],
        "from": Optional[int],
        "before": Mapping[str, object],
        "release": Optional[str],
        "reasons": list[str],
        "notes": list[str],
        "listen": str,
        "url": str,
        "settings": Mapping[str, object],
        "profile": Optional[Json],
        "measured": Optional[Json],
        "mismatch": Optional[str],
        "plan": Optional[Json],
        "steps": list[Mapping[str, object]],
        "revert_cause": str,
        "load_tests": list[Json],
        "history": list[Json],
        "drift": list[str],
        "recommended": Mapping[str, object],
    },
    total=False,
)


class Row(_Row, Evidence, total=False):
    """What is told of an app on a host, or of a host without one: a row of the report's JSON."""


@dataclass(frozen=True)
class Report:
    """What came of a run. `failed`: {host: its apps' causes}; `first_cause`: the earliest of all, with its host."""

    rows: list[Row]
    failed: dict[str, str]
    first_cause: str | None
    summary: str


def build(hosts: Sequence[HostDecision], outcomes: Outcomes, check: bool, stopped: str | None) -> Report:
    """The report of a run over `hosts`, from what was decided about them and what came of them."""
    would = check and not stopped
    rows = [row for host in hosts for row in _host_rows(host, outcomes.get(host.host, {}), would)]
    failed = _failures(hosts, outcomes)
    first = _first_cause(hosts, outcomes)
    if stopped and not failed:
        failed = {host.host: stopped for host in hosts[:1]}
    return Report(rows, failed, first or stopped, _summary(rows, hosts, check))


def _host_rows(host: HostDecision, outcomes: Mapping[str, Outcome], check: bool) -> Iterable[Row]:
    base: Row = {"host": host.host, "address": host.address, "hardware": host.hardware or None}
    if host.facts:
        base["cores"] = host.facts["cores"]["effective"]
        base["memory_mib"] = host.facts["memory"]["effective_mib"]
    if not host.apps:
        yield {**base, "app": None, "status": host.status, "cause": host.cause}
    for name, app in host.apps.items():
        yield {**base, **_app_row(host, app, outcomes.get(name), check)}


_STAYS = frozenset({"unchanged", "left out", "healed", "would heal"})
"""An app with such a status is what was live before, with the figures of its own trial; any other was to be tried."""


def _app_row(host: HostDecision, app: AppDecision, begun: Outcome | None, check: bool) -> Row:
    live = app.live or {}
    outcome = begun or Outcome(host.host, app.name)
    went_live = outcome.to is not None
    status = _status(host, app, begun, check)
    plan = _plan_shown(app, outcome)
    row: Row = {
        "app": app.name,
        "status": status,
        "cause": outcome.cause or _cause_before(host, app),
        "phase": outcome.phase,
        "generation": outcome.to if went_live else live.get("generation"),
        "from": outcome.before,
        "before": bare_values(live.get("plan")) if went_live else {},
        "release": outcome.release if went_live else live.get("release"),
        "reasons": app.reasons,
        "notes": app.notes,
        "listen": app.listen,
        "url": url(app.listen, host.address, app.prefix),
        "settings": bare_values(plan),
        "profile": (plan.get("inputs") or {}).get("profile"),
        "measured": outcome.measured,
        "mismatch": outcome.mismatch,
        "plan": plan or None,
        "steps": [step.to_dict() for step in outcome.steps],
        "load_tests": app.load_tests,
        "history": app.history,
        "drift": app.drift,
        "recommended": {} if went_live else _recommended(plan, outcome.plan or app.plan),
    }
    row.update(evidence_of(_trial(outcome) or _own_trial(live, status)))
    if status in ("reverted", TAKEN_BACK):
        row["generation"] = outcome.reverted_to
    if outcome.revert_cause:
        row["revert_cause"] = outcome.revert_cause
    return row


def _own_trial(live: Json, status: str) -> Json:
    """The evidence of the live generation's own trial where that is what a row with such a status is about."""
    return (live.get("trial") if status in _STAYS else None) or {}


def _plan_shown(app: AppDecision, outcome: Outcome) -> Json:
    """The plan of what is live after the run; where nothing was before either, the one that was made."""
    if outcome.to is None and app.live is not None:
        return app.live.get("plan") or {}
    return outcome.plan or app.plan or {}


def _recommended(shown: Json, planned: Json | None) -> Mapping[str, object]:
    """What the plan that was made, or the one that was finished on the host with what was measured, would change of the
    one that is shown, by setting."""
    now = bare_values(shown)
    return {name: value for name, value in bare_values(planned).items() if now.get(name) != value} if now else {}


def _cause_before(host: HostDecision, app: AppDecision) -> str | None:
    """What kept `app` from being begun on `host`: its own cause, or one of the host's. None where it is another app's
    alone, or where there is none."""
    if app.action == REFUSE:
        return f"{app.name}: {app.reasons[0]}"
    if host.status == OK:
        return None
    cause = host.cause or ""
    others = (f"{name}: " for name in host.apps if name != app.name)
    return None if cause.startswith(tuple(others)) else cause


def _status(host: HostDecision, app: AppDecision, begun: Outcome | None, check: bool) -> str:
    if begun is not None:
        return "cut short" if begun.outcome == WORKING else begun.outcome
    if host.status != OK and (_cause_before(host, app) is not None or host.cause is None):
        return host.status
    if app.action == REFUSE:
        return FAILED
    if app.action == NOTHING:
        return "left out" if app.left_out else "unchanged"
    return f"would {app.action}" if check and not app.held else "not started"


def _trial(outcome: Outcome) -> Json:
    """The evidence of the trial of this run; empty when there was none."""
    if not outcome.verdict and not outcome.evidence:
        return {}
    evidence = outcome.evidence or {}
    return {**evidence, "verdict": outcome.verdict or evidence.get("verdict")}


def _without_use(memory: Json | None) -> Json | None:
    """What is known of memory, without what was used second by second: that stays in the host's evidence."""
    return {key: value for key, value in memory.items() if key != "use"} if memory else memory


def evidence_of(trial: Json) -> Row:
    """The numbers of a trial that the report shows."""
    verdict = trial.get("verdict") or {}
    checks = {check["name"]: check for check in verdict.get("checks", [])}
    seen = (verdict.get("facts") or {}).get("candidate") or {}
    memory = trial.get("memory") or {}

    def limit(name: str) -> float | None:
        found: float | None = (checks.get(name) or checks.get(f"{name}_ms") or {}).get("limit")
        return found

    return {
        "verdict": verdict.get("outcome"),
        "verdict_cause": verdict.get("cause"),
        "requests": seen.get("planned"),
        "failures": seen.get("failures"),
        "error_rate_limit": limit("error_rate"),
        "peak_mib": memory.get("peak_mib"),
        "peak_limit_mib": limit("memory_peak") or memory.get("limit_mib"),
        "memory_source": memory.get("source"),
        "checks": verdict.get("checks", []),
        "uncompared": verdict.get("uncompared", []),
        "told": verdict.get("told", []),
        "failed_requests": trial.get("failed") or [],
        "histogram": (trial.get("candidate") or {}).get("histogram"),
        "live_histogram": (trial.get("live") or {}).get("histogram"),
        "memory": _without_use(trial.get("memory")),
        "live_memory": _without_use(trial.get("live_memory")),
        "paths": (trial.get("candidate") or {}).get("paths") or [],
        "p50_ms": seen.get("p50_ms"),
        "p50_limit_ms": limit("p50"),
        "p95_ms": seen.get("p95_ms"),
        "p95_limit_ms": limit("p95"),
        "p99_ms": seen.get("p99_ms"),
        "p99_limit_ms": limit("p99"),
    }


def url(listen: str, address: str, prefix: str = "") -> str:
    """Where a person finds the app: a wildcard address is replaced by the host's own."""
    if listen.startswith("unix:"):
        return listen
    bound, _, port = listen.rpartition(":")
    shown = address if bound in ("0.0.0.0", "[::]") else bound
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    return f"http://{shown}:{port}{prefix}/"


def _beside(row: Row) -> list[str]:
    """What is told beside the cause: what decides nothing, and what was not weighed or compared."""
    said = [*((row.get("measured") or {}).get("uncounted") or []), *(row.get("told") or [])]
    told = [words for words in said if words not in str(row.get("cause"))]
    uncompared = row.get("uncompared")
    return [*told, *([f"not compared: {'; '.join(uncompared)}"] if uncompared else [])]


def text(rows: Sequence[Row], summary: str) -> str:
    """The rows of a report as a table, with every failure in words below it."""
    lines = [table(HEADER, [cells(row) for row in rows], RIGHT)]
    if any(row.get("requests") is not None for row in rows):
        lines.append("Latencies, errors and memory: measured in the trial / limit.")
    for row in rows:
        cause = row.get("cause")
        if cause:
            # What failed a host before it was touched names the app itself.
            named = not row.get("app") or cause.startswith(f"{row['app']}: ")
            where = row["host"] if named else f"{row['host']}: {row['app']}"
            phase = f"{row['phase']}: " if row.get("phase") else ""
            lines.append(f"{where}: {phase}{cause}")
        if row.get("revert_cause"):
            lines.append(f"{row['host']}: {row['app']}: the revert failed: {row['revert_cause']}")
        if row["status"] != "unchanged":
            lines += [f"{row['host']}: {row['app']}: {words}" for words in _beside(row)]
        if row.get("mismatch"):
            lines.append(f"{row['host']}: {row['mismatch']}")
    lines.append(summary)
    return "\n".join(dict.fromkeys(lines))


def cells(row: Row) -> list[str]:
    """One row of the table."""
    settings = row.get("settings") or {}
    profile = row.get("profile") or {}
    errors = ""
    if row.get("requests") is not None:
        limit = row.get("error_rate_limit")
        errors = f"{row['failures']} of {row['requests']}" + (f" / {100 * limit:.3g} %" if limit is not None else "")
    generation = row.get("generation")
    return [
        str(row["host"]),
        str(row.get("app") or ""),
        exact(row["cores"]) if row.get("cores") is not None else "",
        exact(row["memory_mib"]) if row.get("memory_mib") is not None else "",
        str(profile.get("value") or ""),
        str(settings.get("worker_class") or ""),
        size_words(settings),
        _against(row.get("p50_ms"), row.get("p50_limit_ms")),
        _against(row.get("p95_ms"), row.get("p95_limit_ms")),
        errors,
        _against(row.get("peak_mib"), row.get("peak_limit_mib")),
        verdict_words(row),
        str(generation) if generation is not None else "none" if row.get("app") else "",
        str(row.get("url") or "") if generation is not None else "",
    ]


def verdict_words(row: Row) -> str:
    """What a person wants to know first."""
    status = str(row["status"])
    verdict = row.get("verdict")
    if status == "promoted":
        return f"{verdict}, promoted" + (f", FAILED in {row['phase']}" if row.get("phase") else "")
    if status == "unchanged":
        return f"{verdict}, unchanged" if verdict else "unchanged"
    if status == "failed" and row.get("phase"):
        return f"FAILED in {row['phase']}"
    loud = {"failed": "FAILED", "lost": "LOST", TAKEN_BACK: "TAKEN BACK", "revert_failed": "REVERT FAILED"}
    return loud.get(status, status)


def _against(value: float | None, limit: float | None) -> str:
    if value is None:
        return ""
    shown = f"{float(value):.0f}" if float(value) >= 10 else f"{float(value):.1f}"
    return shown if limit is None else f"{shown} / {float(limit):.0f}"


def _failures(hosts: Sequence[HostDecision], outcomes: Outcomes) -> dict[str, str]:
    """{host: causes, each once, with the apps that it holds for} of the hosts that did not come to what was asked
    for."""
    found: dict[str, list[tuple[str, str]]] = {}
    for host in hosts:
        refused = host.refused.items() if host.status == OK else [("", host.cause or host.status)]
        found[host.host] = list(refused)
    for name, apps in outcomes.items():
        found.setdefault(name, []).extend((app.app, why) for app in apps.values() if (why := _failure(app)))
    return {host: _once(causes) for host, causes in found.items() if causes}


def _once(causes: Iterable[tuple[str, str]]) -> str:
    """(app, cause) in a sentence: what several apps failed for is told once, after their names."""
    owners: dict[str, dict[str, None]] = {}
    for app, why in causes:
        owners.setdefault(why, {})[app] = None
    return "; ".join(f"{', '.join(filter(None, apps))}: {why}".removeprefix(": ") for why, apps in owners.items())


def _failure(outcome: Outcome) -> str:
    """Why an app did not come to what was asked for; empty where it did."""
    if outcome.failed or outcome.outcome == WORKING:
        return f"{outcome.phase or 'rollout'}: {outcome.cause or 'the run was cut short'}"
    return f"the revert failed: {outcome.revert_cause}" if outcome.outcome == "revert_failed" else ""


def _first_cause(hosts: Sequence[HostDecision], outcomes: Outcomes) -> str | None:
    timed = [
        (outcome.failed_at or 0.0, f"{host}: {name}: {outcome.phase}: {outcome.cause}")
        for host, apps in outcomes.items()
        for name, outcome in apps.items()
        if outcome.cause
    ]
    if timed:
        return min(timed)[1]
    for status in (FAILED, OK, UNREACHABLE):
        for host in hosts:
            if host.status == status and host.causes:
                return f"{host.host}: {host.causes[0]}"
    return None


def _summary(rows: Sequence[Row], hosts: Sequence[HostDecision], check: bool) -> str:
    order = (
        "promoted",
        "healed",
        "unchanged",
        TAKEN_BACK,
        "reverted",
        "not started",
        "failed",
        "lost",
        "revert_failed",
        "cut short",
    )
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row["status"])] = counts.get(str(row["status"]), 0) + 1
    names = [*[status for status in order if status in counts], *[status for status in counts if status not in order]]
    said = ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in names)
    changed = ""
    touched = {"promoted", "healed", TAKEN_BACK, "reverted", "lost", "revert_failed", "cut short"} & set(counts)
    if check or not (touched or any(row.get("phase") for row in rows)):
        changed = "nothing was changed"
    elif not touched:
        # A refused generation stays for diagnosis, with its release.
        changed = "no new generation went live"
    return f"{plural(len(hosts), 'host')}: {'; '.join(filter(None, (said, changed)))}"


__all__ = ["HEADER", "RIGHT", "Report", "build", "cells", "evidence_of", "listed", "text", "url", "verdict_words"]

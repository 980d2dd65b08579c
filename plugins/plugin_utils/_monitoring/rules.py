# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Rules for Prometheus: what is computed ahead, and when somebody is to be told. Pure functions.

An alert has no threshold of its own where the app declares a limit: the exporter tells the limit beside the value. All
PromQL is within that of Prometheus 2.42. Each alert has a section in docs/alerts.md, which quotes `when`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...module_utils._recorder.counts import ERRORS
from ...module_utils._verdict.guarding import DEATHS, QUANTILES

JOB: Final = "headcount"
"""What the scrape job of the exporters is called, unless it is said otherwise."""

CRITICAL, WARNING, INFO = "critical", "warning", "info"

WHO: Final = "job, instance, app"
"""An app on a host: what most alerts are about."""

WINDOWS: Final = ("5m", "30m", "1h", "6h", "3d")
SECONDS: Final = {"5m": 300, "30m": 1800, "1h": 3600, "6h": 21600, "3d": 259200}
FEW_ERRORS: Final = 10
"""So many requests have to fail in the longer window before its share is worth a message."""

SIGMAS: Final = 3
"""A share of slow requests is above its limit when chance would bring it there once in 700 times at most."""


@dataclass(frozen=True)
class Recording:
    """A series that Prometheus computes ahead: `level:metric:operation`, as its manual names them."""

    record: str
    expr: str


@dataclass(frozen=True)
class Alert:
    """When somebody is told: `expr` holds for `pending`. `when` is that in words, `summary` one line and `description`
    what the person reads; both are templates of Prometheus."""

    name: str
    severity: str
    expr: str
    pending: str
    when: str
    summary: str
    description: str


def recordings() -> tuple[Recording, ...]:
    """The series that alerts and dashboards share."""
    found = [recording for window in WINDOWS for recording in _errors(window)]
    ended = "headcount_request_duration_seconds_count"
    beyond = f"sum by ({WHO}, limit) (rate(headcount_requests_over_limit_total[5m]))"
    return (
        *found,
        Recording("instance_app:headcount_ended:rate5m", f"sum by ({WHO}) (rate({ended}[5m]))"),
        Recording(
            "instance_app_limit:headcount_over_limit:ratio_rate5m",
            f"{beyond}\n/ on ({WHO}) group_left ()\n(instance_app:headcount_ended:rate5m > 0)",
        ),
        Recording(
            "instance_app:headcount_slots_busy:ratio",
            f"sum by ({WHO}) (headcount_requests_in_flight)\n/\nsum by ({WHO}) (headcount_slots)",
        ),
        Recording(
            "instance_app_generation:headcount_memory_used:ratio",
            "headcount_memory_anon_bytes / headcount_memory_max_bytes",
        ),
    )


def _errors(window: str) -> tuple[Recording, ...]:
    lost = f"sum by ({WHO}) (rate(headcount_requests_lost_total[{window}]))"
    outcomes = "|".join(ERRORS)
    requests, errors = (f"instance_app:headcount_{name}:rate{window}" for name in ("requests", "errors"))
    return (
        Recording(requests, f"sum by ({WHO}) (rate(headcount_requests_total[{window}]))\n+\n{lost}"),
        Recording(
            errors, f'sum by ({WHO}) (rate(headcount_requests_total{{outcome=~"{outcomes}"}}[{window}]))\n+\n{lost}'
        ),
        Recording(f"instance_app:headcount_error_ratio:rate{window}", f"{errors} / ({requests} > 0)"),
    )


def _burns(factor: float, long: str, short: str) -> str:
    """The share of errors is above `factor` times the declared one (or half of all) in both windows."""
    bound = limit = "headcount_error_ratio_limit"
    if factor != 1:
        bound = f"(clamp_max({factor:g} * {limit}, 0.5) >= {limit} or {limit})"
    parts = [f"instance_app:headcount_error_ratio:rate{window} > on ({WHO}) {bound}" for window in (long, short)]
    enough = f"instance_app:headcount_errors:rate{long} * {SECONDS[long]} >= {FEW_ERRORS}"
    return f"{parts[0]}\nand on ({WHO})\n{parts[1]}\nand on ({WHO})\n{enough}"


def _slow(quantile: str, share: float) -> str:
    """More requests took longer than the limit of the quantile than may, beyond chance."""
    requests = f"({SECONDS['5m']} * instance_app:headcount_ended:rate5m > 0)"
    chance = f"{SIGMAS} * sqrt({share:g} * {1 - share:g} / {requests})"
    ratio = f'instance_app_limit:headcount_over_limit:ratio_rate5m{{limit="{quantile}"}}'
    return f"{ratio} > on ({WHO}) group_left () ({share:g} + {chance})"


_HERE: Final = "{{ $labels.app }} on {{ $labels.instance }}"
_PERCENT: Final = "{{ $value | humanizePercentage }}"


def alerts(job: str = JOB) -> tuple[Alert, ...]:
    """All alerts. `job`: what the scrape job of the exporters is called."""
    return (*_served(), *_room(), *_memory(), *_workers(), *_headcount(job))


def _served() -> tuple[Alert, ...]:
    slow = "\nor\n".join(_slow(name, share) for name, share in QUANTILES.items())
    return (
        Alert(
            "HeadcountAppDown",
            CRITICAL,
            "headcount_app_deployed == 1 and headcount_app_up == 0",
            "1m",
            "A generation is live, but its instance does not run or its public socket is closed, for a minute.",
            f"{_HERE} is down",
            "Its unit does not run, or its public socket is closed.",
        ),
        Alert(
            "HeadcountErrorBudgetBurnsFast",
            CRITICAL,
            f"{_burns(14.4, '1h', '5m')}\nor\n{_burns(6, '6h', '30m')}",
            "2m",
            "Requests fail more than 14.4 times as often as the app's `limits.error_rate` allows over an hour and over"
            " the last 5 minutes, or 6 times over 6 hours and over the last 30 minutes (or half of all fail, where that"
            f" is less); at least {FEW_ERRORS} of them.",
            f"{_HERE}: {_PERCENT} of the requests fail",
            "At this rate a month's budget of errors is gone in two to five days.",
        ),
        Alert(
            "HeadcountErrorBudgetBurns",
            WARNING,
            _burns(1, "3d", "6h"),
            "1h",
            "Requests fail more often than the app's `limits.error_rate` allows, over 3 days and over the last 6 hours;"
            f" at least {FEW_ERRORS} of them.",
            f"{_HERE}: {_PERCENT} of the requests fail",
            "That is more than the app's declared error rate, and it goes on.",
        ),
        Alert(
            "HeadcountLatencyOverLimit",
            WARNING,
            slow,
            "5m",
            "More requests than the quantile leaves (half for p50, 5 % for p95, 1 % for p99) took longer than its"
            " declared limit over 5 minutes, beyond chance, for 5 minutes.",
            f"{_HERE}: {{{{ $labels.limit }}}} is over its limit",
            f"{_PERCENT} of the requests take longer than the declared limit of {{{{ $labels.limit }}}}.",
        ),
    )


def _room() -> tuple[Alert, ...]:
    return (
        Alert(
            "HeadcountSlotsSaturated",
            WARNING,
            "avg_over_time(instance_app:headcount_slots_busy:ratio[5m]) > 0.9",
            "5m",
            "More than 90 % of the slots were busy on average over 5 minutes, for 5 minutes.",
            f"{_HERE}: {_PERCENT} of the slots are busy",
            "New requests will wait. The plan counts on fewer requests in flight than there are.",
        ),
        Alert(
            "HeadcountAcceptQueueStanding",
            WARNING,
            "min_over_time(headcount_accept_queue_connections[3m]) > 0",
            "1m",
            "The accept queue was not empty at any look within 3 minutes, for a minute.",
            f"{_HERE}: connections wait to be accepted",
            "At least {{ $value }} connections stood in the queue all the time: no slot is free, or nobody accepts;"
            " where slots look free, slow clients may hold them (headcount_connections).",
        ),
    )


def _memory() -> tuple[Alert, ...]:
    return (
        Alert(
            "HeadcountMemoryNearLimit",
            WARNING,
            "instance_app_generation:headcount_memory_used:ratio"
            f"\n> on ({WHO}) group_left ()\nheadcount_memory_ratio_limit",
            "5m",
            "The app uses a larger share of its `MemoryMax` than its `limits.memory_percent`, page cache left out, for"
            " 5 minutes.",
            f"{_HERE} uses {_PERCENT} of its memory",
            "That is more than the declared share. Beyond the limit the kernel ends one of its processes.",
        ),
        Alert(
            "HeadcountOutOfMemory",
            CRITICAL,
            f"sum by ({WHO}) (increase(headcount_oom_kills_total[15m])) > 0",
            "0m",
            "The kernel's OOM killer ended a process of the app within 15 minutes.",
            f"{_HERE}: the OOM killer ended a process",
            "The app reached its MemoryMax, or the host ran out of memory. Requests of that worker were lost.",
        ),
    )


def _workers() -> tuple[Alert, ...]:
    ends = 'headcount_worker_ends_total{reason=~"killed|died|timed_out"}'
    return (
        Alert(
            "HeadcountWorkersDying",
            WARNING,
            f"sum by ({WHO}) (increase({ends}[15m])) > {DEATHS - 0.5:g}",
            "0m",
            f"{DEATHS} workers or more were killed, died or timed out within 15 minutes.",
            f"{_HERE}: workers die",
            "{{ $value | humanize }} workers were killed, died or timed out within 15 minutes.",
        ),
        Alert(
            "HeadcountProcessDown",
            WARNING,
            "headcount_process_up == 0",
            "2m",
            "A further process of the live generation does not run, or its timer where it runs by a schedule, for 2"
            " minutes.",
            f"{_HERE}: {{{{ $labels.process }}}} does not run",
            "What this process does for the app stands still: queues grow, or what is due is not done.",
        ),
        Alert(
            "HeadcountMasterRestarts",
            WARNING,
            f"sum by ({WHO}) (increase(headcount_master_starts_total[15m])) > 1.5",
            "0m",
            "Gunicorn's master was started anew twice or more within 15 minutes.",
            f"{_HERE}: Gunicorn is started again and again",
            "Its master ends and systemd starts it anew; requests in flight are lost each time.",
        ),
    )


def _headcount(job: str) -> tuple[Alert, ...]:
    up = f'up{{job="{job}"}}'
    stale = 'time() - node_textfile_mtime_seconds{file=~".*headcount[^/]*[.]prom"} > 600'
    return (
        Alert(
            "HeadcountDrift",
            WARNING,
            "headcount_drift == 1",
            "15m",
            "The host, or the app's files on it, are not what the live generation was tried with, for 15 minutes.",
            f"{_HERE}: not what was tried",
            "Hardware, limits, versions or files have changed since the live generation was tried.",
        ),
        Alert(
            "HeadcountExporterGone",
            WARNING,
            f"{up} == 0\nor\nabsent({up})\nor\n{stale}",
            "3m",
            "The exporter of a host does not answer, none is scraped at all, or its text file is older than 10 minutes,"
            " for 3 minutes.",
            "{{ $labels.instance }}: no word of how its apps run",
            "The exporter cannot be reached, so that no other alert about this host can come.",
        ),
        Alert(
            "HeadcountBlind",
            WARNING,
            f"headcount_app_looked_at == 0\nor\nmin by ({WHO}) (headcount_recorder_up) == 0\nor\n"
            f"sum by ({WHO}) (increase(headcount_recorder_errors_total[15m])) > 0",
            "5m",
            "Headcount could not look at an app, its recorder counts nothing, or has errors of its own, for 5 minutes.",
            f"{_HERE} cannot be looked at",
            "What is told of this app is missing or incomplete. The app itself is not affected.",
        ),
    )


def rules(runbooks: str, job: str = JOB) -> str:
    """The rules file, YAML. `runbooks`: where docs/alerts.md is to be read."""
    lines = [
        "# Written by Headcount (scripts/monitoring): change it there.",
        "groups:",
        "  - name: headcount-recorded",
        "    rules:",
    ]
    for recording in recordings():
        lines += [f"      - record: {recording.record}", *_block("expr", recording.expr)]
    lines += ["  - name: headcount-alerts", "    rules:"]
    for alert in alerts(job):
        lines += [f"      - alert: {alert.name}", *_block("expr", alert.expr), f"        for: {alert.pending}"]
        lines += ["        labels:", f"          severity: {alert.severity}", "        annotations:"]
        told = {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{runbooks}#{alert.name.lower()}",
        }
        lines += [f"          {key}: {json.dumps(words)}" for key, words in told.items()]
    return "\n".join([*lines, ""])


def _block(key: str, text: str) -> Sequence[str]:
    return [f"        {key}: |-", *(f"          {line}" for line in text.splitlines())]

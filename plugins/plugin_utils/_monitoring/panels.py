# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is to be seen of a fleet's apps: the panels, once, for Grafana and for Prometheus' own consoles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

SELECTED: Final = "SELECTED"
"""Stands in an expression for the matchers of job, host and app that were chosen."""

HOSTS: Final = "HOSTS"
"""The same, of job and host alone: for what belongs to no app."""

WINDOW: Final = "WINDOW"
"""Stands in an expression for the range over which a rate is taken."""

Unit = Literal["reqps", "percentunit", "s", "bytes", "short", "none"]
Kind = Literal["timeseries", "stat", "table"]


@dataclass(frozen=True)
class Query:
    """PromQL with SELECTED, HOSTS and WINDOW to be filled in; `legend` is in Grafana's form."""

    expr: str
    legend: str = "{{instance}} {{app}}"

    def filled(self, selected: str, hosts: str, window: str) -> str:
        """The expression for a choice of hosts and apps."""
        return self.expr.replace(SELECTED, selected).replace(HOSTS, hosts).replace(WINDOW, window)


@dataclass(frozen=True)
class Panel:
    """A picture of a few series in one unit; `about` says what it means and when it is not well. `width` of 24."""

    title: str
    about: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 12


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


_BY: Final = "sum by (instance, app)"
_REASON: Final = "{{instance}} {{app}} {{reason}}"


def _quantile(q: float) -> Query:
    rate = f"sum by (instance, app, le) (rate(headcount_request_duration_seconds_bucket{{{SELECTED}}}[{WINDOW}]))"
    return Query(f"histogram_quantile({q:g}, {rate})", f"{{{{instance}}}} {{{{app}}}} p{100 * q:g}")


def _limit(quantile: str) -> Query:
    return Query(
        f'headcount_latency_limit_seconds{{limit="{quantile}", {SELECTED}}}', f"{{{{app}}}} limit of {quantile}"
    )


FLEET: Final = Row(
    "The fleet",
    (
        Panel(
            "Apps that are up",
            "Apps whose live instance runs and whose public socket is open, of all that are deployed.",
            "percentunit",
            (Query(f"sum(headcount_app_up{{{SELECTED}}}) / sum(headcount_app_deployed{{{SELECTED}}})", "up"),),
            "stat",
            4,
        ),
        Panel(
            "Requests a second",
            "Requests that ended, of all apps.",
            "reqps",
            (Query(f"sum(rate(headcount_requests_total{{{SELECTED}}}[{WINDOW}]))", "requests"),),
            "stat",
            4,
        ),
        Panel(
            "Live generations",
            "What serves users where; the release is named by its content.",
            "none",
            (Query(f"headcount_instance_info{{{SELECTED}}} == 1"),),
            "table",
            8,
        ),
        Panel(
            "Last runs",
            "The last run of Headcount that changed, or failed to change, an app, and the verdict of its trial.",
            "none",
            (Query(f"headcount_last_run_info{{{SELECTED}}}"),),
            "table",
            8,
        ),
    ),
)

USERS: Final = Row(
    "What users get",
    (
        Panel(
            "Requests by outcome",
            "Classes of status; `cut`: the client left; `broken`: the app broke off its answer.",
            "reqps",
            (
                Query(
                    f"sum by (instance, app, outcome) (rate(headcount_requests_total{{{SELECTED}}}[{WINDOW}]))",
                    "{{instance}} {{app}} {{outcome}}",
                ),
            ),
        ),
        Panel(
            "Share of requests that fail",
            "Statuses of 500 and above, answers broken off, and requests that a killed worker lost; beside the declared"
            " limit.",
            "percentunit",
            (
                Query(f"instance_app:headcount_error_ratio:rate5m{{{SELECTED}}}"),
                Query(f"headcount_error_ratio_limit{{{SELECTED}}}", "{{app}} limit"),
            ),
        ),
        Panel(
            "How long requests take",
            "At the server, without the time in the accept queue; beside the declared limit of p95.",
            "s",
            (_quantile(0.5), _quantile(0.95), _quantile(0.99), _limit("p95")),
        ),
        Panel(
            "Requests beyond their limit",
            "The exact share that took longer than the declared limit of a quantile: 5 % may for p95.",
            "percentunit",
            (
                Query(
                    f"instance_app_limit:headcount_over_limit:ratio_rate5m{{{SELECTED}}}",
                    "{{instance}} {{app}} {{limit}}",
                ),
            ),
        ),
    ),
)

ROOM: Final = Row(
    "Room",
    (
        Panel(
            "Slots that are busy",
            "Requests in flight by the slots that are planned. At 100 % new requests wait.",
            "percentunit",
            (Query(f"instance_app:headcount_slots_busy:ratio{{{SELECTED}}}"),),
        ),
        Panel(
            "Requests in flight, and slots",
            "The same in numbers.",
            "short",
            (
                Query(f"{_BY} (headcount_requests_in_flight{{{SELECTED}}})", "{{instance}} {{app}} in flight"),
                Query(f"{_BY} (headcount_slots{{{SELECTED}}})", "{{instance}} {{app}} slots"),
                Query(f"{_BY} (headcount_connections{{{SELECTED}}})", "{{instance}} {{app}} connections"),
            ),
        ),
        Panel(
            "Accept queue",
            "Connections that nobody has accepted yet. While it stands, users wait and no app knows.",
            "short",
            (Query(f"headcount_accept_queue_connections{{{SELECTED}}}"),),
        ),
        Panel(
            "Workers, and how they end",
            "Workers that run beside those that are planned, and what ended others within the window.",
            "short",
            (
                Query(f"{_BY} (headcount_workers{{{SELECTED}}})", "{{instance}} {{app}} workers"),
                Query(f"{_BY} (headcount_workers_planned{{{SELECTED}}})", "{{instance}} {{app}} planned"),
                Query(
                    f"sum by (instance, app, reason) (increase(headcount_worker_ends_total{{{SELECTED}}}[{WINDOW}]))",
                    _REASON,
                ),
            ),
        ),
    ),
)

RESOURCES: Final = Row(
    "Memory and processors",
    (
        Panel(
            "Memory that the app holds",
            "By its MemoryMax, page cache left out; beside the declared share.",
            "percentunit",
            (
                Query(
                    f"instance_app_generation:headcount_memory_used:ratio{{{SELECTED}}}",
                    "{{instance}} {{app}} generation {{generation}}",
                ),
                Query(f"headcount_memory_ratio_limit{{{SELECTED}}}", "{{app}} limit"),
            ),
        ),
        Panel(
            "Memory of the unit and of its workers",
            "The unit's control group with page cache, its peak, and the sum and the largest of the workers (PSS).",
            "bytes",
            (
                Query(f"{_BY} (headcount_memory_bytes{{{SELECTED}}})", "{{instance}} {{app}} unit"),
                Query(
                    f"max by (instance, app) (headcount_memory_peak_bytes{{{SELECTED}}})", "{{instance}} {{app}} peak"
                ),
                Query(f"{_BY} (headcount_workers_pss_bytes{{{SELECTED}}})", "{{instance}} {{app}} workers"),
                Query(
                    f"max by (instance, app) (headcount_worker_pss_max_bytes{{{SELECTED}}})",
                    "{{instance}} {{app}} largest worker",
                ),
            ),
        ),
        Panel(
            "Processes ended by the OOM killer",
            "Within the window; there should be none.",
            "short",
            (Query(f"{_BY} (increase(headcount_oom_kills_total{{{SELECTED}}}[{WINDOW}]))"),),
        ),
        Panel(
            "Cores in use",
            "Processor time of the unit a second. Missing where the kernel does not count it.",
            "short",
            (Query(f"{_BY} (rate(headcount_cpu_seconds_total{{{SELECTED}}}[{WINDOW}]))"),),
        ),
    ),
)

ITSELF: Final = Row(
    "Headcount",
    (
        Panel(
            "Drift",
            "1: the host, or the app's files on it, are not what the live generation was tried with.",
            "short",
            (Query(f"headcount_drift{{{SELECTED}}}"),),
        ),
        Panel(
            "Further processes",
            "1: it runs, or its timer does. Nothing is shown where the apps declare none.",
            "short",
            (Query(f"headcount_process_up{{{SELECTED}}}", "{{instance}} {{app}} {{process}}"),),
        ),
        Panel(
            "Time since the last run",
            "Since a run of Headcount changed, or failed to change, the app.",
            "s",
            (Query(f"time() - headcount_last_run_timestamp_seconds{{{SELECTED}}}"),),
        ),
        Panel(
            "What cannot be looked at",
            "Apps that Headcount failed to look at, and errors of the recorder itself within the window.",
            "short",
            (
                Query(f"1 - headcount_app_looked_at{{{SELECTED}}}", "{{instance}} {{app}} not seen"),
                Query(
                    f"{_BY} (increase(headcount_recorder_errors_total{{{SELECTED}}}[{WINDOW}]))",
                    "{{instance}} {{app}} recorder",
                ),
            ),
        ),
        Panel(
            "What a look costs",
            "How long the exporter took to look at all apps of its host.",
            "s",
            (Query(f"headcount_exporter_collect_seconds{{{HOSTS}}}", "{{instance}}"),),
        ),
    ),
)

ROWS: Final = (FLEET, USERS, ROOM, RESOURCES, ITSELF)


@dataclass(frozen=True)
class Column:
    """What is told of each app of each host in one table; `query` gives one number."""

    title: str
    unit: Unit
    query: Query


COLUMNS: Final = (
    Column("up", "short", Query(f"headcount_app_up{{{SELECTED}}}")),
    Column("requests", "reqps", Query(f"instance_app:headcount_requests:rate5m{{{SELECTED}}}")),
    Column("fail", "percentunit", Query(f"instance_app:headcount_error_ratio:rate5m{{{SELECTED}}}")),
    Column("p95", "s", _quantile(0.95)),
    Column("slots busy", "percentunit", Query(f"instance_app:headcount_slots_busy:ratio{{{SELECTED}}}")),
    Column("queue", "short", Query(f"headcount_accept_queue_connections{{{SELECTED}}}")),
    Column("memory", "percentunit", Query(f"max(instance_app_generation:headcount_memory_used:ratio{{{SELECTED}}})")),
    Column("drift", "short", Query(f"headcount_drift{{{SELECTED}}}")),
)

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How the apps of a host run now, in Prometheus' text format (version 0.0.4). Pure functions.

Labels are bounded: an app, its generations that run (two at most but for a moment), its declared processes, outcomes,
ways in which workers end, limits and buckets. No path, no process id and no client is a label.
"""

from __future__ import annotations

import calendar
import math
import time
from dataclasses import dataclass, field
from typing import Iterable, Mapping, Sequence

from .._generation.loadtests import Entry
from .._recorder.counts import BOUNDS_S
from .view import NOT_DECLARED, AppView, InstanceView, ProcessView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MIB = 1024 * 1024
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Past:
    """What the ledger of an app says of its last run here: `event` (promoted, failed, rolled_back), `verdict` of its
    trial, `time` (epoch seconds); and `drift`: whether the host is not what the live generation was tuned for, or its
    files are not what was deployed; `tested`: its newest load test. None is: not known, or there was none."""

    event: str | None = None
    verdict: str | None = None
    time: float | None = None
    drift: bool | None = None
    tested: Entry | None = None


@dataclass
class _Family:
    kind: str
    words: str
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)


class _Page:
    def __init__(self) -> None:
        self.families: dict[str, _Family] = {}

    def add(self, name: str, kind: str, words: str, value: float | None, **labels: str) -> None:
        """A sample; None is not told."""
        if value is not None:
            self.family(name, kind, words).samples.append(("", labels, value))

    def family(self, name: str, kind: str, words: str) -> _Family:
        return self.families.setdefault(f"headcount_{name}", _Family(kind, words))

    def render(self) -> str:
        lines = []
        for name, family in self.families.items():
            lines += [f"# HELP {name} {family.words}", f"# TYPE {name} {family.kind}"]
            lines += [f"{name}{suffix}{_labels(labels)} {_number(value)}" for suffix, labels, value in family.samples]
        return "\n".join([*lines, ""])


def _labels(labels: Labels) -> str:
    escaped = (
        (key, value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')) for key, value in labels.items()
    )
    inside = ",".join(f'{key}="{value}"' for key, value in escaped)
    return f"{{{inside}}}" if inside else ""


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def page(views: Sequence[AppView], past: Mapping[str, Past], failed: Mapping[str, str], seconds: float) -> str:
    """The page that is scraped. `failed`: apps that could not be looked at; `seconds`: what the look took."""
    made = _Page()
    for view in views:
        _app(made, view, past.get(view.app, Past()))
    names = [view.app for view in views]
    for name in sorted({*names, *failed}):
        words = "Whether the app could be looked at; 0 where Headcount itself failed to."
        made.add("app_looked_at", "gauge", words, float(name not in failed), app=name)
    made.add("exporter_collect_seconds", "gauge", "How long it took to look at all apps.", seconds)
    return made.render()


def epoch(text: str) -> float | None:
    """Epoch seconds of a time as the ledger writes it; None for anything else."""
    try:
        return float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return None


def _tested(made: _Page, app: str, test: Entry) -> None:
    words = "When the newest load test of the app began."
    made.add("load_test_timestamp_seconds", "gauge", words, epoch(test.time), app=app)
    words = "What came of it; the value is always 1. Stopped: users were hurt."
    made.add("load_test_info", "gauge", words, 1, app=app, outcome=test.outcome)
    made.add("load_test_rate", "gauge", "Its requests a second.", test.rate, app=app)
    for name, value in (("p50", test.p50_ms), ("p95", test.p95_ms), ("p99", test.p99_ms)):
        words = "How long its requests took."
        seconds = None if value is None else value / 1000
        made.add("load_test_latency_seconds", "gauge", words, seconds, app=app, percentile=name)
    failed = test.failures / test.requests if test.failures is not None and test.requests else None
    made.add("load_test_error_ratio", "gauge", "The share of its requests that failed.", failed, app=app)


def _app(made: _Page, view: AppView, past: Past) -> None:
    app = view.app
    current = view.current
    made.add("app_deployed", "gauge", "Whether a generation of the app is live here.", view.live is not None, app=app)
    words = "Whether the instance of the live generation runs, and its public socket is open."
    made.add("app_up", "gauge", words, bool(current and current.state == "active" and view.socket_up), app=app)
    words = "Connections that nobody has accepted yet."
    made.add("accept_queue_connections", "gauge", words, view.waiting, app=app)
    words = "Connections that the app has accepted and has open, whatever they have sent; of a unix socket not told."
    made.add("connections", "gauge", words, view.connections, app=app)
    if past.time is not None:
        words = "The last run of Headcount that changed, or failed to change, the app here; the value is always 1."
        labels = {"app": app, "event": past.event or "", "verdict": past.verdict or ""}
        made.add("last_run_info", "gauge", words, 1, **labels)
        made.add("last_run_timestamp_seconds", "gauge", "When that was.", past.time, app=app)
    if past.drift is not None:
        words = "Whether the host, or the app's files on it, are not what the live generation was tried with."
        made.add("drift", "gauge", words, past.drift, app=app)
    if past.tested is not None:
        _tested(made, app, past.tested)
    for one in view.instances:
        _instance(made, app, one)
    for process in view.processes:
        _process(made, process, {"app": app, "process": process.name})
    if current is not None:
        _limits(made, app, current)


def _limits(made: _Page, app: str, one: InstanceView) -> None:
    for name in ("p50", "p95", "p99"):
        limit = one.limits.latency_ms(name)
        words = "The declared limit of a quantile of latency."
        made.add("latency_limit_seconds", "gauge", words, None if limit is None else limit / 1000, app=app, limit=name)
    made.add(
        "error_ratio_limit", "gauge", "The declared share of requests that may fail.", one.limits.error_rate, app=app
    )
    percent = one.limits.memory_percent
    words = "The declared share of its MemoryMax that the app may use."
    made.add("memory_ratio_limit", "gauge", words, None if percent is None else percent / 100, app=app)


def _instance(made: _Page, app: str, one: InstanceView) -> None:
    labels = {"app": app, "generation": str(one.generation)}
    words = "A running instance; the value is 1 where it is the live one, else 0."
    made.add("instance_info", "gauge", words, one.live, **labels, release=one.release or "")
    made.add("slots", "gauge", "Requests that can run at once, as planned.", one.slots, **labels)
    made.add("workers_planned", "gauge", "Worker processes, as planned.", one.planned_workers, **labels)
    made.add("cpu_seconds_total", "counter", "CPU time of the unit.", one.cpu_s, **labels)
    _memory(made, one, labels)
    words = "Whether the instance's requests are counted; not told where that is not wanted."
    counted = None if one.uncounted == NOT_DECLARED else one.counts is not None
    made.add("recorder_up", "gauge", words, counted, **labels)
    if one.counts is not None:
        _requests(made, one, labels)


def _process(made: _Page, one: ProcessView, labels: Labels) -> None:
    words = "Whether a further process of the live generation runs, or its timer where it runs by a schedule."
    made.add("process_up", "gauge", words, one.up, **labels)
    words = "How often systemd started it again since the promote."
    made.add("process_restarts", "gauge", words, one.restarts, **labels)
    words = "Memory of its unit."
    made.add("process_memory_bytes", "gauge", words, one.memory_mib and one.memory_mib * MIB, **labels)


def _memory(made: _Page, one: InstanceView, labels: Labels) -> None:
    found = one.memory
    if found is not None:
        peak = None if found.peak_mib is None else found.peak_mib * MIB
        made.add("memory_bytes", "gauge", "Memory of the unit's control group.", found.current_mib * MIB, **labels)
        made.add("memory_peak_bytes", "gauge", "Its peak since the unit started.", peak, **labels)
        anon = None if found.anon_mib is None else found.anon_mib * MIB
        words = "The part of it that the kernel cannot take back: without page cache."
        made.add("memory_anon_bytes", "gauge", words, anon, **labels)
        words = "Processes of the unit that the kernel's OOM killer ended."
        made.add("oom_kills_total", "counter", words, found.oom_kills, **labels)
    most = None if one.memory_max_mib is None else one.memory_max_mib * MIB
    made.add("memory_max_bytes", "gauge", "Memory that the unit may have, as planned.", most, **labels)
    pss = [worker.pss_mib * MIB for worker in one.workers if worker.pss_mib is not None]
    if pss:
        words = "Memory of all workers, shared pages divided by their users (PSS)."
        made.add("workers_pss_bytes", "gauge", words, sum(pss), **labels)
        made.add("worker_pss_max_bytes", "gauge", "PSS of the largest worker.", max(pss), **labels)


def _requests(made: _Page, one: InstanceView, labels: Labels) -> None:
    counts = one.counts
    assert counts is not None
    tally = counts.tally
    for outcome, count in {**tally.outcomes, "trial_cut": tally.own_cut}.items():
        words = "Requests that ended, by how: a class of status, cut by the client or by a trial's end, broken off."
        made.add("requests_total", "counter", words, count, **labels, outcome=outcome)
    words = "Requests that a worker had begun when it was killed."
    made.add("requests_lost_total", "counter", words, tally.lost, **labels)
    made.add("requests_in_flight", "gauge", "Requests that run.", tally.in_flight, **labels)
    for name in counts.limits_ms:
        words = "Requests that took longer than the declared limit of a quantile."
        made.add("requests_over_limit_total", "counter", words, tally.over[name], **labels, limit=name)
    for reason, count in tally.ends.items():
        made.add("worker_ends_total", "counter", "Workers that ended, by how.", count, **labels, reason=reason)
    made.add("workers", "gauge", "Worker processes.", len(one.workers), **labels)
    made.add("master_starts_total", "counter", "How often Gunicorn's master was started.", counts.masters, **labels)
    words = "Errors of the recorder itself; requests are not affected."
    made.add("recorder_errors_total", "counter", words, counts.trouble, **labels)
    _histogram(made, tally.buckets, tally.seconds, labels)


def _histogram(made: _Page, buckets: Sequence[int], seconds: float, labels: Labels) -> None:
    words = "How long requests took at the server."
    family = made.family("request_duration_seconds", "histogram", words)
    for bound, count in zip([*BOUNDS_S, math.inf], _running(buckets)):
        family.samples.append(("_bucket", {**labels, "le": _number(bound)}, count))
    family.samples.append(("_sum", labels, seconds))
    family.samples.append(("_count", labels, sum(buckets)))


def _running(counts: Iterable[int]) -> list[int]:
    sums: list[int] = []
    for count in counts:
        sums.append((sums[-1] if sums else 0) + count)
    return sums

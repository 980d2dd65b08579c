# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The accounting of every planned request from h2load's logs: what is due and has no row with a good answer failed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .._os.http import well
from .._verdict.types import Samples
from .command import Lane, lanes_rate
from .processes import Finished

LAG_FLOOR_S = 0.005
PAUSE_S = 0.25
MOST_PAUSED = 0.25
"""Above this share of a run in which the generator stood still, it is no measurement."""
UNSETTLED_S = 1.0
"""Requests that were due so shortly before a load was stopped are left out: their answers may have been under way."""


@dataclass(frozen=True)
class Row:
    """One line of h2load's log: start in microseconds since the epoch, HTTP status (-1: failed), microseconds to the
    end."""

    start_us: int
    status: int
    latency_us: int


@dataclass(frozen=True)
class Summary:
    """The request counts that h2load prints at its end, and the bytes of the answers' bodies (None: it told none)."""

    total: int
    started: int
    done: int
    succeeded: int
    failed: int
    errored: int
    timeout: int
    statuses: Sequence[int]
    seconds: float
    body_bytes: int | None = None


def parse_log(text: str) -> tuple[list[Row], int]:
    """Rows of a --log-file, and the number of lines that are none.

    Columns: start, status, latency; later versions may add more. A last line without its end (a killed process) is
    left out.
    """
    lines = text.split("\n")
    rows, bad = [], 0
    for line in lines[:-1]:
        parts = line.split("\t")
        try:
            rows.append(Row(int(parts[0]), int(parts[1]), int(parts[2])))
        except (ValueError, IndexError):
            bad += 1
    return rows, bad + (1 if lines[-1] else 0)


def parse_summary(text: str) -> Summary | None:
    """The summary on h2load's stdout, None where it never came to print one."""
    requests = re.search(
        r"^requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, "
        r"(\d+) failed, (\d+) errored, (\d+) timeout",
        text,
        re.MULTILINE,
    )
    codes = re.search(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text, re.MULTILINE)
    traffic = re.search(r"^traffic: .* \((\d+)\) data$", text, re.MULTILINE)
    ended = re.search(r"^finished in ([0-9.]+)(us|ms|s|m|h)\b", text, re.MULTILINE)
    if not requests:
        return None
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    total, started, done, succeeded, failed, errored, timeout = (int(number) for number in requests.groups())
    return Summary(
        total=total,
        started=started,
        done=done,
        succeeded=succeeded,
        failed=failed,
        errored=errored,
        timeout=timeout,
        statuses=tuple(int(number) for number in codes.groups()) if codes else (),
        seconds=float(ended.group(1)) * unit[ended.group(2)] if ended else 0.0,
        body_bytes=int(traffic.group(1)) if traffic else None,
    )


def align(
    starts_s: Sequence[float], planned: int, period_s: float, launched_s: float | None = None
) -> tuple[list[int], list[float], float, float]:
    """Which slot of the schedule each row filled, how late it was, when the schedule began, and how far the clock
    drifted.

    starts_s ascending, seconds. Returns (slots, lags in seconds, t0, drift in seconds). h2load's clock ticks every
    period, but a generator that was held up for longer than a period skips the ticks and never catches up: that is
    drift, the lower envelope of (start - slot x period), and no fault of the server. What a row lies above the
    envelope is the time it waited for its connection, which h2load leaves out of the latency. A step of the envelope
    counts once, for the row that was held up. Rows missing from the log leave their slots unknown; each row then
    takes the slot nearest to its start.
    """
    missing = planned - len(starts_s)
    if not starts_s:
        return [], [], launched_s or 0.0, 0.0
    skipped = 0
    if launched_s is not None:
        skipped = min(missing, max(0, int((starts_s[0] - launched_s) / period_s)))
    base = starts_s[0] - skipped * period_s
    slots: list[int] = []
    for place, start in enumerate(starts_s):
        nearest = max(slots[-1] + 1 if slots else 0, round((start - base) / period_s))
        slots.append(min(nearest, planned - len(starts_s) + place))
    residuals = [start - slot * period_s for start, slot in zip(starts_s, slots)]
    envelope = _envelope(residuals)
    lags, before = [], envelope[0]
    for residual, floor in zip(residuals, envelope):
        step = floor - before
        lags.append(residual - floor + (step if step > LAG_FLOOR_S else 0.0))
        before = floor
    return slots, lags, envelope[0], envelope[-1] - envelope[0]


def _envelope(residuals: Sequence[float]) -> list[float]:
    """The lower envelope: for each row the least residual from there on."""
    lowest = list(residuals)
    for place in range(len(lowest) - 2, -1, -1):
        lowest[place] = min(lowest[place], lowest[place + 1])
    return lowest


def paused_seconds(starts_s: Sequence[float], slots: Sequence[int], period_s: float) -> float:
    """Seconds in which the generator's clock stood still: the steps of its drift that are longer than PAUSE_S.

    A machine that stops for a moment (a virtual machine that is moved, a frozen cgroup) stops the generator too.
    """
    envelope = _envelope([start - slot * period_s for start, slot in zip(starts_s, slots)])
    return sum(later - early for early, later in zip(envelope, envelope[1:]) if later - early > PAUSE_S)


@dataclass(frozen=True)
class LaneRun:
    """A lane and what came of it."""

    lane: Lane
    finished: Finished


@dataclass(frozen=True)
class Entry:
    """A planned request: when it was due (seconds since the epoch), ms until its good answer (inf: it failed), the
    status it got (0: none) and the place of its path in the load."""

    due_s: float
    latency_ms: float
    status: int
    path: int


@dataclass(frozen=True)
class _Account:
    """What came of a lane, or of all lanes of an arm: an entry for every planned request, why it is no measurement,
    and how requests failed.

    Of the generator, in seconds: how late it asked at most, how far its clock drifted, and how long it stood still;
    and the requests a second that it reached.
    """

    entries: Sequence[Entry]
    reasons: Sequence[str]
    kinds: Mapping[str, int]
    lag_s: float
    drift_s: float
    paused_s: float
    achieved: float


def account(runs: Sequence[LaneRun], min_rate_share: float = 0.95, timeout_seconds: float = 0.0) -> Samples:
    """The samples of one arm: one entry for every planned request of every lane, in the order in which they were
    due.

    Of a load that was stopped, a request whose answer might still have come within `timeout_seconds` is none that
    failed: it was cut by whoever stopped it, and took as long as it had waited by then.
    """
    runs = [cut_short(run) for run in runs]
    accounts = [_as_stopped(run, _lane_account(run), timeout_seconds) for run in runs]
    whole = _together(accounts)
    wanted = lanes_rate([run.lane for run in runs])
    span = max((run.lane.lasts_s for run in runs), default=0.0)
    reasons = whole.reasons or _off_its_clock(whole, span, wanted, min_rate_share)
    entries = whole.entries
    origin = entries[0].due_s if entries else 0.0
    return Samples(
        start_s=[entry.due_s - origin for entry in entries],
        latency_ms=[entry.latency_ms for entry in entries],
        status=[entry.status for entry in entries],
        path=[entry.path for entry in entries],
        planned=sum(run.lane.planned for run in runs),
        period_s=1.0 / wanted if wanted else 0.0,
        failures=sum(not math.isfinite(entry.latency_ms) for entry in entries),
        achieved_rate=whole.achieved,
        planned_rate=wanted,
        lag_ms=1000.0 * whole.lag_s,
        drift_ms=1000.0 * whole.drift_s,
        complete=not reasons,
        why="; ".join(dict.fromkeys(reasons)),
        cpu_seconds=sum(run.finished.cpu_seconds for run in runs),
        notes=_notes(runs, whole.paused_s),
        kinds=dict(whole.kinds),
        path_kinds=_kinds_by_path(runs, accounts),
        origin_s=origin,
        whole=_ran_to_its_end(runs),
        sizes=_sizes(runs),
    )


def _sizes(runs: Sequence[LaneRun]) -> list[tuple[int, int, int]]:
    """(place of its path, answers, bytes of their bodies) of each lane that got a good answer to all requests: those of
    others have the bytes of failed ones among them."""
    return [size for run in runs for size in _size(run)]


def _size(run: LaneRun) -> list[tuple[int, int, int]]:
    lane, counts = run.lane, parse_summary(run.finished.stdout)
    rows, _ = parse_log(run.finished.log)
    good = sum(well(row.status, lane.status) for row in rows)
    if run.finished.stopped is not None or counts is None or counts.body_bytes is None or not good == lane.planned > 0:
        return []
    return [(lane.path, lane.planned, counts.body_bytes)] if good == len(rows) else []


def _ran_to_its_end(runs: Sequence[LaneRun]) -> bool:
    return all(run.finished.stopped is None for run in runs)


def account_so_far(runs: Sequence[LaneRun], begin: float, now: float, timeout_seconds: float) -> Samples:
    """The samples of an arm whose load began at `begin` and is looked at, or ends, at `now`, in seconds of the epoch.

    What was due in the last UNSETTLED_S is left out. A request without an answer that may still come is none that
    failed: it took as long as it has waited so far.
    """
    seconds = max(0.001, now - UNSETTLED_S - begin)
    cut = [run for run in (_within(cut_short(run), seconds) for run in runs) if run.lane.planned]
    whole = _together([_lane_account(run) for run in cut])
    entries = [_as_it_stands(entry, now - entry.due_s, timeout_seconds) for entry in whole.entries]
    ways = _ways_of(entries)
    wanted = lanes_rate([run.lane for run in cut])
    return Samples(
        start_s=[entry.due_s - entries[0].due_s for entry in entries],
        latency_ms=[entry.latency_ms for entry in entries],
        status=[entry.status for entry in entries],
        path=[entry.path for entry in entries],
        planned=len(entries),
        period_s=1.0 / wanted if wanted else 0.0,
        failures=sum(map(math.isinf, (entry.latency_ms for entry in entries))),
        achieved_rate=whole.achieved,
        planned_rate=wanted,
        lag_ms=1000.0 * whole.lag_s,
        drift_ms=1000.0 * whole.drift_s,
        cpu_seconds=sum(run.finished.cpu_seconds for run in runs),
        kinds=dict(sum(ways, Counter())),
        path_kinds=list(map(dict, ways)),
        whole=False,
        origin_s=entries[0].due_s if entries else 0.0,
    )


def _ways_of(entries: Sequence[Entry]) -> list[Counter[str]]:
    """How the requests of each path failed, by its place in the load."""
    found: list[Counter[str]] = [Counter() for _ in range(max((entry.path for entry in entries), default=-1) + 1)]
    for entry in entries:
        if math.isinf(entry.latency_ms):
            found[entry.path][f"answered {entry.status}" if entry.status > 0 else "got no answer"] += 1
    return found


def _within(run: LaneRun, seconds: float) -> LaneRun:
    return LaneRun(replace(run.lane, run_s=seconds), run.finished)


def _as_it_stands(entry: Entry, waited: float, timeout_seconds: float) -> Entry:
    """The request as it stands: one whose answer may still come took as long as it has waited so far (seconds)."""
    if entry.status or not math.isinf(entry.latency_ms) or waited >= timeout_seconds:
        return entry
    return replace(entry, latency_ms=1000.0 * waited)


def _as_stopped(run: LaneRun, lane: _Account, timeout_seconds: float) -> _Account:
    """The account of a lane as it stood when its process was stopped, where it was."""
    stopped = run.finished.stopped
    if stopped is None or not timeout_seconds:
        return lane
    entries = [_as_it_stands(entry, stopped - entry.due_s, timeout_seconds) for entry in lane.entries]
    return replace(lane, entries=entries, kinds=dict(sum(_ways_of(entries), Counter())))


def _together(lanes: Sequence[_Account]) -> _Account:
    """The accounts of an arm's lanes as one, its entries in the order in which they were due."""
    kinds: Counter[str] = Counter()
    for lane in lanes:
        kinds.update(lane.kinds)
    return _Account(
        entries=sorted((entry for lane in lanes for entry in lane.entries), key=lambda entry: entry.due_s),
        reasons=[reason for lane in lanes for reason in lane.reasons],
        kinds=kinds,
        lag_s=max((lane.lag_s for lane in lanes), default=0.0),
        drift_s=max((lane.drift_s for lane in lanes), default=0.0),
        paused_s=max((lane.paused_s for lane in lanes), default=0.0),
        achieved=sum(lane.achieved for lane in lanes),
    )


def _kinds_by_path(runs: Sequence[LaneRun], accounts: Sequence[_Account]) -> list[dict[str, int]]:
    """How the requests of each path failed, by its place in the load."""
    found: list[Counter[str]] = [Counter() for _ in range(max((run.lane.path for run in runs), default=-1) + 1)]
    for run, lane in zip(runs, accounts):
        found[run.lane.path].update(lane.kinds)
    return [dict(kinds) for kinds in found]


def _lane_account(run: LaneRun) -> _Account:
    """The account of one lane: its log against what was planned."""
    lane, end = run.lane, run.finished
    period = lane.period_ms / 1000.0
    rows, bad = parse_log(end.log)
    rows.sort(key=lambda row: row.start_us)
    reasons, kinds = _complaints(lane, end, rows, bad), how_failed(lane, end, rows)
    rows = rows[: lane.planned]
    starts = [row.start_us / 1e6 for row in rows]
    slots, lags, begin, drift = align(starts, lane.planned, period, end.started or None)
    counted = [late if late > LAG_FLOOR_S else 0.0 for late in lags]
    entries = [
        Entry(
            start - late,
            row.latency_us / 1000.0 + waited * 1000.0 if well(row.status, lane.status) else math.inf,
            max(0, row.status),
            lane.path,
        )
        for row, start, late, waited in zip(rows, starts, lags, counted)
    ]
    unanswered = sorted(set(range(lane.planned)) - set(slots))
    entries += [Entry(begin + slot * period, math.inf, 0, lane.path) for slot in unanswered]
    paused, lasted = paused_seconds(starts, slots, period), lane.planned * period
    return _Account(
        entries=entries,
        reasons=reasons,
        kinds=kinds,
        lag_s=max(counted, default=0.0),
        drift_s=drift,
        paused_s=paused,
        achieved=lane.mean_rate * lasted / (lasted + drift - paused) if lane.planned else 0.0,
    )


def _off_its_clock(whole: _Account, span: float, wanted: float, min_rate_share: float) -> list[str]:
    """Why the generator's own clock makes it no measurement: it stood still for long, or fell behind.

    `span`: seconds of the longest lane; `wanted`: requests a second.
    """
    if whole.paused_s > MOST_PAUSED * span:
        return [f"the generator stood still for {whole.paused_s:.1f} of {span + whole.paused_s:.1f} s"]
    if whole.achieved < min_rate_share * wanted:
        return [
            f"the generator fell {1000 * whole.drift_s:.0f} ms behind its clock and reached {whole.achieved:.3g} of "
            f"{wanted:.3g} requests a second"
        ]
    return []


def _notes(runs: Sequence[LaneRun], paused: float) -> list[str]:
    """What is told beside the samples."""
    refused = [run.finished.stderr.count("could not connect") for run in runs]
    notes = [f"h2load could not connect {times} times" for times in refused if times]
    if paused > 0.0:
        notes.append(f"the generator stood still for {1000 * paused:.0f} ms, as a machine that stops does")
    return notes


def cut_short(run: LaneRun) -> LaneRun:
    """A lane whose process was stopped, with no more requests than were due until a moment before that; others as they
    are. One that never began has none."""
    end, lane = run.finished, run.lane
    if end.stopped is None:
        return run
    last = end.stopped - UNSETTLED_S
    lines = [line for line in end.log.split("\n")[:-1] if line.split("\t")[0].isdigit()]
    kept = [line for line in lines if int(line.split("\t")[0]) / 1e6 <= last]
    due = max(len(kept), math.floor((last - end.started) * lane.rate) + 1)
    planned = min(lane.planned, max(0, due))
    return LaneRun(replace(lane, planned=planned), replace(end, log="".join(f"{line}\n" for line in kept[:planned])))


def how_failed(lane: Lane, end: Finished, rows: Sequence[Row]) -> dict[str, int]:
    """{how: requests} for those of a lane that failed: "answered 503", "timed out", "reset, refused or cut short"."""
    kinds = Counter(f"answered {row.status}" for row in rows if row.status > 0 and not well(row.status, lane.status))
    lost = lane.planned - sum(row.status > 0 for row in rows)
    counts = parse_summary(end.stdout)
    if counts is None:
        kinds["got no answer"] = max(0, lost)
    else:
        timed_out = min(lost, counts.timeout)
        kinds["timed out"], kinds["reset, refused or cut short"] = timed_out, max(0, lost - timed_out)
    return {how: count for how, count in kinds.items() if count}


def _complaints(lane: Lane, end: Finished, rows: Sequence[Row], bad: int) -> list[str]:
    """Why a lane is no measurement. Failures of the server are none: they are measured."""
    if end.error:
        return [f"h2load could not be started: {end.error}"]
    if end.clock_set:
        return [f"the host's clock was set by {end.clock_set:+.1f} s meanwhile, by which the requests are timed"]
    if end.stopped is not None:
        return ["the load was stopped"]
    if end.timed_out:
        return [f"h2load was stopped after its time limit with {len(rows)} of {lane.planned} requests answered"]
    if end.code != 0:
        last = (end.stderr.strip().splitlines() or ["no message"])[-1]
        return [f"h2load ended with code {end.code}: {last}"]
    counts = parse_summary(end.stdout)
    if counts is None:
        return ["h2load printed no summary"]
    if counts.total != lane.planned:
        return [f"h2load counted {counts.total} requests where {lane.planned} were planned"]
    if bad or len(rows) > lane.planned:
        return [f"the log of h2load has {len(rows)} rows and {bad} unreadable lines for {lane.planned} requests"]
    answered = counts.done
    if len(rows) != answered:
        return [f"the log of h2load has {len(rows)} rows where it counted {answered} answers"]
    if "Too many open files" in end.stderr:
        return ["h2load ran out of open files"]
    return []

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Open-loop load with h2load: commands, captured logs, and the accounting of every planned request.

Each request has its own connection, opened by a clock (`-r 1 --rate-period`), so that a slow server cannot slow the
load down. A request that was refused, reset, hung, cut short or never answered leaves no row in h2load's log, and
h2load exits with 0 all the same: failures are the planned requests minus the rows with a status that means well.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import re
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from .._declaration.app import LoadPath
from .._os.http import well
from .._verdict.types import Samples
from .arrivals import cover, random_times, shared_out, turned

LAG_FLOOR_S = 0.005
PAUSE_S = 0.25
MOST_PAUSED = 0.25
"""Above this share of a run in which the generator stood still, it is no measurement."""
GRACE_S = 5.0
MAX_REQUESTS = 200_000
MOST_RANDOM = 1000.0
"""Requests a second of one arm above which they come evenly."""

GENERATOR_NICE = -10
"""The generator's clock must not wait for the CPU; it takes about 6 % of a core at 100 requests a second."""
_LEAST_PERIOD_MS = 4
_MOST_LANES = 16
_TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
_VERSION = re.compile(r"nghttp2/(\d+)\.(\d+)(?:\.(\d+))?")


class LoadError(ValueError):
    """A load that cannot be run as declared; the message names the variable, the value and the fix."""


@dataclass(frozen=True)
class PathLoad:
    """One path of the load: its share of the requests is weight over the sum of weights. `status`: the answers that
    mean well; empty is every 2xx."""

    path: str
    weight: float = 1.0
    method: str = "GET"
    body: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: tuple[int, ...] = ()

    @classmethod
    def of(cls, path: LoadPath) -> PathLoad:
        """From one of the app's load.paths."""
        return cls(
            path=path.path,
            weight=float(path.weight),
            method=path.method.upper(),
            body=path.body,
            headers=path.headers,
            status=path.status or (),
        )


@dataclass(frozen=True)
class Target:
    """Where requests go: "host:port" or "unix:/path"; `authority` is the Host that the app sees."""

    address: str
    authority: str | None = None

    @property
    def url_base(self) -> str:
        """Scheme and authority of the URL on the command line."""
        if self.address.startswith("unix:"):
            return f"http://{self.authority or 'localhost'}"
        return f"http://{self.address}"


@dataclass(frozen=True)
class Lane:
    """One h2load process: a path, its number of requests, one every `period_ms`, begun `offset_s` after the arm's
    start. `status`: the answers that mean well. `run_s`: seconds of the whole run of which it is a part; 0: it lasts as
    long as the run."""

    path: int
    planned: int
    period_ms: int
    offset_s: float
    status: tuple[int, ...] = ()
    run_s: float = 0.0

    @property
    def rate(self) -> float:
        """Requests per second while it lasts."""
        return 1000.0 / self.period_ms

    @property
    def lasts_s(self) -> float:
        """Seconds of the whole run."""
        return self.run_s or self.planned * self.period_ms / 1000.0

    @property
    def mean_rate(self) -> float:
        """Requests per second over the whole run."""
        return self.planned / self.run_s if self.run_s else self.rate


@dataclass(frozen=True)
class Launch:
    """One process to start: its command, when (seconds after the first), the log it writes, and its hard time limit."""

    argv: Sequence[str]
    delay_s: float
    log_file: str
    limit_s: float


@dataclass(frozen=True)
class Finished:
    """What came of a process. `started` is in seconds since the epoch; `error` says why it could not be started;
    `stopped` is the second since the epoch at which it was ended before its time, because the load was to stop."""

    code: int | None
    stdout: str
    stderr: str
    log: str
    cpu_seconds: float
    started: float
    timed_out: bool = False
    error: str = ""
    stopped: float | None = None


class Runner(Protocol):
    """Runs processes side by side and returns their ends in the order of the launches.

    `stop` is called many times a second; as soon as it gives a reason, all processes are ended.
    """

    def __call__(self, launches: Sequence[Launch], stop: Callable[[], str] | None = None) -> list[Finished]: ...


@dataclass(frozen=True)
class Row:
    """One line of h2load's log: start in microseconds since the epoch, HTTP status (-1: failed), microseconds to the
    end."""

    start_us: int
    status: int
    latency_us: int


@dataclass(frozen=True)
class Summary:
    """The request counts that h2load prints at its end."""

    total: int
    started: int
    done: int
    succeeded: int
    failed: int
    errored: int
    timeout: int
    statuses: Sequence[int]
    seconds: float


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
    )


def plan_lanes(paths: Sequence[PathLoad], rate: float, seconds: float, max_requests: int = MAX_REQUESTS) -> list[Lane]:
    """The processes that make `rate` requests per second for `seconds`, shared out by weight.

    h2load's period is a whole number of milliseconds: a path whose rate does not fit within 2 % (or needs a period
    under 4 ms) is shared by up to sixteen processes a fraction of a period apart. The lanes tell the true rate.
    """
    weights = _weights(paths, rate, seconds, max_requests)
    lanes = []
    for index, path in enumerate(paths):
        share = rate * path.weight / weights
        if share * seconds < 0.5:
            continue
        count, period = _fit(share)
        # paths start apart from each other, lanes of one path evenly within its period
        first = period / 1000.0 / count * index / len(paths)
        for lane in range(count):
            planned = max(1, round(share * seconds / count))
            lanes.append(Lane(index, planned, period, first + period / 1000.0 * lane / count, path.status))
    return _some(lanes, rate, seconds)


def plan_arrivals(
    paths: Sequence[PathLoad],
    rate: float,
    seconds: float,
    max_requests: int = MAX_REQUESTS,
    *,
    seed: str = "",
    turned_s: float = 0.0,
) -> list[Lane]:
    """The processes that make `rate` requests per second on average for `seconds`, at random times, the paths mixed.

    The same arguments give the same times. turned_s: the seconds by which the times begin later, with their beginning
    at the end: another arm gets the same bursts at another moment. Above MOST_RANDOM requests a second the times are
    even: what happens within some milliseconds is random enough there by itself.
    """
    weights = _weights(paths, rate, seconds, max_requests)
    if rate > MOST_RANDOM:
        return plan_lanes(paths, rate, seconds, max_requests)
    counts = shared_out(round(rate * seconds), [path.weight for path in paths])
    chance = random.Random(f"{seed} {rate:.6g} {seconds:.6g} {[path.weight / weights for path in paths]}")
    times = random_times(counts, seconds, chance)
    lanes = [
        Lane(index, train.count, train.period_ms, train.begin_s, paths[index].status, seconds)
        for index, trains in enumerate(cover(times, seconds, chance))
        for train in (turned(trains, turned_s, seconds) if turned_s else trains)
    ]
    return _some(lanes, rate, seconds)


def _some(lanes: list[Lane], rate: float, seconds: float) -> list[Lane]:
    if not lanes:
        raise LoadError(f"load.rate {rate:g} for load.seconds {seconds:g} is less than one request: raise one of them")
    return lanes


def _weights(paths: Sequence[PathLoad], rate: float, seconds: float, max_requests: int) -> float:
    """The sum of the weights; LoadError where the load cannot be planned."""
    if not paths:
        raise LoadError("load.paths is empty: name at least one path")
    if not rate > 0 or not seconds > 0:
        raise LoadError(f"load.rate is {rate} and load.seconds is {seconds}: both must be above 0")
    if rate * seconds > max_requests:
        raise LoadError(
            f"load.rate {rate:g} for load.seconds {seconds:g} are {rate * seconds:.0f} requests, the most is "
            f"{max_requests}: "
            "lower one of them"
        )
    weights = sum(path.weight for path in paths)
    if not weights > 0 or any(path.weight < 0 for path in paths):
        raise LoadError("load.paths: every weight must be 0 or more, and one above 0")
    return weights


def _fit(rate: float) -> tuple[int, int]:
    best = (math.inf, 1, 1)
    for count in range(1, _MOST_LANES + 1):
        period = max(1, round(1000.0 * count / rate))
        error = abs(count * 1000.0 / period / rate - 1.0) + (1.0 if period < _LEAST_PERIOD_MS else 0.0)
        if error < best[0] - 1e-9:
            best = (error, count, period)
        if error <= 0.02:
            break
    return best[1], best[2]


def lanes_rate(lanes: Sequence[Lane]) -> float:
    """Requests per second of all lanes together."""
    return sum(lane.mean_rate for lane in lanes)


def nofile_needed(lanes: Sequence[Lane], timeout_s: float) -> int:
    """Open files that the busiest lane needs: every request that can be unanswered at once, and a few of h2load's
    own."""
    return max(min(lane.planned, math.ceil(timeout_s * lane.rate) + 1) for lane in lanes) + 32


def build_command(
    path: PathLoad, lane: Lane, target: Target, *, log_file: str, body_file: str | None = None, timeout_s: float = 10.0,
    program: str = "h2load",
) -> list[str]:  # fmt: skip
    """The command of one lane. Never -D or --rps; both time-outs, or a server that dribbles is waited for for ever."""
    _check_path(path)
    if not timeout_s >= 1:
        raise LoadError(f"the request time-out is {timeout_s} s: it must be at least 1")
    wait = f"{math.ceil(timeout_s)}s"
    argv = [program, "--h1", "-n", str(lane.planned), "-c", str(lane.planned), "-r", "1"]
    argv += [f"--rate-period={lane.period_ms}ms", "-N", wait, "-T", wait, f"--log-file={log_file}"]
    names = {name.lower() for name in path.headers}
    for name, value in path.headers.items():
        argv += ["-H", f"{':authority' if name.lower() == 'host' else name.lower()}: {value}"]
    if target.authority is not None and "host" not in names:
        argv += ["-H", f":authority: {target.authority}"]
    if path.body is not None:
        if body_file is None:
            raise LoadError(f"load.paths: the body of {path.path} needs a file")
        argv += ["-d", body_file]
    if path.method != ("GET" if path.body is None else "POST"):
        argv += ["-H", f":method: {path.method}"]
    if target.address.startswith("unix:"):
        argv += ["-B", target.address]
    argv.append(target.url_base + path.path)
    return argv


def _check_path(path: PathLoad) -> None:
    if not re.match(r"^/[!-~]*$", path.path):
        raise LoadError(
            f"load.paths: path is {path.path!r}: it must begin with / and hold no blanks (percent-encode them)"
        )
    if not _TOKEN.match(path.method) or path.method in ("HEAD", "CONNECT"):
        raise LoadError(
            f"load.paths: method of {path.path} is {path.method!r}: GET, POST, PUT, PATCH, DELETE or OPTIONS"
        )
    for name, value in path.headers.items():
        if not _TOKEN.match(name) or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", str(value)):
            raise LoadError(f"load.paths: header {name!r} of {path.path} holds a character that HTTP does not allow")


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


def account(runs: Sequence[LaneRun], min_rate_share: float = 0.95) -> Samples:
    """The samples of one arm: one entry for every planned request of every lane, in the order in which they were
    due."""
    entries: list[tuple[float, float, int, int]] = []
    reasons: list[str] = []
    notes: list[str] = []
    lag = drift = paused = span = 0.0
    achieved = 0.0
    kinds: Counter[str] = Counter()
    runs = [cut_short(run) for run in runs]
    for run in runs:
        lane, end = run.lane, run.finished
        period = lane.period_ms / 1000.0
        rows, bad = parse_log(end.log)
        rows.sort(key=lambda row: row.start_us)
        reasons += _complaints(lane, end, rows, bad)
        kinds.update(how_failed(lane, end, rows))
        if len(rows) > lane.planned:
            rows = rows[: lane.planned]
        slots, lags, begin, lane_drift = align(
            [row.start_us / 1e6 for row in rows], lane.planned, period, end.started or None
        )
        drift = max(drift, lane_drift)
        taken = set(slots)
        for row, late in zip(rows, lags):
            counted = late if late > LAG_FLOOR_S else 0.0
            lag = max(lag, counted)
            good = well(row.status, lane.status)
            latency = row.latency_us / 1000.0 + counted * 1000.0 if good else math.inf
            entries.append((row.start_us / 1e6 - late, latency, max(0, row.status), lane.path))
        entries += [
            (begin + slot * period, math.inf, 0, lane.path) for slot in range(lane.planned) if slot not in taken
        ]
        lane_paused = paused_seconds([row.start_us / 1e6 for row in rows], slots, period)
        paused = max(paused, lane_paused)
        lasted = lane.planned * period
        if lane.planned:
            achieved += lane.mean_rate * lasted / (lasted + lane_drift - lane_paused)
        span = max(span, lane.lasts_s)
        if "could not connect" in end.stderr:
            notes.append(f"h2load could not connect {end.stderr.count('could not connect')} times")
    entries.sort(key=lambda entry: entry[0])
    planned = sum(run.lane.planned for run in runs)
    wanted = lanes_rate([run.lane for run in runs])
    if paused > 0.0:
        notes.append(f"the generator stood still for {1000 * paused:.0f} ms, as a machine that stops does")
    if not reasons and paused > MOST_PAUSED * span:
        reasons.append(f"the generator stood still for {paused:.1f} of {span + paused:.1f} s")
    if not reasons and achieved < min_rate_share * wanted:
        reasons.append(
            f"the generator fell {1000 * drift:.0f} ms behind its clock and reached {achieved:.3g} of {wanted:.3g} "
            "requests a second"
        )
    origin = entries[0][0] if entries else 0.0
    return Samples(
        start_s=[entry[0] - origin for entry in entries],
        latency_ms=[entry[1] for entry in entries],
        status=[entry[2] for entry in entries],
        path=[entry[3] for entry in entries],
        planned=planned,
        period_s=1.0 / wanted if wanted else 0.0,
        failures=sum(not math.isfinite(entry[1]) for entry in entries),
        achieved_rate=achieved,
        planned_rate=wanted,
        lag_ms=1000.0 * lag,
        drift_ms=1000.0 * drift,
        complete=not reasons,
        why="; ".join(dict.fromkeys(reasons)),
        cpu_seconds=sum(run.finished.cpu_seconds for run in runs),
        notes=notes,
        kinds=dict(kinds),
    )


UNSETTLED_S = 1.0
"""Requests that were due so shortly before a load was stopped are left out: their answers may have been under way."""


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


def prepare(
    paths: Sequence[PathLoad], lanes: Sequence[Lane], target: Target, *, directory: str, label: str, delay_s: float =
    0.0, timeout_s: float = 10.0, program: str = "h2load",
) -> list[Launch]:  # fmt: skip
    """Commands of one arm. Writes the bodies into `directory` (private to the run) and clears old logs: h2load
    appends."""
    root = Path(directory)
    launches = []
    for number, lane in enumerate(lanes):
        path = paths[lane.path]
        log = root / f"{label}-{number}.log"
        if log.exists():
            log.unlink()
        body = None
        if path.body is not None:
            body = root / f"{label}-{number}.body"
            body.write_bytes(path.body.encode())
        argv = build_command(
            path,
            lane,
            target,
            log_file=str(log),
            body_file=str(body) if body else None,
            timeout_s=timeout_s,
            program=program,
        )
        limit = lane.planned * lane.period_ms / 1000.0 + math.ceil(timeout_s) + GRACE_S
        launches.append(Launch(argv, delay_s + lane.offset_s, str(log), limit))
    return launches


def raise_nofile(needed: int) -> str:
    """Raises this process's soft limit of open files (which h2load inherits); says what is wrong when it cannot, else
    ""."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ""
    if hard != resource.RLIM_INFINITY and hard < needed:
        return (
            f"the load needs {needed} open files and the hard limit (ulimit -Hn) is {hard}: "
            "raise it, or lower load.rate or the request time-out"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return ""


def run_processes(launches: Sequence[Launch], stop: Callable[[], str] | None = None) -> list[Finished]:
    """Runs the launches side by side, each in its own process group, which is killed when its time limit is over, or
    when `stop` says that the load must not go on; those that had not begun then are never started."""
    begin = time.monotonic()
    order = sorted(range(len(launches)), key=lambda index: launches[index].delay_s)
    running: dict[int, _Process] = {}
    ended: dict[int, Finished] = {}
    try:
        while len(ended) < len(launches):
            now = time.monotonic() - begin
            while order and launches[order[0]].delay_s <= now:
                index = order.pop(0)
                started = _Process.start(launches[index])
                if isinstance(started, Finished):
                    ended[index] = started
                else:
                    running[index] = started
            for index, process in list(running.items()):
                result = process.poll()
                if result is not None:
                    ended[index] = result
                    del running[index]
            if stop is not None and stop():
                at = time.time()
                ended.update({index: process.end_early(at) for index, process in running.items()})
                ended.update({index: Finished(None, "", "", "", 0.0, at, stopped=at) for index in order})
                running.clear()
                break
            wait = 0.05
            if order:
                wait = min(wait, max(0.0, launches[order[0]].delay_s - (time.monotonic() - begin)))
            if running or order:
                time.sleep(wait)
    finally:
        for process in running.values():
            process.kill()
    return [ended[index] for index in range(len(launches))]


class _Process:
    def __init__(self, launch: Launch, popen: subprocess.Popen[bytes], started: float) -> None:
        self.launch = launch
        self.popen = popen
        self.started = started
        self.deadline = time.monotonic() + launch.limit_s
        self.killed = False

    @classmethod
    def start(cls, launch: Launch) -> _Process | Finished:
        started = time.time()
        try:
            with open(launch.log_file + ".out", "wb") as out, open(launch.log_file + ".err", "wb") as err:
                popen = subprocess.Popen(
                    list(launch.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    env={**os.environ, "LC_ALL": "C"},
                )
        except OSError as problem:
            return Finished(None, "", "", "", 0.0, started, error=f"{launch.argv[0]}: {problem.strerror or problem}")
        with contextlib.suppress(OSError):  # without the right to: an ordinary process, which a busy host delays
            os.setpriority(os.PRIO_PROCESS, popen.pid, GENERATOR_NICE)
        return cls(launch, popen, started)

    def poll(self) -> Finished | None:
        pid, status, usage = os.wait4(self.popen.pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() < self.deadline:
                return None
            status, usage = self.kill()
        return self._finished(status, usage)

    def end_early(self, at: float) -> Finished:
        """End it because the load is to stop, at second `at` since the epoch."""
        pid, status, usage = os.wait4(self.popen.pid, os.WNOHANG)
        if pid:
            return self._finished(status, usage)
        return replace(self._finished(*self.kill()), timed_out=False, stopped=at)

    def _finished(self, status: int, usage: resource.struct_rusage) -> Finished:
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        self.popen.returncode = code
        log = self.launch.log_file
        return Finished(
            code,
            _read(log + ".out"),
            _read(log + ".err"),
            _read(log),
            usage.ru_utime + usage.ru_stime,
            self.started,
            self.killed,
        )

    def kill(self) -> tuple[int, resource.struct_rusage]:
        self.killed = True
        self.popen.returncode = -signal.SIGKILL
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.popen.pid, 0)
        return status, usage


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

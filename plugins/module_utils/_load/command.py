# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Commands of h2load: which processes ask a load's paths, how often, from when on, and with which words."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._declaration.app import Load, LoadPath
from .._declaration.shortfall import RETRY_FACTOR
from .arrivals import cover, random_times, shared_out, turned, with_the_rare
from .processes import Launch

GRACE_S = 5.0
MAX_REQUESTS = 200_000
MOST_DERIVED = 200.0
"""Requests a second of one arm that are never exceeded where no rate is declared."""
MOST_RANDOM = 1000.0
"""Requests a second of one arm above which they come evenly."""
_DEBIAN_LIKE = frozenset({"debian", "ubuntu", "raspbian", "linuxmint"})
_LEAST_PERIOD_MS = 4
_MOST_LANES = 16
_TOKEN = re.compile(r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")


def debian_like(system: str) -> bool:
    """Whether a distribution calls its packages as Debian does; `system`: ID and ID_LIKE of its os-release(5)."""
    return not _DEBIAN_LIKE.isdisjoint(system.split())


def h2load_package(distribution: str, like: str = "") -> str:
    """The package of a distribution that holds h2load; ID and ID_LIKE of its os-release(5)."""
    return "nghttp2-client" if debian_like(f"{distribution} {like}") else "nghttp2"


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
    counts = with_the_rare(shared_out(round(rate * seconds), [path.weight for path in paths]))
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


def files_needed(load: Load, timeout_seconds: float = 10.0) -> int:
    """Open files that the busiest h2load process of a trial may need, its retry included.

    Where no rate is declared, it is counted with the most that is ever derived.
    """
    rate = MOST_DERIVED if load.rate is None else float(load.rate)
    paths = [PathLoad.of(path) for path in load.paths]
    lanes = plan_lanes(paths, rate, min(float(load.seconds) * RETRY_FACTOR, MAX_REQUESTS / rate))
    return nofile_needed(lanes, timeout_seconds)


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

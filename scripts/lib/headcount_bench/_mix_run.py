# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Runs of scripts/bench mixtures: servers that stay up between runs, the load of one schedule, what came of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import weighed
from headcount_scripts.console import ScriptError

from . import _mix_grid as mix
from . import _serving
from . import plan as plan_bench
from ._plan_grid import Config

CLIENT: Final = Path(__file__).with_name("_mix_client.py")
BOOT_SECONDS: Final = 120.0
POOL_PROCESSES: Final = 600
DRAIN_SECONDS: Final = 30.0
MEMORY_AT: Final = 0.7
LATE_MS: Final = 5.0
"""A run of which the generator sent 1 % of the requests later than this is no measurement."""

FOREIGN_SHARE: Final = 0.08
CALIBRATION_REQUESTS: Final = 12
CALIBRATION_SECONDS: Final = 1.5


@dataclass(frozen=True)
class Alone:
    """What one kind takes alone: wall and CPU ms of a request, Gunicorn and Flask included."""

    wall_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Run:
    """One run: latencies in ms of each kind (infinite where none came), and what has to be known to believe it.

    lag_ms: the 99th percentile of what the generator was late; load_share: what it took of one core; foreign: the share
    of the server's CPUs that neither the server nor the generator used.
    """

    latencies_ms: list[list[float]]
    seconds: float
    memory_mib: float
    cpu_ms: float
    lag_ms: float
    load_share: float
    foreign: float

    @property
    def sound(self) -> bool:
        """Whether neither the generator nor other work disturbed it."""
        return self.lag_ms <= LATE_MS and self.foreign <= FOREIGN_SHARE

    def to_dict(self) -> dict[str, Any]:
        """Plain data; latencies in whole hundredths of a millisecond, null where none came."""
        latencies = [[round(one, 2) if math.isfinite(one) else None for one in mine] for mine in self.latencies_ms]
        figures = {key: round(float(value), 4) for key, value in vars(self).items() if key != "latencies_ms"}
        return {**figures, "latencies_ms": latencies}

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Run:
        """From to_dict()."""
        latencies = [[math.inf if one is None else one for one in mine] for mine in plain["latencies_ms"]]
        return cls(**{**plain, "latencies_ms": latencies})


class Servers:
    """Servers on the same CPUs, kept up between the runs: at rest they use next to none, so runs can be interleaved."""

    def __init__(self, cpus: Sequence[int], preload: bool, site: _serving.Site = _serving.SAMPLE) -> None:
        self.cpus, self.preload, self.site = tuple(cpus), preload, site
        self._running: dict[Config, _serving.Server] = {}

    def ready(self, configs: Iterable[Config]) -> None:
        """Starts those that do not run yet, together, and waits until all are at rest."""
        new = [config for config in dict.fromkeys(configs) if config not in self._running]
        for config in new:
            preload = self.preload and config.worker_class != "gevent"
            self._running[config] = plan_bench.started(config, [plan_bench.TCP], self.cpus, preload, self.site)
        for config in new:
            self._running[config].settle(config.workers + 1, BOOT_SECONDS)

    def get(self, config: Config) -> _serving.Server:
        """A server that runs and is at rest; one that does not come to rest is started anew."""
        self.ready([config])
        try:
            self._running[config].settle(config.workers + 1, DRAIN_SECONDS)
        except ScriptError:
            self.drop(config)
            self.ready([config])
        return self._running[config]

    def drop(self, config: Config) -> None:
        """Stops one."""
        server = self._running.pop(config, None)
        if server is not None:
            server.stop()

    def keep(self, configs: Iterable[Config]) -> None:
        """Stops all others."""
        wanted = set(configs)
        for config in [config for config in self._running if config not in wanted]:
            self.drop(config)

    def close(self) -> None:
        """Stops all."""
        self.keep(())


def alone(servers: Servers, traffic: mix.Traffic) -> list[Alone]:
    """What each kind takes alone, one request after the other, on one sync worker: the median wall time, the mean CPU
    time."""
    server = servers.get(Config("sync", 1))
    found = []
    for kind in traffic.kinds:
        nominal = kind.cpu_ms + kind.wait_ms + 2.0
        count = max(3, min(5 * CALIBRATION_REQUESTS, int(1000.0 * CALIBRATION_SECONDS / nominal)))
        gap = 1.2 * nominal / 1000.0 + 0.002
        before = weighed.scheduled_seconds(server.pids())
        answer = ask(server, [kind.path], [(number * gap, 0) for number in range(count)], 10.0)
        used = 1000.0 * (weighed.scheduled_seconds(server.pids()) - before) / count
        walls = [1000.0 * row[2] for row in answer["rows"] if row[2] is not None and row[3] == 200]
        if len(walls) < count:
            raise ScriptError(f"{kind.path} alone: {count - len(walls)} of {count} requests were not answered")
        found.append(Alone(round(mix.quantile(walls, 0.5), 3), round(used, 3)))
    return found


def ask(
    server: _serving.Server, heads: Sequence[str], due: mix.Schedule, timeout: float, load_cpus: Sequence[int] = ()
) -> dict[str, Any]:
    """One run of the generator, in a process of its own, on `load_cpus` or on any."""
    spec = {"host": "127.0.0.1", "port": server.port, "heads": list(heads), "due": due, "timeout": timeout}
    pinned = ["taskset", "-c", ",".join(map(str, load_cpus))] if load_cpus else []
    limit = due[-1][0] + timeout + 30.0
    done = subprocess.run(
        [*pinned, sys.executable, "-E", "-S", str(CLIENT)], input=json.dumps(spec) + "\n", capture_output=True,
        text=True, timeout=limit, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ScriptError(f"the generator ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def load(
    servers: Servers, config: Config, traffic: mix.Traffic, due: mix.Schedule, timeout: float,
    load_cpus: Sequence[int] = (), memory: bool = False,
) -> Run:  # fmt: skip
    """One run of a schedule against one server that is at rest when it begins."""
    server = servers.get(config)
    pids, cpus = server.pids(), servers.cpus
    heads = [kind.path for kind in traffic.kinds]
    own = weighed.scheduled_seconds(pids)
    busy, began = _serving.busy_seconds(cpus), time.monotonic()
    mib = 0.0
    answer = ask(server, heads, due, timeout, load_cpus)
    took = time.monotonic() - began
    own = weighed.scheduled_seconds(pids) - own
    shared = not load_cpus or bool(set(load_cpus) & set(cpus))
    foreign = _serving.busy_seconds(cpus) - busy - own - (answer["cpu_seconds"] if shared else 0.0)
    if memory:
        mib = server.memory_mib()  # what a worker has taken for requests in flight it mostly keeps
    latencies: list[list[float]] = [[] for _ in traffic.kinds]
    for kind, _, latency, status in answer["rows"]:
        latencies[kind].append(1000.0 * latency if latency is not None and status == 200 else math.inf)
    if any(math.isinf(one) for mine in latencies for one in mine):
        servers.drop(config)  # it works on what nobody waits for any more
    return Run(
        latencies_ms=latencies,
        seconds=due[-1][0],
        memory_mib=mib,
        cpu_ms=1000.0 * own / len(due),
        lag_ms=1000.0 * mix.quantile([row[1] for row in answer["rows"]], 0.99),
        load_share=answer["cpu_seconds"] / took,
        foreign=max(0.0, foreign) / (took * len(cpus)),
    )


def pooled(runs: Sequence[Run]) -> list[list[float]]:
    """The latencies of each kind, of several runs together."""
    return [[value for run in runs for value in run.latencies_ms[kind]] for kind in range(len(runs[0].latencies_ms))]


def lanes(cores: int, most: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The CPUs of each lane's server, and of its generator; no CPUs for the generator: any, as there is none to spare.

    One lane with a CPU to spare has the generator there. Several lanes, and a server on all CPUs, share theirs with
    the generator: it takes 0.2 ms for a request.
    """
    available = sorted(os.sched_getaffinity(0))
    if len(available) < cores:
        raise ScriptError(f"a server on {cores} CPUs, and there are {len(available)}")
    count = max(1, min(most, len(available) // cores))
    servers = [tuple(available[len(available) - (lane + 1) * cores :][:cores]) for lane in range(count)]
    spare = tuple(available[: len(available) - count * cores])
    return [(server, spare) for server in servers]

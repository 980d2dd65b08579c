# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A load generator that only pretends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ansible_collections.headcount.gunicorn.plugins.module_utils._load import h2load as h2


class Pretender:
    """A runner that answers every request of every launch, and remembers what it was asked for."""

    def __init__(self, status: int = 200) -> None:
        self.calls: list[list[h2.Launch]] = []
        self.status = status

    def __call__(self, launches: Sequence[h2.Launch], stop: Callable[[], str] | None = None) -> list[h2.Finished]:
        self.calls.append(list(launches))
        return [self.end(launch) for launch in launches]

    def end(self, launch: h2.Launch) -> h2.Finished:
        argv = list(launch.argv)
        n = int(argv[argv.index("-n") + 1])
        period = next(int(part[14:-2]) for part in argv if part.startswith("--rate-period="))
        begin = 1_000_000_000 + int(launch.delay_s * 1e6)
        latency = 20_000 if "unix:/run/new.sock" in argv else 10_000
        log = "".join(f"{begin + index * period * 1000}\t{self.status}\t{latency}\n" for index in range(n))
        out = f"requests: {n} total, {n} started, {n} done, {n} succeeded, 0 failed, 0 errored, 0 timeout\n"
        return h2.Finished(0, out, "", log, 0.1, begin / 1e6)

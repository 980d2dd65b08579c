# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Samples memory on the host while the load of a trial comes from another machine.

No module call lasts as long as that load, so the sampler is a transient unit of its own (Instances.begin_watch), with
a hard end. It stops at SIGTERM and then writes what it found.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from .._load.memory import MemoryEvidence, MemorySampler
from .._load.use import moved
from .._load.workers import moved as moved_workers
from .._os.files import read_json, write_json
from .._os.systemd import Systemd
from .compare import arm

CANDIDATE, LIVE = "candidate", "live"
LEVEL_EVERY_S = 1.0


def request(arms: Mapping[str, tuple[str, float, str, bool]], begin: float) -> dict[str, object]:
    """What main() is asked to do. `arms`: {"candidate" or "live": (unit, its MemoryMax in MiB, the directory of its
    files, whether its workers beat)}; `begin`: epoch seconds at which the log of the trial begins."""
    return {
        "begin": begin,
        "arms": {
            name: {"unit": unit, "memory_max_mib": limit, "files": files, "beats": beats}
            for name, (unit, limit, files, beats) in arms.items()
        },
    }


class Sampled(TypedDict):
    """What was sampled: MemoryEvidence.to_dict() of each arm, and [monotonic second, MiB of PSS of the candidate]."""

    evidence: dict[str, dict[str, object]]
    levels: list[list[float]]


def sample(
    samplers: Mapping[str, MemorySampler],
    wait: Callable[[float], bool],
    monotonic: Callable[[], float] = time.monotonic,
) -> Sampled:
    """Sample until `wait` (seconds) says that it is over."""
    levels: list[list[float]] = []
    for one in samplers.values():
        one.start()
    while not wait(LEVEL_EVERY_S):
        level = samplers[CANDIDATE].level() if CANDIDATE in samplers else None
        if level is not None:
            levels.append([round(monotonic(), 3), level])
    for one in samplers.values():
        one.stop()
    return {"evidence": {name: one.evidence().to_dict() for name, one in samplers.items()}, "levels": levels}


def level_at(levels: Sequence[Sequence[float]], second: float) -> float | None:
    """The level that was sampled nearest to a monotonic second; None where nothing was."""
    return min(levels, key=lambda level: abs(level[0] - second))[1] if levels else None


def evidence(found: Mapping[str, Any], name: str, warm_at: float) -> MemoryEvidence | None:
    """The memory of an arm from what sample() returned. `warm_at`: monotonic second at which the warm-up was over."""
    plain = (found.get("evidence") or {}).get(name)
    if not plain:
        return None
    settled = level_at(found.get("levels") or [], warm_at) if name == CANDIDATE else None
    used = moved(plain.get("use") or {}, warm_at)
    workers = moved_workers(plain.get("workers") or (), warm_at)
    return MemoryEvidence(**{**plain, "after_warmup_mib": settled, "use": used, "workers": workers})


def main(request_file: str, result_file: str) -> int:
    """The sampler's process: 0 when it wrote what it found, 1 when its request cannot be read."""
    asked = read_json(request_file)
    if not isinstance(asked, dict):
        return 1
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    systemd = Systemd()
    arms = {
        name: arm(
            systemd,
            one["unit"],
            "",
            float(one["memory_max_mib"]),
            float(asked["begin"]),
            str(one["files"]),
            beats=bool(one.get("beats", False)),
        )
        for name, one in asked["arms"].items()
    }
    samplers = {name: one.sampler() for name, one in arms.items()}
    found = sample(samplers, over.wait)
    with contextlib.suppress(FileNotFoundError):  # the trial was given up, and its folder with it
        write_json(result_file, found, 0o600)
    return 0

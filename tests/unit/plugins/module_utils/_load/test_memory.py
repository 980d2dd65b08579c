# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Memory over a load window, from scripted processes and from this one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import workerends
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import memory as mem

ROLLUP = """55d0c0000000-7ffd00000000 ---p 00000000 00:00 0    [rollup]
Rss:               20480 kB
Pss:               10240 kB
Shared_Clean:       8192 kB
Private_Clean:      1024 kB
Private_Dirty:      7168 kB
"""
SMAPS = """00400000-00500000 r-xp 0 00:00 0 a
Rss: 1024 kB
Pss: 512 kB
00600000-00700000 rw-p 0 00:00 0 b
Rss: 1024 kB
Pss: 1024 kB
Private_Dirty: 1024 kB
"""


def process(root: Path, pid: int, *, rollup: bool = True) -> None:
    place = root / str(pid)
    place.mkdir()
    fields = " ".join(str(number) for number in range(4, 52))
    (place / "stat").write_text(f"{pid} (gunicorn: (x) y) S 1 2 {fields}")
    (place / "status").write_text("Name:\tgunicorn\nVmHWM:\t   30720 kB\n")
    (place / ("smaps_rollup" if rollup else "smaps")).write_text(ROLLUP if rollup else SMAPS)


def test_a_process_is_read_from_its_rollup(tmp_path: Path) -> None:
    process(tmp_path, 7)
    found = mem.read_process(7, str(tmp_path))
    assert found is not None
    assert (found.rss_mib, found.pss_mib, found.uss_mib, found.hwm_mib) == (20.0, 10.0, 8.0, 30.0)
    assert (found.started, found.parent) == (20, 1)


def test_older_kernels_have_only_smaps(tmp_path: Path) -> None:
    process(tmp_path, 7, rollup=False)
    found = mem.read_process(7, str(tmp_path))
    assert found is not None
    assert (found.rss_mib, found.pss_mib, found.uss_mib) == (2.0, 1.5, 1.0)


def test_a_process_that_is_gone_is_none(tmp_path: Path) -> None:
    assert mem.read_process(7, str(tmp_path)) is None
    assert mem.reset_high_water(7, str(tmp_path)) is False


def test_this_process_agrees_with_psutil() -> None:
    psutil = pytest.importorskip("psutil")
    ours, theirs = mem.read_process(os.getpid()), psutil.Process().memory_full_info()
    assert ours is not None
    assert ours.pss_mib == pytest.approx(theirs.pss / 2**20, rel=0.05)
    assert ours.uss_mib == pytest.approx(theirs.uss / 2**20, rel=0.05)


def test_a_spike_between_samples_is_caught() -> None:
    if not mem.reset_high_water(os.getpid()):
        pytest.skip("clear_refs may not be written here")
    before = mem.read_process(os.getpid())
    spike = bytearray(48 * 2**20)
    spike[::4096] = b"x" * len(spike[::4096])
    del spike
    after = mem.read_process(os.getpid())
    assert before is not None
    assert after is not None
    assert after.hwm_mib - before.hwm_mib > 30


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        (
            "[2026-01-01 00:00:00 +0000] [1] [ERROR] Worker (pid:12) was sent SIGKILL! Perhaps out of memory?",
            (1, 0, 0, 0),
        ),
        ("[1] [ERROR] Worker (pid:12) was sent SIGSEGV!", (1, 0, 0, 0)),
        ("[1] [ERROR] Worker (pid:12) exited with code 3", (1, 0, 0, 0)),
        ("[1] [INFO] Worker (pid:12) exited with code 0", (0, 0, 0, 0)),
        ("[1] [WARNING] Worker (pid:12) was sent SIGTERM!", (0, 0, 0, 0)),
        ("[12] [INFO] Autorestarting worker after current request.", (0, 1, 0, 0)),
        ("[1] [CRITICAL] WORKER TIMEOUT (pid:12)", (0, 0, 1, 0)),
        ("shop@1.service: A process of this unit has been killed by the OOM killer.", (0, 0, 0, 1)),
        ("kernel: Memory cgroup out of memory: Killed process 12 (gunicorn)", (0, 0, 0, 1)),
        ("[12] [INFO] Booting worker with pid: 12", (0, 0, 0, 0)),
    ],
)
def test_what_the_journal_says(line: str, counts: tuple[int, int, int, int]) -> None:
    found = mem.count_restarts([line])
    assert (found.died, found.recycled, found.timeouts, found.out_of_memory) == counts


class Instance:
    """Scripted processes: pid -> (start tick, PSS); every sample reads the next moment of the script."""

    def __init__(self, moments: Sequence[Mapping[int, tuple[int, float]]]) -> None:
        self.moments = list(moments)
        self.now: Mapping[int, tuple[int, float]] = self.moments[0]

    def pids(self) -> list[int]:
        return list(self.now)

    def read(self, pid: int) -> mem.ProcessMemory | None:
        if pid not in self.now:
            return None
        started, pss = self.now[pid]
        return mem.ProcessMemory(pid, started, pss + 5, pss, pss - 2, pss + 5, 1 if pid < 50 else 2)

    def run(self, sampler: mem.MemorySampler) -> mem.MemoryEvidence:
        sampler.start()
        sampler.mark_warm()
        for moment in self.moments[1:]:
            self.now = moment
            sampler.sample()
        sampler.stop()
        return sampler.evidence()


def sampler(instance: Instance, **more: Any) -> mem.MemorySampler:
    ticks = iter(range(100))
    given: dict[str, Any] = {"reader": instance.read, **more}
    return mem.MemorySampler(
        instance.pids, resetter=lambda _: True, interval_s=1e6, clock=lambda: float(next(ticks)), **given
    )


CALM = [{1: (10, 20.0), 2: (11, 30.0)}, {1: (10, 20.0), 2: (11, 44.0)}, {1: (10, 20.0), 2: (11, 40.0)}]


def test_a_calm_window() -> None:
    source = "cgroup v2 memory.peak"
    before = {"oom_kills": 2, "cpu_seconds": 1.0}
    after = {"oom_kills": 2, "peak_mib": 90.0, "source": source, "limit_mib": 200.0, "cpu_seconds": 4.5}
    readings = iter([before, after])
    instance = Instance(CALM)
    found = instance.run(sampler(instance, cgroup_reader=lambda: next(readings)))
    assert (found.peak_mib, found.source, found.limit_mib) == (90.0, source, 200.0)
    assert (found.pss_mib, found.uss_mib, found.after_warmup_mib) == (64.0, 60.0, 50.0)
    assert (found.oom_kills, found.restarts, found.cpu_seconds, found.seconds) == (0, 0, 3.5, 1.0)
    assert [worker["pss_mib"] for worker in found.workers] == [20.0, 44.0]
    json.dumps(found.to_dict(), allow_nan=False)


def test_without_a_cgroup_the_peak_is_told_as_that_of_the_processes() -> None:
    instance = Instance(CALM)
    found = instance.run(sampler(instance))
    assert found.source == "PSS of the processes plus their spikes (VmHWM)"
    assert found.peak_mib == pytest.approx(64.0 + 4.0)
    assert found.oom_kills is None


def test_processes_are_not_asked_for_at_every_sample() -> None:
    asked: list[int] = []
    instance = Instance(CALM)

    def pids() -> list[int]:
        asked.append(len(asked))
        return instance.pids()

    watch = mem.MemorySampler(pids, reader=instance.read, resetter=lambda _: True, interval_s=1e6)
    watch.start()
    before = len(asked)
    instance.now = {1: (10, 20.0), 3: (99, 70.0)}  # worker 2 died, 3 came in its place
    watch.sample(look_again=False)
    assert len(asked) == before
    watch.stop()
    found = watch.evidence()
    assert (found.restarts, found.pss_mib) == (1, 90.0)


def test_no_process_is_no_peak() -> None:
    instance = Instance([{}])
    found = instance.run(sampler(instance))
    assert (found.peak_mib, found.pss_mib, found.source) == (None, None, "no process could be read")


@pytest.mark.parametrize(
    ("moments", "journal", "restarts", "recycled"),
    [
        ([CALM[0], {1: (10, 20.0), 3: (99, 20.0)}], [], 1, 0),
        ([CALM[0], {1: (10, 20.0), 2: (99, 20.0)}], [], 1, 0),  # the same id, another process
        ([CALM[0], {1: (10, 20.0), 3: (99, 20.0)}], ["Autorestarting worker after current request."], 0, 1),
        ([CALM[0], CALM[1]], ["Worker (pid:9) was sent SIGKILL! Perhaps out of memory?"], 1, 0),
        ([CALM[0], {}], [], 2, 0),
        ([{**CALM[0], 77: (50, 9.0)}, CALM[0]], [], 0, 0),  # a program that a worker had started
    ],
)
def test_lost_workers(
    moments: Sequence[Mapping[int, tuple[int, float]]], journal: list[str], restarts: int, recycled: int
) -> None:
    instance = Instance(moments)
    found = instance.run(sampler(instance, journal_fn=lambda: journal))
    assert (found.restarts, found.recycled) == (restarts, recycled)


def test_a_process_that_could_not_be_read_for_once_is_not_lost() -> None:
    instance = Instance(CALM)
    blind = iter([False, False, False, False, True, True])
    found = instance.run(sampler(instance, reader=lambda pid: None if next(blind, False) else instance.read(pid)))
    assert found.restarts == 0


@pytest.mark.parametrize(
    ("readings", "journal", "kills"),
    [
        ([{"oom_kills": 0}, {"oom_kills": 2}], [], 2),
        ([{"oom_kills": 3}, {"oom_kills": 3}], ["x has been killed by the OOM killer."], 1),
        ([{}, {}], [], None),
        # None of its own are counted: none on the whole machine are none of its.
        ([{"oom_kills_around": 7}, {"oom_kills_around": 7}], [], 0),
        ([{"oom_kills_around": 7}, {"oom_kills_around": 7}], ["x has been killed by the OOM killer."], 1),
        ([{"oom_kills_around": 7}, {"oom_kills_around": 8}], [], None),
        ([{"oom_kills_around": 7}, {}], [], None),
    ],
)
def test_oom_kills(readings: list[dict[str, int]], journal: list[str], kills: int | None) -> None:
    instance = Instance(CALM)
    each = iter(readings)
    found = instance.run(sampler(instance, cgroup_reader=lambda: next(each), journal_fn=lambda: journal))
    assert found.oom_kills == kills


def test_what_cannot_be_read_is_noted() -> None:
    def refuse() -> Any:
        raise PermissionError("no")

    instance = Instance(CALM)
    found = instance.run(sampler(instance, cgroup_reader=refuse, journal_fn=refuse))
    assert found.notes == ("the cgroup could not be read: no", "its log could not be read: no")
    assert found.oom_kills is None


def ends_of(*lines: str) -> list[workerends.WorkerEnd]:
    return workerends.parse("\n".join(lines))


@pytest.mark.parametrize(
    ("after", "restarts", "recycled", "deaths"),
    [
        (['[2, 2, "R", 0]'], 0, 1, ""),
        (['[2, 2, " ", 9]'], 1, 0, "killed by SIGKILL"),
        (['[2, 2, " ", 0]', '[3, 8, " ", 0]', '[4, 9, " ", 9]'], 3, 0, "2 exited at once with status 0, 1 killed by"),
        ([], 1, 0, "ended untold"),
    ],
)
def test_the_ends_of_workers_go_before_the_journal(after: list[str], restarts: int, recycled: int, deaths: str) -> None:
    instance = Instance([CALM[0], {1: (10, 20.0), 3: (99, 20.0)}])
    told = [ends_of('[1, 7, " ", 9]')]
    looks = iter(told)
    silenced = ["Autorestarting worker after current request."] * 9
    watch = sampler(
        instance,
        journal_fn=lambda: silenced,
        ends_fn=lambda: next(looks, ends_of('[1, 7, " ", 9]', *after)),
        sleep=lambda seconds: None,
    )
    found = instance.run(watch)
    assert (found.restarts, found.recycled) == (restarts, recycled)
    assert found.deaths.startswith(deaths)


def test_an_end_that_is_written_down_late_is_waited_for() -> None:
    instance = Instance([CALM[0], {1: (10, 20.0), 3: (99, 20.0)}])
    waited: list[float] = []
    watch = sampler(
        instance,
        ends_fn=lambda: ends_of('[1, 2, "R", 0]') if len(waited) > 2 else [],
        sleep=waited.append,
    )
    found = instance.run(watch)
    assert (found.restarts, found.recycled, len(waited)) == (0, 1, 3)

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""CPU a request, idle CPU, what piles up and what is written, held against the live generation in the same run."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge as j
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import use as u

LIMITS = Limits(memory_percent=None)
SECONDS, RATE = 30.0, 50.0
QUIET = (31.0, 33.0)


def arm(seed: int = 1, **more: object) -> j.Samples:
    source = random.Random(seed)
    count = int(SECONDS * RATE)
    return replace(
        j.Samples(
            start_s=sorted(source.uniform(0, SECONDS) for _ in range(count)),
            latency_ms=[30 * source.lognormvariate(0, 0.3) for _ in range(count)],
            status=[200] * count,
            planned=count,
            period_s=1 / RATE,
            failures=0,
            achieved_rate=RATE,
            planned_rate=RATE,
            loaded=[(0.5, 0.5 + SECONDS)],
            quiet=QUIET,
        ),
        **more,
    )


def used(
    cpu_ms: float = 5.0,
    idle: float = 0.0,
    noise: float = 0.15,
    written_mib: float = 0.0005,
    seed: int = 1,
    by_itself_mib: float = 0.0,
    **levels: Callable[[float], float | None],
) -> j.MemoryEvidence:
    """Looks twice a second at a generation that takes so much CPU for each request, and so many cores by itself."""
    source = random.Random(seed)
    columns: dict[str, list[float | None]] = {name: [] for name in u.COLUMNS}
    cpu = written = 0.0
    level: dict[str, Callable[[float], float | None]] = {
        "descriptors": lambda _: 20.0,
        "threads": lambda _: 9.0,
        "pss_mib": lambda _: 50.0,
        "begun": lambda _: 3.0,
        "requests": lambda _: None,
        **levels,
    }
    for look in range(-10, 68):
        second = look / 2.0 + source.uniform(0.0, 0.05)
        loaded = 0.5 <= second <= 30.5
        if loaded:
            cpu += 0.5 * RATE * cpu_ms / 1000.0 * source.uniform(1 - noise, 1 + noise)
            written += 0.5 * RATE * written_mib
        cpu += 0.5 * idle
        written += 0.5 * by_itself_mib
        row = (
            second,
            cpu,
            written,
            *(level[name](min(1.0, max(0.0, (second - 0.5) / SECONDS))) for name in u.COLUMNS[3:]),
        )
        for name, value in zip(u.COLUMNS, row):
            columns[name].append(None if value is None else round(value, 4))
    return j.MemoryEvidence(100.0, "cgroup", pss_mib=50.0, limit_mib=200.0, use=columns)


def judged(new: j.MemoryEvidence, old: j.MemoryEvidence | None, limits: Limits = LIMITS) -> j.Verdict:
    live = arm(2) if old is not None else None
    return j.judge(arm(), live, limits, new, baseline_memory=old)


@pytest.mark.parametrize("more", [7.0, 14.0])
def test_more_cpu_for_each_request_is_caught(more: float) -> None:
    verdict = judged(used(2.0 + more), used(2.0, seed=2))
    assert verdict.outcome == j.FAIL
    assert not verdict.hard
    assert verdict.cause.startswith("a request took ")
    assert "ms of CPU against 2" in verdict.cause
    assert "in 24 of 24 parts of the load more than 1.3 times its usual" in verdict.cause
    assert "declare limits.cpu_ms where the release is meant to take more" in verdict.cause


def test_what_is_slow_with_the_same_cpu_waits_and_what_takes_more_does_not() -> None:
    """A lock, a pool or a service shows in the latency alone; what takes CPU is told by its CPU."""
    slow = replace(arm(), latency_ms=[90.0 + place % 7 for place in range(len(arm().start_s))])
    waits = (
        "a request takes no more CPU than one of the live generation, so it waits longer: for a lock, a pool, a service"
    )
    verdict = j.judge(slow, arm(2), LIMITS, used(5.0), baseline_memory=used(5.0, seed=2))
    assert verdict.cause.startswith("p50 is 9")
    assert f"; {waits}; 0 of " in verdict.cause
    busy = j.judge(slow, arm(2), LIMITS, used(9.0), baseline_memory=used(5.0, seed=2))
    assert "; a request took 9" in busy.cause
    assert waits not in busy.cause
    assert waits not in j.judge(slow, arm(2), LIMITS, None).cause


def test_a_release_that_is_meant_to_take_more_says_so() -> None:
    meant = Limits(memory_percent=None, cpu_ms=10.0)
    assert judged(used(9.0), used(2.0), meant).outcome == j.PASS
    verdict = judged(used(12.0), used(2.0), meant)
    assert verdict.outcome == j.FAIL
    assert verdict.cause.startswith("a request took 12")
    assert " ms of CPU, limit 10" in verdict.cause
    assert j.judge(arm(), None, meant, None).outcome == j.INCONCLUSIVE


@pytest.mark.parametrize(("new", "old"), [(5.0, 5.0), (6.2, 5.0), (1.2, 0.4)])
def test_a_little_more_cpu_is_no_fault(new: float, old: float) -> None:
    verdict = judged(used(new), used(old, seed=2))
    assert verdict.outcome == j.PASS
    assert verdict.check("cpu_relative").outcome == j.PASS


def test_a_thread_that_spins_is_caught_and_named() -> None:
    verdict = judged(used(2.0, idle=0.77), used(2.0, seed=2))
    assert verdict.outcome == j.FAIL
    assert verdict.check("idle_cpu").sentence == (
        "while nobody asked it, the candidate took 0.77 of a core, the live generation 0: something in it runs by "
        "itself; declare limits.idle_cores where it is meant to"
    )
    assert judged(used(2.0, idle=0.05), used(2.0, seed=2)).outcome == j.PASS
    assert judged(used(2.0, idle=0.5), used(2.0, idle=0.45, seed=2)).outcome == j.PASS


def test_a_worker_that_is_replaced_as_the_load_ends_does_not_spin() -> None:
    begun = used(2.0, idle=0.77, begun=lambda part: 3.0 + (part > 0.95))
    verdict = judged(begun, used(2.0, seed=2))
    assert "idle CPU (a process of the candidate began at that time)" in verdict.uncompared
    assert [check.name for check in verdict.checks if check.name == "idle_cpu"] == []
    verdict = judged(replace(begun, recycled=1), used(2.0, seed=2))
    said = "idle CPU (workers of the candidate were replaced meanwhile, as max_requests says)"
    assert said in verdict.uncompared
    earlier = used(2.0, idle=0.77, begun=lambda part: 3.0 + (part > 0.5))
    assert judged(earlier, used(2.0, seed=2)).check("idle_cpu").outcome == j.FAIL


def test_a_release_that_is_meant_to_work_by_itself_says_so() -> None:
    meant = Limits(memory_percent=None, idle_cores=0.5)
    assert judged(used(2.0, idle=0.4), used(2.0, seed=2), meant).outcome == j.PASS
    verdict = judged(used(2.0, idle=0.77), used(2.0, seed=2), meant)
    assert verdict.cause.startswith("while nobody asked it, the candidate took 0.77 of a core, limit 0.5; ")
    assert judged(used(2.0, idle=0.77), None, meant).outcome == j.FAIL
    assert Limits().to_dict().keys() & {"cpu_ms", "idle_cores"} == set()
    assert meant.to_dict()["idle_cores"] == 0.5


def test_a_first_release_that_spins_is_told() -> None:
    verdict = judged(used(2.0, idle=0.77), None)
    assert verdict.outcome == j.PASS
    assert (
        "while nobody asked it, the candidate took 0.77 of a core: something in it runs by itself" in verdict.warnings
    )


def test_what_was_not_counted_is_told() -> None:
    blind = replace(used(5.0), use={**used(5.0).use, "cpu_seconds": [None] * 78})
    verdict = judged(used(5.0), blind)
    assert verdict.outcome == j.PASS
    assert "CPU a request (that of the live generation was not counted throughout)" in verdict.uncompared
    assert "; not compared: CPU a request (that of the live generation" in verdict.cause
    assert judged(used(5.0), used(5.0, idle=0.5)).check("cpu_relative").value == pytest.approx(1.0, abs=0.1)
    busy = judged(used(10.0), used(5.0, idle=0.5))
    assert (
        "CPU a request (users, or the live generation itself, took 0.5 of a core beside the trial's requests, "
        "and nobody counted theirs)"
    ) in busy.uncompared


@pytest.mark.parametrize(
    ("column", "last", "words"),
    [
        ("descriptors", 200.0, "open descriptors grew from "),
        ("threads", 700.0, "threads grew from "),
        ("pss_mib", 90.0, "memory (PSS) grew from "),
    ],
)
def test_what_piles_up_is_caught(column: str, last: float, words: str) -> None:
    first = {"descriptors": 20.0, "threads": 9.0, "pss_mib": 50.0}[column]
    leaking = used(**{column: lambda part: first + (last - first) * part})
    verdict = judged(leaking, used(seed=2))
    assert verdict.outcome == j.FAIL
    assert verdict.cause.startswith(words)
    assert " for 1000 requests)" in verdict.cause
    both = judged(leaking, leaking)
    assert both.outcome == j.PASS
    assert any("those of the live generation as well" in words for words in both.warnings)


@pytest.mark.parametrize(
    ("column", "first", "last"), [("descriptors", 20.0, 200.0), ("threads", 9.0, 700.0), ("pss_mib", 50.0, 90.0)]
)
def test_what_fills_up_to_what_the_live_generation_holds_is_no_pile(column: str, first: float, last: float) -> None:
    # A cache or a pool that the live generation has filled long ago.
    filling = used(**{column: lambda part: first + (last - first) * part})
    verdict = judged(filling, used(seed=2, **{column: lambda _: last}))
    assert verdict.outcome == j.PASS
    assert f"; the live generation holds {last:g}" in verdict.check(f"grows:{column}").sentence
    assert verdict.warnings == ()
    half = judged(filling, used(seed=2, **{column: lambda _: first + 0.3 * (last - first)}))
    assert half.outcome == j.FAIL


def in_flight(seconds: float) -> j.MemoryEvidence:
    """Threads and descriptors of an app whose requests take so long, at 9 a second: more until the first ends."""
    busy = 9.0 * seconds
    return used(
        threads=lambda part: 121.0 + busy * min(1.0, part * SECONDS / seconds),
        descriptors=lambda part: 81.0 + busy * min(1.0, part * SECONDS / seconds),
    )


def test_requests_that_are_still_filling_up_are_no_pile() -> None:
    slow = arm(latency_ms=[12_000.0] * int(SECONDS * RATE))
    verdict = j.judge(slow, None, LIMITS, in_flight(12.0))
    assert [check.outcome for check in verdict.checks if check.name.startswith("grows:")] == [j.PASS] * 3
    assert not [words for words in verdict.uncompared if words.startswith("growth")]


def test_what_piles_up_behind_slow_requests_is_caught() -> None:
    slow = arm(latency_ms=[12_000.0] * int(SECONDS * RATE))
    verdict = j.judge(slow, None, LIMITS, used(threads=lambda part: 9.0 + 700.0 * part))
    assert verdict.check("grows:threads").outcome == j.FAIL


@pytest.mark.parametrize("seconds", [16.0, 31.0])
def test_where_requests_take_most_of_the_load_it_is_said_that_piles_were_not_told(seconds: float) -> None:
    slow = arm(latency_ms=[1000.0 * seconds] * int(SECONDS * RATE))
    verdict = j.judge(slow, None, LIMITS, in_flight(seconds))
    assert not [check for check in verdict.checks if check.name.startswith("grows:")]
    assert (
        f"growth of threads (a request takes {seconds:g} s: the load is too short to tell a pile from them)"
        in verdict.uncompared
    )


def test_of_a_first_release_the_memory_that_grows_is_told_alone() -> None:
    growing = judged(used(pss_mib=lambda part: 50.0 + 40.0 * part), None)
    assert growing.outcome == j.PASS
    assert any("no live generation to tell a cache from a leak by" in words for words in growing.warnings)
    assert judged(used(descriptors=lambda part: 20.0 + 180.0 * part), None).outcome == j.FAIL


def test_a_load_that_was_stopped_tells_what_cpu_both_took() -> None:
    stopped = "the live generation suffered under the load, which was stopped after 4 s"
    verdict = j.judge_stopped(stopped, arm(), arm(2), LIMITS, used(0.0, idle=0.93), (), used(0.0, idle=0.06, seed=2))
    assert verdict.outcome == j.INCONCLUSIVE
    assert verdict.cause.endswith("; the candidate took 0.93 of a core meanwhile, the live generation 0.06")
    assert "of a core" not in j.judge_stopped(stopped, arm(), arm(2), LIMITS).cause


def test_what_fills_and_then_stays_is_no_pile() -> None:
    filled = used(threads=lambda part: 9.0 + 64 * min(1.0, 4 * part), pss_mib=lambda part: 50 + 30 * min(1.0, 3 * part))
    assert judged(filled, used(seed=2)).outcome == j.PASS


@pytest.mark.parametrize(
    ("each", "live", "outcome", "told"),
    [
        (1.0, 0.0005, "fail", 0),
        (0.022, 0.0005, "fail", 0),  # 50 a second of that are 1 MiB a second
        (0.018, 0.0005, "pass", 1),
        (0.018, None, "pass", 1),
        (1.0, None, "pass", 1),
        (1.0, 0.9, "pass", 0),
        (0.001, 0.00001, "pass", 0),
    ],
)
def test_what_is_written_for_each_request(each: float, live: float | None, outcome: str, told: int) -> None:
    old = used(written_mib=live, seed=2) if live is not None else None
    verdict = judged(used(written_mib=each), old)
    assert verdict.outcome == outcome
    assert sum("were written (log and files)" in words for words in verdict.warnings) == told


def test_a_release_that_writes_far_more_is_told_where_it_passes() -> None:
    verdict = judged(used(written_mib=0.018), used(written_mib=0.0005, seed=2))
    assert verdict.outcome == j.PASS
    told = "were written (log and files) for each request, "
    assert told in verdict.cause
    assert verdict.cause.endswith("see what it logs, and at which level")
    assert any(told in words for words in verdict.told)
    assert told not in judged(used(written_mib=0.018), used(written_mib=0.018, seed=2)).cause


def test_a_release_that_logs_by_itself_is_refused_though_a_request_writes_little() -> None:
    """10,000 lines a second are 0.8 MiB, and 27 KiB for each request of 30 a second."""
    verdict = judged(used(by_itself_mib=0.8), used(seed=2))
    assert verdict.outcome == j.FAIL
    assert not verdict.hard
    assert verdict.cause.startswith("while nobody asked it, the candidate wrote 8")
    assert "KiB a second (log and files), the live generation 0 KiB: something in it writes by itself" in verdict.cause
    assert judged(used(by_itself_mib=0.8), used(by_itself_mib=0.7, seed=2)).outcome == j.PASS
    assert judged(used(by_itself_mib=0.1), used(seed=2)).outcome == j.PASS
    assert judged(used(by_itself_mib=0.8), None).outcome == j.PASS
    beginning = used(by_itself_mib=0.8, begun=lambda part: 3.0 + (part > 0.95))
    assert judged(beginning, used(seed=2)).outcome == j.PASS


def test_identical_releases_are_never_told_apart_by_what_they_use() -> None:
    for seed in range(60):
        verdict = judged(used(5.0, noise=0.5, seed=seed), used(5.0, noise=0.5, seed=1000 + seed))
        assert verdict.outcome == j.PASS


def test_arms_that_were_loaded_in_turn_are_compared_in_their_own_times() -> None:
    halves = ((0.5, 15.5), (46.0, 61.0))
    samples = arm(loaded=halves)
    blocks = u.blocks(samples, 24)
    assert len(blocks) == 24
    assert sum(requests for _, _, requests in blocks) == samples.planned
    assert [blocks[place][0] for place in (0, 11, 12)] == pytest.approx([0.5, 14.25, 46.0])


def test_a_counter_that_fell_tells_nothing() -> None:
    use = u.Use({"second": [0.0, 1.0, 2.0], "cpu_seconds": [1.0, 3.0, 2.5]})
    assert use.grown("cpu_seconds", 0.0, 1.0) == 2.0
    assert use.grown("cpu_seconds", 0.0, 0.5) == 1.0
    assert use.grown("cpu_seconds", 1.0, 2.0) is None
    assert use.grown("cpu_seconds", 0.0, 3.0) is None
    assert use.grown("written_mib", 0.0, 1.0) is None


def test_what_was_used_is_plain_data() -> None:
    evidence = used()
    again = j.MemoryEvidence(**json.loads(json.dumps(evidence.to_dict())))
    assert u.Use(again.use).points("cpu_seconds") == u.Use(evidence.use).points("cpu_seconds")
    samples = arm()
    back = j.Samples.from_dict(json.loads(json.dumps(samples.to_dict())))
    assert (list(back.loaded), list(back.quiet)) == ([(0.5, 30.5)], [31.0, 33.0])

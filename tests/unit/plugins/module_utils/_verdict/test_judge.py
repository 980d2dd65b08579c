# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Verdicts: every outcome with its sentence, the retry, and error rates against simulated truth."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits, Load
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.shortfall import (
    load_shortfall,
    needed_requests,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge as j
from hypothesis import given, settings
from hypothesis import strategies as some


def held_to(**limits: Any) -> Limits:
    """Limits without one on memory, unless it is said."""
    return Limits(**{"memory_percent": None, **limits})


LIMITS = held_to(p95_ms=250.0, error_rate=0.01)
CALM = j.MemoryEvidence(peak_mib=100.0, source="cgroup v2 memory.peak", oom_kills=0, restarts=0, limit_mib=200.0)


def run(
    latencies: list[float], rate: float = 50.0, failures: int = 0, *, complete: bool = True, why: str = "", **more: Any
) -> j.Samples:
    """Samples due every 1/rate seconds; the last `failures` ones spread evenly over the run are failures."""
    latencies = list(latencies)
    for place in range(failures):
        latencies[place * len(latencies) // failures] = math.inf
    facts: dict[str, Any] = {
        "start_s": [index / rate for index in range(len(latencies))],
        "latency_ms": latencies,
        "status": [500 if math.isinf(latency) else 200 for latency in latencies],
        "planned": len(latencies),
        "period_s": 1 / rate,
        "failures": failures,
        "achieved_rate": rate,
        "planned_rate": rate,
        "complete": complete,
        "why": why,
    }
    return j.Samples(**{**facts, **more})


def usual(n: int = 1500, factor: float = 1.0, seed: int = 1, sigma: float = 0.4) -> list[float]:
    source = random.Random(seed)
    return [100 * factor * source.lognormvariate(0, sigma) for _ in range(n)]


def test_a_good_candidate_passes_and_says_by_how_much() -> None:
    verdict = j.judge(run(usual()), run(usual(seed=2)), LIMITS, CALM)
    assert verdict.outcome == "pass"
    assert verdict.cause.startswith("p95 is ")
    assert verdict.cause.endswith("0 of 1500 requests failed")
    assert not verdict.hard
    assert not verdict.warnings


def test_the_sentence_of_a_slow_candidate() -> None:
    source = random.Random(5)
    latencies = [source.lognormvariate(math.log(180), 0.35) for _ in range(750)]
    verdict = j.judge(run(latencies, rate=25, failures=3), None, LIMITS)
    assert verdict.outcome == "fail"
    assert verdict.cause == "p95 is 327 ms, limit 250: with 99 % confidence above 305; 3 of 750 requests failed"
    assert not verdict.hard  # it deserves its retry


@pytest.mark.parametrize(
    ("latencies", "outcome", "sentence"),
    [
        ([100.0] * 600, "pass", "p95 is 100 ms, limit 250: with 99 % confidence at most 100"),
        ([300.0] * 600, "fail", "p95 is 300 ms, limit 250: with 99 % confidence above 300"),
        (
            [100.0] * 568 + [300.0] * 32,
            "inconclusive",
            "p95 is 300 ms, limit 250: with 600 requests it lies between 100 and 300, too wide to tell",
        ),
    ],
)
def test_an_absolute_limit_is_passed_failed_or_open(latencies: list[float], outcome: str, sentence: str) -> None:
    random.Random(3).shuffle(latencies)
    check = j.judge(run(latencies), None, LIMITS).check("p95")
    assert (check.outcome, check.sentence) == (outcome, sentence)


@pytest.mark.parametrize(
    ("failures", "outcome", "sentence"),
    [
        (0, "pass", "0 of 1500 requests failed (0 %), limit 1 %: with 99 % confidence at most 0.353 %"),
        (
            12,
            "inconclusive",
            "12 of 1500 requests failed (0.8 %), limit 1 %: it lies between 0.33 and 1.6 %, too wide to tell",
        ),
        (75, "fail", "75 of 1500 requests failed (5 %), limit 1 %: with 99 % confidence above 3.66 %"),
    ],
)
def test_the_error_rate(failures: int, outcome: str, sentence: str) -> None:
    verdict = j.judge(run(usual(), failures=failures), None, held_to(error_rate=0.01))
    check = verdict.check("error_rate")
    assert (check.outcome, check.sentence) == (outcome, sentence)
    assert verdict.hard == (outcome == "fail")


def test_errors_are_limited_even_where_no_limit_is_given() -> None:
    assert j.judge(run(usual(), failures=75), None, held_to()).outcome == "fail"


@pytest.mark.parametrize(
    "candidate",
    [
        None,
        run([]),
        run([10.0] * 50),
        run([10.0] * 1500, complete=False, why="h2load printed no summary"),
        run([10.0] * 1500, achieved_rate=40.0),
        run([10.0] * 1500, planned=1600),
        run([math.inf] * 1500, failures=1500),
        run([math.inf] * 1500, failures=1500, complete=False, why="h2load was stopped"),
    ],
)
@pytest.mark.parametrize("baseline", [None, run([10.0] * 1500), run([math.inf] * 1500, failures=1500)])
def test_no_data_never_passes(candidate: j.Samples | None, baseline: j.Samples | None) -> None:
    verdict = j.judge(candidate, baseline, held_to(error_rate=0.01), CALM)
    assert verdict.outcome != "pass"
    assert j.decide(verdict) == "revert"


@pytest.mark.parametrize(
    ("candidate", "cause"),
    [
        (None, "no request was sent: nothing was measured, and what is not measured does not pass"),
        (
            run([10.0] * 1500, complete=False, why="h2load printed no summary"),
            "not a measurement: h2load printed no summary",
        ),
    ],
)
def test_the_cause_of_a_run_that_is_no_measurement(candidate: j.Samples | None, cause: str) -> None:
    assert j.judge(candidate, None, held_to(error_rate=0.01)).cause == cause


def test_a_run_that_is_no_measurement_names_the_reason() -> None:
    verdict = j.judge(run([10.0] * 1500, achieved_rate=40.0), None, held_to(error_rate=0.01))
    assert verdict.check("measurement").sentence == "not a measurement: the generator reached 40 of 50 a second"
    verdict = j.judge(run([10.0] * 50), None, held_to(error_rate=0.01))
    assert verdict.check("measurement").sentence == (
        "not a measurement: 50 requests are too few, 100 is the least. Lengthen load.seconds or raise load.rate"
    )


def test_proven_failures_fail_even_in_a_run_that_is_no_measurement() -> None:
    broken = run(usual(), failures=300, complete=False, why="h2load was stopped after its time limit")
    verdict = j.judge(broken, None, held_to(error_rate=0.01))
    assert (verdict.outcome, verdict.hard) == ("fail", True)


@pytest.mark.parametrize(
    ("memory", "outcome", "cause"),
    [
        (
            {"oom_kills": 1, "peak_mib": 199.5, "limit_mib": 200.0},
            "fail",
            "the kernel killed a process of the candidate for memory once; 0 of 1500 requests failed",
        ),
        (
            {"oom_kills": 1},
            "fail",
            "the kernel killed a process of the candidate for memory once (its unit never used more than 100 of its "
            "200 MiB, so that the memory above it was full: this host's, or that of a limit which cannot be seen from "
            "here, as a container's); 0 of 1500 requests failed",
        ),
        (
            {"oom_kills": 1, "source": "PSS of the processes"},
            "fail",
            "the kernel killed a process of the candidate for memory once; 0 of 1500 requests failed",
        ),
        ({"restarts": 2}, "fail", "2 workers of the candidate died under load; 0 of 1500 requests failed"),
        (
            {"peak_mib": 190.0},
            "fail",
            "memory peaked at 190 MiB, limit 180 (90 % of 200; cgroup v2 memory.peak); 0 of 1500 requests failed",
        ),
        (
            {"peak_mib": None},
            "inconclusive",
            "memory cannot be judged: the peak is not known (cgroup v2 memory.peak); 0 of 1500 requests failed",
        ),
        (
            {"oom_kills": None},
            "inconclusive",
            "it is not known whether the kernel killed a process for memory: the cgroup's count could not be read; "
            "0 of 1500 requests failed",
        ),
    ],
)
def test_memory(memory: dict[str, Any], outcome: str, cause: str) -> None:
    found = j.MemoryEvidence(**{**CALM.to_dict(), **memory})
    verdict = j.judge(run(usual()), None, held_to(error_rate=0.01, memory_percent=90), found)
    assert (verdict.outcome, verdict.cause) == (outcome, cause)
    assert verdict.hard == (outcome == "fail")


def test_a_memory_limit_without_a_measurement_does_not_pass() -> None:
    verdict = j.judge(run(usual()), None, held_to(memory_percent=90))
    assert verdict.outcome == "inconclusive"
    assert verdict.cause.startswith("memory was not measured although it has a limit (limits.memory_percent)")


@pytest.mark.parametrize(("margin", "outcome"), [(None, "pass"), (1.1, "fail")])
def test_more_memory_than_the_live_generation_is_said_or_fails(margin: float | None, outcome: str) -> None:
    new = j.MemoryEvidence(peak_mib=100, source="x", pss_mib=96.0)
    old = j.MemoryEvidence(peak_mib=100, source="x", pss_mib=80.0)
    policy = j.Thresholds(memory_margin=margin)
    verdict = j.judge(run(usual()), None, held_to(), new, policy, baseline_memory=old)
    assert verdict.outcome == outcome
    said = [*verdict.warnings, verdict.cause]
    assert any(text.startswith("memory grew from 80 to 96 MiB PSS (+20 %)") for text in said)


def test_a_slower_candidate_fails_against_the_live_generation() -> None:
    verdict = j.judge(run(usual(factor=1.5)), run(usual(seed=2)), held_to(error_rate=0.01))
    assert verdict.outcome == "fail"
    assert not verdict.hard
    assert verdict.cause.startswith("p50 is 152 ms against 99 ms of the live generation (+53 %): ")
    assert "requests took longer than 1.2 times its p50, where 750 are usual (p = " in verdict.cause
    check = verdict.check("p50_relative")
    assert check.bounds[0] is not None
    assert 1.3 < check.bounds[0] < 1.5


def test_a_difference_below_the_floor_does_not_count() -> None:
    quick, slower = [value / 100 for value in usual(seed=2)], [value / 100 for value in usual(factor=1.5)]
    verdict = j.judge(run(slower), run(quick), held_to(error_rate=0.01))
    assert verdict.outcome == "pass"
    assert verdict.check("p50_relative").sentence.endswith(": less than 5 ms more, which does not count")


def test_an_unproven_slowdown_is_inconclusive() -> None:
    verdict = j.judge(run(usual(factor=1.22, n=300, seed=4)), run(usual(seed=2, n=300)), held_to(error_rate=0.05))
    assert verdict.outcome == "inconclusive"
    assert "more than 1.2 times, but it may be chance (p = " in verdict.cause


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_a_sick_live_generation_is_no_yardstick_and_no_excuse(factor: float) -> None:
    sick = run(usual(seed=2), failures=300)
    healthy = j.judge(run(usual()), sick, LIMITS)
    assert healthy.outcome == "pass"
    assert healthy.warnings == (
        "300 of 1500 requests to the live generation failed: it is sick itself and no yardstick, "
        "so the candidate is held against the limits alone",
    )
    assert j.judge(run(usual(factor=3.0)), sick, LIMITS).outcome == "fail"
    assert j.judge(run(usual(), failures=300), sick, LIMITS).outcome == "fail"


def test_a_live_generation_that_was_not_measured_leaves_it_open() -> None:
    for unmeasured in (run([]), run(usual(), complete=False, why="h2load ended with code 1")):
        assert j.judge(run(usual()), unmeasured, LIMITS).outcome == "inconclusive"


def stalled(begin_s: float, length_s: float, rate: float = 50.0, seconds: float = 30.0) -> list[float]:
    """A server that stops for a while and then answers what waited."""
    found = []
    for index in range(int(rate * seconds)):
        due = index / rate
        wait = begin_s + length_s - due if begin_s <= due < begin_s + length_s else 0.0
        found.append(20.0 + 1000.0 * wait)
    return found


@pytest.mark.parametrize("rate", [50.0, 100.0])
@pytest.mark.parametrize("seconds", [10.0, 20.0, 30.0])
@pytest.mark.parametrize("live", [True, False])
def test_a_stall_of_a_second_is_always_seen(rate: float, seconds: float, live: bool) -> None:
    baseline = run([20.0] * int(rate * seconds), rate) if live else None
    limits = held_to(error_rate=0.05)
    verdict = j.judge(run(stalled(seconds / 2, 1.0, rate, seconds), rate), baseline, limits)
    assert verdict.outcome == "fail"
    assert verdict.check("stall").outcome == "fail"
    calm = j.judge(run([20.0] * int(rate * seconds), rate), baseline, limits)
    assert calm.outcome == "pass"
    assert j.combine(verdict, calm).outcome == "inconclusive"


@pytest.mark.parametrize(("live", "outcome"), [(False, "pass"), (True, "fail")])
def test_an_app_that_may_take_long_may_be_silent_as_long_where_nothing_shows_what_is_usual(
    live: bool, outcome: str
) -> None:
    baseline = run([50.0] * 1500) if live else None
    verdict = j.judge(run(stalled(10, 3.0)), baseline, held_to(error_rate=0.01, p99_ms=4000.0))
    assert verdict.check("stall").outcome == outcome


def test_a_stall_that_the_live_generation_shares_is_the_hosts() -> None:
    verdict = j.judge(run(stalled(10, 1.0)), run(stalled(10.1, 0.9)), held_to(error_rate=0.01))
    assert verdict.check("stall").outcome == "pass"
    assert verdict.check("stall").sentence.endswith("; the live generation stood still too (900 ms), so the host did")
    apart = j.judge(run(stalled(10, 1.0)), run(stalled(20, 1.0)), held_to(error_rate=0.01))
    assert apart.check("stall").outcome == "fail"


def test_slow_answers_are_no_standstill() -> None:
    source = random.Random(3)
    slow = [2000.0 + source.random() * 100 for _ in range(1500)]
    assert j.judge(run(slow), None, held_to(error_rate=0.01)).outcome == "pass"


@pytest.mark.parametrize(
    ("live_at", "turned", "outcome"),
    [(20.0, 10.0, "fail"), (25.0, 15.0, "pass"), (5.0, 15.0, "fail"), (10.0, 15.0, "pass")],
)
def test_a_stall_that_the_same_requests_made_of_the_live_generation_is_theirs(
    live_at: float, turned: float, outcome: str
) -> None:
    """The arms get the same requests half a run apart: requests that are slow by nature stop both of them in turn."""
    new = replace(run(stalled(10, 1.0)), run_s=30.0)
    live = replace(run(stalled(live_at, 0.9)), run_s=30.0, turned_s=turned)
    check = j.judge(new, live, held_to(error_rate=0.01)).check("stall")
    assert check.outcome == outcome
    if live_at == 25.0:
        assert check.sentence.endswith("; the same requests made the live generation stand still too (900 ms)")


def test_stalls_of_single_workers_show_as_many_slow_requests() -> None:
    latencies = [1000.0 if index % 50 == 0 else 20.0 for index in range(1500)]
    verdict = j.judge(run(latencies), run([20.0] * 1500), held_to(error_rate=0.01))
    assert verdict.cause.startswith(
        "30 of 1500 requests took 500 ms or more, against 0 of 1500 of the live generation (p = "
    )


def bursts(*at: float, slow: int = 12, rate: float = 50.0, seconds: float = 30.0) -> list[float]:
    """Latencies of a run in which so many of the requests of a second take 700 ms, from each of the seconds on."""
    latencies = [20.0] * int(rate * seconds)
    for second in at:
        first = int(second * rate)
        latencies[first : first + 2 * slow : 2] = [700.0] * slow
    return latencies


@pytest.mark.parametrize(
    ("mine", "theirs", "outcome"),
    [
        ((7.0,), (), "pass"),
        ((7.0, 15.0), (), "pass"),
        ((7.0, 15.0, 21.0), (), "inconclusive"),
        ((7.0, 15.0, 21.0), (7.2, 15.1, 21.3), "pass"),  # hardly any of them alone
        ((3.0, 7.0, 11.0, 15.0, 19.0, 23.0), (), "inconclusive"),
        ((3.0, 7.0, 11.0, 15.0, 19.0, 23.0, 27.0), (), "fail"),
        ((3.0, 7.0, 11.0, 15.0, 19.0, 23.0, 27.0), (5.0, 13.0), "inconclusive"),
    ],
)
def test_slow_requests_of_a_few_moments_may_be_the_hosts(
    mine: Sequence[float], theirs: Sequence[float], outcome: str
) -> None:
    """A neighbour who takes the core for a second hits whichever arm is to run then, and all that it was asked."""
    live = run(bursts(*theirs, slow=1) if mine[:1] == (3.0,) else bursts(*theirs))
    verdict = j.judge(run(bursts(*mine)), live, held_to(error_rate=0.01))
    assert verdict.outcome == outcome, verdict.cause
    assert verdict.check("stall").outcome == outcome
    if outcome == "inconclusive":
        assert "which may be chance (p = 0." in verdict.cause
        both = j.combine(verdict, j.judge(run(bursts()), run(bursts()), held_to(error_rate=0.01)))
        assert (both.outcome, "; seen once, not again in the second run: " in both.cause) == ("pass", True)
    elif outcome == "pass" and not theirs:
        assert any("which may be chance" in warning for warning in verdict.warnings)


def test_a_neighbour_who_takes_the_core_now_and_then_refuses_no_identical_release() -> None:
    source = random.Random(11)
    outcomes = []
    for _ in range(300):
        arms: list[list[float]] = [[], []]
        for second in (source.uniform(1, 28) for _ in range(source.randrange(5))):
            arms[source.randrange(2)].append(second)
        new, live = (run(bursts(*mine)) for mine in arms)
        outcomes.append(j.judge(new, live, held_to(error_rate=0.01)).check("stall").outcome)
    assert "fail" not in outcomes
    assert outcomes.count("inconclusive") < 30


def test_a_cold_start_is_not_judged_as_slowness() -> None:
    latencies = [400.0 if index < 200 else 100.0 for index in range(1500)]
    verdict = j.judge(run(latencies), run([100.0] * 1500), LIMITS)
    assert verdict.outcome == "pass"
    assert verdict.warnings == (
        "cold start: the first 5 s are not judged for latency (the median was 400 ms at first, 100 ms from 5 s on)",
    )


@pytest.mark.parametrize("limits", [LIMITS, held_to(error_rate=0.01)], ids=["a limit", "beside the live one"])
def test_the_numbers_of_a_run_are_those_that_were_judged(limits: Limits) -> None:
    """A cold start is in no latency: neither in the sentence, which the ledger keeps, nor in the report's number."""
    latencies = [400.0 if index < 200 else 100.0 + index % 50 for index in range(1500)]
    live = [300.0 if index < 200 else 100.0 + index % 40 for index in range(1500)]
    verdict = j.judge(run(latencies), run(live), limits)
    assert verdict.cold_seconds == pytest.approx(5.0, abs=0.01)
    facts = verdict.to_dict()["facts"]
    assert isinstance(facts, dict)
    candidate, baseline = facts["candidate"], facts["baseline"]
    assert verdict.cause.startswith(f"p95 is {candidate['p95_ms']:.0f} ms")
    assert f"against {baseline['p95_ms']:.0f} ms of the live generation" in verdict.check("p95_relative").sentence
    assert candidate["planned"] == 1500


def test_failures_in_a_cold_start_count() -> None:
    latencies = [math.inf if index < 100 else 400.0 if index < 200 else 100.0 for index in range(1500)]
    counted = j.Samples(**{**run(latencies).__dict__, "failures": 100})
    verdict = j.judge(counted, None, LIMITS)
    assert (verdict.outcome, verdict.hard) == ("fail", True)


@pytest.mark.parametrize(
    ("latencies", "sentence"),
    [
        (
            [100.0 + index / 5 for index in range(1500)],
            "the run never settled: the median rose from 212 ms to 362 ms and was still rising",
        ),
        (
            [400.0 if index < 700 else 100.0 for index in range(1500)],
            "the run never settled: the median was 400 ms at first and 100 ms only after 15 of 30 s. "
            "Raise load.warmup_requests",
        ),
    ],
)
def test_a_run_that_never_settles_says_so(latencies: list[float], sentence: str) -> None:
    verdict = j.judge(run(latencies), None, held_to(error_rate=0.01))
    assert verdict.outcome == "inconclusive"
    assert verdict.check("steady_state").sentence == sentence


def test_too_few_requests_for_a_limit_are_said() -> None:
    verdict = j.judge(run([100.0] * 500), None, held_to(p99_ms=250, error_rate=0.01))
    assert verdict.outcome == "inconclusive"
    assert verdict.warnings == (
        "500 requests cannot pass the limit on p99: that takes at least 528. Lengthen load.seconds or raise load.rate",
    )
    assert needed_requests(held_to(error_rate=0.001))[0] == 5296
    assert j.judge(run([100.0] * 528), None, held_to(p99_ms=250, error_rate=0.01)).outcome == "pass"


def verdict_of(outcome: str, *, hard: bool = False, stall: bool = False) -> j.Verdict:
    checks = (j.Check("stall", "fail", 1, 1, (None, None), "stood still"),) if stall else ()
    return j.Verdict(outcome, f"{outcome}s", checks, (), hard)


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (verdict_of("pass"), None, "pass"),
        (verdict_of("pass"), verdict_of("fail"), "pass"),
        (verdict_of("fail", hard=True), verdict_of("pass"), "fail"),
        (verdict_of("fail"), None, "fail"),
        (verdict_of("fail"), verdict_of("pass"), "pass"),
        (verdict_of("fail"), verdict_of("fail"), "fail"),
        (verdict_of("fail"), verdict_of("inconclusive"), "inconclusive"),
        (verdict_of("inconclusive"), verdict_of("pass"), "pass"),
        (verdict_of("inconclusive"), verdict_of("fail"), "fail"),
        (verdict_of("inconclusive"), verdict_of("inconclusive"), "inconclusive"),
        (verdict_of("fail", stall=True), verdict_of("pass"), "inconclusive"),
        (verdict_of("fail", stall=True), verdict_of("fail"), "fail"),
    ],
)
def test_the_retry(first: j.Verdict, second: j.Verdict | None, outcome: str) -> None:
    both = j.combine(first, second)
    assert both.outcome == outcome
    if both.attempts == 2:
        assert f"the first run said {first.outcome}: {first.cause}" in both.warnings
        once = both.cause.startswith("seen once, not again in the second run: ")
        assert (f"; the first run said {first.outcome}: " in both.cause) is (both.outcome != j.PASS and not once)


def test_a_cold_start_of_the_live_generation_alone_is_told_as_its_own() -> None:
    cold = [400.0 if place < 200 else latency for place, latency in enumerate(usual(seed=2))]
    verdict = j.judge(run(usual()), run(cold), held_to(), CALM)
    told = [words for words in verdict.warnings if words.startswith("cold start: ")]
    assert len(told) == 1
    assert "are not judged for latency (of the live generation the median was 400 ms at first, " in told[0]


@pytest.mark.parametrize(
    ("outcome", "policy", "action"),
    [
        ("pass", "revert", "promote"),
        ("fail", "promote", "revert"),
        ("inconclusive", "revert", "revert"),
        ("inconclusive", "promote", "promote"),
    ],
)
def test_what_follows(outcome: str, policy: str, action: str) -> None:
    assert j.decide(verdict_of(outcome), policy) == action


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="on_inconclusive is 'maybe'; allowed are revert and promote"):
        j.decide(verdict_of("pass"), "maybe")


ARM = some.builds(
    run,
    some.lists(some.one_of(some.floats(0, 1e7), some.just(math.inf)), max_size=300),
    some.floats(0.1, 1000),
)


@given(candidate=ARM, baseline=some.one_of(some.none(), ARM), p95=some.one_of(some.none(), some.floats(0, 1e6)))
@settings(max_examples=150, deadline=None)
def test_every_verdict_is_plain_json_and_says_something(
    candidate: j.Samples, baseline: j.Samples | None, p95: float | None
) -> None:
    candidate = j.Samples(**{**candidate.__dict__, "failures": sum(map(math.isinf, candidate.latency_ms))})
    verdict = j.judge(candidate, baseline, held_to(p95_ms=p95, error_rate=0.01), CALM)
    text = json.dumps(verdict.to_dict(), allow_nan=False)
    assert verdict.cause
    assert text
    assert all(check.sentence for check in verdict.checks)
    again = j.Samples.from_dict(json.loads(json.dumps(candidate.to_dict(), allow_nan=False)))
    assert j.judge(again, baseline, held_to(p95_ms=p95, error_rate=0.01), CALM).outcome == verdict.outcome


def outcomes(factor: float, times: int, n: int = 1500, sigma: float = 0.4) -> list[str]:
    """Verdicts after the retry, identical shape, candidate `factor` times slower; simulated truth with a fixed seed."""
    found = []
    for seed in range(times):

        def attempt(size: int, salt: int, seed: int = seed) -> j.Verdict:
            return j.judge(
                run(usual(size, factor, seed=10_000 + 4 * seed + salt, sigma=sigma)),
                run(usual(size, seed=50_000 + 4 * seed + salt, sigma=sigma)),
                held_to(error_rate=0.01),
            )

        first = attempt(n, 0)
        found.append((j.combine(first, attempt(2 * n, 1)) if j.needs_retry(first) else first).outcome)
    return found


def test_the_same_release_against_itself_passes() -> None:
    assert outcomes(1.0, 150).count("pass") == 150


@pytest.mark.parametrize(("factor", "least"), [(1.3, 0.95), (1.5, 1.0)])
def test_a_slowdown_is_caught(factor: float, least: float) -> None:
    found = outcomes(factor, 60)
    assert 1 - found.count("pass") / len(found) >= least


def test_many_hosts_are_judged_more_strictly() -> None:
    few, many = j.Thresholds(), j.Thresholds(comparisons=50)
    assert many.level == pytest.approx(few.level / 50)
    assert (few.confidence, many.confidence) == ("99 %", "99.98 %")


@pytest.mark.parametrize(
    ("rate", "seconds", "limits", "expected"),
    [
        (50.0, 30.0, held_to(), None),
        (None, 30.0, held_to(error_rate=0.0001), None),
        (52.8, 10.0, held_to(), None),
        (
            50.0,
            10.0,
            held_to(),
            "load.rate 50 for load.seconds 10 are 500 requests, and the limit of 1 % on errors takes at least 528: "
            "every first run is inconclusive and takes its retry, twice as long. Set load.seconds to 11 or more, or "
            "load.rate to 53 or more",
        ),
        (
            5.0,
            30.0,
            held_to(error_rate=0.05, p99_ms=400.0),
            "load.rate 5 for load.seconds 30 are 150 requests, and the limit on p99 takes at least 528: no verdict can "
            "pass. Set load.seconds to 106 or more, or load.rate to 18 or more",
        ),
        (
            2.0,
            30.0,
            held_to(error_rate=0.2),
            "load.rate 2 for load.seconds 30 are 60 requests, and a verdict of any kind takes at "
            "least 100: every first run is inconclusive and takes its retry, twice as long. Set load.seconds to 50 or "
            "more, or load.rate to 4 or more",
        ),
    ],
)
def test_a_load_that_is_too_little_is_known_before(
    rate: float | None, seconds: float, limits: Limits, expected: str | None
) -> None:
    found = load_shortfall(Load(rate=rate, seconds=seconds), limits)
    assert (found.sentence if found else None) == expected
    if found:
        assert found.hopeless is ("no verdict" in found.sentence)


def test_failures_that_the_live_generation_has_too_are_looked_at_again() -> None:
    sick = run([20.0] * 1500, failures=900)
    alone = j.judge(sick, run([20.0] * 1500), held_to(error_rate=0.01), CALM)
    both = j.judge(sick, sick, held_to(error_rate=0.01), CALM)
    assert (alone.outcome, alone.hard, j.needs_retry(alone)) == ("fail", True, False)
    assert (both.outcome, both.hard, j.needs_retry(both)) == ("fail", False, True)
    # the retry excuses nothing: when it fails as well, it is a fail
    assert j.combine(both, both).outcome == "fail"
    dead = j.MemoryEvidence(peak_mib=100.0, source="x", oom_kills=0, restarts=1, limit_mib=200.0)
    assert j.judge(sick, sick, held_to(error_rate=0.01), dead).hard


def test_what_was_not_measured_is_never_promoted() -> None:
    check = j.Check("measurement", "inconclusive", 200, None, (None, None), "not a measurement: too few rows")
    verdict = j.Verdict("inconclusive", "not a measurement: too few rows", (check,))
    assert j.decide(verdict, "promote") == "revert"
    assert j.words_of_revert(verdict) == "inconclusive, so what is live stays: not a measurement: too few rows"
    assert j.words_of_revert(verdict, "promote") == (
        "inconclusive, so what is live stays, and on_inconclusive: promote does not hold, which is for a load that is "
        "a measurement, and this one is none: not a measurement: too few rows"
    )
    told = j.words_of_revert(replace(verdict, cause="p95 is open"), "promote")
    assert told.endswith("this one is none: p95 is open; not a measurement: too few rows")
    assert j.words_of_revert(replace(verdict, outcome="fail", cause="p95 is 400 ms"), "promote") == "p95 is 400 ms"


def test_both_failed_is_said_and_how() -> None:
    new = replace(run([20.0] * 1200, failures=820), kinds={"timed out": 700, "answered 503": 120})
    old = replace(run([20.0] * 1200, failures=775), kinds={"reset, refused or cut short": 775})
    verdict = j.judge(new, old, held_to(error_rate=0.01), CALM)
    assert verdict.outcome == "fail"
    assert "820 of 1200 requests failed (68.3 %), limit 1 % (700 timed out, 120 answered 503)" in verdict.cause
    assert verdict.cause.endswith(
        "of the live generation, under the same load, 775 of 1200 failed too (775 reset, refused or cut short)"
    )
    broken = j.judge(replace(new, complete=False, why="h2load was stopped"), old, held_to(error_rate=0.01), CALM)
    assert "of the live generation, under the same load, 775 of 1200 failed too" in broken.cause


def test_a_stopped_load_says_nothing_of_the_candidate_but_what_it_did_to_itself() -> None:
    bad = replace(run([20.0] * 100, failures=60), kinds={"got no answer": 60})
    told = "the live generation suffered"
    verdict = j.judge_stopped(told, bad, bad, held_to(error_rate=0.01), CALM)
    assert (verdict.outcome, verdict.hard, verdict.stopped) == ("inconclusive", False, True)
    assert verdict.cause == (
        "the live generation suffered; 60 of 100 requests to the candidate failed (60 got no answer) and "
        "60 of 100 requests to the live generation failed (60 got no answer)"
    )
    assert not j.needs_retry(verdict)
    assert j.decide(verdict, "promote") == "revert"
    dead = j.MemoryEvidence(peak_mib=100.0, source="x", oom_kills=2, restarts=0, limit_mib=200.0)
    verdict = j.judge_stopped(told, bad, None, held_to(error_rate=0.01), dead)
    assert (verdict.outcome, verdict.hard) == ("fail", True)
    assert verdict.cause.startswith("the kernel killed a process of the candidate for memory 2 times; the live gen")


def test_where_the_retry_was_stopped_the_cause_tells_what_the_first_run_said() -> None:
    first = j.Verdict(j.FAIL, "all 2 requests of GET /e answered 500", (), ())
    second = j.Verdict(j.INCONCLUSIVE, "the live generation suffered", (), (), stopped=True)
    found = j.combine(first, second)
    assert found.cause == (
        "the live generation suffered; the first run said fail: all 2 requests of GET /e answered 500"
    )
    assert (found.outcome, found.stopped, found.attempts) == (j.INCONCLUSIVE, True, 2)

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Each path of the load has a verdict of its own: what is caught, in which words, and how often it is wrong."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge as j
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.failed import failures_by_path, told_failures
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.pathchecks import confirmed

NAMES = ["GET /", "GET /b", "POST /c", "GET /d", "GET /e"]
LIMITS = Limits(memory_percent=None)


def samples(paths: Sequence[Sequence[tuple[float, int]]], rate: float = 50.0, **more: object) -> j.Samples:
    """(ms, status) of each request of each path, which are mixed evenly; a status other than 200 failed."""
    due = sorted(
        ((place + 0.5) / len(mine), index, latency if status == 200 else math.inf, status)
        for index, mine in enumerate(paths)
        for place, (latency, status) in enumerate(mine)
    )
    return replace(
        j.Samples(
            start_s=[number / rate for number in range(len(due))],
            latency_ms=[latency for _, _, latency, _ in due],
            status=[status for _, _, _, status in due],
            planned=len(due),
            period_s=1 / rate,
            failures=sum(math.isinf(latency) for _, _, latency, _ in due),
            achieved_rate=rate,
            planned_rate=rate,
            path=[index for _, index, _, _ in due],
        ),
        **more,
    )


def mixed(failing: Mapping[int, tuple[int, int]] = {}, seed: int = 1, total: int = 750) -> j.Samples:
    """Five paths, the last of which is 0.25 % of the load. failing: {path: (requests that fail, status)}."""
    source = random.Random(seed)
    last = max(2, round(0.0025 * total))
    counts = [(total - last) // 4] * 4 + [last]
    paths = []
    for index, count in enumerate(counts):
        failed, status = failing.get(index, (0, 500))
        latencies = [20.0 * source.lognormvariate(0, 0.4) for _ in range(count)]
        paths.append([(latency, status if place < failed else 200) for place, latency in enumerate(latencies)])
    return samples(paths)


def judged(candidate: j.Samples, live: j.Samples | None = None, names: Sequence[str] = NAMES) -> j.Verdict:
    return j.judge(candidate, live, LIMITS, names=names)


def test_a_path_of_two_requests_that_fails_once_more_when_it_is_asked_again_is_a_fail() -> None:
    failing, limits = mixed({2: (0, 500), 4: (2, 500)}), replace(LIMITS, error_rate=0.05)
    verdict = j.judge(failing, mixed(seed=2), limits, names=NAMES)
    assert verdict.outcome == j.INCONCLUSIVE
    assert confirmed(verdict, failing, NAMES, [], 0.05) == verdict
    assert confirmed(verdict, failing, NAMES, ["POST /c"], 0.05) == verdict
    found = confirmed(verdict, failing, NAMES, ["GET /e"], 0.05)
    assert found.outcome == j.FAIL
    assert found.cause.startswith("all 2 requests of GET /e answered 500, and so did one more, limit 5 %; ")
    assert confirmed(verdict, failing, NAMES, ["GET /e"], 0.5) == verdict  # three of three may be chance
    stopped = replace(verdict, stopped=True)
    assert confirmed(stopped, failing, NAMES, ["GET /e"], 0.05) == stopped


def test_a_path_that_always_fails_is_caught_at_a_quarter_of_a_percent_of_the_load() -> None:
    verdict = judged(mixed({4: (2, 500)}), mixed(seed=2))
    assert verdict.check("error_rate").outcome != j.FAIL
    assert verdict.outcome == j.FAIL
    assert verdict.cause.startswith(
        "all 2 requests of GET /e answered 500, limit 1 %: with 99 % confidence more than 3.16 % of its requests fail"
    )
    assert not verdict.hard  # two requests may have met one bad second


def test_many_failures_of_a_path_need_no_retry() -> None:
    verdict = judged(samples([[(20.0, 200)] * 2000, [(20.0, 200)] * 100 + [(20.0, 405)] * 9]), names=NAMES[1:3])
    assert (verdict.outcome, verdict.hard) == (j.FAIL, True)
    assert verdict.cause.startswith("9 of 109 requests of POST /c answered 405, limit 1 %: with 99 % confidence more ")


def test_a_path_with_no_good_answer_never_passes() -> None:
    only = samples([[(20.0, 200)] * 1000, [(20.0, 503)]])
    verdict = judged(only, names=["GET /", "GET /rare"])
    assert verdict.outcome == j.INCONCLUSIVE
    assert verdict.cause.startswith(
        "the only request of GET /rare answered 503, limit 1 %: too few requests of this path to tell"
    )


def test_a_path_that_the_live_generation_fails_as_well_is_told_and_decides_nothing() -> None:
    verdict = judged(mixed({4: (4, 500)}, total=1600), mixed({4: (4, 500)}, seed=2, total=1600))
    assert verdict.outcome == j.PASS
    assert [words for words in verdict.warnings if "GET /e" in words and "no worse" in words]
    worse = judged(mixed({4: (2, 500), 1: (20, 500)}), mixed({4: (2, 500)}, seed=2))
    assert worse.outcome == j.FAIL
    assert "GET /b: 20 of 187 answered 500" in worse.cause


def test_one_failed_request_of_a_path_is_no_verdict() -> None:
    verdict = judged(mixed({0: (1, 500)}), mixed(seed=2))
    assert verdict.outcome == j.PASS
    assert verdict.check("error_rate:GET /").sentence == "1 of 187 requests of GET / answered 500, limit 1 %"


def test_a_path_that_was_never_asked_is_named() -> None:
    verdict = judged(mixed(), mixed(seed=2), names=[*NAMES, "GET /never"])
    assert verdict.outcome == j.PASS
    assert verdict.uncompared[0] == "GET /never (never asked: too small a weight)"
    assert "; not compared: GET /never (never asked: too small a weight)" in verdict.cause
    assert json.loads(json.dumps(verdict.to_dict()))["uncompared"]


def test_of_a_load_that_was_ended_nothing_is_said_that_is_true_of_a_whole_one_alone() -> None:
    """Its path was not too rare, and its requests would have been enough."""
    cut = samples([[(20.0, 500)] * 10, [(20.0, 200)] * 8], whole=False)
    verdict = judged(cut, names=["GET /", "GET /b", "GET /rare"])
    assert verdict.outcome == j.FAIL
    assert "not a measurement: 18 requests are too few, 100 is the least. The load was ended before that" in (
        verdict.check("measurement").sentence
    )
    longer = samples([[(20.0, 500)] * 100, [(20.0, 200)] * 8], whole=False)
    verdict = judged(longer, samples([[(20.0, 200)] * 100, [(20.0, 200)] * 8]), ["GET /", "GET /b", "GET /rare"])
    assert verdict.uncompared == (
        "GET /rare (not asked before the load was ended)",
        "the latency of GET /b (8), with fewer than 20 requests each before the load was ended",
    )
    assert not [words for words in verdict.warnings if "Lengthen" in words]
    assert [words for words in judged(replace(longer, whole=True)).warnings if "Lengthen load.seconds" in words]
    said = json.dumps(verdict.to_dict())
    for untrue in ("never asked", "too small a weight", "Lengthen", "Raise load.warmup", "never settled"):
        assert untrue not in said


def test_a_load_that_was_ended_while_it_got_slower_is_not_said_to_have_never_settled() -> None:
    slow = [(10.0 + 3.0 * place, 200) for place in range(300)]
    warming = [(200.0 if place < 150 else 20.0, 200) for place in range(300)]
    for latencies in (slow, warming):
        whole = judged(samples([latencies]), names=["GET /"]).check("steady_state")
        cut = judged(samples([latencies], whole=False), names=["GET /"]).check("steady_state")
        assert whole.sentence.startswith("the run never settled: ")
        assert whole.outcome == cut.outcome == j.INCONCLUSIVE
        assert cut.sentence.startswith("the median ")
        assert cut.sentence.endswith("when the load was ended")


def test_what_has_too_few_requests_for_its_latency_is_named() -> None:
    verdict = judged(mixed(), mixed(seed=2))
    assert verdict.uncompared == ("the latency of GET /e (2), with fewer than 20 requests each",)
    assert verdict.cause.endswith("; not compared: the latency of GET /e (2), with fewer than 20 requests each")


def test_the_ways_of_each_path_are_told_in_the_order_of_their_number() -> None:
    failed = samples([[(1.0, 200)] * 90 + [(1.0, 500)] * 6 + [(1.0, 0)] * 4, [(1.0, 404)] * 20, [(1.0, 200)] * 9])
    failed = replace(
        failed, kinds={"answered 500": 6}, path_kinds=[{"answered 500": 6, "timed out": 4}, {"answered 404": 20}, {}]
    )
    names = ["GET /", "POST /b", "GET /c"]
    assert told_failures(failed, names) == (
        " (POST /b: 20 of 20 answered 404; GET /: 10 of 100 failed (6 answered 500, 4 timed out))"
    )
    assert [one.failures for one in failures_by_path(failed, names)] == [10, 20, 0]
    assert told_failures(replace(failed, path_kinds=()), names[:1]) == (
        " (GET /: 10 of 100 failed (6 answered 500, 4 got no answer))"
    )
    assert told_failures(replace(failed, path=()), names) == " (6 answered 500)"
    again = j.Samples.from_dict(json.loads(json.dumps(failed.to_dict())))
    assert told_failures(again, names) == told_failures(failed, names)


def test_many_failing_paths_are_counted_together() -> None:
    failed = samples([[(1.0, 500)] * (10 - index) for index in range(5)])
    assert told_failures(failed, NAMES) == (
        " (GET /: 10 of 10 answered 500; GET /b: 9 of 9 answered 500; POST /c: 8 of 8 answered 500; 2 other paths: 13)"
    )


def slow_one(factor: float, seed: int, counts: Sequence[int] = (600, 600, 150, 130, 20)) -> j.Samples:
    """Five paths, of which the third is slower by a factor."""
    source = random.Random(seed)
    scale = [20.0, 40.0, 60.0 * factor, 30.0, 300.0]
    return samples(
        [[(scale[index] * source.lognormvariate(0, 0.4), 200) for _ in range(n)] for index, n in enumerate(counts)]
    )


def test_one_path_that_became_slower_is_caught_where_all_together_hide_it() -> None:
    verdict = judged(slow_one(2.0, 1), slow_one(1.0, 2))
    assert verdict.check("p50_relative").outcome == j.PASS
    assert verdict.check("p50_relative:POST /c").outcome == j.FAIL
    assert verdict.outcome == j.FAIL
    assert not verdict.hard
    sentence = verdict.check("p50_relative:POST /c").sentence
    assert sentence.startswith("p50 of POST /c is 1")
    assert "150 requests took longer than 1.2 times its p50, where 75 are usual (p = " in sentence


def test_without_a_comparison_no_path_is_compared() -> None:
    policy = j.Thresholds(relative=())
    verdict = j.judge(slow_one(2.0, 1), slow_one(1.0, 2), LIMITS, policy=policy, names=NAMES)
    assert verdict.outcome == j.PASS
    assert not [check for check in verdict.checks if check.name.startswith("p50_relative")]


# -- how often it is wrong: simulated, with seeds of their own ---------------------------------------------------------


def drawn(rates: Sequence[float], counts: Sequence[int], source: random.Random) -> j.Samples:
    """Requests that fail by chance, each path at its own rate."""
    return samples(
        [
            [(20.0 * source.lognormvariate(0, 0.4), 500 if source.random() < rate else 200) for _ in range(count)]
            for rate, count in zip(rates, counts)
        ]
    )


@pytest.mark.parametrize(("rate", "most_open"), [(0.01, 0.10), (0.001, 0.02)])
def test_a_path_within_the_limit_is_hardly_ever_failed(rate: float, most_open: float) -> None:
    source, trials = random.Random(11), 400
    outcomes = [
        [check.outcome for check in judged(drawn([rate] * 5, (300, 200, 150, 80, 20), source)).checks if check.name in
         {f"error_rate:{name}" for name in NAMES}]
        for _ in range(trials)
    ]  # fmt: skip
    assert sum(j.FAIL in outcome for outcome in outcomes) <= 0.01 * trials  # the level is 0.005 over all paths
    assert sum(j.INCONCLUSIVE in outcome for outcome in outcomes) <= most_open * trials


def test_identical_releases_are_hardly_ever_told_apart_by_path() -> None:
    wrong, unsure, trials = 0, 0, 150
    for seed in range(trials):
        verdict = judged(slow_one(1.0, 2 * seed), slow_one(1.0, 2 * seed + 1))
        outcomes = {check.outcome for check in verdict.checks if ":" in check.name}
        wrong += j.FAIL in outcomes
        unsure += j.INCONCLUSIVE in outcomes
    assert wrong == 0
    assert unsure <= 0.05 * trials


def test_a_path_slower_by_half_is_mostly_caught() -> None:
    caught = sum(judged(slow_one(1.5, 2 * seed), slow_one(1.0, 2 * seed + 1)).outcome != j.PASS for seed in range(40))
    assert caught >= 36


GOOD, WRONG, NONE = (20.0, 200), (20.0, 500), (20.0, 0)


def test_what_the_candidate_alone_answers_wrongly_is_told_first_though_the_live_one_suffered() -> None:
    new = samples([[GOOD] * 20 + [NONE] * 4, [WRONG] * 23])
    old = samples([[GOOD] * 21 + [NONE] * 3, [GOOD] * 20 + [NONE] * 3])
    told = "the live generation suffered, so that nothing is said of how fast the candidate is"
    verdict = j.judge_stopped(told, new, old, LIMITS, path_names=["GET /", "GET /b"])
    assert verdict.cause.startswith(f"GET /b: 23 of 23 answered 500, 0 of 23 of the live generation's; {told}; ")
    assert verdict.outcome == j.INCONCLUSIVE


def test_a_new_page_that_is_answered_wrongly_is_told_first_whatever_else_is_inconclusive() -> None:
    new, old = samples([[GOOD] * 20 + [NONE] * 4, [WRONG] * 9]), samples([[GOOD] * 21 + [NONE] * 3, []])
    names = ["GET /", "GET /new"]
    stopped = j.judge_stopped("it suffered", new, old, LIMITS, path_names=names)
    assert stopped.cause.startswith("GET /new: 9 of 9 answered 500; it suffered; ")
    short = samples([[GOOD] * 40, [WRONG] * 2])
    verdict = j.judge(short, samples([[GOOD] * 40, []]), LIMITS, names=names)
    assert verdict.outcome == j.INCONCLUSIVE
    assert verdict.cause.startswith("GET /new: 2 of 2 answered 500; not a measurement: 42 requests are too few")
    first = j.judge(short, None, LIMITS, names=names)
    assert first.cause.startswith("GET /new: 2 of 2 answered 500; not a measurement: ")


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ([WRONG] * 23, [WRONG] * 20 + [GOOD] * 3),  # both do
        ([NONE] * 23, [GOOD] * 23),  # nothing was answered: the machine may have been too busy
        ([WRONG] * 2, [GOOD] * 2),  # too few to be sure
        ([WRONG] * 23, []),  # the live one was not asked
    ],
)
def test_what_may_be_the_machine_is_not_told_as_the_candidates_own(
    new: Sequence[tuple[float, int]], old: Sequence[tuple[float, int]]
) -> None:
    verdict = j.judge_stopped("it suffered", samples([new]), samples([old]), LIMITS, path_names=["GET /"])
    assert verdict.cause.startswith("it suffered; ")

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a verdict tells and does not decide: the size of answers, and a candidate's first requests."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict import judge as j
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.toldchecks import fewer_bytes_of, in_bytes

LIMITS = Limits(memory_percent=None)
NAMES = ["GET /", "GET /a", "GET /rare"]
SECONDS, RATE = 30.0, 30.0
COUNT = int(SECONDS * RATE)
Size = Callable[[random.Random], float]
Slower = Callable[[int], float]
"""ms more of the n-th request, from the warm-up's first on."""


def arm(seed: int = 1, more: Slower = lambda _: 0.0, warm: int = 200, sigma: float = 0.3) -> j.Samples:
    """A run after a warm-up of so many requests; the second path takes 300 ms by nature."""
    source = random.Random(seed)
    paths = [int(source.random() < 0.25) for _ in range(warm + COUNT)]
    took = [(300 if path else 25) * source.lognormvariate(0, sigma) + more(n) for n, path in enumerate(paths)]
    return j.Samples(
        start_s=sorted(source.uniform(0, SECONDS) for _ in range(COUNT)),
        latency_ms=took[warm:],
        status=[200] * COUNT,
        path=paths[warm:],
        planned=COUNT,
        period_s=1 / RATE,
        failures=0,
        achieved_rate=RATE,
        planned_rate=RATE,
        loaded=[(0.0, SECONDS)],
        before=list(zip(took, paths))[:warm],
    )


def sized(samples: j.Samples, *sizes: Size, seed: int = 1, processes: int = 12, each: int = 10) -> j.Samples:
    """The same with answers of so many bytes by path."""
    source = random.Random(seed)
    return replace(
        samples,
        sizes=[
            (path, each, round(sum(size(source) for _ in range(each))))
            for path, size in enumerate(sizes)
            for _ in range(processes)
        ],
    )


def of(count: float) -> Size:
    return lambda _: count


def judged(new: j.Samples, old: j.Samples | None) -> j.Verdict:
    return j.judge(new, old, LIMITS, names=NAMES)


def told(verdict: j.Verdict, question: str) -> list[str]:
    return [check.sentence for check in verdict.checks if check.question == question]


def test_answers_that_became_many_times_larger_are_told_and_decide_nothing() -> None:
    verdict = judged(sized(arm(), of(3e6), of(2e6)), sized(arm(2), of(2000), of(220)))
    said = "answers of GET / have 3 MB, of the live generation 2 kB; those of 1 other path changed as well"
    assert verdict.outcome == j.PASS
    assert told(verdict, "answer_size") == [said]
    assert said in verdict.warnings
    assert f"; {said}" in verdict.cause
    assert verdict.told == (said,)
    assert verdict.to_dict()["told"] == [said]
    one = judged(sized(arm(), of(2000), of(400_000)), sized(arm(2), of(2000), of(100_000)))
    assert told(one, "answer_size") == ["answers of GET /a have 400 kB, of the live generation 100 kB"]


def test_an_error_page_or_none_with_the_status_200_is_told_by_its_size() -> None:
    page = judged(sized(arm(), of(42)), sized(arm(2), of(220)))
    assert told(page, "answer_size") == ["answers of GET / have 42 bytes, of the live generation 220 bytes"]
    assert page.outcome == j.PASS
    assert "have 0 bytes, of" in judged(sized(arm(), of(0)), sized(arm(2), of(220))).cause


def test_what_is_slow_for_its_size_is_told_its_size_too() -> None:
    slow = sized(arm(more=lambda _: 60.0), of(3e6), of(220))
    verdict = judged(slow, sized(arm(2), of(220), of(220)))
    assert verdict.outcome == j.FAIL
    assert "; answers of GET / have 3 MB, of the live generation 220 bytes" in verdict.cause
    broken = replace(slow, latency_ms=[float("inf")] * COUNT, status=[500] * COUNT, failures=COUNT)
    assert "answers of" not in judged(broken, sized(arm(2), of(220), of(220))).cause


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (of(220), of(220)),
        (of(5000), of(2500)),
        (of(40_000), of(2000)),  # many times as large, and little all the same
        (of(280_000), of(100_000)),
        (of(8), of(60)),
        (lambda source: 1000 * 1000 ** source.random(), lambda source: 1000 * 1000 ** source.random()),
        (lambda source: source.lognormvariate(8, 2.5), lambda source: source.lognormvariate(8, 2.5)),
        (lambda source: 5e6 if source.random() < 0.02 else 500, lambda source: 5e6 if source.random() < 0.02 else 500),
    ],
)
def test_sizes_that_differ_by_nature_or_a_little_are_not_told(new: Size, old: Size) -> None:
    for seed in range(200):
        verdict = judged(sized(arm(), new, seed=seed), sized(arm(2), old, seed=1000 + seed))
        assert told(verdict, "answer_size") == []


PROCESSES = [(9, 11), (6, 14), (1, 23), (3, 17), (2, 2, 25)]
"""How many answers the few processes get that ask a path of a small weight."""


def rare(samples: j.Samples, size: Size, counts: Sequence[int], seed: int = 1) -> j.Samples:
    source = random.Random(seed)
    return replace(samples, sizes=[(2, each, round(sum(size(source) for _ in range(each)))) for each in counts])


@pytest.mark.parametrize("counts", PROCESSES)
def test_a_path_whose_answers_are_alike_tells_its_size_by_a_few_of_them(counts: Sequence[int]) -> None:
    def page(source: random.Random) -> float:
        return 38_800 + source.choice((-40, 0, 25))

    verdict = judged(rare(arm(), of(5), counts), rare(arm(2), page, counts))
    assert told(verdict, "answer_size") == ["answers of GET /rare have 5 bytes, of the live generation 38.8 kB"]
    grown = judged(rare(arm(), of(3e6), counts), rare(arm(2), page, counts))
    assert told(grown, "answer_size") == ["answers of GET /rare have 3 MB, of the live generation 38.8 kB"]
    assert told(judged(rare(arm(), page, counts), rare(arm(2), page, counts)), "answer_size") == []
    few = judged(rare(arm(), of(5), (2, 3)), rare(arm(2), page, (2, 3)))
    assert told(few, "answer_size") == []


@pytest.mark.parametrize(
    "size",
    [
        lambda source: 1000 * 1000 ** source.random(),
        lambda source: source.lognormvariate(8, 2.5),
        lambda source: 5e6 if source.random() < 0.02 else 500,
        lambda source: 5e6 if source.random() < 0.1 else 500,
        lambda source: source.choice((500, 200_000)),
    ],
)
def test_a_few_answers_of_many_sizes_tell_nothing(size: Size) -> None:
    live, candidate = arm(2), arm()
    wrong = 0
    for seed in range(400):
        counts = PROCESSES[seed % len(PROCESSES)]
        verdict = judged(rare(candidate, size, counts, seed), rare(live, size, counts, 1000 + seed))
        wrong += len(told(verdict, "answer_size"))
    assert wrong <= 1


def test_few_answers_tell_no_size_and_very_many_do_by_one_process() -> None:
    few = judged(sized(arm(), of(3e6), processes=1), sized(arm(2), of(220), processes=1))
    assert told(few, "answer_size") == []
    many = judged(sized(arm(), of(3e6), processes=1, each=1000), sized(arm(2), of(220), processes=1, each=1000))
    assert told(many, "answer_size") != []
    assert told(judged(sized(arm(), of(3e6)), arm(2)), "answer_size") == []
    assert told(judged(sized(arm(), of(3e6)), None), "answer_size") == []


def test_the_size_of_a_sick_live_generation_is_none_to_compare_with() -> None:
    sick = replace(sized(arm(2), of(10)), failures=200, latency_ms=[float("inf")] * 200 + [25.0] * (COUNT - 200))
    assert told(judged(sized(arm(), of(3e6)), sick), "answer_size") == []


def halved(source: random.Random) -> float:
    """A page that is empty every other time."""
    return 18_900.0 * (source.random() < 0.5)


def dynamic(source: random.Random) -> float:
    """A page whose size changes a little."""
    return 18_900.0 * source.uniform(0.98, 1.02)


@pytest.mark.parametrize(
    ("new", "old", "found"),
    [
        (halved, of(18_900), ["GET /a"]),
        (halved, dynamic, ["GET /a"]),
        (of(18_900), of(18_900), []),
        (dynamic, dynamic, []),
        (halved, halved, []),
        (of(18_850), of(18_900), []),  # a line less
        (of(30_000), of(18_900), []),
    ],
)
def test_a_page_that_is_empty_now_and_then_is_found_and_not_told(new: Size, old: Size, found: list[str]) -> None:
    same = of(500)
    verdict = j.judge(sized(arm(), same, new, same), sized(arm(2), same, old, same, seed=2), LIMITS, names=NAMES)
    assert fewer_bytes_of(verdict.checks) == found
    assert (verdict.outcome, verdict.told) == ("pass", ())
    assert "GET /a" not in verdict.cause


def test_pages_of_many_sizes_are_seldom_asked_again() -> None:
    def spread(source: random.Random) -> float:
        return 1000.0 * source.lognormvariate(0, 1.5)

    often = 0
    for seed in range(60):
        new = sized(arm(), spread, spread, spread, seed=2 * seed)
        old = sized(arm(2), spread, spread, spread, seed=2 * seed + 1)
        often += len(fewer_bytes_of(j.judge(new, old, LIMITS, names=NAMES).checks))
    assert often <= 0.05 * 60 * len(NAMES) + 9  # so often by chance, at FEWER_LEVEL


def test_sizes_are_told_as_people_read_them() -> None:
    assert [in_bytes(count) for count in (0, 42, 2000, 99_500, 3e6)] == [
        "0 bytes",
        "42 bytes",
        "2 kB",
        "99.5 kB",
        "3 MB",
    ]


def test_a_cold_start_that_the_warm_up_hides_is_told_and_decides_nothing() -> None:
    cold = arm(more=lambda n: 100.0 if n < 120 else 0.0)
    verdict = judged(cold, arm(2))
    assert verdict.outcome == j.PASS
    assert verdict.cold_seconds == 0.0
    (said,) = told(verdict, "cold_requests")
    assert said.startswith("cold start: the candidate's first 120 requests took ")
    assert 90 < float(said.split(" took ")[1].split()[0]) < 110
    assert " ms longer than its later ones (as many of the live generation " in said
    assert said.endswith(" ms): see what its workers load or fill then")
    assert f"; {said}" in verdict.cause
    assert said in verdict.warnings


def test_a_cold_start_that_goes_on_in_the_load_is_told_after_the_retry_too() -> None:
    first = judged(arm(more=lambda n: 100.0 if n < 540 else 0.0), arm(2))
    assert first.outcome != j.PASS
    assert "first 540 requests took" in first.cause
    both = j.combine(first, judged(arm(3, warm=15), arm(4, warm=15)))
    assert both.outcome == j.PASS
    assert "; in the first run: cold start: the candidate's first 540 requests took" in both.cause
    assert [words[:59] for words in both.told] == ["in the first run: cold start: the candidate's first 540 req"]
    again = j.combine(first, judged(arm(3, more=lambda n: 100.0 if n < 40 else 0.0), arm(4)))
    assert again.cause.count("cold start: the candidate's") == 1


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (lambda n: 0.0, lambda n: 0.0),
        (lambda n: 15.0 if n < 100 else 0.0, lambda n: 0.0),  # more, and little
        (lambda n: 100.0 if n < 100 else 0.0, lambda n: 80.0 if n < 100 else 0.0),  # the host is slow at first
        (lambda n: 500.0 if n in (0, 3) else 0.0, lambda n: 0.0),  # what each worker loads once
        (lambda n: 100.0 if 4 < n < 15 else 0.0, lambda n: 0.0),  # a neighbour
        (
            lambda n: min(n, 200) * 0.9 if n < 200 else 0.0,
            lambda n: 0.0,
        ),  # a queue: the warm-up asks faster than the load
        (lambda n: 100.0, lambda n: 0.0),  # slow all along
    ],
)
def test_what_is_no_cold_start_is_not_told(new: Slower, old: Slower) -> None:
    for seed in range(100):
        found = judged(arm(seed, new), arm(1000 + seed, old))
        assert told(found, "cold_requests") == []


@pytest.mark.parametrize("sigma", [0.3, 0.8, 1.2])
def test_latencies_that_differ_by_nature_are_no_cold_start(sigma: float) -> None:
    found = [judged(arm(seed, sigma=sigma), arm(1000 + seed, sigma=sigma)) for seed in range(200)]
    assert [told(one, "cold_requests") for one in found if told(one, "cold_requests")] == []


def test_without_a_warm_up_or_a_live_generation_nothing_is_told_of_first_requests() -> None:
    cold = arm(more=lambda n: 100.0 if n < 120 else 0.0)
    assert told(judged(cold, None), "cold_requests") == []
    assert told(judged(replace(cold, before=[]), arm(2)), "cold_requests") == []
    failing = replace(cold, before=[(float("inf"), 0)] * 200)
    assert told(judged(failing, arm(2)), "cold_requests") == []


def test_sizes_and_the_warm_up_go_from_one_machine_to_another() -> None:
    samples = replace(sized(arm(), of(220)), before=[(1.5, 0), (float("inf"), 1)])
    back = j.Samples.from_dict(samples.to_dict())
    assert (back.sizes, back.before) == (samples.sizes, samples.before)
    old: Sequence[object] = j.Samples.from_dict({k: v for k, v in samples.to_dict().items() if k != "before"}).before
    assert old == []

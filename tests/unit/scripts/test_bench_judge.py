# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The judge's benchmark: its cells, the parts of recorded runs, the other rules, the counting."""

from __future__ import annotations

import argparse
import itertools
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.judge import MemoryEvidence, Samples
from headcount_bench import _judge_early as early
from headcount_bench import _judge_release, _judge_report, judge
from headcount_bench import _judge_rules as rules
from headcount_bench._common import Bench, Cell, markdown_table
from headcount_bench._judge_report import Judged, Tally

RNG = np.random.default_rng(7)


def samples(latency: Any, rate: float = 50.0) -> Samples:
    values = [float(value) for value in latency]
    return Samples(
        start_s=[place / rate for place in range(len(values))],
        latency_ms=values,
        status=[200 if math.isfinite(value) else 500 for value in values],
        planned=len(values),
        period_s=1 / rate,
        failures=sum(not math.isfinite(value) for value in values),
        achieved_rate=rate,
        planned_rate=rate,
    )


def take(candidate: Any, live: Any) -> rules.Take:
    memory = MemoryEvidence(50.0, "test", pss_mib=50.0)
    return rules.Take(samples(candidate), samples(live), memory, memory, 0.012, 50.0)


def draw(count: int, scale: float = 1.0) -> Any:
    return 40.0 * scale * RNG.lognormal(0.0, 0.4, count)


def test_cells_are_all_different_and_mixed() -> None:
    cells = judge.cells(False)
    assert len({cell.key for cell in cells}) == len(cells) == len({cell.name for cell in cells})
    first = {cell.name.rsplit("/", 1)[0] for cell in cells[: len(cells) * 9 // 10]}
    assert first == {group.name for group in judge.GROUPS}
    same = [cell.inputs for cell in cells if set(cell.inputs["variants"]) == {"same"}]
    assert sum(len(inputs["variants"]) for inputs in same) >= 300
    assert {(inputs["profile"], bool(inputs["noise"]), inputs["seconds"]) for inputs in same} == set(
        itertools.product(("io", "cpu"), (False, True), (15, 30))
    )
    assert len(judge.cells(True)) < 10


def test_what_is_asked_of_a_release_is_tried_often_enough_to_tell() -> None:
    tried = Counter(
        (name, cell.inputs["retry"], cell.inputs["seconds"])
        for cell in judge.cells(False)
        for name in cell.inputs["variants"]
    )
    assert min(tried[name, "trial", 30] for name in _judge_report.SOON) >= _judge_report.LEAST_SOON
    assert min(tried[name, "sooner", 30] for name in ("all+30%", "tail+30%", "all+50%", "tail+50%", "stall")) >= 7


def test_a_whole_run_takes_three_quarters_of_an_hour_on_two_hosts() -> None:
    inputs = [cell.inputs for cell in judge.cells(False)]
    retries = {"needed": 0.0, "sooner": 35.0, "trial": -16.0}  # what a retry adds, and an end before the time takes off
    seconds = sum(
        judge.seconds_of(one, False) + retries[one["retry"]] * math.ceil(len(one["variants"]) / one["slots"])
        for one in inputs
    )
    assert seconds / 2 / 60 < 45
    assert max(judge.seconds_of(one, True) for one in inputs) < 660


def test_every_variant_of_the_plan_is_known_and_makes_a_job() -> None:
    for cell in judge.cells(False):
        job = judge.job_of(cell.inputs, 3)
        assert [pair["variant"] for pair in job["pairs"]] == cell.inputs["variants"]
        assert 1 <= job["slots"] <= len(job["pairs"])
    job = judge.job_of({**judge.cells(False)[0].inputs, "profile": "io", "variants": ["memory+50%", "stall"]}, 0)
    assert job["pairs"][0]["environment"] == {"BENCH_GROW_MIB": "11.8"}
    assert job["pairs"][1]["disturb"] == "stall"


def test_a_slow_release_is_slow_by_its_factor() -> None:
    assert _judge_release.factor(0.0, 1.3, 1.0, 2.0) == pytest.approx(1.3)
    assert _judge_release.factor(0.4, 1.0, 1.5, 1.0) == pytest.approx(math.exp(0.4))
    assert _judge_release.factor(0.4, 1.0, 1.5, 1.5) == pytest.approx(1.5 * math.exp(0.6))


def test_a_part_of_a_run_has_its_requests_and_failures_only() -> None:
    whole = samples([10.0] * 100 + [math.inf] * 2 + [20.0] * 398)
    part = rules.window(whole, 2.0, 4.0)
    assert (part.planned, part.failures, part.start_s[0]) == (200, 2, 0.0)
    assert rules.window(whole, 4.0, 4.0).failures == 0


def test_joined_runs_follow_one_another() -> None:
    both = rules.joined(samples([1.0, math.inf]), samples([3.0]))
    assert list(both.start_s) == [0.0, 0.02, 0.04]
    assert (both.planned, both.failures) == (3, 1)


def test_only_what_is_above_is_slowed() -> None:
    assert rules.slowed(samples([10.0, 50.0, math.inf]), 1.5, 40.0).latency_ms == [10.0, 75.0, math.inf]


def test_outcomes_with_and_without_the_recorded_retry() -> None:
    same, slow = take(draw(1500), draw(1500)), take(draw(1500, 1.5), draw(1500))
    fine = rules.outcome_of(same, None)
    assert (fine.first, fine.final, fine.caught) == ("pass", "pass", False)
    unknown = rules.outcome_of(slow, None)
    assert (unknown.first, unknown.caught) == ("fail", None)
    caught = rules.outcome_of(slow, take(draw(3000, 1.5), draw(3000)))
    assert (caught.final, caught.check, caught.caught) == ("fail", "p50_relative", True)
    assert rules.outcome_of(slow, take(draw(3000), draw(3000))).caught is False


def test_the_shift_is_that_of_hodges_and_lehmann() -> None:
    old = RNG.normal(100.0, 10.0, 400)
    estimate, lower = rules.hodges_lehmann(old + 7.0, old, 0.98)
    assert estimate == pytest.approx(7.0, abs=0.5)
    assert 4.0 < lower < estimate


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(1.0, []), (1.1, ["mann_whitney", "kayenta"]), (1.6, ["ratio", "mann_whitney", "kayenta", "k6"])],
)
def test_the_other_rules(scale: float, expected: list[str]) -> None:
    old = draw(1500)
    found = rules.peers_of(take(old[::-1] * scale, old), p95_limit_ms=1.2 * rules.quantile(list(old), 0.95))
    assert [name for name, hit in found.items() if hit] == expected


def test_k6_stops_at_its_share_of_failures() -> None:
    old = draw(1000)
    new = [math.inf] * 10 + list(old[10:])
    assert rules.peers_of(take(new, old), 1e6)["k6"]
    assert not rules.peers_of(take([math.inf] * 9 + list(old[9:]), old), 1e6)["k6"]


def _judged(**changes: Any) -> Judged:
    plain: dict[str, Any] = {
        "cell": "c", "variant": "same", "profile": "io", "noise": 0, "rate": 50, "seconds": 30, "others": 0.05,
        "drift_ms": 3.0, "first": "pass", "final": "pass", "check": "", "cause": "", "p95_ratio": 1.0, "p95_live": 80.0,
        "core_share": 0.012, "peers": {"ratio": False},
    }  # fmt: skip
    return Judged(**{**plain, **changes})


def test_counting() -> None:
    entries = [_judged(), _judged(first="fail"), _judged(first="inconclusive", final="inconclusive")]
    entries += [_judged(first="fail", final=None, peers={"ratio": True})]
    assert _judge_report.tally(entries) == Tally(1, 3)
    assert _judge_report.first_tally(entries) == Tally(3, 4)
    assert _judge_report.tally(entries, "ratio") == Tally(1, 4)
    assert Tally(3, 120).told() == "3 of 120 (2.5 %; 0.5 % to 7.1 %)"
    assert (Tally(0, 0).told(), Tally(0, 0).short()) == ("not measured", "–")


def test_how_soon_a_trial_would_have_failed() -> None:
    slow = early.soon(take(draw(1500, 2.0), draw(1500)), take(draw(3000, 2.0), draw(3000)))
    assert slow is not None
    assert slow.looked
    assert 4.0 < (slow.seconds or math.inf) <= 20.0
    broken = [math.inf if place % 5 == 0 else value for place, value in enumerate(draw(1500))]
    errors = early.soon(take(broken, draw(1500)), None)
    assert errors is not None
    assert 2.0 <= (errors.seconds or math.inf) <= 6.0
    assert early.soon(take(draw(1500), draw(1500)), None) == early.Soon(None, False)
    assert early.soon(take(draw(1500, 2.0), draw(1500)), None) is None  # its retry was not recorded
    assert "| x | 1 | 1 of 1 | 1 |" in early.table({"x": [errors]})


def test_what_is_known_of_a_run_at_a_second_is_what_was_answered_by_then() -> None:
    some = early.known_by(samples([100.0, 9000.0, 100.0], rate=1.0), 2.5)
    assert list(some.latency_ms) == [100.0, 1500.0]
    assert (some.planned, some.failures) == (2, 0)
    lost = early.known_by(replace(samples([math.inf] * 9, rate=1.0), status=[0] * 9), 7.5)
    assert list(lost.latency_ms) == [math.inf, math.inf, math.inf, 4500.0, 3500.0, 2500.0, 1500.0]


def test_conditions_are_told_apart() -> None:
    entries = [_judged(), _judged(drift_ms=900.0), _judged(noise=2, drift_ms=900.0, profile="cpu"), _judged(seconds=15)]
    groups = _judge_report.false_alarm_groups(entries)
    assert {name: len(found) for name, found in groups.items() if found} == {
        "calm": 2, "calm, io": 2, "disturbed": 1, "disturbed, io": 1, "noisy": 1, "noisy, cpu": 1,
        "calm or disturbed": 3, "calm or disturbed, io": 3, "all": 4, "all, io": 3, "all, cpu": 1,
        "all, 15 s": 1, "all, 30 s": 3,
    }  # fmt: skip


def test_targets_say_what_was_not_measured_and_what_was_missed() -> None:
    entries = [_judged(first="fail", final="fail"), _judged(variant="stall", final="fail")]
    groups = _judge_report.false_alarm_groups(entries)
    found = {name: reached for name, _, _, reached in _judge_report._targets(entries, groups, 0.04)}
    assert found["false alarms, calm"] is found["false alarms, all"] is False
    assert found["false alarms, noisy"] is None
    assert found["a stall of 1 s seen"] is True
    assert found["errors 5 %, limit 1 %, caught"] is None
    assert found["the generator, 100 requests a second"] is False


def ended(take_: rules.Take, second: float, share: float = 0.003) -> rules.Take:
    """The run as it is recorded when it was ended at that second."""
    return replace(take_.cut(0, second - 1.0), ended_s=second, share=share)


def test_a_retry_that_was_ended_is_judged_with_what_its_look_could_use() -> None:
    first, retry = take(draw(1500, 1.5), draw(1500)), ended(take(draw(3000, 1.5), draw(3000)), 9.0)
    assert rules.outcome_of(first, retry).final == "fail"
    assert early.soon(first, retry) == early.Soon(pytest.approx(early.ended(first, 30.0).second + 9.0, abs=9.0), True)
    good = ended(take(draw(3000), draw(3000)), 9.0)
    assert rules.verdict_of(good).outcome == "inconclusive"  # it never passes
    assert early.ended(good, 60.0).second == 9.0
    assert early.ended(take(draw(3000), draw(3000)), 60.0) is None


def test_the_parts_of_a_retry_that_was_ended() -> None:
    retry = ended(take(draw(3000, 1.5), draw(3000)), 25.0)
    assert [retry.has(second) for second in (0, 20, 40)] == [True, True, False]
    before, after = retry.cut(0, 20), retry.cut(20, 20)
    assert (before.ended_s, before.share, before.candidate.planned) == (None, 1.0, 1000)
    assert (after.ended_s, after.share) == (25.0, 0.003)
    told = {"ended": {"at_s": 25.0, "share": 0.003}, "cost_core_share": 0.01, "rate": 50.0}
    plain = {"candidate": retry.candidate.to_dict(), "live": retry.live.to_dict(), "load": told}
    again = rules.Take.from_dict({**plain, "memory": retry.memory.to_dict(), "live_memory": retry.memory.to_dict()})
    assert (again.ended_s, again.share) == (25.0, 0.003)


def test_a_run_that_was_looked_at_is_told_as_it_was_made() -> None:
    looked = replace(ended(take(draw(1500, 1.5), draw(1500)), 9.0), looks=6)
    assert early.ended(looked, 30.0).second == 9.0
    assert early.soon(looked, looked) == early.Soon(18.0, True)
    whole = replace(take(draw(1500, 1.5), draw(1500)), looks=20)
    assert early.ended(whole, 30.0) is None
    assert rules.verdict_of(whole).outcome == "fail"


def test_a_trial_that_ended_is_no_run_of_thirty_seconds() -> None:
    first, retry = take(draw(400, 2.0), draw(400)), take(draw(400, 2.0), draw(400))
    inputs = {"retry": "trial", "seconds": 30}
    assert [span[0] for span in _judge_report._spans(inputs, False, first, retry)] == [_judge_report.ENDED]
    short = {"retry": "needed", "seconds": 15}
    assert [span[0] for span in _judge_report._spans(short, False, first, None)] == [15]
    times = [{"at": 100.0, "seconds": 12.0, "load": {"warmup": {"seconds": 3.0}}}, {"at": 113.0, "seconds": 9.0}]
    assert _judge_report._wall(times) == pytest.approx(19.0)


def test_the_report_of_recorded_runs(tmp_path: Path) -> None:
    options = argparse.Namespace(quick=False, only=[], keep=False)
    inputs = {"profile": "io", "noise": 0, "rate": 50, "seconds": 30, "repeat": 0}
    same = Cell("same/calm/io/0", {**inputs, "retry": "needed", "variants": ["same"]})
    slow = Cell("worse/50/a/0", {**inputs, "retry": "sooner", "variants": ["all+50%"]})
    bench = Bench("judge", [same, slow], options, tmp_path, 1.0)

    def recorded(seconds: int, scale: float) -> dict[str, Any]:
        memory = MemoryEvidence(50.0, "test", pss_mib=50.0).to_dict()
        return {
            "candidate": samples(draw(50 * seconds, scale)).to_dict(), "live": samples(draw(50 * seconds)).to_dict(),
            "memory": memory, "live_memory": memory, "load": {"cost_core_share": 0.012, "rate": 50.0},
        }  # fmt: skip

    for cell, scale in ((same, 1.0), (slow, 1.5)):
        takes = [recorded(30, scale)] + ([recorded(60, scale)] if cell is slow else [])
        pair = {"variant": cell.inputs["variants"][0], "disturb": "", "takes": takes}
        bench.save_raw(cell, {"cpu": {"own": 0.3, "others": 0.1}, "pairs": [pair]})
    bench.run(lambda cell, lane: {})
    report = _judge_report.make(bench)
    assert report.missed == []
    assert report.data["power"]["all+50%, 50/s, 10 s"]["ours"] == {"count": 3, "total": 3}
    assert report.data["false_alarms"]["calm"]["ours"] == {"count": 0, "total": 1}
    row = "| all+50% caught, 50/s, 30 s | at least 98 % | 1 of 1 (100 %; 2.5 % to 100 %) | yes, not proven |"
    assert row in report.markdown
    assert markdown_table(["a"], [["b"]]) not in report.markdown
    assert list(tmp_path.glob("judged-*.json"))
    assert _judge_report.make(bench).data == report.data


@pytest.mark.parametrize(
    ("figure", "told", "expected"),
    [
        ("at most 1 %", "0 of 86 (0 %; 0 % to 4.2 %)", False),
        ("at most 1 %", "0 of 400 (0 %; 0 % to 0.9 %)", True),
        ("at least 90 %", "47 of 47 (100 %; 92.5 % to 100 %)", True),
        ("at least 98 %", "47 of 47 (100 %; 92.5 % to 100 %)", False),
        ("always", "47 of 47 (100 %; 92.5 % to 100 %)", False),
        ("at most 3 % of one core", "1.20 %", True),
    ],
)
def test_what_so_many_runs_can_show(figure: str, told: str, expected: bool) -> None:
    assert _judge_report._proven(figure, told) is expected

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether requests are alike: from the weigh, from the declaration, and what is assumed of nothing; the two curves."""

from __future__ import annotations

import math
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import mixture
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan import mix, picture, waits
from ansible_collections.headcount.gunicorn.plugins.module_utils._plan.types import Measured

REPORT = [mixture.Kind.steady("page", 95, 5.0, 0.0), mixture.Kind.steady("report", 5, 300.0, 0.0)]


def measured(*paths: tuple[str, float, float, float], requests: int = 30, sd_ms: float = 0.0) -> Measured:
    """A weigh of paths: name, weight, ms of CPU, ms of waiting."""
    found: list[dict[str, Any]] = [
        {
            "path": name,
            "weight": weight,
            "requests": requests,
            "cpu_ms": cpu_ms,
            "cpu_sd_ms": sd_ms,
            "wait_ms": wait_ms,
            "wait_sd_ms": 0.0,
        }
        for name, weight, cpu_ms, wait_ms in paths
    ]
    return Measured.from_dict({"cpu_ms": 5.0, "wall_ms": 5.0, "requests": 200, "paths": found})


def declared(*paths: tuple[str, float, float, float], **more: Any) -> dict[str, Any]:
    items = [{"path": name, "weight": weight, "cpu_ms": cpu, "wait_ms": wait} for name, weight, cpu, wait in paths]
    return {"name": "shop", "load": {"paths": items}, **more}


def test_the_moments_of_a_mixture() -> None:
    spread = mixture.spread_of(REPORT)
    assert spread.cpu_ms == pytest.approx(19.75)
    assert spread.cpu_c2 == pytest.approx(10.6, abs=0.01)
    assert spread.ahead_ms == pytest.approx((0.95 * 25 + 0.05 * 90_000) / (2 * 19.75))
    assert (spread.fastest.name, spread.longest.name) == ("page", "report")
    assert spread.mixed


def test_exponential_times_are_the_border() -> None:
    """C2 = 1: both disciplines give the same mean response time."""
    spread = mixture.spread_of([mixture.Kind("page", 1, 5.0, 0.0, 50.0, 0.0)])
    assert spread.cpu_c2 == pytest.approx(1.0)
    assert spread.in_line == pytest.approx(spread.shared)


@pytest.mark.parametrize(
    ("kinds", "mixed"),
    [
        ([("page", 95, 5, 0), ("report", 5, 300, 0)], True),
        ([("page", 70, 4, 0), ("list", 25, 12, 0), ("search", 5, 40, 0)], True),
        ([("page", 98, 1, 50), ("report", 2, 200, 0)], True),
        ([("read", 1, 8, 0), ("write", 1, 8, 0)], False),
        ([("page", 1, 8, 0), ("other", 1, 12, 0)], False),
        # bursts that are short against what a page takes anyway
        ([("page", 98, 1, 50), ("other", 2, 10, 50)], False),
        # waits differ, CPU does not: nobody stands behind who waits
        ([("page", 95, 5, 0), ("partner", 5, 5, 1000)], False),
        # less than the kernel's own turns
        ([("page", 95, 0.4, 0), ("other", 5, 4, 0)], False),
    ],
)
def test_which_mixtures_may_stand_in_a_line(kinds: list[tuple[str, float, float, float]], mixed: bool) -> None:
    assert mixture.spread_of([mixture.Kind.steady(*kind) for kind in kinds]).mixed is mixed


@pytest.mark.parametrize(
    ("app", "weigh", "word", "origin"),
    [
        ({}, None, "mixed", "assumed"),
        ({"mix": "uniform"}, None, "uniform", "declared"),
        ({"mix": "mixed"}, None, "mixed", "declared"),
        (declared(("a", 1, 8, 0), ("b", 1, 8, 0)), None, "uniform", "declared"),
        (declared(("a", 95, 5, 0), ("b", 5, 300, 0)), None, "mixed", "declared"),
        # one path says nothing about the others
        (declared(("a", 1, 8, 0)), None, "mixed", "assumed"),
        ({}, measured(("a", 1, 8, 0)), "mixed", "assumed"),
        (declared(("a", 1, 8, 0), mix="uniform"), None, "uniform", "declared"),
        ({"mix": "uniform"}, measured(("a", 1, 8, 0)), "uniform", "measured"),
        ({}, measured(("a", 1, 8, 0), ("b", 1, 9, 0)), "uniform", "measured"),
        ({}, measured(("a", 95, 5, 0), ("b", 5, 300, 0)), "mixed", "measured"),
        # the same path, now and then long
        ({}, measured(("a", 1, 20, 0), sd_ms=65.0), "mixed", "measured"),
        # a measured tail goes before what is declared; what is declared mixed may be more than was weighed
        ({"mix": "uniform"}, measured(("a", 95, 5, 0), ("b", 5, 300, 0)), "mixed", "measured"),
        ({"mix": "mixed"}, measured(("a", 1, 8, 0), ("b", 1, 8, 0)), "mixed", "declared"),
        # asked too rarely
        ({}, measured(("a", 1, 8, 0), ("b", 1, 8, 0), requests=2), "mixed", "assumed"),
    ],
)
def test_where_the_word_comes_from(app: dict[str, Any], weigh: Measured | None, word: str, origin: str) -> None:
    found = mix.mix_of(App.from_dict({"name": "app", **app}), weigh)
    assert (found.word, found.origin) == (word, origin)
    assert found.source.startswith(f"{origin}: ")
    assert found.cpu_c2().value >= 0


def test_only_a_person_says_that_all_requests_are_alike() -> None:
    weigh = measured(("a", 1, 8, 0), ("b", 1, 8, 0))
    seen = mix.mix_of(App(name="shop"), weigh)
    assert (seen.mixed, seen.known_alike) == (False, False)
    assert mix.mix_of(App(name="shop", mix="uniform"), weigh).known_alike
    assert not mix.mix_of(App(name="shop", mix="uniform"), measured(("a", 95, 5, 0), ("b", 5, 300, 0))).known_alike


def test_a_declaration_that_the_weigh_contradicts_is_told() -> None:
    (warning,) = mix.mix_of(App(name="shop", mix="uniform"), measured(("/", 95, 5, 0), ("/report", 5, 300, 0))).warnings
    assert warning == (
        "shop: mix: uniform is declared, but the CPU times have a C2 of 10.6: in a line a request finds 114.5 ms of CPU"
        " before it, where / takes 5 ms alone (/ 5 + 0 ms, 95 %; /report 300 + 0 ms, 5 %): the plan goes by the"
        " measurement; correct the declaration"
    )


def test_crowding_is_erlangs() -> None:
    assert mixture.crowding(1, 0.5) == pytest.approx(1.0)
    assert mixture.crowding(2, 0.5) == pytest.approx((1 / 3) / (2 * 0.5))
    assert math.isinf(mixture.crowding(2, 1.0))


def test_the_chance_that_so_many_are_there() -> None:
    """M/M/n where nothing waits; Poisson beside it where some do."""
    assert waits.taken_chance(1, 0.6, 0.0, 3) == pytest.approx(0.6**3)
    assert waits.taken_chance(2, 0.5, 0.0, 1) == pytest.approx(2 / 3)
    assert waits.taken_chance(2, 0.5, 0.0, 4) == pytest.approx((1 / 3) * 0.5**2)
    assert waits.taken_chance(1, 1e-9, 2.0, 2) == pytest.approx(1 - 3 * math.exp(-2), abs=1e-6)
    assert waits.taken_chance(1, 1.0, 0.0, 50) == 1.0
    assert waits.taken_chance(1, 0.5, 5000.0, 100) == 1.0
    one = [waits.taken_chance(3, 0.7, waiting, 12) for waiting in (0.0, 1.0, 2.0, 4.0, 8.0)]
    assert one == sorted(one)
    many = [waits.taken_chance(3, 0.7, 2.0, workers) for workers in range(40)]
    assert many == sorted(many, reverse=True)
    assert many[0] == 1.0


def test_what_is_left_of_a_request_that_holds_a_worker() -> None:
    assert waits.held_ms(REPORT, 1.0) == pytest.approx(mixture.spread_of(REPORT).ahead_ms)
    waiting = [mixture.Kind.steady("page", 1, 5.0, 10.0)]
    assert waits.held_ms(waiting, 1.0) == pytest.approx(7.5)
    assert waits.held_ms(waiting, 3.0) == pytest.approx(17.5)
    assert waits.held_ms([mixture.Kind.steady("page", 1, 0.0, 0.0)], 1.0) == 0.0


def test_p95_of_both_ways() -> None:
    """M/M/1: the wait of 95 % is ln(load / 0.05) x E[S] / (1 - load); the number there is ln(0.05) / ln(load)."""
    assert picture.p95_in_line(1, 0.5, 1.0) == pytest.approx(1 + math.log(10) / 0.5)
    assert picture.p95_shared(1, 0.5, 1.0) == pytest.approx(math.log(0.05) / math.log(0.5))
    assert picture.p95_shared(1, 0.6, 1.0) == pytest.approx(5.86, abs=0.01)
    assert picture.p95_shared(2, 0.1, 1.0) == 1.0
    assert picture.p95_in_line(8, 0.1, 20.0) == 1.0
    assert math.isinf(picture.p95_in_line(2, 1.0, 1.0))
    assert math.isinf(picture.p95_shared(2, 1.0, 1.0))


def test_the_picture_has_both_curves_and_where_they_part() -> None:
    lines = picture.picture(2.0, 22.9, 1.0)
    assert {"L", "S"} <= set("".join(line.partition("|")[2] for line in lines))
    assert lines[0].startswith("How much longer than alone a request takes (p95,")
    assert lines[1].rstrip().endswith("L")
    assert "X" in next(line for line in lines if line.strip().startswith("1 x |"))
    assert not any("here" in line for line in lines)


def test_the_picture_marks_the_load_of_the_app() -> None:
    (mark,) = [line for line in picture.picture(1.0, 22.9, 1.0, 0.6) if "here" in line]
    assert mark.split("^")[1] == " here: 60 % busy, in a line 143.3 x, sharing 5.9 x"
    scale = next(line for line in picture.picture(1.0, 22.9, 1.0, 0.6) if line.strip().startswith("busy"))
    assert scale[mark.index("^") - 1 :].startswith("60")
    assert picture.picture(1.0, 22.9, 1.0, 0.6)[-1] == (
        "95 of 100 requests of the kind that suffers most take up to 143.3 times as long as alone in a line, up to 5.9"
        " times by turns: turns would be better"
    )
    assert picture.picture(1.0, 0.5, 1.0, 0.6)[-1].endswith("a line would be better")
    assert picture.picture(2.0, 0.5, 1.0, 0.05)[-1].endswith("both are alike")
    (over,) = [line for line in picture.picture(1.0, 22.9, 1.0, 1.2) if "here" in line]
    assert over.endswith("^ here: 120 %, more than the cores can do")

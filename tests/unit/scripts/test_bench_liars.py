# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The catalogue of liars: its rows are whole, and what came of one is judged by its words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from headcount_bench import _liar_app, liars


def test_every_liar_has_code_and_words() -> None:
    known = {**_liar_app.LIARS, **_liar_app.NOISY, **_liar_app.THREADS}
    plain = {"same", "good-recycling", "good-tight", "good-neighbour", "good-reexec"}
    plain |= {"good-users", "good-users-light", "good-users-mixed"}
    assert {row.name for row in liars.LIARS} == set(known) | plain
    assert sum(row.expected == liars.PASSES for row in liars.LIARS) >= 10
    assert sum(row.expected != liars.PASSES for row in liars.LIARS) >= 40
    assert [row.name for row in liars.LIARS if row.expected != liars.PASSES and not row.words] == []
    assert all(re.compile(row.words) for row in liars.LIARS)
    assert {cell.name for cell in liars.cells(True)} < {cell.name for cell in liars.cells(False)}


def value(refused: bool, cause: str, *told: str, stopped: bool = False) -> Mapping[str, Any]:
    return {
        "what": "",
        "expected": "",
        "refused": refused,
        "stopped": stopped,
        "tries": 1,
        "cause": cause,
        "told": list(told),
        "seconds": 1.0,
    }


ROW = liars.Liar("x", "", liars.REFUSED, "answered 500")
EITHER = liars.Liar("x", "", liars.EITHER, "answered 500")
GOOD = liars.Liar("x", "", liars.PASSES)


@pytest.mark.parametrize(
    ("row", "came", "fate", "well"),
    [
        (ROW, value(True, "trial: all 2 requests of GET / answered 500"), "refused", True),
        (ROW, value(True, "trial: 18 of 751 requests failed"), "refused, unnamed", False),
        (ROW, value(False, "every check passed", "1 of 700 requests of GET / answered 500"), "told", False),
        (EITHER, value(False, "every check passed", "1 of 700 requests of GET / answered 500"), "told", True),
        (EITHER, value(False, "every check passed"), "passed", False),
        (EITHER, value(False, "GET / answered 500 no more often than before"), "passed", False),
        (ROW, value(True, "the live generation suffered", stopped=True), "stopped, unnamed", False),
        (ROW, value(True, "it suffered; 9 of GET / answered 500", stopped=True), "stopped", False),
        (GOOD, value(True, "the live generation suffered", stopped=True), "stopped", False),
        (GOOD, value(False, "every check passed"), "passed", True),
        (GOOD, value(True, "p95 is 9 ms"), "refused", False),
    ],
)
def test_what_came_of_one(row: liars.Liar, came: Mapping[str, Any], fate: str, well: bool) -> None:
    assert (liars.came(row, came), liars.well(row, came)) == (fate, well)


def test_a_good_release_is_tried_beside_one_of_its_own_shape() -> None:
    rows = {row.name: row for row in liars.LIARS}
    assert rows["good-tail"].live == "good-tail"
    assert (rows["same"].live, rows["good-reexec"].live, rows["cold"].live) == ("", "", "")


def test_rows_beside_the_same_live_generation_stand_together() -> None:
    rows = {row.name: row for row in liars.LIARS}
    order = [(rows[cell.name].live, str(rows[cell.name].changes)) for cell in liars.cells(False)]
    assert len(order) == len(liars.LIARS)
    assert sum(one != other for one, other in zip(order, order[1:])) == len(set(order)) - 1


def test_the_report_names_what_was_not_as_it_must_be() -> None:
    rows = {"same": value(False, "p95 is 9 ms"), "spin": value(False, "p95 is 9 ms")}
    bench = SimpleNamespace(results=lambda: {name: SimpleNamespace(value=row) for name, row in rows.items()})
    report = liars.report(bench)
    assert report.missed == ["spin: passed"]
    assert "1 bad releases were tried, 0 were refused" in report.markdown
    assert "**passed**" in report.markdown

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/bench pages: what is declared of an app, and what is said of its ways to be served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from headcount_bench import _serving, pages
from headcount_bench._common import Cell, Result
from headcount_bench._mix_run import Run


@pytest.mark.parametrize("app", pages.APPS.values(), ids=lambda app: app.name)
def test_every_app_has_an_environment_and_can_be_declared(app: pages.PublicApp) -> None:
    assert app.name in _serving.PUBLIC
    assert sum(page.share for page in app.pages) == pytest.approx(1)
    declared = pages.declaration(app, app.pages[:1] if "{" in app.pages[-1].address else app.pages, 20.0)
    assert declared["load"]["paths"][0]["path"] == app.pages[0].address


def test_the_books_have_the_address_that_is_asked_for(tmp_path: Path) -> None:
    """Without a title Fava makes the first part of its addresses of the whole path of the file: all were not found."""
    environment, _ = pages.APPS["fava"].ready(tmp_path)
    assert environment == {"PYTHONPATH": str(tmp_path)}
    title = (tmp_path / "shop.beancount").read_text(encoding="utf-8").splitlines()[0]
    asked = {pages.APPS["fava"].health, *(page.path for page in pages.APPS["fava"].pages)}
    assert title == 'option "title" "shop"'
    assert all(path.startswith("/shop/") for path in asked)


def run(*milliseconds: float) -> dict[str, Any]:
    return Run([list(milliseconds), [100.0]], 2.0, 80.0, 5.0, 0.1, 0.05, 0.01).to_dict()


def value(plan: float, rule: float) -> dict[str, Any]:
    ways = {pages.NOW: ("gthread 4x8", plan), "2n+1": ("sync 5", rule)}
    return {
        "rate": 40.0,
        "pages": [{"name": "home", "share": 0.95}, {"name": "feed", "share": 0.05}],
        "alone_ms": [10.0, 100.0],
        "cpu_ms": [9.0, 95.0],
        "weigh": {},
        "rows": {name: {"config": config, "runs": [run(ms, ms)] * 2} for name, (config, ms) in ways.items()},
    }


def test_a_plan_that_is_worse_than_a_rule_is_said_to_be() -> None:
    cells = [Cell("shop/0.6", {}), Cell("shop/0.3", {}), Cell("shop/0.9", {})]
    results = {
        name: Result(name, "", value(plan, rule), 0.0, 1.0)
        for name, plan, rule in (("shop/0.6", 20.0, 60.0), ("shop/0.3", 60.0, 20.0))
    }
    report = pages.report_of(cells, results)
    assert report.missed == ["shop/0.3: the plan's slowdown is 6.0 (gthread 4x8), that of 2n+1 2.0 (sync 5)"]
    assert "2 of 3 cells are measured" in report.markdown
    assert "95 % home (10.0 ms alone, 9.0 ms of CPU)" in report.markdown
    assert report.data["shop/0.6"]["rows"]["2n+1"]["slowdown"] == 6.0

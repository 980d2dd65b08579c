# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What of scripts/bench browser needs no browser: the fleet that there is not, and what is missed of the promise."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("playwright")

from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output import page, report
from headcount_bench import _fleet_report, browser


def test_the_fleet_is_told_of_as_a_run_tells_of_one() -> None:
    told = _fleet_report.of_run(60)
    assert (told["batches"], sum(told["batches"]), len(told["order"])) == ([1, 4, 16, 39], 60, 60)
    assert len(told["rows"]) == 120
    known = set(report.Row.__annotations__)
    assert all(set(row) <= known for row in told["rows"]), "a row has no key that no report has"
    assert list(told["failed"]) == ["web050"]
    assert told["first_cause"].startswith("web050: shop: trial: p95 is")
    assert all(len(page.curve(row["histogram"])) == len(page.POINTS) for row in told["rows"])
    assert _fleet_report.of_run(60) == told, "the same seed gives the same fleet"


def test_no_two_rows_are_alike_for_a_compressor() -> None:
    few, many = (len(page.page(_fleet_report.of_run(hosts))) for hosts in (20, 40))
    assert many - few > 20 * 2 * 1500, "bytes of a row, compressed, beside what the table in the page takes"


def value(**change: Any) -> dict[str, Any]:
    acts = {name: [30.0, 50.0] for name in browser.ACTS}
    return {"load_s": [0.5, 0.9], **acts, "bytes": 4_000_000, "complaints": [], **change}


def test_only_what_was_promised_is_missed() -> None:
    assert browser.missed({"500 hosts": value(), "2000 hosts": value(load_s=[3.0], bytes=20_000_000)}) == []
    told = browser.missed({"500 hosts": value(load_s=[2.5], bytes=11_000_000, complaints=["boom", "boom"])})
    assert told == [
        "500 hosts: boom",
        "500 hosts: 2.5 s to load, at most 2 were promised",
        "500 hosts: 11.0 MB, at most 10 were promised",
    ]


def test_the_page_has_a_row_for_each_size() -> None:
    assert "| 500 hosts | 1000 | 4.00 | 0.70 (0.90) | 40 (50) | 40 (50) | 40 (50) |" in browser.text(
        {"500 hosts": value()}
    )

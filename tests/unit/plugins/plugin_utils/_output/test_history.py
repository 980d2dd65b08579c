# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The ledgers of a fleet as one history."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output import history


def entry(time: str, event: str, **more: Any) -> dict[str, Any]:
    return {"time": time, "event": event, "app": "shop", "user": "ada", "controller": "laptop", **more}


def test_newest_first_over_all_hosts() -> None:
    ledgers = {
        "web1": [entry("2026-11-22T10:00:00.000Z", "staged"), entry("2026-11-22T10:00:02.000Z", "promoted")],
        "web2": [entry("2026-11-22T10:00:01.000Z", "failed")],
    }
    found = [(item["host"], item["event"]) for item in history.merge(ledgers, 2)]
    assert found == [("web1", "promoted"), ("web2", "failed")]


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (
            entry("2026-11-22T10:00:00.123Z", "promoted", **{"from": None, "to": 1}, verdict="pass", plan_changes={}),
            "2026-11-22 10:00:00  web1  shop  promoted  - -> 1      ada@laptop  pass",
        ),
        (
            entry(
                "2026-11-22T10:00:00.123Z",
                "promoted",
                **{"from": 1, "to": 2},
                verdict="pass",
                plan_changes={"workers": [2, 4], "timeout": [None, 30]},
            ),
            "2026-11-22 10:00:00  web1  shop  promoted  1 -> 2      ada@laptop  pass; workers 2 -> 4",
        ),
        (
            entry("2026-11-22T10:00:00.123Z", "failed", generation=3, phase="trial", cause="p95 is 312 ms, limit 250"),
            "2026-11-22 10:00:00  web1  shop  failed  3           ada@laptop  trial: p95 is 312 ms, limit 250",
        ),
        (
            entry("2026-11-22T10:00:00.123Z", "rollback_failed", **{"from": 3, "to": 2}, cause="never became ready"),
            "2026-11-22 10:00:00  web1  shop  rollback failed  3 -> 2      ada@laptop  never became ready",
        ),
        (
            entry("2026-11-22T10:00:00.123Z", "healed", did=["stopped a candidate", "removed generation 4"]),
            "2026-11-22 10:00:00  web1  shop  healed  ada@laptop  stopped a candidate; removed generation 4",
        ),
        (
            entry("2026-11-22T10:00:00.123Z", "pruned", generations=[1, 2]),
            "2026-11-22 10:00:00  web1  shop  pruned  1, 2        ada@laptop",
        ),
    ],
)
def test_an_event_in_a_line(item: dict[str, Any], line: str) -> None:
    assert history.text([{"host": "web1", **item}], {}).splitlines()[2] == line


def test_hosts_that_say_nothing() -> None:
    assert history.text([], {"web2": "its ledger could not be read: no answer"}).splitlines() == [
        "no event is in any ledger",
        "web2: its ledger could not be read: no answer",
    ]

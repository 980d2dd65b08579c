# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What of scripts/bench monitoring needs no host: the shortened rules, and what is told of a run."""

from __future__ import annotations

import re
from typing import Any

import yaml
from headcount_bench import _engine, monitoring

RULES: str = _engine.collection("plugin_utils._monitoring.output").files("https://wiki.example")["headcount.rules.yml"]
QUERY = {"panel": "Slots", "legend": "busy", "series": 1, "untold": []}


def names(text: str) -> list[str]:
    groups = yaml.safe_load(text)["groups"]
    return [rule.get("record") or rule["alert"] for group in groups for rule in group["rules"]]


def test_all_times_are_much_shorter_and_nothing_else_changes() -> None:
    short = monitoring.faster(RULES)
    assert names(short) == names(RULES)
    assert {f"[{seconds}s]" for seconds in (30, 180, 36, 216, 2592)} <= set(re.findall(r"\[\d+s\]", short))
    assert "for: 6s" in short
    assert not re.search(r"\[\d+[mhd]\]|for: [1-9]\d*[mhd]", short)


def test_each_alert_of_a_fault_is_one() -> None:
    tried = {alert for fault in monitoring.FAULTS for alert in fault.alerts}
    assert tried == {name for name in names(RULES) if name.startswith("Headcount")}, "and each alert has its fault"


def found(**change: Any) -> dict[str, Any]:
    console = {"lists_the_app": True, "quotes": True, "empty": 0, "shown": 42}
    fault = {"fired_s": 12.5, "cleared_s": 8.0, "others": ["HeadcountDrift"]}
    return {"panels": {"queries": [QUERY]}, "console": console, "fault/down": fault, **change}


def test_what_came_of_a_run() -> None:
    text = monitoring.text(found())
    assert "1 of 1 queries of the dashboard had data." in text
    assert "| its unit is stopped | HeadcountAppDown | 12.5 | 8.0 | HeadcountDrift |" in text
    assert monitoring.missed(found()) == []


def test_a_panel_without_data_is_missed_unless_the_kernel_does_not_tell() -> None:
    assert monitoring.missed(found(panels={"queries": [{**QUERY, "series": 0}]})) == ["no data: Slots (busy)"]
    untold = {"queries": [{**QUERY, "series": 0, "untold": ["headcount_cpu_seconds_total"]}]}
    assert monitoring.missed(found(panels=untold)) == []
    assert "The exporter does not tell headcount_cpu_seconds_total here" in monitoring.text(found(panels=untold))
    assert monitoring.missed(found(console={"lists_the_app": False, "quotes": True})) == [
        "the console: lists_the_app is false"
    ]

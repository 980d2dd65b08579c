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


def test_so_many_requests_are_asked_for_in_a_window_however_short() -> None:
    factors = re.compile(r"headcount_errors:rate(\w+) \* (\d+) >= (\d+)")
    assert dict.fromkeys(factors.findall(RULES)) == dict.fromkeys(
        [("1h", "3600", "10"), ("6h", "21600", "10"), ("3d", "259200", "10")]
    )
    short = monitoring.faster(RULES)
    assert [found[1:] for found in factors.findall(short)] == [("36", "10"), ("216", "10"), ("2592", "10")]
    assert "(30 * instance_app:headcount_ended:rate5m > 0)" in short
    assert re.search(r"node_textfile_mtime_seconds\{.*\} > 60$", short, re.MULTILINE)
    assert "> 2.5" in short, "a number of workers is no time"


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
    assert "Not tried on these hosts: HeadcountErrorBudgetBurnsFast, " in text


def test_all_alerts_are_said_to_have_fired_where_each_has() -> None:
    fault = {"fired_s": 1.0, "cleared_s": 1.0, "others": []}
    text = monitoring.text({f"fault/{one.name}": fault for one in monitoring.FAULTS})
    assert "All 14 alerts fired and cleared." in text
    assert "Not tried" not in text


def test_an_alert_that_is_for_worse_is_missed() -> None:
    fault = {"fired_s": 1.0, "cleared_s": 1.0, "others": ["HeadcountErrorBudgetBurnsFast"]}
    assert monitoring.missed({"fault/few errors": fault}) == [
        "one request in ten answers 500: HeadcountErrorBudgetBurnsFast fired, which is for worse"
    ]
    assert monitoring.missed({"fault/some errors": fault}) == []


def test_a_panel_without_data_is_missed_unless_the_kernel_does_not_tell() -> None:
    assert monitoring.missed(found(panels={"queries": [{**QUERY, "series": 0}]})) == ["no data: Slots (busy)"]
    untold = {"queries": [{**QUERY, "series": 0, "untold": ["headcount_cpu_seconds_total"]}]}
    assert monitoring.missed(found(panels=untold)) == []
    assert "The exporter does not tell headcount_cpu_seconds_total here" in monitoring.text(found(panels=untold))
    assert monitoring.missed(found(console={"lists_the_app": False, "quotes": True})) == [
        "the console: lists_the_app is false"
    ]

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report for a browser: one file, whole, that needs nothing else, and that stays small."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._verdict.histogram import Histogram
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output import page, report

HISTOGRAM = Histogram.of_milliseconds([1.0, 2.0, 3.0, 40.0]).encode()
LIMIT = {"name": "cores", "value": 2, "reason": "one per core"}
CHECK = {"name": "p95", "outcome": "pass", "value": 40.0, "limit": 250, "bounds": [30.0, None], "sentence": "fast"}
PLAN = {
    "settings": {
        "workers": {
            **{"value": 2, "unit": "processes", "origin": "derived", "winner": "cores"},
            **{"reason": "one <per> core", "limits": [LIMIT]},
        }
    },
    "inputs": {"cores": {"value": 2.0, "origin": "derived", "source": "2 cores"}, "rollout_headroom": True},
    "warnings": ["put a proxy in front"],
}


def row(host: str = "web1", **change: Any) -> dict[str, Any]:
    return {
        **{"host": host, "address": "192.0.2.7", "cores": 2.0, "memory_mib": 1024, "app": "shop"},
        **{"status": "promoted", "cause": None, "phase": None, "generation": 4, "from": 3, "release": "new"},
        **{"reasons": ["the code changed"], "notes": [], "listen": "0.0.0.0:8000", "url": "http://192.0.2.7:8000/"},
        **{"settings": {"worker_class": "sync", "workers": 2}, "before": {"workers": 1}, "plan": PLAN},
        **{"verdict": "pass", "requests": 4, "failures": 0, "checks": [CHECK], "histogram": HISTOGRAM},
        **{"live_histogram": HISTOGRAM, "p95_ms": 40.0, "p95_limit_ms": 250, "memory": {"peak_mib": 50.0}},
        **{"steps": [{"phase": "trial", "ok": True, "seconds": 12.5, "at": 1.8e9}]},
        **change,
    }


def data(*rows: dict[str, Any], **change: Any) -> dict[str, Any]:
    return {
        "run": {"id": "r1", "user": "root", "controller": "c", "started": "2026-01-01T00:00:00Z"},
        **{"ended": "2026-01-01T00:10:00Z", "mode": "rollout", "check_mode": False, "summary": "1 host: 1 promoted"},
        **{"first_cause": None, "failed": {}, "batches": [1], "order": ["web1"], "rows": list(rows) or [row()]},
        **change,
    }


def packed(text: str, name: str = "data") -> Any:
    """What the script of a page gets of a part of the data."""
    found = re.search(rf'<script type="application/octet-stream" id="{name}">([^<]*)</script>', text)
    assert found
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


class Reader(HTMLParser):
    """The elements and the texts of a page; what is opened is closed."""

    VOID = ("meta", "link", "br", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] in ("td", "th"):
            self.cells.append(data)


def test_the_table_can_be_read_without_a_script() -> None:
    one = row(cause="<b>slow</b>", host="web<1>")
    reader = Reader(page.page(data(one)))
    assert reader.cells[: len(report.HEADER)] == list(report.HEADER)
    assert reader.cells[len(report.HEADER) :] == [cell for cell in report.cells(one) if cell]
    assert "noscript" in [tag for tag, _ in reader.seen]


def test_it_asks_nothing_of_anybody() -> None:
    text = page.page(data())
    reader = Reader(text)
    assert [tag for tag, attributes in reader.seen if "src" in attributes or tag in ("link", "iframe", "img")] == []
    (policy,) = (attributes["content"] for _, attributes in reader.seen if "http-equiv" in attributes)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_what_the_report_knows_is_in_it_once() -> None:
    text = page.page(data())
    assert page.page(data()) == text, "the same data give the same file"
    found = packed(text)
    (line,) = found["rows"]
    assert line == {"host": "web1", "app": "shop", "status": "promoted", "cells": report.cells(row()), "tone": "good"}
    assert found["timed"]
    assert packed(text, "steps")[0][0]["at"] == 1.8e9
    part = packed(text, "rows-0")
    ((one,), (plan,)) = part["rows"], part["plans"]
    assert plan["plan"] == [{"name": "workers", **PLAN["settings"]["workers"]}]  # type: ignore[index]
    assert plan["inputs"] == [{"name": "cores", "value": 2.0, "origin": "derived", "source": "2 cores"}]
    assert (one["plan"], one["before"], plan["warnings"]) == (0, {"workers": 1}, ["put a proxy in front"])
    assert one["checks"] == [CHECK]
    assert one["curves"]["candidate"] == one["curves"]["live"]
    assert len(one["curves"]["live"]) == len(found["points"])
    assert one["curves"]["live"][-1] == pytest.approx(40.0, rel=0.01)
    assert "histogram" not in one


def test_each_row_is_in_its_part_with_its_plan() -> None:
    other = {**PLAN, "warnings": ["another"]}
    rows = [row(f"web{number}", plan=other if number % 2 else PLAN) for number in range(2 * page.PART + 1)]
    text = page.page(data(*rows))
    parts = [packed(text, f"rows-{number}") for number in range(3)]
    assert packed(text)["part"] == page.PART
    assert [one["host"] for part in parts for one in part["rows"]] == [one["host"] for one in rows]
    assert [len(part["plans"]) for part in parts] == [2, 2, 1], "hosts alike have one"
    told = [part["plans"][one["plan"]]["warnings"] for part in parts for one in part["rows"]]
    assert told == [one["plan"]["warnings"] for one in rows]
    assert "rows-3" not in text


def test_what_the_table_is_made_of_is_small_and_comes_first() -> None:
    rows = [row(f"web{number}", reasons=[f"reason {number}" * 20]) for number in range(200)]
    text = page.page(data(*rows))
    assert text.index('id="data"') < text.index("<script>") < text.index('id="steps"') < text.index('id="rows-0"')
    assert set(packed(text)["rows"][0]) <= {"host", "app", "status", "cause", "cells", "tone"}


@pytest.mark.parametrize("histogram", [None, "", "HIST", "SElTVA=="])
def test_a_distribution_that_cannot_be_read_is_left_out(histogram: str | None) -> None:
    assert page.curve(histogram) == []


def test_a_host_without_an_app_and_a_run_that_failed() -> None:
    lost = {"host": "web2", "address": "", "app": None, "status": "unreachable", "cause": "no route </script>"}
    text = page.page(data(row(), lost, first_cause="web2: no route </script>", failed={"web2": "no route"}))
    Reader(text)
    assert text.count("</script>") == text.count("<script") == 4
    assert [one["tone"] for one in packed(text)["rows"]] == ["good", "bad"]


def test_batches_are_told_by_their_hosts() -> None:
    assert page.batches({"order": ["a", "b", "c", "d"], "batches": [1, 3]}) == [["a"], ["b", "c", "d"]]
    assert page.batches({"order": [], "batches": []}) == []


def test_five_hundred_hosts_stay_small() -> None:
    rows = [row(f"web{number}", address=f"192.0.2.{number % 250}", p95_ms=40.0 + number) for number in range(500)]
    assert len(page.page(data(*rows))) < 2_000_000


def test_the_past_of_a_host_goes_along() -> None:
    past = {
        "history": [{"time": "2026-11-20T10:00:00.000Z", "event": "promoted", "from": 2, "to": 3}],
        "drift": ["cores 1 -> 2"],
        "load_tests": [{"time": "2026-11-22T04:00:00.000Z", "outcome": "done"}],
        "recommended": {"workers": 4},
    }
    (told,) = packed(page.page(data(row(**past))), "rows-0")["rows"]
    assert {key: told[key] for key in past} == past
    (told,) = packed(page.page(data(row(history=[], drift=[], load_tests=[], recommended={}))), "rows-0")["rows"]
    assert not set(past) & set(told), "what is empty takes no room"


def test_the_script_is_one() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on this machine")
    done = subprocess.run([node, "--check", page.ASSETS / "report.js"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the fault catalogue and the switch benchmark make of what they saw."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from headcount_bench import _client, _faults, _onhost, _scene, faults, switch
from headcount_bench._common import Bench

ROWS = [
    ["new", 1.0, 10.0, 200, "g1"],
    ["new", 2.0, 3000.0, 0, "ConnectionResetError: [Errno 104]"],
    ["kept", 2.5, 20.0, 200, "g2"],
    ["long", 9.0, 15000.0, 0, "no answer within 15 s"],
]


def test_a_loss_is_the_faults_own_when_it_overlaps_its_window() -> None:
    caused, other = _scene.lost(ROWS, 100.0, [104.5, 106.0])
    assert [row[0] for row in caused] == ["new"]
    assert [row[0] for row in other] == ["long"]
    assert _scene.lost(ROWS, 100.0, None)[0] == []


def test_losses_are_told_on_the_clock_of_the_users() -> None:
    told = _scene.times(ROWS[1:2], 100.0, [("taken over", 101.0, 109.0), ("given back", 109.0, 112.5)])
    assert told == "at 2.00-5.00 ConnectionResetError s, where taken over 1.0-9.0, given back 9.0-12.5 s"


def test_ledger_entries_in_few_words() -> None:
    entries: list[dict[str, Any]] = [
        {"event": "promoted", "from": None, "to": 1},
        {"event": "failed", "generation": 2, "cause": "p95 is 330 ms"},
        {"event": "healed", "did": ["stopped a", "stopped b"]},
    ]
    assert _scene.described(entries) == [
        "promoted - → 1",
        "failed 2: p95 is 330 ms",
        "healed: stopped a; stopped b",
    ]


def test_the_summary_counts_failures_and_resets() -> None:
    found = switch.summary(ROWS, 12.34)
    assert (found["requests"], found["failed"], found["reset"], found["releases"]) == (4, 2, 1, 2)
    assert found["arms"]["new"]["longest_ms"] == 3000.0
    assert switch.pause_ms(found) == 3000.0


def test_the_release_that_a_body_names() -> None:
    assert _client.tag_of(b'{"release": "g7"}') == "g7"
    assert _client.tag_of(b"[1]") == _client.tag_of(b"<html>") == ""


def test_rows_have_names_of_their_own_in_known_groups() -> None:
    names = [row.name for row in _faults.ROWS]
    assert len(names) == len(set(names)) > 80
    assert {name.partition("/")[0] for name in names} <= set(_faults.GROUPS)
    assert 10 < sum(row.quick for row in _faults.ROWS) < 30


def test_every_place_of_a_fault_is_in_the_engine() -> None:
    """Each target names a function that exists: otherwise only a host would find it missing."""
    folder = Path(_faults.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    targets = set(re.findall(r"""["']target["']: ["']([^"']+)["']""", text))
    assert len(targets) > 10
    for target in sorted(targets):
        owner, name = _onhost.place_of(target, "ansible_collections.headcount.gunicorn.plugins.module_utils")
        assert callable(getattr(owner, name, None)), target


def test_a_broken_promise_is_missed_in_the_report(tmp_path: Path) -> None:
    cells = faults.cells(True)
    bench = Bench("faults", cells, argparse.Namespace(quick=True, only=[], lab=None), tmp_path, 1.0)
    value: dict[str, Any] = {
        "fault": "f", "promise": "p", "kept": False, "broken": ["it was lost"], "told": [], "requests": 9,
        "lost_by_fault": 0, "lost_otherwise": 1, "outage_seconds": 0.0, "live": [1, 1], "answered": ["a"],
        "ledger": ["failed 2: why"], "seconds": 1.0,
    }  # fmt: skip
    bench.store.add(
        {"cell": cells[0].name, "key": cells[0].key, "value": value, "at": 1.0, "seconds": 1.0, "lane": "a"}
    )
    told = faults.report(bench)
    assert list(told.missed) == [f"{cells[0].name}: it was lost"]
    assert "0 ended as promised" in told.markdown


def test_the_variants_of_another_benchmark_that_is_at_work_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_scene._engine, "wheel_cache", lambda: tmp_path)
    with subprocess.Popen(["true"]) as ended:
        pass
    for owner in (os.getpid(), os.getppid(), ended.pid):
        (tmp_path / f"variants/{owner}/one").mkdir(parents=True)
    _scene.forget_variants()
    assert [folder.name for folder in (tmp_path / "variants").iterdir()] == [str(os.getppid())]

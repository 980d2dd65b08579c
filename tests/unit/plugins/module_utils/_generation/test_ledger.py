# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import ledger
from ansible_collections.headcount.gunicorn.plugins.module_utils._hosttool import describe


def test_events_are_appended_and_read_oldest_first(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.jsonl")
    ledger.append(path, "staged", generation=1)
    ledger.append(path, "promoted", **{"from": None, "to": 1})
    entries = ledger.read(path)
    assert [entry["event"] for entry in entries] == ["staged", "promoted"]
    assert "from" not in entries[1], "what is not there is left out"
    assert ledger.read(path, last=1) == entries[-1:]


def test_only_root_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger.append(str(path), "staged")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_last_line_costs_no_other_event(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger.append(str(path), "staged", generation=1)
    with path.open("a") as stream:
        stream.write('{"time": "2026-01-01T00:00:00Z", "event": "prom')
    ledger.append(str(path), "failed", generation=2)
    assert [entry["event"] for entry in ledger.read(str(path))] == ["staged", "failed"]


def test_an_unknown_event_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ledger event 'exploded' is not one of staged, promoted"):
        ledger.append(str(tmp_path / "ledger.jsonl"), "exploded")


def test_each_line_is_json_with_time_and_event(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger.append(str(path), "staged", user="deploy")
    (line,) = path.read_text().splitlines()
    entry = json.loads(line)
    assert list(entry)[:2] == ["time", "event"]
    assert entry["time"].endswith("Z")


def test_numbers_are_never_used_twice() -> None:
    entries = [{"generation": 3}, {"from": 3, "to": 7}, {"to": None}]
    assert ledger.highest_generation(entries) == 7
    assert ledger.highest_generation([]) == 0


def test_a_line_that_lacks_what_every_event_has(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"event": "healed", "did": 7}\n{"time": 5}\n' + "[" * 100000 + "\n7\n", encoding="utf-8")
    entries = ledger.read(str(path))
    assert [(entry["time"], entry["event"]) for entry in entries] == [("", "healed"), ("5", "")]
    assert describe(entries[0]).startswith("at an unknown time    healed")


def test_what_the_guard_took_back_counts_until_it_is_promoted_again() -> None:
    back = {"event": "failed", "phase": "guard", "from": 1, "generation": 2, "source_id": "path:2", "cause": "worse"}
    stays_live = {key: value for key, value in back.items() if key != "from"}
    trial = {**back, "phase": "trial"}
    promoted = {"event": "promoted", "from": 1, "to": 3, "source_id": "path:3"}
    assert ledger.taken_back([]) == []
    assert ledger.taken_back([back, promoted, {"event": "rolled_back", "from": 3, "to": 1}]) == [back]
    assert ledger.taken_back([stays_live, trial]) == []
    assert ledger.taken_back([back, {**promoted, "source_id": "path:2"}]) == []
    again = {**back, "generation": 4}
    assert ledger.taken_back([back, {**promoted, "source_id": "path:2"}, again]) == [again]
    assert ledger.taken_back([back, {**again, "source_id": "path:4"}])[0]["generation"] == 4
    assert ledger.taken_back([back, {"event": "removed"}]) == []


def test_what_a_report_tells_of_an_event_is_short() -> None:
    entry = {"time": "t", "event": "failed", "generation": 3, "cause": "why", "run": "r1", "source_id": "x", "did": []}
    assert ledger.brief(entry) == {"time": "t", "event": "failed", "generation": 3, "cause": "why"}


def test_what_people_went_back_from_counts_until_it_is_promoted_again() -> None:
    made = [{"event": "promoted", "to": number, "source_id": f"path:{number}"} for number in (1, 2, 3)]
    back = {"event": "rolled_back", "from": 3, "to": 2, "user": "anna"}
    further = {"event": "rolled_back", "from": 2, "to": 1, "user": "anna"}
    assert ledger.left([*made, back]) == [{**back, "source_id": "path:3"}]
    assert [entry["from"] for entry in ledger.left([*made, back, further])] == [2, 3]
    forward = {"event": "rolled_back", "from": 2, "to": 3}
    assert [entry["from"] for entry in ledger.left([*made, back, forward])] == [2]
    other = {"event": "promoted", "to": 4, "source_id": "path:4"}
    assert ledger.left([*made, back, other]) == [{**back, "source_id": "path:3"}]
    assert ledger.left([*made, back, other, {"event": "promoted", "to": 5, "source_id": "path:3"}]) == []
    many = [{"event": "rolled_back", "from": 3, "to": 2, "user": str(number)} for number in range(30)]
    assert [entry["user"] for entry in ledger.left([*made, *many])] == [str(number) for number in range(29, 9, -1)]
    assert ledger.left([*made, back, {"event": "removed"}]) == []
    assert ledger.left([{"event": "rolled_back", "from": [7], "to": {}}, {**back, "from": 9}]) == []

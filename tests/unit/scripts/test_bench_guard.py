# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What of scripts/bench guard needs no host: its releases, its bursts, and what it says is missed."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from headcount_bench import _engine, guard
from headcount_bench._client import due_s, watch_itself
from headcount_scripts import paths
from headcount_scripts.console import ScriptError


@pytest.mark.parametrize("bad", guard.BAD, ids=lambda bad: bad.name)
def test_a_bad_release_is_the_sample_app_but_for_a_view(bad: guard.Bad) -> None:
    code = (paths.ROOT / "app/src/shop/wsgi.py").read_text(encoding="utf-8")
    changed = guard.with_body(code, bad.body)
    compile(changed, "wsgi.py", "exec")
    assert bad.body in changed.partition('@app.get("/version")')[2]
    assert all("/version" not in path for path in guard.DECLARED["load"]["paths"]), "its trial does not ask it"
    with pytest.raises(ScriptError, match="no view of /version"):
        guard.with_body("", bad.body)


def test_bursts() -> None:
    assert [due_s(count, 2.0) for count in range(3)] == [0.0, 0.5, 1.0]
    assert [due_s(count, 2.0, [1.0, 9.0]) for count in range(5)] == [0.0, 0.5, 9.0, 9.5, 18.0]


def test_which_losses_fell_into_a_stand_still_of_the_users_own_program() -> None:
    good, error = ["new", 10.0, 9000.0, 200, "g1"], ["new", 10.0, 9000.0, 503, ""]
    closed = ["new", 10.0, 9000.0, 0, "IncompleteReadError: 0 bytes read"]
    brief = ["new", 10.0, 800.0, 0, "ConnectionResetError"]
    users: Any = SimpleNamespace(rows=[good, error, closed, brief], held_up=[[10.5, 12.0], [18.0, 30.0]])
    assert _engine.held_up(users) == [closed]
    users.held_up = [[10.5, 12.0], [18.9, 30.0]]
    assert _engine.held_up(users) == [], "1.6 s are too few to explain it"


def test_users_note_when_they_could_not_run() -> None:
    async def stand_still() -> list[list[float]]:
        found: list[list[float]] = []
        over, began = asyncio.Event(), time.monotonic()
        watching = asyncio.create_task(watch_itself(began, found, over))
        await asyncio.sleep(0)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            pass
        await asyncio.sleep(0)
        over.set()
        await watching
        return found

    since, until = asyncio.run(stand_still())[0]
    assert since < 1.0
    assert until >= 1.5


def bad(**change: Any) -> dict[str, Any]:
    told = {"words": "it leaks", "back": True, "cause": "it uses 120 MiB", "named": True, "seconds": 81.0}
    return {**told, "requests": 900, "bad": 0, "lost": [], **change}


def good(**change: Any) -> dict[str, Any]:
    told = ["700 requests, no breach", "900 requests, no breach", "not enough traffic to tell (3 requests)"]
    return {"promotes": 3, "minutes": 1.0, "back": 0, "told": told, "requests": 4000, "lost": [], **change}


def test_what_came_is_told() -> None:
    said = guard.text({"bad/leak": bad(), "good/1": good(), "good/2": good()})
    assert "| leak | it leaks | yes | 81 | 900 | 0 | 0 | it uses 120 MiB |" in said
    assert "Of 6 good releases, each guarded for 1 minute under users" in said
    assert "0 were taken back; 0 of 8000 requests were lost, 800 requests under a guard in the middle" in said
    assert "The users ask 21 times a second, 60 more for 2 of each 9 s and 40 more for 1 of each 23 s." in said
    said = guard.text({"good/1": good(), "good/long 1": good(promotes=1, minutes=10.0, told=[])})
    assert "Of 3 good releases, each guarded for 1 minute under" in said
    assert "Of 1 good releases, each guarded for 10 minutes under" in said
    assert "stood still" not in said
    assert "Within 3 of the lost requests the users' own program" in guard.text(
        {"bad/leak": bad(held_up=1), "good/1": good(held_up=2)}
    )
    assert "No good release was promoted." in guard.text({"bad/leak": bad()}), "a run that was broken off"


def test_only_what_was_promised_is_missed() -> None:
    assert guard.missed({"bad/leak": bad(), "good/1": good()}) == []
    row = ["new", 1.0, 3.0, 0, "reset"]
    assert guard.missed(
        {
            "bad/leak": bad(back=False, named=False, cause=""),
            "bad/x": bad(named=False),
            "good/1": good(back=1, lost=[row]),
        }
    ) == [
        "bad/leak: not taken back, and the ledger has nothing of it",
        "bad/x: taken back, and the ledger has 'it uses 120 MiB'",
        f"good/1: 1 requests were lost, like {row}",
        "good/1: 1 of 3 good releases were taken back",
    ]

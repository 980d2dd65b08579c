# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which hosts go back where people roll back a fleet."""

from __future__ import annotations

from typing import Any

from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.hardware import join_parts, part_digest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.leaving import staying


def promoted(
    before: int | None, to: int, code: str, at: int, run: str = "", declared: str = "d", host: str = "1 core"
) -> dict[str, Any]:
    parts = {"declared": declared, "secrets": "", "source": code, "cores": host, "memory": host, "neighbours": host}
    return {
        "time": f"2026-11-27T03:{at:02}:00.000Z",
        "event": "promoted",
        "from": before,
        "to": to,
        "source_id": code,
        "digest": join_parts({name: part_digest(value) for name, value in parts.items()}),
        "run": run or f"run of {code}",
    }


def went(event: str, before: int, to: int, at: int) -> dict[str, Any]:
    return {"time": f"2026-11-27T03:{at:02}:00.000Z", "event": event, "from": before, "to": to, "run": "by hand"}


def ledger(*events: dict[str, Any]) -> list[dict[str, Any]]:
    """Newest first, as history_info returns it, with what came between."""
    noise = {"time": "2026-11-27T03:59:00.000Z", "event": "healed"}
    return [noise, *reversed(events)]


OLD = (promoted(None, 1, "v3", 1), promoted(1, 2, "v4", 5))


def test_a_host_that_never_had_what_is_left_stays() -> None:
    why = staying({"web1": ledger(*OLD, promoted(2, 3, "v5", 20)), "web2": ledger(*OLD)})
    assert set(why) == {"web2"}
    assert why["web2"].startswith(
        "generation 2 is live since 2026-11-27T03:05:00.000Z, and is not what was promoted last"
    )


def test_a_canary_goes_back_with_the_rest_that_got_the_same_later() -> None:
    canary = ledger(*OLD, promoted(2, 3, "v5", 20, "canary"))
    rest = ledger(*OLD, promoted(2, 3, "v5", 40, "the rest"))
    assert staying({"canary": canary, "web1": rest, "web2": rest}) == {}


def test_another_declaration_of_the_same_code_is_told_apart() -> None:
    why = staying(
        {
            "web1": ledger(*OLD, promoted(2, 3, "v4", 20, "canary", "debug")),
            "web2": ledger(*OLD, promoted(2, 3, "v4", 22, "the rest", "debug")),
            "web3": ledger(*OLD),
        }
    )
    assert set(why) == {"web3"}


def test_a_call_that_is_repeated_takes_none_further_back() -> None:
    back = ledger(*OLD, promoted(2, 3, "v5", 20), went("rolled_back", 3, 2, 30))
    away = ledger(*OLD, promoted(2, 3, "v5", 20))
    why = staying({"web1": back, "web2": away})
    assert list(why) == ["web1"]
    assert why["web1"].startswith("it went back from generation 3 to 2 at 2026-11-27T03:30:00.000Z already")
    assert "headcount_further=true" in why["web1"]
    assert set(staying({"web1": back, "web2": back})) == {"web1", "web2"}


def test_a_call_that_is_repeated_takes_nobody_who_never_had_it() -> None:
    back = ledger(*OLD, promoted(2, 3, "v5", 20), went("rolled_back", 3, 2, 30))
    assert set(staying({"web1": back, "web2": ledger(*OLD)})) == {"web1", "web2"}


def test_hosts_that_a_fleet_reverted_stay() -> None:
    reverted = ledger(*OLD, promoted(2, 3, "v5", 20), went("reverted", 3, 2, 21))
    assert set(staying({"web1": reverted, "web2": ledger(*OLD, promoted(2, 3, "v5", 20))})) == {"web1"}


def test_hosts_of_another_size_or_with_other_apps_beside_go_back_too() -> None:
    small = ledger(*OLD, promoted(2, 3, "v5", 20, "canary"))
    large = ledger(*OLD, promoted(2, 3, "v5", 40, "the rest", host="16 cores"))
    assert staying({"small": small, "large": large}) == {}
    again = ledger(*OLD, promoted(2, 3, "v4", 20, "canary", "debug"))
    other = ledger(*OLD, promoted(2, 3, "v4", 40, "the rest", "debug", "16 cores"))
    assert set(staying({"small": again, "large": other, "web3": ledger(*OLD)})) == {"web3"}


def test_what_is_declared_for_one_host_makes_the_release_no_other_one() -> None:
    web = ledger(*OLD, promoted(2, 3, "v5", 20))
    clock = ledger(*OLD, promoted(2, 3, "v5", 21, declared="and its clock"))
    assert staying({"web1": web, "web2": clock}) == {}
    later = ledger(*OLD, promoted(2, 3, "v5", 40, "the rest", "and its clock"))
    assert staying({"web1": web, "web2": later}) == {}
    one_run = ledger(*OLD, promoted(2, 3, "v4", 20, "debugged", "debug"))
    clocked = ledger(*OLD, promoted(2, 3, "v4", 21, "debugged", "debug, and its clock"))
    assert staying({"web1": one_run, "web2": clocked}) == {}


def test_a_host_whose_last_step_was_another_declaration_does_not_undo_that_for_a_code() -> None:
    declared = ledger(promoted(None, 1, "v4", 1), promoted(1, 2, "v5", 5), promoted(2, 3, "v5", 10, "later", "debug"))
    assert set(staying({"web1": declared, "web2": ledger(*OLD, promoted(2, 3, "v5", 20))})) == {"web1"}


def test_a_retune_is_undone_where_it_was_done() -> None:
    retuned = ledger(*OLD, promoted(2, 3, "v4", 30, "retune"))
    assert set(staying({"web1": retuned, "web2": ledger(*OLD)})) == {"web2"}


def test_after_a_rollback_and_a_promote_it_is_that_promote_that_counts() -> None:
    again = ledger(*OLD, promoted(2, 3, "v5", 20), went("rolled_back", 3, 2, 30), promoted(2, 4, "v6", 40))
    assert set(staying({"web1": again, "web2": ledger(*OLD, promoted(2, 3, "v5", 20))})) == {"web2"}


def test_a_host_where_nothing_is_live_says_so_itself() -> None:
    removed = ledger(*OLD, {"time": "2026-11-27T03:50:00.000Z", "event": "removed"})
    assert staying({"web1": removed, "web2": ledger(*OLD), "web3": []}) == {}


def test_ledgers_of_before_go_by_the_run() -> None:
    def bare(before: int | None, to: int, at: int, run: str) -> dict[str, Any]:
        event = promoted(before, to, "", at, run)
        return {key: value for key, value in event.items() if key not in ("source_id", "digest")}

    old = ledger(bare(None, 1, 1, "one"), bare(1, 2, 20, "two"))
    assert staying({"web1": old, "web2": old}) == {}
    assert set(staying({"web1": old, "web2": ledger(bare(None, 1, 1, "one"))})) == {"web2"}

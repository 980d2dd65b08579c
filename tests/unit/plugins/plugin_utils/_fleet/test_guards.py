# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What guards found while a rollout still runs: who is asked, and what that means for the hosts that are to come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.headcount.gunicorn.plugins.action.guarded import note
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.gating import gate, revert_plan
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.guards import heard, questions, shared, working
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.outcome import Outcome
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.pooled import whole
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.runs import Notes

ORDER = ["web1", "web2", "web3"]
WORSE = "users were served worse after the promote: 12 of 40 requests failed"
TOOK = f"the guard took generation 4 back, generation 3 is live again: {WORSE}"
STAYS = f"the guard found generation 4 bad, and it is live still: {WORSE}; generation 3 is not intact"


def promoted(host: str = "web1", app: str = "shop", guarded: bool = True) -> Outcome:
    step = {"from": 3, "to": 4, "guarded": guarded, "verified": {}}
    return Outcome(host, app).after("promote", step, 8.0, 1.8e9)


def taken_back(host: str = "web1") -> Outcome:
    return heard(promoted(host), {"cause": WORSE, "back_to": 3, "watches": False}, 1.8e9 + 60)


def stuck(host: str = "web1") -> Outcome:
    cause = f"{WORSE}; generation 3 is not intact"
    return heard(promoted(host), {"cause": cause, "back_to": None, "watches": True}, 1.8e9 + 60)


class TestWhoIsAsked:
    """Those that a guard watches, as far as is known."""

    def test_only_what_this_run_promoted_and_a_guard_watches(self) -> None:
        outcomes = {
            "web1": {"shop": promoted(), "api": promoted(app="api", guarded=False)},
            "web2": {"shop": Outcome("web2", "shop", "failed")},
            "web3": {"shop": Outcome("web3", "shop").after("promote", {"from": None, "to": 1, "guarded": False}, 8.0)},
        }
        assert [(one.host, one.generations) for one in questions(outcomes)] == [("web1", {"shop": 4})]

    def test_nobody_is_asked_again_whose_guard_has_had_its_last_word(self) -> None:
        over = heard(promoted(), {"cause": "", "back_to": None, "watches": False}, 1.8e9)
        assert over.outcome == "promoted"
        assert not over.failed
        assert questions({"web1": {"shop": over}, "web2": {"shop": taken_back("web2")}}) == []
        assert len(questions({"web1": {"shop": stuck()}})) == 1, "it tries again, each minute"

    def test_many_are_asked_side_by_side(self) -> None:
        outcomes = {f"web{number}": {"shop": promoted(f"web{number}")} for number in range(1, 8)}
        dealt = shared(questions(outcomes), ["web8", "web9", "web7"])
        asked = {host: [one["host"] for one in ones] for host, ones in dealt.items()}
        assert asked == {"web7": ["web7", "web3", "web6"], "web8": ["web1", "web4"], "web9": ["web2", "web5"]}
        assert dealt["web8"][0]["generations"] == {"shop": 4}
        assert shared(questions(outcomes), []) == {}

    def test_hosts_that_are_done_with_an_app_ask_nobody(self) -> None:
        apps = {"web1": {"shop": "deploy"}, "web2": {"shop": "deploy"}, "web3": {"shop": "heal"}, "web4": {}}
        outcomes = {"web1": {"shop": Outcome("web1", "shop", "failed")}, "web2": {"shop": Outcome("web2", "shop")}}
        assert working(["web1", "web2", "web3", "web4"], apps, outcomes, "shop") == ["web2"]


class TestWhatItMeans:
    """A generation that was taken back counts as one that failed."""

    def test_the_next_batch_is_not_begun_and_the_words_say_why(self) -> None:
        found = gate(ORDER, [1, 2], {"web2": ["shop"], "web3": ["shop"]}, {"web1": {"shop": taken_back()}}, {}, 0)
        assert found.stop
        assert found.why == (
            "batch 2 of 2 is not begun: shop failed on 1 host (web1), headcount_rollout_max_failed allows 0; "
            f"web1: {TOOK}"
        )
        assert found.why_stopped == {"shop": found.why.partition(": ")[2]}

    def test_as_many_may_be_taken_back_as_may_fail(self) -> None:
        found = gate(ORDER, [1, 2], {"web2": ["shop"], "web3": ["shop"]}, {"web1": {"shop": taken_back()}}, {}, 1)
        assert (found.stop, found.stopped, found.why) == (False, [], "batch 2 of 2: web2, web3")

    def test_the_others_go_back_and_what_is_back_is_let_be(self) -> None:
        outcomes = {"web1": {"shop": taken_back()}, "web2": {"shop": promoted("web2")}}
        found = revert_plan(outcomes, {}, 0, "revert_all")
        assert found.hosts == {"web2": ["shop"]}
        assert found.why == f"shop failed on 1 host (web1): 1 host goes back (web2); web1: {TOOK}"
        assert not revert_plan({"web1": {"shop": taken_back()}}, {}, 0, "revert_all").needed

    def test_what_a_guard_could_not_take_back_goes_back_with_the_fleet(self) -> None:
        outcomes = {"web1": {"shop": stuck()}}
        assert gate(ORDER, [1, 2], {"web2": ["shop"]}, outcomes, {}, 0).why.endswith(f"; web1: {STAYS}")
        assert revert_plan(outcomes, {}, 0, "revert_all").hosts == {"web1": ["shop"]}
        back = stuck().after("revert", {"from": 4, "to": 3}, 8.0)
        assert (back.outcome, back.reverted_to, back.failed) == ("reverted", 3, True)

    def test_other_hosts_do_not_build_on_its_trial(self) -> None:
        evidence = {"verdict": {"outcome": "pass", "attempts": 1}, "evidence": {"candidate": {"planned": 600}}}
        step = {"from": 3, "to": 4, "guarded": True, **evidence}
        good = Outcome("web1", "shop").after("promote", step, 8.0)
        assert whole(good)
        assert not whole(heard(good, {"cause": WORSE, "back_to": None, "watches": True}, 1.8e9))
        assert not whole(heard(good, {"cause": WORSE, "back_to": 3, "watches": False}, 1.8e9))


def test_what_is_noted_and_told(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    notes.write_outcome(promoted())
    answer: dict[str, Any] = {"shop": {"cause": "", "back_to": None, "watches": True}}
    assert note(notes, "web1", answer) == []
    failing = {"shop": {"cause": f"{WORSE}; generation 3 is not intact", "back_to": None, "watches": True}}
    assert note(notes, "web1", failing) == [f"web1: shop: {STAYS}"]
    assert note(notes, "web1", failing) == [], "it is told once"
    gone = {"shop": {"cause": WORSE, "back_to": 3, "watches": False}}
    assert note(notes, "web1", gone) == [f"web1: shop: {TOOK}"]
    kept = notes.outcome("web1", "shop")
    assert (kept.outcome, kept.phase, kept.reverted_to, kept.to) == ("taken_back", "guard", 3, 4)
    assert [step.phase for step in kept.steps] == ["promote", "guard"], "one step, however often it was asked"
    assert Outcome.from_dict(kept.to_dict()) == kept

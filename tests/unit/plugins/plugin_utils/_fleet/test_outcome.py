# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What came of an app on a host, over its steps."""

from __future__ import annotations

from typing import Any

from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.outcome import Outcome

OK: dict[str, Any] = {"changed": True}
STAGED = {"generation": 3, "release": "abc", "healed": ["stopped a candidate"]}
FAILED = {"failed": True, "phase": "trial", "cause": "p95 is 312 ms, limit 250", "self_healed": True}


class TestOutcome:
    """The outcome of an app over its steps."""

    def go(self, *steps: tuple[str, dict[str, Any]]) -> dict[str, Any]:
        outcome = Outcome("web1", "shop")
        for phase, result in steps:
            outcome = outcome.after(phase, result, 1.26)
        assert Outcome.from_dict(outcome.to_dict()) == outcome
        return outcome.to_dict()

    def test_all_the_way(self) -> None:
        data = self.go(("stage", STAGED), ("weigh", OK), ("trial", OK), ("promote", {"from": 2, "to": 3}))
        assert (data["outcome"], data["from"], data["to"], data["generation"]) == ("promoted", 2, 3, 3)
        assert data["steps"][0] == {"phase": "stage", "ok": True, "seconds": 1.3, "healed": ["stopped a candidate"]}

    def test_a_step_says_when_it_ended(self) -> None:
        outcome = Outcome("web1", "shop").after("trial", OK, 12.5, 1.8e9)
        assert Outcome.from_dict(outcome.to_dict()) == outcome
        assert outcome.to_dict()["steps"] == [{"phase": "trial", "ok": True, "seconds": 12.5, "at": 1.8e9}]

    def test_a_step_in_between(self) -> None:
        assert self.go(("stage", STAGED))["outcome"] == "working"

    def test_the_first_cause_stays(self) -> None:
        data = self.go(("trial", FAILED), ("abandon", {"failed": True, "msg": "something else"}))
        assert (data["outcome"], data["phase"], data["cause"]) == ("failed", "trial", "p95 is 312 ms, limit 250")

    def test_a_host_that_is_lost_while_it_is_cleaned_up(self) -> None:
        data = self.go(("stage", {"failed": True, "msg": "killed"}), ("abandon", {"failed": True, "lost": True}))
        assert (data["outcome"], data["phase"], data["cause"]) == ("lost", "stage", "killed")

    def test_a_host_that_is_lost(self) -> None:
        data = self.go(("trial", {"failed": True, "lost": True, "cause": "the connection was lost"}))
        assert (data["outcome"], data["self_healed"]) == ("lost", False)

    def test_a_refused_lock(self) -> None:
        assert self.go(("stage", {"failed": True, "cause": "held by run 1", "busy": True}))["busy"] is True

    def test_a_revert(self) -> None:
        promoted = ("promote", {"from": 2, "to": 3})
        data = self.go(promoted, ("revert", {"from": 3, "to": 2}))
        assert (data["outcome"], data["reverted_to"]) == ("reverted", 2)
        data = self.go(promoted, ("revert", {"failed": True, "cause": "generation 2 is not intact"}))
        assert (data["outcome"], data["revert_cause"]) == ("revert_failed", "generation 2 is not intact")

    def test_healed(self) -> None:
        assert self.go(("heal", {"healed": []}))["outcome"] == "healed"

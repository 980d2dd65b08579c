# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the steps, on a host that is a directory and a systemd that only remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.instances import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.lock import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import app as steps


def entry(event: str, before: int | None, after: int) -> dict[str, Any]:
    return {"event": event, "from": before, "to": after}


@pytest.mark.parametrize(
    ("entries", "live", "good", "target"),
    [
        ([entry("promoted", 1, 2)], 2, [1], 1),
        ([entry("promoted", 1, 2), entry("promoted", 2, 3), entry("rolled_back", 3, 2)], 2, [1, 3], 1),
        ([entry("promoted", None, 2), entry("promoted", 2, 3), entry("reverted", 3, 2)], 2, [3], None),
        ([entry("promoted", 1, 4)], 4, [2, 3], 3),
        ([], 4, [], None),
        ([entry("promoted", None, 1)], 1, [], None),
    ],
)
def test_what_a_rollback_goes_back_to(
    entries: list[dict[str, Any]], live: int, good: list[int], target: int | None
) -> None:
    assert steps.predecessor(entries, live, good) == target


def test_plan_changes_name_old_and_new() -> None:
    before = {"settings": {"workers": {"value": 2}, "timeout": {"value": 30}}}
    after = {"settings": {"workers": {"value": 3}, "timeout": {"value": 30}, "threads": {"value": 8}}}
    assert steps.plan_changes(before, after) == {"workers": [2, 3], "threads": [None, 8]}
    assert steps.plan_changes(None, before) == {"workers": [None, 2], "timeout": [None, 30]}


def test_errors_are_told_in_words() -> None:
    assert steps.sentence(OSError(28, "No space left on device", "/opt/x")) == "No space left on device: /opt/x"
    assert steps.sentence(ValueError()) == "ValueError"


def test_a_rollback_of_an_app_that_is_not_there_lists_the_apps_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "var/lib/headcount/shop").mkdir(parents=True)
    (tmp_path / "var/lib/headcount/wheels").mkdir()
    shoe = steps.AppOnHost("shoe", Run("a1", "anna", "control1", "2026-11-22T10:00:00Z"), str(tmp_path))
    with pytest.raises(StepFailed) as failed:
        shoe.rollback(3)
    assert failed.value.cause == "there is no app 'shoe' on this host; there are: shop"
    assert sorted(path.name for path in tmp_path.rglob("sho*")) == ["shop"]

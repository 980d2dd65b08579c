# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which generation is live, and where a rollback goes, when a link, a record or a unit is gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import ledger, store, truth
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Generations 1 to 3 are good, 3 is live by link and ledger; 4 was never finished."""
    made = Layout("shop", str(tmp_path))
    os.makedirs(made.state)
    os.makedirs(made.units)
    for number in (1, 2, 3, 4):
        store.begin(made, number, "0" * 16)
        store.write(made, number, {"shop.socket": "[Socket]\n"}, {"number": number, "release": "0" * 16})
        store.link_units(made, number)
        Path(made.environment(number)).touch()
    for number in (1, 2, 3):
        store.finish(made, number)
        store.set_outcome(made, number, "good")
        ledger.append(made.ledger, "promoted", **{"from": number - 1 or None, "to": number})
    store.activate(made, 3)
    return made


def dangle(layout: Layout) -> None:
    os.unlink(layout.live)
    os.symlink("generations/77", layout.live)


@pytest.mark.parametrize("running", [[], [2], [3], [2, 3]])
def test_the_link_says_it(layout: Layout, running: list[int]) -> None:
    assert truth.live(layout, running) == truth.Live(3)


@pytest.mark.parametrize("how", ["deleted", "dangling"])
@pytest.mark.parametrize(
    ("running", "number", "why"),
    [
        ([3], 3, "by the ledger and what runs"),
        ([2, 3], 3, "by the ledger and what runs"),
        ([], 3, "by the ledger"),
        ([2], 2, "by what runs"),
        ([4], 3, "by the ledger"),  # a candidate's number that was never finished
        ([9], 3, "by the ledger"),  # nothing of it is on disk
    ],
)
def test_without_the_link(layout: Layout, how: str, running: list[int], number: int, why: str) -> None:
    os.unlink(layout.live)
    if how == "dangling":
        os.symlink("generations/77", layout.live)
    assert truth.live(layout, running) == truth.Live(number, why)


def test_without_link_and_ledger(layout: Layout) -> None:
    dangle(layout)
    os.unlink(layout.ledger)
    assert truth.live(layout, []) == truth.Live(3, "the newest good one on disk")
    assert truth.live(layout, [1]) == truth.Live(1, "by what runs")


def test_what_the_ledger_names_may_be_gone_from_the_disk(layout: Layout) -> None:
    store.deactivate(layout)
    store.remove(layout, 3)
    assert truth.live(layout, [3]) == truth.Live(2, "the newest good one on disk")


def test_a_first_deployment_that_never_became_live_is_not_live(tmp_path: Path) -> None:
    made = Layout("shop", str(tmp_path))
    os.makedirs(made.state)
    store.begin(made, 1, "0" * 16)
    store.finish(made, 1)
    assert truth.live(made, [1]) is None
    assert truth.rollback_target(made, None) is None


def test_after_a_removal_nothing_is_live(layout: Layout) -> None:
    store.deactivate(layout)
    for number in (1, 2, 3, 4):
        store.remove(layout, number)
    assert truth.live(layout, []) is None


def test_the_way_back_passes_over_a_generation_that_is_torn(layout: Layout) -> None:
    assert truth.rollback_target(layout, 3) == 2
    record = Path(layout.generation(2)) / "generation.json"
    os.truncate(record, 0)
    assert truth.rollback_target(layout, 3) == 1
    assert truth.rollback_hint(layout, 3) == "`headcount-rollback shop` on the host goes back to generation 1"
    os.truncate(Path(layout.generation(1)) / "generation.json", 0)
    assert truth.rollback_target(layout, 3) == 2  # whose damage is told to who asks for it
    assert truth.rollback_hint(layout, 3) == (
        "generation 2, which `headcount-rollback shop` would go back to, is not intact: "
        f"{layout.generation(2)}/generation.json was edited"
    )
    assert truth.rollback_target(layout, 1) is None
    assert truth.rollback_hint(layout, 1) == ""


def test_a_release_is_used_whose_generation_lost_its_record(layout: Layout) -> None:
    for name in ("0" * 16, "1" * 16):
        os.makedirs(layout.release(name))
    for number in (1, 2, 3, 4):
        os.truncate(Path(layout.generation(number)) / "generation.json", 0)
    assert store.unused_releases(layout) == ["1" * 16]


def test_what_somebody_went_back_from_is_no_way_back(layout: Layout) -> None:
    """3 was left for 2, then 4 came, and 5: back from 5 to 4, and from there to 2, which users were well with."""
    ledger.append(layout.ledger, "rolled_back", **{"from": 3, "to": 2})
    for number, before in ((4, 2), (5, 4)):
        if number == 5:
            store.begin(layout, 5, "0" * 16)
            store.write(layout, 5, {"shop.socket": "[Socket]\n"}, {"number": 5, "release": "0" * 16})
            store.link_units(layout, 5)
            Path(layout.environment(5)).touch()
        store.finish(layout, number)
        store.set_outcome(layout, number, "good")
        ledger.append(layout.ledger, "promoted", **{"from": before, "to": number})
    store.activate(layout, 5)
    assert truth.rollback_target(layout, 5) == 4
    ledger.append(layout.ledger, "rolled_back", **{"from": 5, "to": 4})
    store.activate(layout, 4)
    assert truth.rollback_target(layout, 4) == 2
    assert truth.listed(layout, 4) == (
        "1 (good), 2 (good), 3 (good, but left by a way back), 4 (live), 5 (good, but left by a way back)"
    )
    store.remove(layout, 1)
    store.remove(layout, 2)
    assert truth.rollback_target(layout, 4) is None
    ledger.append(layout.ledger, "rolled_back", **{"from": 4, "to": 3})  # by its number
    assert ledger.deserted(ledger.read(layout.ledger)) == {4, 5}

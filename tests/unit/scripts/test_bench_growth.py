# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the benchmark of growth makes of its counts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import WheelhouseError
from headcount_bench import growth


@pytest.mark.parametrize(
    ("values", "each"),
    [([5] * 12, 0.0), (list(range(12)), 1.0), ([9, 3, 4, 3, 4, 3, 4, 3, 4, 3, 4, 9], 0.0), ([4, 4, 4, 0, 0, 0], -1.0)],
)
def test_what_a_rollout_adds(values: list[int], each: float) -> None:
    assert growth.slope(values) == each


def looks(**columns: list[int]) -> list[dict[str, int]]:
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def told(found: list[dict[str, int]]) -> growth.Report:
    bench: Any = SimpleNamespace(
        cells=growth.cells(quick=False), results=lambda: {"trixie": SimpleNamespace(value={"looks": found})}
    )
    return growth.report(bench)


def test_the_ledger_may_grow_and_nothing_else_may() -> None:
    steps = list(range(0, 240, 20))
    well = told(looks(wheels=[1, 2, *[3] * 10], **{"bytes of ledger": steps}))
    assert well.missed == []
    assert "## trixie: 12 of 200 rollouts, for which there was time\n" in well.markdown
    assert "| bytes of ledger | 40 | 40 | 220 | 220 |" in well.markdown
    badly = told(looks(wheels=list(range(12)), **{"bytes of ledger": steps}))
    assert badly.missed == ["trixie: wheels grew from 2 to 11 in 10 rollouts"]


def test_what_there_was_time_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    unbuilt = [WheelhouseError("this machine is too busy")]

    class Host:
        def __init__(self, *_: object) -> None:
            self.engine = self

        def push(self) -> None:
            """Nothing is brought."""

        def variant(self) -> str:
            return str(len(made))

        def deploy(self, source: str, retain: object) -> list[dict[str, object]]:
            if unbuilt:
                raise unbuilt.pop()
            made.append(source)
            return [{}]

        def sh(self, command: str) -> str:
            return "3" if command.startswith(("du", "stat")) else "a\nb\n"

    monkeypatch.setattr(growth, "Scene", Host)
    monkeypatch.setattr(growth._engine, "Engine", Host)
    monkeypatch.setattr(growth._engine, "wheel_cache", lambda: None)
    lab: Any = SimpleNamespace(name="lab")
    inputs = {"suite": "trixie", "rollouts": 200, "retain": 2}
    found = growth.grown(lab, {"trixie": "host"}, inputs, lambda: 20 - len(made))
    assert len(found["looks"]) == len(made) == 20
    assert found["looks"][0]["wheels"] == 2
    made.clear()
    assert len(growth.grown(lab, {"trixie": "host"}, inputs, lambda: 0)["looks"]) == growth.LEAST
    unbuilt += [WheelhouseError("too busy")] * growth.BUILDS
    with pytest.raises(WheelhouseError):
        growth.grown(lab, {"trixie": "host"}, inputs, lambda: 0)


def test_the_controller_is_held_to_what_it_is_to_keep() -> None:
    sets = [min(number, 4) for number in range(1, 25)]
    disk = [100 + 10 * min(number, 8) for number in range(24)]
    rows = looks(**{growth.SETS: sets, growth.DISK: disk})
    value = {"looks": rows, "most sets": 4, "kept sets": 200}
    bench: Any = SimpleNamespace(
        cells=growth.cells(quick=False), results=lambda: {"controller": SimpleNamespace(value=value)}
    )
    found = growth.report(bench)
    assert found.missed == []
    assert "| what | after rollout 9 |" in found.markdown
    assert "from rollout 1 to 4, each left 10.0 KiB more" in found.markdown
    rows += looks(**{growth.SETS: [4] * 9, growth.DISK: list(range(190, 280, 10))})
    assert growth.report(bench).missed == [f"controller: {growth.DISK} grew from 180 to 270 in 25 rollouts"]

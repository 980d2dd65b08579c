# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The memory of a trial whose load is remote: sampled by a process of its own, read by the next step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.memory import MemorySampler, ProcessMemory
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import sampler


class Growing:
    """A process whose PSS grows by 1 MiB with every look."""

    def __init__(self) -> None:
        self.mib = 10.0

    def __call__(self, pid: int) -> ProcessMemory:
        self.mib += 1.0
        return ProcessMemory(pid, 1, self.mib, self.mib, self.mib, self.mib)


def one() -> MemorySampler:
    return MemorySampler(lambda: [7], reader=Growing(), resetter=lambda pid: True, interval_s=3600.0)


def sampled() -> dict[str, Any]:
    ends: Iterator[bool] = iter((False, False, True))
    clock: Iterator[float] = iter((101.0, 102.0))
    return sampler.sample({"candidate": one(), "live": one()}, lambda _: next(ends), lambda: next(clock))


def test_levels_of_the_candidate_and_evidence_of_both() -> None:
    found = sampled()
    assert found["levels"] == [[101.0, 12.0], [102.0, 13.0]]
    assert set(found["evidence"]) == {"candidate", "live"}
    candidate = sampler.evidence(found, "candidate", 100.9)
    live = sampler.evidence(found, "live", 100.9)
    assert candidate is not None
    assert live is not None
    assert (candidate.after_warmup_mib, live.after_warmup_mib) == (12.0, None)
    assert candidate.pss_mib == 14.0


@pytest.mark.parametrize(("second", "level"), [(0.0, 12.0), (101.4, 12.0), (101.6, 13.0), (500.0, 13.0)])
def test_the_level_nearest_to_a_moment(second: float, level: float) -> None:
    assert sampler.level_at([[101.0, 12.0], [102.0, 13.0]], second) == level


def test_nothing_was_sampled() -> None:
    assert sampler.level_at([], 1.0) is None
    assert sampler.evidence({}, "candidate", 1.0) is None


def test_a_request_that_is_not_there(tmp_path: Any) -> None:
    assert sampler.main(str(tmp_path / "none.json"), str(tmp_path / "out.json")) == 1
    assert not (tmp_path / "out.json").exists()

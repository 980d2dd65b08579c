# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Noise is no change, changes are named with the limit that set them, and a digest tells which part moved."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import hardware


def facts(cores: float = 2, memory: float = 1024, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cores": {"effective": cores, "physical": 2, "logical": 2, "limited_by": "cpuset"},
        "memory": {"effective_mib": memory, "limited_by": "MemTotal", "available_mib": 500},
        "python": {"version": "3.11"},
        "platform": {"machine": "x86_64", "libc": "glibc 2.36"},
        "nofile_max": 20000,
        "somaxconn": 4096,
    }
    return {**found, **changes}


@pytest.mark.parametrize(
    ("now", "changes"),
    [
        (facts(), []),
        (facts(cores=2.05), []),
        (facts(memory=1024 * 0.951), []),
        (facts(cores=2.06), ["cores 2 -> 2.06 (cpuset)"]),
        (facts(memory=512), ["memory 1024 -> 512 MiB (MemTotal)"]),
        (facts(cores=1, memory=2048), ["cores 2 -> 1 (cpuset)", "memory 1024 -> 2048 MiB (MemTotal)"]),
        (facts(python={"version": "3.13"}), ["Python 3.11 -> 3.13"]),
        (facts(platform={"machine": "x86_64", "libc": "glibc 2.41"}), ["C library glibc 2.36 -> glibc 2.41"]),
        (facts(nofile_max=1024), ["open files allowed 20000 -> 1024"]),
        (facts(somaxconn=128), ["net.core.somaxconn 4096 -> 128"]),
    ],
)
def test_what_counts_as_a_change(now: dict[str, Any], changes: list[str]) -> None:
    assert hardware.settle(now, facts()).changes == changes


def test_within_the_band_the_stored_figures_stay_the_yardstick() -> None:
    creeping = facts(memory=1000)
    assert hardware.settle(creeping, facts()).facts["memory"]["effective_mib"] == 1024
    # 960 is near 1000, but too far from what was planned for.
    assert hardware.settle(facts(memory=960), facts()).changes == ["memory 1024 -> 960 MiB (MemTotal)"]


def test_without_a_live_generation_nothing_changed() -> None:
    assert hardware.settle(facts(), None) == hardware.Settled(facts(), [])


def test_only_python_and_the_c_library_ask_for_a_rebuild() -> None:
    assert hardware.rebuild_reasons(facts(cores=8, memory=8192), facts()) == []
    assert hardware.rebuild_reasons(facts(python={"version": "3.13"}), facts()) == ["Python 3.11 -> 3.13"]


def test_a_digest_tells_which_part_moved() -> None:
    before, after = hardware.fact_parts(facts()), hardware.fact_parts(facts(memory=512))
    assert {name for name in before if before[name] != after[name]} == {"memory"}
    joined = hardware.join_parts(before)
    assert hardware.split_parts(joined) == before
    assert hardware.split_parts("no parts") == hardware.split_parts(None) == {}


@pytest.mark.parametrize(
    ("value", "text"), [(2.0, "2"), (0.5, "0.5"), (1.256, "1.26"), (float("inf"), "unlimited"), (100, "100")]
)
def test_numbers_have_no_needless_digits(value: float, text: str) -> None:
    assert hardware.exact(value) == text

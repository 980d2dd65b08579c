# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The order of the hosts and the sizes of the batches."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import batches
from hypothesis import given
from hypothesis import strategies as st
from test_choice import FACTS


class TestHardwareClass:
    """Alike for a rollout: what the kernel keeps for itself makes no class."""

    @pytest.mark.parametrize(
        ("cores", "memory", "expected"),
        [
            (1.0, 512, "1 core, 512 MiB, x86_64, Python 3.13"),
            (2.0, 1024, "2 cores, 1 GiB, x86_64, Python 3.13"),
            (2.0, 990, "2 cores, 1 GiB, x86_64, Python 3.13"),
            (0.5, 128, "0.5 cores, 128 MiB, x86_64, Python 3.13"),
            (96.0, 257_300, "96 cores, 256 GiB, x86_64, Python 3.13"),
        ],
    )
    def test_words(self, cores: float, memory: int, expected: str) -> None:
        facts = {**FACTS, "cores": {"effective": cores}, "memory": {"effective_mib": memory}}
        assert batches.hardware_class(facts) == expected


DEFAULT = ["1", "10%", "50%", "100%"]


def names(count: int) -> list[str]:
    return [f"web{index}" for index in range(1, count + 1)]


class TestOrder:
    """Canaries first, then growing batches."""

    @pytest.mark.parametrize(
        ("count", "declared", "sizes"),
        [
            (0, DEFAULT, []),
            (1, DEFAULT, [1]),
            (2, DEFAULT, [1, 1]),
            (4, DEFAULT, [1, 1, 2]),
            (20, DEFAULT, [1, 2, 10, 7]),
            (200, DEFAULT, [1, 20, 100, 79]),
            (10, ["3"], [3, 3, 3, 1]),
            (10, ["25%"], [3, 3, 3, 1]),
            (5, [1, "100%"], [1, 4]),
        ],
    )
    def test_one_class(self, count: int, declared: list[str | int], sizes: list[int]) -> None:
        found = batches.order_hosts(names(count), {}, None, declared)
        assert (found.order, found.sizes) == (names(count), sizes)

    def test_the_first_of_each_class_goes_before_any_second(self) -> None:
        classes = {"web1": "a", "web2": "a", "web3": "b", "web4": "a", "web5": "c"}
        found = batches.order_hosts(names(5), classes, None, DEFAULT)
        assert found.order == ["web1", "web3", "web5", "web2", "web4"]
        assert found.sizes == [1, 2, 1, 1]

    def test_the_canary_that_was_chosen(self) -> None:
        found = batches.order_hosts(
            names(4), {"web1": "a", "web2": "a", "web3": "b", "web4": "b"}, "web4", ["1", "100%"]
        )
        assert (found.order, found.sizes) == (["web4", "web1", "web2", "web3"], [1, 1, 2])

    def test_a_canary_that_needs_nothing(self) -> None:
        assert batches.order_hosts(["web2", "web3"], {}, "web1", ["1"]).order == ["web2", "web3"]

    @given(
        st.integers(0, 300),
        st.lists(st.one_of(st.integers(1, 400), st.integers(1, 100).map("{}%".format)), min_size=1, max_size=5),
        st.integers(1, 4),
    )
    def test_everybody_has_one_turn(self, count: int, declared: list[str | int], kinds: int) -> None:
        hosts = names(count)
        found = batches.order_hosts(
            hosts, {host: str(index % kinds) for index, host in enumerate(hosts)}, None, declared
        )
        assert sorted(found.order) == sorted(hosts)
        assert sum(found.sizes) == count
        assert all(size > 0 for size in found.sizes)


def test_a_host_in_a_line() -> None:
    assert batches.host_facts_line(FACTS) == "2 cores (cpuset), 1024 MiB (MemTotal), Debian 13, Python 3.13"

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Names of units, and whose they are."""

from __future__ import annotations

from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout

UNITS = [
    "shop.socket",
    "shop@10.service",
    "shop@9.service",
    "shop@9.socket",
    "shop@x.service",
    "shop-trial@11.socket",
    "shop-trial@11.service",
    "shop-two@1.service",
    "shop-two-trial@1.service",
]


def test_candidates_are_those_of_the_app_alone() -> None:
    assert Layout("shop").candidates(UNITS) == ["shop-trial@11.service", "shop-trial@11.socket"]
    assert Layout("shop-two").candidates(UNITS) == ["shop-two-trial@1.service"]


def test_instances_by_generation() -> None:
    assert list(Layout("shop").instances(UNITS).items()) == [(9, "shop@9.service"), (10, "shop@10.service")]
    assert Layout("shop-two").instances(UNITS) == {1: "shop-two@1.service"}
    assert Layout("other").instances(UNITS) == {}

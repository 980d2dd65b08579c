# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Names of units, and whose they are."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout, installed_apps, present_apps

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


def test_what_was_removed_is_known_and_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "opt/headcount/shop/generations/1").mkdir(parents=True)
    for name in ("shop", "gone"):
        (tmp_path / "var/lib/headcount" / name).mkdir(parents=True)
        (tmp_path / "var/lib/headcount" / name / "ledger.jsonl").touch()
    assert installed_apps(str(tmp_path)) == ["gone", "shop"]
    assert present_apps(str(tmp_path)) == ["shop"]
    assert present_apps(str(tmp_path / "nowhere")) == []


def test_instances_by_generation() -> None:
    assert list(Layout("shop").instances(UNITS).items()) == [(9, "shop@9.service"), (10, "shop@10.service")]
    assert Layout("shop-two").instances(UNITS) == {1: "shop-two@1.service"}
    assert Layout("other").instances(UNITS) == {}

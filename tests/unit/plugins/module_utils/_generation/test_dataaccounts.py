# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose the app's data is, where its generations run as different accounts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import dataaccounts
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout("shop", str(tmp_path))


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """{path: its owner}; what is not named belongs to hc-shop."""
    found: dict[str, str] = {}
    monkeypatch.setattr(dataaccounts, "owner", lambda path: found.get(path, "hc-shop"))
    return found


def _generation(layout: Layout, number: int, user: str | None) -> None:
    folder = Path(layout.generation(number))
    folder.mkdir(parents=True)
    record = {"app": {"name": "shop", "user": user}, "number": number}
    (folder / "generation.json").write_text(json.dumps(record), encoding="utf-8")


def test_a_way_back_to_another_account_takes_the_data_from_the_live_one(layout: Layout, owners: dict[str, str]) -> None:
    _generation(layout, 1, None)
    _generation(layout, 2, "shopusr")
    os.symlink("generations/2", layout.live)
    os.makedirs(layout.data)
    owners[layout.data] = "shopusr"
    assert dataaccounts.would_take(layout, 1) == ""
    Path(layout.data, "shop.db").write_text("rows", encoding="utf-8")
    assert dataaccounts.would_take(layout, 1) == (
        f"generation 1 runs as hc-shop, and systemd gives {layout.data}, which belongs to shopusr, to whom it begins"
    )
    assert dataaccounts.would_take(layout, 2) == ""
    assert [dataaccounts.given_to(layout, *pair) for pair in ((1, 2), (2, 1), (1, 1))] == [True, False, False]


def test_data_that_was_given_to_another_account_is_known(layout: Layout, owners: dict[str, str]) -> None:
    _generation(layout, 1, None)
    os.makedirs(layout.data)
    Path(layout.data, "shop.db").write_text("rows", encoding="utf-8")
    for owner, given in (("hc-shop", ""), ("root", ""), ("", ""), ("shopusr", "shopusr")):
        owners[layout.data] = owner
        assert dataaccounts.given_away(layout, 1) == given
    _generation(layout, 2, "shopusr")  # its own, which a switch that was cut short may have given it to
    assert dataaccounts.given_away(layout, 1) == ""

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A checkout in which Ansible does not find the collection is told in a sentence that helps."""

from __future__ import annotations

from pathlib import Path

import pytest
from headcount_scripts import checkout, paths


@pytest.fixture
def root(tmp_path: Path) -> Path:
    link = tmp_path / checkout.LINK
    link.parent.mkdir(parents=True)
    link.symlink_to("../../..")
    tmp_path.chmod(0o755)
    return tmp_path


def test_this_checkout_and_a_sound_one(root: Path) -> None:
    assert checkout.problem(paths.ROOT) == ""
    assert (root / checkout.LINK).resolve() == root
    assert checkout.problem(root) == ""


def test_one_that_everybody_may_write(root: Path) -> None:
    root.chmod(0o777)
    assert checkout.problem(root).endswith(f"does not find the collection; fix: chmod o-w {root}")


def test_a_link_that_is_broken_or_leads_elsewhere_or_is_none(root: Path) -> None:
    link = root / checkout.LINK
    for target in ("../nowhere", "/srv/other"):
        link.unlink()
        link.symlink_to(target)
        assert f"gunicorn leads to {target} instead of the checkout" in checkout.problem(root)
    link.unlink()
    link.write_text("../../..\n", encoding="utf-8")
    assert "gunicorn is no link to the checkout" in checkout.problem(root)

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who may read what lies on a host of an app."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import access, generations, store
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    made = Layout("shop", str(tmp_path))
    os.makedirs(made.home)
    os.chmod(made.home, 0o755)
    os.makedirs(access.store(made.root))
    os.chmod(access.store(made.root), 0o755)
    known = {"hc-shop": os.getgid(), "web": os.getgid(), "www": os.getgid()}
    monkeypatch.setattr(access, "_gid", known.get)
    return made


def generation(layout: Layout, number: int, *groups: str) -> None:
    store.begin(layout, number, "0" * 16)
    text = "[Service]\n" + f"Group={groups[0]}\n" + "".join(f"SupplementaryGroups={name}\n" for name in groups[1:])
    store.write(layout, number, {layout.service_unit(number): text}, {"number": number})


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_host_of_before_is_closed(layout: Layout) -> None:
    generation(layout, 1, "hc-shop")
    assert access.problems(layout) == [
        f"{layout.home} has mode 0755 instead of 0750",
        f"{access.store(layout.root)} has mode 0755 instead of 0700",
    ]
    assert access.close(layout) == [
        f"closed {layout.home} to other users",
        f"closed {access.store(layout.root)} to other users",
    ]
    assert (mode(layout.home), mode(access.store(layout.root))) == (0o750, 0o700)
    assert access.problems(layout) == []
    assert access.close(layout) == []


def test_what_is_not_there_is_no_problem(tmp_path: Path) -> None:
    assert access.problems(Layout("shop", str(tmp_path))) == []
    assert access.close(Layout("shop", str(tmp_path))) == []


def test_the_group_is_one_that_every_generation_runs_with(layout: Layout) -> None:
    assert access.wanted(layout) == (0o750, "hc-shop")
    generation(layout, 1, "web")  # of an older Headcount: its user is not in the app's own group
    assert access.wanted(layout) == (0o750, "web")
    generation(layout, 2, "web", "hc-shop")
    assert access.wanted(layout) == (0o750, "web")
    store.remove(layout, 1)
    assert access.wanted(layout) == (0o750, "hc-shop")
    generation(layout, 3, "www", "hc-shop")
    assert access.wanted(layout) == (0o750, "hc-shop")


def test_no_generation_is_locked_out(layout: Layout) -> None:
    generation(layout, 1, "web")
    access.close(layout)
    generation(layout, 2, "www", "hc-shop")
    assert access.wanted(layout) == (0o755, None)
    assert f"opened {layout.home}" in access.close(layout)
    assert access.problems(layout) == []
    store.remove(layout, 1)
    assert access.problems(layout) == [f"{layout.home} has mode 0755 instead of 0750"]


def test_a_folder_of_another_group_is_told(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    access.close(layout)
    monkeypatch.setattr(access, "_gid", lambda name: os.getgid() + 1)
    assert access.problems(layout) == [f"{layout.home} does not belong to the group hc-shop"]


def test_a_folder_above_that_no_account_passes_is_named_and_opened(layout: Layout) -> None:
    access.close(layout)
    above = os.path.dirname(layout.home)
    os.chmod(above, 0o700)
    words = f"{above} has mode 0700, so that no app's account passes it: `chmod o+x {above}`"
    assert access.problems(layout) == [words]
    assert access.close(layout) == [f"opened {above} again, which had mode 0700: no app's account passed it"]
    os.chmod(os.path.dirname(above), 0o750)  # not Headcount's own: told, not touched
    assert len(access.impassable(layout)) == 1
    assert access.close(layout) == []


def test_what_an_older_headcount_told_the_group_is_closed(layout: Layout) -> None:
    generation(layout, 1, "hc-shop")
    access.close(layout)
    outcome = os.path.join(layout.generation(1), generations.OUTCOME)
    Path(outcome).write_text("{}", encoding="utf-8")
    os.chmod(outcome, 0o644)
    assert access.problems(layout) == [f"{outcome} can be read by others than root"]
    assert access.close(layout) == [f"closed {outcome} to all but root"]
    assert mode(outcome) == 0o600

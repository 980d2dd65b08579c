# SPDX-License-Identifier: GPL-3.0-or-later
"""The app's data on a host: units come to it, it is the app's or nobody touches it, and it outlives everything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import (
    data,
    datafolders,
    dataremoval,
    generations,
    outside,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.folders import Unsafe
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout

NOBODY: dict[str, Any] = {"name": "shop", "user": None}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout("shop", str(tmp_path))


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """{path: its owner}; what is not named belongs to hc-shop."""
    found: dict[str, str] = {}
    for module in (datafolders, dataremoval):
        monkeypatch.setattr(module, "owner", lambda path: found.get(path, "hc-shop"))
    return found


def test_units_have_the_folders_of_the_app_and_write_nowhere_else() -> None:
    app = {**NOBODY, "data": {"logs": True, "outside": [{"path": "/srv/a"}, {"path": "/srv/b", "access": "read"}]}}
    assert data.unit_lines(app, 7, Layout("shop")) == [
        "StateDirectory=hc-shop",
        "StateDirectoryMode=0700",
        "Environment=HOME=/var/lib/hc-shop",
        "LogsDirectory=hc-shop",
        "LogsDirectoryMode=0700",
        "ReadWritePaths=/srv/a",
        "ExecStartPre=/bin/sh /opt/headcount/shop/generations/7/data.sh",
    ]
    assert data.mounts(app) == "/srv/a /srv/b"


def run_script(layout: Layout, declared: dict[str, Any]) -> None:
    text = data.script({**NOBODY, "data": declared}, 7, layout)
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_release_came_with_is_kept_once(layout: Layout) -> None:
    seed = Path(layout.generation(7)) / "release/seed"
    (seed / "up loads").mkdir(parents=True)
    (seed / "up loads/first.txt").write_text("1", encoding="utf-8")
    os.chmod(seed / "up loads/first.txt", 0o444)
    (seed / "shop.db").write_text("seeded", encoding="utf-8")
    os.makedirs(layout.data)
    declared = {"paths": ["up loads", "shop.db", "new.db", "logs", "v1.2/"], "folders": ["queue/in"]}
    run_script(layout, declared)
    kept = Path(layout.data)
    assert sorted(os.listdir(kept)) == ["instance", "logs", "queue", "shop.db", "up loads", "v1.2"]
    assert os.stat(kept / "up loads/first.txt").st_mode & 0o200
    (kept / "shop.db").write_text("grown", encoding="utf-8")
    (kept / "up loads/first.txt").unlink()
    run_script(layout, declared)
    assert (kept / "shop.db").read_text(encoding="utf-8") == "grown"
    assert os.listdir(kept / "up loads") == []


def test_a_folder_is_proven_by_the_ledger_until_it_went_with_the_app(layout: Layout) -> None:
    made: dict[str, object] = {"event": "data_made", "folders": [layout.data, layout.cache]}
    assert datafolders.proven(layout, [made]) == {layout.data, layout.cache}
    assert datafolders.proven(layout, [made, {"event": "removed", "folders": [layout.cache]}]) == {layout.data}
    assert datafolders.proven(layout, [made, {"event": "removed"}, {"event": "data_made", "folders": "torn"}]) == {
        layout.data,
        layout.cache,
    }


def test_somebody_elses_folder_is_refused_and_the_apps_own_is_not(layout: Layout, owners: dict[str, str]) -> None:
    assert datafolders.clashes(layout, NOBODY, []) == []
    os.makedirs(layout.data)
    assert datafolders.clashes(layout, NOBODY, []) == []
    owners[layout.data] = "postgres"
    (words,) = datafolders.clashes(layout, NOBODY, [])
    assert words.startswith(
        f"{layout.data}, where the app's data belongs, is not Headcount's and belongs to postgres: "
    )
    assert f"chown -R hc-shop: {layout.data}" in words
    assert datafolders.clashes(layout, NOBODY, [{"event": "data_made", "folders": [layout.data]}]) == []


@pytest.mark.parametrize(
    ("path", "seeded", "told"), [("a.db", True, True), ("a.db", False, False), ("up/", False, True)]
)
def test_a_link_of_the_data_that_leads_nowhere_is_let_be(layout: Layout, path: str, seeded: bool, told: bool) -> None:
    """What it lies on is not mounted: what the release came with is not what users have there."""
    link = Path(layout.data) / path.rstrip("/")
    link.parent.mkdir(parents=True)
    link.symlink_to("/nowhere/kept")
    if seeded:
        seed = Path(layout.generation(7)) / "release" / data.SEED
        seed.mkdir(parents=True)
        (seed / path).write_text("first", encoding="utf-8")
    text = data.script({**NOBODY, "data": {"paths": [path]}}, 7, layout)
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=False)
    assert (done.returncode, os.readlink(link)) == (int(told), "/nowhere/kept")
    assert (
        f"{link} is a link to /nowhere/kept, which is not there: is what it lies on mounted?" in done.stderr
    ) is told


def test_only_folders_that_are_declared_are_looked_at(layout: Layout, owners: dict[str, str]) -> None:
    os.makedirs(layout.cache)
    owners[layout.cache] = "root"
    assert datafolders.clashes(layout, NOBODY, []) == []
    (words,) = datafolders.clashes(layout, {**NOBODY, "data": {"cache": True}}, [])
    assert layout.cache in words


def test_a_link_in_its_place_is_refused(layout: Layout, tmp_path: Path) -> None:
    os.makedirs(os.path.dirname(layout.data))
    os.symlink(tmp_path, layout.data)
    (words,) = datafolders.clashes(layout, NOBODY, [])
    assert words == f"{layout.data}, where the app's data belongs, is no folder: move it away; a disk is mounted there"


def test_another_account_does_not_take_it_from_the_live_generation(
    layout: Layout, owners: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generations, "live", lambda _: 3)
    monkeypatch.setattr(generations, "record", lambda *_: {"app": {"user": None}})
    os.makedirs(f"{layout.data}/instance")
    made: dict[str, object] = {"event": "data_made", "folders": [layout.data]}
    other = {"name": "shop", "user": "web"}
    assert datafolders.clashes(layout, other, [made]) == []
    Path(layout.data, "instance/x.db").touch()
    (words,) = datafolders.clashes(layout, other, [made])
    assert words.startswith(f"{layout.data} belongs to hc-shop, as which generation 3 is live")
    assert datafolders.clashes(layout, NOBODY, [made]) == []


def test_folders_are_written_down_before_they_are_made(layout: Layout, tmp_path: Path) -> None:
    logged: list[list[str]] = []

    def log(folders: list[str]) -> None:
        assert not any(os.path.exists(folder) for folder in folders)
        logged.append(folders)

    app = {**NOBODY, "data": {"cache": True, "outside": [{"path": str(tmp_path / "srv/media")}]}}
    made = data.make(layout, app, [], log)
    assert made == [layout.data, layout.cache, str(tmp_path / "srv/media")]
    assert logged == [[layout.data, layout.cache]]
    assert all(os.stat(path).st_mode & 0o777 == 0o700 for path in made)
    assert data.make(layout, app, [], log) == []
    assert len(logged) == 1


def test_what_goes_with_the_app_and_what_stays(layout: Layout, owners: dict[str, str]) -> None:
    for path in (layout.data, layout.logs, layout.cache):
        os.makedirs(path)
    removal = dataremoval.removal
    stays = dataremoval.Removal([layout.cache], [layout.data, layout.logs], {})
    assert removal(layout, [], "hc-shop", False) == stays
    all_of_it = [layout.data, layout.logs, layout.cache]
    assert removal(layout, [], "hc-shop", True) == dataremoval.Removal(all_of_it, [], {})
    owners[layout.data] = "postgres"
    others = dataremoval.Removal([layout.logs, layout.cache], [], {layout.data: "postgres"})
    assert removal(layout, [], "hc-shop", True) == others
    assert removal(layout, [], "postgres", True) == dataremoval.Removal(all_of_it, [], {})


def test_the_data_of_an_app_with_an_account_of_its_own_goes_with_it_also_later(
    layout: Layout, owners: dict[str, str]
) -> None:
    assert datafolders.account(layout, []) == "hc-shop"
    os.makedirs(layout.generation(2))
    record = Path(layout.generation(2), "generation.json")
    record.write_text('{"app": {"user": "cartsvc"}}', encoding="utf-8")
    Path(layout.generation(2), "manifest.json").write_text("{}", encoding="utf-8")
    assert datafolders.account(layout, []) == "cartsvc"
    record.unlink()
    assert datafolders.account(layout, [{"event": "removed", "account": "cartsvc"}]) == "cartsvc"


def test_a_ledger_in_which_a_secret_hid_a_part_of_a_folders_name_proves_it_all_the_same(layout: Layout) -> None:
    hidden = [path.replace("shop", "***") for path in (layout.data, layout.cache)]
    made = {"event": "data_made", "folders": hidden}
    assert datafolders.proven(layout, [made]) == {layout.data, layout.cache}
    assert datafolders.proven(layout, [made, {"event": "removed", "folders": hidden[:1]}]) == {layout.cache}
    assert datafolders.proven(layout, [{"event": "data_made", "folders": ["/srv/***"]}]) == set()


def test_a_folder_outside_that_is_missing_is_told(tmp_path: Path) -> None:
    layout = Layout("shop", str(tmp_path))
    app = {**NOBODY, "data": {"outside": [{"path": str(tmp_path / "gone"), "access": "read"}]}}
    assert outside.shut_out(layout, app) == [f"data.outside: {tmp_path}/gone is missing"]


def test_a_folder_is_not_made_through_a_link_that_the_app_can_put_there(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "sudoers.d").mkdir()
    (tmp_path / "m3").mkdir()
    (tmp_path / "m3").chmod(0o777)
    (tmp_path / "m3/up").symlink_to(tmp_path / "sudoers.d")
    app = {**NOBODY, "data": {"outside": [{"path": str(tmp_path / "m3")}, {"path": str(tmp_path / "m3/up/thumbs")}]}}
    with pytest.raises(Unsafe):
        data.make(layout, app, [], lambda folders: None)
    assert os.listdir(tmp_path / "sudoers.d") == []

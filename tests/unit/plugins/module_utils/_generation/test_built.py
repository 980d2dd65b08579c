# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of a release that each generation has for itself: its own, whole or not there, and gone with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Data
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import (
    built,
    builtfolders,
    data,
    exposure,
    generations,
    store,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._release.room import DiskFull

RELEASE = "0" * 16
APP: dict[str, Any] = {
    "name": "shop",
    "user": None,
    "source": {"as": "tree"},
    "data": {"built": [{"path": "app/static/build"}]},
}
PATH = "app/static/build"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout("shop", str(tmp_path))
    code = Path(found.release(RELEASE), "tree", PATH)
    code.mkdir(parents=True)
    (code / "shipped.css").write_text("shipped", encoding="utf-8")
    os.chmod(code / "shipped.css", 0o444)
    (code / "sub").mkdir()
    (code / "sub/way").symlink_to("../../css/a.css")
    os.makedirs(found.state)
    os.makedirs(found.units)
    return found


def generation(layout: Layout, number: int, app: dict[str, Any] = APP) -> Path:
    store.begin(layout, number, RELEASE)
    builtfolders.make(layout, number, app)
    store.write(layout, number, {}, {"number": number, "release": RELEASE, "app": app})
    store.finish(layout, number)
    Path(layout.environment(number)).touch()
    store.link_units(layout, number)
    return Path(built.folder(layout, number, PATH))


def test_units_mount_the_generations_own_in_the_place_of_the_releases() -> None:
    home = "/opt/headcount/shop/generations/7"
    assert built.unit_lines(APP, 7, Layout("shop")) == [f"BindPaths={home}/built/{PATH}:{home}/release/tree/{PATH}"]
    package = {**APP, "source": {"as": "package"}}
    assert built.unit_lines(package, 7, Layout("shop")) == [f"BindPaths={home}/built/{PATH}:{home}/release/code/{PATH}"]
    assert f"BindPaths={home}/built/{PATH}:{home}/release/tree/{PATH}" in data.unit_lines(APP, 7, Layout("shop"))
    assert built.unit_lines({"name": "shop"}, 7, Layout("shop")) == []


def test_it_begins_with_what_the_release_has_and_can_be_written_to(layout: Layout) -> None:
    own = generation(layout, 1)
    assert sorted(os.listdir(own)) == ["shipped.css", "sub"]
    assert (own / "shipped.css").read_text(encoding="utf-8") == "shipped"
    assert os.stat(own / "shipped.css").st_mode & 0o777 == 0o600
    assert os.readlink(own / "sub/way") == "../../css/a.css"
    assert os.stat(own).st_mode & 0o777 == 0o700
    assert os.stat(own.parent).st_mode & 0o777 == 0o755, "who may write to it cannot swap it"
    assert not [name for name in os.listdir(own.parent) if name.startswith(".")]


def test_a_group_reads_it_where_the_mask_lets_it(layout: Layout) -> None:
    own = generation(layout, 1, {**APP, "sandbox": {"umask": "0027"}})
    assert os.stat(own).st_mode & 0o777 == 0o750
    assert os.stat(own / "shipped.css").st_mode & 0o777 == 0o640


def test_two_generations_of_one_release_have_two(layout: Layout) -> None:
    first, second = generation(layout, 1), generation(layout, 2)
    (first / "made.css").write_text("1", encoding="utf-8")
    assert not (second / "made.css").exists()
    assert not (Path(layout.release(RELEASE)) / "tree" / PATH / "made.css").exists()


def test_it_stays_as_it_is_while_it_is_there_and_is_made_anew_where_it_is_gone(layout: Layout) -> None:
    own = generation(layout, 1)
    (own / "made.css").write_text("1", encoding="utf-8")
    assert builtfolders.make(layout, 1, APP) == []
    assert (own / "made.css").exists()
    builtfolders.remove_tree(str(own))
    missing = f"{own} is missing, and its units cannot start without"
    assert missing in generations.problems(layout, 1)
    assert builtfolders.make(layout, 1, APP) == [f"made {own} anew, with what the release has there"]
    assert missing not in generations.problems(layout, 1)
    assert sorted(os.listdir(own)) == ["shipped.css", "sub"]


def test_what_a_killed_run_left_half_made_is_not_taken_for_it(layout: Layout) -> None:
    store.begin(layout, 1, RELEASE)
    own = Path(built.folder(layout, 1, PATH))
    half = own.parent / ".build.new"
    half.mkdir(parents=True)
    (half / "half.css").touch()
    builtfolders.make(layout, 1, APP)
    assert sorted(os.listdir(own)) == ["shipped.css", "sub"]
    assert not half.exists()


def test_it_goes_with_its_generation_and_nothing_that_it_leads_to(layout: Layout, tmp_path: Path) -> None:
    own = generation(layout, 1)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "kept").touch()
    (own / "way").symlink_to(theirs)
    store.remove(layout, 1)
    assert not os.path.lexists(layout.generation(1))
    assert (theirs / "kept").exists()


def test_it_is_no_part_of_what_a_generation_must_be(layout: Layout) -> None:
    own = generation(layout, 1)
    (own / "made.css").touch()
    assert [words for words in generations.problems(layout, 1) if "built" in words] == []


@pytest.mark.parametrize("name", ["x.py", "sub/y.so", "z.pyc"])
def test_one_that_holds_code_is_refused_unless_that_is_said(layout: Layout, name: str) -> None:
    release = layout.release(RELEASE)
    assert builtfolders.holds_code(APP, release) == ""
    Path(release, "tree", PATH, name).touch()
    assert builtfolders.holds_code(APP, release) == (
        f"data.built: '{PATH}' holds code ({name}), which the app could change: name the folder below it that the app "
        f"fills, or say `{{path: {PATH}, code: true}}`"
    )
    said: dict[str, Any] = {**APP, "data": {"built": [{"path": PATH, "code": True}]}}
    assert builtfolders.holds_code(said, release) == ""
    (cost,) = exposure.built_costs(Data.from_dict(said["data"]))
    assert cost.startswith(f"data.built ({PATH}) costs 0 of exposure as systemd counts it, and holds code")
    assert exposure.built_costs(Data.from_dict(APP["data"])) == []


def test_there_has_to_be_room_for_as_much_as_the_live_one_has(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(builtfolders, "need_room", lambda _path, mib, files, _what: asked.append((mib, files)))
    release = layout.release(RELEASE)
    builtfolders.need_disk(layout, {"name": "shop"}, release)
    builtfolders.need_disk(layout, APP, release)
    own = generation(layout, 1)
    (own / "large.css").write_bytes(b"x" * (3 * 2**20))
    store.activate(layout, 1)
    builtfolders.need_disk(layout, APP, release)
    assert asked[0] == (1, 3)
    assert asked[1][0] in (4, 5)
    assert asked[1][1] >= 4


def test_a_full_disk_is_told_with_what_needs_it(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtfolders, "MIB", 2**-30)  # so that what it takes is more than any disk has
    with pytest.raises(DiskFull, match=r"for the folders of data\.built of shop, and [0-9]+ MiB are free"):
        builtfolders.need_disk(layout, APP, layout.release(RELEASE))

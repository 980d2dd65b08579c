# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a release leads to the app's data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._release import releases
from ansible_collections.headcount.gunicorn.plugins.module_utils._release.contents import ReleaseError
from ansible_collections.headcount.gunicorn.plugins.module_utils._release.leads import lay_built, lay_leads

DATA = "/var/lib/hc-shop"
PIP = releases.Pin("pip", "25.0", "a" * 64)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "venv/lib/python3.11/site-packages/shop").mkdir(parents=True)
    return tmp_path


def put(release: Path, path: str) -> None:
    (release / path).parent.mkdir(parents=True, exist_ok=True)
    (release / path).write_text("first\n", encoding="utf-8")


def test_a_tree_leads_to_its_data_and_what_was_there_is_kept_for_the_start(release: Path) -> None:
    put(release, "tree/app.py")
    put(release, "tree/uploads/readme.txt")
    lay_leads(release, ["uploads", "db.sqlite3", "var/log"], DATA)
    assert os.readlink(release / "tree/uploads") == f"{DATA}/uploads"
    assert os.readlink(release / "tree/db.sqlite3") == f"{DATA}/db.sqlite3"
    assert os.readlink(release / "tree/var/log") == f"{DATA}/var/log"
    assert os.readlink(release / "tree/instance") == f"{DATA}/instance"
    assert (release / "seed/uploads/readme.txt").read_text(encoding="utf-8") == "first\n"
    assert os.listdir(release / "seed") == ["uploads"]


def test_an_instance_folder_that_the_project_ships_is_code_unless_it_is_declared(release: Path) -> None:
    put(release, "tree/instance/config.py")
    lay_leads(release, [], DATA)
    assert (release / "tree/instance/config.py").exists()
    lay_leads(release, ["instance"], DATA)
    assert os.readlink(release / "tree/instance") == f"{DATA}/instance"
    assert (release / "seed/instance/config.py").exists()


def test_the_instance_folder_of_a_package_is_where_flask_has_it(release: Path) -> None:
    lay_leads(release, ["shop/uploads"], DATA)
    assert os.readlink(release / "venv/var") == f"{DATA}/instance"
    assert os.readlink(release / "venv/lib/python3.11/site-packages/shop/uploads") == f"{DATA}/shop/uploads"


def test_a_path_below_instance_leaves_the_rest_as_it_is(release: Path) -> None:
    put(release, "tree/app.py")
    lay_leads(release, ["instance/uploads"], DATA)
    assert not (release / "tree/instance").is_symlink()
    assert os.readlink(release / "tree/instance/uploads") == f"{DATA}/instance/uploads"


def test_what_lies_behind_a_file_or_a_link_is_refused(release: Path) -> None:
    put(release, "tree/app.py")
    (release / "tree/old").symlink_to("app.py")
    for path in ("app.py/x", "old/x"):
        with pytest.raises(
            ReleaseError, match=f"data.paths: '{path}' cannot lead to the data, because .* is no folder"
        ):
            lay_leads(release, [path], DATA)


def test_a_release_with_data_is_another_one_and_its_lock_says_so() -> None:
    lock = releases.Lock("3.11", "x86_64", PIP, (releases.Pin("flask", "3.1.2", "b" * 64),), "c" * 64)
    plain = releases.render_lock(lock)
    leading = releases.with_data(plain, ["uploads", "db.sqlite3"])
    assert leading.splitlines()[3:5] == ["# with data at db.sqlite3", "# with data at uploads"]
    assert releases.parse_lock(leading).data == ("db.sqlite3", "uploads")
    assert releases.parse_lock(leading).pins == lock.pins
    assert releases.release_id(leading) != releases.release_id(plain)
    assert releases.with_data(leading, []) == plain


def test_what_each_generation_has_for_itself_is_a_folder_of_the_release(release: Path) -> None:
    put(release, "tree/app/static/build/a.css")
    lay_built(release, ["app/static/build", "gen/css"])
    assert os.listdir(release / "tree/app/static/build") == ["a.css"]
    assert os.listdir(release / "tree/gen/css") == []
    assert os.readlink(release / "code") == "tree"


def test_units_find_a_packages_code_without_its_python(release: Path) -> None:
    lay_built(release, ["shop/static/build"])
    assert os.readlink(release / "code") == "venv/lib/python3.11/site-packages"
    assert (release / "code/shop/static/build").is_dir()


@pytest.mark.parametrize("path", ["shop.css", "way", "shop.css/gen", "way/gen"])
def test_what_is_no_folder_of_the_project_is_nobodys_own(release: Path, path: str) -> None:
    put(release, "tree/shop.css")
    (release / "tree/way").symlink_to("/srv")
    with pytest.raises(ReleaseError, match=r"^data\.built: "):
        lay_built(release, [path])


def test_a_release_with_room_to_build_is_another_one() -> None:
    plain = releases.render_lock(releases.Lock("3.11", "x86_64", PIP, ()))
    own = releases.with_data(plain, ["uploads"], ["b", "a"])
    assert releases.parse_lock(own).built == ("a", "b")
    assert releases.parse_lock(own).data == ("uploads",)
    assert len({releases.release_id(text) for text in (plain, own, releases.with_data(plain, ["uploads"]))}) == 3

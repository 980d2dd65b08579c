# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What PATH|GIT|PIP means, and how the entry's source is written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.subject import Unknown, given


def test_a_folder_is_written_as_it_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my-shop").mkdir()
    monkeypatch.chdir(tmp_path)
    found = given("./my-shop", tmp_path, tmp_path)
    assert (found.source, found.folder, found.project) == ({"path": "./my-shop"}, tmp_path / "my-shop", "my-shop")
    beside = given("my-shop", tmp_path, tmp_path, tmp_path / "inventories")
    assert beside.source == {"path": "../my-shop"}


@pytest.mark.parametrize(
    ("text", "name"),
    [('[project]\nname = "shop"\n', "shop"), ('[tool.poetry]\nname = "till"\n', "till"), ("[tool.black]\n", "folder"),
     ("not toml", "folder")],
)  # fmt: skip
def test_the_name_is_the_project_s_own(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "pyproject.toml").write_text(text)
    assert given(str(tmp_path / "folder"), tmp_path, tmp_path).project == name


@pytest.mark.parametrize("suffix", ["", "@v1"])
def test_a_repository_is_cloned_at_its_branch_or_version(tmp_path: Path, suffix: str) -> None:
    work = tmp_path / "work"
    for words in (["init", "-q", "-b", "trunk", str(work)], ["-C", str(work), "commit", "-qm", "x", "--allow-empty"],
                  ["-C", str(work), "tag", "v1"], ["clone", "-q", "--bare", work, tmp_path / "shop.git"]):  # fmt: skip
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words], check=True)
    url = f"file://{tmp_path}/shop.git"
    found = given(url + suffix, tmp_path, tmp_path / "cache")
    assert found.source == {"git": url, "version": suffix[1:] or "trunk"}
    assert found.project == "shop"
    assert found.folder is not None
    assert (found.folder / ".git").is_dir()


def test_a_distribution_with_its_version() -> None:
    found = given("My.Shop[web]==1.2", Path("/"), Path("/"))
    assert (found.source, found.folder, found.project) == ({"pip": "My.Shop[web]==1.2"}, None, "My.Shop")


def test_a_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "my_shop-1.2-py3-none-any.whl"
    wheel.touch()
    assert given(str(wheel), tmp_path, tmp_path).source == {"wheel": str(wheel)}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("./not-there", "which is not there: allowed is the folder of a project"),
        ("https://me:hunter2@git.example.com/shop.git", "without a password"),
        ("not a name", "fix: a folder with ./ before it"),
    ],
)
def test_anything_else_is_refused_with_the_fix(tmp_path: Path, what: str, words: str) -> None:
    with pytest.raises(Unknown, match="source") as caught:
        given(what, tmp_path, tmp_path)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What PATH|GIT|PIP means, and how the entry's source is written."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import subject
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.subject import Unknown, answered, given
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Answers
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import Done


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


LONG = "/" + "/".join(["a" * 120] * 40)
NAME = "a" * 300


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (LONG, "which is not there: allowed"),
        (f"./{NAME}", "which is not there: allowed"),
        (f"{NAME}.whl", "no release was found|is 'a"),
        ("./a\0b", "which holds a NUL: no inventory can hold it"),
        ("./caf\udce9", "which is not UTF-8: no inventory can hold it; fix: rename it"),
        ("~nobody-of-that-name/shop", "which is not there: allowed"),
        ("./turns", "which is not there: allowed"),
    ],
)
def test_a_path_that_no_system_has_is_refused_in_a_short_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subject, "run", lambda *_, **__: Done(1, "", "no such thing"))
    (tmp_path / "turns").symlink_to("turns")
    with pytest.raises(Unknown, match=words) as caught:
        given(what, tmp_path, tmp_path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("option", "path"),
    [
        *((option, path) for option in ("lock", "subdirectory", "requirements")
          for path in (LONG, NAME, "a\0b", "caf\udce9", "turns")),
        ("lock", "~nobody-of-that-name/x"),
        ("subdirectory", "~nobody-of-that-name/x"),
    ],
)  # fmt: skip
def test_so_is_an_answer(tmp_path: Path, option: str, path: str) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "turns").symlink_to("turns")
    value = (f"{path}.txt" if path == LONG else f"./{path}.txt",) if option == "requirements" else path
    with pytest.raises(Unknown, match=f"^--{option} is ") as caught:
        answered(given(str(tmp_path / "shop"), tmp_path, tmp_path), Answers(**{option: value}))
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("value", "words"),
    [("sqlite:////tmp/x.db", r"DATABASE_URL is a SQLite database below /tmp.*fix: "), ("postgresql://db/shop", "")],
)
def test_a_variable_that_no_app_may_have_is_told_before_anything_is_looked_at(
    tmp_path: Path, value: str, words: str
) -> None:
    (tmp_path / "shop").mkdir()
    what, answers = given(str(tmp_path / "shop"), tmp_path, tmp_path), Answers(environment={"DATABASE_URL": value})
    with pytest.raises(Unknown, match=f"^--environment {words}") if words else contextlib.nullcontext():
        answered(what, answers)


@pytest.mark.parametrize(
    "answers",
    [Answers(name="a\0"), Answers(python="\udcff"), Answers(environment={"A": "\udcff"}), Answers(entry_point="a\0:b")],
)
def test_what_no_inventory_can_hold_is_no_answer(tmp_path: Path, answers: Answers) -> None:
    with pytest.raises(Unknown, match=r"^--[a-z-]+ is .*, which (holds a NUL|is not UTF-8): no inventory can hold it"):
        answered(given(str(tmp_path), tmp_path, tmp_path), answers)


@pytest.mark.parametrize("option", ["lock", "requirements"])
def test_a_file_is_looked_for_in_the_project_and_then_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    shop, here = tmp_path / "shop", tmp_path / "here"
    for folder in (shop, here):
        folder.mkdir()
    monkeypatch.chdir(here)
    found = given(str(shop), tmp_path, tmp_path)

    def said(word: str) -> object:
        answers = Answers(lock=word) if option == "lock" else Answers(requirements=(word,))
        return answered(found, answers).source[option]

    with pytest.raises(Unknown) as caught:
        said("web.txt")
    assert f"--{option} is 'web.txt', which is no file (looked for in {shop}, then in {here})" in str(caught.value)
    (here / "web.txt").touch()
    if option == "lock":
        assert said("web.txt") == "web.txt"
    else:
        with pytest.raises(Unknown, match="which is not in the project: put it there, or name --lock"):
            said("web.txt")
    (shop / "web.txt").touch()
    assert said("web.txt") == (str(shop / "web.txt") if option == "lock" else ["web.txt"])

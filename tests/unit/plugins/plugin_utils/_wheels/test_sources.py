# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Identities of sources, and wheels whose bytes depend on their content alone."""

from __future__ import annotations

import os
import re
import subprocess
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import sources
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BadLock, BadSource


def project(folder: Path) -> Path:
    (folder / "src/shop").mkdir(parents=True)
    (folder / "pyproject.toml").write_text("[project]\nname='shop'\nversion='1'\n", encoding="utf-8")
    (folder / "src/shop/__init__.py").write_text("A = 1\n", encoding="utf-8")
    return folder


def identity(value: str | Path, base: Path, **more: Any) -> str:
    return sources.source_identity({"kind": "path", "value": str(value), **more}, base)


def wheel(folder: Path, name: str = "shop-1.0-py3-none-any.whl", generator: str = "x 1", when: int = 2001) -> Path:
    """A small wheel with one module, made at a time by a tool."""
    path = folder / name
    info = "-".join(name.split("-")[:2]) + ".dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, text in (
            (f"{info}/METADATA", "Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n"),
            ("shop.py", "A = 1\n"),
            (f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: {generator}\nTag: py3-none-any\n"),
            (f"{info}/RECORD", "stale\n"),
        ):
            archive.writestr(zipfile.ZipInfo(inside, (when, 1, 1, 0, 0, 0)), text)
    return path


def test_a_folder_is_its_content_wherever_it_lies(tmp_path: Path) -> None:
    project(tmp_path / "one")
    two = project(tmp_path / "two")
    os.utime(two / "pyproject.toml", (1, 1))
    for name in ("build/lib/x.py", "src/shop/__pycache__/x.pyc", ".git/HEAD", "src/shop.egg-info/PKG-INFO", "dist/x"):
        (two / name).parent.mkdir(parents=True, exist_ok=True)
        (two / name).write_text("x", encoding="utf-8")
    assert identity("one", tmp_path) == identity(two, tmp_path)
    assert re.fullmatch(r"path:[0-9a-f]{64}", identity("one", tmp_path))


@pytest.mark.parametrize("change", ["content", "name", "mode", "inner build folder", "lock"])
def test_every_change_that_counts_changes_it(tmp_path: Path, change: str) -> None:
    folder = project(tmp_path / "one")
    before = identity(folder, tmp_path)
    if change == "content":
        (folder / "src/shop/__init__.py").write_text("A = 2\n", encoding="utf-8")
    elif change == "name":
        (folder / "src/shop/__init__.py").rename(folder / "src/shop/other.py")
    elif change == "mode":
        (folder / "src/shop/__init__.py").chmod(0o755)
    elif change == "lock":
        (tmp_path / "l").write_text("x", encoding="utf-8")
        assert identity(folder, tmp_path, lock="l") != before
        return
    else:
        (folder / "src/shop/build").mkdir()
        (folder / "src/shop/build/x.py").write_text("", encoding="utf-8")
    assert identity(folder, tmp_path) != before


def test_a_subdirectory_is_the_project(tmp_path: Path) -> None:
    project(tmp_path / "repo/sub")
    assert identity("repo", tmp_path, subdirectory="sub") == identity("repo/sub", tmp_path)


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(BadSource) as caught:
        identity("none", tmp_path)
    assert str(caught.value) == f"source path 'none': there is no folder {tmp_path}/none"
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadSource) as caught:
        identity("empty", tmp_path)
    assert str(caught.value) == (
        f"source path 'empty': {tmp_path}/empty holds no Python that could run: name the folder of the project with "
        "source.subdirectory"
    )
    folder = project(tmp_path / "linked")
    (folder / "assets").symlink_to(tmp_path)
    with pytest.raises(BadSource, match="linked/assets is a link to a folder: copy the folder"):
        identity(folder, tmp_path)


def test_a_lock_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadLock) as caught:
        identity(project(tmp_path / "one"), tmp_path, lock="no.lock")
    assert str(caught.value) == f"source lock 'no.lock': there is no such file ({tmp_path}/no.lock)"


def test_a_package_is_its_requirement(tmp_path: Path) -> None:
    both = [
        sources.source_identity({"kind": "pip", "value": "httpbin==0.10.4"}, tmp_path),
        sources.source_identity({"kind": "pip", "value": "httpbin", "version": "0.10.4"}, tmp_path),
    ]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("not a name", "source pip 'not a name': not a requirement ("),
        ("x @ https://host/x.whl", "source pip 'x @ https://host/x.whl': a URL is not allowed here; use `wheel` for a"),
    ],
)
def test_bad_requirements(tmp_path: Path, value: str, message: str) -> None:
    with pytest.raises(BadSource) as caught:
        sources.source_identity({"kind": "pip", "value": value}, tmp_path)
    assert str(caught.value).startswith(message)


def test_an_unknown_kind() -> None:
    with pytest.raises(BadSource, match=r"^source kind 'svn' is not allowed: path, wheel, pip or git$"):
        sources.Source.of({"kind": "svn", "value": "x"})


def test_bad_wheels(tmp_path: Path) -> None:
    good = wheel(tmp_path)
    assert sources.check_wheel(good, "w") == ("shop", "1.0", True)
    assert sources.check_wheel(wheel(tmp_path, "shop-1.0-cp311-cp311-linux_x86_64.whl"), "w")[2] is False
    for name, content, message in (
        ("shop.whl", good.read_bytes(), "w: shop.whl is not named like a wheel ("),
        ("cut-1.0-py3-none-any.whl", good.read_bytes()[:99], "w: cut-1.0-py3-none-any.whl is not a whole wheel ("),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadSource) as caught:
            sources.check_wheel(tmp_path / name, "w")
        assert str(caught.value).startswith(message)
    with pytest.raises(BadSource, match=r"^source wheel 'no.whl': there is no such file "):
        sources.source_identity({"kind": "wheel", "value": "no.whl"}, tmp_path)


def test_the_same_content_gives_the_same_wheel(tmp_path: Path) -> None:
    outcomes = []
    for index, (generator, when) in enumerate((("setuptools (84.2.1)", 2026), ("hatchling 1.30", 1999))):
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "out").mkdir()
        target = folder / "out/shop-1.0-py3-none-any.whl"
        sources.normalise_wheel(wheel(folder, generator=generator, when=when), target)
        outcomes.append(target)
    assert outcomes[0].read_bytes() == outcomes[1].read_bytes()
    with zipfile.ZipFile(outcomes[0]) as archive:
        assert archive.testzip() is None
        record = archive.read("shop-1.0.dist-info/RECORD").decode()
    assert "shop.py,sha256=" in record
    assert record.endswith("shop-1.0.dist-info/RECORD,,\n")


def test_a_stand_in_has_the_metadata_only(tmp_path: Path) -> None:
    pure = wheel(tmp_path)
    assert sources.stand_in(pure, tmp_path) == pure
    (tmp_path / "out").mkdir()
    made = sources.stand_in(wheel(tmp_path, "shop-1.0-cp311-cp311-linux_x86_64.whl"), tmp_path / "out")
    assert made.name == "shop-1.0-py3-none-any.whl"
    with zipfile.ZipFile(made) as archive:
        assert b"Name: shop" in archive.read("shop-1.0.dist-info/METADATA")
        assert "shop.py" not in archive.namelist()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = project(tmp_path / "repo")
    who = ["-c", "user.name=a", "-c", "user.email=a@example"]
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "."],
        [*who, "commit", "-qm", "x"],
        [*who, "tag", "-am", "v", "v1"],
    ):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def test_git_references(tmp_path: Path, repository: Path) -> None:
    head = subprocess.run(["git", "-C", repository, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    commit = head.stdout.strip()
    for version in (None, "main", "v1", "HEAD", commit):
        source = sources.Source("git", str(repository), version)
        assert sources.remote_commit(source) == commit
    assert identity_of(repository, tmp_path, "v1") == identity_of(repository, tmp_path, commit)
    assert identity_of(repository, tmp_path, "v1").startswith(f"git:{commit}:")
    target = tmp_path / "out"
    sources.checkout(sources.Source("git", str(repository), "v1"), commit, tmp_path / "cache", target)
    assert (target / "src/shop/__init__.py").read_text(encoding="utf-8") == "A = 1\n"


def identity_of(repository: Path, base: Path, version: str) -> str:
    return sources.source_identity({"kind": "git", "value": str(repository), "version": version}, base)


def test_bad_git_references(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(BadSource) as caught:
        sources.remote_commit(sources.Source("git", str(repository), "v9"))
    assert str(caught.value) == (
        f"source git '{repository}': version 'v9' is neither a branch nor a tag there; "
        "allowed are a branch, a tag or a full commit id of 40 hex digits"
    )
    with pytest.raises(BadSource, match="there is no commit " + "a" * 40):
        sources.checkout(sources.Source("git", str(repository)), "a" * 40, tmp_path / "cache", tmp_path / "out")
    with pytest.raises(BadSource, match="the repository cannot be read: fatal: "):
        sources.remote_commit(sources.Source("git", str(tmp_path / "none")))
    with pytest.raises(BadSource, match="neither URL nor version may begin with '-'"):
        sources.remote_commit(sources.Source("git", "--upload-pack=x"))


def test_a_large_file_of_a_project_is_not_held_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "model.bin").open("wb") as stream:
        stream.truncate(64 * 2**20)
    tracemalloc.start()
    try:
        sources.folder_digest(tmp_path, ["model.bin"])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20

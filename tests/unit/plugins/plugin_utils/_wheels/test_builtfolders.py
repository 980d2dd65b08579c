# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A folder that each generation is to have for itself is looked at before a host is touched."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.archives import pack_tree
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.builtfolders import problem_of
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.gathered import Platform, Wheel, WheelSet

PLATFORM = Platform("3.11", "x86_64", "glibc 2.36")
FILES = ("shop/__init__.py", "shop/static/build/a.css", "shop/gen/b.css", "shop/gen/x/views.py")
CODE = (
    "data.built: 'shop/gen' holds code (x/views.py), which the app could change: name the folder below it that the app "
    "fills, or say `{path: shop/gen, code: true}`"
)


def tree(tmp_path: Path) -> WheelSet:
    for name in FILES:
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).touch()
    path = pack_tree(tmp_path / "project", sorted(FILES), tmp_path)
    packed = Wheel("tree", "0", path.name, "t" * 64, 1, str(path))
    return WheelSet("id", "path:1", "", "", PLATFORM, "", (), packed, tree=packed)


def package(tmp_path: Path) -> WheelSet:
    path = tmp_path / "shop-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in FILES:
            archive.writestr(name, "")
    own = Wheel("shop", "1", path.name, "s" * 64, 1, str(path))
    return WheelSet("id", "path:1", "shop", "1", PLATFORM, "", (own,), own)


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ({"path": "shop/static/build"}, ""),
        ({"path": "shop/static/new"}, ""),
        ({"path": "shop/gen"}, CODE),
        ({"path": "shop/gen", "code": True}, ""),
        (
            {"path": "shop/gen/b.css"},
            "data.built: 'shop/gen/b.css' is no folder in the project: name the one that it is in",
        ),
    ],
)
def test_one_that_holds_code_or_is_none_is_told(tmp_path: Path, folder: dict[str, object], words: str) -> None:
    for found in (tree(tmp_path), package(tmp_path)):
        assert problem_of({"data": {"built": [folder]}}, found) == words
        assert problem_of({}, found) == ""

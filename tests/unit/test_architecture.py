# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The map of docs/architecture.md leads to files and functions that are there, and names every file of a package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
OPENED = re.findall(r"`((?:module_utils|plugin_utils)/[\w/]+\.py)`(?:(?: or `[\w/]+\.py`)|(?:, `(\w+)`))?", TEXT)
PACKAGES = {
    path.name: path
    for folder in ("module_utils", "plugin_utils")
    for path in (ROOT / "plugins" / folder).iterdir()
    if (path / "__init__.py").is_file()
}


@pytest.mark.parametrize(("file", "function"), OPENED, ids=lambda value: value or "-")
def test_a_file_that_one_is_sent_to_is_there(file: str, function: str) -> None:
    source = (ROOT / "plugins" / file).read_text(encoding="utf-8")
    assert not function or re.search(rf"^(def|class) {function}\b|^{function}\b", source, re.MULTILINE)


def test_every_file_that_is_named_by_its_package_is_there() -> None:
    named = re.findall(r"`(_[a-z]+)/(?!test_)(\w+)", TEXT)
    assert [f"{package}/{name}" for package, name in named if not (PACKAGES[package] / f"{name}.py").is_file()] == []


def test_every_test_that_is_named_is_there() -> None:
    named = set(re.findall(r"`(?:tests/unit/)?((?:\w+/)*test_\w+\.py)`", TEXT))
    there = [f"/{path.relative_to(ROOT)}" for path in (ROOT / "tests/unit").rglob("test_*.py")]
    assert sorted(name for name in named if not any(path.endswith(f"/{name}") for path in there)) == []


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_the_row_of_a_package_or_its_own_table_names_its_files(package: str) -> None:
    (row,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{package}` |"))
    _, heading, more = TEXT.partition(f"#### Files of `{package}`\n")
    assert bool(heading) is (f"(#files-of-{package})" in row)
    named = re.findall(r"`(\w+)`", row + re.split(r"\n#|\n\n(?!\|)", more)[0])
    files = {path.stem for path in PACKAGES[package].glob("[a-z]*.py")}
    assert sorted(files - set(named)) == []
    assert not heading or sorted(name for name in set(named) - files - {package}) == []


def test_a_package_imports_only_from_those_above_it() -> None:
    rows = [line.split("`")[1] for line in TEXT.splitlines() if re.match(r"\| `_\w+` \| .* \| .* \|$", line)]
    order = [name for name in rows if (ROOT / "plugins/module_utils" / name).is_dir()]
    assert sorted(order) == sorted(path.parent.name for path in (ROOT / "plugins/module_utils").glob("_*/__init__.py"))
    upward = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in order
        for path in sorted((ROOT / "plugins/module_utils" / package).rglob("*.py"))
        for name in re.findall(r"^\s*from \.\.(_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if order.index(name) > order.index(package)
    ]
    assert upward == []

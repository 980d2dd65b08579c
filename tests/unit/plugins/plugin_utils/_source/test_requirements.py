# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project's metadata asks for, as requirements."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._source.requirements import (
    is_file_name,
    optional_requirements,
    own_requirements,
    poetry_range,
    says_requirements,
)
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BadSource


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("*", ""),
        ("3.1.2", "==3.1.2"),
        ("3.1.*", "==3.1.*"),
        ("==3.1.2", "==3.1.2"),
        ("^3.1.2", ">=3.1.2,<4"),
        ("^0.3.2", ">=0.3.2,<0.4"),
        ("^0.0.3", ">=0.0.3,<0.0.4"),
        ("^0", ">=0,<1"),
        ("~3.1.2", ">=3.1.2,<3.2"),
        ("~3", ">=3,<4"),
        ("~=3.1", "~=3.1"),
        (">=3, <4", ">=3,<4"),
        (">= 3.0,<4.0", ">=3.0,<4.0"),
    ],
)
def test_ranges_of_poetry(told: str, expected: str) -> None:
    assert poetry_range(told, "flask") == expected


@pytest.mark.parametrize(("told", "words"), [("^2 || ^3", "write one range"), ("^x", "is not a range of versions")])
def test_a_range_without_a_word_is_told(told: str, words: str) -> None:
    with pytest.raises(BadSource, match=words):
        poetry_range(told, "flask")


def test_dependencies_of_poetry(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry.dependencies]\npython = "^3.9"\nflask = {version = "^3.0", extras = ["async"]}\n'
        'redis = {version = "*", optional = true}\npywin = {version = "1", markers = "sys_platform == \'win32\'"}\n'
        'own = {path = "../own"}\n',
        encoding="utf-8",
    )
    assert [text for _, text in own_requirements(tmp_path)] == [
        "flask[async]>=3.0,<4",
        "pywin==1; sys_platform == 'win32'",
        "own",
    ]


def test_an_extra_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project.optional-dependencies]\nweb = ["six"]\n', encoding="utf-8")
    assert optional_requirements(tmp_path, "web") == [("[project.optional-dependencies] web", "six")]
    with pytest.raises(BadSource, match=r"has no extra 'wab': its pyproject.toml has web"):
        optional_requirements(tmp_path, "wab")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("requirements/prod.txt", True),
        ("pylock.toml", True),
        ("flask==3.1.2", False),
        ("zope.interface", False),
        ("shop @ https://example.com/shop.lock", False),
    ],
)
def test_a_file_or_a_requirement(word: str, expected: bool) -> None:
    assert is_file_name(word) is expected


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("setup(name='x', install_requires=['flask>=2', 'six'])", ["flask>=2", "six"]),
        ("NEEDS = ['flask']\nsetuptools.setup(name='x', install_requires=NEEDS)", ["flask"]),
        ('setup(install_requires="""\nflask\n  six\n""")', ["flask", "six"]),
        ("setup(name='x')", []),
        ("setup(install_requires=open('requirements.txt').read().split())", None),
        ("print('hello')", None),
    ],
)
def test_what_a_setup_py_says_without_being_run(tmp_path: Path, text: str, stated: list[str] | None) -> None:
    (tmp_path / "setup.py").write_text(f"import setuptools\nfrom setuptools import setup\n{text}\n", encoding="utf-8")
    assert [wanted for _, wanted in own_requirements(tmp_path)] == (stated or [])
    assert says_requirements(tmp_path) is (stated is not None)

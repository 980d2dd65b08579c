# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A tree or a package: by what a project has, not by which files lie in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._source.project import (
    PACKAGE,
    TREE,
    form_of,
    requirements_files,
)
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BadSource

PROJECT = '[project]\nname = "shop"\nversion = "1"\n'
BUILD = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'


def write(folder: Path, **files: str) -> Path:
    (folder / "app.py").write_text("app = None\n")
    for name, text in files.items():
        path = folder / name.replace("__", ".").replace("SLASH", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "kind", "words"),
    [
        pytest.param({}, TREE, "neither a pyproject.toml nor a setup.py", id="a folder of Python"),
        pytest.param({"requirements__txt": "flask\n"}, TREE, "neither", id="requirements alone"),
        pytest.param({"pyproject__toml": "[tool.black]\nline-length = 100\n"}, TREE, "no [project]", id="only black"),
        pytest.param({"pyproject__toml": ""}, TREE, "neither", id="an empty pyproject"),
        pytest.param({"pyproject__toml": BUILD}, TREE, "no [project]", id="a build system that builds nothing"),
        pytest.param({"pyproject__toml": PROJECT}, TREE, "[project] and no [build-system]", id="uv init --app"),
        pytest.param({"pyproject__toml": PROJECT + BUILD}, PACKAGE, "[project] and [build-system]", id="a package"),
        pytest.param(
            {"pyproject__toml": PROJECT + BUILD + "[tool.uv]\npackage = false\n"}, TREE, "package = false", id="uv"
        ),
        pytest.param(
            {"pyproject__toml": PROJECT + "[tool.uv]\npackage = true\n"}, PACKAGE, "package = true", id="uv package"
        ),
        pytest.param(
            {"pyproject__toml": PROJECT + '[tool.setuptools]\npy-modules = ["app"]\n'},
            PACKAGE,
            "[tool.setuptools]",
            id="setuptools by its own table",
        ),
        pytest.param(
            {"pyproject__toml": PROJECT, "srcSLASHshopSLASH__init__.py".replace("__init__", "_x_"): ""},
            TREE,
            "no [build-system]",
            id="src without a package",
        ),
        pytest.param(
            {"pyproject__toml": '[tool.poetry]\nname = "shop"\n' + BUILD}, PACKAGE, "[tool.poetry]", id="poetry"
        ),
        pytest.param(
            {"pyproject__toml": "[tool.poetry]\npackage-mode = false\n" + BUILD}, TREE, "package-mode", id="no package"
        ),
        pytest.param({"setup__cfg": "[flake8]\nmax-line-length = 120\n"}, TREE, "neither", id="setup.cfg of flake8"),
        pytest.param({"setup__cfg": "[metadata]\nname = shop\n"}, PACKAGE, "[metadata]", id="setup.cfg"),
        pytest.param({"setup__py": "from setuptools import setup\nsetup()\n"}, PACKAGE, "setup.py", id="setup.py"),
        pytest.param({"setup__py": "import db\n\ndb.setup()\n"}, TREE, "neither", id="a script called setup.py"),
    ],
)
def test_what_a_project_has_decides_and_is_told(tmp_path: Path, files: dict[str, str], kind: str, words: str) -> None:
    found = form_of(write(tmp_path, **files))
    assert found.kind == kind
    assert words in found.why


def test_what_lies_below_src_is_found_when_it_is_installed_only(tmp_path: Path) -> None:
    write(tmp_path, pyproject__toml=PROJECT)
    package = tmp_path / "src/shop"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    assert form_of(tmp_path).kind == PACKAGE


def test_source_as_decides_over_what_a_project_has(tmp_path: Path) -> None:
    write(tmp_path, pyproject__toml=PROJECT + BUILD)
    assert form_of(tmp_path, "tree").kind == TREE
    assert form_of(tmp_path, "package").kind == PACKAGE


def test_a_tree_is_no_package_because_somebody_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"is no package \(it has neither .*source.as: tree"):
        form_of(write(tmp_path), "package")


def test_a_folder_without_python_is_no_project_and_one_below_is_proposed(tmp_path: Path) -> None:
    below = tmp_path / "services/shop/src/shop"
    below.mkdir(parents=True)
    (tmp_path / "services/shop/pyproject.toml").write_text(PROJECT)
    (below / "app.py").touch()
    with pytest.raises(BadSource, match=r"for source\.subdirectory: services/shop$"):
        form_of(tmp_path)


def test_a_pyproject_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"pyproject\.toml cannot be read"):
        form_of(write(tmp_path, pyproject__toml="[project\n"))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ()),
        (["requirements.txt", "requirements-dev.txt"], ("requirements.txt",)),
        (["requirements.txt", "requirements.lock"], ("requirements.lock", "requirements.txt")),
        (["requirements/dev.txt", "requirements/prod.txt", "requirements/base.txt"], ("requirements/prod.txt",)),
        (["requirements/common.txt", "requirements/test.txt"], ("requirements/common.txt",)),
        (["requirements-dev.txt", "requirements_test.txt"], ()),
        (["requirements-py3.txt", "requirements-dev.txt"], ("requirements-py3.txt",)),
    ],
)
def test_the_requirements_for_production_are_found_by_name(
    tmp_path: Path, names: list[str], expected: tuple[str, ...]
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert requirements_files(tmp_path) == expected


def test_requirements_that_none_is_known_of_have_to_be_named(tmp_path: Path) -> None:
    for name in ("requirements-web.txt", "requirements-worker.txt"):
        (tmp_path / name).touch()
    with pytest.raises(BadSource, match=r"requirements-web.txt, requirements-worker.txt: name .* source.requirements"):
        requirements_files(tmp_path)

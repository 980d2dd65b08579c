# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Gathering with the real uv, pip and git, from a folder of wheels and without a network."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import wheelhouse
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import WheelhouseError
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.wheelhouse import Platform

BOOKWORM = Platform("3.11", "x86_64", "glibc 2.36")
# A build backend in the project itself, so that nothing has to be fetched: every file beside it goes into the wheel. As
# others do, it knows nothing of [tool.uv.sources].
BACKEND = """
import pathlib, re, zipfile
def build_wheel(out, config_settings=None, metadata_directory=None):
    text = pathlib.Path("pyproject.toml").read_text()
    name = re.search('name = "(.*?)"', text)[1]
    needs = re.findall("'(.*?)'", re.search(r"dependencies = \\[(.*)\\]", text)[1])
    file, info = f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    head = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n" + "".join(f"Requires-Dist: {x}\\n" for x in needs)
    with zipfile.ZipFile(pathlib.Path(out) / file, "w") as archive:
        for path in sorted(pathlib.Path(".").rglob("*")):
            if path.is_file():
                archive.write(path, f"{name}_files/{path}")
        archive.writestr(f"{info}/METADATA", head)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{info}/RECORD", "")
    return file
def get_requires_for_build_wheel(config_settings=None):
    return []
"""


def project(folder: Path, name: str, needs: str = "", more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "backend.py").write_text(BACKEND, encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\ndependencies = [{needs}]\n'
        f'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n{more}',
        encoding="utf-8",
    )
    return folder


def public(folder: Path, name: str, version: str, needs: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
            f"Requires-Dist: {needs}\n" if needs else ""
        )
        archive.writestr(f"{info}/METADATA", head)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@y", *words], cwd=folder, check=True, capture_output=True
    )


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that packages come from, as pip.conf names it; uv learns of it from there."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "links"
    folder.mkdir()
    (tmp_path / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {folder}\n", encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    for name, version in (("pip", "99.0"), ("gunicorn", "27.0.1"), ("six", "1.17.0"), ("shoplib", "9.9")):
        public(folder, name, version)
    public(folder, "flask", "3.0.3", "werkzeug>=3")
    public(folder, "flask", "3.1.3", "werkzeug>=3")
    public(folder, "werkzeug", "3.0.3")
    public(folder, "werkzeug", "3.1.9")
    return folder


def gather(tmp_path: Path, folder: Path) -> Any:
    source = {"kind": "path", "value": str(folder)}
    return wheelhouse.gather(source, BOOKWORM, ["gunicorn==27.0.1"], tmp_path / "cache", tmp_path)


def inside(found: Any, name: str) -> set[str]:
    path = next(item.path for item in found.wheels if item.name == name)
    with zipfile.ZipFile(path) as archive:
        return {item.partition("/")[2] for item in archive.namelist() if "_files/" in item}


def test_all_that_is_declared_is_in_the_release(tmp_path: Path, links: Path) -> None:
    mono = tmp_path / "mono"
    project(mono / "packages/six", "six", more="[tool.x]\n")
    remote = project(tmp_path / "remote", "shoplib")
    git(remote, "init", "--quiet")
    git(remote, "add", ".")
    git(remote, "commit", "--quiet", "-m", "x")
    git(remote, "tag", "v1")
    (remote / "later.py").touch()
    git(remote, "add", ".")
    git(remote, "commit", "--quiet", "-m", "later")
    (mono / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["*/*"]\n', encoding="utf-8")
    shop = project(
        mono / "services/shop", "shop", f"'flask>=2', 'six', 'shoplib @ git+file://{remote}@v1'",
        "[tool.uv.sources]\nsix = {workspace = true}\n",
    )  # fmt: skip
    (shop / "requirements.txt").write_text("flask==3.0.3\nwerkzeug==3.0.3\n", encoding="utf-8")
    (shop / ".env").write_text("SECRET=1\n", encoding="utf-8")
    (shop / ".gitignore").write_text("local_settings.py\n", encoding="utf-8")
    (shop / "local_settings.py").write_text("SECRET = 1\n", encoding="utf-8")
    git(mono, "init", "--quiet")
    found = gather(tmp_path, shop)
    assert found.distributions == {
        "shop": "1.0", "flask": "3.0.3", "werkzeug": "3.0.3", "six": "1.0", "shoplib": "1.0", "gunicorn": "27.0.1"
    }  # fmt: skip
    assert "later.py" not in inside(found, "shoplib")
    assert not {".env", "local_settings.py"} & inside(found, "shop")
    assert "requirements.txt" in inside(found, "shop")


def test_what_was_not_found_is_told_with_where_it_was_looked_for(tmp_path: Path, links: Path) -> None:
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, project(tmp_path / "app", "shop", "'nowhere'"))
    assert f"(asked: {links} (find-links)); correct the name or the version in the project" in str(caught.value)

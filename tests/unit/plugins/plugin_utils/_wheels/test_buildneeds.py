# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a source needs to be built, with the real uv, from a folder of wheels and without a network."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import wheelhouse
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.buildneeds import build_requirements
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import NetworkUnreachable
from made_wheels import installable, sdist

BOTH = ("setuptools", "wheel")
SETUPTOOLS = """
import runpy
class Legacy:
    def get_requires_for_build_wheel(self, config_settings=None):
        return runpy.run_path("setup.py")["setup_requires"]
__legacy__ = Legacy()
"""
"""What of setuptools answers for a setup.py."""
BACKEND = """
import pathlib, zipfile, onlyhere
def get_requires_for_build_wheel(config_settings=None):
    return [pathlib.Path("needs.txt").read_text().strip()]
def build_wheel(out, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(pathlib.Path(out) / "native-1-cp311-cp311-linux_x86_64.whl", "w") as archive:
        archive.writestr("native-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: native\\nVersion: 1\\n")
        archive.writestr("native-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: cp311-cp311-linux_x86_64\\n")
        archive.writestr("native-1.dist-info/RECORD", "")
    return "native-1-cp311-cp311-linux_x86_64.whl"
"""
PYPROJECT = """
[project]
name = "native"
version = "1"
[build-system]
requires = ["onlyhere"]
build-backend = "hooks:own"
backend-path = ["tools"]
"""
OWN = {
    "pyproject.toml": PYPROJECT,
    "tools/hooks.py": "import native_backend as own\n",
    "tools/native_backend.py": BACKEND,
    "needs.txt": "cffi>=1\n",
}
"""A project with a backend of its own, which is not a module but something in one."""


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables that lead uv and pip to the wheels of a folder alone; the index that they name answers nobody."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    links = tmp_path / "links"
    links.mkdir()
    installable(links, "setuptools", {"setuptools/__init__.py": "", "setuptools/build_meta.py": SETUPTOOLS})
    for name in ("wheel", "onlyhere", "cffi", "pip", "gunicorn"):
        installable(links, name, {f"{name}.py": ""})
    (tmp_path / "pip.conf").write_text(
        f"[global]\nno-index = true\nindex-url = http://127.0.0.1:9/simple\nfind-links = {links}\n", encoding="utf-8"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    return {"PIP_NO_INDEX": "1", "UV_FIND_LINKS": str(links)}


@pytest.mark.parametrize(
    ("files", "needs"),
    [
        ({"setup.py": "setup_requires = ['cffi>=1.0.0']"}, (*BOTH, "cffi>=1.0.0")),
        ({"setup.py": "import sys\nprint('[]')\nsetup_requires = ['wheel', f'x<{sys.maxsize and 2}']"}, (*BOTH, "x<2")),
        ({"setup.py": "raise OSError('mysql_config not found')"}, BOTH),
        ({"setup.py": "import sys; sys.exit(0)"}, BOTH),
        ({"setup.py": "setup_requires = ['x']", "pyproject.toml": "[tool.black]\n"}, (*BOTH, "x")),
        ({"setup.py": "setup_requires = ['x']", "pyproject.toml": "not = [toml"}, (*BOTH, "x")),
        (OWN, ("onlyhere", *BOTH, "cffi>=1")),
        (
            {"pyproject.toml": '[build-system]\nrequires = [\n "setuptools>=1",  # not "this"\n \'onlyhere\']\n'},
            ("setuptools>=1", "onlyhere", "wheel"),
        ),
    ],
)
def test_what_a_build_needs_is_what_is_written_and_what_its_backend_answers(
    tmp_path: Path, environ: dict[str, str], files: dict[str, str], needs: tuple[str, ...]
) -> None:
    assert build_requirements(sdist(tmp_path, "native", files), tmp_path, "native 1", environ) == needs


def test_a_zip_archive_is_asked_as_well(tmp_path: Path, environ: dict[str, str]) -> None:
    with zipfile.ZipFile(tmp_path / "native-1.zip", "w") as archive:
        archive.writestr("native-1/setup.py", "setup_requires = ['cffi']")
    assert build_requirements(tmp_path / "native-1.zip", tmp_path, "native 1", environ) == (*BOTH, "cffi")


def test_what_cannot_be_had_to_ask_with_is_told(tmp_path: Path, environ: dict[str, str]) -> None:
    source = sdist(tmp_path, "native", {"setup.py": ""})
    with pytest.raises(NetworkUnreachable, match=r"^native 1: 127\.0\.0\.1:9 was not reachable from the controller"):
        build_requirements(source, tmp_path, "native 1", {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"})


@pytest.mark.parametrize("kind", ["path", "pip"])
def test_a_host_is_sent_what_the_backend_of_a_source_answers(
    tmp_path: Path, environ: dict[str, str], kind: str
) -> None:
    value = "native"
    if kind == "path":
        value = str(tmp_path / "native")
        for name, text in {**OWN, "tools/native_backend.py": f"{BACKEND}{SDIST}"}.items():
            (tmp_path / "native" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "native" / name).write_text(text, encoding="utf-8")
    else:
        sdist(tmp_path / "links", "native", {**OWN, "PKG-INFO": "Metadata-Version: 2.1\nName: native\nVersion: 1\n"})
    platform = wheelhouse.Platform("3.11", "x86_64", "glibc 2.36")
    source = {"kind": kind, "value": value}
    found = wheelhouse.gather(source, platform, ["gunicorn==1"], tmp_path / "cache", tmp_path)
    (build,) = found.needs_host_build
    assert [item.name for item in build.build_wheels] == ["cffi", "onlyhere", "setuptools", "wheel"]


SDIST = """
def build_sdist(out, config_settings=None):
    import tarfile
    with tarfile.open(pathlib.Path(out) / "native-1.tar.gz", "w:gz") as archive:
        archive.add(".", "native-1")
    return "native-1.tar.gz"
"""

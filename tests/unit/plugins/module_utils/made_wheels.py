# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Wheels and sources with the files that a test says."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.gathered import Wheel


def wheel(folder: Path, name: str, files: Mapping[str, str]) -> Wheel:
    path = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for item, text in files.items():
            archive.writestr(item, text)
    return Wheel(name, "1", path.name, name.ljust(64, "0"), 1, str(path))


def installable(folder: Path, name: str, files: Mapping[str, str]) -> Wheel:
    """A wheel that pip and uv take."""
    about = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    return wheel(folder, name, {**files, **{f"{name}-1.dist-info/{item}": text for item, text in about.items()}})


def sdist(folder: Path, name: str, files: Mapping[str, str]) -> Path:
    path = folder / f"{name}-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for item, text in files.items():
            about = tarfile.TarInfo(f"{name}-1/{item}")
            about.size = len(text.encode())
            archive.addfile(about, io.BytesIO(text.encode()))
    return path

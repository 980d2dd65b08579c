# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Wheels with the files that a test says."""

from __future__ import annotations

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

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Builds the app next to it, and writes into the wheel where, as whom and with which Python that was done."""

from __future__ import annotations

import io
import json
import os
import platform
import socket
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

METADATA = "Metadata-Version: 2.1\nName: native\nVersion: 1.0\nRequires-Dist: flask\n"


def online() -> bool:
    """Whether there is any way out of here."""
    return any(name != "lo" for _, name in socket.if_nameindex())


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """The hook of PEP 517: the name of the wheel."""
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    tag = f"{python}-{python}-linux_{platform.machine()}"
    built = {"host": platform.node(), "uid": os.getuid(), "python": python, "online": online()}
    files = {
        "native/__init__.py": Path("native/__init__.py").read_text(encoding="utf-8"),
        "native/built.json": json.dumps(built),
        "native-1.0.dist-info/METADATA": METADATA,
        "native-1.0.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, "native-1.0.dist-info/RECORD"])
    with zipfile.ZipFile(Path(wheel_directory, f"native-1.0-{tag}.whl"), "w") as archive:
        for name, text in {**files, "native-1.0.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
    return f"native-1.0-{tag}.whl"


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """The hook of PEP 517: the name of the source archive."""
    with tarfile.open(Path(sdist_directory, "native-1.0.tar.gz"), "w:gz") as archive:
        for name in ("pyproject.toml", "backend.py", "native/__init__.py"):
            archive.add(name, f"native-1.0/{name}")
        member = tarfile.TarInfo("native-1.0/PKG-INFO")
        member.size = len(METADATA)
        archive.addfile(member, io.BytesIO(METADATA.encode()))
    return "native-1.0.tar.gz"

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The captured and constructed trees of /proc and /sys files in tests/unit/fixtures/hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HOSTS = Path(__file__).resolve().parents[2] / "fixtures" / "hosts"


def captured(name: str) -> dict[str, Any]:
    """What was captured of a host, by the file's name."""
    found: dict[str, Any] = json.loads((HOSTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def lay_out(document: dict[str, Any], directory: Path) -> str:
    """Write a document's files below a directory."""
    for name, text in document["files"].items():
        path = directory / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return str(directory)


def tree(name: str, directory: Path) -> str:
    """Write a host's files below a directory."""
    return lay_out(captured(name), directory)


def unit_of(name: str) -> tuple[int, str]:
    """The main process and the control group of the service that a host was captured with."""
    unit = captured(name)["unit"]
    return unit["pid"], unit["control_group"]


def active_unit() -> tuple[int, str]:
    """The service of the host whose slice has one running."""
    return unit_of("debian13-slice-active")

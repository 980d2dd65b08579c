# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What goes to every host with a probe: each module is sent, and compiled there anew, every time."""

from __future__ import annotations

import ast
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[4] / "plugins"

SENT = {
    "_access",
    "_answers",
    "_cgroups",
    "_files",
    "_generations",
    "_hostfacts",
    "_http",
    "_ledger",
    "_lock",
    "_paths",
    "_procfs",
    "_releasefiles",
    "_settings",
    "_state",
    "_systemd",
    "_truth",
}


def imported(path: Path) -> set[str]:
    """Modules of module_utils that a file imports, wherever in it, as Ansible finds them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            part = (node.module or "").rpartition(".")[2]
            found |= {alias.name for alias in node.names} if part in ("", "module_utils") else {part}
    return {name for name in found if (PLUGINS / "module_utils" / f"{name}.py").exists()}


def test_no_more_is_sent_than_a_probe_reads_with() -> None:
    sent: set[str] = set()
    left = imported(PLUGINS / "modules" / "probe.py")
    while left:
        sent |= left
        left = set().union(*(imported(PLUGINS / "module_utils" / f"{name}.py") for name in left)) - sent
    assert sent == SENT

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""No address of somebody's is built in: what is asked for packages is what pip and uv are set to."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
URL = re.compile(r"https?://(?:[^/@\s\"']*@)?([A-Za-z0-9.-]+)")
NOBODYS = re.compile(
    r"(.+\.)?example(\.com|\.net|\.org)?|localhost|127\..*|10\..*|192\.0\.2\..*|host|[A-Za-z]|\.\.\.|www\.gnu\.org"
)
"""Reserved for examples, private, or one letter; and where the licence is."""


def test_addresses_in_the_code_are_examples() -> None:
    files = [path for folder in ("plugins", "roles", "playbooks") for path in (ROOT / folder).rglob("*")]
    found = {
        (str(path.relative_to(ROOT)), host)
        for path in files
        if path.suffix in (".py", ".yml", ".j2", ".md")
        for host in URL.findall(path.read_text(encoding="utf-8"))
        if not NOBODYS.fullmatch(host)
    }
    assert found == set()

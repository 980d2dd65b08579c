# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Code in a sentence stands between single backticks, as in Markdown, in Python too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("plugins", "scripts/lib", "tests", "molecule", "app/src", "app/tests")
OTHERWISE = re.compile(r"(?<!`)`{2}(?!`)|:[a-z]+:`")  # as reStructuredText has it


@pytest.mark.parametrize("folder", FOLDERS)
def test_code_in_a_sentence_stands_between_single_backticks(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert [str(path.relative_to(ROOT)) for path in files if OTHERWISE.search(path.read_text(encoding="utf-8"))] == []

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Text for people: aligned tables, and how the playbooks print them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any


def width(text: str) -> int:
    """Columns that `text` takes in a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[int] = (), indent: str = "") -> str:
    """A table with aligned columns; the columns whose numbers are in `right` are aligned to the right.

    Columns that are empty in every row are left out.
    """
    cells = [[str(title) for title in header], *[["" if cell is None else str(cell) for cell in row] for row in rows]]
    kept = [index for index in range(len(header)) if any(line[index] for line in cells[1:])]
    widths = {index: max(width(line[index]) for line in cells) for index in kept}
    lines = []
    for line in cells:
        parts = []
        for index in kept:
            gap = " " * (widths[index] - width(line[index]))
            parts.append(gap + line[index] if index in right else line[index] + gap)
        lines.append((indent + "  ".join(parts)).rstrip())
    rule = indent + "  ".join("-" * widths[index] for index in kept)
    return "\n".join([lines[0], rule, *lines[1:]])


def visible(text: str) -> str:
    """Text of others on one line: whitespace as one space each, and nothing that a terminal, or YAML, would obey."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 host`, `2 hosts`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a sentence, at most `most` of them."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"


def first_line(text: object) -> str:
    """The first line of something that Ansible said, without its trailing punctuation."""
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else ""


def last_line(text: object) -> str:
    """The last line: what a traceback comes down to."""
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else ""

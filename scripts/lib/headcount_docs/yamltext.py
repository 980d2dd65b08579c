# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Mappings, lists and scalars as block YAML with lines of at most 120 characters."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./ ,;()'=%+-]*(?<! )")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_WIDTH = 120


def dump(value: Mapping[str, Any], indent: int = 0) -> str:
    """A mapping as YAML, ending in a line break; its keys in their own order."""
    return "".join(_entry(f"{' ' * indent}{_text(key)}:", item, indent) for key, item in value.items())


def _entry(head: str, value: Any, indent: int) -> str:
    if isinstance(value, Mapping) and value:
        return f"{head}\n{dump(value, indent + 2)}"
    if isinstance(value, (list, tuple)) and value:
        return f"{head}\n" + "".join(_scalar(f"{' ' * (indent + 2)}-", item, indent + 4) for item in value)
    return _scalar(head, value, indent + 2)


def _scalar(head: str, value: Any, indent: int) -> str:
    if isinstance(value, str):
        text = _text(value)
        if len(head) + 1 + len(text) <= _WIDTH:
            return f"{head} {text}\n"
        space = " " * indent
        folded = textwrap.wrap(value, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
        return f"{head} >-\n" + "".join(f"{space}{line}\n" for line in folded)
    if isinstance(value, Mapping):
        return f"{head} {{}}\n"
    if isinstance(value, (list, tuple)):
        return f"{head} []\n"
    return f"{head} {json.dumps(value)}\n"


def _text(value: str) -> str:
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)

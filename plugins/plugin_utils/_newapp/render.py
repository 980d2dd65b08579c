# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A proposal as YAML with a comment at each value, and the questions at its end. Pure."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from .._display.text import visible
from .._edge import Json
from .draft import Proposal
from .proposal import questions_text
from .templates import is_foreign, is_key

_WIDTH: Final = 118
_PLAIN: Final = re.compile(r"[A-Za-z/_.][A-Za-z0-9/_.+@=-]*")
_WORDS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "~", ".", ".nan", ".inf"})
_COLUMN: Final = 36
_INDENT: Final = 8


def text(proposal: Proposal, host: str = "", heading: Sequence[str] = ()) -> str:
    """The file: variables of a group or of `-e @FILE`; with `host` an inventory of that host alone."""
    lines = [*_comment("", " ".join(heading))] if heading else []
    for note in proposal.notes:
        lines += _comment("", note)
    body = list(_app(proposal))
    if host:
        lines += ["all:", "  hosts:", f"    {_key(host)}:", "  vars:", "    headcount_apps:"]
        lines += [f"      {line}" if line else line for line in body]
    else:
        lines += ["headcount_apps:", *(f"  {line}" if line else line for line in body)]
    for question in questions_text(proposal.questions):
        lines += ["", *_comment("", question)]
    return "\n".join(lines) + "\n"


def scalar(value: object) -> str:
    """A scalar in YAML: plain where nothing else could be read, else in double quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return json.dumps(value)
    words = str(value)
    if _PLAIN.fullmatch(words) and words.lower() not in _WORDS and not re.fullmatch(r"[\d.+_eE-]+", words):
        return words
    return quoted(words)


def quoted(words: str) -> str:
    """A text in double quotes, with all that no eye sees escaped."""
    return json.dumps(words, ensure_ascii=False).translate(_Unseen())


class _Unseen(dict[int, str]):
    """The escapes of YAML for characters that no eye sees, or that YAML takes for line breaks."""

    def __missing__(self, code: int) -> str:
        self[code] = chr(code) if chr(code).isprintable() else f"\\U{code:08x}"
        return self[code]


def flow(value: object) -> str:
    """A value on one line; text of others that Ansible would fill in is marked, so that it stays as it is."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return f"!unsafe {quoted(str(value))}" if is_foreign(value) else scalar(value)


def _key(name: object) -> str:
    if not is_key(name):
        raise ValueError(f"{name!r} cannot be a key of an entry")
    return scalar(name)


def _app(proposal: Proposal) -> Iterator[str]:
    first = True
    for line in _section(proposal.entry, "", proposal.comments):
        if first and not line.startswith("#"):
            yield f"- {line}"
            first = False
        else:
            yield f"  {line}" if line else line


def _section(section: Json, path: str, comments: Mapping[str, str]) -> Iterator[str]:
    """The lines of a mapping; those of a key that has commented keys of its own go below it."""
    for key, value in section.items():
        here = f"{path}.{key}" if path else str(key)
        why = comments.get(here, "")
        below = isinstance(value, Mapping) and any(name.startswith(f"{here}.") for name in comments)
        if isinstance(value, Mapping) and below:
            yield from _with_comment(f"{_key(key)}:", why)
            yield from (f"  {line}" for line in _section(value, here, comments))
        else:
            yield from _with_comment(f"{_key(key)}: {flow(value)}", why)


def _with_comment(line: str, why: str) -> Iterator[str]:
    """A line with its comment beside it, or above where both are too long."""
    why = visible(why)
    for padded in (line.ljust(_COLUMN), line):
        beside = f"{padded}  # {why}"
        if why and len(beside) + _INDENT <= _WIDTH:
            yield beside
            return
    if why:
        yield from _comment("", why)
    yield line


def _comment(indent: str, words: str) -> list[str]:
    return textwrap.wrap(
        visible(words), _WIDTH - _INDENT, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip

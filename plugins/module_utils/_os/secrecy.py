# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Keeps the secrets of apps out of all that is written down or told: one place through which every word goes.

What a dying release says may hold its secrets: the text of an exception, a line of a log. What is known as a secret in
this process (learn(), secretfiles.learn_from()) is replaced by `***` (clean()), also as repr(), JSON, URLs, HTML and
base64 spell it. Whoever writes a ledger, an outcome, evidence or a module's result, or cuts a text to a length, cleans
it first.

What it says may hold orders to a terminal as well. They are taken out in the same place: clean() leaves no control
character but line breaks and tabs.

A secret that is, or is within, a word that everybody reads anyway (publish(): the app's name, its account) stays in
that word: hidden, it would be told by what stands around it, and Headcount's own facts would be lost.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
from bisect import bisect_right
from typing import Any, Callable, Iterable, Mapping, Sequence
from urllib.parse import quote, quote_plus, urlsplit

from .paths import Layout

HIDDEN = "***"
SHORTEST = 4
"""Shorter values are not looked for: they would be found in any text."""

SHORTEST_LINE = 8
"""A line of a secret of several lines (a private key) is looked for from this length on: a log holds it by lines."""

OWN_WORDS = frozenset(
    {"time", "event", "run", "phase", "status", "outcome", "release", "user", "controller", "digest", "source_id"}
    | {"histogram", "samples_sha256", "plan", "planning", "facts", "settings", "listen", "plan_changes"}
    | {"folders", "account"}
)
"""Keys whose values are Headcount's own words, whatever they are alike."""

_ORDER = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[PX^_][^\x1b\n]*(?:\x1b\\)?|[ -/]*[0-~])|\r+(?=\n|$)"
)
"""A sequence that a terminal acts on: colours, moves of the cursor, titles, strings."""
_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
"""Control characters, and those that turn the direction of what follows."""


class _Known:
    """The secrets that this process knows, and the one pattern of all their spellings; the public words, and theirs."""

    def __init__(self) -> None:
        self.values: set[str] = set()
        self.pattern: re.Pattern[str] | None = None
        self.public: set[str] = set()
        self.public_pattern: re.Pattern[str] | None = None

    def add(self, values: Iterable[str]) -> None:
        new = {value for value in values if len(value) >= SHORTEST} - self.values
        if not new:
            return
        self.values |= new
        forms = {form for value in self.values for form in spellings(value)}
        self.pattern = re.compile(_any_of(forms))

    def publish(self, words: Iterable[str]) -> None:
        new = {word for word in words if len(word) >= SHORTEST} - self.public
        if new:
            self.public |= new
            self.public_pattern = re.compile(rf"(?<!\w)(?:{_any_of(self.public)})(?!\w)")

    def hide(self, text: str, by: Callable[[str], str]) -> str:
        """`text` with `by` of each secret in its place, but for those that are within a public word."""
        if self.pattern is None:
            return text
        spans = [found.span() for found in self.public_pattern.finditer(text)] if self.public_pattern else []
        begins = [begin for begin, _ in spans]

        def hidden(found: re.Match[str]) -> str:
            index = bisect_right(begins, found.start()) - 1
            return found[0] if index >= 0 and found.end() <= spans[index][1] else by(found[0])

        return self.pattern.sub(hidden, text)


def _any_of(words: Iterable[str]) -> str:
    """A pattern of all words, the longest first: of two of which one begins with the other, no end is left over."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


_KNOWN = _Known()


def spellings(value: str) -> set[str]:
    """The ways in which a text may hold `value`: as it is, in quotes of Python and JSON, in URLs, HTML and base64."""
    body = value.encode("utf-8", errors="surrogateescape")
    found = {value, value.strip(), html.escape(value), quote(body, safe=""), quote(body), quote_plus(body)}
    found |= {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in set(found) if "%" in form}
    for escaped in (
        repr(value),
        ascii(value),
        repr(body)[1:],
        json.dumps(value),
        json.dumps(value, ensure_ascii=False),
    ):
        found.add(escaped[1:-1])
    found |= {line.strip() for line in value.splitlines() if len(line.strip()) >= SHORTEST_LINE}
    with contextlib.suppress(ValueError):
        found |= {form for form in (urlsplit(value).password or "",) if "://" in value}
    for shift in range(3):  # in base64 a text looks different by how many bytes are before it
        begin, end = -(-8 * shift // 6), 8 * (shift + len(body)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(b"\0" * shift + body).decode("ascii")[begin:end])
    return {form for form in found if len(form) >= SHORTEST}


def learn(values: Iterable[str]) -> None:
    """From now on these values are replaced wherever clean() meets them."""
    _KNOWN.add(values)


def publish_words(words: Iterable[str]) -> None:
    """From now on these words stay as they are, whatever secret they are alike to."""
    _KNOWN.publish(words)


def publish(name: str, app: Mapping[str, object] | None = None) -> None:
    """From now on the words that everybody reads of the app `name` stay as they are: its name, its account, its
    folders, and of `app`, its declaration as far as it is known, `user`, `listen` and `host`."""
    layout, declared = Layout(name), app or {}
    folders = (layout.home, layout.state, layout.data, layout.cache, layout.logs, layout.runtime)
    told = [str(declared[key]) for key in ("user", "listen", "host") if declared.get(key)]
    ports = [text.rpartition(":")[2] for text in told]
    _KNOWN.publish([name, layout.user, *folders, *told, *ports])


def forget() -> None:
    """Know no secret and no public word any more."""
    vars(_KNOWN).update(vars(_Known()))


def printable(text: str) -> str:
    """`text` without sequences that a terminal acts on; other control characters are spelt out (`\\x07`)."""
    if _CONTROL.search(text) is None:
        return text
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], _ORDER.sub("", text))


def clean_text(text: str) -> str:
    """`text` without the secrets that this process knows, and without control characters."""
    return _cleaned(text, lambda _: HIDDEN)


def _cleaned(text: str, by: Callable[[str], str]) -> str:
    hidden = _KNOWN.hide(text, by)
    shown = printable(hidden)
    return hidden if shown == hidden else _KNOWN.hide(shown, by)  # a sequence may have stood in the midst of a secret


def clean_lines(lines: Sequence[str]) -> list[str]:
    """As clean_text(), line by line; a secret of several lines is found in all of them together."""
    return _cleaned("\n".join(lines), lambda secret: HIDDEN + "\n" * secret.count("\n")).split("\n") if lines else []


def clean(value: Any) -> Any:
    """A copy of plain data (mappings, lists, texts, numbers) in which no text holds a secret that is known, or a
    control character.

    What stands under a key of OWN_WORDS is Headcount's own and stays as it is.
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {key: one if key in OWN_WORDS else clean(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in value]
    return value

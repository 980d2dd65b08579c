# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Words in braces that look like a folder of the app (`{data}`, `{cache}`, `{logs}`) and are none. Pure.

They reach the app as they stand. That may be meant (JSON, a format, a template), so that nothing is refused for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .app import App
from .candidate import PREFIX
from .fields import did_you_mean

FOLDERS: Final = ("data", "cache", "logs")
_WORD: Final = re.compile(r"(?<![${])\{(?P<name>[A-Za-z_][A-Za-z0-9_-]*)\}(?!\})")
_BEGINS_A_PATH: Final = re.compile(r"(^|[\s=:'\"]|://|:///)$")


def strangers(app: App) -> list[str]:
    """One sentence for each place that names such a word; never with a value that may be secret."""
    found = []
    for place, text, secret in _places(app):
        word = next((match for match in _WORD.finditer(text) if _as_a_folder(text, match)), None)
        if word is None:
            continue
        meant = did_you_mean(word["name"], FOLDERS)
        known = f"did you mean {{{meant}}}?" if meant and not secret else "{data}, {cache} and {logs} stand for one"
        named = "a word in braces" if secret else f"{{{word['name']}}}"
        found.append(f"{app.name}: {place} has {named}, which stands for no folder and is passed on as it is: {known}")
    return found


def _as_a_folder(text: str, word: re.Match[str]) -> bool:
    """Whether a word in braces stands where a path begins, as `{dta}/x` and `sqlite:///{dta}/x.db` have it."""
    if word["name"] in FOLDERS:
        return False
    return text[word.end() : word.end() + 1] == "/" and bool(_BEGINS_A_PATH.search(text[: word.start()]))


def _places(app: App) -> Iterator[tuple[str, str, bool]]:
    """(where a person declared it, the text, whether that may be secret)."""
    for section, values in (("environment", app.environment), ("secrets", app.secrets)):
        for name, value in values.items():
            own = name.startswith(PREFIX)
            place = f"trial.{section}.{name[len(PREFIX) :]}" if own else f"{section}.{name}"
            yield place, value, section == "secrets"
    for index, command in enumerate(app.prepare):
        yield f"prepare[{index}].run", command.run, False
    for name, process in app.processes.items():
        yield f"processes.{name}.run", process.run, False

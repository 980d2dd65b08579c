# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Folders of the machine, outside of its release, that an app was refused to write to. Pure."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from ...module_utils._declaration.outside import may_be_outside
from .._display.text import listed, plural
from .draft import Draft
from .types import Page

_REFUSED: Final = re.compile(r"(?:Read-only file system|Permission denied|[Nn]o such file or directory): '(/[^']+)'")
_WRITES: Final = re.compile(r"Read-only file system|Permission denied")


def refused(words: str) -> str:
    """The folder outside of the release that words say was not to be written to; "" where they say none."""
    found = _REFUSED.search(words) if _WRITES.search(words) else None
    if found is None:
        return ""
    path = posixpath.normpath(found[1])
    folder = posixpath.dirname(path) if "." in posixpath.basename(path).lstrip(".") else path
    return folder if may_be_outside(folder) else ""


def pages(draft: Draft) -> list[Page]:
    """The pages that failed for that."""
    return [page for page in draft.app.pages if page.status is None or page.status >= 500 if refused(page.error)]


def ask(draft: Draft) -> None:
    """Ask where what it writes there is to go."""
    failed = pages(draft)
    words = [page.error for page in failed] + [error.message for _, error in draft.found.failed]
    folders = list(dict.fromkeys(filter(None, map(refused, words))))
    if folders:
        does = f"{plural(len(failed), 'page')} failed here for that" if failed else "it does so while it is imported"
        one = folders[0]
        draft.ask(
            f"where does its data go? It writes to {listed(folders, 3)}, and may not on a host; {does}. "
            f"data: {{outside: [{', '.join(folders)}]}} lets it write there, where each host has {one}; or have its "
            "settings name a folder in its own data (`{data}`). Then see which page says that it is well",
            must=True,
        )

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Commits of what a project takes from a branch or a tag: decided once, and kept.

Where a branch is today is nobody's decision. Its commit is kept for the project, by the requirement's own line and for
all platforms, so that a changed page brings no other code of others. It is kept once it was built: a commit that cannot
be built gives way to what the branch has next.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from .cache import digest, read_set, temporary, write_json
from .gathered import WheelSet
from .lockfiles import Direct
from .sources import COMMIT, Source, remote_commit
from .tools import BadSource, file_lock

_HEAD = (
    "# Commits of what the project takes from a branch or a tag, as they were decided once. Remove a line, or this "
    "file, to have it decided anew.\n"
)
_MARK = " = "


def read(path: Path) -> dict[str, str]:
    """The commits that a file keeps, by the line that asks for each; none without it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return {}
    rows = (line.rpartition(_MARK) for line in text.splitlines() if not line.startswith("#"))
    return {asked.strip(): commit.strip() for asked, mark, commit in rows if mark and COMMIT.fullmatch(commit.strip())}


def known_set(record: Path) -> WheelSet | None:
    """A set gathered before (cache.read_set); None also when its commits are not those that are kept any more."""
    found = read_set(record)
    if found is None or not found.commits:
        return found
    said = read(Path(found.commits_file))
    return found if all(said.get(asked) == commit for asked, commit in found.commits.items()) else None


class Commits:
    """Those of one project. `used`: by the line that asks, what was taken; `moved`: in words, what became another."""

    def __init__(self, cache: Path, source: Source, base: Path) -> None:
        place = str(base / Path(source.value).expanduser()) if source.kind in ("path", "wheel") else source.value
        key = digest("commits", source.kind, place, source.subdirectory or "")
        self.path = cache / "locks" / f"{key}.commits"
        self._last = self.path.with_suffix(".json")
        self.used: dict[str, str] = {}
        self.moved: list[str] = []

    @contextmanager
    def settled(self, direct: Direct, source: Source) -> Iterator[str]:
        """The commit that is taken of a repository; kept once the block has ended well.

        Who asks for the same project meanwhile, for another platform, waits and takes the same.
        """
        if COMMIT.fullmatch(direct.revision):
            yield direct.revision
            return
        asked = _line(direct)
        with file_lock(self.path.with_suffix(".lock")):
            kept = read(self.path)
            commit = kept.get(asked) or remote_commit(source)
            try:
                yield commit
            except BadSource as error:
                if asked not in kept or commit not in str(error):
                    raise
                raise BadSource(
                    f"{error}; it was decided once: remove its line in {self.path} to take what "
                    f"{_reference(direct)} is now"
                ) from None
            self.used[asked] = commit
            if asked not in kept:
                self._keep({**kept, asked: commit})
            self._compare(direct, asked, commit)

    def _keep(self, found: Mapping[str, str]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = temporary(self.path)
        part.write_text(_HEAD + "".join(f"{asked}{_MARK}{found[asked]}\n" for asked in sorted(found)), encoding="utf-8")
        os.replace(part, self.path)

    def _compare(self, direct: Direct, asked: str, commit: str) -> None:
        """Tell of a commit that is another one than that of the last time, and why; and note it for the next."""
        last: dict[str, list[str]] = {}
        with suppress(OSError, ValueError):
            last = json.loads(self._last.read_text(encoding="utf-8"))
        name = direct.name or direct.value
        before, was = last.get(name) or ["", ""]
        if [before, was] == [asked, commit]:
            return
        if was and was != commit:
            why = "what was kept of it was removed" if before == asked else f"it was asked for as {before}"
            self.moved.append(f"{name}: commit {was} gives way to {commit} ({_reference(direct)}): {why}")
        write_json(self._last, {**last, name: [asked, commit]})


def words(path: str, used: Mapping[str, str]) -> str:
    """Which commits are kept, and where."""
    told = ", ".join(f"{asked} at {commit[:12]}" for asked, commit in sorted(used.items()))
    return f"commits of what has none in its line are kept in {path}: {told}"


def _line(direct: Direct) -> str:
    reference = f"@{direct.revision}" if direct.revision else ""
    inside = f"#subdirectory={direct.subdirectory}" if direct.subdirectory else ""
    return f"{direct.name or 'unnamed'} @ git+{direct.value}{reference}{inside}"


def _reference(direct: Direct) -> str:
    return f"{direct.revision or 'HEAD'} of {direct.value}"


__all__ = ["Commits", "known_set", "read", "words"]

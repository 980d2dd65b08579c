# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why uv could not resolve what is required, in one plain sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from .._display.text import listed
from .tools import CannotBuild, ResolutionConflict, WheelhouseError, essence, raise_for_network, redact


def resolution_error(what: str, text: str, python: str, asked: str = "") -> WheelhouseError:
    """The error for what uv said when it could not resolve; `asked` are the indexes and who named them."""
    raise_for_network(what, text)
    if "No solution found" in text:
        cause = conflict_cause(text, python)
        if is_absent(cause):
            refused = _refusals(text, asked)
            if refused:
                cause = f"{cause}; {refused}"
            elif asked:
                cause = (
                    f"{cause} (asked: {asked}); correct the name or the version in the project, or declare the index "
                    "that has it"
                )
        other = re.search(r" needs (Python\S+), but the host has Python", cause)
        fix = f"; allow another version of it, or have headcount_python name a {other[1]} of the host" if other else ""
        return ResolutionConflict(f"{what}: {cause}{fix}", cause, redact(text))
    built = re.search(r"Failed to (?:download and )?build `([^`=]+)==([^`]+)`", text)
    if built:
        return CannotBuild(
            f"{what}: {built[1]} {built[2]} cannot be built with Python {python}, so that nobody knows what it depends "
            f"on ({essence(text, 1)}); allow another version of it, or have headcount_python name an older Python of "
            "the host",
            built[1],
        )
    lines = [line.strip() for line in redact(text).splitlines() if line.strip() and not line.startswith("warning:")]
    return WheelhouseError(f"{what}: {' '.join(lines)[:800] or 'uv failed and said nothing'}")


def is_absent(cause: str) -> bool:
    """Whether a conflict is that no index that was asked has a distribution, or the version of it."""
    return "was not found in" in cause or cause.startswith("there is no version")


_REFUSED = (
    r"An index(?: URL)? \((\S+)\) could not be queried due to a lack of valid authentication credentials \((\d+ \w+)\)",
    r"An index(?: URL)? \((\S+)\) returned an? (\d+ \w+) error",
)
"""What uv says of an index that let nobody in."""


def refuses(text: str) -> bool:
    """Whether uv says that an index let nobody in."""
    return any(re.search(pattern, " ".join(text.split())) for pattern in _REFUSED)


def _refusals(text: str, asked: str) -> str:
    """Which indexes let nobody in, and what to do; "" where none did."""
    body = " ".join(text.split())
    found = dict.fromkeys(pair for pattern in _REFUSED for pair in re.findall(pattern, body))
    places = [f"{_as_asked(url, asked)} answered {status}" for url, status in found]
    if not places:
        return ""
    return (
        f"the index {listed(places, 3)}, so that nobody knows what it has: give it a user and a password that it "
        "takes, in the settings that name it, a keyring or ~/.netrc, or leave it out where it has nothing of the "
        "project"
    )


def _as_asked(url: str, asked: str) -> str:
    """An index with who named it, as far as that is known; no credential is in either."""
    known = (part.replace("://***@", "://") for part in asked.split(", "))
    return next((part for part in known if part.partition(" (")[0].rstrip("/") == url.rstrip("/")), redact(url))


def conflict_cause(text: str, python: str) -> str:
    """uv's explanation of a conflict as one sentence: the two demands that contradict each other, where found.

    `python` is the version that was asked for. Falls back to uv's own words on one line.
    """
    body = " ".join(re.sub(r"\{[^}]*\}", "", text.split("No solution found", 1)[-1]).split())
    body = body.split(" hint:")[0]
    for pattern, words in _CAUSES:
        found = re.search(pattern, body)
        if found:
            return words.format(*found.groups(), python=python)
    found = re.search(r"Because (\S+) depends on (\S+) and (\S+), we can conclude", body)
    if found and _disjoint(found[2], found[3]):
        return f"{found[1]} needs {found[2]}, but {found[3]} is required"
    pair = _contradiction(body)
    if pair:
        return _pair_words(*pair)
    found = re.search(r"cause: (.*)|[╰─▶]+ (.*)", body)
    words = (found[1] or found[2]) if found else body
    return words.rstrip(".")


def lines_about(words: str, requirements: Sequence[tuple[str, str]]) -> str:
    """The lines of a project's files, each (place, requirement), that words are about: those that are in them, or else
    those of what they name; "" where there are none."""
    words = words.lower()
    found = [f"{where} has {text}" for where, text in requirements if text.lower() in words]
    found = found or [
        f"{where} has {text}"
        for where, text in requirements
        if re.search(rf"(?<![\w.-]){re.escape(_name(text))}(?![\w-])", words)
    ]
    return f" ({listed(found, 4)})" if found else ""


_CAUSES = (
    (
        r"does not satisfy Python(\S+) and (\S+) depends on Python",
        "{1} needs Python{0}, but the host has Python {python}",
    ),
    (r"does not satisfy Python(\S+) and you require ([^,]+),", "{1} needs Python{0}, but the host has Python {python}"),
    (
        r"Because (\S+) has no usable wheels",
        "{0} has no wheel for Python {python}, and of it nothing but wheels may be taken (--only-binary)",
    ),
    (r"(\S+) was not found in the package registry", "{0} was not found in the package index"),
    (r"there is no version of ([^,\s]+)", "there is no version of {0}"),
)
"""What uv says of a conflict, and how it is told here."""


def _contradiction(body: str) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """The last two demands, each (who asks, what for), that can never be met together; "" asks as the app itself."""
    # Not what uv concludes from others ("that you require"), but what it was asked.
    asked_for = re.finditer(r"(?<!that )you require (\S+(?: and (?!because |you )\S+)*)", body)
    required = [item.strip(",.") for m in asked_for for item in m[1].split(" and ")]
    asked = {_name(item): item for item in required}
    found = re.finditer(r"(\S+) depends on (\S+?)[,.]?(?=\s|$)", body)
    demands = [(asked.get(_name(m[1]), m[1]), m[2]) for m in found] + [("", item) for item in required]
    pairs = [
        (other, demand)
        for index, demand in enumerate(demands)
        for other in demands[:index]
        if (demand[0] != other[0] or not demand[0]) and _disjoint(other[1], demand[1])
    ]
    return pairs[-1] if pairs else None


def _pair_words(one: tuple[str, str], two: tuple[str, str]) -> str:
    (owner, demand), (other_owner, other) = one, two
    if not owner and not other_owner:
        return f"both {demand} and {other} are required"
    if not owner:
        owner, demand, other_owner, other = other_owner, other, owner, demand
    tail = f"{other_owner} needs {other}" if other_owner else f"{other} is required"
    return f"{owner} needs {demand}, but {tail}"


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement.strip())[0].lower()


def _disjoint(left: str, right: str) -> bool:
    """Whether two requirements of one distribution can never be met together (only >=, >, <, <=, == are understood)."""
    one, other = (re.fullmatch(r"([A-Za-z0-9._-]+?)(?:\[[^\]]*\])?([<>=!~].*)", item) for item in (left, right))
    if not one or not other or one[1].lower() != other[1].lower():
        return False
    lows: list[Version] = []
    highs: list[tuple[Version, bool]] = []
    try:
        for part in (one, other):
            for spec in SpecifierSet(part[2]):
                version = Version(spec.version.removesuffix(".*"))
                if spec.operator in (">=", ">", "==", "~="):
                    lows.append(version)
                if spec.operator in ("<", "<=", "=="):
                    highs.append((version, spec.operator == "<"))
    except (InvalidSpecifier, ValueError):
        return False
    if not lows or not highs:
        return False
    high, strict = min(highs, key=lambda item: (item[0], not item[1]))
    return max(lows) > high or (strict and max(lows) == high)

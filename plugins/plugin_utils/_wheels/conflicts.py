# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why uv could not resolve what is required, in one plain sentence."""

from __future__ import annotations

import re

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from .tools import ResolutionConflict, WheelhouseError, essence, raise_for_network, redact


def resolution_error(what: str, text: str, python: str, asked: str = "") -> WheelhouseError:
    """The error for what uv said when it could not resolve; `asked` are the indexes and who named them."""
    raise_for_network(what, text)
    if "No solution found" in text:
        cause = conflict_cause(text, python)
        if asked and ("was not found in" in cause or cause.startswith("there is no version")):
            cause = (
                f"{cause} (asked: {asked}); correct the name or the version in the project, or declare the index that "
                "has it"
            )
        other = re.search(r" needs (Python\S+), but the host has Python", cause)
        fix = f"; allow another version of it, or have headcount_python name a {other[1]} of the host" if other else ""
        return ResolutionConflict(f"{what}: {cause}{fix}", cause, redact(text))
    built = re.search(r"Failed to (?:download and )?build `([^`=]+)==([^`]+)`", text)
    if built:
        return WheelhouseError(
            f"{what}: {built[1]} {built[2]} cannot be built with Python {python}, so that nobody knows what it depends "
            f"on ({essence(text, 1)}); allow another version of it, or have headcount_python name an older Python of "
            "the host"
        )
    lines = [line.strip() for line in redact(text).splitlines() if line.strip() and not line.startswith("warning:")]
    return WheelhouseError(f"{what}: {' '.join(lines)[:800] or 'uv failed and said nothing'}")


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

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a wheel lacks of the project that it was built from, and the app would look for when it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

_FOLDERS = ("templates", "static", "migrations", "translations")
_ASIDE = re.compile(
    r"(^|/)(tests?|testing|docs?|examples?|scripts?|bench(marks?)?|conftest|setup|noxfile|tasks|fabfile)(\.py$|/|$)"
    r"|(^|/)(test_[^/]*|[^/]*_tests?)\.py$|(^|/)\.[^/]+$|\.pot$"
)


def lacking(names: Sequence[str], wheel: Mapping[str, str]) -> dict[str, int]:
    """What a wheel lacks: a folder or a file of the project, and how many files it stands for.

    `names`: the files of the project; `wheel`: those of the wheel, with the text of those that are Python ("" for
    others). Of the packages in the wheel every module counts, and their templates, static files, migrations and
    translations; of what lies beside them, only modules that the wheel imports. Tests and the like never count, nor do
    files whose names begin with a dot (they keep an empty folder in git, or are for tools) and what translators need.
    """
    found: dict[str, int] = {}
    for name, place in _wanted(names, wheel).items():
        if place not in wheel and not _ASIDE.search(name):
            shown = _shown(name)
            found[shown] = found.get(shown, 0) + 1
    for name in _beside(names, wheel):
        found[name] = 1
    return dict(sorted(found.items()))


def _wanted(names: Sequence[str], wheel: Mapping[str, str]) -> dict[str, str]:
    """Files of the packages that the wheel has, as they lie in the project and as they would lie in the wheel."""
    tops = {name.split("/")[0] for name in wheel if name.count("/") == 1 and name.endswith("/__init__.py")}
    found: dict[str, str] = {}
    for top in sorted(tops):
        places = [name[: -len("/__init__.py")] for name in names if name.endswith(f"{top}/__init__.py")]
        home = min((place for place in places if PurePosixPath(place).name == top), key=len, default=None)
        if home is None:
            continue
        for name in names:
            if name.startswith(f"{home}/"):
                inside = name[len(home) + 1 :]
                if inside.endswith(".py") or set(inside.split("/")[:-1]) & set(_FOLDERS):
                    found[name] = f"{top}/{inside}"
    return found


def _shown(name: str) -> str:
    """The folder that tells more than a file of it."""
    parts = name.split("/")
    for depth, part in enumerate(parts[:-1], 1):
        if part in _FOLDERS:
            return "/".join(parts[:depth]) + "/"
    return "/".join(parts[:-1]) + "/" if parts[-1] == "__init__.py" else name


def _beside(names: Sequence[str], wheel: Mapping[str, str]) -> list[str]:
    """Modules and packages at the root of the project that the wheel imports and does not have."""
    tops = {re.sub(r"\.py$", "", name.split("/")[0]) for name in wheel}
    roots = {name[:-3]: name for name in names if "/" not in name and name.endswith(".py")}
    roots.update({name.split("/")[0]: f"{name.split('/')[0]}/" for name in names if name.count("/") == 1
                  and name.endswith("/__init__.py")})  # fmt: skip
    left = {top: name for top, name in roots.items() if top not in tops and not _ASIDE.search(name)}
    text = "\n".join(wheel.values())
    return [name for top, name in left.items() if re.search(rf"(?m)^[ \t]*(from|import)[ \t]+{re.escape(top)}\b", text)]


__all__ = ["lacking"]

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where variables of an app lead that is taken over, and whether it is let in there. Read only; asked by the steps."""

from __future__ import annotations

import os
import re
from typing import Mapping

from .._os.paths import HIDDEN
from .._os.rights import READ, WRITE
from .inherited import Inherited, reaches
from .outside import outside_of

_SQLITE = re.compile(r"sqlite(?:\+[a-z0-9]+)?:///(?P<path>/[^?#]*)")


class Variables(Inherited):
    """The same app, with what its variables say."""

    def of_variables(self, variables: Mapping[str, str], section: str) -> list[str]:
        """One sentence for each of `variables` of the environment whose value leads to what the former service may use
        and the app may not. `section`: where they are declared; of `secrets` no value is told."""
        found = [self._of_variable(name, value, section) for name, value in variables.items()]
        return [words for words in found if words]

    def _of_variable(self, name: str, value: str, section: str) -> str:
        path = _named(value)
        if not path or not _is_kept(path):
            return ""
        real = os.path.realpath(path)
        written = any(
            access == "write" and real.startswith(f"{os.path.realpath(folder)}/")
            for folder, access in outside_of(self.app)
        )
        wants = READ | WRITE if written else READ
        if not reaches(self.old, real, wants) or reaches(self.who, real, wants):
            return ""
        place = path if section == "environment" else "PATH"
        do, rights = ("write to", "rwX") if written else ("read", "rX")
        what = f"{place}, which" if place == path else "something on this host that"
        return (
            f"{section}.{name} names {what} {self.old.name} may {do} for {self.unit}, and {self.who.name} may not: let "
            f"it in ({self._first()}`setfacl -R -m u:{self.who.name}:{rights} {place}`"
            f"{self._passing(path) if place == path else ''})"
        )


def _named(value: str) -> str:
    """The path that a value of the environment is, or that its SQLite URL names; empty where it is none."""
    found = _SQLITE.match(value)
    path = found["path"] if found else value
    return path if path.startswith("/") and not re.search(r"[\n\0 ,:;]", path) else ""


def _is_kept(path: str) -> bool:
    """Whether a path leads to a file or folder that an app sees, and that is no device or socket."""
    real = os.path.realpath(path)
    hidden = any(real == folder or real.startswith(f"{folder}/") for folder in (*HIDDEN, "/dev", "/proc", "/sys"))
    return not hidden and (os.path.isfile(real) or os.path.isdir(real))

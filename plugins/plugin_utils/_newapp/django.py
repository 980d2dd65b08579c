# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the files of a Django project say of how it is run: its manage.py, its settings, its static files. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

VARIABLE: Final = "DJANGO_SETTINGS_MODULE"
_SETS: Final = re.compile(rf"{VARIABLE}['\"]\]?\s*[,=]\s*['\"]([\w.]+)['\"]")
_SETTINGS: Final = re.compile(r"^\s*(INSTALLED_APPS|DATABASES|ROOT_URLCONF)\s*\+?=|^from \S+ import \*", re.MULTILINE)
_SHARED: Final = re.compile(r"(^|_)(base|common|defaults?|shared|__init__)$")
_ASIDE: Final = re.compile(r"(^|[._])(dev|devel|development|local|test|tests|testing|ci|debug|example)$")

_SAYS: Final = re.compile(r"(^|/)(requirements[^/]*(\.txt|\.in|/[^/]+)|pyproject\.toml|setup\.(py|cfg)|Pipfile)$")
_DEPENDS: Final = re.compile(r"""(?im)(?:^|['"\s])django\s*(?:$|[=<>~!;'"@\[])""")
"""A file that says what a project depends on, and that this is Django."""


@dataclass(frozen=True)
class Django:
    """`manage`: the path of manage.py in the project, "" without one; `settings`: the module of its settings that its
    files name, with the file that says so, the surest first; `others`: further modules of settings that hosts may run
    with; `elsewhere`: the paths of manage.py of others in the repository."""

    manage: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    others: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()

    @property
    def chosen(self) -> tuple[str, str]:
        """The settings that it is looked at with, and who names them: where nobody does, some that are for hosts."""
        left = [module for module in self.others if not is_aside(module)]
        return next(iter(self.settings), (left[0], "a guess") if left else ("", ""))

    @property
    def migrate(self) -> str:
        """The command that makes its tables."""
        return f"python {self.manage or 'manage.py'} migrate --noinput"

    @property
    def collect(self) -> str:
        """The command that collects its static files."""
        return f"python {self.manage or 'manage.py'} collectstatic --noinput"


def is_aside(module: str) -> bool:
    """Whether settings are for the work on a project, and for no host."""
    return bool(_ASIDE.search(module))


def django(names: Sequence[str], text: Callable[[str], str], given: tuple[str, str] = ("", "")) -> Django:
    """What a project's files say; `given`: the settings that a file of variables names, and which."""
    manages = _manages(names, text)
    if not manages:
        return Django("", (given,) if given[0] else ())
    folder = posixpath.dirname(manages[0])
    asked = [name for name in names if posixpath.basename(name) == "wsgi.py" and name.startswith(folder)]
    named = {given[0]: given[1]} if given[0] else {}
    named.update(_named([manages[0], *asked], text, named))
    modules = _modules(names, text, folder)
    if not named and len(modules) == 1:
        named = modules
    others = tuple(module for module in modules if module not in named)
    return Django(manages[0], tuple(named.items()), others, tuple(manages[1:]))


def _manages(names: Sequence[str], text: Callable[[str], str]) -> list[str]:
    """The files manage.py of Django, the likeliest first."""
    manages = [name for name in names if posixpath.basename(name) == "manage.py" and name.count("/") <= 1]
    manages = [name for name in manages if _is_django(text(name)) or any(map(_asks(text), names))]
    return sorted(manages, key=lambda name: (not _SETS.search(text(name)), name.count("/")))


def _is_django(manage: str) -> bool:
    """Whether a manage.py is Django's, and not that of another framework (FlaskGroup); an empty one may be."""
    return not manage.strip() or "django" in manage.lower()


def _asks(text: Callable[[str], str]) -> Callable[[str], bool]:
    """Tells of a file whether it says that the project depends on Django."""
    return lambda name: bool(_SAYS.search(name) and _DEPENDS.search(text(name)))


def _named(files: Sequence[str], text: Callable[[str], str], known: Collection[str]) -> dict[str, str]:
    """The settings that files name, each with the first that does."""
    found: dict[str, str] = {}
    for name in files:
        for module in _SETS.findall(text(name)):
            if module not in known:
                found.setdefault(module, name)
    return found


def _modules(names: Sequence[str], text: Callable[[str], str], folder: str) -> dict[str, str]:
    """The modules of settings, with their files."""
    found = {}
    for name in names:
        module = posixpath.relpath(name, folder or ".").removesuffix(".py").replace("/", ".")
        last = module.rpartition(".")[2]
        is_one = "settings" in module.split(".")[-2:-1] or last.startswith("settings") or last.endswith("_settings")
        inside = not folder or name.startswith(f"{folder}/")
        if name.endswith(".py") and inside and is_one and not _SHARED.search(last) and _SETTINGS.search(text(name)):
            found[module] = name
    return found


def app_module(found: Django, names: Sequence[str]) -> str:
    """The module wsgi of the package whose settings its files name; "" where there is none."""
    folder = posixpath.dirname(found.manage)
    for module, _ in found.settings if found.manage else ():
        package = module
        while package and posixpath.join(folder, package.replace(".", "/"), "wsgi.py") not in names:
            package = package.rpartition(".")[0]
        if package:
            return f"{package}.wsgi"
    return ""

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where packages come from: one answer for uv, which resolves, and for pip, which downloads.

Either reads settings of its own that the other does not know: uv its UV_* variables and uv.toml, pip its PIP_*
variables and pip.conf, and a project says more (pyproject.toml, Pipfile, requirements files). What all of them say is
put together here and handed to both by environment variables, which no other user and no process list shows.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import urls

from .._edge import Json
from .tools import BadSource, pip, redact, run, toml

_PIP_KEYS = ("index-url", "extra-index-url", "find-links", "trusted-host", "no-index", "constraint", "keyring-provider")
_OPTION_URL = re.compile(r"(?:^|\s)(-[a-z]|--[a-z-]+)[=\s]*['\"]?([a-z][a-z0-9+.-]*://[^\s'\"]+)")
_BEST = "unsafe-best-match"
FIRST = "first-index"
"""How uv asks several indexes where nobody says otherwise."""
_UV_WORDS = {
    "index-strategy": "UV_INDEX_STRATEGY",
    "keyring-provider": "UV_KEYRING_PROVIDER",
    "prerelease": "UV_PRERELEASE",
}
"""What uv's tables say of how it asks, and the variable that says it too."""
_NOT_CONFIGURED = "the public index that uv and pip know by themselves"


@dataclass(frozen=True)
class Index:
    """One index: where it is, who named it, and the name by which a package can be bound to it.

    `as_pip`: whoever named it means it as pip does, which takes the best version of all indexes.
    """

    url: str
    origin: str
    name: str = ""
    explicit: bool = False
    as_pip: bool = False


@dataclass(frozen=True)
class Indexes:
    """All that is to be asked, best first. `bound`: package name to index name. `variables` of uv: how it is to ask, in
    the words of a project or of uv.toml."""

    default: Index | None = None
    extra: tuple[Index, ...] = ()
    find_links: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    bound: Mapping[str, str] = field(default_factory=dict)
    no_index: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The variables with which uv and pip ask the same; `environ` are those of the controller."""
        found: dict[str, str] = {}
        open_ones = self._open()
        if self.default:
            found["UV_DEFAULT_INDEX"] = found["PIP_INDEX_URL"] = _with_credentials(self.default, environ)
        if open_ones:
            found["UV_INDEX"] = " ".join(_with_credentials(index, environ) for index in open_ones)
        if self.extra:
            found["PIP_EXTRA_INDEX_URL"] = " ".join(_with_credentials(index, environ) for index in self.extra)
        if self.find_links:
            found["UV_FIND_LINKS"] = ",".join(self.find_links)
            found["PIP_FIND_LINKS"] = " ".join(self.find_links)
        if self.trusted:
            found["UV_INSECURE_HOST"] = found["PIP_TRUSTED_HOST"] = " ".join(self.trusted)
        if self.constraints and "UV_CONSTRAINT" not in environ:
            found["UV_CONSTRAINT"] = " ".join(self.constraints)
        if self.no_index:
            found["PIP_NO_INDEX"] = "1"
        return {**found, **self._ways(environ)}

    def _ways(self, environ: Mapping[str, str]) -> dict[str, str]:
        """How several indexes are asked, and what else the tables of uv say of asking."""
        found = {name: value for name, value in self.variables.items() if name not in environ}
        if self._by_pip() and not self._by_uv() and not self._strategy(environ):
            found["UV_INDEX_STRATEGY"] = _BEST
        return found

    def _open(self) -> list[Index]:
        return [index for index in self.extra if not index.explicit]

    def _by_pip(self) -> list[Index]:
        return [index for index in self._open() if index.as_pip]

    def _by_uv(self) -> list[Index]:
        return [index for index in self._open() if not index.as_pip]

    def _strategy(self, environ: Mapping[str, str]) -> str:
        return environ.get("UV_INDEX_STRATEGY") or self.variables.get("UV_INDEX_STRATEGY", "")

    def mixed(self, environ: Mapping[str, str]) -> str:
        """Which of two meanings of several indexes counts, in a sentence; "" where all of them mean the same."""
        ours, theirs = self._by_pip(), self._by_uv()
        if not ours or not theirs or self._strategy(environ):
            return ""
        return (
            f"{_places(theirs)} and {_places(ours)} are asked one after the other, as uv does it, and the first that "
            "has a package counts; pip would take the best version of all: UV_INDEX_STRATEGY=unsafe-best-match has it "
            "so, and first-index says that it is meant as it is"
        )

    def project(self) -> str | None:
        """A pyproject.toml that binds packages to their indexes; None when none is bound."""
        named = {index.name: index for index in self.extra if index.name}
        bound = {name: named[index] for name, index in self.bound.items() if index in named}
        if not bound:
            return None
        lines = ["[project]", 'name = "headcount-bound"', 'version = "0"', f"dependencies = {sorted(bound)!r}"]
        lines += ["[tool.uv.sources]", *(f'"{name}" = {{index = "{index.name}"}}' for name, index in bound.items())]
        for index in {index.name: index for index in bound.values()}.values():
            lines += ["[[tool.uv.index]]", f'name = "{index.name}"', f'url = "{index.url}"', "explicit = true"]
        return "\n".join(lines) + "\n"

    def told(self) -> str:
        """Which indexes are asked and who named them, without credentials."""
        places = [_places([index]) for index in self.extra]
        places.append(_places([self.default]) if self.default else _NOT_CONFIGURED)
        links = [f"{redact(link)} (find-links)" for link in self.find_links]
        return ", ".join(links if self.no_index else [*places, *links])

    def check(self) -> None:
        """Raise BadSource for an index of a project's file that carries a credential."""
        for index in (*((self.default,) if self.default else ()), *self.extra):
            check_url(index.url, f"{index.origin}: the index {index.name}".rstrip())
        for link in self.find_links:
            check_url(link, "the project's find-links")


def _places(listed: Iterable[Index]) -> str:
    return ", ".join(f"{redact(index.url)} ({index.origin})" for index in listed)


def check_url(url: str, what: str) -> None:
    """Raise BadSource, which begins with `what`, for a URL of a project's file that carries a credential."""
    secret = urls.credential(url)
    if secret:
        raise BadSource(
            f"{what} {redact(url)} has {secret} in its URL, which would get into the release, where the app's user can "
            "read it: allowed is a URL without one, or in a requirements file or a Pipfile ${VARIABLE} in its place; "
            "take it out, and let ~/.netrc or a variable of the controller (UV_INDEX, PIP_EXTRA_INDEX_URL) know it"
        )


def check_options(line: str, where: str) -> None:
    """Raise BadSource for an option in a line of a requirements file that names an index with a credential."""
    for option, url in _OPTION_URL.findall(line):
        if option not in ("-e", "--editable"):  # what is built says that itself
            check_url(url, f"{where}: {option}")


def _with_credentials(index: Index, environ: Mapping[str, str]) -> str:
    """The URL of an index, with the user and the password that uv's variables give for its name."""
    key = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", index.name.upper())
    user, password = environ.get(f"{key}_USERNAME", ""), environ.get(f"{key}_PASSWORD", "")
    parts = urlsplit(index.url)
    if not index.name or not (user or password) or "@" in parts.netloc:
        return index.url
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}"))


def expand(text: str, environ: Mapping[str, str], where: str) -> str:
    """`text` with ${NAME} replaced from the environment, as pip does it. Raises BadSource for one that is not set."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in environ:
            raise BadSource(f"{where}: the environment variable {found[1]} is not set on the controller")
        return environ[found[1]]

    return re.sub(r"\$\{([A-Z0-9_]+)\}", value, text)


def gathered(project: Indexes, environ: Mapping[str, str], pip_settings: Mapping[str, str]) -> Indexes:
    """What uv's variables, the project, uv.toml and pip say together: who comes first names the default index.

    `pip_settings` are those of `pip_config`, the PIP_* variables among them.
    """
    pip_default = _index(pip_settings.get("index-url"), "pip's settings")
    pip_extra = tuple(Index(url, "pip's settings", as_pip=True) for url in _words(pip_settings, "extra-index-url"))
    mine = [_from_environment(environ), project, _from_uv_files(environ)]
    extra = [index for found in mine for index in found.extra]
    default = next((found.default for found in mine if found.default), None) or pip_default
    return Indexes(
        default=default,
        extra=_once([*extra, *pip_extra]),
        find_links=_unique([*(link for found in mine for link in found.find_links), *_links(pip_settings)]),
        trusted=_unique([*(host for found in mine for host in found.trusted), *_words(pip_settings, "trusted-host")]),
        constraints=_unique(_words(pip_settings, "constraint")),
        bound=project.bound,
        no_index=project.no_index or pip_settings.get("no-index", "").lower() in ("1", "true", "yes", "on"),
        variables=_with_keyring(
            {name: v for found in reversed(mine) for name, v in found.variables.items()}, environ, pip_settings
        ),
    )


def _with_keyring(told: dict[str, str], environ: Mapping[str, str], pip_settings: Mapping[str, str]) -> dict[str, str]:
    """`told`, and for whichever of uv and pip is not told to ask a keyring what the other one is told.

    uv knows the program `keyring` alone. pip asks none where it may not ask a person either, before 23.1 whatever it is
    told: it may therefore, and the variable that says so, be it 0, has it fail instead of asking.
    """
    of_uv = environ.get("UV_KEYRING_PROVIDER") or told.get("UV_KEYRING_PROVIDER")
    of_pip = pip_settings.get("keyring-provider")
    if of_uv == "subprocess" and of_pip in (None, "auto"):
        return {**told, "PIP_KEYRING_PROVIDER": "subprocess", "PIP_NO_INPUT": "0"}
    if of_pip in ("import", "subprocess") and not of_uv:
        return {**told, "UV_KEYRING_PROVIDER": "subprocess", "PIP_NO_INPUT": "0"}
    return {**told, "PIP_NO_INPUT": "0"} if of_pip in ("import", "subprocess") else told


def _words(settings: Mapping[str, str], key: str) -> list[str]:
    return settings.get(key, "").split()


def _links(settings: Mapping[str, str]) -> list[str]:
    return _words(settings, "find-links")


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


def _once(indexes: Iterable[Index]) -> tuple[Index, ...]:
    found: dict[tuple[str, bool], Index] = {}
    for index in indexes:
        found.setdefault((index.url, index.explicit), index)
    return tuple(found.values())


def _index(url: str | None, origin: str) -> Index | None:
    return Index(url, origin) if url else None


def _from_environment(environ: Mapping[str, str]) -> Indexes:
    default = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    words = f"{environ.get('UV_INDEX', '')} {environ.get('UV_EXTRA_INDEX_URL', '')}".split()
    return Indexes(
        default=_named(default, "UV_DEFAULT_INDEX") if default else None,
        extra=tuple(_named(word, "UV_INDEX") for word in words),
        find_links=tuple(link for link in environ.get("UV_FIND_LINKS", "").split(",") if link),
        trusted=tuple(environ.get("UV_INSECURE_HOST", "").split()),
    )


def _named(word: str, origin: str) -> Index:
    """An index as uv's variables have it: a URL, or NAME=URL."""
    found = re.fullmatch(r"([A-Za-z0-9._-]+)=(.+)", word)
    return Index(found[2], origin, found[1]) if found else Index(word, origin)


def _from_uv_files(environ: Mapping[str, str]) -> Indexes:
    home = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "/")) / ".config")
    files = [Path(environ["UV_CONFIG_FILE"])] if "UV_CONFIG_FILE" in environ else [home / "uv/uv.toml"]
    known = Indexes()
    for path in [*files, Path("/etc/uv/uv.toml")]:
        if path.is_file():
            known = joined(known, of_uv(toml(path), str(path), path.parent))
    return known


def joined(first: Indexes, second: Indexes) -> Indexes:
    """Both, the first before the second."""
    return replace(
        first,
        default=first.default or second.default,
        extra=(*first.extra, *second.extra),
        find_links=(*first.find_links, *second.find_links),
        trusted=(*first.trusted, *second.trusted),
        bound={**second.bound, **first.bound},
        no_index=first.no_index or second.no_index,
        variables={**second.variables, **first.variables},
    )


def of_uv(settings: Json, origin: str, folder: Path) -> Indexes:
    """From the table [tool.uv] of a pyproject.toml, or a uv.toml, in `folder`."""
    default, extra, links = None, [], [_place(item, folder) for item in settings.get("find-links", [])]
    for item in settings.get("index", []):
        index = Index(_place(str(item["url"]), folder), origin, str(item.get("name", "")), bool(item.get("explicit")))
        if item.get("format") == "flat":
            links.append(index.url)
        elif item.get("default"):
            default = index
        else:
            extra.append(index)
    if "index-url" in settings:
        default = Index(str(settings["index-url"]), origin)
    extra += [Index(str(url), origin) for url in settings.get("extra-index-url", [])]
    told = {name: str(settings[key]) for key, name in _UV_WORDS.items() if key in settings}
    return Indexes(default, tuple(extra), tuple(links), no_index=bool(settings.get("no-index")), variables=told)


def of_poetry(settings: Json, origin: str) -> Indexes:
    """From [[tool.poetry.source]] of a pyproject.toml; the default stays what it is."""
    extra = []
    for item in settings.get("source", []):
        if "url" in item:
            explicit = str(item.get("priority", "")).lower() == "explicit"
            extra.append(Index(str(item["url"]), origin, str(item.get("name", "")), explicit))
    named = {
        name: str(value["source"])
        for name, value in settings.get("dependencies", {}).items()
        if isinstance(value, Mapping) and "source" in value
    }
    return Indexes(extra=tuple(extra), bound=named)


def of_pipfile(settings: Json, origin: str, environ: Mapping[str, str]) -> Indexes:
    """From [[source]] of a Pipfile: the first is the default.

    Pipenv writes the public index into every Pipfile. One that names nothing else has configured nothing, and a mirror
    that the controller is set to stays the default.
    """
    for item in settings.get("source", []):
        check_url(str(item.get("url", "")), f"{origin}: the index {item.get('name', '')}".rstrip())
    found = [
        Index(expand(str(item["url"]), environ, origin), origin, str(item.get("name", "")))
        for item in settings.get("source", [])
        if "url" in item
    ]
    if len(found) == 1 and found[0].url.rstrip("/") == public_index():
        return Indexes()
    return Indexes(default=found[0], extra=tuple(found[1:])) if found else Indexes()


def _place(url: str, folder: Path) -> str:
    """A URL as it is; a path, which begins at `folder`, as an absolute one."""
    return url if re.match(r"[a-z][a-z0-9+.-]*:", url) else str((folder / url).resolve())


def pip_config() -> dict[str, str]:
    """What pip goes by for its downloads, from its variables and files: key to value, several words in one."""
    done = run([*pip(), "config", "list"], 60)
    return read_pip_config(done.stdout) if done.status == 0 else {}


@lru_cache(maxsize=1)
def public_index() -> str:
    """The index that pip asks when nothing is configured, by its own words; "" when it does not say."""
    bare = {"PIP_CONFIG_FILE": os.devnull, "COLUMNS": "500"}
    done = run([*pip(), "download", "--isolated", "--help"], 60, extra_env=bare)
    return read_public_index(done.stdout) if done.status == 0 else ""


def read_public_index(text: str) -> str:
    """The default of --index-url in what `pip download --help` printed; "" when it is not there."""
    found = re.search(r"--index-url <url>[^<]*?\(default (\S+?)/?\)", text)
    return found[1] if found else ""


def read_pip_config(text: str) -> dict[str, str]:
    """The settings that `pip config list` printed: of the command download, else of install, else of all."""
    found: dict[str, str] = {}
    rank = {"global": 0, "install": 1, "download": 2, ":env:": 3}
    order: dict[str, int] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"(global|install|download|:env:)\.([a-z-]+)=(.*)", line)
        if match and match[2] in _PIP_KEYS and rank[match[1]] >= order.get(match[2], 0):
            try:
                value = str(ast.literal_eval(match[3]))
            except (ValueError, SyntaxError):
                value = match[3]
            found[match[2]], order[match[2]] = " ".join(value.split()), rank[match[1]]
    return found


def asked(environ: Mapping[str, str] | None = None, project: Indexes | None = None) -> Indexes:
    """What is asked for a project on this controller."""
    return gathered(project or Indexes(), os.environ if environ is None else environ, pip_config())


__all__ = [
    "Index",
    "Indexes",
    "asked",
    "check_options",
    "check_url",
    "expand",
    "gathered",
    "joined",
    "of_pipfile",
    "of_poetry",
    "of_uv",
    "pip_config",
    "public_index",
    "read_pip_config",
    "read_public_index",
]

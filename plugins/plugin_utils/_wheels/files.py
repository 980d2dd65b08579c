# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which files of a project are shipped: what git does not ignore, and never a secret or data that nobody asked for.

In a git checkout git decides: what it tracks is taken, and so is what is new and not ignored. A file that is not
tracked, and every file of a folder that is no checkout, is left out when it looks like a secret, data or an
environment. What `include` names is taken whatever it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from .._display.text import listed
from .tools import BadSource, essence, run

IGNORED_ANYWHERE = frozenset(
    {"__pycache__", ".git", ".hg", ".svn", ".venv", ".tox", ".nox", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
    | {".hypothesis", ".eggs", ".idea", ".vscode"}
)
IGNORED_AT_TOP = frozenset({"build", "dist", "venv", "node_modules"})
INFO = (".egg-info", ".dist-info")
BYTECODE = (".pyc", ".pyo")

_TEMPLATE = re.compile(r"[._-](example|sample|template|tmpl|dist|defaults?|schema|j2|md|rst)$")
_TEMPLATE_OF = re.compile(r"(example|sample|template|default|dummy|dist)[._-]")
_SECRETS = [
    ".env",
    ".env.*",
    "*.env",
    ".envrc",
    ".env-*",
    ".netrc",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".git-credentials",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".dockercfg",
    ".s3cfg",
    ".boto",
    ".token",
    "token",
    "*token.txt",
    "*tokens.txt",
    "*token.json",
    "*.token",
    ".vault_pass*",
    ".vault-pass*",
    "*vault*pass",
    "*vault*pass*.txt",
    "*vault*password",
    "*password.txt",
    "*passwords.txt",
    "*passwd.txt",
    "secret.txt",
    "secrets.txt",
    "secrets.json",
    "secrets.y*ml",
    "secrets.toml",
    ".secrets.*",
    "api_key.txt",
    "apikey.txt",
    "kubeconfig",
    "*.tfvars",
    "*.tfstate",
    "*firebase-adminsdk*.json",
    ".*_history",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "credentials.json",
    "client_secret*.json",
    "service-account*.json",
    "service_account*.json",
]
_DATA = [
    "*.db",
    "*.db3",
    "*.sqlite",
    "*.sqlite3",
    "*.db-journal",
    "*.db-wal",
    "*.db-shm",
    "*.sqlite*-journal",
    "*.sqlite*-wal",
    "*.sqlite*-shm",
    "*.log",
    "*.pid",
    "*.sock",
    "celerybeat-schedule*",
]
_SECRET_FOLDERS = frozenset({".ssh", ".gnupg", ".aws", ".azure", ".kube"})
_TEXTS = (".txt", ".html", ".md", ".rst")
"""What lies in a folder of templates and is called so is what an app says, as the mail `reset_password.txt`."""
_SPEAKS_OF_KEYS = (".py", ".pyi", ".md", ".rst", ".html", ".js", ".css", ".ipynb")
"""Code and text about keys, which is shipped although it may hold the words of one."""
_KEY = re.compile(rb"^-----BEGIN [A-Z ]*PRIVATE KEY", re.MULTILINE)
_CONTENT_FOLDERS = frozenset({"static", "templates", "translations", "locale", "public"})
_GIT_SECONDS = 120.0
_MOST = 8


@dataclass(frozen=True)
class Shipped:
    """The files of a project that are shipped, as sorted names within its folder, and what a person should know."""

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def shipped(folder: Path, include: Sequence[str] = (), what: str = "source") -> Shipped:
    """The files of the project in `folder` that are shipped; `what` names the source in messages.

    `include` are patterns within the folder of what is shipped although git ignores it, or it looks like a secret.
    Raises BadSource when git refuses to read the checkout, a pattern matches nothing, or a folder is a link.
    """
    found = _Selection(folder, what)
    top = checkout_of(folder)
    in_git = top is not None and not _is_ignored(folder, what)
    if top is not None and in_git:
        _from_git(found, top)
    else:
        for name in _walk(found, "", IGNORED_ANYWHERE | IGNORED_AT_TOP):
            found.offer(name)
    _check_own_links(found)
    for pattern in include:
        found.add(_matching(folder, pattern, what))
    if in_git and not include:
        _hint(found)
    return found.result()


@dataclass
class _Selection:
    """What is taken and what is left out, while the files are gone through."""

    folder: Path
    what: str
    taken: set[str] = field(default_factory=set)
    left_out: dict[str, None] = field(default_factory=dict)
    doubtful: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def offer(self, name: str) -> None:
        """Take a file unless it looks like a secret or data."""
        path = self.folder / name
        if looks_secret(name, path) or (path.is_symlink() and looks_secret(path.resolve().name, path)):
            self.left_out[name] = None
        else:
            self.taken.add(name)

    def add(self, names: Iterable[str]) -> None:
        """Take files because somebody asked for them."""
        for name in names:
            self.taken.add(name)
            self.left_out.pop(name, None)

    def result(self) -> Shipped:
        """The files in order, and all that is to be told."""
        notes = []
        if self.left_out:
            notes.append(
                f"{self.what}: not shipped, because by its name it is a secret, data or an environment: "
                f"{listed(list(self.left_out), _MOST)}; what the app needs all the same is named in source.include"
            )
        if self.doubtful:
            notes.append(
                f"{self.what}: shipped, because git tracks it, although by its name it is a secret or data: "
                f"{listed(self.doubtful, _MOST)}; `git rm --cached` takes it out of the project"
            )
        # In the order of the folders, not of the characters: what lies in `a` comes before `a-b`.
        return Shipped(tuple(sorted(self.taken, key=lambda name: name.split("/"))), (*notes, *self.notes))


def _check_own_links(found: _Selection) -> None:
    """Take nothing through a link that is not taken by its own name: what the link would bring is a copy of it, or, for
    a link to a folder, nothing at all."""
    top = found.folder.resolve()
    taken = [name for name in sorted(found.taken) if not (found.folder / name).is_symlink()]
    for name in [name for name in sorted(found.taken) if (found.folder / name).is_symlink()]:
        target = (found.folder / name).resolve()
        if not target.is_relative_to(top):
            if checkout_of(found.folder) is not None and target.is_relative_to(checkout_of(found.folder) or top):
                continue  # git was asked about it
            why = "which is not in the project"
        else:
            own = target.relative_to(top).as_posix()
            if own in found.taken or any(other.startswith(f"{own}/") for other in taken):
                continue
            why = "which is not shipped"
        found.taken.discard(name)
        found.notes.append(
            f"{found.what}: {name} is a link to {target}, {why}: it is not shipped either; put a copy in its place, or "
            "name the link in source.include"
        )


_COPIES = re.compile(r"(~|\.(bak|backup|orig|old|save|swp))$")
"""What editors and people leave beside a file: a copy of a secret is one."""


@dataclass(frozen=True)
class _Names:
    """Patterns of names. Few need a regular expression, and each of those is compiled anew in every run."""

    whole: frozenset[str]
    ends: tuple[str, ...]
    begins: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def of(cls, patterns: Sequence[str]) -> _Names:
        single = [pattern for pattern in patterns if pattern.count("*") == 1]
        ends = tuple(pattern[1:] for pattern in single if pattern.startswith("*"))
        begins = tuple(pattern[:-1] for pattern in single if pattern.endswith("*"))
        told = {*(f"*{end}" for end in ends), *(f"{begin}*" for begin in begins)}
        others = tuple(pattern for pattern in patterns if "*" in pattern and pattern not in told)
        return cls(frozenset(pattern for pattern in patterns if "*" not in pattern), ends, begins, others)

    def match(self, name: str) -> bool:
        """Whether one of the patterns is that of `name`."""
        if name in self.whole or name.endswith(self.ends) or name.startswith(self.begins):
            return True
        return any(fnmatchcase(name, pattern) for pattern in self.others)


_SECRET_NAMES, _DATA_NAMES = _Names.of(_SECRETS), _Names.of(_DATA)


def looks_secret(name: str, path: Path) -> bool:
    """Whether a file looks like a secret or data, by its name, or by the private key that is in it."""
    *folders, base = name.lower().split("/")
    base = _COPIES.sub("", base)
    if _SECRET_FOLDERS.intersection(folders):
        return True
    if "templates" in folders and base.endswith(_TEXTS):
        return False
    if _SECRET_NAMES.match(base):
        return not _TEMPLATE.search(base) and not _TEMPLATE_OF.match(base)
    if _DATA_NAMES.match(base):
        return True
    if base.endswith(_SPEAKS_OF_KEYS):
        return False
    try:
        with path.open("rb") as stream:
            return _KEY.search(stream.read(1 << 16)) is not None
    except OSError:
        return False


def _is_environment(folder: Path) -> bool:
    return (folder / "pyvenv.cfg").is_file() or (folder / "conda-meta").is_dir()


def _is_instance(name: str, folder: Path) -> bool:
    """Flask's instance folder: configuration and databases of one installation. A package of that name is none."""
    return name == "instance" and not (folder / "__init__.py").exists()


def _walk(found: _Selection, prefix: str, ignored: frozenset[str]) -> Iterator[str]:
    """The files below a folder, as names within the project; what no project is made of is passed over."""
    for entry in sorted(os.scandir(found.folder / prefix), key=lambda item: item.name):
        path, name = Path(entry.path), f"{prefix}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if entry.name in ignored or entry.name.endswith(INFO):
                continue
            if _is_environment(path) or _is_instance(entry.name, path) or entry.name.lower() in _SECRET_FOLDERS:
                found.left_out[f"{name}/"] = None
                continue
            yield from _walk(found, f"{name}/", IGNORED_ANYWHERE)
        elif entry.is_symlink() and path.is_dir():
            if entry.name not in ignored:
                yield _link(name, path, found.folder)
        elif path.is_file() and not entry.name.endswith(BYTECODE):
            yield name


def _link(name: str, path: Path, folder: Path) -> str:
    """The name of a link to a folder, which stays a link. Raises BadSource for one that leads out of the project."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BadSource(f"{path} is a link to a folder: copy the folder, or leave the link out of the project")
    return name


def left_out(folder: Path, name: str) -> str:
    """Why a file of a project is not shipped where source.include does not name it: as git ignores it, or by its name.

    "" where there is no such file within `folder`. Raises BadSource where git cannot be asked.
    """
    path = folder / name
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return ""
    top = checkout_of(folder)
    if top and _is_repository(top) and _git(["check-ignore", "--", str(path)], folder, "source"):
        return "git ignores it"
    return "its name, or that of its folder, says that it is data, a secret or an environment"


# -- git --------------------------------------------------------------------------------------------------------------


def checkout_of(folder: Path) -> Path | None:
    """The folder with `.git` that holds `folder`, itself or the nearest above it; None outside of a checkout."""
    here = folder.resolve()
    return next((place for place in (here, *here.parents) if os.path.lexists(place / ".git")), None)


def _git(words: Sequence[str | Path], folder: Path, what: str) -> str:
    """What git says in a checkout. Raises BadSource when it refuses, with what to do."""
    across = {"GIT_DISCOVERY_ACROSS_FILESYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0"}
    done = run(["git", "-C", folder, *words], _GIT_SECONDS, extra_env=across, errors="surrogateescape")
    if done.status == 0 or (words[0] == "check-ignore" and done.status == 1):
        return done.stdout
    if "dubious ownership" in done.text:
        owned = re.search(r"safe\.directory (\S+)", done.text)
        raise BadSource(
            f"{what}: git does not read this checkout, because it belongs to another user, and only git knows which "
            "files are ignored: run as its owner, or allow it with "
            f"`git config --global --add safe.directory {owned[1] if owned else folder}`"
        )
    raise BadSource(
        f"{what}: git cannot read this checkout ({essence(done.text, 1)}), and only git knows which files are "
        "ignored: put the checkout right, or copy the project to a folder without .git"
    )


def _is_repository(top: Path) -> bool:
    """Whether `.git` is what git makes, or a link to it; an empty or foreign folder of that name is none."""
    mark = top / ".git"
    return not mark.is_dir() or ((mark / "HEAD").is_file() and (mark / "objects").is_dir())


def _is_ignored(folder: Path, what: str) -> bool:
    """Whether a folder is no part of the checkout around it: git ignores it and tracks nothing in it."""
    top = checkout_of(folder)
    if top is None or not _is_repository(top):
        return True
    if top == folder.resolve():
        return False
    ignored = _git(["check-ignore", "--no-index", str(folder.resolve())], top, what)
    return bool(ignored) and not _git(["ls-files", "-z", "--cached"], folder, what)


def _names(text: str) -> list[str]:
    """File names as Python has them, whatever their bytes are: git's answer keeps each byte as it is."""
    return [name for name in text.split("\0") if name]


def _from_git(found: _Selection, top: Path) -> None:
    folder, what = found.folder, found.what
    links: list[str] = []
    for name, tracked in _listed(folder, "", what, found.notes):
        parts = name.split("/")
        path = folder / name
        if _passed_over(folder, parts):
            continue
        if path.is_symlink() and path.is_dir():
            found.taken.add(_link(name, path, folder))
            continue
        if not path.is_file() or name.endswith(BYTECODE):
            continue  # deleted and not committed yet, a socket, or a link that leads nowhere
        if path.is_symlink():
            links.append(name)
        if tracked:
            found.taken.add(name)
            if looks_secret(name, path) and not path.is_symlink():
                found.doubtful.append(name)
        elif not _left_out_above(found, parts):
            found.offer(name)
    _check_links(found, links, top)


def _passed_over(folder: Path, parts: Sequence[str]) -> bool:
    """Whether a file is of what no project is made of, or lies in a folder that became a link (listed itself)."""
    if IGNORED_ANYWHERE.intersection(parts) or any(part.endswith(INFO) for part in parts[:-1]):
        return True
    return any((folder / "/".join(parts[:depth])).is_symlink() for depth in range(1, len(parts)))


def _left_out_above(found: _Selection, parts: Sequence[str]) -> bool:
    """Whether a file that is not tracked lies in an environment, an instance folder or what a build left."""
    if parts[0] in IGNORED_AT_TOP and len(parts) > 1:
        return True
    for depth in range(1, len(parts)):
        name = "/".join(parts[:depth])
        path = found.folder / name
        if _is_environment(path) or _is_instance(parts[depth - 1], path) or parts[depth - 1] in _SECRET_FOLDERS:
            found.left_out[f"{name}/"] = None
            return True
    return False


def _listed(folder: Path, prefix: str, what: str, notes: list[str]) -> Iterator[tuple[str, bool]]:
    """(name within the project, whether it is tracked) of what git does not ignore, submodules and nested
    repositories included."""
    here = folder / prefix
    tracked = set(_names(_git(["ls-files", "-z", "--cached"], here, what)))
    new = _names(_git(["ls-files", "-z", "--others", "--exclude-standard"], here, what))
    for name in sorted(tracked.union(new)):
        path = here / name
        if not path.is_dir() or path.is_symlink():
            yield f"{prefix}{name}", name in tracked
        elif name not in tracked and _is_worktree(path):
            continue  # the same project once more
        elif os.path.lexists(path / ".git"):
            yield from _listed(folder, f"{prefix}{name.rstrip('/')}/", what, notes)
        elif name in tracked:
            notes.append(
                f"{what}: the submodule {prefix}{name} is not checked out and is not shipped; "
                "`git submodule update --init` brings it"
            )


def _is_worktree(path: Path) -> bool:
    try:
        return "/worktrees/" in (path / ".git").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _check_links(found: _Selection, links: Sequence[str], top: Path) -> None:
    """Take no file through a link that git would not give: one that it ignores, or that is not in the checkout."""
    targets = {name: (found.folder / name).resolve() for name in links}
    inside = {name: path.relative_to(top) for name, path in targets.items() if path.is_relative_to(top)}
    known: set[str] = set()
    if inside:
        paths = [f":(top,literal){path}" for path in set(inside.values())]
        options = ["--cached", "--others", "--exclude-standard", "--full-name"]
        known = set(_names(_git(["ls-files", "-z", *options, "--", *paths], top, found.what)))
    for name, target in targets.items():
        if name not in inside or str(inside[name]) not in known:
            found.taken.discard(name)
            why = "which git ignores" if name in inside else "which is not in the checkout"
            found.notes.append(
                f"{found.what}: {name} is a link to {target}, {why}: it is not shipped; put a copy in its place, or "
                "name the link in source.include"
            )


def _hint(found: _Selection) -> None:
    """Name what git ignores and a release may need: built assets and translations."""
    words = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"]
    ignored = _names(_git(words, found.folder, found.what))
    ignored = [name for name in ignored if not any(other != name and other.startswith(name) for other in ignored)]
    content = [
        name
        for name in ignored
        if (_CONTENT_FOLDERS.intersection(name.split("/")) or name.endswith(".mo"))
        and not (IGNORED_ANYWHERE | {"node_modules"}).intersection(name.split("/"))
        and not looks_secret(name.rstrip("/"), found.folder / name)
    ]
    if content:
        found.notes.append(
            f"{found.what}: git ignores this, so it is not shipped: {listed(content, _MOST)}; "
            f"if the app needs it, name it: source.include: [{content[0].rstrip('/')!r}]"
        )


def _matching(folder: Path, pattern: str, what: str) -> list[str]:
    """The files within `folder` that a pattern of source.include names; a folder stands for all that is in it."""
    files: set[str] = set()
    for path in folder.glob(pattern):
        below = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
        for item in below:
            name = item.relative_to(folder).as_posix()
            if not IGNORED_ANYWHERE.intersection(name.split("/")) and not name.endswith(BYTECODE):
                files.add(name)
    if not files:
        raise BadSource(
            f"{what}: source.include {pattern!r} matches no file in {folder}: build or copy it first, or correct the "
            "pattern"
        )
    return sorted(files)


__all__ = ["Shipped", "checkout_of", "looks_secret", "shipped"]

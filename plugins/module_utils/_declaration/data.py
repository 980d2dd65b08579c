# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app keeps: the section `data`, and the environment that must not lead to a place that keeps nothing. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from .._os.paths import Layout
from . import checks
from .app import Data
from .candidate import own_of, place
from .fields import ABSENT, REQUIRED, Context, Field, Invalid, Parsed, Part, inline

INSTANCE: Final = "instance"
"""Flask's own folder for what an app keeps. It leads to the data unless the project ships one."""

VOLATILE: Final = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/var/run")
_RELEASES: Final = "/opt/headcount"
SQLITE: Final = re.compile(r"sqlite(?:\+[a-z0-9]+)?:///(?P<path>/[^?#]*)")
_KEEPS: Final = re.compile(r"(?i)(^|_)(data|database|db|sqlite|storage|media|uploads?|persist\w*)(_|$)")
_WRITTEN: Final = re.compile(r"(?i)(^|_)(database|db|sqlite|uploads?)(_|$)")
UNTOLD: Final = re.compile(r"[:%\"'\\]")
"""What means something else to systemd in a path."""
_PLACE: Final = re.compile(r"(?<!\$)\{(data|cache|logs)\}")
"""What stands for a folder; `${data}` is a variable of a shell."""


def inside(text: str) -> str:
    """A path inside the release, or below the app's folder: without `..`, and not the whole of it. A `/` at the end,
    which says that it is a folder, is kept."""
    parts = checks.plain(text).rstrip("/").split("/")
    if text.startswith("/"):
        raise Invalid("an absolute path", advice="data.outside is for folders outside of the release")
    if {"", ".", ".."}.intersection(parts):
        raise Invalid(
            "it names nothing inside", "/".join(part for part in parts if part not in ("", ".", "..")) or None
        )
    return text


def built(text: str) -> str:
    """A folder of the release that is each generation's own. Only what declares one loads what knows that."""
    from .built import built_folder

    return built_folder(text)


def outside(text: str) -> str:
    """A folder of the host. Only what declares one loads what knows which it may be."""
    from .outside import outside_folder

    return outside_folder(text)


def scratch(text: str) -> str:
    """A pattern of absolute paths."""
    if not checks.plain(text).startswith("/"):
        raise Invalid("no absolute path", f"/tmp/{text}")
    return text


def below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


DATA: Final = Field(
    "data",
    "section",
    "What lasts. Every app has a folder of its own, /var/lib/hc-NAME, that belongs to its user alone: all generations"
    " and the candidate share it, and no promote, rollback, prune or removal of the app takes it away. It is HOME and"
    " STATE_DIRECTORY to the app, and `{data}` in values of `environment` and `secrets` stands for it. Flask's folder"
    " `instance` leads there by itself, unless the project ships one. Everything else that the app writes to is gone"
    " with the generation (`built`), or is read-only.",
    ABSENT,
    {"paths": ["uploads", "db.sqlite3"]},
    fields=(
        Field(
            "paths",
            "list",
            "Files and folders of the project that lead there: paths in its tree; of a package, those beside its"
            " modules (in site-packages). What the release has there is copied into the data once, and never again."
            " What it does not have is a folder, unless its name has an ending; a `/` at the end says that it is one.",
            [],
            ["uploads", "db.sqlite3"],
            items=Field(
                "", "str", "A path.", REQUIRED, "uploads", allowed="a relative path inside the release", check=inside
            ),
        ),
        Field(
            "folders",
            "list",
            "Folders that are made in it before the app starts.",
            [],
            ["uploads"],
            items=Field("", "str", "A folder.", REQUIRED, "uploads", allowed="a relative path", check=inside),
        ),
        Field(
            "outside",
            "list",
            "Folders of the host, by absolute paths, that the app may use beside its own; a bare string is one that it"
            " writes to. One that is missing is made for the app, but not below a folder of an account without rights;"
            " one that is there is left as it is, and must let the app in. Another app's data is refused.",
            [],
            ["/srv/media", {"path": "/srv/catalogue", "access": "read"}],
            items=Field(
                "",
                "section",
                "A folder of the host.",
                REQUIRED,
                "/srv/media",
                shorthand="path",
                fields=(
                    Field(
                        "path",
                        "str",
                        "Where it is.",
                        REQUIRED,
                        "/srv/media",
                        allowed="the absolute path of a folder that is no system folder, without spaces",
                        check=outside,
                    ),
                    Field("access", "str", "What the app does there.", "write", "read", choices=("write", "read")),
                ),
            ),
        ),
        Field(
            "cache",
            "bool",
            "Whether the app has a folder for what can be made again, /var/cache/hc-NAME: CACHE_DIRECTORY, `{cache}`."
            " It goes with the app.",
            False,
            True,
        ),
        Field(
            "logs",
            "bool",
            "Whether the app has a folder for its own logs, /var/log/hc-NAME: LOGS_DIRECTORY, `{logs}`.",
            False,
            True,
        ),
        Field(
            "scratch",
            "list",
            "Patterns of files outside of all this that may be lost, so that an app which has a database there is not"
            " refused for it.",
            [],
            ["/tmp/cache-*.db"],
            items=Field(
                "",
                "str",
                "A pattern.",
                REQUIRED,
                "/tmp/cache-*.db",
                allowed="an absolute path, with * and ? for what may differ",
                check=scratch,
            ),
        ),
        Field(
            "built",
            "list",
            "Folders of the project that the app fills by itself from its own code when it starts, or that a command of"
            " `prepare` fills: links, bundles, compiled translations. Each generation has its own on the host's disk,"
            " which begins with what the release has there, stays over restarts and boots, and goes with the"
            " generation. What users give belongs in `paths` or `{data}`.",
            ABSENT,
            ["app/static/build"],
            default_help="none",
            items=Field(
                "",
                "section",
                "A folder; a bare string is its path.",
                REQUIRED,
                "app/static/build",
                shorthand="path",
                fields=(
                    Field(
                        "path",
                        "str",
                        "Where it is: as in `paths`.",
                        REQUIRED,
                        "app/static/build",
                        allowed="a relative path inside the release, without spaces",
                        check=built,
                    ),
                    Field(
                        "code",
                        "bool",
                        "Whether it may hold Python code. Then what breaks into the app can change what its next start"
                        " runs, as long as the generation is there; the plan says so.",
                        False,
                        True,
                    ),
                ),
            ),
        ),
    ),
)


def places(app: str, data: Data) -> dict[str, str]:
    """What stands for which folder in the environment of the app called `app`: {"data": "/var/lib/hc-shop"}."""
    layout = Layout(app)
    found = {"data": layout.data}
    if data.cache:
        found["cache"] = layout.cache
    if data.logs:
        found["logs"] = layout.logs
    return found


def check_data(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """A rule: paths do not lie in one another, none is the code itself; placeholders of the environment become folders,
    and what is kept is not kept where it is lost."""
    data = Data.from_dict(app.get("data") or {})
    if data == Data():
        app.pop("data", None)  # the digest of an app that declares nothing new is that of its live generation
    _check_paths(data, str(app["entry_point"] or ""), parts, context)
    if data.built:
        from .built import check_built

        check_built(data, str(app["entry_point"] or ""), parts, context)
    known = places(app["name"], data)
    for section in ("environment", "secrets"):
        place_all(app[section], known, (parts, section), context)
        for name, value in own_of(app[section], candidate=False).items():
            wrong = unkept(name, value, app["name"], data)
            if wrong is not None:
                what, allowed, fix = wrong
                context.add((*parts, section, name), what, allowed, fix)


def place_all(
    values: dict[str, str], known: Mapping[str, str], at: tuple[tuple[Part, ...], str], context: Context
) -> None:
    """Put the folders in the place of what stands for them, in all `values` of an environment; `at`: the app's place,
    and the section that they are of."""
    for name, value in values.items():
        values[name] = place_in(value, known, place(*at, name), context)


def place_in(text: str, known: Mapping[str, str], here: tuple[Part, ...], context: Context) -> str:
    """`text` with the folders in the place of what stands for them; one that the app does not have is a problem."""
    missing = sorted(set(_PLACE.findall(text)) - set(known))
    if missing:
        what = f"names {{{missing[0]}}}, and the app has no such folder"
        context.add(here, what, "a folder that `data` declares", f"data: {{{missing[0]}: true}}")
        return text
    return _PLACE.sub(lambda found: known[found[1]], text)


def _check_paths(data: Data, entry_point: str, parts: tuple[Part, ...], context: Context) -> None:
    paths = [path.rstrip("/") for path in data.paths]
    module = entry_point.partition(":")[0].replace(".", "/")
    for index, path in enumerate(paths):
        here = (*parts, "data", "paths", index)
        above = next((other for at, other in enumerate(paths) if at != index and below(path, (other,))), None)
        if above is not None and (above != path or paths.index(path) != index):
            context.add(here, f"is {path!r}, which lies in {above!r}", "paths beside one another", "remove it")
        elif module and (below(module, (path,)) or path == f"{module}.py"):
            what = f"is {path!r}, where the code of the entry point is: it would never change again"
            context.add(here, what, "what the app keeps, not what it is", f"{path}/uploads")


def unkept(name: str, value: str, app: str, data: Data) -> tuple[str, str, str] | None:
    """What is wrong with a variable of the environment that leads to a place which keeps nothing, or cannot be written:
    (what it is, what is allowed, the fix). None where nothing is. The value itself, which may be secret, is not told.
    """
    found = SQLITE.match(value)
    path = found["path"] if found else value
    own = [*places(app, data).values(), *(folder.path for folder in data.outside)]
    if not (found or _KEEPS.search(name)) or not _is_path(path) or below(path, tuple(own)):
        return None
    what = "is a SQLite database" if found else "is a path"
    better, allowed = _better(name, path, bool(found)), "a place below {data}"
    volatile = next((folder for folder in VOLATILE if below(path, (folder,))), None)
    if volatile:
        return f"{what} below {volatile}, which is emptied with each generation or restart", allowed, better
    if below(path, (_RELEASES,)):
        return f"{what} in the release, which is read-only and is replaced", allowed, better
    if found or _WRITTEN.search(name):
        from .outside import may_be_outside

        folder = _folder_of(path, bool(found))
        fix = f"{better}, or data: {{outside: [{inline(folder)}]}}" if may_be_outside(folder) else better
        return f"{what} where the app cannot write", f"{allowed}, or below a folder of data.outside", fix
    return None


def _folder_of(path: str, file: bool) -> str:
    """The folder that a path is in, where it is, or looks like, a file; else the path itself."""
    above, _, last = path.rstrip("/").rpartition("/")
    return above if file or "." in last[1:] else path.rstrip("/")


def _is_path(value: str) -> bool:
    """Whether a value is one absolute path, of something that is kept: the socket of a server on the host is not."""
    socket = value.endswith((".sock", ".socket")) or "/.s." in value
    servers = below(value, ("/run/postgresql", "/run/mysqld", "/var/run/postgresql", "/var/run/mysqld"))
    return value.startswith("/") and not re.search(r"[\n ,;]", value) and not socket and not servers


def _better(name: str, path: str, sqlite: bool) -> str:
    last = path.rstrip("/").rpartition("/")[2] or "app.db"
    return f'{name}: "sqlite:///{{data}}/{last}"' if sqlite else f'{name}: "{{data}}/{last}"'

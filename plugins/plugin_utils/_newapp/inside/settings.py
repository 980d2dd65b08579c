# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What of an app's settings matters to a host: databases, what leads to a temporary folder, secrets that are none."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from .asking import LOCAL

TEMPORARY = re.compile(r"(/tmp|/var/tmp|/dev/shm)(/|$)")
"""What a host gives to each generation anew."""
SECRET = re.compile(
    r"(\w+_)?(SECRET_KEY|SECRET_KEY_BASE|JWT_SECRET|PASSWORD_SALT|SIGNING_KEY|ENCRYPTION_KEY|FERNET_KEY)", re.IGNORECASE
)
"""Names of what is made for an app alone, and has to be secret."""
_WORDS = re.compile(r"[-_ .,!?'<>{}]*[A-Za-z]{1,12}([-_ .,!?'<>{}]+[A-Za-z]{1,12})*[-_ .,!?'<>{}]*")
_DATABASE = re.compile(
    r"(sqlite|postgres(ql)?|mysql|mariadb|oracle|mssql|cockroachdb|mongodb)(\+\w+)?://", re.IGNORECASE
)
"""How the address of a database begins."""
_TESTS = re.compile(r"(^|[_.])TEST(S|ING)?([_.]|$)", re.IGNORECASE)
_STAND_IN = "headcount-stand-in"
"""How a value begins that is given to a variable while the app is looked at."""
_SHORT = 8
_DEEP = 3


class Weak(TypedDict):
    """A secret that is none: `state` is empty, or placeholder (a word, or too short to be one), or known (any other
    default of a variable). `variable`: the environment variable whose default it is, "" where it is none's."""

    state: str
    variable: str


class Settings(TypedDict, total=False):
    """What of an app's configuration matters to a host; `temporary`: setting to the path that it has; `static_root`:
    where Django collects static files, "" where the settings do not say, None where it collects none."""

    databases: list[str]
    debug: bool
    secret_key: bool
    temporary: dict[str, str]
    within: dict[str, str]
    weak: dict[str, Weak]
    settings_module: str
    static_root: str | None


def settings_of(app: Any, kind: str, defaults: Mapping[str, str], scratch: str) -> Settings:
    """Of a Flask app, or of the Django project. `defaults`: the variables of the environment that have one; `scratch`:
    the folder that all of it lies in here, which may be a temporary one."""
    if kind == "django":
        return django_settings(defaults, scratch)
    config = getattr(app, "config", None)
    if not isinstance(config, Mapping):
        return {}
    return {
        "databases": databases(app, config),
        "debug": bool(config.get("DEBUG")),
        "secret_key": config.get("SECRET_KEY") is not None,
        "temporary": temporary(config, scratch),
        "within": within(config, scratch),
        "weak": weak(config, defaults),
    }


def databases(app: Any, config: Mapping[Any, Any]) -> list[str]:
    """The addresses of the databases that an app's configuration names, by whatever name, without their passwords."""
    uri = config.get("SQLALCHEMY_DATABASE_URI")  # as a text, or as SQLAlchemy's own URL
    named = [(name, text) for name, text in paths_in(config) if _DATABASE.match(text) and not _TESTS.search(name)]
    uris = [
        *([placed(app, str(uri))] if uri else []),
        *(placed(app, text) if name.startswith("SQLALCHEMY_") else text for name, text in named),
    ]
    return list(dict.fromkeys(re.sub(r"://[^/@]*@", "://***@", item) for item in uris))


def host_of(app: Any, kind: str) -> str:
    """The name that an app may be asked by: `localhost`, or where its settings have other ones alone, the first of
    these (ALLOWED_HOSTS of Django, TRUSTED_HOSTS of Flask); a loopback one only where there is nothing else."""
    if kind == "django":
        allowed: object = importlib.import_module("django.conf").settings.ALLOWED_HOSTS
    else:
        config = getattr(app, "config", None)
        allowed = config.get("TRUSTED_HOSTS") if isinstance(config, Mapping) else None
    names = [str(name).lstrip(".") for name in allowed] if isinstance(allowed, (list, tuple)) else []
    if not names or {"*", LOCAL} & set(names):
        return LOCAL
    return next((name for name in names if not re.match(r"127\.|\[?::1", name)), names[0])


def django_settings(defaults: Mapping[str, str], scratch: str) -> Settings:
    """The same of a Django project."""
    settings: Any = importlib.import_module("django.conf").settings
    found = []
    for database in settings.DATABASES.values():
        engine = str(database.get("ENGINE", "")).rpartition(".")[2]
        name = str(database.get("NAME", ""))
        found.append(f"sqlite:///{name}" if engine == "sqlite3" else engine)
    insecure = str(settings.SECRET_KEY).startswith("django-insecure-")
    config = {
        name: getattr(settings, name) for name in dir(settings) if name.isupper() and settings.is_overridden(name)
    }
    return {
        "databases": found,
        "debug": bool(settings.DEBUG),
        "secret_key": not insecure,
        "temporary": temporary(config, scratch),
        "within": within(config, scratch),
        "weak": {} if insecure else weak(config, defaults),
        "settings_module": str(getattr(settings, "SETTINGS_MODULE", "")),
        "static_root": static_root(settings),
    }


def static_root(settings: Any) -> str | None:
    """Where a Django project collects its static files."""
    if "django.contrib.staticfiles" not in settings.INSTALLED_APPS:
        return None
    return os.path.abspath(str(settings.STATIC_ROOT)) if settings.STATIC_ROOT else ""


def placed(app: Any, uri: str) -> str:
    """The address of a database with the whole path of its file, as Flask-SQLAlchemy takes it: in Flask's own folder
    since its version 3, beside the code before."""
    relative = re.fullmatch(r"(sqlite(?:\+\w+)?:///)((?!/|:memory:|file:)[^?]+)(.*)", uri)
    extension = getattr(app, "extensions", {}).get("sqlalchemy")
    if relative is None or extension is None:
        return uri
    folder = app.instance_path if hasattr(type(extension), "engines") else app.root_path
    return f"{relative[1]}{os.path.join(folder, relative[2])}{relative[3]}"


def temporary(config: Mapping[Any, Any], scratch: str) -> dict[str, str]:
    """The settings that lead to a temporary folder, with where: `STORAGE.path` for one within another."""
    return {
        name: path
        for name, path in paths_in(config)
        if TEMPORARY.match(path) and not path.startswith(scratch) and not name.endswith("URI")
    }


def within(config: Mapping[Any, Any], scratch: str) -> dict[str, str]:
    """The settings that lead to a place in the looked-at copy of the project, with where."""
    return {name: path for name, path in paths_in(config) if path.startswith(f"{scratch}/")}


def paths_in(config: Mapping[Any, Any], prefix: str = "", depth: int = _DEEP) -> Iterator[tuple[str, str]]:
    """The texts and paths of settings by their names, and those in mappings among them."""
    for name, value in config.items():
        if not isinstance(name, str):
            continue
        if isinstance(value, Mapping) and depth > 1:
            yield from paths_in(value, f"{prefix}{name}.", depth - 1)
        elif isinstance(value, (str, os.PathLike)):
            yield f"{prefix}{name}", str(value)


def weak(config: Mapping[Any, Any], defaults: Mapping[str, str]) -> dict[str, Weak]:
    """The secrets among settings that are none: empty, a placeholder, or the default of a variable."""
    found: dict[str, Weak] = {}
    for name, value in config.items():
        if not isinstance(name, str) or not SECRET.fullmatch(name) or not isinstance(value, (str, bytes)):
            continue
        text = value if isinstance(value, str) else value.decode("latin-1")
        variable = next((key for key, default in defaults.items() if text and default == text), "")
        state = state_of(text) or ("known" if variable else "")
        if state:
            found[name] = {"state": state, "variable": variable}
    return found


def state_of(text: str) -> str:
    """What a secret is that anybody could guess: empty, or a placeholder; "" for any other."""
    if not text.strip():
        return "empty"
    plain = len(text) < _SHORT or _WORDS.fullmatch(text)
    return "placeholder" if plain and not text.startswith(_STAND_IN) else ""

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The variables of an entry: what an app needs, what its files and a person give it, and which of that is secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ...module_utils._former.likely import likely
from .._display.text import listed
from .composed import CREDENTIAL
from .defaults import kept_variables
from .django import VARIABLE as SETTINGS
from .django import is_aside
from .draft import Draft
from .survey import NO_FILE, is_kept, is_setting, names_a_file
from .templates import password, variable, without_odd_variables

_SECRET: Final = re.compile(
    r"(SECRET_KEY|SECRET|COOKIE_SECRET|SESSION_SECRET|(JWT|CSRF|WTF_CSRF)_SECRET(_KEY)?|(PASSWORD_)?SALT|SIGNING_KEY|"
    r"SECRET_KEY_BASE)"
)
_PREFIXES: Final = ("", "FLASK_", "APP_", "DJANGO_", "SECURITY_", "SESSION_", "WEB_", "SITE_")
_DATABASE: Final = re.compile(r"(DATABASE|SQLALCHEMY|POSTGRES|MYSQL|MARIADB|MONGO|(^|_)DB)\w*(URL|URI|DSN)")
_MOST_VARIABLES: Final = 12


def is_own_secret(name: str, project: str) -> bool:
    """Whether a variable is a secret that the app needs for itself alone, so that any random value is right.

    One of another service (AWS_SECRET_KEY) is none: its value is known elsewhere.
    """
    own = re.sub(r"[^A-Z0-9]+", "_", project.upper()).strip("_") + "_"
    return any(name.startswith(prefix) and _SECRET.fullmatch(name[len(prefix) :]) for prefix in (*_PREFIXES, own))


def put_variables(draft: Draft, path: str) -> None:
    without_odd_variables(draft)
    environment = _environment(draft, path)
    secrets: dict[str, str] = {}
    _given(draft, environment, secrets)
    for name in draft.app.required:
        _required(draft, name, environment, secrets)
    for item in draft.app.variables:
        if is_own_secret(item.name, draft.subject.project) and item.name not in {**environment, **secrets}:
            secrets[item.name] = password(str(draft.entry["name"]), item.name)
            instead = ", instead of the default that the code shows to everybody" if item.default else ""
            draft.comments[f"secrets.{item.name}"] = _GENERATED + instead
    _by_prefix(draft, environment, secrets)
    _known_to_all(draft, environment, secrets)
    _public_passwords(draft, {**environment, **secrets}, secrets)
    for key, value in (("environment", environment), ("secrets", secrets)):
        if value:
            draft.put(key, value)
    _ask_unasked(draft, {**environment, **secrets})
    _others(draft, {**environment, **secrets}, [item.name for item in draft.app.variables])


def _by_prefix(draft: Draft, environment: Mapping[str, str], secrets: dict[str, str]) -> None:
    """The secret of an app that has none, and takes each of its settings from a variable of that name."""
    name = f"{draft.hints.prefixes[0]}_SECRET_KEY" if draft.hints.prefixes else ""
    if name and draft.app.has_secret_key is False and name not in environment and name not in secrets:
        secrets[name] = password(str(draft.entry["name"]), name)
        draft.comments[f"secrets.{name}"] = f"{_GENERATED}; the code takes its SECRET_KEY from it"


def _known_to_all(draft: Draft, environment: Mapping[str, str], secrets: dict[str, str]) -> None:
    """A secret of the app that is the default of a variable, by whatever name: made, as others are."""
    for setting, (_, name) in draft.app.weak.items():
        if name and name not in environment and name not in secrets and name not in draft.app.required:
            secrets[name] = password(str(draft.entry["name"]), name)
            draft.comments[f"secrets.{name}"] = (
                f"{_GENERATED}; its {setting}, instead of the default that the code shows to everybody"
            )


_OWN_PASSWORD: Final = re.compile(r"(?:.*_)?(?:PASSWORD|PASSWD)")
_SERVICES: Final = re.compile(
    r"(?:^|_)(?:DB|DATABASE|SQL|POSTGRES\w*|PG|MYSQL|MARIADB|MONGO\w*|REDIS|RABBIT\w*|AMQP|MAIL|SMTP|EMAIL|IMAP|LDAP|"
    r"PROXY|ELASTIC\w*|BROKER|CELERY|S3|SSL|KEYSTORE|TEST\w*)(?:_|$)"
)
"""Services that an app signs in to: their passwords are known elsewhere, and a default leads to none of theirs."""


def _public_passwords(draft: Draft, given: Mapping[str, str], secrets: dict[str, str]) -> None:
    """A password that lets people in to the app, whose default its code shows to everybody: asked for first."""
    for item in draft.app.variables:
        if not item.default or item.name in given or not _OWN_PASSWORD.fullmatch(item.name):
            continue
        if _SERVICES.search(item.name):
            continue
        vault = _vault(draft, item.name)
        secrets[item.name] = variable(vault)
        draft.comments[f"secrets.{item.name}"] = "instead of the default that the code shows to everybody"
        draft.ask(
            f"what is {item.name}? By default it is the word that the code shows to everybody: set {vault}",
            must=True,
        )


def _given(draft: Draft, environment: dict[str, str], secrets: dict[str, str]) -> None:
    """What a person gave: as it is, but for what is secret, whose value is in no file of the entry; and what has to be
    a folder that is there."""
    for name, value in draft.hints.given.items():
        is_place = value == "{data}" or value.startswith("{data}/")
        if (
            is_own_secret(name, draft.subject.project)
            or CREDENTIAL.search(name)
            or (likely(name, value) and not is_place)
        ):
            vault = _vault(draft, name)
            secrets[name] = variable(vault)
            draft.comments[f"secrets.{name}"] = "new-app was given it, and does not write it down"
            draft.ask(f"what is {name}? It was given to new-app, which does not write it down: set {vault}", must=True)
        else:
            environment[name] = value
            draft.comments[f"environment.{name}"] = "as it was given to new-app"
    for name, value in draft.app.required.items():
        if value.startswith("{data}/"):
            environment[name] = value
            draft.comments[f"environment.{name}"] = "a folder that has to be there: among the app's data, which is kept"


def _vault(draft: Draft, name: str) -> str:
    """The variable of Ansible that a secret of the app is in."""
    return re.sub(r"[^a-z0-9]+", "_", f"vault_{draft.entry['name']}_{name}".lower())


def _environment(draft: Draft, path: str) -> dict[str, str]:
    """What the app needs in its environment, and what its files give it that it asks for."""
    environment: dict[str, str] = {}
    if path:
        environment["PYTHONPATH"] = path
        draft.comments["environment.PYTHONPATH"] = f"its modules begin in {path}/"
    for name in draft.found.streams:
        environment[name] = "1"
        draft.comments[f"environment.{name}"] = "its files are read-only on a host: it logs to the journal with this"
    _settings_module(draft, environment)
    asked = _carried(draft, environment)
    if _COUNTS in draft.hints.variables and _COUNTS not in asked:
        environment[_COUNTS] = "/tmp"
        draft.comments[f"environment.{_COUNTS}"] = (
            f"{draft.hints.variables[_COUNTS][1]} has it, for prometheus_client: private to each generation here, and "
            "empty when it starts, as that library asks"
        )
    has_its_own = any(draft.ships(path_of(uri)) for uri in local_databases(draft))  # which data.paths copies once
    for name, value in database_variables(draft).items():
        if name not in {**environment, **draft.app.required} and not has_its_own:
            environment[name] = value
            draft.comments[f"environment.{name}"] = (
                "by default a SQLite database that no host keeps; {data} is kept; a server's address is a secret"
            )
    for name, value in kept_variables(draft).items():
        if name not in {**environment, **draft.app.required}:
            environment[name] = value.rstrip("/")
            draft.comments[f"environment.{name}"] = (
                "by default in a temporary folder, which a host gives to each generation anew; {data} is kept"
            )
    return environment


def _carried(draft: Draft, environment: dict[str, str]) -> set[str]:
    """Puts into the environment what the project's files give to variables that its code asks for; returns these."""
    asked = {item.name for item in draft.app.variables}
    if draft.found.app is None:  # what its import failed for is asked about
        asked |= set(draft.hints.asked) - set(draft.app.required)
    for name, (value, origin) in draft.hints.variables.items():
        if name in asked - set(environment) and _is_plain(name, value) and not _lacks_file(draft, name):
            environment[name] = value
            draft.comments[f"environment.{name}"] = f"as {origin} has it"
            if _FOR_WORK.search(value):
                draft.ask(
                    f"is {name}={value} right on hosts? {origin} has it, and it reads as one for the work on the app"
                )
    return asked


_FOR_WORK: Final = re.compile(r"(?i)(^|[._:/-])(dev|devel|development|debug|test|testing)(config|settings)?$")
"""How a value ends that names settings for the work on a project."""
_COUNTS: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client counts across workers; it is the library that asks for it."""
_LEFT_OUT: Final = re.compile(r"(DJANGO_SETTINGS_MODULE|.*(PROXY|proxy)|SHELL|HOSTNAME|.*_HOME|.*_VIRTUALENVS_.*)")


def _ask_unasked(draft: Draft, given: Mapping[str, str]) -> None:
    """Ask about what an image gives its app that was not asked for here: code that has not run may ask for it, or a
    library, as it is called."""
    names = _unasked(draft, given) if draft.found.app else []
    later = [name for name in names if name in draft.hints.asked]
    left = [name for name in names if name not in later]
    if later:
        shown = [f"{name} ({draft.hints.asked[name]})" for name in later]
        draft.ask(
            f"which value do hosts have for {listed(shown, 6)}? {draft.hints.variables[later[0]][1]} gives "
            f"{'it' if len(later) == 1 else 'each'} one, and the code asks for it where it did not run here: put under "
            "environment what is needed on a host, and what is secret under secrets"
        )
    if left:
        draft.ask(
            f"does a library need {listed(left, 6)}? {draft.hints.variables[left[0]][1]} gives it a value, and the "
            "code itself does not ask for it by name: put under environment what is needed on a host"
        )


def _unasked(draft: Draft, given: Mapping[str, str]) -> list[str]:
    """The variables of an image that neither the entry has nor anything asked for here."""
    known = {*given, *draft.app.required, *(item.name for item in draft.app.variables)}
    return [
        name
        for name, (_, origin) in draft.hints.variables.items()
        if name not in known
        and is_setting(name)
        and not _LEFT_OUT.fullmatch(name)
        and origin.rpartition("/")[2].startswith("Dockerfile")
    ]


def _settings_module(draft: Draft, environment: dict[str, str]) -> None:
    """The settings that a Django project runs with, for its server, its commands and its further processes alike."""
    known, chosen = draft.hints.django, draft.app.settings_module
    if not draft.found.app and known.manage:
        chosen = known.chosen[0]
    elif not chosen:
        return
    named = dict(known.settings)
    if chosen:
        environment[SETTINGS] = chosen
        said = f"as {named[chosen]} has it" if chosen in named else "a guess: nothing in the project names its settings"
        draft.comments[f"environment.{SETTINGS}"] = said
    _ask_settings(draft, chosen, [module for module in dict.fromkeys((*named, *known.others)) if module != chosen])


def _ask_settings(draft: Draft, chosen: str, others: Sequence[str]) -> None:
    """Ask which settings hosts run with, where that is not plain."""
    known = draft.hints.django
    doubtful = not chosen or is_aside(chosen) or (bool(known.manage) and not known.settings)
    if doubtful or not all(map(is_aside, others)):
        shown = f"; {listed(others, 6)} can be it too" if others else ""
        draft.ask(
            f"with which settings do hosts run? {SETTINGS} is {chosen or 'named nowhere'}{shown}: put the right one "
            "under environment",
            must=doubtful,
        )


def database_variable(draft: Draft) -> str:
    return next((item.name for item in draft.app.variables if _DATABASE.search(item.name)), "")


def database_variables(draft: Draft) -> dict[str, str]:
    """The variables that say where its SQLite files are, by their names or by what they are by default, and where
    these files are kept."""
    found = {}
    for uri in local_databases(draft):
        path = path_of(uri)
        kept = f"{{data}}/{path.rpartition('/')[2]}"
        for item in draft.app.variables:
            if item.default in (uri, path, path.removeprefix("./")):
                found[item.name] = f"sqlite:///{kept}" if item.default == uri else kept
    named = database_variable(draft)
    in_memory = [uri for uri in draft.app.databases if re.fullmatch(r"sqlite:(//)?(/:memory:)?", uri)]
    if named and not found and (local_databases(draft) or in_memory):
        found[named] = f"sqlite:///{{data}}/{draft.entry['name']}.db"
    return found


def local_databases(draft: Draft) -> list[str]:
    """The SQLite files that it uses and that nothing leads to its data yet, as its settings or the file system name
    them."""
    found = [uri for uri in draft.app.databases if re.fullmatch(r"sqlite:(?!.*:memory:)//.+", uri)]
    found += [f"sqlite:///{path}" for path, kind in draft.app.written.items() if kind == "sqlite"]
    return [uri for uri in dict.fromkeys(found) if not is_kept(path_of(uri)) and not uri.startswith(_KEPT)]


_KEPT: Final = "sqlite:///{data}/"


def path_of(uri: str) -> str:
    return uri.removeprefix("sqlite:///").partition("?")[0]


def _is_plain(name: str, value: str) -> bool:
    """Whether a value can stand in the entry: a setting of the app, no credential, nothing for a shell to fill in."""
    return is_setting(name) and "$" not in value and not CREDENTIAL.search(name)


_GENERATED: Final = "made at random by the first run and kept in that file of the controller; a vault can take it over"


def _required(draft: Draft, name: str, environment: dict[str, str], secrets: dict[str, str]) -> None:
    """A variable that the app cannot be imported without."""
    if name in environment or name in secrets:
        return
    if _lacks_file(draft, name):
        _file_of_settings(draft, name)
        return
    places = next((item.places for item in draft.app.variables if item.name == name), ())
    where = f" ({places[-1]})" if places else ""
    shown, origin = draft.hints.examples.get(name, ("", ""))
    if is_own_secret(name, draft.subject.project):
        secrets[name] = password(str(draft.entry["name"]), name)
        draft.comments[f"secrets.{name}"] = f"the app does not start without it{where}; {_GENERATED}"
        return
    if shown and not CREDENTIAL.search(name) and not _DATABASE.search(name):
        environment[name] = shown
        draft.comments[f"environment.{name}"] = (
            f"the app does not start without it{where}; the value is that of {origin}"
        )
        return
    vault = _vault(draft, name)
    secrets[name] = variable(vault)
    draft.comments[f"secrets.{name}"] = f"the app does not start without it{where}"
    draft.ask(
        f"what is {name}? The app does not start without it{where}: set {vault}, or write the value here", must=True
    )


def _lacks_file(draft: Draft, name: str) -> bool:
    """Whether a file of settings that a variable names is nowhere; of what could not be looked at, by its name."""
    value = draft.app.required.get(name)
    return value == NO_FILE or (value == "" and names_a_file(name, draft.hints.variables.get(name, ("", ""))[0]))


def _file_of_settings(draft: Draft, name: str) -> None:
    """Ask for the file of settings that a variable names, and that an empty one stood in for."""
    value, origin = draft.hints.variables.get(name, ("", ""))
    says = f"{origin} has {value}, which is not there" if value else "nothing names one"
    draft.ask(
        f"which file of settings does it read? The app does not start without the one that {name} names, and {says}; "
        f"an empty one stood in for it here. environment: {{{name}: /etc/{draft.entry['name']}/settings}} names one "
        "that is on each host, and a path without a slash at its beginning one of the project (source.include, where "
        "git ignores it); --environment of new-app looks at it with that",
        must=True,
    )


def _others(draft: Draft, given: Mapping[str, str], asked: Sequence[str]) -> None:
    """The variables that the code asks for beside those of the entry."""
    shown = draft.hints.examples
    names = sorted((name for name in asked if name not in given), key=lambda name: name not in shown)
    if names:
        draft.notes.append(
            f"The code also asks for these variables, and does without: {listed(names, _MOST_VARIABLES)}"
        )

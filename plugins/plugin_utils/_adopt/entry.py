# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The inventory entry of a Gunicorn that runs already, and what it runs with beside the plan. Pure.

Secrets are in none of what is made here but in secrets_text(), which is for a file of its owner's alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...module_utils._declaration.app import Data, Outside
from ...module_utils._declaration.checks import app_name
from ...module_utils._declaration.data import unkept
from ...module_utils._declaration.fields import Invalid
from ...module_utils._declaration.gunicorn import GUNICORN, HOOKS, REFUSED
from ...module_utils._declaration.listening import GROUP
from ...module_utils._declaration.normalise import normalise_apps
from ...module_utils._former.likely import likely_value
from ...module_utils._former.slots import slots_of, spoken
from ...module_utils._plan.planner import plan_host
from ...module_utils._plan.text import render_table
from ...module_utils._plan.types import PlanError
from .._display.text import listed, plural, visible
from .._edge import Json
from .._newapp.draft import Proposal, Question
from .._newapp.render import quoted
from .._newapp.templates import is_foreign, variable, without_odd_keys
from .kept import data_of
from .source import source_of

DEFAULTS: Final[Mapping[str, object]] = {
    "worker_class": "sync",
    "threads": 1,
    "timeout": 30,
    "graceful_timeout": 30,
    "keepalive": 2,
    "max_requests": 0,
    "max_requests_jitter": 0,
    "preload_app": False,
    "backlog": 2048,
    "worker_connections": 1000,
}
"""What a Gunicorn has where nothing is said."""

_GENERIC: Final = re.compile(
    r"(?i)(g?unicorn|web|app|api|wsgi|site|server|flask|django|supervisor|circus|runit|runsvdir|pm2|honcho|foreman)d?[0-9]*"
    r"|(ana|f)?crond?|atd|sshd?|x?inetd|monit|user|getty|serial-getty|dbus(-broker)?|rc-?local|docker|containerd"
    r"|systemd-.*|cloud-(init|config|final)"
)
"""What services are called that start anybody's apps; none of these is an app's name."""
_KNOWN: Final = frozenset({*(item.name for item in GUNICORN.fields), *REFUSED, *DEFAULTS}) - frozenset(HOOKS)
_LOGS: Final = ("accesslog", "errorlog")
_ELSEWHERE: Final = frozenset({*DEFAULTS, "workers", "bind", "config", "wsgi_app", "user", "group", "initgroups"})
"""What the entry, the comparison or another question has."""
_TAKEN: Final = frozenset(item.name for item in GUNICORN.fields) - {"accesslog", "errorlog", "hooks", "raw_env"}


@dataclass(frozen=True)
class Adopted:
    """What is written and told of one Gunicorn. `secrets`: values by the names of their variables in the vault."""

    name: str
    proposal: Proposal
    secrets: Mapping[str, str]
    comparison: tuple[str, ...]
    summary: str


def adopted(host: str, running: Json, facts: Json, name: str = "") -> Adopted:
    """The entry of a Gunicorn that `host` runs (a dictionary of former_info), and the comparison with the plan."""
    found = _Draft(host, running, name or app_name_of(running))
    found.write()
    comparison = tuple(compared(found.entry, running, facts))
    proposal = without_odd_keys(Proposal(found.entry, found.comments, tuple(found.notes), tuple(found.questions)))
    return Adopted(
        found.name,
        proposal,
        {name: found.secrets[key] for key, name in vault_names(found.name, found.secrets).items()},
        comparison,
        summary(host, running),
    )


def app_name_of(running: Json) -> str:
    """What the app is called: as its service, or where that is called as anybody's, as its module or folder."""
    unit = _unit_words(running)
    module = str(running.get("entry_point") or "").partition(":")[0].partition(".")[0]
    folder = str(running.get("folder") or "").rstrip("/").rpartition("/")[2]
    for words in (module, folder) if running.get("hosts") else (unit, module, folder):
        name = re.sub(r"[^a-z0-9]+", "-", words.lower()).lstrip("-0123456789")[:23].strip("-")
        try:
            if name and not _GENERIC.fullmatch(words):
                return app_name(name)
        except Invalid:
            continue
    return "app"


def _unit_words(running: Json) -> str:
    """What its service is called: one of a template with its instance, as the template has the name that the app's own
    units would have; where the template is called as anybody's, that alone."""
    unit, _, instance = str(running["unit"]).rpartition(".")[0].partition("@")
    return f"{unit}-{instance}" if instance and not _GENERIC.fullmatch(unit) else unit


def _why_called(running: Json, name: str) -> str:
    """Why an app has less of a name than its service; "" where it has all of it, or that is called as anybody's."""
    unit = _unit_words(running)
    if unit == name or name != app_name_of(running) or running.get("hosts"):
        return ""
    if _GENERIC.fullmatch(unit) or re.sub(r"[^a-z0-9]+", "-", unit.lower()).strip("-") == name:
        return ""
    return f"as {running['unit']}, as far as a name goes: lower-case letters, digits and hyphens, a letter first"


def vault_names(app: str, names: Iterable[str]) -> dict[str, str]:
    """The variables of the inventory that the secrets of an app are kept in, one for each, whatever they are called."""
    found: dict[str, str] = {}
    for name in sorted(names):
        wanted = re.sub(r"[^a-z0-9_]", "_", f"vault_{app}_{name}".lower())
        taken = set(found.values())
        found[name] = next(
            one for one in (wanted, *(f"{wanted}_{n}" for n in range(2, len(taken) + 3))) if one not in taken
        )
    return found


def current(running: Json) -> dict[str, object]:
    """Its settings by the names of a plan, with Gunicorn's defaults."""
    settings = running.get("settings") or {}
    found = {key: settings.get(key, default) for key, default in DEFAULTS.items()}
    found["workers"] = running.get("workers") or settings.get("workers") or 1
    if found["worker_class"] == "sync" and _whole(found["threads"]) > 1:
        found["worker_class"] = "gthread"  # as Gunicorn does
    return found


def today(running: Json) -> str:
    """What it has of the settings that a plan decides, without Gunicorn's defaults, in a line."""
    told = [f"{key} {value}" for key, value in current(running).items() if value != DEFAULTS.get(key)]
    return visible(f"Today it has {listed(told)}; the plan decides these anew.")


def _whole(value: object) -> int:
    return int(str(value)) if re.fullmatch(r"[0-9]{1,9}", str(value)) else 0


def summary(host: str, running: Json) -> str:
    """What runs, in a sentence."""
    now = current(running)
    threads = f" with {now['threads']} threads each" if now["worker_class"] == "gthread" else ""
    where = listed([str(one) for one in running.get("listen") or ()]) or "no socket"
    memory = f", {running['worker_mib']:.0f} MiB a worker" if running.get("worker_mib") else ""
    front = (running.get("fronts") or [{}])[0]
    behind = f", behind nginx{' for ' + front['name'] if front.get('name') else ''}" if front else ""
    return visible(
        f"{host}: {running['unit']} runs {running.get('entry_point') or 'an app that its command line does not name'}: "
        f"{plural(_whole(now['workers']), str(now['worker_class']) + ' worker')}{threads}{memory}, on {where} as "
        f"{running.get('user') or 'an unknown account'}{behind}"
    )


def compared(entry: Json, running: Json, facts: Json) -> list[str]:
    """Their settings against the plan's, as a table with reasons; why there is no plan, where there is none, and what
    they are then."""
    apps, problems = normalise_apps([{**entry, "secrets": {}}], "")
    if problems:
        return [*(visible(f"no plan yet: {problem.text}") for problem in problems), today(running)]
    name, settings = str(entry["name"]), running.get("settings") or {}
    held = slots_of(str(running["unit"]), _whole(running.get("workers")), settings)
    try:
        plan = plan_host({**facts, "former": {name: held}} if held else facts, apps)[name]
    except PlanError as error:
        return [visible(f"no plan: {error}"), today(running)]
    now = {key: value for key, value in current(running).items() if key in plan.settings}
    return render_table(plan, {key: visible(value) if isinstance(value, str) else value for key, value in now.items()})


def secrets_text(secrets: Mapping[str, str]) -> str:
    """The file of the secrets, which wants to be encrypted (ansible-vault)."""
    lines = ["# Encrypt this file before it goes anywhere: ansible-vault encrypt FILE"]
    # Whatever is in a value is a value: nothing in it is a template of Jinja.
    lines += [f"{name}: !unsafe {quoted(value)}" for name, value in sorted(secrets.items())]
    return "\n".join(lines) + "\n"


class _Draft:
    """The entry as it is put together."""

    def __init__(self, host: str, running: Json, name: str) -> None:
        self.host, self.running, self.name = host, running, name
        self.settings: Mapping[str, object] = running.get("settings") or {}
        self.entry: dict[str, object] = {"name": name}
        self.comments: dict[str, str] = {}
        self.notes: list[str] = []
        self.questions: list[Question] = []
        self.secrets: dict[str, str] = dict(running.get("secrets") or {})

    def write(self) -> None:
        """All parts, in the order of a person's entry."""
        running = self.running
        self.notes.append(f"Read from {running['unit']} of {self.host}. The entry is a person's from here on.")
        self.notes.append(today(running))
        why = _why_called(running, self.name)
        if why:
            self.comments["name"] = why
            self._ask(f"name: the app is called {self.name} ({why}): is that right? adopt_name gives another one")
        self._source()
        entry_point = str(running.get("entry_point") or "")
        why = "its command line has it" if entry_point else "a guess"
        if entry_point and ":" not in entry_point:
            entry_point, why = f"{entry_point}:application", "Gunicorn takes application where none is named"
        self._put("entry_point", entry_point or "wsgi:app", why)
        if not entry_point:
            self._ask("entry_point: its command line does not name the app; what does it load?", must=True)
        self._address()
        self._front()
        self._put_environment()
        self._below_a_prefix()
        self._settings()
        if running.get("worker_mib"):
            self._put("memory", {"worker_mib": running["worker_mib"]}, "a worker today; the weigh replaces it")
        self._data()
        self._ask("health, load.paths and limits: which pages tell that it is well, and what may they take?")

    def _put(self, key: str, value: Any, why: str = "") -> None:
        self.entry[key] = value
        if why:
            self.comments[key] = why

    def _ask(self, text: str, must: bool = False) -> None:
        self.questions.append(Question(text, must))

    def _source(self) -> None:
        found = source_of(self.host, self.running, self.name)
        self._put("source", dict(found.value), found.why)
        self.questions += found.questions

    def _address(self) -> None:
        addresses = [str(one) for one in self.running.get("listen") or ()]
        listen = addresses[0] if addresses else "0.0.0.0:8000"
        self._put("listen", listen, "where it is reached today" if addresses else "it does not listen; a guess")
        self._put("former", str(self.running["unit"]), "serves until the first generation has passed its trial")
        if len(addresses) > 1:
            text = f"listen: it listens on {listed(addresses)}, and an app has one address: which one do users come by?"
            self._ask(text, must=True)
        if listen.startswith("unix:@"):
            text = f"{listen} has no file, and an app has one or a port: which do its users come by from then on?"
            self._ask(f"listen: {text}", must=True)
        self._reached(listen)
        words = spoken(str(self.running["unit"]), self.settings, self.running.get("hooks") or ())
        for sentence in filter(None, (self.running.get("hosts"), self.running.get("starts"), words)):
            self._ask(f"former: {sentence}", must=True)
        if self.running.get("shared") and not self.running.get("hosts"):
            text = "runs further programs, and is stopped as a whole: let them run by others"
            self._ask(f"former: {self.running['unit']} {text}", must=True)

    def _reached(self, listen: str) -> None:
        """Who connects to its unix socket: a file of root's has one group, or everybody, or root alone."""
        reach = self.running.get("reach") or {}
        if not listen.startswith("unix:") or not reach or reach["everybody"]:
            return
        path, groups, users = listen[len("unix:") :], list(reach["groups"]), dict(reach["users"])
        names = [name for name in [*groups, *users.values()] if _is_group(name)]
        if not groups and not users:
            self._put("listen_mode", "0600", f"root alone connects to {path} today")
        elif names:
            self._put("listen_group", names[0], f"who connects to {path} today (mode {reach['mode']})")
        more = [*(f"the group {name}" for name in groups if name not in names[:1]), *users]
        if more:
            now = f"the group {names[0]} does then" if names else "no group is to that the entry could name"
            text = f"listen_group: {listed(more)} may connect to {path} today, and {now}: is the proxy's account in it?"
            self._ask(text, must=not names)

    def _front(self) -> None:
        fronts = list(self.running.get("fronts") or ())
        if not fronts:
            return
        front = fronts[0]
        if front.get("buffers"):
            self._put("buffering_proxy", True, "nginx is in front of it on this host")
        if front.get("name"):
            self._put("host", front["name"], "server_name of nginx")
        if front.get("https"):
            self._put("scheme", "https", "users come by https; the trial says so in X-Forwarded-Proto")

    def _put_environment(self) -> None:
        environment = dict(self.running.get("environment") or {})
        # A template of Jinja in a value would be filled in by Ansible.
        odd = {key for key, value in environment.items() if is_foreign(value)}
        self.secrets.update({key: environment.pop(key) for key in sorted(odd)})
        if environment:
            self._put("environment", environment, "what its process has, without what a service manager sets")
        if self.secrets:
            references = {key: variable(name) for key, name in vault_names(self.name, self.secrets).items()}
            self._put("secrets", references, "their values are in the file beside this one")

    def _below_a_prefix(self) -> None:
        """Where Gunicorn answers below SCRIPT_NAME alone, it is asked there."""
        environment = self.entry.get("environment")
        prefix = str((environment if isinstance(environment, dict) else {}).get("SCRIPT_NAME") or "").rstrip("/")
        if re.fullmatch(r"(/[\w.~-]+)+", prefix, re.ASCII):
            self._put("health", {"path": f"{prefix}/"}, "below SCRIPT_NAME")
            self._put("load", {"paths": [f"{prefix}/"]}, "below SCRIPT_NAME; a guess")

    def _settings(self) -> None:
        chosen = {key: self.settings.get(key) for key in ("timeout", "graceful_timeout")}
        planned = {key: value for key, value in chosen.items() if _whole(value) not in (0, DEFAULTS[key])}
        if planned:
            self._put("settings", planned, "somebody chose them; without them the plan does")
        own = {key: value for key, value in self.settings.items() if key in _TAKEN and not isinstance(value, dict)}
        own = {key: value for key, value in own.items() if not likely_value(str(value))}
        if own:
            self._put("gunicorn", own, "settings of Gunicorn that no plan has")
        self._ask_of_others(own)
        self._ask_of_its_file()

    def _ask_of_others(self, own: Mapping[str, object]) -> None:
        """Name each setting that is not carried over; other names of its file are the file's own."""
        said = [name for name in self.settings if name in _KNOWN or name in (self.running.get("options") or ())]
        said = [name for name in said if self.settings[name] not in (None, False, "")]
        left = [name for name in sorted(said) if name not in own and name not in _ELSEWHERE]
        if left:
            self._ask(f"gunicorn: the entry leaves out {'; '.join(map(_why_not, left))}: is any of it still wanted?")

    def _ask_of_its_file(self) -> None:
        file = self.running.get("config")
        hooks = [name for name in self.running.get("hooks") or () if name in HOOKS]
        if hooks:
            self._ask(f"gunicorn.hooks: {file} defines {listed(hooks)}: what of it is still wanted?")
        # Other names are the file's own; a sentence stands for the whole file.
        unread = [name for name in self.running.get("unread") or () if name in _KNOWN or " " in name]
        if unread:
            self._ask(f"{file} decides {listed(unread)} as it runs, which was not done: what is it?")

    def _data(self) -> None:
        """What it keeps, and what it may keep that was not found."""
        found = data_of(self.host, self.running, self.name)
        if found.entry():
            self._put("data", found.entry(), "what it was found to keep")
        self.questions += found.questions
        user, folder = str(self.running.get("user") or ""), str(self.running.get("folder") or "")
        what = "what else" if found.questions else "what"
        self._ask(
            f"data: the app runs as an account of its own, and not as {user or 'it did'}: {what} did it write "
            f"below {folder}, or elsewhere, that is to last? Leave it where it is, and let both accounts in "
            "(data.outside): a copy that is made while the service serves lacks what users write after that"
        )
        variables = {**(self.running.get("environment") or {}), **self.secrets}
        declared = Data(outside=tuple(Outside(path) for path in found.outside))
        for name, value in sorted(variables.items()):
            wrong = unkept(name, str(value), self.name, declared)
            if wrong is not None:
                self._ask(f"data: {name} {wrong[0]}: {wrong[2]}", must=True)


def _why_not(name: str) -> str:
    """A setting that is not carried over, with the reason, and the key that does it instead."""
    if name in _LOGS:
        return f"{name} (the journal has it; gunicorn.accesslog: '-' has requests there too)"
    refusal = REFUSED.get(name)
    if refusal is None:
        return f"{name} (Headcount knows no such setting)" if name not in _KNOWN else f"{name} (gunicorn.{name})"
    return f"{name} ({refusal.why}{'; ' + refusal.instead if refusal.instead else ''})"


def _is_group(name: str) -> bool:
    """Whether a group can be named in an entry."""
    try:
        return GROUP.check is not None and GROUP.check(name) == name
    except Invalid:
        return False


def _numbered(name: str, most: int) -> list[str]:
    """The names that tell apps apart which would be called alike, as long as a name may be."""
    return [f"{name[: 22 - len(str(number))].rstrip('-')}-{number}" for number in range(2, most + 1)]


def entries(host: str, running: Sequence[Json], facts: Json, name: str = "") -> list[Adopted]:
    """One for each Gunicorn; two that would be called alike are told apart by a number."""
    found: list[Adopted] = []
    for one in running:
        wanted = name or app_name_of(one)
        taken = [it.name for it in found]
        unique = next(it for it in [wanted, *_numbered(wanted, len(taken) + 2)] if it not in taken)
        found.append(adopted(host, one, facts, unique))
    return found

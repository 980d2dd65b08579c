# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The declaration of hosts as action plugins see it: templated from Ansible's variables, sources found on the
controller.

Works with ansible-core 2.16 and later. What comes back holds secrets: an action plugin may show `redacted` apps only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ansible.errors import AnsibleError

from ...module_utils._declaration.gunicorn import HOOKS, TEXT, belongs, hooks_in, settings_in
from ...module_utils._declaration.normalise import PREFIX, Declaration, Problem, normalise_host
from ...module_utils._declaration.roles import INTERNAL_PREFIXES
from .._edge import Json, Variables
from .._source.project import AUTO, form_of
from .._source.requirements import is_file_name
from .._wheels.declared import check_says
from .._wheels.tools import WheelhouseError

# What a template of a host's variable may use, beside the host's own variables: the same for every host of the play.
_MAGIC: Final = (
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_check_mode",
    "ansible_version",
    "groups",
    "hostvars",
    "omit",
    "playbook_dir",
)
_FILES: Final = ("headcount_drain_tasks", "headcount_undrain_tasks")


def declarations(hosts: Iterable[str], task_vars: Variables, templar: Any) -> list[Declaration]:
    """What is declared for each of `hosts`, with the problems of templating and of the controller's files among its
    problems.

    Variables of the play itself (`vars`, role defaults) count for every host. Where the play and the inventory both
    set a variable for the current host, and the play wins there, it wins for all; where only the play sets it for the
    current host, it may be a role's default, and a host's own value goes before it.
    """
    hostvars = task_vars["hostvars"]
    current = _raw(hostvars, str(task_vars["inventory_hostname"]))
    inputs = {name: value for name, value in task_vars.items() if _is_input(name)}
    below = {name: value for name, value in inputs.items() if name not in current}
    above = {name: value for name, value in inputs.items() if name in current and not _same(value, current[name])}
    magic = {name: task_vars[name] for name in _MAGIC if name in task_vars}
    return [_declaration(host, {**magic, **below, **_raw(hostvars, host), **above}, templar) for host in hosts]


def declaration(task_vars: Variables, templar: Any) -> Declaration:
    """What is declared for the current host of a task."""
    return _declaration(str(task_vars["inventory_hostname"]), task_vars, templar)


def exporter_listen(declared: Declaration) -> str:
    """Where the host's exporter is to listen; empty where there is to be none."""
    wanted = declared.variables.get("headcount_exporter")
    return str(declared.variables["headcount_exporter_listen"]) if wanted else ""


def base_dirs(variables: Variables, declared: str | None) -> list[str]:
    """The folders that a relative path may start from, in the order in which they are looked through.

    `variables` are a host's (inventory_dir and playbook_dir are read), `declared` is headcount_base_dir.
    """
    if declared:
        return [declared]
    playbook = str(variables.get("playbook_dir") or ".")
    found = [str(variables.get("inventory_dir") or "."), playbook, os.path.dirname(os.path.abspath(playbook)), "."]
    return list(dict.fromkeys(os.path.abspath(folder) for folder in found))


def locate(path: str, folders: Sequence[str]) -> str | None:
    """The absolute path of a file or folder of the controller: the first of `folders` that has it; None when none
    has.
    """
    wanted = os.path.expanduser(path)
    candidates = [os.path.abspath(os.path.join(folder, wanted)) for folder in folders]
    return next((candidate for candidate in candidates if os.path.exists(candidate)), None)


def located_source(source: Json, folders: Sequence[str]) -> Json:
    """A normalised source with the absolute paths of what is on the controller; what is not found stays as it is."""
    result = dict(source)
    if source["kind"] in ("path", "wheel"):
        result["value"] = locate(source["value"], folders) or source["value"]
    if source["lock"]:
        result["lock"] = locate(source["lock"], folders) or source["lock"]
    return result


def file_problems(host: Declaration, folders: Sequence[str]) -> list[Problem]:
    """Files that the declaration names and that the controller does not have. Only for a declaration without
    problems.
    """
    problems: list[Problem] = []
    for index, app in enumerate(host.apps):
        source = app["source"]
        here = ("headcount_apps", index, "source")
        if source["kind"] == "path":
            problems += _project_problems(host.host, here, source, folders)
        elif source["kind"] == "wheel" and not _is_file(source["value"], folders):
            problems.append(
                _missing(host.host, (*here, "wheel"), source["value"], "a wheel on the controller", folders)
            )
        problems += _hooks_problems(host.host, index, app, folders)
        if source["lock"] and not _is_file(source["lock"], folders):
            problems.append(_missing(host.host, (*here, "lock"), source["lock"], "a file on the controller", folders))
    for name in _FILES:
        value = host.variables[name]
        if value and not _is_file(value, folders):
            problems.append(_missing(host.host, (name,), value, "a task file on the controller", folders))
    return problems


def _hooks_problems(host: str, index: int, app: Json, folders: Sequence[str]) -> Iterable[Problem]:
    """What keeps the file that `gunicorn.hooks` names from being used. Puts its text into the app."""
    declared = app.get("gunicorn") or {}
    value = declared.get("hooks")
    if value is None:
        return
    here = ("headcount_apps", index, "gunicorn", "hooks")
    path = locate(value, folders)
    if path is None or not os.path.isfile(path):
        yield _missing(host, here, value, "a file on the controller", folders)
        return
    try:
        text = Path(path).read_text(encoding="utf-8")
        names, settings = hooks_in(text), settings_in(text)
    except (OSError, SyntaxError, ValueError) as error:
        yield Problem(host, here, f"is {value!r}, which is no file of Python: {error}", "a file of Python")
        return
    if settings:
        places = ", ".join(f"{name} ({belongs(name) or 'not taken'})" for name in settings)
        fix = "declare them at the places named, and leave the hooks alone in the file"
        yield Problem(host, here, f"is {value!r}, which sets {places}", "a file with hooks alone", fix)
    if not names:
        yield Problem(host, here, f"is {value!r}, which has none of Gunicorn's server hooks", ", ".join(HOOKS))
    declared[TEXT] = text


def _is_file(path: str, folders: Sequence[str]) -> bool:
    return os.path.isfile(locate(path, folders) or "")


def _missing(host: str, parts: tuple[str | int, ...], value: str, allowed: str, folders: Sequence[str]) -> Problem:
    """A path that leads nowhere. `folders`: where it was looked for; none when it can only be in one place."""
    known = not folders or os.path.isabs(value)
    what = f"is {value!r}, which is {'not there' if known else 'in none of ' + ', '.join(folders)}"
    fix = "correct the path, or set headcount_base_dir" if folders else "correct the path"
    return Problem(host, parts, what, allowed, fix)


def _project_problems(
    host: str, here: tuple[str | int, ...], source: Json, folders: Sequence[str]
) -> Iterable[Problem]:
    """What keeps a folder from being a project that can be released."""
    value = source["value"]
    found = locate(value, folders)
    if not found or not os.path.isdir(found):
        yield _missing(host, (*here, "path"), value, "a folder on the controller", folders)
        return
    root = os.path.normpath(os.path.join(found, source["subdirectory"] or ""))
    if not os.path.isdir(root):
        yield _missing(host, (*here, "subdirectory"), source["subdirectory"], f"a folder below {found}", ())
        return
    try:
        form = form_of(Path(root), source.get("as", AUTO))
        if form.is_tree and source.get("requirements") is None and not source["lock"]:
            check_says(Path(root), Path(Path(root).anchor))
    except WheelhouseError as error:
        yield Problem(host, (*here, "path"), f"is {value!r}: {error}")
    for word in source.get("requirements") or ():
        if is_file_name(word) and not os.path.isfile(os.path.join(root, word)):
            yield _missing(host, (*here, "requirements"), word, f"a file in {root}", ())


def sources_in_inventory(apps: Iterable[Json], folders: Sequence[str], inventories: Iterable[str]) -> list[str]:
    """A warning for each app whose folder lies in a folder that is an inventory (`inventories`: what -i names).

    Ansible reads such a folder whole, before anything of Headcount's runs: it executes every file in it that is
    executable, and takes the others for inventories.
    """
    found = []
    whole = [os.path.realpath(os.path.expanduser(path)) for path in inventories if "," not in path]
    for app in apps:
        path = locate(app["source"]["value"], folders) if app["source"]["kind"] == "path" else None
        real = os.path.realpath(path) if path else ""
        for inventory in whole:
            if real and os.path.isdir(inventory) and os.path.commonpath([real, inventory]) == inventory:
                found.append(
                    f"{app['name']}: its source {path} lies in the inventory folder {inventory}: Ansible reads that "
                    "folder whole, executes the executable files of the app and takes the others for inventories; move "
                    "the app out of it, or let -i name the inventory's file"
                )
    return found


def plain(value: Any, omit: object = None) -> Any:
    """A templated value in builtin types: no tagged, unsafe or still encrypted strings, and no omitted keys."""
    if value is None or isinstance(value, (bool, int, float)):
        return value if value is None or type(value) in (bool, int, float) else _builtin_number(value)
    if isinstance(value, Mapping):
        return {
            str(key) if isinstance(key, str) else key: plain(item, omit)
            for key, item in value.items()
            if omit is None or not _is_omit(item, omit)
        }
    if isinstance(value, (list, tuple)):
        return [plain(item, omit) for item in value if omit is None or not _is_omit(item, omit)]
    return str(value)


def _builtin_number(value: Any) -> bool | int | float:
    if isinstance(value, bool):
        return bool(value)
    return float(value) if isinstance(value, float) else int(value)


def _is_omit(value: object, omit: object) -> bool:
    return value is omit or (isinstance(omit, str) and isinstance(value, str) and value == omit)


def _is_input(name: str) -> bool:
    return name.startswith(PREFIX) and not name.startswith(INTERNAL_PREFIXES)


def _raw(hostvars: Any, host: str) -> Variables:
    """A host's variables, not templated. ansible-core has no public way to ask for them; raw_get has been there since
    2.3.
    """
    return dict(hostvars.raw_get(host))


def _same(value: object, other: object) -> bool:
    try:
        return value is other or bool(value == other)
    except (AnsibleError, ValueError):  # a vaulted value that cannot be decrypted says so when it is templated
        return True


def _declaration(host: str, variables: Variables, templar: Any) -> Declaration:
    mine = templar.copy_with_new_env(available_variables=variables)
    values: dict[str, object] = {}
    problems: list[Problem] = []
    for name in sorted(variables):
        if not _is_input(name):
            continue
        try:
            value = mine.template(variables[name])
            if not _is_omit(value, variables.get("omit")):
                values[name] = plain(value, variables.get("omit"))
        except AnsibleError as error:
            reason = str(getattr(error, "message", "") or error).strip().splitlines()[0]
            allowed = "a value whose templates can be resolved"
            fix = "define what is missing for this host"
            problems.append(Problem(host, (name,), f"cannot be worked out ({reason})", allowed, fix))
    failed = {problem.parts[0] for problem in problems}
    found = normalise_host(values, host)
    problems += [problem for problem in found.problems if problem.parts[0] not in failed]
    if not problems:
        declared = found.variables["headcount_base_dir"]
        problems += file_problems(found, base_dirs(variables, declared))
    return Declaration(host, found.apps, found.variables, problems)

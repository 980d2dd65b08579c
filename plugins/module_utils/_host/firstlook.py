# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The first look at a host: what it is, and whether there is anything on it that an app of ours has to do with.

On a fresh host there is not, and then this is the whole probe. It tells no more than that something is there, never
what: `probe` looks into that, which takes three times as much to send. In doubt it says that something is there.
"""

from __future__ import annotations

import os
import re
from shutil import which
from typing import Iterator, Sequence

from .._facts import hostfacts
from .._generation import inert
from .._generation.asked import AppAsked, nothing
from .._os.accounts import account_problem, has_group
from .._os.addresses import plainly_free
from .._os.background import Background
from .._os.paths import COMMANDS, HOME, LOCAL_FACT, STATE, SYSTEM_PYTHON, Layout, under
from .._os.unitfiles import UnitFiles, shared_drop_ins

_QUIET = {"ActiveState=inactive", "ActiveState=failed"}
_OWN_UNITS = re.compile(r"headcount-.*")


def first_look(
    apps: Sequence[AppAsked],
    slice_: str,
    python: str = SYSTEM_PYTHON,
    sandbox: Sequence[str] = (),
    runner: hostfacts.Runner = hostfacts.run,
    root: str = "/",
) -> dict[str, object]:
    """What `probe.probe` answers for these arguments, as long as `beyond` is empty. Nothing is changed.

    `beyond`: what has to be looked into by that, in a few words each.
    """
    names = [app["name"] for app in apps]
    facts = Background(lambda: hostfacts.read(root, slice_, runner, python=python, apps=names).to_dict())
    files = UnitFiles.read(root)
    beyond = [*_of_headcount(files, root), *(words for app in apps for words in _of_app(app, files, runner, root))]
    if apps and sandbox and runner(inert.command(sandbox)) is None:
        beyond.append("the sandbox of its units was not made")
    drop_ins = {name: _drop_ins(name, files, root) for name in names}
    return {
        "facts": facts.result(),
        "apps": {name: {**nothing(), "drop_ins": drop_ins[name], "retune_at_boot": False} for name in names},
        "installed": [],
        "wheels": [],
        "exporter": "",
        "compiler": which("cc") or which("gcc") or which("clang"),
        "beyond": beyond,
    }


def _drop_ins(app: str, files: UnitFiles, root: str) -> list[str]:
    """Those that can be read, as `state` tells them."""
    return sorted(path for path in shared_drop_ins(app, files, root) if os.path.isfile(under(root, path)))


def _of_headcount(files: UnitFiles, root: str) -> Iterator[str]:
    """What the host has of Headcount, whichever app it is for."""
    places = (HOME, STATE, LOCAL_FACT, *COMMANDS)
    yield from (f"/{path}" for path in places if os.path.lexists(os.path.join(root, path)))
    yield from files.paths(_OWN_UNITS)


def _of_app(app: AppAsked, files: UnitFiles, runner: hostfacts.Runner, root: str) -> Iterator[str]:
    """What may be in the app's way, and what it declares that has to be looked into."""
    layout = Layout(app["name"], root)
    yield from _units(layout, files, runner)
    yield from (path for path in (layout.data, layout.cache, layout.logs) if os.path.lexists(path))
    yield from (str(at) for at in (app.get("listen"), app.get("trial_listen")) if not plainly_free(at))
    if "user" in app:
        user = app["user"] or layout.user
        if account_problem(user, declared=app["user"] is not None, root=root):
            yield f"the account {user}"
    yield from _declared(app, runner)


def _units(layout: Layout, files: UnitFiles, runner: hostfacts.Runner) -> Iterator[str]:
    """Files of units, and units in memory, that have a name of the app, and drop-ins for these."""
    name = re.escape(layout.app)
    yield from files.paths(re.compile(rf"{name}(\.socket(\.d)?|(-trial)?@.*|-\.(service|socket)\.d)"))
    units = (layout.public_socket_unit, layout.instance_glob, layout.candidate_glob)
    shown = runner(["systemctl", "show", "--property=ActiveState", "--", *units])
    if shown is None or set(shown.split()) - _QUIET:
        yield f"what systemd has of {units[0]} and the like"


def _declared(app: AppAsked, runner: hostfacts.Runner) -> Iterator[str]:
    """What the app declares that this host may lack, or that only the probe reads."""
    if app.get("former") or (app.get("data") or {}).get("outside"):
        yield "what served the app before, and folders of others"
    group = app.get("listen_group")
    if group and not has_group(group):
        yield f"no group {group}"
    schedules = [one.get("schedule") for one in (app.get("processes") or {}).values()]
    for schedule in (*schedules, (app.get("load_test") or {}).get("calendar")):
        if schedule and runner(["systemd-analyze", "calendar", "--", schedule]) is None:
            yield f"the schedule {schedule}"

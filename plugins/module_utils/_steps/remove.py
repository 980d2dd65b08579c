# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step remove: the app leaves this host."""

from __future__ import annotations

import contextlib
import os

from .._generation import data, datafolders, generations, ledger, store
from .._generation.failures import Untouched
from .._generation.prepared import Prepared
from .._generation.switch import take_down
from .._os.files import remove_file
from .._os.paths import installed_apps
from . import guarding
from .app import AppOnHost


def remove(app: AppOnHost, everything: bool = False) -> dict[str, object]:
    """Take the app off this host: instances, units, releases, generations. The ledger stays, and so do the app's data
    and logs, unless `everything` goes.

    Returns {removed: True, left: what of somebody else's is in the app's folder, and stays, kept: the folders of its
    data that stay, with what they take, gone: those that went, others: those in their places that are somebody else's,
    and stay, with their owners, ended: units of commands that ran with the app}. StepFailed where nothing of that name
    is Headcount's.
    """
    if app.name not in installed_apps(app.root):
        raise Untouched("remove", f"{app.layout.home} is not Headcount's and is not touched")
    with app.alone("remove"):
        user = datafolders.account(app.layout, ledger.read(app.layout.ledger))
        take_down(app.instances)
        ended = _end_commands(app)
        app.candidates.forget()
        for number in generations.numbers(app.layout):
            store.remove(app.layout, number)
        left = _remove_home(app)
        Prepared(app.layout).forget()
        guarding.forget(app.layout)
        app.systemd.reload()
        app.write_local_fact()
        folders = datafolders.removal(app.layout, ledger.read(app.layout.ledger), user, everything)
        for path in folders.gone:
            data.empty(path)
        app.log(datafolders.REMOVED, left=left or None, folders=folders.gone or None, account=user, ended=ended or None)
    return {"removed": True, "left": left, "ended": ended, **told(folders)}


def _end_commands(app: AppOnHost) -> list[str]:
    """End what runs with the app beside its instances: a command that prepares it, and those of persons."""
    byhand = app.layout.run_units(app.systemd.matching(app.layout.run_unit("*")))
    ended = [unit for unit in (app.layout.prepare_unit, *byhand) if not app.systemd.state(unit).gone]
    app.systemd.stop(*ended)
    return ended


def told(folders: datafolders.Removal) -> dict[str, object]:
    """What becomes of the app's folders, as the module returns it."""
    kept = {path: data.size_mib(path) for path in folders.kept}
    return {"kept": kept, "gone": folders.gone, "others": folders.others}


def _remove_home(app: AppOnHost) -> list[str]:
    """Remove the app's folder, but for what Headcount did not make: that is returned."""
    app.prune_releases()
    for folder in (app.layout.generations, app.layout.releases, app.layout.home):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        for name in names:
            if name.startswith((".headcount-", ".live.")):
                remove_file(os.path.join(folder, name))
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    if not os.path.isdir(app.layout.home):
        return []
    return [os.path.join(app.layout.home, name) for name in sorted(os.listdir(app.layout.home))]

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step remove: the app leaves this host."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator, Sequence

from .._generation import data, datafolders, dataremoval, formerlinks, generations, ledger, leftover
from .._generation.failures import StepFailed, Untouched, sentence
from .._generation.prepared import Prepared
from .._generation.reloads import try_reload
from .._generation.switch import take_down
from .._generation.takeover import JOINING, RETIRED, RETIRING, Record, resume
from .._os.files import fsync_directory, remove_file
from .._os.paths import Layout, installed_apps
from .._os.removal import mounted_words, mounts_in, remove_tree
from .._os.systemd import SystemdError
from . import guarding
from .app import AppOnHost


def remove(app: AppOnHost, everything: bool = False) -> dict[str, object]:
    """Take the app off this host: instances, units, releases, generations. The ledger stays, and so do the app's data
    and logs, unless `everything` goes.

    Returns {removed: True, left: what of somebody else's is in the app's folder or changes its units, and stays,
    former: how the service comes back that it was taken over from, in a sentence, kept: the folders of its data that
    stay, with what they take, gone: those that went, others: those in their places that are somebody else's,
    and stay, with their owners, ended: units of commands that ran with the app}. StepFailed where nothing of that name
    is Headcount's, where somebody mounted anything at what goes or below it (then nothing was touched), and where
    something cannot be removed.
    """
    if app.name not in installed_apps(app.root):
        there = os.path.lexists(app.layout.home)
        what = "is not Headcount's and is not touched" if there else "does not exist: the app is not on this host"
        raise Untouched("remove", f"{app.layout.home} {what}")
    with app.alone("remove"), _told(app):
        entries = ledger.read(app.layout.ledger)
        user = datafolders.account(app.layout, entries)
        folders = dataremoval.removal(app.layout, entries, user, everything)
        in_the_way = mounted(app.layout, folders.gone)
        if in_the_way:
            raise Untouched("remove", in_the_way)
        _end_takeover(app)
        take_down(app.instances)
        ended = _end_commands(app)
        app.candidates.forget()
        for number in generations.numbers(app.layout):
            app.remove_generation(number)
        _remove_home(app)
        left = leftover.left(app.layout)
        Prepared(app.layout).forget()
        guarding.forget(app.layout)
        former = _forget_former(app)
        try_reload(app.systemd)
        app.write_local_fact()
        for path in folders.gone:
            remove_tree(path)
            fsync_directory(os.path.dirname(path))
        app.log(datafolders.REMOVED, left=left or None, folders=folders.gone or None, account=user, ended=ended or None)
    return {"removed": True, "left": left, "former": former, "ended": ended, **told(folders)}


def _end_takeover(app: AppOnHost) -> None:
    """Go back where a takeover was cut short before the app was verified: the former service has its address then."""
    record = Record.read(app.layout)
    if record is not None and record.phase == JOINING:
        resume(app.instances, lambda: take_down(app.instances))


def former_words(layout: Layout) -> str:
    """What a removal means for the service that the app was taken over from, in a sentence for who may still do
    otherwise; empty where it was not taken over, or has its address back."""
    record = Record.read(layout)
    if record is None or record.phase not in (RETIRING, RETIRED):
        return ""
    return (
        f"nobody would answer its users: {record.unit}, which it was taken over from, is disabled and stays so; "
        f"`headcount-rollback {layout.app} --to-former` before it gives the address back without a request lost"
    )


def _forget_former(app: AppOnHost) -> str:
    """Forget from which service the app was taken over, whose unit files lie where they were again: how that comes
    back, in a sentence; empty where it was not taken over, or has its address back."""
    record = Record.read(app.layout)
    if record is None or record.phase not in (RETIRING, RETIRED):
        remove_file(app.layout.former)
        return ""
    for path, saved in record.moved.items():
        if os.path.lexists(saved) and not os.path.lexists(path):
            os.rename(saved, path)
    remove_file(app.layout.former)
    return f"{record.unit}, which the app was taken over from, is disabled: `{_by_hand(app, record)}` brings it back"


def _by_hand(app: AppOnHost, record: Record) -> str:
    """The commands that bring a former service back as it was."""
    found = {path: to for of in (record.links or {}).values() for path, to in of.items()}
    static = any(
        app.systemd.properties(unit, "UnitFileState").get("UnitFileState") == "static" for unit in record.units
    )
    if record.links is None or (found and not static):
        return f"systemctl enable --now {' '.join(record.enabled or record.units)}"
    return formerlinks.by_hand(record.units, found)


def _end_commands(app: AppOnHost) -> list[str]:
    """End what runs with the app beside its instances: a command that prepares it, and those of persons."""
    byhand = app.layout.run_units(app.systemd.matching(app.layout.run_unit("*")))
    ended = [unit for unit in (app.layout.prepare_unit, *byhand) if not app.systemd.state(unit).gone]
    app.systemd.stop(*ended)
    return ended


def told(folders: dataremoval.Removal) -> dict[str, object]:
    """What becomes of the app's folders, as the module returns it."""
    kept = {path: data.size_mib(path) for path in folders.kept}
    return {"kept": kept, "gone": folders.gone, "others": folders.others}


def mounted(layout: Layout, gone: Sequence[str]) -> str:
    """What is mounted at the app's folder and the folders that are to go with it, or below, in a sentence with the fix;
    empty where nothing is."""
    points = mounts_in([layout.home, *gone], layout.root)
    return f"nothing was removed: {mounted_words(points)}" if points else ""


@contextlib.contextmanager
def _told(app: AppOnHost) -> Iterator[None]:
    """Have what breaks a removal told in a sentence, and written into the ledger."""
    try:
        yield
    except (StepFailed, SystemdError, OSError) as error:
        failure = error if isinstance(error, StepFailed) else StepFailed("remove", sentence(error))
        with contextlib.suppress(OSError):
            app.log("failed", **{"from": generations.live(app.layout)}, phase=failure.phase, cause=failure.cause)
        raise failure from error


def _remove_home(app: AppOnHost) -> None:
    """Remove the app's folder, but for what Headcount did not make."""
    app.prune_releases()
    for folder in (app.layout.generations, app.layout.releases, app.layout.home):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        for name in names:
            if leftover.temporary(name):
                remove_file(os.path.join(folder, name))
        with contextlib.suppress(OSError):
            os.rmdir(folder)

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The step stage: release and generation are laid down beside the live one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from .._declaration.app import App, Plain
from .._declaration.candidate import own_of
from .._generation import (
    access,
    built,
    builtfolders,
    data,
    datafolders,
    exposure,
    former,
    generations,
    inheritedpaths,
    ledger,
    outside,
    reloads,
    sandbox,
    store,
)
from .._generation.clashes import Host, clashes, shared_drop_ins
from .._generation.commands import words_of
from .._generation.failures import StepFailed, Untouched
from .._generation.reached import fail_if_no_way
from .._generation.record import GenerationRecord
from .._generation.serverhooks import program
from .._generation.units import environment_file, render
from .._os.files import make_directory, write_file
from .._os.folders import Unsafe
from .._os.secrecy import learn, publish
from .._os.users import ensure_user
from .._plan.replan import replan, with_release
from .._release.releases import distributions, install, lacking, release_id, unpack, with_data
from .app import AppOnHost
from .heal import heal


def stage(app: AppOnHost, request: Plain) -> dict[str, object]:
    """Lay down release and generation beside the live one; the generation stays unfinished until it is weighed.

    `request`: app (normalised, without secrets), secrets, planning (the arguments of plan_host), digest,
    source_id, release {id, lock_text}, wheels_dir, python. Returns {generation, release, built, healed}.
    """
    learn((request.get("secrets") or {}).values())
    publish(app.name, request["app"])
    declared = request["app"]
    check_reload(app)
    check_clashes(app, declared)
    check_variables(app, declared, request.get("secrets") or {})
    with app.step("stage"):
        release = with_leads(request["release"], declared)
        _check_home(app)
        fail_if_no_way(declared)
        healed = heal(app)
        new = not os.path.isdir(app.layout.release(release["id"]))
        ensure_user(declared["user"] or app.layout.user)
        app.close()
        make_data(app, declared)
        install(
            app.name,
            release["id"],
            release["lock_text"],
            wheels_dir=request["wheels_dir"],
            python=request["python"],
            root=app.root,
        )
        _check_prefix(app, str(release["id"]), declared)
        _check_built(app, str(release["id"]), declared)
        declared = sandbox.resolved(declared, distributions(Path(app.layout.release(release["id"]))))
        planning = with_release(request["planning"], app.name, app.layout.release(release["id"]), declared)
        plan, _ = replan(planning, app.name)
        number = next_number(app)
    record = GenerationRecord(
        release=release["id"],
        app={**declared, "environment": {}, "secrets": {}},
        plan=plan,
        planning=planning,
        digest=request["digest"],
        source_id=request["source_id"],
    )
    values = request["app"]["environment"], request["secrets"]
    lay_down(app, number, record, environment_file(*values), environment_file(*values, candidate=True))
    return {"generation": number, "release": release["id"], "built": new, "healed": healed}


def take_wheels(app: AppOnHost, request: Plain) -> list[str]:
    """Take the files of `request`'s wheels_archive; returns the sha256 of what its release needs and the host lacks."""
    with app.step("stage"):
        if request["wheels_archive"]:
            unpack(request["wheels_archive"], request["wheels_dir"])
        return lacking(request["release"]["lock_text"], request["wheels_dir"])


def _check_prefix(app: AppOnHost, release: str, declared: Plain) -> None:
    """StepFailed where what Gunicorn is to be started by is not there."""
    words = declared.get("command_prefix") or ()
    if not words:
        return
    binaries = os.path.join(app.layout.release(release), "venv", "bin")
    path = program(str(words[0]), binaries)
    if os.path.isfile(path) and os.access(path, os.X_OK):
        return
    what, fix = "is not on this host", "install it"
    if path != words[0]:
        what = f"is not in the release ({binaries})"
        fix = "have the project require the package that brings it, name a program of the host by its path"
    raise StepFailed("stage", f"command_prefix: {words[0]} {what}: {fix}, or correct command_prefix")


def _check_built(app: AppOnHost, release: str, declared: Plain) -> None:
    """StepFailed where a folder that the app is to write to holds code, or there is no room for another one."""
    path = app.layout.release(release)
    wrong = builtfolders.holds_code(declared, path)
    if wrong:
        raise StepFailed("stage", wrong)
    builtfolders.need_disk(app.layout, declared, path)


def with_leads(release: Plain, declared: Plain) -> dict[str, str]:
    """The release (`id`, `lock_text`) whose declared paths lead to the app's data, or are each generation's own:
    another one, where there are any."""
    paths = [path.rstrip("/") for path in data.declared(declared).paths]
    own = built.paths(declared)
    if not paths and not own:
        return {"id": str(release["id"]), "lock_text": str(release["lock_text"])}
    lock_text = with_data(release["lock_text"], paths, own)
    return {"id": release_id(lock_text), "lock_text": lock_text}


def make_data(app: AppOnHost, declared: Plain) -> None:
    """Make the folders that the app keeps its data in. StepFailed where one is not safely made, one outside of them
    does not let it in, or the host lacks a device that it is to have."""
    entries = ledger.read(app.layout.ledger)
    try:
        data.make(app.layout, declared, entries, lambda folders: app.log(datafolders.MADE, folders=folders))
    except Unsafe as error:
        raise StepFailed("stage", f"the app's folders are not made, as {error}") from None
    shut = [*outside.shut_out(app.layout, declared), *exposure.missing(declared, app.root)]
    if shut:
        raise StepFailed("stage", "; ".join(shut))


def check_reload(app: AppOnHost) -> None:
    """Raise Untouched where systemd could not read the unit files of a new generation without a loss to others."""
    try:
        reloads.fail_if_full(app.systemd)
    except reloads.NoRoom as error:
        _refuse(app, [str(error)])


def check_clashes(app: AppOnHost, declared: Plain) -> None:
    """Raise Untouched where units, drop-ins, folders or an account of somebody else's are in the app's way, or its
    former service cannot be taken over as it is.

    The plan has refused what the probe found; this is for what came since, and for a host that was not asked.
    """
    units = (app.layout.public_socket_unit, app.layout.instance_glob, app.layout.candidate_glob)
    taken = declared.get("former") and generations.live(app.layout) is None
    old = former.read(app.layout, declared, app.systemd) if taken else None
    host = Host.read(app.root, app.systemd.runner)
    found = clashes(app.layout, app.systemd.matching(*units), declared, host, former.spared(app.layout, old))
    _refuse(app, [*([f"former: {old.problem}"] if old is not None and old.problem else []), *found])


def check_variables(app: AppOnHost, declared: Plain, secrets: Plain) -> None:
    """Raise Untouched where a variable of an app that is to be taken over leads to a file or folder which its former
    service uses, and which does not let the app in."""
    unit = declared.get("former")
    if not unit or generations.live(app.layout) is not None:
        return
    found = inheritedpaths.Variables(app.layout, declared, str(unit), app.systemd)
    own = {"environment": own_of(declared["environment"], candidate=False), "secrets": own_of(secrets, candidate=False)}
    _refuse(app, [words for section, values in own.items() for words in found.of_variables(values, section)])


def _refuse(app: AppOnHost, found: list[str]) -> None:
    """Raise Untouched where anything was `found`, for the ledger too where the app has one."""
    if not found:
        return
    failure = Untouched("stage", "; ".join(found))
    if not os.path.exists(app.layout.ledger):
        raise failure  # nothing of the app is on this host, and nothing comes to be there
    with app.step("stage"):
        raise failure


def next_number(app: AppOnHost) -> int:
    """The number of the next generation; none is ever used twice, and none that a folder of others' has."""
    known = ledger.highest_generation(ledger.read(app.layout.ledger))
    return max([known, *generations.taken_numbers(app.layout)]) + 1


def lay_down(app: AppOnHost, number: int, record: GenerationRecord, environment: str, trial: str = "") -> None:
    """A step: lay down generation `number` beside the live one, unfinished; `environment` is its root-only file,
    `trial` that of its candidate."""
    with app.step("stage", number):
        store.begin(app.layout, number, str(record.release))
        builtfolders.make(app.layout, number, record.app)
        for process in App.from_dict({"name": app.name, **record.app}).processes.values():
            words_of(app.layout, number, process.run, "stage")  # that is no program is known before anything is started
        write_file(app.layout.environment(number), environment, mode=0o600)
        write_file(app.layout.trial_environment(number), trial, mode=0o600)
        now = ledger.now_text(app.clock)
        _write(app, number, replace(record, number=number, created=now, run=app.run.to_dict()))
        app.close()
        store.link_units(app.layout, number)
        app.systemd.reload()
        app.log("staged", generation=number, release=record.release)


def _check_home(app: AppOnHost) -> None:
    """systemd reads the units of the live generation at boot, before other file systems are mounted."""
    make_directory(os.path.dirname(app.layout.home))
    make_directory(app.layout.home, access.CLOSED)
    home, units = os.stat(app.layout.home).st_dev, os.stat(os.path.dirname(app.layout.units)).st_dev
    if home != units:
        raise StepFailed(
            "stage",
            f"{app.layout.home} is on another file system than /etc: systemd would not find the app's units at "
            "boot; keep /opt/headcount on the root file system",
        )


def _write(app: AppOnHost, number: int, record: GenerationRecord) -> None:
    files = render(record.app, record.plan, number, app.layout)
    store.write(app.layout, number, files, record.to_dict())


def finish(app: AppOnHost, number: int, record: GenerationRecord) -> None:
    """Rewrite generation `number` with its final record and finish it.

    What the host gives to all services by drop-ins is noted: the generation is tried with that.
    """
    host = Host.read(app.root, app.systemd.runner)
    _write(app, number, replace(record, drop_ins=shared_drop_ins(app.layout, host.files)))
    builtfolders.settle(app.layout, number)
    store.finish(app.layout, number)
    app.systemd.reload()

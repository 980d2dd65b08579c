# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What ends with the service that has an address: what the host needs that service for, and what its supervisor is to
start later, are not to; all of its server is."""

from __future__ import annotations

from dataclasses import replace

from .. import _engine
from .._scene import Scene
from .row import HOME, Row
from .takeovers import (
    NAME,
    OLD,
    PORT,
    SHAPES,
    SUPERVISED,
    Shape,
    _serving,
    _take,
    former,
    give_back,
    none_lost,
    service,
)

SERVER = (
    f'SHOP_RELEASE=old {OLD}/venv/bin/python -m gunicorn --workers 2 --bind 0.0.0.0:{PORT} "shop.wsgi:create_app()"'
)
AS_OLD = "runuser -u till-old --"
INSTALL = "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends"
HOSTS: dict[str, tuple[str, str, str]] = {
    "cron": (
        "cron",
        f"echo '@reboot cd /tmp && {SERVER}' | crontab -u till-old - && rm -f /run/crond.reboot && "
        "systemctl restart cron",
        "crontab -r -u till-old",
    ),
    "at": ("atd", f"cd /tmp && echo '{SERVER} --daemon' | {AS_OLD} at now", "true"),
}
"""What starts a Gunicorn by the way: {its package: (its program, how that starts one, how that is undone)}."""


def _refused(scene: Scene, shape: Shape, words: str) -> None:
    """Refused with these words before anything is laid down; the old server serves on."""
    declared = _engine.shop(NAME, listen=shape.listen, former=shape.unit)
    done = scene.engine.steps(NAME, ("stage", scene.engine.request(declared)), "finish", "promote")
    said = str(done[-1].get("failed"))
    scene.seen.told.append(said[:300])
    scene.seen.must(words in said, f"{shape.unit} was not refused: {said}")
    there = scene.sh(f"test -e {HOME.rpartition('/')[0]}/{NAME} || echo nothing").strip()
    scene.seen.must(there == "nothing", "something was laid down")
    _serving(scene, shape, "old", "refused")
    state = scene.sh(f"systemctl is-active {shape.unit}; systemctl is-enabled {shape.unit}").split()
    scene.seen.must(state == ["active", "enabled"], f"{shape.unit} is {' and '.join(state)}")


def of_the_host(scene: Scene) -> None:
    """cron and atd have started the Gunicorn, in the foreground and as a daemon: refused, and they run on."""
    for package, (program, start, undo) in HOSTS.items():
        unit = f"{program}.service"
        shape = Shape(
            f"0.0.0.0:{PORT}",
            unit,
            {},
            "not at all",
            before=f"{INSTALL} {package} && {start}",
            after=f"pkill -u till-old; {undo}; systemctl enable --now {unit}",
        )
        with former(scene, shape):
            _refused(scene, shape, f"{unit} is the host's own, and not the app's: {program} (")


def to_be_started(scene: Scene) -> None:
    """A supervisord is to start a program that does not run now: refused by its name and its file."""
    shape = SHAPES["supervisor"][1]
    file = "/etc/supervisor/conf.d/nightly.conf"
    more = f"printf '[program:nightly]\\ncommand=/bin/true\\nautostart=false\\n' > {file}"
    with former(scene, replace(shape, before=shape.before.replace(SUPERVISED, f"{more} && {SUPERVISED}"))):
        _serving(scene, shape, "old", "before")
        stands = scene.sh("supervisorctl status nightly")
        scene.seen.must("STOPPED" in stands, f"the other program is to be stopped: {stands}")
        _refused(scene, shape, f"supervisor.service is to start nightly ({file}) too, which would never run again")


def left_alone(scene: Scene) -> None:
    """The old service's unit has systemd end its main process alone, or none: nothing of it runs beside the app."""
    for mode in ("process", "none"):
        unit = service(f"--bind 0.0.0.0:{PORT}", f"KillMode={mode}\n")
        shape = replace(SHAPES["tcp"][1], texts={"gunicorn.service": unit}, before="true", after="true")
        with former(scene, shape), none_lost(scene):
            _take(scene, shape, mode)
            runs = scene.sh("pgrep -a -u till-old").strip()
            scene.seen.must(not runs, f"with KillMode={mode} the old service runs on: {runs}")
            give_back(scene, shape, mode)


ENDS = [
    Row(
        "past/takeover-left-alone",
        "the unit of the old service has systemd end its main process alone (`KillMode=process`), or none of it",
        "taken over and given back; nothing of the old service runs beside the app; users lose nothing",
        left_alone,
    ),
    Row(
        "past/takeover-of-the-host",
        "a Gunicorn that a line of cron's, or a job of atd's, has started is to be taken over with that service",
        "refused with the program that the host needs, and the fix; cron and atd run on, and start at a boot",
        of_the_host,
    ),
    Row(
        "past/takeover-to-be-started",
        "a supervisord is to start another program, which does not run now",
        "refused with the name of that program and its file",
        to_be_started,
    ),
]

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A Gunicorn of somebody's own serves an address with users on it: taken over, given back, and taken over again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import _engine
from .._scene import Scene, lost, times
from .row import HOME, Row

OLD = "/opt/old-till"
NAME = "till"
PORT = 8302
ARMS: tuple[dict[str, Any], ...] = (
    {"name": "new", "kind": "close", "rate": 20, "paths": ["/version"]},
    {"name": "long", "kind": "close", "rate": 0.5, "paths": ["/wait?ms=1500"]},
)
ETC = "/etc/systemd/system"


@dataclass(frozen=True)
class Shape:
    """An old deployment. `listen`: where it is reached; `unit`: its service, `texts`: its unit files by name; `way`:
    how it is taken over, in words; `name`: of the app that does; `gap`, `gap_back`: whether users meet one, or one on
    the way back; `before`, `after`: shell commands that make and undo what it has beside its units; `log`: one that
    prints when its server was started and ended, "" where the unit's own log does; `front`: the port of a proxy that
    users ask, 0 where they ask it itself."""

    listen: str
    unit: str
    texts: Mapping[str, str]
    way: str
    name: str = NAME
    gap: bool = False
    gap_back: bool = False
    before: str = "true"
    after: str = "true"
    log: str = ""
    front: int = 0

    @property
    def asked(self) -> Any:
        """What users connect to."""
        if self.listen.startswith("unix:") and not self.front:
            return self.listen[5:]
        return ["127.0.0.1", self.front or PORT]


def service(bind: str, more: str = "", workers: int = 2, unit: str = "") -> str:
    """The unit of a Gunicorn as people write it. `bind`: words of Gunicorn, or its socket unit; `more`, `unit`: lines
    of its sections."""
    requires = f"Requires={bind}\n" if bind.endswith(".socket") else ""
    bind = "" if requires else bind
    return (
        f"[Unit]\nDescription=the old till\n{requires}{unit}[Service]\nUser=till-old\nEnvironment=SHOP_RELEASE=old\n"
        f"{more}Restart=always\nExecStart={OLD}/venv/bin/python -m gunicorn --workers {workers} {bind} "
        "shop.wsgi:create_app()\n[Install]\nWantedBy=multi-user.target\n"
    )


def socket(listen: str) -> str:
    """The unit of a socket."""
    return f"[Socket]\nListenStream={listen}\n[Install]\nWantedBy=sockets.target\n"


RUN = "/run/till-old"
END = "/run/till-told"
"""What programs that are run at the end of an old service leave, each a file with more behind it."""
PROGRAM = f"""[program:till]
command={OLD}/venv/bin/python -m gunicorn --workers 2 --bind 0.0.0.0:{PORT} shop.wsgi:create_app()
user=till-old
environment=SHOP_RELEASE="old"
autorestart=true
"""
SUPERVISED = f"printf '%s' '{PROGRAM}' > /etc/supervisor/conf.d/till.conf && systemctl restart supervisor"
FRONT = 8303
NGINX = (
    f"server {{ listen {FRONT}; location / {{ proxy_pass http://unix:{RUN}/gunicorn.sock; proxy_read_timeout 20s; }} }}"
)
SHAPES: dict[str, tuple[str, Shape]] = {
    "tcp": (
        "a hand-made gunicorn.service on a port, with programs for its end and its failure, which a link that somebody "
        "made has a boot start too",
        Shape(
            f"0.0.0.0:{PORT}",
            "gunicorn.service",
            {
                "gunicorn.service": service(
                    f"--bind 0.0.0.0:{PORT}",
                    f"ExecStopPost=+/bin/touch {END}-end\n",
                    unit="OnFailure=till-end.service\n",
                )
            },
            "a second socket on the same port",
            before=(
                f"mkdir -p {ETC}/graphical.target.wants; ln -sf ../gunicorn.service {ETC}/graphical.target.wants/; "
                f"printf '[Service]\\nType=oneshot\\nExecStart=/bin/touch {END}-failure\\n' > {ETC}/till-end.service"
            ),
            after=f"rm -f {ETC}/till-end.service {END}-*",
        ),
    ),
    "unix": (
        "a gunicorn.service with a unix socket in its runtime directory",
        Shape(
            f"unix:{RUN}/gunicorn.sock",
            "gunicorn.service",
            {"gunicorn.service": service(f"--bind unix:{RUN}/gunicorn.sock --umask 0", "RuntimeDirectory=till-old\n")},
            "a second unix socket renamed over the first",
        ),
    ),
    "nginx": (
        "a gunicorn.service with a unix socket, which a real nginx leads its users to",
        Shape(
            f"unix:{RUN}/gunicorn.sock",
            "gunicorn.service",
            {"gunicorn.service": service(f"--bind unix:{RUN}/gunicorn.sock --umask 0", "RuntimeDirectory=till-old\n")},
            "a real nginx before a unix socket",
            before=(
                "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "
                f"nginx-light && echo '{NGINX}' > /etc/nginx/sites-enabled/default && systemctl restart nginx"
            ),
            after="apt-get purge -y nginx-light nginx nginx-common; rm -rf /etc/nginx",
            front=FRONT,
        ),
    ),
    "socket": (
        "a gunicorn.socket on a port, with its service",
        Shape(
            f"0.0.0.0:{PORT}",
            "gunicorn.service",
            {
                "gunicorn.service": service("gunicorn.socket", "Type=notify\n"),
                "gunicorn.socket": socket(f"0.0.0.0:{PORT}"),
            },
            "a second socket on the same port",
        ),
    ),
    "own-name": (
        "a till.socket of the app's own name, with its service",
        Shape(
            f"0.0.0.0:{PORT}",
            "till.service",
            {"till.service": service("till.socket", "Type=notify\n"), "till.socket": socket(f"0.0.0.0:{PORT}")},
            "its own socket, shared",
        ),
    ),
    "parent": (
        "a service of a program that starts Gunicorn again whenever it ends, as supervisors do",
        Shape(
            f"0.0.0.0:{PORT}",
            "supervised.service",
            {
                "supervised.service": (
                    "[Unit]\nDescription=the old till\n[Service]\nUser=till-old\nEnvironment=SHOP_RELEASE=old\n"
                    f"ExecStart=/bin/sh -c 'while true; do {OLD}/venv/bin/python -m gunicorn --workers 2 --bind "
                    f'0.0.0.0:{PORT} "shop.wsgi:create_app()"; done\'\n[Install]\nWantedBy=multi-user.target\n'
                )
            },
            "a second socket on the same port",
            gap_back=True,
        ),
    ),
    "supervisor": (
        "a supervisord of Debian's package, whose program is a Gunicorn",
        Shape(
            f"0.0.0.0:{PORT}",
            "supervisor.service",
            {},
            "a second socket on the same port",
            gap_back=True,
            before=f"apt-get update -q && apt-get install -y --no-install-recommends supervisor && {SUPERVISED}",
            after="apt-get purge -y supervisor; rm -rf /etc/supervisor",
            log="grep -h 'spawned\\|success\\|exited\\|stopped\\|SIG' /var/log/supervisor/supervisord.log",
        ),
    ),
    "other-address": (
        "a gunicorn.service on one address of a port that the app is to have on all",
        Shape(
            f"0.0.0.0:{PORT}",
            "gunicorn.service",
            {"gunicorn.service": service(f"--bind 127.0.0.1:{PORT}")},
            "stopped before",
            gap=True,
        ),
    ),
}


def _make(scene: Scene, shape: Shape) -> None:
    """The old deployment runs, and a boot would start it."""
    units = " ".join(shape.texts or [shape.unit])
    files = "".join(f"cat > {ETC}/{name} <<'END'\n{text}END\n" for name, text in shape.texts.items())
    scene.engine.sh(
        f"mkdir -p {OLD}; cp -a {HOME}/live/release/venv {OLD}/; chmod -R a+rX {OLD}; "
        "id till-old >/dev/null 2>&1 || useradd --system --shell /usr/sbin/nologin till-old; "
        f"{files}{shape.before}; systemctl daemon-reload; systemctl enable --now {units}",
        check=True,
        timeout=300.0,
    )


def _links(scene: Scene, shape: Shape) -> list[str]:
    """What has a boot start its units."""
    names = " -o ".join(f"-name '{unit}'" for unit in shape.texts or [shape.unit])
    return sorted(scene.sh(f"find {ETC} -type l \\( {names} \\) -printf '%p %l\\n'").splitlines())


def _log(scene: Scene, shape: Shape) -> str:
    """When the old server was started and ended, in UTC."""
    command = shape.log or f"journalctl -u {shape.unit} --utc -o short-iso-precise --no-pager"
    return scene.sh(f"({command}) | tail -n 20")


def _ask(shape: Shape) -> str:
    asked = shape.asked
    to = f"--unix-socket {asked} http://localhost" if isinstance(asked, str) else f"http://{asked[0]}:{asked[1]}"
    return f"curl -s -m 5 {to}/version"


def _serving(scene: Scene, shape: Shape, release: str, when: str) -> None:
    """Whoever asks comes to `release`."""
    deadline = time.monotonic() + 30
    got = ""
    while time.monotonic() < deadline:
        text = scene.sh(_ask(shape))
        got = str(json.loads(text).get("release", "")) if text.startswith("{") else text
        if got == release:
            return
    scene.seen.must(False, f"{when} {got!r} answers, not {release}")


def _undo(scene: Scene, shape: Shape) -> None:
    scene.engine.steps(shape.name, "remove")
    scene.sh(
        f"systemctl disable --now {' '.join(shape.texts or [shape.unit])}; {shape.after}; "
        f"rm -rf {' '.join(f'{ETC}/{one}*' for one in shape.texts)} /var/lib/headcount/{shape.name} {OLD}; "
        "systemctl daemon-reload; systemctl reset-failed; userdel till-old",
        timeout=300.0,
    )


@contextlib.contextmanager
def former(scene: Scene, shape: Shape) -> Iterator[None]:
    """The old deployment runs and serves; afterwards it goes, with what took it over."""
    try:
        _make(scene, shape)
        _serving(scene, shape, "old", "before")
        yield
    finally:
        _undo(scene, shape)
    scene.clean()


@contextlib.contextmanager
def none_lost(scene: Scene, moments: Sequence[tuple[str, float, float]] = (), asked: Any = None) -> Iterator[None]:
    """Users ask the port, or `asked`, from the host itself, and all are served; `moments`: what went on, from when to
    when."""
    with scene.engine.users(asked or ["127.0.0.1", PORT], ARMS, inside=True) as users:
        yield
    bad = _engine.failures(users.rows)
    when = times(bad, users.began, moments)
    scene.seen.must(not bad, f"{len(bad)} of {len(users.rows)} requests were not served: {when}")


def give_back(scene: Scene, shape: Shape, after: str) -> None:
    """The old service has its address again."""
    said = scene.sh(f"headcount-rollback {shape.name} --to-former 2>&1; echo code $?")
    scene.seen.must("code 0" in said, f"after {after} it was not given back: {said}")
    _serving(scene, shape, "old", f"given back after {after}")


def taken_over(shape: Shape) -> Callable[[Scene], None]:
    """The old deployment is taken over, given back and taken over again, with users on it all the while."""

    def work(scene: Scene) -> None:
        seen = scene.seen
        try:
            _make(scene, shape)
            _serving(scene, shape, "old", "before")
            links = _links(scene, shape)
            moments: list[tuple[str, float, float]] = []
            with scene.engine.users(shape.asked, ARMS, inside=True) as users:
                for turn in ("first", "again"):
                    begin = time.time()
                    _take(scene, shape, turn)
                    moments.append((f"taken over {turn}", begin, time.time()))
                    ran = scene.sh(f"ls {END}-* 2>/dev/null").split()
                    seen.must(not ran, f"{turn}: of the end of {shape.unit} came {ran}")
                    if turn == "first":
                        back = time.time()
                        said = scene.sh(f"headcount-rollback {shape.name} --to-former 2>&1; echo code $?")
                        seen.must("code 0" in said, f"it was not given back: {said}")
                        _serving(scene, shape, "old", "given back")
                        served = time.time()
                        moments.append(("given back", back, served))
                        enabled = scene.sh(f"systemctl is-enabled {shape.unit}").strip()
                        seen.must(enabled == "enabled", f"given back, {shape.unit} is {enabled}")
                        again = _links(scene, shape)
                        seen.must(again == links, f"given back, it has {again}, not {links}")
                        clashes = scene.engine.status(shape.name).get("clashes")
                        seen.must(clashes == [], f"given back, status has it in the way: {clashes}")
            bad = _engine.failures(users.rows)
            if shape.gap_back:
                _, bad = lost(users.rows, users.began, [back, served])
            seen.told.append(f"{len(users.rows)} users of {shape.way}, {len(bad)} not served")
            if not shape.gap:
                when = times(bad, users.began, moments)
                seen.must(not bad, f"{len(bad)} of {len(users.rows)} requests were not served: {when}")
                seen.told += [_log(scene, shape)] if bad else []
        finally:
            _undo(scene, shape)
        scene.clean()

    return work


PLACES = (
    ("_generation.takeover.Takeover.admit", "before", "old"),
    ("_generation.takeover.Takeover.settle", "before", "old"),
    ("_generation.takeover.retire", "before", "new"),
)
"""Where a takeover is killed, and who is to serve after heal."""


def killed(shape: Shape) -> Callable[[Scene], None]:
    """The process that takes over is killed at several places; heal goes back, or on, and nobody is lost."""

    def work(scene: Scene) -> None:
        with former(scene, shape), none_lost(scene, asked=shape.asked):
            for place in PLACES:
                _killed_at(scene, shape, *place)
            _read_anew(scene, shape, "new", "at the end")

    return work


def _killed_at(scene: Scene, shape: Shape, target: str, when: str, serves: str) -> None:
    seen = scene.seen
    declared = _engine.shop(NAME, listen=shape.listen, former=shape.unit, environment={"SHOP_RELEASE": "new"})
    strike = {"target": target, "when": when, "then": {"kill": True}}
    steps = ("stage", scene.engine.request(declared)), "finish", "promote"
    done = scene.engine.steps(NAME, *steps, at=strike, gone=_gone(scene))
    seen.must(done[-1].get("killed"), f"{target}: it was not killed: {done[-1]}")
    done = scene.engine.steps(NAME, "heal", gone=_gone(scene))
    seen.must("failed" not in done[-1], f"{target}: it was not healed: {done[-1]}")
    _serving(scene, shape, serves, f"after {target}")
    state = scene.sh(f"systemctl is-active {shape.unit}; systemctl is-enabled {shape.unit}").split()
    wanted = ["active", "enabled"] if serves == "old" else ["inactive", "disabled"]
    seen.must(state == wanted, f"after {target} {shape.unit} is {' and '.join(state)}")


DATA = "/srv/old-till"


def keeps_data(scene: Scene) -> None:
    """The old service writes to a folder that lets the app in, and to a database in it that does not: refused with the
    commands that let both in to both's; then either reads and writes what the other wrote, here and back and again."""
    shape, seen = SHAPES["tcp"][1], scene.seen
    app = f"headcount run {NAME} -- python -c"
    old = "runuser -u till-old -- sh -c"
    try:
        _make(scene, shape)
        scene.engine.sh(
            "command -v setfacl || { apt-get update -q && apt-get install -y --no-install-recommends acl; } && "
            f"install -d -o till-old -m 0777 {DATA}; {old} 'umask 077; echo old > {DATA}/till.db'",
            check=True,
            timeout=300.0,
        )
        _serving(scene, shape, "old", "before")
        outside: dict[str, Any] = {"data": {"outside": [DATA]}}
        declared = _engine.shop(NAME, listen=shape.listen, former=shape.unit, **outside)
        done = scene.engine.steps(NAME, ("stage", scene.engine.request(declared)))
        said = str(done[-1].get("failed"))
        seen.must("(till.db)" in said and "address back" in said, f"it was not refused for its database: {said}")
        there = scene.sh(f"test -e /opt/headcount/{NAME} || echo nothing").strip()
        seen.must(there == "nothing", "something was laid down")
        for command in re.findall(r"`((?:useradd|setfacl) [^`]+)`", said):
            scene.engine.sh(command, check=True)
        with scene.engine.users(["127.0.0.1", PORT], ARMS, inside=True) as users:
            for turn, before in (("first", "old"), ("again", "first")):
                _take(scene, shape, turn, **outside)
                there = scene.sh(
                    f'{app} \'open("{DATA}/till.db", "a").write("{turn}\\n"); '
                    f'open("{DATA}/{turn}.txt", "w").write("{turn}")\'; cat {DATA}/till.db'
                )
                seen.must(turn in there.split(), f"{turn}: the app did not write to the database: {there}")
                if turn == "again":
                    text = scene.sh(f"{app} 'print(open(\"{DATA}/later.txt\").read())'")
                    seen.must("later" in text, f"the app does not read what the old service wrote meanwhile: {text}")
                    break
                give_back(scene, shape, before)
                text = scene.sh(f"{old} 'echo back >> {DATA}/till.db; cat {DATA}/*; echo later > {DATA}/later.txt'")
                seen.must("first" in text.split("\n")[0], f"the old service does not read what the app wrote: {text}")
                seen.must("back" in text.split(), f"the old service does not write to its database: {text}")
        bad = _engine.failures(users.rows)
        seen.must(not bad, f"{len(bad)} of {len(users.rows)} requests were not served: {bad[:3]}")
    finally:
        _undo(scene, shape)
        scene.sh(f"rm -rf {DATA}")
    scene.clean()


def runs_more(scene: Scene) -> None:
    """Beside the Gunicorn supervisord runs another program: refused by its name, and both run on."""
    shape, seen = SHAPES["supervisor"][1], scene.seen
    more = "printf '[program:queue]\\ncommand=/bin/sleep 1000\\n' > /etc/supervisor/conf.d/queue.conf"
    shape = replace(shape, before=shape.before.replace(SUPERVISED, f"{more} && {SUPERVISED}"))
    with former(scene, shape):
        scene.awaited("the other program", lambda: scene.sh("pgrep -x sleep").strip())
        _serving(scene, shape, "old", "beside the other program")  # its supervisor may have begun both anew
        declared = _engine.shop(NAME, listen=shape.listen, former=shape.unit)
        done = scene.engine.steps(NAME, ("stage", scene.engine.request(declared)), "finish", "promote")
        said = str(done[-1].get("failed"))
        seen.must(re.search(r"supervisor.service runs sleep \(\d+\) beside it", said), f"it was not refused: {said}")
        seen.told.append(said[:200])
        _serving(scene, shape, "old", "refused")
        seen.must(scene.sh("pgrep -x sleep").strip(), "the other program was stopped")


_CONF = f"{ETC}/gunicorn.service.d/further.conf"
_START = f'#!/bin/sh\\nsleep 1000 &\\nexec {OLD}/venv/bin/python -m gunicorn --workers 2 "shop.wsgi:create_app()"\\n'
FURTHER: dict[str, tuple[str, str, str]] = {
    "a second address": (
        "tcp",
        f"[Service]\\nExecStart=\\nExecStart={OLD}/venv/bin/python -m gunicorn --workers 2 --bind 0.0.0.0:{PORT} "
        '--bind unix:/tmp/till-old.sock "shop.wsgi:create_app()"\\n',
        "listens on unix:/tmp/till-old.sock too",
    ),
    "another unit's stop": ("tcp", "[Unit]\\nPropagatesStopTo=till-more.service\\n", "(PropagatesStopTo= of"),
    "a target's own file": ("tcp", "", f"{ETC}/till-more.target has till-more.target start gunicorn.service"),
    "a private database": (
        "tcp",
        '[Service]\\nPrivateTmp=yes\\nExecStartPre=/bin/sh -c "echo kept > /tmp/till.db"\\n',
        "keeps a database in /tmp/till.db",
    ),
    "a program with the socket": (
        "socket",
        f"[Service]\\nExecStart=\\nExecStart=/bin/sh {OLD}/start.sh\\n",
        "runs sleep (",
    ),
}
"""What taking an old deployment over would reach: {what it is: (its shape, the drop-in that makes it so, words of the
refusal)}."""


def reaches_further(scene: Scene) -> None:
    """More than the one server on the one address would end with the old service: refused, and all of it runs on."""
    seen = scene.seen
    more = (
        f"printf '[Service]\\nExecStart=/bin/sleep infinity\\n' > {ETC}/till-more.service; "
        f"printf '[Unit]\\nWants=gunicorn.service\\n' > {ETC}/till-more.target; printf '{_START}' > {OLD}/start.sh"
    )
    shape = SHAPES["tcp"][1]
    try:
        for what, (name, conf, words) in FURTHER.items():
            shape = SHAPES[name][1]
            _make(scene, replace(shape, before=more))
            scene.engine.sh(
                f"mkdir -p {os.path.dirname(_CONF)}; printf '{conf}' > {_CONF}; systemctl daemon-reload; "
                f"systemctl start till-more.{'target' if 'target' in what else 'service'}; "
                "systemctl restart gunicorn.service",
                check=True,
            )
            _serving(scene, shape, "old", f"{what}: before")
            declared = _engine.shop(NAME, listen=shape.listen, former=shape.unit)
            done = scene.engine.steps(NAME, ("stage", scene.engine.request(declared)))
            said = str(done[-1].get("failed"))
            seen.must(words in said, f"{what} was not refused: {said}")
            there = scene.sh(f"test -e {HOME.rpartition('/')[0]}/{NAME} || echo nothing").strip()
            seen.must(there == "nothing", f"{what}: something was laid down")
            _serving(scene, shape, "old", f"{what}: refused")
            scene.sh(f"rm -rf {os.path.dirname(_CONF)}; systemctl stop till-more.target till-more.service")
            _undo(scene, shape)
    finally:
        _undo(scene, shape)
        scene.sh(f"rm -rf {os.path.dirname(_CONF)} {ETC}/till-more.*; systemctl daemon-reload")
    scene.clean()


def narrow(scene: Scene) -> None:
    """The old service's unix socket lets in a group alone: one for everybody is refused, and that group is kept."""
    unit = service(
        f"--bind unix:{RUN}/gunicorn.sock --umask 7", "Group=www-data\nRuntimeDirectory=till-old\n", workers=2
    )
    shape = replace(SHAPES["unix"][1], texts={"gunicorn.service": unit})
    seen, path = scene.seen, f"{RUN}/gunicorn.sock"
    connect = f"curl -s -o /dev/null -w '%{{http_code}}' -m 5 --unix-socket {path} http://localhost/version"
    try:
        _make(scene, shape)
        _serving(scene, shape, "old", "before")
        with scene.engine.users(path, ARMS, inside=True) as users:
            declared = _engine.shop(NAME, listen=shape.listen, former=shape.unit)
            done = scene.engine.steps(NAME, ("stage", scene.engine.request(declared)), "finish", "promote")
            said = str(done[-1].get("failed"))
            seen.must("`listen_group: www-data`" in said, f"a socket for everybody was not refused: {said}")
            _serving(scene, shape, "old", "refused")
            _take(scene, shape, "first", listen_group="www-data")
            has = scene.sh(f"stat -c '%U:%G %a' {path}").strip()
            seen.must(has == "root:www-data 660", f"the socket is {has}")
            codes = [scene.sh(f"runuser -u {user} -- {connect}").strip() for user in ("www-data", "nobody")]
            seen.must(codes == ["200", "000"], f"www-data and nobody got {codes}")
        bad = _engine.failures(users.rows)
        seen.must(not bad, f"{len(bad)} of {len(users.rows)} requests were not served: {bad[:3]}")
    finally:
        _undo(scene, shape)
    scene.clean()


def _gone(scene: Scene) -> list[str]:
    """The run that was killed."""
    found = re.search(r'"id": "([\w-]+)"', scene.sh(f"cat /var/lib/headcount/{NAME}/lease.json 2>/dev/null"))
    return [found[1]] if found else []


def _take(scene: Scene, shape: Shape, turn: str, **more: Any) -> None:
    """One rollout that takes the address over; `more`: of the app's declaration."""
    seen = scene.seen
    release = f"{scene.host}-{turn}"
    declared = _engine.shop(
        shape.name,
        listen=shape.listen,
        former=shape.unit,
        environment={"SHOP_RELEASE": release},
        concurrency=10,
        **more,
    )
    request = scene.engine.request(declared)
    done = scene.engine.steps(shape.name, ("stage", request), "finish", "promote")
    seen.must("failed" not in done[-1], f"{turn}: it was not taken over: {done[-1].get('failed')}")
    told = [line for line in done[-1].get("told", []) if "took " in line]
    seen.must(told, f"{turn}: nothing was told: {done[-1]}")
    seen.told += told if turn == "first" else []
    gap = f"{'with' if shape.gap else 'without'} a gap"
    seen.must(("nobody answered" in str(told)) is shape.gap, f"{turn}: it was to be {gap}: {told}")
    _serving(scene, shape, release, turn)
    state = scene.sh(f"systemctl is-active {shape.unit}; systemctl is-enabled {shape.unit}").split()
    seen.must(state == ["inactive", "disabled"], f"{turn}: {shape.unit} is {' and '.join(state)}")
    status = scene.engine.status(shape.name)
    seen.must(status.get("healthy"), f"{turn}: it is not healthy: {status.get('health_detail')}")
    seen.must(status.get("intact"), f"{turn}: it is not intact: {status.get('problems')}")
    seen.must(not status.get("leftovers"), f"{turn}: there is left: {status.get('leftovers')}")
    if shape.listen.startswith("unix:"):
        _read_anew(scene, shape, release, turn)


def _second_names(scene: Scene, shape: Shape) -> str:
    """What is left of the names that a unix socket had during a takeover."""
    return scene.sh(f"ls {shape.listen.partition(':')[2]}.headcount* 2>/dev/null")


def _read_anew(scene: Scene, shape: Shape, release: str, when: str) -> None:
    """systemd reads its units anew and is begun anew: it has the socket still, and `release` serves."""
    scene.seen.must(not (left := _second_names(scene, shape)), f"{when}: there is left: {left}")
    scene.engine.sh("systemctl daemon-reload; systemctl daemon-reexec; systemctl daemon-reload", check=True)
    _serving(scene, shape, release, f"{when}, systemd was begun anew:")
    status = scene.engine.status(shape.name)
    scene.seen.must(status.get("healthy"), f"{when}, systemd was begun anew: {status.get('health_detail')}")


TAKEOVERS = [
    Row(
        f"past/takeover-{name}",
        words,
        "taken over, given back and taken over again; users lose "
        + ("what they ask in the gap that is told" if shape.gap else "nothing"),
        taken_over(shape),
    )
    for name, (words, shape) in SHAPES.items()
]
TAKEOVERS.append(
    Row(
        "past/takeover-killed",
        "what takes a port over is killed: before users came to the new server, before it was verified, and after",
        "healed: back, back, and on; users lose nothing",
        killed(SHAPES["tcp"][1]),
    )
)
TAKEOVERS.append(
    Row(
        "past/takeover-unix-killed",
        "what takes a unix socket over is killed at the same places; then systemd is begun anew",
        "healed: back, back, and on; the socket stays open under the name that users know; users lose nothing",
        killed(SHAPES["unix"][1]),
    )
)
TAKEOVERS += [
    Row(
        "past/takeover-further",
        "a supervisord runs another program beside the Gunicorn that is to be taken over",
        "refused with the name of the other program, which is not stopped",
        runs_more,
    ),
    Row(
        "past/takeover-reaches",
        "old services with a second address, a stop that another unit's is, a target that starts them, a database in a "
        "private /tmp, a program that has inherited the socket",
        "refused, each with what is there, before anything is laid down; all of them serve on",
        reaches_further,
    ),
    Row(
        "past/takeover-data",
        "the old service keeps a database in a folder that the app is let in to, and to the database not",
        "refused with the commands that let both in; then both read and write what the other wrote, users lose nothing",
        keeps_data,
    ),
    Row(
        "past/takeover-narrow",
        "the old service's unix socket lets in one group, and the app's is to let in everybody",
        "refused with the group to declare; with it, that group connects and nobody else; users lose nothing",
        narrow,
    ),
]

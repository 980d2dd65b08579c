# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What of somebody else's stands where an app is to come, in all its shapes: the app is refused, and theirs runs on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import _engine
from ._scene import Scene

NAME = "till"
PORT = 8301
OLD = "/opt/old-till"

SERVER = f"""\
import http.server, os, socket, sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"the old till, {{os.getpid()}}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", {PORT}), Handler, bind_and_activate=False)
if os.environ.get("LISTEN_FDS"):
    server.socket = socket.socket(fileno=3)
else:
    server.allow_reuse_address = True
    server.server_bind()
    server.server_activate()
server.serve_forever()
"""
SERVICE = f"[Unit]\nDescription=the old till\n[Service]\nExecStart=/usr/bin/python3 {OLD}/server.py\n"
SOCKET = f"[Socket]\nListenStream=127.0.0.1:{PORT}\n[Install]\nWantedBy=sockets.target\n"
ACTIVATED = f"[Unit]\nRequires=till.socket\n[Service]\nExecStart=/usr/bin/python3 {OLD}/server.py\n"
GENERATOR = "#!/bin/sh\nprintf '[Socket]\\nListenStream=/run/till.old\\n' > $1/till.socket\n"


@dataclass(frozen=True)
class Shape:
    """Something of somebody else's. `make`: shell that makes it, `serves`: the unit that answers, if one does.

    `told`: a pattern of what the refusal must name. `changes`: of the app's declaration. `undo`: shell. `tool`:
    whether it is in the place of the host's own tool, which cannot be asked meanwhile.
    """

    make: str
    told: str
    undo: str = "true"
    serves: str = ""
    app: str = NAME
    changes: tuple[tuple[str, Any], ...] = ()
    tool: bool = False


def file(path: str, text: str) -> str:
    """Shell that writes a file."""
    return f"mkdir -p $(dirname {path}); cat > {path} <<'END'\n{text}END\n"


def _run(*units: str) -> str:
    return f"systemctl daemon-reload; systemctl start {' '.join(units)}"


def _gone(units: str, files: str) -> str:
    return f"systemctl stop {units}; rm -rf {files}; systemctl daemon-reload; systemctl reset-failed"


ETC = "/etc/systemd/system"
COMMON = ("/usr/local/sbin/headcount", f"{ETC}/headcount-boot.service", "/etc/ansible/facts.d/headcount.fact")
"""What Headcount has once for all apps of a host."""
ASIDE = "/root/ours"
SHAPES: dict[str, tuple[str, Shape]] = {
    "socket-file": (
        "a running till.socket and till.service of an older deployment",
        Shape(
            file(f"{ETC}/till.socket", SOCKET)
            + file(f"{ETC}/till.service", ACTIVATED)
            + "systemctl daemon-reload; systemctl enable --now till.socket; systemctl start till.service",
            rf"{ETC}/till\.socket \(active\)",
            _gone("till.socket till.service", f"{ETC}/till.s* {ETC}/sockets.target.wants/till.socket"),
            "till.service",
        ),
    ),
    "instance-file": (
        "a running till@1.service that is a file",
        Shape(
            file(f"{ETC}/till@1.service", SERVICE) + _run("till@1"),
            rf"{ETC}/till@1\.service \(active\)",
            _gone("till@1", f"{ETC}/till@1.service"),
            "till@1.service",
        ),
    ),
    "template": (
        "a template till@.service with a running instance",
        Shape(
            file(f"{ETC}/till@.service", SERVICE) + _run("till@blue"),
            rf"{ETC}/till@\.service \(a template, till@blue\.service runs\)",
            _gone("till@blue", f"{ETC}/till@.service"),
            "till@blue.service",
        ),
    ),
    "linked": (
        "units that somebody linked from a folder of theirs",
        Shape(
            file(f"{OLD}/till.socket", SOCKET)
            + file(f"{OLD}/till.service", ACTIVATED)
            + f"systemctl link {OLD}/till.socket {OLD}/till.service; systemctl enable --now till.socket; "
            "systemctl start till.service",
            rf"{ETC}/till\.socket \(a link to {OLD}/till\.socket, active\)",
            _gone("till.socket till.service", f"{ETC}/till.s* {ETC}/sockets.target.wants/till.socket"),
            "till.service",
        ),
    ),
    "packaged": (
        "a package's till.socket in /usr/lib, running",
        Shape(
            file("/usr/lib/systemd/system/till.socket", SOCKET)
            + file("/usr/lib/systemd/system/till.service", ACTIVATED)
            + _run("till.socket", "till.service"),
            r"/usr/lib/systemd/system/till\.socket \(active\)",
            _gone("till.socket till.service", "/usr/lib/systemd/system/till.s*"),
            "till.service",
        ),
    ),
    "masked": (
        "till.socket is masked",
        Shape("systemctl mask till.socket", rf"{ETC}/till\.socket \(masked", "systemctl unmask till.socket"),
    ),
    "generated": (
        "a generator makes till.socket at each boot and reload",
        Shape(
            file(
                "/etc/systemd/system-generators/till",
                "#!/bin/sh\nprintf '[Socket]\\nListenStream=/run/till.old\\n' > $1/till.socket\n",
            )
            + "chmod 755 /etc/systemd/system-generators/till; "
            + _run("till.socket")
            + "; true",
            r"/run/systemd/generator/till\.socket \(made by a generator",
            _gone("till.socket", "/etc/systemd/system-generators/till"),
        ),
    ),
    "transient": (
        "till@3.service was started by systemd-run",
        Shape(
            f"systemd-run --quiet --unit=till@3.service /usr/bin/python3 {OLD}/server.py",
            r"/run/systemd/transient/till@3\.service \(made by systemd-run, active\)",
            "systemctl stop till@3.service",
            "till@3.service",
        ),
    ),
    "without-file": (
        "till@2.service runs, and its file is gone",
        Shape(
            file(f"{ETC}/till@2.service", SERVICE)
            + _run("till@2")
            + f"; rm {ETC}/till@2.service; systemctl daemon-reload",
            r"till@2\.service \(runs, and its file is gone\)",
            "systemctl stop till@2.service",
            "till@2.service",
        ),
    ),
    "drop-in": (
        "drop-ins for till.socket and till@.service, and nothing else",
        Shape(
            file(f"{ETC}/till.socket.d/old.conf", "[Socket]\nBacklog=1\n")
            + file(f"{ETC}/till@.service.d/old.conf", "[Service]\nNice=9\n"),
            rf"{ETC}/till\.socket\.d/old\.conf, {ETC}/till@\.service\.d/old\.conf",
            f"rm -r {ETC}/till*.d; systemctl daemon-reload",
        ),
    ),
    "drop-in-alike": (
        "a drop-in for all services whose names begin with till-, which systemd applies to the candidate alone",
        Shape(
            file(f"{ETC}/till-.service.d/alike.conf", "[Service]\nNice=9\n"),
            rf"would change the candidate of till, .* {ETC}/till-\.service\.d/alike\.conf",
            f"rm -r {ETC}/till-.service.d; systemctl daemon-reload",
        ),
    ),
    "session": (
        "the app is called `user`, and somebody's session manager runs",
        Shape(
            "useradd --create-home till-anna; systemctl start user@$(id -u till-anna).service",
            r"user@\.service \((of the package systemd, )?a template, .*user@[0-9]+\.service run",
            "systemctl stop user@$(id -u till-anna).service; userdel -r till-anna",
            "user@$(id -u till-anna).service",
            "user",
        ),
    ),
    "folders": (
        "/opt/headcount/till and /var/lib/headcount/till of another tool's",
        Shape(
            file("/opt/headcount/till/shared/data.db", "theirs\n")
            + "ln -s releases/9 /opt/headcount/till/current; "
            + file("/opt/headcount/till/releases/9/app.py", "theirs\n")
            + file("/var/lib/headcount/till/theirs.txt", "theirs\n"),
            r"/opt/headcount/till is not Headcount's \(it holds current, releases, shared\).*"
            r"/var/lib/headcount/till is not Headcount's \(it holds theirs\.txt\)",
            "rm -r /opt/headcount/till /var/lib/headcount/till",
        ),
    ),
    "data": (
        "/var/lib/hc-till of somebody else's",
        Shape(
            file("/var/lib/hc-till/theirs.db", "theirs\n"),
            r"/var/lib/hc-till, where the app's data belongs, is not Headcount's and belongs to root",
            "rm -r /var/lib/hc-till",
        ),
    ),
    "account": (
        "somebody logs in as hc-till",
        Shape(
            "useradd --create-home --shell /bin/bash hc-till; echo hc-till:secret-7 | chpasswd",
            r"the account hc-till is no one for an app: somebody can log in as it",
            "userdel -r hc-till",
        ),
    ),
    "account-with-sudo": (
        "the declared `user` may use sudo",
        Shape(
            "useradd --system till-op; echo 'till-op ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/till-op",
            r"the account till-op is no one for an app: sudo lets it",
            "rm /etc/sudoers.d/till-op; userdel till-op",
            changes=(("user", "till-op"),),
        ),
    ),
    "commands": (
        "an admin's own /usr/local/sbin/headcount, headcount-boot.service and headcount.fact",
        Shape(
            f"mkdir {ASIDE}; for path in {' '.join(COMMON)}; do test -e $path && mv $path {ASIDE}; done; "
            + "".join(file(path, "#!/bin/sh\n# theirs\n") + f"chmod 755 {path}\n" for path in COMMON),
            r"".join(rf"(?=.*{re.escape(path)} is not Headcount's)" for path in COMMON),
            f"for path in {' '.join(COMMON)}; do rm $path; ours={ASIDE}/${{path##*/}}; "
            f"test -e $ours && mv $ours $path; done; rmdir {ASIDE}; systemctl daemon-reload",
            tool=True,
        ),
    ),
    "address-is-a-file": (
        "`listen` is the path of a file",
        Shape(
            file("/etc/till.conf", "theirs\n"),
            r"/etc/till\.conf is a file of somebody else's and no socket",
            "rm /etc/till.conf",
            changes=(("listen", "unix:/etc/till.conf"),),
        ),
    ),
    "address-is-taken": (
        "somebody listens at the path that `listen` names",
        Shape(
            "systemd-run --quiet --unit=old-till --socket-property=ListenStream=/run/till.old /bin/sleep 999",
            r"unix:/run/till\.old is taken by another process",
            "systemctl stop old-till.socket",
            changes=(("listen", "unix:/run/till.old"),),
        ),
    ),
}
ADDRESSES = ("address-is-a-file", "address-is-taken")

_SEEN = f"""\
find {ETC} /run/systemd/generator /usr/lib/systemd/system {OLD} /opt/headcount /etc/till.conf \
    /etc/sudoers.d \\( -path /opt/headcount/shop -o -name __pycache__ \\) -prune \
    -o -printf '%p %y %m %u %s %l\\n' 2>/dev/null | sort
ls /run/systemd/transient | grep -v session
find {ETC} {COMMON[0]} {COMMON[2]} /usr/lib/systemd/system/till* {OLD} /etc/till.conf \
    /opt/headcount/till /var/lib/headcount/till /var/lib/hc-till \
    -type f ! -name '*.pyc' 2>/dev/null | sort | xargs sha256sum
ls -la --time-style=+ /var/lib/headcount /var/lib/headcount/till 2>/dev/null | grep -v -e ' shop$' -e ' wheels$'
cat /etc/passwd /etc/shadow /etc/group
"""


def seen(scene: Scene) -> str:
    """All that there is of somebody else's: files, links, accounts."""
    return scene.sh(_SEEN)


def answer(scene: Scene, shape: Shape) -> str:
    """Which process of theirs runs, and what it answers."""
    if not shape.serves:
        return ""
    main = f"systemctl show --property=MainPID,ActiveState,InvocationID {shape.serves}"
    return scene.sh(f"{main}; curl -s -m 5 http://127.0.0.1:{PORT}/")


def work(shape: Shape, play: Callable[[Scene, Mapping[str, Any]], str]) -> Callable[[Scene], None]:
    """The rollout is refused, before anything is touched; theirs runs on in the same process, byte by byte as it was.

    `play` runs site.yml for a declared app and returns what it said.
    """

    def check(scene: Scene) -> None:
        scene.sh(file(f"{OLD}/server.py", SERVER) + shape.make)
        try:
            scene.sh(f"for i in $(seq 50); do curl -s -m 1 http://127.0.0.1:{PORT}/ && break; sleep 0.1; done"
                     if shape.serves and shape.app == NAME else "true")  # fmt: skip
            refused(scene, shape, play)
        finally:
            scene.sh(f"{shape.undo}; rm -rf {OLD}; systemctl reset-failed")
        scene.clean()

    return check


def refused(scene: Scene, shape: Shape, play: Callable[[Scene, Mapping[str, Any]], str]) -> None:
    """By the plan, and by the host itself when it is told to stage."""
    before, answering = seen(scene), answer(scene, shape)
    if shape.serves and shape.app == NAME:
        scene.seen.must("the old till" in answering, f"theirs did not come up: {answering}")
    declared = {**_engine.shop(shape.app, listen="127.0.0.1:8300"), **dict(shape.changes)}
    said = " ".join(play(scene, declared).split())
    scene.seen.told.append(told(said, shape))
    _must_name(scene, shape, said, "the plan")
    scene.seen.must("nothing was changed" in said, f"the report does not say that nothing was changed: {said[-400:]}")
    if "listen" not in dict(shape.changes):
        done = scene.engine.steps(shape.app, ("stage", scene.engine.request(declared)))
        scene.seen.must(done[-1].get("phase") == "stage", f"stage was not refused: {done[-1]}")
        _must_name(scene, shape, str(done[-1].get("failed")), "stage")
    after = seen(scene)
    scene.seen.must(after == before, f"something was changed: {_difference(before, after)}")
    scene.seen.must(answer(scene, shape) == answering, f"theirs is not as it was: {answering} / {answer(scene, shape)}")
    if not shape.tool:
        scene.clean()


def told(said: str, shape: Shape) -> str:
    """The sentence of the refusal."""
    start = said.find(f"{shape.app}: ")
    return said[start : start + 300].partition(" TASK ")[0]


def _must_name(scene: Scene, shape: Shape, said: str, who: str) -> None:
    scene.seen.must(re.search(shape.told, said), f"{who} does not name it: {said[-600:]}")


def _difference(before: str, after: str) -> str:
    gone, come = set(before.splitlines()) - set(after.splitlines()), set(after.splitlines()) - set(before.splitlines())
    return f"gone {sorted(gone)[:5]}, come {sorted(come)[:5]}"

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""An old service that its app cannot stand in for as it is; and one that somebody starts beside the app."""

from __future__ import annotations

import time
from functools import partial

from .. import _engine
from .._scene import Scene
from .row import HOME, Row
from .takeovers import ETC, NAME, OLD, PORT, SHAPES, _gone, _take, former, give_back, none_lost

GUNICORN = f"{OLD}/venv/bin/python -m gunicorn --workers 2"
START = f'[Service]\\nExecStart=\\nExecStart={GUNICORN} --bind 0.0.0.0:{PORT} {{}} "shop.wsgi:create_app()"\\n'
PEM = "/etc/till-old.pem"
OTHER = "till-other.service"
ASK = f"curl -s -m 5 {{}}://127.0.0.1:{PORT}/version"
LISTENING = f"grep -c ':{PORT:04X} 00000000:0000 0A' /proc/net/tcp"
UNLIKE: dict[str, tuple[str, str, str]] = {
    "TLS": (
        f"--certfile {PEM} --keyfile {PEM}",
        f"{ASK.format('https')} -k",
        "gunicorn.service speaks TLS with its users (certfile, keyfile)",
    ),
    "the PROXY protocol": (
        "--proxy-protocol",
        f"{ASK.format('http')} --haproxy-protocol",
        "gunicorn.service speaks the PROXY protocol with its users (proxy_protocol)",
    ),
    "another one on its port": ("--reuse-port", ASK.format("http"), f"of {OTHER} "),
}
"""{what it is: (what its Gunicorn is started with, how its users ask, words of the refusal)}."""


def _serves(scene: Scene, ask: str) -> bool:
    return '"old"' in scene.sh(ask)


def unlike(scene: Scene) -> None:
    """The old service speaks something else with its users, or shares its port: refused, and all of it serves on."""
    seen, shape, conf = scene.seen, SHAPES["tcp"][1], f"{ETC}/gunicorn.service.d/unlike.conf"
    with former(scene, shape):
        scene.engine.sh(
            "command -v openssl || { apt-get update -q && apt-get install -y --no-install-recommends openssl; }; "
            f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=till -keyout {PEM} -out {PEM}.crt && "
            f"cat {PEM}.crt >> {PEM} && chown till-old {PEM}; mkdir -p {ETC}/gunicorn.service.d; "
            f"sed 's/--bind/--reuse-port --bind/' {ETC}/gunicorn.service > {ETC}/{OTHER}",
            check=True,
            timeout=300.0,
        )
        try:
            for what, (options, ask, words) in UNLIKE.items():
                beside = f"systemctl start {OTHER}" if "port" in options and "proxy" not in options else "true"
                scene.engine.sh(
                    f"printf '{START.format(options)}' > {conf}; systemctl daemon-reload; "
                    f"systemctl restart gunicorn.service; {beside}",
                    check=True,
                )
                scene.awaited(what, partial(_serves, scene, ask))
                if beside != "true":
                    scene.awaited(OTHER, lambda: scene.sh(LISTENING).strip() == "2")
                declared = _engine.shop(NAME, listen=shape.listen, former=shape.unit)
                done = scene.engine.steps(NAME, ("stage", scene.engine.request(declared)))
                said = str(done[-1].get("failed"))
                seen.must(words in said, f"{what} was not refused: {said}")
                seen.told.append(said[:200])
                there = scene.sh(f"test -e {HOME.rpartition('/')[0]}/{NAME} || echo nothing").strip()
                seen.must(there == "nothing", f"{what}: something was laid down")
                seen.must(_serves(scene, ask), f"{what}: refused, and it does not serve on")
        finally:
            scene.sh(
                f"systemctl stop {OTHER}; rm -rf {ETC}/{OTHER} {ETC}/gunicorn.service.d {PEM} {PEM}.crt; "
                "systemctl daemon-reload; systemctl restart gunicorn.service"
            )


def started_beside(scene: Scene) -> None:
    """A till.socket of the app's own name: status leaves it to its users while the app is staged, and says it where
    somebody starts the old service beside the app; that gets its address back in one call."""
    seen, shape = scene.seen, SHAPES["own-name"][1]
    moments: list[tuple[str, float, float]] = []
    with former(scene, shape), none_lost(scene, moments):
        declared = _engine.shop(NAME, listen=shape.listen, former=shape.unit)
        scene.engine.steps(NAME, ("stage", scene.engine.request(declared)))  # and whoever did it is killed
        said = scene.sh(f"headcount status {NAME}")
        seen.must("unfinished" in said and "in its way" not in said, f"staged, the status says {said}")
        scene.engine.steps(NAME, "heal", gone=_gone(scene))
        _take(scene, shape, "first")
        scene.engine.sh(f"systemctl start {shape.unit}", check=True)
        said = scene.sh(f"headcount status {NAME}")
        seen.must(f"{shape.unit}, whose address {NAME} has, runs beside it" in said, f"the status says {said}")
        begin = time.time()
        give_back(scene, shape, "it was started by hand")
        moments.append(("given back", begin, time.time()))
        seen.told.append(f"given back after {time.time() - begin:.0f} s")


UNLIKES = [
    Row(
        "past/takeover-unlike",
        "the old service speaks TLS or the PROXY protocol with its users, or another one listens on its port too "
        "(`--reuse-port`)",
        "refused, each with the setting or the other service, before anything is laid down; all of them serve on",
        unlike,
    ),
    Row(
        "past/takeover-beside",
        "a till.socket of the app's own name: the rollout ends after its stage; later the old service, which was taken "
        "over, is started by hand and then to have its address back",
        "status names nothing of it as in the way, and then that it runs; given back by one call; users lose nothing",
        started_beside,
    ),
]

# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether the proxy in front reaches the unix socket that an app listens on."""

from __future__ import annotations

import os

from .._declaration.app import Plain
from .._os.asuser import Account, anybody, members, shut_out
from .._os.http import Ask, own_headers
from .failures import StepFailed
from .unmet import no_group

NO_FILE = ".headcount-is-this-folder-passed"


def _socket(app: Plain) -> str:
    """The path of the public socket; empty where the app listens on a port."""
    listen = str(app.get("listen") or "")
    return listen[len("unix:") :] if listen.startswith("unix:") else ""


def _accounts(app: Plain) -> list[Account]:
    """Who is to reach it: the members of the declared group, else anybody."""
    return members(str(app["listen_group"])) if app.get("listen_group") else [anybody()]


def fail_if_no_way(app: Plain) -> None:
    """StepFailed where the declared group is not on this host, or its members cannot come to where the socket is."""
    path, group = _socket(app), app.get("listen_group")
    if not path or not group:
        return
    missing = no_group(app)
    if missing:
        raise StepFailed("stage", missing)
    why = shut_out(os.path.join(os.path.dirname(path), NO_FILE), _accounts(app), "")
    if why:
        raise StepFailed("stage", why.replace(f"/{NO_FILE}", "") + ": let it pass there, or listen in another folder")


def public_socket_refuses(app: Plain) -> str:
    """Why an account without any right of its own does not reach the public socket, in a sentence; empty where it does.

    With a `listen_group` its members are asked in its place, and StepFailed tells where none of them does.
    """
    path, group = _socket(app), app.get("listen_group")
    if not path or app.get("listen_mode") == "0600":
        return ""
    health = Ask.of_health(app["health"])
    headers = "".join(f"{name}: {value}\r\n" for name, value in own_headers(health.headers).items())
    why = shut_out(path, _accounts(app), f"GET {health.path} HTTP/1.1\r\n{headers}\r\n")
    if why and group:
        raise StepFailed("verify", f"the proxy in front does not reach the app: {why}")
    return f"{why}; where the proxy runs as such, let it pass there, or say its group with listen_group" if why else ""

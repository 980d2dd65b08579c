# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What users send with a request: the Host, and what a proxy in front adds. Headcount's own requests are made alike.

The declared headers of the health check and of each path of the load are completed once, when an app is normalised, so
that everybody who asks (start, weigh, trial, verification, status, a load host) sends the same.
"""

from __future__ import annotations

import re
from typing import Final

from .app import App
from .fields import ABSENT, Context, Field, Invalid, Parsed, Part, inline
from .origin import is_tcp, reachable

CLIENT: Final = "192.0.2.1"
"""The client that a proxy tells of in Headcount's own requests: an address of documentation (RFC 5737)."""

_HOST: Final = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def _host(text: str) -> str:
    bare = re.sub(r"^[a-z]+://", "", text.strip()).partition("/")[0]
    if not _HOST.fullmatch(text):
        raise Invalid("not the name of a host", bare if _HOST.fullmatch(bare) else None)
    return text


HOST: Final = Field(
    "host",
    "str",
    "The name that users ask for. Every request of Headcount's own (health, weigh, trial, verification, status) carries"
    " it as its Host, unless its own `headers` say another one: for apps that answer no other (ALLOWED_HOSTS,"
    " TRUSTED_HOSTS, SERVER_NAME).",
    ABSENT,
    "shop.example.com",
    default_help="localhost",
    allowed="a name or an address, with :port where users send one",
    check=_host,
)
SCHEME: Final = Field(
    "scheme",
    "str",
    "With a proxy in front: how users reach that. Headcount's own requests then carry the X-Forwarded-Proto and the"
    " X-Forwarded-For that a proxy adds; without them an app that insists on https only ever redirects.",
    ABSENT,
    "https",
    default_help="neither header is sent",
    choices=("http", "https"),
)


def complete(app: Parsed) -> None:
    """Give the health check and the paths of the load what users send beside what is declared for them."""
    sent = sent_by_users(app)
    if not sent:
        return
    health = app["health"]
    health["headers"] = completed(health.get("headers") or {}, sent)
    for path in app["load"]["paths"]:
        if path:
            path["headers"] = completed(path["headers"] or {}, sent)


def sent_by_users(app: Parsed) -> dict[str, str]:
    """The headers that every request of a user has, by what is declared of the app as a whole."""
    sent = {"Host": app["host"]} if app.get("host") else {}
    if app.get("scheme"):
        sent.update({"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": app["scheme"]})
    return sent


def completed(declared: dict[str, str], sent: dict[str, str]) -> dict[str, str]:
    """The declared headers of a request, and those of `sent` that it does not declare (in any case of letters)."""
    names = {name.lower() for name in declared}
    return {**{name: value for name, value in sent.items() if name.lower() not in names}, **declared}


def check_prefix(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """Below a SCRIPT_NAME Gunicorn answers paths that do not begin with it with 500, whatever the app has for them."""
    own = dict(value.split("=", 1) for value in (app.get("gunicorn") or {}).get("raw_env") or [])
    said = "gunicorn.raw_env" if "SCRIPT_NAME" in own else "environment"
    prefix = (own.get("SCRIPT_NAME") or app["environment"].get("SCRIPT_NAME") or "").rstrip("/")
    if not prefix:
        return
    asked: list[tuple[tuple[Part, ...], str]] = [(("health", "path"), app["health"]["path"])]
    asked += [(("load", "paths", index, "path"), path["path"]) for index, path in enumerate(app["load"]["paths"])]
    for place, path in asked:
        bare = path.partition("?")[0]
        if bare != prefix and not bare.startswith(f"{prefix}/"):
            under = f"{said}.SCRIPT_NAME is {prefix!r}, and Gunicorn answers 500 to what is not below it"
            what = f"is {path!r}, but {under}"
            context.add((*parts, *place), what, "a path as users ask for it", f"path: {inline(prefix + path)}")


def unbelieved(app: App) -> str:
    """Why the scheme that a proxy tells may not reach the app, in a sentence; empty where it does."""
    if app.scheme != "https" or not is_tcp(app.listen) or "forwarded_allow_ips" in (app.gunicorn or {}):
        return ""
    if not reachable(app.listen):
        return ""  # the proxy is on the host itself
    return (
        f"scheme is https, and Gunicorn believes a proxy that says so from 127.0.0.1 alone: if the proxy that reaches "
        f"{app.listen} is on another machine, name its address in gunicorn.forwarded_allow_ips"
    )

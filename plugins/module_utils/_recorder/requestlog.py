# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What tells of each request of an instance in the journal, from within: hooks of Gunicorn.

A copy of this file lies beside gunicorn.conf.py in every generation that logs its requests, which loads it; so it needs
nothing but the standard library, and nothing of this package.

A line goes to the journal as a datagram of its native protocol that nobody waits for: a journal that hangs or is full
costs the line and not the request, and the next line of the worker says how many are missing. It has the identifier
APP-access, which keeps it apart from what the app says, and the priority of debug, which keeps it out of what is looked
through for causes. Requests of Headcount itself (to a candidate; through the private socket of a live instance, as
loads and looks come; by its own name from the same host) have APP-trial-access, so that who counts users counts nobody
else. Of the request it has the path without the query, and no header but those named here: queries and other headers
hold what nobody should read in a log. No error in here fails a request or a boot.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import sys
import time
from typing import Any, Callable, NamedTuple, Optional, Sequence
from urllib.parse import urlsplit

JOURNAL = "/run/systemd/journal/socket"
PRIVATE = "/run/headcount/"
"""Here lie the sockets that Headcount alone reaches."""
AGENT, CLIENT = "headcount", "192.0.2.1"
"""What Headcount calls itself where it asks as users do, and the client that it tells of as a proxy would."""
ID_HEADER = "X-REQUEST-ID"
"""As Gunicorn has the names of headers."""

MOST_ID, MOST_METHOD, MOST_PATH, MOST_TEXT = 64, 32, 1024, 256
"""Characters that are kept of an id, a method, a path, and of a client, an agent or a referrer."""

_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9._:+/=@-]+")
_UNPRINTABLE = re.compile(r"[^ -~]")
_DEBUG = 7

How = Callable[[Any, Optional[BaseException], Any], int]
"""Which of the recorder's outcomes a request came to, by its place: 1xx to 5xx, cut, broken."""

CUT, BROKEN = 5, 6
ENDS = {CUT: "cut", BROKEN: "broken"}
"""How a request ended without a whole answer: its client went away; the answer broke off, or there was none."""


class Request(NamedTuple):
    """What is told of a request. `at`: seconds since the epoch; `status` None: no answer was begun; `size`: bytes of
    the body that were sent; `ended`: "" for a whole answer, else one of ENDS; `missing`: lines of this worker before
    this one that the journal did not take."""

    at: float
    id: str
    client: str
    method: str
    path: str
    protocol: str
    status: int | None
    size: int
    ms: float
    worker: int
    generation: int
    agent: str
    referrer: str
    ended: str
    missing: int


class Hooks(NamedTuple):
    """What gunicorn.conf.py hands to Gunicorn."""

    pre_request: Callable[[Any, Any], None]
    post_request: Callable[[Any, Any, Any, Any], None]


Before = Sequence[Optional[Callable[..., None]]]
"""The pre_request and the post_request that were there before, which are called first."""


def start(app: str, form: str, generation: int, how: How, before: Before = (None, None)) -> Hooks:
    """Hooks that tell of each request of `app` in the `form` combined or json."""
    candidate = os.environ.get("HEADCOUNT_ROLE") in ("weigh", "trial")
    tell = _Teller(app, {"combined": combined, "json": as_json}[form])
    first, last = before
    begun: dict[int, tuple[float, str, int]] = {}

    def pre_request(worker: Any, req: Any) -> None:
        if first is not None:
            first(worker, req)
        try:
            begun[id(req)] = time.time(), identify(req), time.monotonic_ns()
        except Exception as error:
            tell.trouble(worker.log, error)

    def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:
        if last is not None:
            last(worker, req, environ, resp)
        try:
            at, told_as, since = begun.pop(id(req))
            ms = (time.monotonic_ns() - since) / 1e6
            outcome = how(resp, sys.exc_info()[1], environ)
            told = request_of(req, environ, resp, outcome, worker.cfg.forwarded_allow_ips, (at, told_as), ms)
            tell(told._replace(generation=generation), candidate or is_own(environ))
        except Exception as error:
            tell.trouble(worker.log, error)

    return Hooks(pre_request, post_request)


def is_own(environ: Any) -> bool:
    """Whether Headcount itself has asked: through a private socket, or as users do, by its own name from this host and
    with no proxy between. Somebody else who takes its name does not come from here."""
    told_of = environ.get("HTTP_X_FORWARDED_FOR")
    named = told_of == CLIENT or (told_of is None and environ.get("HTTP_USER_AGENT") == AGENT)
    try:
        # Not REMOTE_ADDR: what stands between may have made an address of a unix socket's peer, which has none.
        unix = environ["gunicorn.socket"].family == socket.AF_UNIX
        at = environ["gunicorn.socket"].getsockname() if unix or named else ""
    except (OSError, KeyError, AttributeError):
        return False
    return named or str(at).startswith(PRIVATE) if unix else named and environ.get("REMOTE_ADDR") == at[0]


def identify(req: Any) -> str:
    """The id of a request: the one that its header brought, cleaned and cut, else a new one. The app gets it in that
    header either way."""
    given = [value for name, value in req.headers if name.upper() == ID_HEADER]
    told_as = clean_id(given[0]) if given else ""
    told_as = told_as or os.urandom(16).hex()
    if given != [told_as]:
        req.headers = [item for item in req.headers if item[0].upper() != ID_HEADER] + [(ID_HEADER, told_as)]
    return told_as


def clean_id(text: str) -> str:
    """What may stand in a log of an id that somebody sent; "" where nothing is left."""
    return _NOT_OF_AN_ID.sub("", text[: 4 * MOST_ID])[:MOST_ID]


def request_of(
    req: Any, environ: Any, resp: Any, outcome: int, trusted: Sequence[str], begun: tuple[float, str], ms: float
) -> Request:
    """What is told of a request that has ended. `begun`: when, in seconds since the epoch, and its id."""
    return Request(
        at=begun[0],
        id=begun[1],
        client=plain(client(environ, trusted), MOST_TEXT),
        method=plain(req.method, MOST_METHOD),
        path=plain(req.path, MOST_PATH),
        protocol=f"HTTP/{req.version[0]}.{req.version[1]}",
        status=status_of(resp, outcome),
        size=int(getattr(resp, "sent", 0) or 0),
        ms=round(ms, 2),
        worker=os.getpid(),
        generation=0,
        agent=plain(environ.get("HTTP_USER_AGENT"), MOST_TEXT),
        referrer=plain(without_query(environ.get("HTTP_REFERER") or ""), MOST_TEXT),
        ended=ENDS.get(outcome, ""),
        missing=0,
    )


def status_of(resp: Any, outcome: int) -> int | None:
    """The status that the client was sent; None where none was."""
    known = getattr(resp, "status_code", None)
    if outcome in ENDS:
        return known if getattr(resp, "headers_sent", False) else None
    if known is None and not outcome:
        return 101  # A WebSocket, which its library answered on the connection itself.
    # What failed before the app had answered, Gunicorn answers by itself.
    return known if known is not None and known // 100 == outcome + 1 else 100 * (outcome + 1)


def client(environ: Any, trusted: Sequence[str]) -> str:
    """Who asked: the peer's address; where the peer is a proxy that is trusted, the last address that it says."""
    peer = environ.get("REMOTE_ADDR") or ""
    said: str = (environ.get("HTTP_X_FORWARDED_FOR") or "").rpartition(",")[2].strip()
    return said if said and (not peer or is_trusted(peer, trusted)) else peer


def is_trusted(peer: str, trusted: Sequence[str]) -> bool:
    """Whether Gunicorn believes a peer what it says of others (forwarded_allow_ips)."""
    if "*" in trusted or peer in trusted:
        return True
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(peer)
        return any(address in ipaddress.ip_network(str(one), strict=False) for one in trusted)
    return False


def without_query(url: str) -> str:
    """A referrer without query, fragment, user and password; "" where it is no URL."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else parts.path
    except ValueError:
        return ""


def plain(text: Any, most: int) -> str:
    """A text on one line, in ASCII that can be printed, cut to a length."""
    return _UNPRINTABLE.sub("?", str(text or "")[:most])


def as_json(told: Request) -> str:
    """A request as one object: every key in every line, but `ended` and `missing` only where they say something."""
    told_last = {key: value for key, value in (("ended", told.ended), ("missing", told.missing)) if value}
    seconds, part = divmod(int(told.at * 1000), 1000)
    line = {
        "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{part:03d}Z",
        "id": told.id,
        "client": told.client,
        "method": told.method,
        "path": told.path,
        "status": told.status,
        "bytes": told.size,
        "ms": told.ms,
        "worker": told.worker,
        "generation": told.generation,
        "agent": told.agent,
        "referrer": told.referrer,
        **told_last,
    }
    return json.dumps(line, separators=(",", ":"))


def combined(told: Request) -> str:
    """A request in the combined format of web servers (the time in UTC), and what that has no place for behind it."""
    line = (
        f"{_word(told.client)} - - [{time.strftime('%d/%b/%Y:%H:%M:%S +0000', time.gmtime(told.at))}]"
        f' "{_quoted(told.method)} {_quoted(told.path)} {told.protocol}" {told.status or "-"} {told.size}'
        f' "{_quoted(told.referrer) or "-"}" "{_quoted(told.agent) or "-"}"'
        f" id={told.id} ms={told.ms} worker={told.worker} generation={told.generation}"
    )
    line += f" ended={told.ended}" if told.ended else ""
    return line + (f" missing={told.missing}" if told.missing else "")


def _word(text: str) -> str:
    return text.replace(" ", "?").replace('"', "?") or "-"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class _Teller:
    """Writes lines to the journal, and never waits for it."""

    def __init__(self, app: str, form: Callable[[Request], str]) -> None:
        self.heads = [f"PRIORITY={_DEBUG}\nSYSLOG_IDENTIFIER={app}{whose}-access\n" for whose in ("", "-trial")]
        self.form = form
        self.to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.to.setblocking(False)
        self.missing: dict[int, int] = {}
        self.troubled = False

    def __call__(self, told: Request, own: bool) -> None:
        """Write of one request, of a user or Headcount's `own`. Fields beside the line let `journalctl` find it by its
        id and by its status."""
        missing = self.missing.pop(told.worker, 0)
        line = self.form(told._replace(missing=missing))
        fields = f"REQUEST_ID={told.id}\nREQUEST_STATUS={told.status or told.ended}\nGENERATION={told.generation}\n"
        try:
            self.to.sendto(f"MESSAGE={line}\n{self.heads[own]}{fields}".encode("ascii", "replace"), JOURNAL)
        except OSError:
            self.missing[told.worker] = missing + 1

    def trouble(self, log: Any, error: Exception) -> None:
        """The first error of its own is logged."""
        if not self.troubled:
            self.troubled = True
            with contextlib.suppress(Exception):
                log.warning("Headcount's request log: %r", error)

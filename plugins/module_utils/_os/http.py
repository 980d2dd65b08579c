# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""One HTTP request to an address of this host, over TCP or a unix socket, and what it says of an app's health.

A request is bounded as a whole: in time from connect to the last byte, and in bytes. A server that sends two bytes now
and then for ever, or gigabytes at once, takes neither more of this process' time nor of its memory than that.
"""

from __future__ import annotations

import contextlib
import html
import http.client
import io
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .secrecy import clean_text

BLOCK_BYTES = 64 * 1024
KEPT_BYTES = 1 << 20
"""So much of a body is kept where somebody looks into it (`health.contains`); the rest is read and thrown away."""

TOLD_BYTES = 4096
"""So much of a body is kept elsewhere, to say how an answer begins that does not mean well."""

MOST_BYTES = 256 << 20
"""What a whole answer may have, head and body, as it comes over the wire: nothing is ever decompressed."""

MOST_INTERIM = 20
"""So many interim answers (1xx) may go before the answer."""

MANY_PIECES = 3
"""An answer that came in fewer pieces was late, however long it took: nothing shows that more would always come."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, or why there was none that could be used (`status` 0, `error`).

    `elapsed_ms` is wall time from connect to the last byte, `received` the bytes that came, head and body. `cut` says
    what an answer did that had begun, but did not end as it should ("still sends after 10 s ..."); `endless`: it went
    on until a bound was reached (never_ends()); `timed_out`: it was not whole in time for any other reason. `location`
    is where a redirect leads to, at most 200 characters, `kind` its Content-Type, `encoding` its Content-Encoding,
    `caching` its Cache-Control; `header_bytes`: of all its headers.
    """

    status: int
    body: bytes
    elapsed_ms: float
    error: str = ""
    received: int = 0
    cut: str = ""
    endless: bool = False
    timed_out: bool = False
    location: str = ""
    kind: str = ""
    encoding: str = ""
    caching: str = ""
    header_bytes: int = 0

    def words(self) -> str:
        """What kind of answer came and how it begins, for people: 'text/html "Internal Server Error"'; empty where it
        says nothing. Secrets are masked."""
        kind = self.kind.partition(";")[0].strip().lower()
        begin = first_words(self.body, kind)
        return " ".join(part for part in (kind, f'"{begin}"' if begin else "") if part)

    def failure(self, method: str, path: str) -> str:
        """What went wrong, as a sentence that names the request; empty when there is a whole answer."""
        if self.cut:
            return f"{method} {path} {self.cut}"
        return "" if self.status else f"{method} {path} got no answer: {self.error}"


@dataclass(frozen=True)
class Ask:
    """What is asked: one request. `headers` go before those that Headcount sends by itself.

    `status`: the answers that mean well; without any, every 2xx does. `contains`: what those must hold.
    """

    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    status: tuple[int, ...] = ()
    contains: str = ""

    def within(self, seconds: float) -> Bounds:
        """What the request may take, of which so much is kept as is looked into."""
        return Bounds(seconds, keep_bytes=KEPT_BYTES if self.contains else TOLD_BYTES)

    @classmethod
    def of_health(cls, health: Mapping[str, Any]) -> Ask:
        """From the `health` of a normalised app."""
        return cls(str(health["path"]), headers=dict(health.get("headers") or {}))

    @classmethod
    def of_path(cls, path: Mapping[str, Any]) -> Ask:
        """From one entry of the normalised app's `load.paths`."""
        status = tuple(path.get("status") or ())
        method = str(path.get("method", "GET"))
        headers, contains = dict(path.get("headers") or {}), str(path.get("contains") or "")
        return cls(str(path["path"]), method, headers, path.get("body"), status, contains)


@dataclass(frozen=True)
class Bounds:
    """What one request may take: `seconds` from connect to the last byte, and `most_bytes` of answer, of whose body
    the first `keep_bytes` are kept."""

    seconds: float
    most_bytes: int = MOST_BYTES
    keep_bytes: int = TOLD_BYTES


@dataclass(frozen=True)
class Came:
    """What has come of an answer that is not whole: its bytes, in how many pieces, and when.

    `first` and `last` are seconds from connect to the first and to the last piece. `silent`: seconds of waiting since.
    `declared`: the bytes of body that the answer said it has (Content-Length), if it said so.
    """

    received: int
    pieces: int
    first: float
    last: float
    silent: float
    declared: int | None = None


def never_ends(came: Came, bound_seconds: float) -> bool:
    """Whether an answer that was cut off after `bound_seconds` is one that does not end by itself.

    Only what was sent shows that: several pieces over at least half of the bound. An answer that began late is slow,
    and so is one that says how long it is.
    """
    sent_seconds = came.last - came.first
    return came.declared is None and came.pieces >= MANY_PIECES and sent_seconds >= bound_seconds / 2


def not_in_time(came: Came, bound_seconds: float, took: str, body: bool) -> str:
    """What an answer did that began within `bound_seconds`, but was not whole by then; `body`: its head was."""
    if never_ends(came, bound_seconds):
        if body:
            return f"still sends after {took} ({came.received} bytes so far): it never ends by itself"
        return f"still sends the head of its answer after {took} ({came.received} bytes so far)"
    if came.silent > bound_seconds / 2:
        return f"stopped within its answer: {came.received} bytes came, and none in the last {came.silent:.3g} s"
    long = f", {came.declared} were to come" if came.declared is not None else ""
    return f"was not whole after {took}: {came.received} bytes came{long}, the first after {came.first:.3g} s"


class _TooMuch(Exception):
    """More bytes came than an answer may have."""


class _Stream(io.RawIOBase):
    """The receiving side of a socket, bounded in time and bytes as a whole."""

    def __init__(self, sock: socket.socket, bounds: Bounds, deadline: float, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._sock, self._bounds, self._deadline, self._monotonic = sock, bounds, deadline, monotonic
        self.received = self.pieces = 0
        self.first = self.last = deadline
        """When the first and the last piece came."""
        self.waits_since = deadline
        """Since when it waits for the next byte: a slow reader is no silent server."""
        self._reader: io.BufferedReader | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.waits_since = self._monotonic()
        left = self._deadline - self.waits_since
        if left <= 0:
            raise socket.timeout
        if self.received > self._bounds.most_bytes:
            raise _TooMuch
        self._sock.settimeout(left)
        count = self._sock.recv_into(buffer)
        if count:
            self.last = self._monotonic()
            self.first = self.last if not self.pieces else self.first
            self.pieces += 1
            self.received += count
        return count

    def makefile(self, *_: Any) -> io.BufferedReader:
        """What http.client reads from: the same reader every time, for the answer that follows an interim one."""
        if self._reader is None:
            self._reader = io.BufferedReader(self, BLOCK_BYTES)
        return self._reader


class Connection(http.client.HTTPConnection):
    """An HTTP connection to (host, port) or to the path of a unix socket."""

    def __init__(self, address: str | tuple[str, int], timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._address = address

    def connect(self) -> None:
        if isinstance(self._address, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._address)
        else:
            self.sock = socket.create_connection(self._address, self.timeout)


_KEPT = ("Location", "Content-Type", "Content-Encoding", "Cache-Control")


class _Exchange:
    """One request under way, and how far its answer has come."""

    def __init__(
        self, address: str | tuple[str, int], ask: Ask, bounds: Bounds, monotonic: Callable[[], float]
    ) -> None:
        self._address, self._ask, self._bounds, self._monotonic = address, ask, bounds, monotonic
        self.begin = monotonic()
        self.stream: _Stream | None = None
        self.status = 0
        self.declared: int | None = None
        self.said = [""] * len(_KEPT)
        self.header_bytes = 0
        self.body = bytearray()

    @property
    def seconds(self) -> float:
        return self._monotonic() - self.begin

    def run(self) -> None:
        """Send the request and read the whole answer. Raises what sockets and http.client raise."""
        connection = Connection(self._address, self._bounds.seconds)
        with contextlib.closing(connection):
            connection.connect()
            connection.sock.settimeout(max(0.001, self._bounds.seconds - self.seconds))
            body = self._ask.body.encode() if self._ask.body else None
            connection.request(self._ask.method, self._ask.path, body=body, headers=own_headers(self._ask.headers))
            deadline = self.begin + self._bounds.seconds
            self.stream = _Stream(connection.sock, self._bounds, deadline, self._monotonic)
            self._read(self.stream)

    def _read(self, stream: Any) -> None:
        earlier = []  # an interim answer that is forgotten would close the reader that it shares
        response = http.client.HTTPResponse(stream, method=self._ask.method)
        response.begin()
        while 100 <= response.status < 200 and response.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            earlier.append(response)
            if len(earlier) > MOST_INTERIM:
                raise http.client.HTTPException(f"more than {MOST_INTERIM} interim answers ({response.status}) came")
            response = http.client.HTTPResponse(stream, method=self._ask.method)
            response.begin()
        self.status, self.declared = response.status, response.length
        self.said = [(response.getheader(name) or "")[:200] for name in _KEPT]
        self.header_bytes = sum(len(name) + len(value) + 4 for name, value in response.getheaders())
        while True:
            block = response.read1(BLOCK_BYTES)
            if not block:
                break
            self.body += block[: max(0, self._bounds.keep_bytes - len(self.body))]
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)

    def answered(self) -> Answer:
        received = self.stream.received if self.stream is not None else 0
        location, kind, encoding, caching = self.said
        return Answer(
            self.status, bytes(self.body), self.seconds * 1000,
            received=received, header_bytes=self.header_bytes,
            location=location, kind=kind, encoding=encoding, caching=caching,
        )  # fmt: skip

    def _came(self, stream: _Stream) -> Came:
        return Came(
            stream.received, stream.pieces, stream.first - self.begin, stream.last - self.begin,
            self._monotonic() - stream.waits_since, self.declared,
        )  # fmt: skip

    def failed(self, error: Exception) -> Answer:
        """What is told of an answer that did not come, or did not come whole."""
        stream, took = self.stream, f"{self.seconds:.3g} s"
        received = stream.received if stream is not None else 0
        words, endless = _words(error), False
        cut = ""
        if isinstance(error, _TooMuch):
            endless = True
            cut = f"sent more than {self._bounds.most_bytes / 2**20:.0f} MiB in {took} and went on"
        elif isinstance(error, socket.timeout) and stream is not None and received:
            came = self._came(stream)
            endless = never_ends(came, self._bounds.seconds)
            cut = not_in_time(came, self._bounds.seconds, took, bool(self.status))
        elif isinstance(error, http.client.IncompleteRead) and self.status:
            missing = f", {error.expected} are missing" if error.expected else ""
            cut = f"ended within its answer: {received} bytes came in {took}{missing}"
        if isinstance(error, socket.timeout):
            words = f"timed out after {took}"
        timed_out = isinstance(error, socket.timeout) and not endless
        return Answer(0, b"", self.seconds * 1000, cut or words, received, cut, endless, timed_out)


def _words(error: Exception) -> str:
    """An error in at most 200 characters that a terminal can show: http.client repeats what a server sent."""
    words = " ".join(clean_text(str(error)).split()) or type(error).__name__
    return words if len(words) <= 200 else f"{words[:200]}..."


def own_headers(declared: Mapping[str, str]) -> dict[str, str]:
    """The headers of a request: those declared, and Headcount's own where none of that name (in any case) is."""
    given = {name.lower() for name in declared}
    own = {"Host": "localhost", "User-Agent": "headcount", "Connection": "close"}
    return {**{name: value for name, value in own.items() if name.lower() not in given}, **declared}


def request(
    address: str | tuple[str, int],
    ask: Ask,
    bounds: Bounds,
    monotonic: Callable[[], float] = time.monotonic,
) -> Answer:
    """Ask, and read the answer to its end within `bounds`; never raises for what a network or a server can do."""
    exchange = _Exchange(address, ask, bounds, monotonic)
    try:
        exchange.run()
    except (OSError, http.client.HTTPException, _TooMuch) as error:
        return exchange.failed(error)
    return exchange.answered()


MOST_WORDS = 120
_CUT_CHARACTERS = 512
_HIDDEN_HTML = re.compile(r"<(script|style|head)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)(?:</title|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*(?:>|\Z)", re.DOTALL)


def first_words(body: bytes, kind: str = "") -> str:
    """The first line of a body that says something, at most MOST_WORDS characters; of HTML its text, without tags.

    Empty where there is none, or where the body is no text. Secrets are masked.
    """
    text = body.decode("utf-8", "replace")
    if "\x00" in text or text.count("\ufffd") > len(text) / 10:
        return ""
    if "html" in kind or text.lstrip()[:1] == "<":
        title = _TITLE.search(text)
        shown = _TAG.sub("\n", _HIDDEN_HTML.sub("\n", text))
        text = html.unescape(f"{shown}\n{title[1] if title else ''}")
    text = clean_text(text)
    if len(body) >= TOLD_BYTES:  # it may have been cut within a secret
        text = text[:-_CUT_CHARACTERS]
    line = next((" ".join(line.split()) for line in text.splitlines() if line.strip()), "")
    line = "".join(sign for sign in line if sign.isprintable())
    return line if len(line) <= MOST_WORDS else f"{line[:MOST_WORDS]}..."


def well(status: int, wanted: Sequence[int] | None = None) -> bool:
    """Whether an answer to the load means well: its status is one of `wanted` (`load.paths[].status`), else a 2xx."""
    return status in wanted if wanted else 200 <= status < 300


def unwell(ask: Ask, answer: Answer) -> str:
    """Why an answer to a request of the load does not mean well; empty when it does."""
    failure = answer.failure(ask.method, ask.path)
    told = f"{ask.method} {ask.path} answered {answer.status}"
    if failure or well(answer.status, ask.status):
        lacks = not failure and bool(ask.contains) and ask.contains.encode() not in answer.body
        return (
            f"{told}{in_brackets(shown(answer))}, but its body does not contain {ask.contains!r}" if lacks else failure
        )
    if not ask.status and redirected(answer):
        return f"{told}{REDIRECT}{answer.location}"
    expected = f", expected {' or '.join(map(str, ask.status))}" if ask.status else ""
    return told + in_brackets(answer.words()) + expected + by_which_name(answer, ask.headers)


def shown(answer: Answer) -> str:
    """As Answer.words(), and of an answer without a body that it has none."""
    return answer.words() if answer.body else ", ".join(filter(None, (answer.words(), "an empty body")))


REDIRECT = ", a redirect to "
ASKED_AS = "; it was asked for as localhost"


def by_which_name(answer: Answer, headers: Mapping[str, str]) -> str:
    """What may be wrong where an app does not know the Host that it was asked for; empty where it is not that."""
    if answer.status not in (400, 403, 404, 421) or "host" in {name.lower() for name in headers}:
        return ""
    return f"{ASKED_AS}: where the app answers to its own name alone, declare `host`"


def in_brackets(words: str) -> str:
    """Words that stand behind what they explain; empty where there are none."""
    return f" ({words})" if words else ""


def redirected(answer: Answer) -> bool:
    """Whether an answer is a redirect, which says nothing of the app behind it."""
    return 300 <= answer.status < 400 and bool(answer.location)


AS_USERS = "scheme: https where a proxy in front takes https off, host where the app has a name of its own, headers"


def get(
    address: str | tuple[str, int], path: str, timeout_seconds: float, headers: Mapping[str, str] | None = None
) -> Answer:
    """GET `path`, bounded as a whole; never raises for what a network or a server can do."""
    return request(address, Ask(path, headers=headers or {}), Bounds(timeout_seconds, keep_bytes=KEPT_BYTES))


CONTAINS_TIMES = 5


def lacking(
    address: str | tuple[str, int], paths: Sequence[Ask], seconds: float, ask: Callable[..., Answer] = request
) -> str:
    """Which path of the load answers without what it must contain, in a sentence; empty where none does.

    Each path that has such a text is asked CONTAINS_TIMES. Bounded: `seconds` for each request.
    """
    for path in paths:
        for _ in range(CONTAINS_TIMES if path.contains else 0):
            wrong = unwell(path, ask(address, path, path.within(seconds)))
            if "its body does not contain" in wrong:
                return wrong
    return ""


def unhealthy(answer: Answer, health: Mapping[str, Any]) -> str | None:
    """Why `answer` does not satisfy the app's declared `health`, or None when it does."""
    path = health["path"]
    if answer.status == 0:
        return answer.failure("GET", path)
    if answer.status not in health["status"]:
        if redirected(answer):
            told = f"GET {path} answered {answer.status}{REDIRECT}{answer.location}: declare what users send"
            return f"{told} ({AS_USERS}), or, where the redirect is well, health.status: [200, {answer.status}]"
        allowed = " or ".join(str(code) for code in health["status"])
        told = f"GET {path} answered {answer.status}{in_brackets(answer.words())}, expected {allowed}"
        return told + by_which_name(answer, health.get("headers") or {})
    wanted = health.get("contains")
    if wanted and wanted.encode() not in answer.body:
        told = in_brackets(answer.words())
        return f"GET {path} answered {answer.status}{told}, but its body does not contain {wanted!r}"
    return None

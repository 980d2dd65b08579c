# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which server of an nginx leads to an address, from the text of its files. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterator, List, Tuple

_TOKEN = re.compile(r"""\s+|\#[^\n]*|(?P<brace>[{};])|(?P<word>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s{};]+)""")


@dataclass(frozen=True)
class Directive:
    """One directive: its words, and what is in its block."""

    words: Tuple[str, ...]
    block: List[Directive] = field(default_factory=list)


@dataclass(frozen=True)
class Front:
    """A server of nginx in front of an app. `name`: the first that it answers to, "" without; `https`: whether users
    come by it; `buffers`: whether it reads requests for slow clients; `paths`: the locations that lead there."""

    name: str = ""
    https: bool = False
    buffers: bool = True
    paths: Tuple[str, ...] = ()


def parse(text: str) -> list[Directive]:
    """The directives of a file; what is torn is taken as far as it goes."""
    tokens = _tokens(text)
    return _block(tokens)


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        if match["brace"]:
            yield match["brace"]
        elif match["word"]:
            word = match["word"]
            yield word[1:-1] if word[0] in "\"'" else word


def _block(tokens: Iterator[str]) -> list[Directive]:
    found: list[Directive] = []
    words: list[str] = []
    for token in tokens:
        if token == ";":
            if words:
                found.append(Directive(tuple(words)))
            words = []
        elif token == "{":
            found.append(Directive(tuple(words), _block(tokens)))
            words = []
        elif token == "}":
            return found
        else:
            words.append(token)
    return found


def _all(block: list[Directive], name: str) -> Iterator[Directive]:
    """Directives of that name, in the block and in those within it."""
    for one in block:
        if one.words[:1] == (name,):
            yield one
        yield from _all(one.block, name)


def fronts(texts: list[str], listen: str) -> list[Front]:
    """The servers that lead to `listen` ("unix:/path" or "address:port"), in the order of the files."""
    files = [one for text in texts for one in parse(text)]
    names = set(_upstreams(files, listen))
    found = []
    for server in _all(files, "server"):
        if not server.block:
            continue  # `server ADDRESS;` of an upstream
        paths = [place for place in _all(server.block, "location") if _leads(place, listen, names)]
        if paths or _passes(server, listen, names):
            found.append(_front(server, paths))
    return found


def _upstreams(files: list[Directive], listen: str) -> Iterator[str]:
    """Names of the upstreams that have the address among their servers."""
    for upstream in _all(files, "upstream"):
        servers = [one.words[1] for one in upstream.block if one.words[:1] == ("server",) and len(one.words) > 1]
        if len(upstream.words) > 1 and any(_same(server, listen) for server in servers):
            yield upstream.words[1]


def _same(server: str, listen: str) -> bool:
    """Whether nginx comes to `listen` by `server`: any address of this host is as good as all."""
    if listen.startswith("unix:") or server.startswith("unix:"):
        return server.split(":")[:2] == listen.split(":")[:2]  # unix:/run/app.sock:/path
    host, _, port = server.rpartition(":")
    there, _, wanted = listen.rpartition(":")
    local = ("127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]")
    return port == wanted and (host == there or host in local)


def _passes(place: Directive, listen: str, names: set[str]) -> bool:
    for one in place.block:
        if one.words[:1] == ("proxy_pass",) and len(one.words) > 1:
            target = re.sub(r"^https?://", "", one.words[1])
            address = target if target.startswith("unix:") else target.partition("/")[0]
            if address in names or _same(address, listen):
                return True
    return False


def _leads(place: Directive, listen: str, names: set[str]) -> bool:
    return bool(place.block) and _passes(place, listen, names)


def _words(server: Directive, name: str) -> list[tuple[str, ...]]:
    """What stands behind `name` in each of the server's own directives that are called so."""
    return [one.words[1:] for one in server.block if one.words[:1] == (name,)]


def _is_https(words: tuple[str, ...]) -> bool:
    return "ssl" in words or any(word.rpartition(":")[2] == "443" for word in words[:1])


def _front(server: Directive, paths: list[Directive]) -> Front:
    names = [name for words in _words(server, "server_name") for name in words]
    real = [name for name in names if name != "_" and not re.search(r"[~*$]", name) and name.strip(".")]
    off = any(one.words[1:] == ("off",) for one in _all([server], "proxy_request_buffering"))
    https = any(map(_is_https, _words(server, "listen")))
    return Front(real[0] if real else "", https, not off, tuple(one.words[-1] for one in paths))
